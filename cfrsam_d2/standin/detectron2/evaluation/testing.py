"""What is done with the results of an evaluation."""

import logging
import math
import pprint
import sys
from collections.abc import Mapping

from detectron2.config import CfgNode


def print_csv_format(results: Mapping) -> None:
    """Log each task's metrics to be copied; names with "-" are left out, as in Detectron2."""
    logger = logging.getLogger(__name__)
    for task, scores in results.items():
        if not isinstance(scores, Mapping):
            logger.info(f"copypaste: {task}={scores}")
            continue
        shown = {name: score for name, score in scores.items() if "-" not in name}
        logger.info(f"copypaste: Task: {task}")
        logger.info("copypaste: " + ",".join(shown))
        logger.info("copypaste: " + ",".join(f"{score:.4f}" for score in shown.values()))


def verify_results(cfg: CfgNode, results: Mapping) -> bool:
    """True if every [task, metric, value, tolerance] of the config holds, else exit with 1."""
    logger = logging.getLogger(__name__)
    for task, metric, expected, tolerance in cfg.TEST.EXPECTED_RESULTS:
        actual = results[task].get(metric, math.nan)
        if not abs(actual - expected) <= tolerance:  # also of NaN
            logger.error(f"Result verification failed! Expected {cfg.TEST.EXPECTED_RESULTS}")
            logger.error("Actual Results: " + pprint.pformat(results))
            sys.exit(1)
    return True


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
