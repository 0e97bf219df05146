r"""The ledger of a path: heat, work and efficiency, from the rows of path.csv alone.

dF = D dλ + C dγ + ∂_sF ds has the form dU = T dS - p dV with U = F, T = C, S = γ, V = λ, p = -D, s
being the coordinate of the data. Over a stroke

    Q = ∫ C dγ,   W_λ = -∫ D dλ,   W_s = -∫ ∂_sF ds,   ΔF = Q - W_λ - W_s,

so that over a closed cycle W = W_λ + W_s = ∮ C dγ. With Q_h what is taken in (dγ > 0) and Q_c what
is given off, η = W/Q_h = 1 - Q_c/Q_h, and no cycle within C_c ≤ C ≤ C_h has more than 1 - C_c/C_h.

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
from dataclasses import asdict
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from thermo_pl.checks import Check, equality, inequality
from thermo_pl.path import Row, drift, relative_first_law_residual, stroke_paths, total

Array = NDArray[np.float64]

TOLERANCE = 0.05
"""Of the checks, relative to the heat taken in."""
NEGLIGIBLE = 1e-9
"""Parts of a step in γ below this share of its range are nothing but rounding."""
GAUSS = np.polynomial.legendre.leggauss(3)
"""Exact for the product of a cubic and the slope of another."""


class Value(NamedTuple):
    """A number and its standard error, 0 where it is exact.

    Attributes:
        value: the number.
        error: its standard error.
    """

    value: float
    error: float = 0.0

    def __neg__(self) -> Value:
        """The number with the other sign.

        Returns:
            It.
        """
        return Value(-self.value, self.error)


def add(*values: Value) -> Value:
    """Sum of numbers with independent errors.

    Args:
        *values: the numbers.

    Returns:
        Their sum.
    """
    return Value(sum(v.value for v in values), math.hypot(*(v.error for v in values)))


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


def together(parts: Iterable[Part]) -> Value:
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
    return Value(value, math.hypot(*legs.values()))


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
    index = np.arange(n, dtype=np.float64)
    slope = CubicSpline(index, np.asarray(control, dtype=np.float64)).derivative()
    basis = CubicSpline(index, np.eye(n))
    cuts = slope.roots(extrapolate=False) if turns else index[:0]
    edges = np.unique(np.concatenate([index, cuts[np.isfinite(cuts)]]))
    widths = np.diff(edges)[:, None]
    nodes = edges[:-1, None] + widths * (1 + GAUSS[0]) / 2
    scales = widths * GAUSS[1] / 2
    return np.asarray(np.einsum("jg,jg,jgk->jk", scales, slope(nodes), basis(nodes)))


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
    for leg in _legs(rows):
        end = start + len(leg) - 1
        y = np.array([_number(row, name) for row in leg])
        result[start:end] = weights([row[control] for row in leg]) @ y
        if end < len(result):
            before, after = rows[end], rows[end + 1]
            width = 0.0 if control == "t" else after[control] - before[control]
            result[end] = width * (_number(before, name) + _number(after, name)) / 2
        start = end + 1
    return result


def integral(rows: Sequence[Row], name: str, control: str) -> Value:
    """∫ y dx along a path.

    Args:
        rows: the path.
        name: column of y; ``{name}_error`` is its standard error, if there is one.
        control: column of x.

    Returns:
        The integral; errors as the module says.
    """
    return together(_parts(rows, name, control))


def change(rows: Sequence[Row], name: str) -> Value:
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
    return Value(float(last[name] - first[name]), error)


def balance(rows: Sequence[Row]) -> dict[str, Value]:
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
        balanced = balance(path)
        summary.append({
            "cycle": cycle,
            "stroke": name,
            "steps": [members[0]["step"], last["step"]],
            "leg": last["leg"],
            **{key: [first[key], last[key]] for key in ends},
            "C_target": last["C_target"],
            "drift_max": largest,
            "drift_mean": mean,
            **{key: value for key, (value, _) in balanced.items()},
            **{f"{key}_error": error for key, (_, error) in balanced.items()},
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


class Flow(NamedTuple):
    """Heat exchanged with one reservoir.

    Attributes:
        heat: Q = ∫ C dγ, positive where it is taken in.
        C: the mean C at which it is exchanged, Q/Δγ.
        C_reservoir: C* on a stroke that holds C; C itself elsewhere.
    """

    heat: Part
    C: float
    C_reservoir: float


class Balance(NamedTuple):
    """The ledger of a closed cycle, in nats.

    Attributes:
        flows: heat taken in and given off.
        work_control: W_λ = -∮ D dλ.
        work_domain: W_s = -∮ ∂_sF ds.
        dissipation: sum of what the relaxations gave off.
        length: thermodynamic length, nats^½.
        gamma_error: standard error of the closure of γ.
        unclosed: by how much F at the end exceeds F at the start, as (λ, γ) do not come back
            exactly: C Δγ + D Δλ with the means of both ends.
    """

    flows: list[Flow]
    work_control: Value
    work_domain: Value
    dissipation: Value
    length: float
    gamma_error: float
    unclosed: float

    @property
    def heat_hot(self) -> Value:
        """Q_h, all the heat that is taken in."""
        return together(flow.heat for flow in self.flows if flow.heat.value > 0)

    @property
    def heat_cold(self) -> Value:
        """Q_c ≥ 0, all the heat that is given off."""
        return -together(flow.heat for flow in self.flows if flow.heat.value < 0)

    @property
    def loss_hot(self) -> float:
        """The highest C at which heat is exchanged."""
        return max((flow.C for flow in self.flows), default=math.nan)

    @property
    def loss_cold(self) -> float:
        """The lowest C at which heat is exchanged."""
        return min((flow.C for flow in self.flows), default=math.nan)

    @property
    def work(self) -> Value:
        """W = Q_h - Q_c = ∮ C dγ, the better conditioned of the two ways to the work."""
        return together(flow.heat for flow in self.flows)

    @property
    def work_mechanical(self) -> Value:
        """W = -∮ D dλ - ∮ ∂_sF ds: the same for a closed cycle of equilibria."""
        return add(self.work_control, self.work_domain)

    @property
    def works_gap(self) -> Value:
        """∮ C dγ + ∮ D dλ + ∮ ∂_sF ds of the cycle closed by a straight line in (λ, γ): ∮ dF = 0.

        Without that line it would be F at the end less F at the start, and of an imperfect closure
        that is no error of either work.
        """
        return add(self.work, -self.work_mechanical, Value(-self.unclosed))

    @property
    def efficiency(self) -> Value:
        """η = W/Q_h; nan where no heat is taken in."""
        hot = self.heat_hot.value
        if not hot:
            return Value(math.nan, math.nan)
        ratio = self.heat_cold.value / hot
        heats = [flow.heat for flow in self.flows]
        # dη = (Q_c/Q_h dQ_h - dQ_c)/Q_h
        shares = (Part(leg, 0.0, e * (ratio if q > 0 else 1.0) / hot) for leg, q, e in heats)
        return Value(1 - ratio, together(shares).error)

    @property
    def finite_efficiency(self) -> Value:
        """(W - dissipation)/Q_h: what a cycle of finite speed delivers."""
        hot, paid = self.heat_hot.value, self.dissipation
        if not hot:
            return Value(math.nan, math.nan)
        return add(self.efficiency, Value(-paid.value / hot, paid.error / hot))

    @property
    def carnot_efficiency(self) -> float:
        """η_C = 1 - C_c/C_h."""
        return 1 - self.loss_cold / self.loss_hot

    @property
    def clausius(self) -> Value:
        """∮ δQ/C over the reservoirs, which is ∮ dγ = 0 for a closed quasi-static cycle."""
        found = together(
            Part(leg, value / flow.C_reservoir, error / flow.C_reservoir)
            for flow in self.flows
            for leg, value, error in [flow.heat]
        )
        return add(found, Value(0.0, self.gamma_error))


def cycle_balance(strokes: Sequence[Sequence[Row]], closing: Row | None = None) -> Balance:
    """The ledger of a cycle.

    Heat exchanged on a stroke that holds C counts net, as it is exchanged with one reservoir;
    elsewhere every step counts for itself, cut where γ turns around.

    Args:
        strokes: the rows of each stroke, the point it begins at included.
        closing: the end of the cycle on the probe that its start was measured on, if that differs.

    Returns:
        The ledger.
    """
    paid = [row for stroke in strokes for row in stroke[1:]]
    first, last = strokes[0][0], strokes[-1][-1]
    ends = (float(row["C_error"] / row["C_gamma"]) for row in (first, last))
    return Balance(
        [flow for rows in strokes for flow in _flows(rows)],
        -together(part for rows in strokes for part in _parts(rows, "D", "lambda")),
        -together(part for rows in strokes for part in _parts(rows, "J_t", "t")),
        Value(
            total(paid, "relaxation"), math.hypot(*(_number(r, "relaxation_error") for r in paid))
        ),
        total(paid, "length"),
        math.hypot(*ends),
        integral([first, closing or last], "C", "gamma").value
        + integral([first, closing or last], "D", "lambda").value,
    )


def summarise_cycle(
    strokes: Sequence[Sequence[Row]], closing: Row | None, theta_gap: float
) -> dict[str, Any]:
    """What a cycle comes to, for cycle.json.

    Args:
        strokes: the rows of each stroke, the point it begins at included.
        closing: the end of the cycle on the probe that its start was measured on, if that differs.
        theta_gap: |θ_end - θ_start| / |θ_start|. It can be large where nothing else differs, as
            J does not change when latents are turned or swapped.

    Returns:
        Plain numbers, nats; errors as the module says. ``closure`` is end less start, and
        ``relative_closure`` that of λ and γ over their ranges, that of R, D and C over their start.
    """
    found = cycle_balance(strokes, closing)
    first, last = strokes[0][0], strokes[-1][-1]
    closed, rows = closing or last, [row for stroke in strokes for row in stroke]
    controls = {name: last[name] - first[name] for name in ("lambda", "gamma")}
    terms = {name: closed[name] - first[name] for name in "RDC"}
    ranges = {name: max(r[name] for r in rows) - min(r[name] for r in rows) for name in controls}
    values = {
        "work": found.work,
        "heat_hot": found.heat_hot,
        "heat_cold": found.heat_cold,
        "efficiency": found.efficiency,
        "finite_efficiency": found.finite_efficiency,
        "work_control": found.work_control,
        "work_domain": found.work_domain,
        "dissipation": found.dissipation,
        "works_gap": found.works_gap,
        "clausius": found.clausius,
    }
    return {
        "carnot_efficiency": found.carnot_efficiency,
        "C_hot": found.loss_hot,
        "C_cold": found.loss_cold,
        **{name: value for name, (value, _) in values.items()},
        **{f"{name}_error": error for name, (_, error) in values.items()},
        "closure": {**controls, "theta": theta_gap, **terms},
        "relative_closure": {
            **{name: gap / ranges[name] if ranges[name] else 0.0 for name, gap in controls.items()},
            **{name: gap / first[name] for name, gap in terms.items()},
        },
        "length": found.length,
        "checks": [asdict(check) for check in cycle_checks(found)],
    }


def cycle_checks(balance: Balance, tolerance: float = TOLERANCE) -> list[Check]:
    """Holds the ledger of a closed cycle against the second law and its consequences.

    Args:
        balance: the ledger.
        tolerance: of the equalities, relative to the heat taken in.

    Returns:
        Clausius, both ways to the work, Carnot's theorem; for a cycle at a single C, Kelvin's
        statement in place of Carnot's.
    """
    hot, gap = balance.heat_hot.value, balance.works_gap
    rise = sum(flow.heat.value / flow.C for flow in balance.flows if flow.heat.value > 0)
    checks = [
        equality("Clausius, ∮ δQ/C = 0", "∮ δQ/C = ∮ dγ = 0", *balance.clausius, tolerance * rise),
        equality("cycle, both works", "∮ C dγ + ∮ D dλ + ∮ ∂_sF ds = 0", *gap, tolerance * hot),
    ]
    if balance.loss_hot <= (1 + tolerance) * balance.loss_cold:
        law = "Kelvin, W = 0 at a single C"
        return [*checks, equality(law, "W = C ∮ dγ = 0", *balance.work, tolerance * hot)]
    slack = Value(balance.carnot_efficiency - balance.efficiency.value, balance.efficiency.error)
    return [*checks, inequality("Carnot, η ≤ 1 - C_c/C_h", "η_C - η ≥ 0", *slack, tolerance)]


def _parts(rows: Sequence[Row], name: str, control: str) -> list[Part]:
    # ∫ y dx over each step, which belongs to the leg it ends on
    values = step_integrals(rows, name, control).tolist()
    errors = step_integrals(rows, f"{name}_error", control).tolist()
    legs = (row["leg"] for row in rows[1:])
    return [Part(*part) for part in zip(legs, values, errors, strict=True)]


def _flows(rows: Sequence[Row]) -> list[Flow]:
    return [flow for leg in _legs(rows) for flow in _exchanges(leg)]


def _exchanges(rows: Sequence[Row]) -> list[Flow]:
    # the heat of a stroke on its leg: all of it where C is held, else part by part
    gamma = [row["gamma"] for row in rows]
    shares = weights(gamma, turns=True)
    target = _held_loss(rows)
    if target is not None:
        shares = shares.sum(0, keepdims=True)
    widths = shares.sum(1)
    heats, errors = (shares @ [_number(row, name) for row in rows] for name in ("C", "C_error"))
    least = NEGLIGIBLE * float(np.ptp(gamma))  # too narrow to say at which C
    return [
        Flow(Part(rows[0]["leg"], q, e), q / w, q / w if target is None else target)
        for q, e, w in zip(heats.tolist(), errors.tolist(), widths.tolist(), strict=True)
        if abs(w) > least
    ]


def _held_loss(rows: Sequence[Row]) -> float | None:
    targets = {float(row["C_target"]) for row in rows[1:]}
    target = targets.pop() if len(targets) == 1 else math.nan
    return target if math.isfinite(target) else None


def _products(row: Row) -> dict[str, float]:
    # λD + γC and γC with their errors; D and C share their draws
    lam, gam = float(row["lambda"]), float(row["gamma"])
    heat, work = gam * row["C"], lam * row["D"]
    heat_error, work_error = gam * _number(row, "C_error"), lam * _number(row, "D_error")
    return {
        "gamma_C": heat,
        "gamma_C_error": heat_error,
        "lambda_D_gamma_C": work + heat,
        "lambda_D_gamma_C_error": work_error + heat_error,
    }


def _legs(rows: Sequence[Row]) -> list[list[Row]]:
    return [list(group) for _, group in groupby(rows, key=lambda row: row["leg"])]


def _number(row: Row, name: str) -> float:
    value = row.get(name)
    return 0.0 if value is None or math.isnan(value) else float(value)
