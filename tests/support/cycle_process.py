"""The engine on the exact Carnot system: strokes in float64, each step relaxed to its optimum."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch

from support.carnot_system import COVARIANCES, LABELS, LEGS, NOISE, make_leg, tensor
from thermo_pl.datamodules import GaussianDomains
from thermo_pl.exact.gaussian import LinearGaussian
from thermo_pl.networks import (
    Gaussian,
    GaussianClassifier,
    LinearGaussianEncoder,
    MLPDecoder,
    Networks,
    StandardNormal,
)
from thermo_pl.path.columns import Row
from thermo_pl.process import (
    Continuation,
    CycleRule,
    Equilibration,
    Probes,
    Relaxed,
    Settings,
    Stroke,
    StrokeRule,
    System,
)
from thermo_pl.process.cycle_rule import CycleCourse
from thermo_pl.process.stroke_rule import StrokeCourse
from thermo_pl.response import ResponseSettings

RESPONSE = ResponseSettings(1e-8, "hessian", 1e-8, 300)


def make_system(legs: Sequence[int], lam: float, gam: float) -> System:
    """The networks of the cycle, and its data on some of the legs."""
    ends = [COVARIANCES[legs[0]], *(COVARIANCES[leg + 1] for leg in legs)]
    return make_system_of(ends, lam, gam)


def make_system_of(ends: Sequence[Any], lam: float, gam: float) -> System:
    """The networks of the cycle, and data that move from one covariance to the next."""
    torch.manual_seed(0)
    networks = Networks(
        LinearGaussianEncoder([1, 1, 3], 2),
        GaussianClassifier(2, 2, 0.2, label_noise=float(tensor(NOISE).trace())),
        MLPDecoder([1, 1, 3], 2, [], Gaussian(0.5)),
        StandardNormal(2),
        lam=lam,
        gam=gam,
    ).double()
    data = GaussianDomains(ends, LABELS, NOISE)
    data.setup()
    return System(networks, data)


def settle(system: System, leg: int) -> None:
    """Put θ at the exact minimum of J, the latents with the signs that they have."""
    settle_on(system, LEGS[leg])


def settle_on(system: System, leg: LinearGaussian) -> None:
    """The same on a leg whose closed form is given."""
    networks = system.networks
    leg.optimum(float(networks.lam), float(networks.gam), system.data.t).put(networks)


def run_strokes(
    legs: Sequence[int], start: tuple[float, float], strokes: Sequence[Stroke], **settings: Any
) -> list[Row]:
    """Rows of strokes on some legs of the cycle, from an equilibrium at (λ, γ)."""
    system = make_system(legs, *start)

    def relax(part: int, parts: int) -> Relaxed:
        settle(system, legs[system.data.leg])
        return Relaxed(gradients=1)

    equilibration = Equilibration(1e-9, max_epochs=4, check_every=1)
    process = Continuation(
        system,
        StrokeRule[StrokeCourse](tuple(strokes)),
        Settings(equilibration, Probes(), RESPONSE, **settings),
        seed=0,
    )
    return [result.row for result in process.run(process.start(), relax) if result.row]


def run_cycle(
    ends: Sequence[Any], start: tuple[float, float], strokes: Sequence[Stroke], **settings: Any
) -> dict[str, Any]:
    """cycle.json of a cycle of strokes on data that move from one covariance to the next."""
    system, legs = make_system_of(ends, *start), [make_leg(*pair) for pair in pairwise(ends)]

    def relax(part: int, parts: int) -> Relaxed:
        settle_on(system, legs[system.data.leg])
        return Relaxed(gradients=1)

    rule = CycleRule(tuple(strokes), closure=(1e-6, 1e-6), correct_above=1e-6)
    equilibration = Equilibration(1e-9, max_epochs=4, check_every=1)
    made = Settings(equilibration, Probes(), RESPONSE, parts=2, **settings)
    process = Continuation(system, rule, made, seed=0)
    *_, last = process.run(process.start(), relax)
    course = cast(CycleCourse, last.state.course)
    return rule.results(course, process.here(last.state))["cycle"]


def dissipated(rows: Sequence[Row]) -> float:
    """What the steps of a path gave off, those that settle on a leg left out."""
    return sum(b["relaxation"] for a, b in pairwise(rows) if a["leg"] == b["leg"])
