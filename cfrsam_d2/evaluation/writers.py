"""Tables on the screen and in the output folder: metrics.json and one CSV file per table."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from ..csv_cells import text_cell
from ..files import write_bytes
from .image_scores import ImageScores
from .intervals import interval_table
from .tables import (
    Row,
    average_and_std_rows,
    class_table,
    detection_table,
    has_segmentation,
    image_table,
    lost_table,
    tissue_table,
)


def dataset_tables(
    images: Sequence[ImageScores], class_names: Sequence[str], tissues: Sequence[str]
) -> dict[str, list[Row]]:
    """Build the tables of a dataset by name: tissues, classes, lost (these three only of masks),
    detection, intervals."""
    tables = {}
    if has_segmentation(images):
        tissue_rows = tissue_table(images, tissues)
        tables["tissues"] = tissue_rows + average_and_std_rows(tissue_rows)
        tables["classes"] = class_table(images, class_names)
        tables["lost"] = lost_table(images)
    tables["detection"] = detection_table(images, class_names)
    tables["intervals"] = interval_table(images, class_names)
    return tables


def format_tables(
    metrics: Mapping[str, Mapping[str, float]], tables: Mapping[str, list[Row]]
) -> str:
    """Lay out the segmentation metrics and the tables for reading."""
    if "segmentation" in metrics:
        tables = {"segmentation": [dict(metrics["segmentation"])], **tables}
    return "\n\n".join(f"{name}\n{format_table(rows)}" for name, rows in tables.items())


def format_table(rows: Sequence[Row]) -> str:
    """Lay out a table, as Markdown has it."""
    return tabulate(rows, headers="keys", floatfmt=".4f", tablefmt="pipe")


def write_scores(
    output_dir: Path,
    metrics: Mapping[str, Mapping[str, float]],
    tables: Mapping[str, list[Row]],
    images: Sequence[ImageScores],
    class_names: Sequence[str],
) -> None:
    """Write metrics.json, a CSV file for every table, and images.csv with one row per image.

    NaN is null in JSON and an empty cell in CSV. Each file appears whole or not at all.
    """
    for name, rows in {**tables, "images": image_table(images, class_names)}.items():
        write_csv(output_dir / f"{name}.csv", rows)
    groups = {
        group: {name: none_if_nan(value) for name, value in values.items()}
        for group, values in metrics.items()
    }
    write_bytes(output_dir / "metrics.json", f"{json.dumps(groups, indent=2)}\n".encode())


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write a table; the file appears whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    write_bytes(path, text.getvalue().encode())


def _cell(value: object) -> object:
    return text_cell(value) if isinstance(value, str) else none_if_nan(value)


def none_if_nan(value: object) -> object:
    """As JSON and CSV can say it."""
    return None if isinstance(value, float) and math.isnan(value) else value
