"""The engine on the exact Carnot system: strokes in float64, each step relaxed to its optimum."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from support.carnot_system import COVARIANCES, LABELS, LEGS, NOISE, tensor
from thermo_pl.datamodules import GaussianDomains
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
    Equilibration,
    Probes,
    Relaxed,
    Settings,
    Stroke,
    StrokeRule,
    System,
)
from thermo_pl.process.stroke_rule import StrokeCourse
from thermo_pl.response import ResponseSettings

RESPONSE = ResponseSettings(1e-8, "hessian", 1e-8, 300)


def make_system(legs: Sequence[int], lam: float, gam: float) -> System:
    """The networks of the cycle, and its data on some of the legs."""
    torch.manual_seed(0)
    networks = Networks(
        LinearGaussianEncoder([1, 1, 3], 2),
        GaussianClassifier(2, 2, 0.2, label_noise=float(tensor(NOISE).trace())),
        MLPDecoder([1, 1, 3], 2, [], Gaussian(0.5)),
        StandardNormal(2),
        lam=lam,
        gam=gam,
    ).double()
    ends = [COVARIANCES[legs[0]], *(COVARIANCES[leg + 1] for leg in legs)]
    data = GaussianDomains(ends, LABELS, NOISE)
    data.setup()
    return System(networks, data)


def settle(system: System, leg: int) -> None:
    """Put θ at the exact minimum of J, the latents with the signs that they have."""
    networks: Any = system.networks
    weights = LEGS[leg].optimum(float(networks.lam), float(networks.gam), system.data.t)
    decoder, classifier = (
        next(m for m in part.modules() if isinstance(m, nn.Linear))
        for part in (networks.decoder, networks.classifier)
    )
    sign = torch.where((weights.decoder * decoder.weight).sum(0) < 0, -1.0, 1.0)
    with torch.no_grad():
        networks.encoder.log_var.copy_(weights.encoder_log_var)
        networks.encoder.net.weight.copy_(sign[:, None] * weights.encoder)
        decoder.weight.copy_(weights.decoder * sign)
        classifier.weight.copy_(weights.classifier * sign)
        for layer in (networks.encoder.net, decoder, classifier):
            layer.bias.zero_()


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


def dissipated(rows: Sequence[Row]) -> float:
    """What the steps of a path gave off, those that settle on a leg left out."""
    return sum(b["relaxation"] for a, b in pairwise(rows) if a["leg"] == b["leg"])
