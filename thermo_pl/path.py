"""The measured path of a process: the columns of path.csv, its balance and its strokes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

import numpy as np

Row = dict[str, Any]

COLUMNS = (
    "step",
    "cycle",
    "stroke",
    "leg",
    "t",
    "lambda",
    "gamma",
    "R",
    "D",
    "C",
    "J",
    "C_target",
    "C_predicted",
    "C_lambda",
    "C_gamma",
    "C_t",
    "D_lambda",
    "D_gamma",
    "D_t",
    "J_t",
    "R_error",
    "D_error",
    "C_error",
    "J_error",
    "C_control",
    "stationarity",
    "first_law_residual",
    "first_law_error",
    "work",
    "work_error",
    "relaxation",
    "relaxation_error",
    "length",
    "length_change",
    "predictor_miss",
    "rejected",
    "transition",
    "solver_status",
    "solver_iterations",
    "corrections",
    "gradients",
    "seconds",
    "val_C",
    "val_accuracy",
)
"""Columns of path.csv, one row per macro-step.

R, D, C, J and J_t = ∂_tJ (explicit, at fixed θ) are measured after relaxation on the measuring
probe; columns that end in ``_error`` are standard errors over the noise draws, those of a
difference with common random numbers. ``work`` is what the motion of λ, γ and the data does to J at
fixed θ, ``relaxation`` what J falls by while θ moves, so that ΔJ = work - relaxation. ``length`` is
the thermodynamic length of the step in nats^½, the mean over the metrics at its two ends, and
``length_change`` the one at its end less the one at its start. C_control is C on the probe that
steers, C_predicted is C on the measuring probe after the predictor and before relaxation,
``predictor_miss`` is |C/C* - 1| at that moment on the probe that steers. ``rejected`` counts longer
steps that were tried and taken back, ``transition`` is a word where the equilibrium is singular or
jumps. The total derivatives, the stationarity, the lengths and the solver's columns come from the
solving probe. ``corrections`` counts the corrector's steps after relaxation, ``gradients`` the
gradient evaluations of the step: training images, and curvature products per right-hand side.
Energies are in nats.
"""


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
    values = [abs(r["C"] / r["C_target"] - 1) for r in rows if np.isfinite(r["C_target"])]
    return (max(values), float(np.mean(values))) if values else (float("nan"), float("nan"))


def strokes(rows: Sequence[Row], ending: str) -> list[dict[str, Any]]:
    """Summarise each stroke of a path, for strokes.json.

    Args:
        rows: the path.
        ending: how the last stroke stands: ``running``, ``done`` or why it stopped.

    Returns:
        One object per stroke, in order; before the first row one with the status alone.
    """
    if not rows:
        return [{"cycle": 0, "stroke": "equilibration", "status": ending}]
    summary: list[dict[str, Any]] = []
    start: Row | None = None
    for (cycle, name), group in groupby(rows, key=lambda row: (row["cycle"], row["stroke"])):
        members = list(group)
        # a stroke starts where the one before it ended
        path = members if start is None else [start, *members]
        first, last = path[0], path[-1]
        largest, mean = drift(members)
        ends = {
            key: [first[key], last[key]] for key in ("t", "lambda", "gamma", "R", "D", "C", "J")
        }
        summary.append({
            "cycle": cycle,
            "stroke": name,
            "steps": [members[0]["step"], last["step"]],
            "leg": last["leg"],
            **ends,
            "C_target": last["C_target"],
            "drift_max": largest,
            "drift_mean": mean,
            "first_law_residual_median": relative_first_law_residual(path),
            "stationarity": last["stationarity"],
            "gradients": sum(row["gradients"] for row in members),
            "seconds": sum(row["seconds"] for row in members),
            "status": "done",
        })
        start = last
    summary[-1]["status"] = ending
    return summary
