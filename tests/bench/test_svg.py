"""Plots as SVG text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from greenroom.bench import svg


def test_plots_are_well_formed() -> None:
    for plot in (
        svg.bars("a < b", "µs", [("x", 1.0), ("y", 0.0)], goal=2.0),
        svg.bars("none", "µs", []),
        svg.curves("c", "x", "y", [("one", [(0.0, 0.0), (3.0, 7.5)]), ("none", [])]),
    ):
        assert ElementTree.fromstring(plot).tag.endswith("svg")


def test_a_bar_is_as_high_as_its_value() -> None:
    plot = svg.bars("Title", "µs", [("x", 5.0), ("y", 2.5)], goal=10.0)
    heights = [float(one) for one in re.findall(r'height="([\d.]+)" fill="#(?:2a6f97|c8553d)"', plot)]
    assert heights == [111.0, 55.5], "of 222 for the goal, which is the highest tick"
    assert re.findall(r'text-anchor="end">([\d.]+)</text>', plot) == ["0", "2", "4", "6", "8", "10"]
    assert ">goal 10</text>" in plot
    assert [">x</text>" in plot, ">5</text>" in plot, ">2.5</text>" in plot] == [True] * 3


def test_text_is_escaped() -> None:
    assert "<title>" not in svg.bars("<title>", "<label>", [("<name>", 1.0)])
    assert "<title>" not in svg.curves("<title>", "<x>", "<y>", [("<name>", [(1.0, 1.0)])])


def test_a_curve_goes_through_its_points() -> None:
    plot = svg.curves("Title", "s", "ms", [("one", [(0.0, 0.0), (2.0, 10.0), (4.0, 5.0)])])
    assert re.findall(r'points="([^"]*)"', plot) == ["64.0,256.0 344.0,34.0 624.0,145.0"]


@pytest.mark.parametrize(
    ("most", "ticks"),
    [
        (0.0, ["0", "1"]),
        (1.0, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (7.0, ["0", "2", "4", "6", "8"]),
        (130.0, ["0", "25", "50", "75", "100", "125", "150"]),
        (0.03, ["0", "0.005", "0.01", "0.015", "0.02", "0.025", "0.03"]),
    ],
)
def test_ticks_end_at_a_round_number_at_or_above_the_largest(most: float, ticks: list[str]) -> None:
    plot = svg.bars("t", "l", [("x", most)])
    assert re.findall(r'text-anchor="end">([\d.]+)</text>', plot) == ticks


def test_the_far_end_of_percentiles_is_stretched() -> None:
    curve = [(0.0, 1.0), (90.0, 2.0), (99.0, 3.0), (99.9, 4.0), (100.0, 5.0)]
    assert [(round(x, 6), y) for x, y in svg.tail(curve)] == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0), (4, 5.0)]
