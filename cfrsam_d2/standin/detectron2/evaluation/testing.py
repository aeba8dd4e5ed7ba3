"""What is done with the results of an evaluation."""

import logging
from collections.abc import Mapping


def print_csv_format(results: Mapping) -> None:
    """Log each task's metrics to be copied; names with "-" are left out, as in Detectron2."""
    logger = logging.getLogger(__name__)
    for task, scores in results.items():
        shown = {name: score for name, score in scores.items() if "-" not in name}
        logger.info(f"copypaste: Task: {task}")
        logger.info("copypaste: " + ",".join(shown))
        logger.info("copypaste: " + ",".join(f"{score:.4f}" for score in shown.values()))


def flatten_results_dict(results: Mapping) -> dict:
    """`{"task/metric": score}` from nested results."""
    flat = {}
    for name, value in results.items():
        if isinstance(value, Mapping):
            inner = flatten_results_dict(value)
            flat.update({f"{name}/{rest}": score for rest, score in inner.items()})
        else:
            flat[name] = value
    return flat
