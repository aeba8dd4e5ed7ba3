"""Sections of pictures: images, and examples of errors.

A section takes the comparison and gives HTML, or "" where it has nothing to say.
"""

import html
from collections.abc import Sequence
from itertools import chain

import numpy as np

from . import gallery, tables
from .breakdowns import error_table, point_error_table
from .comparison import Comparison
from .picture import Picture, panel, svg
from .run import Dataset

_DIFFERENCE_IMAGES = 6  # of each group
_MEANINGS_OF_POINTS = {
    "missed": "ground-truth nuclei that no predicted point is paired with",
    "false positive": "predicted points that no ground-truth nucleus is paired with",
}
_MEANINGS_OF_MASKS = {
    "missed": "ground-truth nuclei that no prediction covers by half, and none lies in by half",
    "false positive": "predictions that cover no ground-truth nucleus by half, and lie in none by "
    "half",
    "merged": "predictions that cover two ground-truth nuclei or more, each by half at least",
    "split": "ground-truth nuclei in which two predictions or more lie by half at least, and "
    "which these together cover by half at least",
}


def images(comparison: Comparison, count: int) -> str:
    """The best, median and worst images (`count` in all), and those that differ between runs."""
    name, values = comparison.image_scores
    groups = _image_groups(name, values, comparison, count)
    indices = list(dict.fromkeys(chain.from_iterable(groups.values())))
    pictures = gallery.whole_images(comparison.dataset, comparison.runs, indices, name, values)
    content = ""
    for number, (title, chosen) in enumerate(groups.items()):
        # An image may stand in several groups.
        shown = [pictures[index]._replace(key=f"g{number}-{index}") for index in chosen]
        figures = "".join(figure(svg(picture), picture) for picture in shown)
        if figures:
            content += _block(title, "", figures, "images")
    return f'{_toolbar(comparison)}<div class="blocks">{content}</div>'


def errors(comparison: Comparison) -> str:
    """Counts of every kind of error, and examples."""
    content = ""
    for number, (run, analysis) in enumerate(
        zip(comparison.runs, comparison.analyses, strict=True)
    ):
        table = error_table if run.has_masks else point_error_table
        rows = table(analysis, comparison.dataset.class_names)
        content += tables.row_table(f"Nuclei of {run.name}", rows) + '<div class="blocks">'
        meanings = _MEANINGS_OF_MASKS if run.has_masks else _MEANINGS_OF_POINTS
        for kind, meaning in meanings.items():
            places = gallery.choose_examples(analysis.errors[kind], gallery.EXAMPLES)
            key = f"e{number}-{kind.replace(' ', '-')}"
            examples = gallery.error_examples(comparison.dataset, run, kind, places, key)
            title = f"{run.name}: {kind} ({len(analysis.errors[kind])})"
            figures = "".join(
                figure(svg(picture) + panel(picture, 2), picture) for picture in examples
            )
            content += _block(title, f"<p>{meaning.capitalize()}.</p>", figures, "examples")
        content += "</div>"
    explanation = (
        "<p>In each pair of pictures the ground truth is on the left and the prediction on the "
        "right; the frame is around the nucleus in question.</p>"
    )
    return explanation + _legend(comparison.dataset) + content


def figure(content: str, picture: Picture) -> str:
    """SVG elements of a picture as a button that enlarges it, over its caption."""
    title, caption = html.escape(picture.title), html.escape(picture.caption)
    return (
        f'<figure data-key="{picture.key}" data-title="{title}"><button type="button"'
        f' aria-label="Enlarge {title}">{content}</button>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _image_groups(
    name: str, values: Sequence[np.ndarray], comparison: Comparison, count: int
) -> dict[str, list[int]]:
    average = np.mean(values, axis=0)
    by = name if len(values) == 1 else f"mean {name} of the runs"
    chosen = gallery.choose_by_score(average, count)
    groups = {f"{title.capitalize()} by {by}": indices for title, indices in chosen.items()}
    first = comparison.runs[0].name
    for run, scores in zip(comparison.runs[1:], values[1:], strict=True):
        chosen = gallery.choose_by_difference(values[0], scores, _DIFFERENCE_IMAGES)
        groups[f"Where {run.name} gains most over {first}"] = chosen["gains"]
        groups[f"Where {run.name} loses most against {first}"] = chosen["losses"]
    return groups


def _toolbar(comparison: Comparison) -> str:
    """The choice of the layer on the images below, and the colours of the classes."""
    views = ["image", "ground truth", *(run.name for run in comparison.runs)]
    radios = "".join(
        f'<label><input type="radio" name="view" value="{index}"{" checked" * (index == 2)}>'
        f" {html.escape(view)}</label>"
        for index, view in enumerate(views)
    )
    return (
        f'<div class="toolbar"><fieldset><legend>Show</legend>{radios}</fieldset>'
        f"{_legend(comparison.dataset)}</div>"
    )


def _legend(dataset: Dataset) -> str:
    items = "".join(
        f'<li><span class="swatch c{index}"></span>{html.escape(name)}</li>'
        for index, (name, _) in dataset.shown_classes.items()
    )
    return f'<ul class="legend" aria-label="Colours of the classes">{items}</ul>'


def _block(title: str, explanation: str, figures: str, kind: str) -> str:
    """A heading, and under it pictures in a row, which scrolls."""
    label = html.escape(title)
    row = f'<div class="gallery scroll {kind}" role="group" aria-label="{label}">{figures}</div>'
    return f"<div><h3>{label}</h3>{explanation}{row if figures else ''}</div>"
