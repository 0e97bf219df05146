r"""The ledger of a path: heat, work and efficiency, from the rows of path.csv alone.

dF = D dλ + C dγ + ∂_sF ds has the form dU = T dS - p dV with U = F, T = C, S = γ, V = λ, p = -D, s
being the coordinate of the data. Over a stroke

    Q = ∫ C dγ,   W_λ = -∫ D dλ,   W_s = -∫ ∂_sF ds,   ΔF = Q - W_λ - W_s,

so that over a closed cycle W = W_λ + W_s = ∮ C dγ: :mod:`thermo_pl.laws.cycle_ledger`.

The slides write the heat as S = ΔR - ΔF = -Δ(λD + γC). This is the difference of a function of
state and sums to zero over any closed cycle, so that no efficiency can be built on it alone: it is
reported for each stroke, and the adiabats keep it at zero.

Integrals are those of cubic splines through the points of each leg, of fourth order in the step.
Standard errors are over the noise draws of the probe: on a leg all points share their draws, so
that their errors are taken as common; legs have draws of their own, and add in quadrature. What
training adds from run to run is not in them: compare seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from thermo_pl.estimate import Estimate, with_errors
from thermo_pl.path.columns import Row
from thermo_pl.path.segments import drift, relative_first_law_residual, stroke_paths, total

Array = NDArray[np.float64]

GAUSS = np.polynomial.legendre.leggauss(3)
"""Exact for the product of a cubic and the slope of another."""


class Part(NamedTuple):
    """One of the terms of a sum.

    Attributes:
        leg: where it was measured.
        value: the term.
        error: its standard error with a sign: on a leg all terms share their draws.
    """

    leg: int
    value: float
    error: float


def together(parts: Iterable[Part]) -> Estimate:
    """Sum of terms: errors add with their signs on a leg, and in quadrature across legs.

    Args:
        parts: the terms.

    Returns:
        Their sum.
    """
    value, legs = 0.0, dict[int, float]()
    for part in parts:
        value += part.value
        legs[part.leg] = legs.get(part.leg, 0.0) + part.error
    return Estimate(value, math.hypot(*legs.values()))


def weights(control: Sequence[float], turns: bool = False) -> Array:
    """Weights w with ∫ y dx = Σ_k w_jk y_k over each step j along points of a path.

    x and y are splined over the number of the point, so that x may stand still or turn around.

    Args:
        control: x at each point, n of them.
        turns: also cut the steps where x turns around, so that x has one direction in each part.

    Returns:
        Shape ``(n - 1, n)``, or more rows where steps are cut.
    """
    n = len(control)
    if n == 1:
        return np.zeros((0, 1))
    nodes, rates = _nodes(control, turns)
    basis = CubicSpline(np.arange(n, dtype=np.float64), np.eye(n))
    return np.asarray(np.einsum("jg,jgk->jk", rates, basis(nodes)))


def _nodes(control: Sequence[float], turns: bool = False) -> tuple[Array, Array]:
    # of Gauss's rule on each step, and there dx/ds times their weights; s numbers the points
    index = np.arange(len(control), dtype=np.float64)
    slope = CubicSpline(index, np.asarray(control, dtype=np.float64)).derivative()
    cuts = slope.roots(extrapolate=False) if turns else index[:0]
    edges = np.unique(np.concatenate([index, cuts[np.isfinite(cuts)]]))
    widths = np.diff(edges)[:, None]
    nodes = edges[:-1, None] + widths * (1 + GAUSS[0]) / 2
    return nodes, np.asarray(widths * GAUSS[1] / 2 * slope(nodes))


def step_integrals(rows: Sequence[Row], name: str, control: str) -> Array:
    """∫ y dx over each step of a path.

    Args:
        rows: the path, n points; missing values of y count as 0.
        name: column of y.
        control: column of x. Where the leg changes the data stand still, and the trapezoidal rule
            will do.

    Returns:
        Shape ``(n - 1,)``.
    """
    result = np.empty(len(rows) - 1)
    start = 0
    for leg in legs_of(rows):
        end = start + len(leg) - 1
        y = np.array([known(row, name) for row in leg])
        if len(leg) > 1:  # by y itself: the weights of n points are n² numbers
            nodes, rates = _nodes([row[control] for row in leg])
            spline = CubicSpline(np.arange(len(leg), dtype=np.float64), y)
            result[start:end] = (rates * spline(nodes)).sum(1)
        if end < len(result):
            before, after = rows[end], rows[end + 1]
            width = 0.0 if control == "t" else after[control] - before[control]
            result[end] = width * (known(before, name) + known(after, name)) / 2
        start = end + 1
    return result


def integral(rows: Sequence[Row], name: str, control: str) -> Estimate:
    """∫ y dx along a path.

    Args:
        rows: the path.
        name: column of y; ``{name}_error`` is its standard error, if there is one.
        control: column of x.

    Returns:
        The integral; errors as the module says.
    """
    return together(parts(rows, name, control))


def change(rows: Sequence[Row], name: str) -> Estimate:
    """What a quantity changes by along a path.

    Args:
        rows: the path.
        name: the column.

    Returns:
        Its last value less its first; on the same leg both share their draws.
    """
    first, last = rows[0], rows[-1]
    errors = [float(row.get(f"{name}_error") or 0) for row in (first, last)]
    same = first["leg"] == last["leg"]
    error = abs(errors[1] - errors[0]) if same else math.hypot(*errors)
    return Estimate(float(last[name] - first[name]), error)


def balance(rows: Sequence[Row]) -> dict[str, Estimate]:
    """The ledger of one stroke.

    Args:
        rows: the stroke, the point it begins at included.

    Returns:
        ``dR``, ``dD``, ``dC``, ``dF``; ``heat`` Q, ``work_control`` W_λ, ``work_domain`` W_s;
        ``S`` = ΔR - ΔF; ``minus_integral`` = -∫(λD + γC) dt and ``C_integral_gamma`` = ∫ Cγ dt over
        the clock of the slides, which is C ∫ γ dt where C is constant; nats.
    """
    heat = [{**row, **_products(row)} for row in rows]
    return {
        "dR": change(rows, "R"),
        "dD": change(rows, "D"),
        "dC": change(rows, "C"),
        "dF": change(rows, "J"),
        "heat": integral(rows, "C", "gamma"),
        "work_control": -integral(rows, "D", "lambda"),
        "work_domain": -integral(rows, "J_t", "t"),
        "S": -change(heat, "lambda_D_gamma_C"),
        "minus_integral": -integral(heat, "lambda_D_gamma_C", "time"),
        "C_integral_gamma": integral(heat, "gamma_C", "time"),
    }


def summarise_strokes(rows: Sequence[Row], ending: str) -> list[dict[str, Any]]:
    """What each stroke of a path comes to, for strokes.json.

    Args:
        rows: the path.
        ending: how the last stroke stands: ``running``, ``done`` or why it stopped.

    Returns:
        One object per stroke, in order; before the first row one with the status alone.
    """
    if not rows:
        return [{"cycle": 0, "stroke": "equilibration", "status": ending}]
    summary: list[dict[str, Any]] = []
    for cycle, name, members, path in stroke_paths(rows):
        first, last = path[0], path[-1]
        largest, mean = drift(members)
        ends = ("t", "lambda", "gamma", "R", "D", "C", "J")
        summary.append({
            "cycle": cycle,
            "stroke": name,
            "steps": [members[0]["step"], last["step"]],
            "leg": last["leg"],
            **{key: [first[key], last[key]] for key in ends},
            "C_target": last["C_target"],
            "drift_max": largest,
            "drift_mean": mean,
            **with_errors(balance(path)),
            "first_law_residual_median": relative_first_law_residual(path),
            "stationarity": last["stationarity"],
            "length": total(members, "length"),
            "dissipation": total(members, "relaxation"),
            "rejected": int(total(members, "rejected")),
            "transitions": [row["step"] for row in members if row.get("transition")],
            "gradients": sum(row["gradients"] for row in members),
            "seconds": sum(row["seconds"] for row in members),
            "status": "done",
        })
    summary[-1]["status"] = ending
    return summary


def parts(rows: Sequence[Row], name: str, control: str) -> list[Part]:
    """∫ y dx over each step of a path, which belongs to the leg it ends on.

    Args:
        rows: the path.
        name: column of y.
        control: column of x.

    Returns:
        One term for each step, with its error.
    """
    values = step_integrals(rows, name, control).tolist()
    errors = step_integrals(rows, f"{name}_error", control).tolist()
    legs = (row["leg"] for row in rows[1:])
    return [Part(*part) for part in zip(legs, values, errors, strict=True)]


def legs_of(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of a path, cut where the leg changes.

    Args:
        rows: the path.

    Returns:
        The rows of each leg, in order.
    """
    return [list(group) for _, group in groupby(rows, key=lambda row: row["leg"])]


def known(row: Row, name: str) -> float:
    """A value of a row, 0 where it is missing.

    Args:
        row: the row.
        name: the column.

    Returns:
        The value.
    """
    value = row.get(name)
    return 0.0 if value is None or math.isnan(value) else float(value)


def _products(row: Row) -> dict[str, float]:
    # λD + γC and γC with their errors; D and C share their draws
    lam, gam = float(row["lambda"]), float(row["gamma"])
    heat, work = gam * row["C"], lam * row["D"]
    heat_error, work_error = gam * known(row, "C_error"), lam * known(row, "D_error")
    return {
        "gamma_C": heat,
        "gamma_C_error": heat_error,
        "lambda_D_gamma_C": work + heat,
        "lambda_D_gamma_C_error": work_error + heat_error,
    }
