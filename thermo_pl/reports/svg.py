"""Plots as SVG text, so that a page shows them without scripts and prints well."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from typing import NamedTuple

from thermo_pl.reports.curves import Curve

# Okabe & Ito's palette without its yellow, too light on white; seven colours and four dashes give
# 28 different lines
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
DASHES = ("none", "7 3", "2 3", "9 3 2 3")

_WIDTH, _HEIGHT = 560, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 12, 30, 48  # margins of a panel
_TICKS = 6


class Axis(NamedTuple):
    """A linear scale from values to pixels.

    Attributes:
        low: value at ``start``.
        high: value at ``end``.
        start: pixels.
        end: pixels.
    """

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value lies.

        Args:
            value: the value.

        Returns:
            Pixels.
        """
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values that the axis spans.

        Returns:
            Each with its label; their distance is 1, 2 or 5 times a power of ten.
        """
        least = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(least))
        distance = next(power * n for n in (1, 2, 5, 10) if power * n >= least * (1 - 1e-9))
        first, last = math.ceil(self.low / distance), math.floor(self.high / distance)
        values = [n * distance for n in range(first, last + 1)]
        decimals = max(0, -math.floor(math.log10(distance)))
        return [(value, f"{round(value, decimals):.12g}") for value in values]


def axis(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis with some room around the values.

    Args:
        values: what it has to span; not finite ones do not count.
        start: pixels of its low end.
        end: pixels of its high end.

    Returns:
        The axis; from 0 to 1 without a value.
    """
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    # values that agree to all digits but rounding still need an axis
    room = max(0.04 * (high - low), 1e-6 * max(abs(low), abs(high)), 1e-12)
    return Axis(low - room, high + room, start, end)


def panel(title: str, x_label: str, y_label: str, curves: Sequence[Curve]) -> str:
    """A plot of curves.

    Args:
        title: its heading.
        x_label: what x is, with its unit.
        y_label: what y is, with its unit.
        curves: one for each run; empty ones draw nothing.

    Returns:
        An SVG element.
    """
    values = [pair for c in curves for pair in zip(c.y, c.error, strict=True)]
    edges = [value + sign * error for value, error in values for sign in (-1, 0, 1)]
    x = axis([value for c in curves for value in c.x], _LEFT, _WIDTH - _RIGHT)
    y = axis(edges, _HEIGHT - _BOTTOM, _TOP)
    ranges = " ".join(f"{number:.17g}" for number in (*x, *y))
    lines = "".join(_curve(i, curve, x, y) for i, curve in enumerate(curves))
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" data-axes="{ranges}">'
        f'<text class="title" x="{_LEFT}" y="18">{escape(title)}</text>'
        f"{_frame(x, y, x_label, y_label)}{lines}"
        '<circle class="mark" r="5" visibility="hidden"/></svg>'
    )


def _frame(x: Axis, y: Axis, x_label: str, y_label: str) -> str:
    parts = []
    for value, label in x.ticks():
        at = f"{x.at(value):.2f}"
        parts.append(f'<path class="grid" d="M{at} {y.start}V{y.end}"/>')
        parts.append(f'<text x="{at}" y="{y.start + 16}" text-anchor="middle">{label}</text>')
    for value, label in y.ticks():
        at = f"{y.at(value):.2f}"
        parts.append(f'<path class="grid" d="M{x.start} {at}H{x.end}"/>')
        parts.append(f'<text x="{x.start - 6}" y="{at}" dy="4" text-anchor="end">{label}</text>')
    parts.append(f'<path class="axis" d="M{x.start} {y.end}V{y.start}H{x.end}"/>')
    middle, height = (x.start + x.end) / 2, (y.start + y.end) / 2
    parts.append(
        f'<text x="{middle}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(x_label)}</text>'
        f'<text transform="translate(16 {height}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    return "".join(parts)


def _curve(index: int, curve: Curve, x: Axis, y: Axis) -> str:
    parts = []
    for points in _unbroken(curve):
        band = [(a, b + e) for a, b, e in points] + [(a, b - e) for a, b, e in reversed(points)]
        if any(e for _, _, e in points):
            parts.append(f'<polygon points="{_pixels(band, x, y)}"/>')
        line = [(a, b) for a, b, _ in points]
        parts.append(f'<polyline points="{_pixels(line, x, y)}"/>')
        if len(parts) <= 2:  # where the run starts: over γ one cannot see the direction
            (a, b), *_ = line
            parts.append(f'<circle cx="{x.at(a):.2f}" cy="{y.at(b):.2f}" r="3.5"/>')
    return f'<g {style(index)} data-run="{index}">{"".join(parts)}</g>'


def _unbroken(curve: Curve) -> Iterator[list[tuple[float, float, float]]]:
    # the stretches between missing values; an unknown error draws no band
    def known(point: tuple[float, float, float]) -> bool:
        return math.isfinite(point[0]) and math.isfinite(point[1])

    for is_known, points in groupby(zip(*curve, strict=True), known):
        if is_known:
            yield [(a, b, e if math.isfinite(e) else 0.0) for a, b, e in points]


def _pixels(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    return " ".join(f"{x.at(a):.2f},{y.at(b):.2f}" for a, b in points)


def style(index: int) -> str:
    """Colour and dashes of a run, of which there are 28 different pairs.

    Args:
        index: place of the run.

    Returns:
        Attributes of an SVG element.
    """
    colour = COLOURS[index % len(COLOURS)]
    dash = DASHES[index % len(DASHES)]
    return f'stroke="{colour}" fill="{colour}" stroke-dasharray="{dash}"'
