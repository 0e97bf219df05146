"""Laws held against the nodes of a map: how many keep them, and which one is the worst.

All derivatives here are differences between nodes; neither the responses nor the fit enter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import NamedTuple

import numpy as np

from thermo_pl.path.columns import Row
from thermo_pl.text import aligned, number

ROUNDING = 1e-6
"""Share of |F| by which rounding may move a difference of F: ten times that of float32."""
POINTS = 5
"""Nodes of a line by which a derivative is taken, at most."""
GAUSS = 8
"""Points of Gauss and Legendre along a side."""
ERRORS = 2.0
"""Standard errors within which two numbers agree."""
HYSTERESIS = 0.01
"""Share of R, D and C by which two visits of a node may differ."""
ENVELOPE = {"D": 0.01, "C": 0.02}
"""Share of D and of C by which the derivative of F may differ from them."""


@dataclass(frozen=True)
class Tally:
    """A law at all places of a map.

    Attributes:
        law: its name.
        statement: its formula; the value is what it says to be small, or at least zero.
        values: of each place.
        kept: whether each place keeps it.
        places: λ and γ of each.
    """

    law: str
    statement: str
    values: tuple[float, ...]
    kept: tuple[bool, ...]
    places: tuple[tuple[float, float], ...]

    @property
    def share(self) -> float:
        """Of the places that keep it; nan where there is none."""
        return sum(self.kept) / len(self.kept) if self.kept else math.nan

    @property
    def median(self) -> float:
        """Of the values."""
        return median(self.values) if self.values else math.nan

    @property
    def worst(self) -> int:
        """The place that is furthest from keeping it: of a law ≥ 0 the lowest value."""
        sign = -1 if self.statement.endswith("≥ 0") else 1
        return max(range(len(self.values)), key=lambda i: sign * self.values[i])


def check_surface(nodes: Sequence[Row], visits: Sequence[Row] = ()) -> list[Tally]:
    """All laws that a map can be held against.

    Args:
        nodes: lines of surface.csv.
        visits: rows of path.csv, for the hysteresis.

    Returns:
        A tally of each law for which there is a place.
    """
    lines = [line for axis in ("lambda", "gamma") for line in _lines(nodes, axis)]
    found = [two_point(lines), *envelope(nodes), maxwell(nodes), circuits(nodes), concavity(nodes)]
    return [tally for tally in (*found, hysteresis(visits)) if tally.values]


def two_point(lines: Sequence[tuple[str, list[Row]]]) -> Tally:
    """F between neighbours lies below both tangents: D1 ≥ ΔF/Δλ ≥ D2, and so along γ with C.

    Args:
        lines: nodes in a row, with the name of what varies.

    Returns:
        Of each pair the smaller of the two margins, in nats.
    """
    values, kept, places = [], [], []
    for axis, line in lines:
        slope = "D" if axis == "lambda" else "C"
        for one, two in pairwise(line):
            step, rise = two[axis] - one[axis], two["F"] - one["F"]
            margin = min(one[slope] * step - rise, rise - two[slope] * step)
            values.append(margin)
            kept.append(margin >= -ROUNDING * max(abs(one["F"]), abs(two["F"])))
            places.append((one["lambda"], one["gamma"]))
    statement = "min(D1 Δλ - ΔF, ΔF - D2 Δλ) ≥ 0"
    return Tally("two-point test", statement, tuple(values), tuple(kept), tuple(places))


def envelope(nodes: Sequence[Row]) -> list[Tally]:
    """D = ∂F/∂λ and C = ∂F/∂γ, by differences of F along the line of a node.

    Args:
        nodes: lines of surface.csv.

    Returns:
        Of each inner node of a line the relative difference.
    """
    tallies = []
    for axis, slope, symbol in (("lambda", "D", "λ"), ("gamma", "C", "γ")):
        values, places = [], []
        for window in _inner(nodes, axis):
            values.append(abs(window.slope("F") / window.here[slope] - 1))
            places.append(window.place)
        kept = tuple(value <= ENVELOPE[slope] for value in values)
        statement = f"|∂F/∂{symbol} / {slope} - 1| ≤ {ENVELOPE[slope]:.0%}"
        tallies.append(
            Tally(f"{slope} = ∂F/∂{symbol}", statement, tuple(values), kept, tuple(places))
        )
    return tallies


def maxwell(nodes: Sequence[Row]) -> Tally:
    """∂C/∂λ = ∂D/∂γ, within two standard errors.

    A derivative has two errors. One is that of C and D over the noise draws; as all nodes are
    measured on the same draws, that of their differences is smaller. The other is that of the
    polynomial between nodes that lie apart: what it changes by from the three nearest nodes to all.

    Args:
        nodes: lines of surface.csv.

    Returns:
        Of each inner node of a grid the difference, relative to the mean of both.
    """
    values, kept, places = [], [], []
    for along, across in _crosses(nodes):
        by_lam, by_gam = along.slope("C"), across.slope("D")
        error = math.hypot(along.error("C"), across.error("D"))
        gap = abs(by_lam - by_gam)
        values.append(gap / ((abs(by_lam) + abs(by_gam)) / 2))
        kept.append(gap <= ERRORS * error)
        places.append(along.place)
    statement = "|∂C/∂λ - ∂D/∂γ| / mean ≤ 2 standard errors"
    return Tally("Maxwell", statement, tuple(values), tuple(kept), tuple(places))


def circuits(nodes: Sequence[Row]) -> Tally:
    """Maxwell's relation around a cell of the grid: ∮ D dλ + C dγ = 0, within two standard errors.

    Where a latent switches on, D and C are continuous and their derivatives jump. A difference
    across that place is no derivative; an integral is what it was. Along a side D or C is a cubic
    through four nodes, and the error of its integral is what it changes by from the two ends alone
    to all four. That of the noise draws is added.

    Args:
        nodes: lines of surface.csv.

    Returns:
        Of each cell the difference of ∫ ΔD dλ and ∫ ΔC dγ, relative to the mean of both.
    """
    low, left = _sides(nodes, "lambda"), _sides(nodes, "gamma")
    values, kept, places = [], [], []
    for place, bottom in low.items():
        start = left.get(place)
        top = None if start is None else low.get(start.end_place)
        end = left.get(bottom.end_place)
        if start is None or top is None or end is None:
            continue
        by_lam, by_gam = top.integral() - bottom.integral(), end.integral() - start.integral()
        gap = abs(by_lam - by_gam)
        values.append(gap / ((abs(by_lam) + abs(by_gam)) / 2))
        kept.append(gap <= ERRORS * math.hypot(*(s.error() for s in (bottom, top, start, end))))
        places.append(place)
    statement = "|∫ΔD dλ - ∫ΔC dγ| / mean ≤ 2 standard errors"
    return Tally("Maxwell, around cells", statement, tuple(values), tuple(kept), tuple(places))


def concavity(nodes: Sequence[Row]) -> Tally:
    """The second derivatives of F, by differences of D and C, are negative semidefinite.

    Args:
        nodes: lines of surface.csv.

    Returns:
        Of each inner node of a grid the smaller eigenvalue of -∇²F, in nats per unit of log λ and
        log γ.
    """
    values, places = [], []
    for along, across in _crosses(nodes):
        bent = np.array([[w.slope(name) for name in "DC"] for w in (along, across)])
        step = np.array(along.place)
        scaled = (bent + bent.T) / 2 * step[:, None] * step
        values.append(float(-np.linalg.eigvalsh(scaled)[-1]))
        places.append(along.place)
    kept = tuple(value >= 0 for value in values)
    statement = "smaller eigenvalue of -∇²F ≥ 0"
    return Tally("concavity", statement, tuple(values), kept, tuple(places))


def hysteresis(visits: Sequence[Row]) -> Tally:
    """Two visits of a node agree.

    Args:
        visits: rows of path.csv.

    Returns:
        Of each node that was visited again the largest relative difference of R, D or C between
        its visits.
    """
    groups: dict[tuple[float, float], list[Row]] = {}
    for row in visits:
        groups.setdefault((round(row["lambda"], 9), round(row["gamma"], 9)), []).append(row)
    values, places = [], []
    for place, rows in groups.items():
        if len(rows) > 1:
            pairs = [(min(r[n] for r in rows), max(r[n] for r in rows)) for n in "RDC"]
            values.append(max(high / low - 1 for low, high in pairs if low > 0))
            places.append(place)
    kept = tuple(value <= HYSTERESIS for value in values)
    statement = f"largest difference of R, D or C between visits ≤ {HYSTERESIS:.0%}"
    return Tally("hysteresis", statement, tuple(values), kept, tuple(places))


def table(tallies: Sequence[Tally]) -> str:
    """The tallies as text.

    Args:
        tallies: of :func:`check_surface`.

    Returns:
        A line for each: how many places keep it, the median, the worst and where that is.
    """
    header = ("law", "kept", "of", "median", "worst", "at λ, γ")
    lines = [
        (
            tally.law,
            f"{sum(tally.kept)}",
            f"{len(tally.kept)}",
            number(tally.median, digits=".3g"),
            number(tally.values[tally.worst], digits=".3g"),
            "{:.4g}, {:.4g}".format(*tally.places[tally.worst]),
        )
        for tally in tallies
    ]
    return aligned([header, *lines], "<>>>>>")


def _crosses(nodes: Sequence[Row]) -> Iterator[tuple[Window, Window]]:
    # the windows along λ and along γ of each node that has both
    across = {window.place: window for window in _inner(nodes, "gamma")}
    for window in _inner(nodes, "lambda"):
        if window.place in across:
            yield window, across[window.place]


def _lines(nodes: Sequence[Row], axis: str) -> Iterator[tuple[str, list[Row]]]:
    # nodes that differ in one of λ and γ alone
    other = "gamma" if axis == "lambda" else "lambda"
    for value in sorted({row[other] for row in nodes}):
        line = sorted((r for r in nodes if r[other] == value), key=lambda r: float(r[axis]))
        if len(line) > 1:
            yield axis, line


def _sides(nodes: Sequence[Row], axis: str) -> dict[tuple[float, float], Side]:
    # by the λ and γ where each begins
    return {
        (one["lambda"], one["gamma"]): Side(one, two, line[max(i - 1, 0) : i + 3], axis)
        for _, line in _lines(nodes, axis)
        for i, (one, two) in enumerate(pairwise(line))
    }


def _inner(nodes: Sequence[Row], axis: str) -> Iterator[Window]:
    # each node of a line but its ends, within the five nodes around it
    for _, line in _lines(nodes, axis):
        for i in range(1, len(line) - 1):
            start = max(0, min(i - POINTS // 2, len(line) - POINTS))
            yield Window(line[i], line[start : start + POINTS], axis)


class Side(NamedTuple):
    """A side of a cell.

    Attributes:
        start: the node where it begins.
        end: the node where it ends.
        rows: both, and the nodes beside them on their line.
        axis: what varies, ``lambda`` or ``gamma``.
    """

    start: Row
    end: Row
    rows: list[Row]
    axis: str

    @property
    def end_place(self) -> tuple[float, float]:
        """λ and γ where it ends."""
        return self.end["lambda"], self.end["gamma"]

    def integral(self, rows: Sequence[Row] = ()) -> float:
        """D dλ or C dγ along it, of the polynomial through some rows.

        In the logarithm of λ or γ, unless one of them is 0.

        Args:
            rows: all of them if none are given.

        Returns:
            The integral, nats.
        """
        rows, name = rows or self.rows, "D" if self.axis == "lambda" else "C"
        x = np.array([self.end[self.axis], self.start[self.axis], *(r[self.axis] for r in rows)])
        logs = x.min() > 0
        x = np.log(x) if logs else x
        low, span, x = x[1], x[0] - x[1], x[2:] - x[1]
        powers = np.linalg.solve(np.vander(x), np.array([row[name] for row in rows], float))
        points, weights = np.polynomial.legendre.leggauss(GAUSS)
        points = span / 2 * (points + 1)
        scale = np.exp(points + low) if logs else np.ones_like(points)
        return float(span / 2 * weights @ (np.polyval(powers, points) * scale))

    def error(self) -> float:
        """Standard error of the integral.

        Returns:
            That of the polynomial and that of the noise draws, nats.
        """
        noise = self.start["D_error" if self.axis == "lambda" else "C_error"]
        noise = 0.0 if math.isnan(noise) else noise * (self.end[self.axis] - self.start[self.axis])
        return math.hypot(noise, self.integral() - self.integral([self.start, self.end]))


class Window(NamedTuple):
    """A node and some of its line.

    Attributes:
        here: the node.
        rows: of the line, in order; the node is one of them.
        axis: what varies, ``lambda`` or ``gamma``.
    """

    here: Row
    rows: list[Row]
    axis: str

    @property
    def place(self) -> tuple[float, float]:
        """λ and γ of the node."""
        return self.here["lambda"], self.here["gamma"]

    @property
    def span(self) -> float:
        """Distance of the node's two neighbours."""
        i = self.rows.index(self.here)
        return float(self.rows[i + 1][self.axis] - self.rows[i - 1][self.axis])

    def slope(self, name: str, beside: int = POINTS) -> float:
        """The derivative at the node of the polynomial through the rows.

        In the logarithm of λ or γ, unless one of them is 0.

        Args:
            name: of the column.
            beside: rows on either side to take, at most.

        Returns:
            With respect to λ or γ.
        """
        i = self.rows.index(self.here)
        rows = self.rows[max(0, i - beside) : i + beside + 1]
        x = np.array([row[self.axis] for row in rows], float)
        scale = 1.0
        if x.min() > 0:
            x, scale = np.log(x), self.here[self.axis]
        x = x - x[rows.index(self.here)]
        powers = np.vander(x, increasing=True)
        values = np.array([row[name] for row in rows], float)
        return float(np.linalg.solve(powers, values)[1] / scale)

    def error(self, name: str) -> float:
        """Standard error of the derivative: of the noise draws, and of the polynomial.

        Args:
            name: ``R``, ``D`` or ``C``.

        Returns:
            With respect to λ or γ; points that are no sample have no noise.
        """
        noise = self.here[f"{name}_error"]
        noise = 0.0 if math.isnan(noise) else math.sqrt(2) * noise / self.span
        return math.hypot(noise, self.slope(name) - self.slope(name, beside=1))
