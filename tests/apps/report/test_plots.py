"""Plots keep their text as text, show every run, and look the same each time."""

import re

import numpy as np
import pytest

from cfrsam_d2.apps.report.plots import (
    calibration_plot,
    figure_file,
    histogram,
    inline_svg,
    line_plot,
    score_bars,
    size_plot,
)

CURVE = (np.array([10.0, 100.0]), np.array([0.2, 0.8]))
ROWS = [{"from": 0.5, "to": 0.6, "nuclei": 3, "predicted": 0.55, "actual": 0.7}]


def all_plots(first, second):
    """Every kind of plot of two runs; `first` and `second` say whether there is something."""
    curves = {"one": CURVE if first else None, "<two> $x_1$": CURVE if second else None}
    scores = {name: None if curve is None else curve[1] for name, curve in curves.items()}
    rows = {name: None if curve is None else ROWS for name, curve in curves.items()}
    return [
        line_plot("losses", "iteration", "", curves),
        size_plot("PQ by size", "PQ", curves),
        histogram("scores", "bPQ", scores),
        calibration_plot(rows),
        score_bars(rows),
    ]


@pytest.mark.parametrize("index", range(5))
def test_text_is_text_and_names_are_names(index: int):
    svg = inline_svg(all_plots(True, True)[index])
    assert svg.startswith("<svg ")
    assert re.search(r"<text[^>]*>&lt;two&gt; \$x_1\$</text>", svg)
    assert "currentColor" in svg
    assert "#101014" not in svg


@pytest.mark.parametrize("index", range(5))
def test_a_run_has_its_colour_whatever_the_others_have(index: int):
    blue, vermillion = "#0072b2", "#d55e00"
    for first, second in ((True, False), (False, True), (True, True)):
        svg = inline_svg(all_plots(first, second)[index])
        assert (blue in svg) == first
        assert (vermillion in svg) == second


def test_ids_of_two_plots_differ():
    ids = [re.findall(r'\sid="([^"]*)"', inline_svg(figure)) for figure in all_plots(True, True)]
    assert all(ids)
    assert sum(map(len, ids)) == len(set().union(*ids))


def test_files_are_complete_and_always_the_same():
    for kind, start in (("svg", b"<?xml"), ("pdf", b"%PDF")):
        first, second = (figure_file(all_plots(True, True)[0], kind) for _ in range(2))
        assert first == second
        assert first.startswith(start)
    assert b"currentColor" not in figure_file(all_plots(True, True)[0], "svg")


def test_an_undefined_score_is_left_out():
    (axes,) = histogram("scores", "bPQ", {"one": np.array([0.5, np.nan, 1.0])}).axes
    assert sum(patch.get_data().values.sum() for patch in axes.patches[:1]) == 2
