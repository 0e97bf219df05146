"""How the rows of a path lie to each other: steps, loops, places with the same data, rectangles."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import NamedTuple

from thermo_pl.errors import require
from thermo_pl.path.columns import NUMBERS, Row

Numbers = dict[str, float]
Place = tuple[int, int, int, int]

_PLACE = ("leg", "t", "lambda", "gamma")


class Step(NamedTuple):
    """Two rows that follow each other on one leg.

    Attributes:
        before: the row at its start.
        after: the row at its end.
        moved: which of t, lambda and gamma differ between them.
    """

    before: Numbers
    after: Numbers
    moved: set[str]

    def change(self, name: str) -> float:
        """What a column changes by.

        Args:
            name: the column.

        Returns:
            Its value at the end less that at the start.
        """
        return self.after[name] - self.before[name]

    def mean(self, name: str) -> float:
        """The mean of a column over both ends.

        Args:
            name: the column.

        Returns:
            The mean.
        """
        return (self.after[name] + self.before[name]) / 2

    def knows(self, before: Sequence[str], after: Sequence[str]) -> bool:
        """Whether columns are finite.

        Args:
            before: columns of the row at the start.
            after: columns of the row at the end.

        Returns:
            Whether all of them are.
        """
        return finite(self.before, *before) and finite(self.after, *after)


def finite(row: Numbers, *names: str) -> bool:
    """Whether columns of a row are finite.

    Args:
        row: the row.
        *names: the columns.

    Returns:
        Whether all of them are.
    """
    return all(math.isfinite(row[name]) for name in names)


def numbers(rows: Sequence[Row]) -> list[Numbers]:
    """The columns of numbers as floats.

    Args:
        rows: rows of path.csv.

    Returns:
        One mapping for each row; what is missing or None is nan.

    Raises:
        ConfigError: if a row does not say where it stands.
    """
    path = []
    for index, row in enumerate(rows):
        values = {name: row.get(name) for name in NUMBERS}
        found = {name: math.nan if v is None else float(v) for name, v in values.items()}
        lost = [name for name in _PLACE if not math.isfinite(found[name])]
        require(not lost, f"row {index}", f"no {', '.join(lost)}", "rows of path.csv")
        path.append(found)
    return path


def steps_of(rows: Sequence[Row]) -> Iterator[Step]:
    """The steps of a path; from one leg to the next there is none.

    Args:
        rows: rows of path.csv.

    Yields:
        The steps in order.
    """
    path = numbers(rows)
    for (before, start), (after, end) in pairwise(zip(path, _places(path), strict=True)):
        if start[0] == end[0]:
            moved = {name for name, a, b in zip(_PLACE, start, end, strict=True) if a != b}
            yield Step(before, after, moved)


def loops(path: Sequence[Numbers]) -> Iterator[tuple[int, int]]:
    """From each row back to the latest one at the same place, with another place between them.

    Args:
        path: rows as :func:`numbers` gives them.

    Yields:
        Indices of both rows.
    """
    latest: dict[Place, int] = {}
    for j, place in enumerate(_places(path)):
        i = latest.get(place, j)
        if j - i > 1:
            yield i, j
        latest[place] = j


def by_data(path: Sequence[Numbers]) -> list[list[tuple[tuple[int, int], Numbers]]]:
    """The rows with D and C of each (leg, t).

    Args:
        path: rows as :func:`numbers` gives them.

    Returns:
        For each (leg, t) its rows, each behind its place in (λ, γ).
    """
    groups: dict[tuple[int, int], list[tuple[tuple[int, int], Numbers]]] = {}
    for (leg, t, lam, gam), row in zip(_places(path), path, strict=True):
        if finite(row, "D", "C"):
            groups.setdefault((leg, t), []).append(((lam, gam), row))
    return list(groups.values())


def rectangles(path: Sequence[Numbers]) -> Iterator[tuple[list[list[Numbers]], float, float]]:
    """Rectangles of neighbours on a grid in (λ, γ), at the same (leg, t).

    Args:
        path: rows as :func:`numbers` gives them; of a place visited again the last one counts.

    Yields:
        The corners, [λ low, high][γ low, high], and the lengths of the sides in λ and γ.
    """
    for group in by_data(path):
        grid = dict(group)
        lams, gams = (sorted(set(axis)) for axis in zip(*grid, strict=True))
        for lam, gam in product(pairwise(lams), pairwise(gams)):
            if all(place in grid for place in product(lam, gam)):
                corners = [[grid[low, high] for high in gam] for low in lam]
                first, last = corners[0][0], corners[1][1]
                yield corners, last["lambda"] - first["lambda"], last["gamma"] - first["gamma"]


def _places(path: Sequence[Numbers]) -> list[Place]:
    # (leg, t, λ, γ) by levels: sums of steps return to a place only up to rounding
    leg, t, lam, gam = (_levels([row[name] for row in path]) for name in _PLACE)
    return list(zip(leg, t, lam, gam, strict=True))


def _levels(values: Sequence[float]) -> list[int]:
    # number the distinct values in ascending order; a relative 1e-9 apart is the same
    distinct: list[float] = []
    for value in sorted(values):
        if not distinct or value - distinct[-1] > 1e-9 * max(1.0, abs(value)):
            distinct.append(value)
    return [bisect_right(distinct, value) for value in values]
