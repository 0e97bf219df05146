"""The measured path of a process: the columns of path.csv, its balance and its strokes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np

from thermo_pl.path.columns import BACK, FORWARD, Row


def first_law_residual(before: Row, after: Row) -> float:
    r"""What the first law leaves over between two points of a path.

    On the equilibrium surface dR + λ dD + γ dC = ∂_tF dt, and ∂_tF is the explicit ∂_tJ; all
    factors are taken by the trapezoidal rule, so the residual of exact equilibria is of third
    order in the step.

    Args:
        before: row at the start of the step.
        after: row at its end, on the same leg.

    Returns:
        ΔR + λΔD + γΔC - ∫∂_tF dt in nats.
    """

    def mean(name: str) -> float:
        return float(before[name] + after[name]) / 2

    def change(name: str) -> float:
        return float(after[name] - before[name])

    control = change("R") + mean("lambda") * change("D") + mean("gamma") * change("C")
    return control - mean("J_t") * change("t")


def step_size(before: Row, after: Row) -> float:
    """How much energy a step turns over, |ΔR| + λ|ΔD| + γ|ΔC|.

    Args:
        before: row at the start of the step.
        after: row at its end.

    Returns:
        Nats.
    """
    change = {name: abs(after[name] - before[name]) for name in "RDC"}
    return float(change["R"] + before["lambda"] * change["D"] + before["gamma"] * change["C"])


def relative_first_law_residual(rows: Sequence[Row]) -> float:
    """Median of |residual| / (|ΔR| + λ|ΔD| + γ|ΔC|) over the steps of a path.

    Args:
        rows: the path.

    Returns:
        The median; nan for fewer than two rows.
    """
    ratios = []
    for before, after in pairwise(rows):
        if before["leg"] == after["leg"]:
            residual, size = abs(first_law_residual(before, after)), step_size(before, after)
            ratios.append(residual / size if size else 0.0)
    return float(np.median(ratios)) if ratios else float("nan")


def drift(rows: Sequence[Row]) -> tuple[float, float]:
    """Largest and mean |C/C* - 1| over the rows that have a target.

    Args:
        rows: the path.

    Returns:
        Maximum and mean; nan where no row has a target.
    """
    values = [abs(r["C_held"] / r["C_target"] - 1) for r in rows if np.isfinite(r["C_target"])]
    return (max(values), float(np.mean(values))) if values else (float("nan"), float("nan"))


class Hysteresis(NamedTuple):
    """The largest difference between the way there and the way back.

    Attributes:
        leg: where.
        t: where on the leg.
        difference: way back less way there.
        error: its standard error, taking both ways as independent: common noise makes it smaller.
    """

    leg: int
    t: float
    difference: float
    error: float


def hysteresis(rows: Sequence[Row]) -> dict[str, Hysteresis]:
    """Largest differences of R, D, C and γ between a forward and a backward pass at equal t.

    The forward pass is interpolated linearly where the steps of both are not the same. The error
    of γ is δC/|C_γ|.

    Args:
        rows: the path.

    Returns:
        One for each of R, D, C and gamma; empty without a way back.
    """
    found: dict[str, Hysteresis] = {}
    back = [row for row in rows if row["stroke"] == BACK]
    for name in ("R", "D", "C", "gamma") if back else ():
        differences = [_difference(rows, row, name) for row in back]
        found[name] = max(differences, key=lambda h: abs(h.difference))
    return found


def _difference(rows: Sequence[Row], back: Row, name: str) -> Hysteresis:
    first = next(i for i, row in enumerate(rows) if row["stroke"] == FORWARD)
    there = [row for row in rows[first:] if row["stroke"] == FORWARD and row["leg"] == back["leg"]]
    if back["leg"] == rows[first]["leg"]:  # the pass begins at the row before its first step
        there.insert(0, rows[first - 1])
    t = [row["t"] for row in there]
    value, error = (np.interp(back["t"], t, [f(row, name) for row in there]) for f in (_at, _error))
    total = math.hypot(float(error), _error(back, name))
    return Hysteresis(back["leg"], back["t"], float(back[name] - value), total)


def _at(row: Row, name: str) -> float:
    return float(row[name])


def _error(row: Row, name: str) -> float:
    if name == "gamma":
        return float(row["C_error"] / abs(row["C_gamma"]))
    return float(row[f"{name}_error"])


def total(rows: Sequence[Row], name: str) -> float:
    """Sum of a column over the rows that have it; paths of older versions lack some.

    Args:
        rows: the path.
        name: the column.

    Returns:
        The sum; 0 for no rows.
    """
    return float(np.nansum([row.get(name, math.nan) for row in rows]))


class StrokePath(NamedTuple):
    """The rows of one stroke.

    Attributes:
        cycle: the cycle it belongs to.
        name: its name.
        members: its rows.
        path: the same from the point where the stroke begins. That is the row before, unless the
            stroke moves on to another leg: then its first row, which settles there.
    """

    cycle: int
    name: str
    members: list[Row]
    path: list[Row]


def stroke_paths(rows: Sequence[Row]) -> list[StrokePath]:
    """Cut a path into its strokes.

    Args:
        rows: the path.

    Returns:
        The strokes in order.
    """
    found: list[StrokePath] = []
    for (cycle, name), group in groupby(rows, key=lambda row: (row["cycle"], row["stroke"])):
        members = list(group)
        before = found[-1].members[-1:] if found else []
        start = [row for row in before if row["leg"] == members[0]["leg"] and row["cycle"] == cycle]
        found.append(StrokePath(cycle, name, members, start + members))
    return found
