"""Plots as SVG text, with nothing but the standard library: they are committed, mailed and opened anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

Point = tuple[float, float]
_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 34, 44
COLOURS = ("#2a6f97", "#c8553d", "#588157", "#8d6a9f", "#b08900", "#555555")


def _head(title: str) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="18" font-weight="bold">{escape(title)}</text>',
    ]


def _nice(most: float) -> list[float]:
    """Ticks from 0 to a round number at or above ``most``."""
    if most <= 0:
        return [0.0, 1.0]
    step = 10.0 ** math.floor(math.log10(most))
    for factor in (0.2, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0):
        if most / (step * factor) <= 6:
            step *= factor
            break
    count = math.ceil(most / step - 1e-9)
    return [step * number for number in range(count + 1)]


def _y_axis(ticks: Sequence[float], label: str) -> list[str]:
    inner = _HEIGHT - _TOP - _BOTTOM
    lines = []
    for tick in ticks:
        y = _TOP + inner * (1 - tick / ticks[-1])
        lines.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        lines.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    middle = _TOP + inner / 2
    lines.append(
        f'<text x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})">'
        f"{escape(label)}</text>"
    )
    return lines


def bars(title: str, label: str, values: Sequence[tuple[str, float]], *, goal: float | None = None) -> str:
    """A bar for each named value. goal: a line across; None: there is none."""
    lines = _head(title)
    ticks = _nice(max([value for _, value in values] + [goal or 0.0]))
    lines += _y_axis(ticks, label)
    inner_w, inner_h = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    slot = inner_w / max(1, len(values))
    for number, (name, value) in enumerate(values):
        height = inner_h * value / ticks[-1]
        x, y = _LEFT + slot * (number + 0.15), _TOP + inner_h - height
        colour = COLOURS[number % len(COLOURS)]
        lines.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{slot * 0.7:.1f}" height="{height:.1f}" fill="{colour}"/>')
        centre = x + slot * 0.35
        lines.append(f'<text x="{centre:.1f}" y="{y - 4:.1f}" text-anchor="middle">{value:,.4g}</text>')
        lines.append(f'<text x="{centre:.1f}" y="{_HEIGHT - 26}" text-anchor="middle">{escape(name)}</text>')
    if goal is not None:
        y = _TOP + inner_h * (1 - goal / ticks[-1])
        lines.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#222222"'
            ' stroke-dasharray="6 4"/>'
        )
        lines.append(f'<text x="{_WIDTH - _RIGHT}" y="{y - 4:.1f}" text-anchor="end">goal {goal:g}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def curves(title: str, x_label: str, y_label: str, series: Sequence[tuple[str, Sequence[Point]]]) -> str:
    """A line for each named series of (x, y)."""
    lines = _head(title)
    points = [point for _, some in series for point in some] or [(0.0, 0.0)]
    ticks = _nice(max(y for _, y in points))
    x_ticks = _nice(max(x for x, _ in points))
    lines += _y_axis(ticks, y_label)
    inner_w, inner_h = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    for tick in x_ticks:
        x = _LEFT + inner_w * tick / x_ticks[-1]
        lines.append(f'<text x="{x:.1f}" y="{_HEIGHT - 26}" text-anchor="middle">{tick:g}</text>')
    for number, (name, some) in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(
            f"{_LEFT + inner_w * x / x_ticks[-1]:.1f},{_TOP + inner_h * (1 - y / ticks[-1]):.1f}" for x, y in some
        )
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines.append(f'<text x="{_WIDTH - _RIGHT}" y="{18 + 14 * number}" text-anchor="end" fill="{colour}">')
        lines.append(f"{escape(name)}</text>")
    lines.append(f'<text x="{_LEFT + inner_w / 2:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def tail(curve: Sequence[Point]) -> list[Point]:
    """A curve of percentiles with the far end stretched: x is the number of nines, so 90 is 1, 99 is 2, 99.9 is 3."""
    return [(min(4.0, -math.log10(max(1e-4, 1 - percentile / 100))), value) for percentile, value in curve]
