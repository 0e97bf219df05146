"""Where latents switch on, and where a map jumps.

A latent of rate R_i has the order parameter m = (1 - exp(-2 R_i))^½: of a linear-Gaussian model the
amplitude of its mean. There m = (1 - λ_c/λ)^½ exactly, a transition of second order with the
exponent ½, and D_λ jumps by -1/(2λ_c²).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import curve_fit

from thermo_pl.errors import ConfigError
from thermo_pl.estimate import Estimate
from thermo_pl.path.columns import Row
from thermo_pl.surface.kernel import Array

OFF = 0.01
"""Order parameter, squared, below which a latent is off."""
LEAST = 4
"""Nodes with a latent on that a fit takes, at least."""
NEAR = 0.5
"""Largest 1 - λ_c/λ of the nodes that a fit takes."""


@dataclass(frozen=True)
class Switch:
    """A latent that switches on as λ rises.

    Attributes:
        latent: its number, 1 for the largest rate.
        lam: λ_c.
        exponent: β of m = a (1 - λ_c/λ)^β; its error is that of the fit.
        amplitude: a.
        jump: of D_λ at λ_c; nan where there are too few nodes on one side.
    """

    latent: int
    lam: Estimate
    exponent: Estimate
    amplitude: float
    jump: float


def order_parameter(rate: Sequence[float] | Array) -> Array:
    """The order parameter of a latent.

    Args:
        rate: R of it, nats.

    Returns:
        m = (1 - exp(-2R))^½, between 0 and 1.
    """
    found: Array = np.sqrt(-np.expm1(-2 * np.maximum(np.asarray(rate, float), 0)))
    return found


def switches(nodes: Sequence[Row]) -> list[Switch]:
    """The latents that switch on along a line of nodes.

    Args:
        nodes: lines of surface.csv at one γ.

    Returns:
        Those with at least one node off and :data:`LEAST` on, near where they switch.

    Raises:
        ConfigError: if the nodes have several γ.
    """
    if len({row["gamma"] for row in nodes}) > 1:
        raise ConfigError("nodes: got several γ; allowed: a line of nodes along λ, at one γ")
    rows = sorted(nodes, key=lambda row: float(row["lambda"]))
    names = [name for name in (rows[0] if rows else {}) if name.startswith("rate_")]
    lam = np.array([row["lambda"] for row in rows], float)
    found = []
    for number, name in enumerate(names, 1):
        order = order_parameter([row[name] for row in rows])
        on = order**2 > OFF
        if on.all() or on.sum() < LEAST or not on[on.argmax() :].all():
            continue
        switch = _fitted(number, lam, order, int(on.argmax()))
        if switch is not None:
            found.append(switch)
    marks = [switch.lam.value for switch in found]
    distortion = np.array([row["D"] for row in rows], float)
    return [_with_jump(switch, marks, lam, distortion) for switch in found]


def _law(lam: Array, critical: float, amplitude: float, exponent: float) -> Array:
    found: Array = amplitude * np.maximum(1 - critical / lam, 1e-12) ** exponent
    return found


def _fitted(number: int, lam: Array, order: Array, first: int) -> Switch | None:
    low, high = lam[first - 1], lam[first]
    near = (lam >= high) & (1 - low / lam <= NEAR)
    if near.sum() < LEAST:
        return None
    start = [0.5 * (low + high), 1.0, 0.5]
    bounds = ([0.5 * low, 0.0, 0.05], [high * (1 - 1e-9), 10.0, 5.0])
    best, covariance = curve_fit(_law, lam[near], order[near], start, bounds=bounds, xtol=1e-14)
    errors = np.sqrt(np.diag(covariance))
    critical, exponent = Estimate(best[0], errors[0]), Estimate(best[2], errors[2])
    return Switch(number, critical, exponent, float(best[1]), math.nan)


def _with_jump(switch: Switch, marks: Sequence[float], lam: Array, distortion: Array) -> Switch:
    # D is a line in 1/λ between transitions, of linear-Gaussian models: its slope jumps
    critical = switch.lam.value
    below = max((mark for mark in marks if mark < critical), default=0.0)
    above = min((mark for mark in marks if mark > critical), default=math.inf)
    slopes = []
    for side in ((lam > below) & (lam < critical), (lam > critical) & (lam < above)):
        if side.sum() < 2:
            return switch
        slopes.append(np.polyfit(1 / lam[side], distortion[side], 1)[0])
    jump = -(slopes[1] - slopes[0]) / critical**2
    return Switch(switch.latent, switch.lam, switch.exponent, switch.amplitude, float(jump))


@dataclass(frozen=True)
class Jump:
    """What a walk to and fro along γ says of a transition of first order.

    Attributes:
        up: γ at which it jumps on the way up, the middle of the step.
        down: the same on the way down.
        area: of the hysteresis, ∮ C dγ in nats: what a round trip gives off.
        loss: change of C on the way up, nats.
        distortion: change of D.
        rate: change of R.
    """

    up: float
    down: float
    area: float
    loss: float
    distortion: float
    rate: float

    @property
    def heat(self) -> float:
        """γ ΔC at the transition, nats: the latent heat. ΔF = ΔR + λΔD + γΔC is nothing there."""
        return 0.5 * (self.up + self.down) * self.loss


def round_trip(visits: Sequence[Row]) -> Jump:
    """The largest jump of C on a walk along γ and back.

    Args:
        visits: rows of path.csv of a map with one λ: γ rises, and falls again.

    Returns:
        Where it jumps on both ways, and by how much.

    Raises:
        ConfigError: if the walk is not one to and fro.
    """
    gam = [row["gamma"] for row in visits]
    turn = int(np.argmax(gam))
    ways = visits[: turn + 1], visits[turn:][::-1]
    if min(map(len, ways)) < 2 or len({row["lambda"] for row in visits}) > 1:
        raise ConfigError("visits: got no walk along γ and back; allowed: a map with one λ, twice")
    steps = [max(pairwise(way), key=lambda pair: abs(pair[1]["C"] - pair[0]["C"])) for way in ways]
    places = [0.5 * (low["gamma"] + high["gamma"]) for low, high in steps]
    work = [
        sum(0.5 * (a["C"] + b["C"]) * (b["gamma"] - a["gamma"]) for a, b in pairwise(way))
        for way in ways
    ]
    low, high = steps[0]
    loss, distortion, rate = (high[name] - low[name] for name in "CDR")
    return Jump(places[0], places[1], work[0] - work[1], loss, distortion, rate)
