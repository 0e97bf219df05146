"""Whether a run held what it promised, by the probe that steered nothing.

The control probe decides while a process goes on. The verdict at its end is that of the measuring
probe, which has a noise of its own: a row is held if |miss| ≤ tolerance + z · error, by the rule
that judges every law, :func:`~thermo_pl.laws.checks.judge`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from thermo_pl.laws.checks import allowed_errors, judge
from thermo_pl.path.columns import PREPARATION, Row
from thermo_pl.path.segments import stroke_paths

Said = Literal["held", "not held", "not judged", "not promised"]


@dataclass(frozen=True)
class Promise:
    """What became of a promise.

    Attributes:
        verdict: whether it was kept.
        quantity: the one that was missed most, C or S; empty where none has a target.
        miss: what it missed its target by: C relative to C*, S relative to γC.
        error: standard error of the miss.
        step: number of the row.
        allowed: how large |miss| may be without noise.
        count: how many values were judged.
    """

    verdict: Said
    quantity: str
    miss: float
    error: float
    step: int
    allowed: float
    count: int


class Miss(NamedTuple):
    """What a row missed one of its targets by.

    Attributes:
        quantity: C or S.
        miss: C relative to C*, S relative to γC.
        error: its standard error.
        step: number of the row.
    """

    quantity: str
    miss: float
    error: float
    step: int

    def excess(self, z: float) -> float:
        """How far it is beyond z standard errors.

        Args:
            z: how many.

        Returns:
            Infinite where the miss is not known.
        """
        over = abs(self.miss) - z * (self.error if math.isfinite(self.error) else 0.0)
        return math.inf if math.isnan(over) else over


def promise(rows: Sequence[Row], tolerance: float) -> Promise:
    """Judge a path by its targets; of a cycle, its last pass.

    The error of C is that of its mean over the noise draws. S is a change since the start of a
    stroke. On a leg all rows share their draws, so that the noise of λD counts by its change. That
    of γC, which sits in few images and moves from one to another, counts at both ends.

    Args:
        rows: the path.
        tolerance: of the relative misses; infinite where nothing was promised.

    Returns:
        The verdict, with the value that exceeds its error most.
    """
    values = misses(rows)
    worst, kept = Miss("", math.nan, math.nan, -1), True
    if values:
        z = allowed_errors(len(values))
        worst = max(values, key=lambda value: value.excess(z))
        kept = judge(abs(worst.miss), worst.error, tolerance, len(values)).shown
    said: Said = "held" if kept else "not held"
    if not values:  # such as of a run that stopped before its first step
        said = "not judged"
    if math.isinf(tolerance):
        said = "not promised"
    return Promise(said, *worst, tolerance, len(values))


def misses(rows: Sequence[Row]) -> list[Miss]:
    """What the rows of a path missed their targets by; of a cycle, those of its last pass.

    Args:
        rows: the path.

    Returns:
        First those of C, then those of S.
    """
    return _losses(rows) + _entropies(rows)


def _promised(rows: Sequence[Row], target: str) -> list[Row]:
    # the rows of the last pass that have a target
    return [
        row
        for row in rows
        if row["cycle"] == rows[-1]["cycle"]
        and row["stroke"] not in PREPARATION
        and math.isfinite(row[target])
    ]


def _losses(rows: Sequence[Row]) -> list[Miss]:
    return [
        Miss(
            "C",
            row["C_held"] / row["C_target"] - 1,
            row["C_held_error"] / row["C_target"],
            row["step"],
        )
        for row in _promised(rows, "C_target")
    ]


def _entropies(rows: Sequence[Row]) -> list[Miss]:
    found, last = [], rows[-1]["cycle"] if rows else 0
    for stroke in (stroke for stroke in stroke_paths(rows) if stroke.cycle == last):
        start = stroke.path[0]
        for row in _promised(stroke.members, "S_target"):
            scale = row["gamma"] * row["C"]
            miss = (-row["lambda"] * row["D"] - scale - row["S_target"]) / scale
            common = abs(row["lambda"] * row["D_error"] - start["lambda"] * start["D_error"])
            free = math.hypot(*(each["gamma"] * each["C_error"] for each in (row, start)))
            error = (common + free) / scale
            found.append(Miss("S", miss, error, row["step"]))
    return found
