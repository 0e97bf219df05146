r"""The ledger of a closed cycle: efficiency, Carnot's theorem, and what both of them presuppose.

Over a closed cycle W = W_λ + W_s = ∮ C dγ. An engine, W > 0, takes Q_h in (dγ > 0) and gives Q_c
off: η = W/Q_h = 1 - Q_c/Q_h, and no cycle within C_c ≤ C ≤ C_h has more than η_C = 1 - C_c/C_h. A
heat pump, W < 0, is an engine that runs backwards: Q_c is taken in and Q_h given off, and it has a
coefficient of performance Q_h/|W| = 1/η.

These are statements about a cycle that closes, whose iso-classifications hold their C. Where a
premise fails, η, η_C and the checks that rest on it are *not applicable*, and the reasons are
given: :mod:`thermo_pl.laws.cycle_premises`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from thermo_pl.estimate import Estimate, add, with_errors
from thermo_pl.laws.checks import Check, equality, inequality, judge, with_premises
from thermo_pl.laws.cycle_premises import (
    TOLERANCE,
    error_of_gamma,
    held_loss,
    why_no_machine,
    why_no_reservoir,
    why_not_closed,
)
from thermo_pl.laws.ledger import (
    Array,
    Part,
    integral,
    known,
    legs_of,
    parts,
    together,
    weights,
)
from thermo_pl.path.columns import Row
from thermo_pl.path.segments import total

NEGLIGIBLE = 1e-9
"""Parts of a step in γ below this share of its range are nothing but rounding."""


class Flow(NamedTuple):
    """Heat exchanged with one reservoir.

    Attributes:
        heat: Q = ∫ C dγ, positive where it is taken in.
        C: the mean C at which it is exchanged: Q/Δγ where γ goes one way, and the mean of the
            measured C where it turns around, as Q/Δγ can then be any number.
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
        not_closed: what speaks against a closed cycle; nothing where it closes.
        no_reservoir: what speaks against strokes that exchange their heat at one C each.
    """

    flows: list[Flow]
    work_control: Estimate
    work_domain: Estimate
    dissipation: Estimate
    length: float
    gamma_error: float
    unclosed: float
    not_closed: tuple[str, ...] = ()
    no_reservoir: tuple[str, ...] = ()

    @property
    def not_applicable(self) -> list[str]:
        """Why η, η_C and Carnot's theorem do not apply; empty where they do."""
        machine = why_no_machine(self._taken, self._given)
        return [*self.not_closed, *self.no_reservoir, *machine]

    @property
    def pumps(self) -> bool:
        """Whether work is taken up, beyond its error: a heat pump and no engine."""
        return not judge(-self.work.value, self.work.error, 0.0).shown

    @property
    def _taken(self) -> Estimate:
        return together(flow.heat for flow in self.flows if flow.heat.value > 0)

    @property
    def _given(self) -> Estimate:
        return -together(flow.heat for flow in self.flows if flow.heat.value < 0)

    @property
    def heat_hot(self) -> Estimate:
        """Q_h ≥ 0: what an engine takes in, or a heat pump gives off."""
        return self._given if self.pumps else self._taken

    @property
    def heat_cold(self) -> Estimate:
        """Q_c ≥ 0: what an engine gives off, or a heat pump takes in."""
        return self._taken if self.pumps else self._given

    @property
    def loss_hot(self) -> float:
        """The highest C at which heat is exchanged."""
        return max((flow.C for flow in self.flows), default=math.nan)

    @property
    def loss_cold(self) -> float:
        """The lowest C at which heat is exchanged."""
        return min((flow.C for flow in self.flows), default=math.nan)

    @property
    def work(self) -> Estimate:
        """W = ∮ C dγ = ±(Q_h - Q_c), the better conditioned of the two ways to the work."""
        return together(flow.heat for flow in self.flows)

    @property
    def work_mechanical(self) -> Estimate:
        """W = -∮ D dλ - ∮ ∂_sF ds: the same for a closed cycle of equilibria."""
        return add(self.work_control, self.work_domain)

    @property
    def works_gap(self) -> Estimate:
        """∮ C dγ + ∮ D dλ + ∮ ∂_sF ds of the cycle closed by a straight line in (λ, γ): ∮ dF = 0.

        Without that line it would be F at the end less F at the start, and of an imperfect closure
        that is no error of either work.
        """
        return add(self.work, -self.work_mechanical, Estimate(-self.unclosed))

    @property
    def efficiency(self) -> Estimate:
        """η = |W|/Q_h = 1 - Q_c/Q_h; nan where no heat is exchanged at the high C."""
        hot = self.heat_hot.value
        if not hot:
            return Estimate(math.nan, math.nan)
        ratio = self.heat_cold.value / hot
        heats = [flow.heat for flow in self.flows]
        # dη = (Q_c/Q_h dQ_h - dQ_c)/Q_h
        shares = (
            Part(leg, 0.0, e * (1.0 if (q > 0) == self.pumps else ratio) / hot)
            for leg, q, e in heats
        )
        return Estimate(1 - ratio, together(shares).error)

    @property
    def finite_efficiency(self) -> Estimate:
        """(W - dissipation)/Q_h of an engine; of a heat pump (|W| + dissipation)/Q_h."""
        hot, paid = self.heat_hot.value, self.dissipation
        if not hot:
            return Estimate(math.nan, math.nan)
        lost = paid.value / hot if self.pumps else -paid.value / hot
        return add(self.efficiency, Estimate(lost, paid.error / hot))

    @property
    def carnot_efficiency(self) -> float:
        """η_C = 1 - C_c/C_h."""
        return 1 - self.loss_cold / self.loss_hot

    @property
    def clausius(self) -> Estimate:
        """∮ δQ/C over the reservoirs, which is ∮ dγ = 0 for a closed quasi-static cycle."""
        found = together(
            Part(leg, value / flow.C_reservoir, error / flow.C_reservoir)
            for flow in self.flows
            for leg, value, error in [flow.heat]
        )
        return add(found, Estimate(0.0, self.gamma_error))


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
    gamma_error = math.hypot(*(error_of_gamma(row) for row in (first, last)))
    noise = math.hypot(*(known(row, "relaxation_error") for row in paid))
    return Balance(
        [flow for rows in strokes for flow in _flows(rows)],
        -together(part for rows in strokes for part in parts(rows, "D", "lambda")),
        -together(part for rows in strokes for part in parts(rows, "J_t", "t")),
        Estimate(total(paid, "relaxation"), noise),
        total(paid, "length"),
        gamma_error,
        integral([first, closing or last], "C", "gamma").value
        + integral([first, closing or last], "D", "lambda").value,
        tuple(why_not_closed(strokes, closing or last, gamma_error)),
        tuple(reason for stroke in strokes for reason in why_no_reservoir(stroke)),
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
        Plain numbers, nats; errors as the ledger says. ``closure`` is end less start, and
        ``relative_closure`` that of λ and γ over their ranges, that of R, D and C over their start.
        ``machine`` is ``engine`` or ``heat pump``. An engine has ``efficiency``, the one that it
        delivers at ``finite`` speed and Carnot's. Of a pump these are nan, and it has
        ``performance``, Q_h/|W|, in three such kinds. All are nan where the premises fail:
        ``not_applicable`` then says why, and is None else.
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
        **_efficiencies(found),
        "work_control": found.work_control,
        "work_domain": found.work_domain,
        "dissipation": found.dissipation,
        "works_gap": found.works_gap,
        "clausius": found.clausius,
    }
    return {
        "machine": "heat pump" if found.pumps else "engine",
        **_carnots(found),
        "not_applicable": "; ".join(found.not_applicable) or None,
        "C_hot": found.loss_hot,
        "C_cold": found.loss_cold,
        **with_errors(values),
        "closure": {**controls, "theta": theta_gap, **terms},
        "relative_closure": {
            **{name: gap / ranges[name] if ranges[name] else 0.0 for name, gap in controls.items()},
            **{name: gap / first[name] for name, gap in terms.items()},
        },
        "length": found.length,
        "checks": [asdict(check) for check in cycle_checks(found)],
    }


def _efficiencies(found: Balance) -> dict[str, Estimate]:
    # of an engine; a heat pump has performances instead
    nothing, known = Estimate(math.nan, math.nan), not found.not_applicable
    both = {"efficiency": found.efficiency, "finite_efficiency": found.finite_efficiency}
    engine = {name: value if known and not found.pumps else nothing for name, value in both.items()}
    if not found.pumps:
        return engine
    pump = {
        name.replace("efficiency", "performance"): _inverse(value) if known else nothing
        for name, value in both.items()
    }
    return engine | pump


def _inverse(of: Estimate) -> Estimate:
    return Estimate(1 / of.value, of.error / of.value**2)


def _carnots(found: Balance) -> dict[str, float]:
    efficiency = math.nan if found.not_applicable else found.carnot_efficiency
    if not found.pumps:
        return {"carnot_efficiency": efficiency}
    inverse = 1 / efficiency if efficiency else math.inf
    return {"carnot_efficiency": math.nan, "carnot_performance": inverse}


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
    size = hot or abs(balance.work_control.value) + abs(balance.work_domain.value)
    rise = sum(flow.heat.value / flow.C for flow in balance.flows if flow.heat.value > 0)
    closed = list(balance.not_closed)
    heat = [] if balance.flows else ["no heat is exchanged"]
    law, statement = "Clausius, ∮ δQ/C = 0", "∮ δQ/C = ∮ dγ = 0"
    found = balance.clausius
    clausius = equality(law, statement, found.value, found.error, tolerance * rise)
    law, statement = "cycle, both works", "∮ C dγ + ∮ D dλ + ∮ ∂_sF ds = 0"
    works = equality(law, statement, gap.value, gap.error, tolerance * size)
    checks = [
        with_premises(clausius, [*closed, *balance.no_reservoir, *heat]),
        with_premises(works, closed),
    ]
    if balance.loss_hot <= (1 + tolerance) * balance.loss_cold:
        law, work = "Kelvin, W = 0 at a single C", balance.work
        kelvin = equality(law, "W = C ∮ dγ = 0", work.value, work.error, tolerance * hot)
        return [*checks, with_premises(kelvin, [*closed, *balance.no_reservoir, *heat])]
    slack = Estimate(balance.carnot_efficiency) - balance.efficiency
    law = "Carnot, |W|/Q_h ≤ 1 - C_c/C_h" if balance.pumps else "Carnot, η ≤ 1 - C_c/C_h"
    carnot = inequality(law, "η_C - η ≥ 0", slack.value, slack.error, tolerance)
    return [*checks, with_premises(carnot, balance.not_applicable)]


def _flows(rows: Sequence[Row]) -> list[Flow]:
    return [flow for leg in legs_of(rows) for flow in _exchanges(leg)]


def _exchanges(rows: Sequence[Row]) -> list[Flow]:
    # the heat of a stroke on its leg: all of it where C is held, else part by part
    gamma = [row["gamma"] for row in rows]
    least = NEGLIGIBLE * float(np.ptp(gamma))  # a narrower part does not say at which C
    every = weights(gamma, turns=True)
    shares, widths = _wide(every, least)
    target = held_loss(rows)
    turns = target is not None and bool((widths > 0).any() and (widths < 0).any())
    if target is not None:
        shares, widths = _wide(every.sum(0, keepdims=True), least)
    heats, errors = (shares @ [known(row, name) for row in rows] for name in ("C", "C_error"))
    mean = float(np.mean([row["C"] for row in rows]))
    flows = []
    for q, e, w in zip(heats.tolist(), errors.tolist(), widths.tolist(), strict=True):
        loss = mean if turns or q / w <= 0 else q / w
        flows.append(Flow(Part(rows[0]["leg"], q, e), loss, loss if target is None else target))
    return flows


def _wide(shares: Array, least: float) -> tuple[Array, Array]:
    # the parts that are wider in γ than that, and their widths
    widths = shares.sum(1)
    wide = np.abs(widths) > least
    return shares[wide], widths[wide]
