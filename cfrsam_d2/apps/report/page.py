"""The page: one HTML file that holds all it needs and opens from disk."""

import html
from pathlib import Path

from .comparison import Comparison
from .notes import notes
from .picture_sections import errors, images
from .plot_sections import calibration, distribution, size_and_density, training
from .score_sections import classes, differences, intervals, scores


def build_page(comparison: Comparison, num_images: int) -> str:
    """Write all sections that have something to say, with links to them at the top.

    Args:
        comparison: of the report.
        num_images: in the gallery of best, median and worst.
    """
    all_sections = {
        "Scores": scores(comparison),
        "Intervals": intervals(comparison),
        "Differences": differences(comparison),
        "Training": training(comparison),
        "Scores of images": distribution(comparison),
        "Size and density": size_and_density(comparison),
        "Classes": classes(comparison),
        "Predicted IoU": calibration(comparison),
        "Images": images(comparison, num_images),
        "Errors": errors(comparison),
    }
    sections = {title: content for title, content in all_sections.items() if content}
    links = "".join(f'<li><a href="#{_id(title)}">{title}</a></li>' for title in sections)
    body = "".join(
        f'<section id="{_id(title)}" aria-labelledby="{_id(title)}-title">'
        f'<h2 id="{_id(title)}-title">{title}</h2>{content}</section>'
        for title, content in sections.items()
    )
    name = html.escape(comparison.dataset.name)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>Nuclei of {name}</title>
<style>
{_file("../theme.css")}
{_file("page.css")}
{_class_styles(comparison)}
</style>
</head>
<body data-view="2">
<a class="skip" href="#main">Skip to the scores</a>
<header>
<h1>Nuclei of {name}</h1>
{_summary(comparison)}
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main id="main">
{body}
</main>
<dialog id="zoom" aria-labelledby="zoom-title"></dialog>
<script>
{_file("page.js")}
</script>
</body>
</html>
"""


def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _summary(comparison: Comparison) -> str:
    images = comparison.dataset.images
    nuclei = sum(len(image["annotations"]) for image in images)
    runs = ", ".join(f"<strong>{html.escape(run.name)}</strong>" for run in comparison.runs)
    missing = "".join(f"<p>{html.escape(note)}</p>" for note in notes(comparison))
    return f"<p>{len(images):,} images with {nuclei:,} nuclei. {runs}</p>{missing}"


def _class_styles(comparison: Comparison) -> str:
    """The colour of each class, and which layer of the images is seen in which view."""
    colors = "".join(
        f".c{index}{{--class:rgb{color};stroke:var(--halo,var(--class))}}"
        for index, (_, color) in comparison.dataset.shown_classes.items()
    )
    views = "".join(
        f'[data-view="{index}"] .images [data-layer="{index}"]{{display:inline}}'
        for index in range(1, len(comparison.runs) + 2)
    )
    return colors + views


def _id(title: str) -> str:
    return title.lower().replace(" ", "-")
