"""The engine on a linear-Gaussian system in float64, relaxed to its exact optimum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from support.exact_runs import LABELS, MOVING, NOISE, make_linear_model, make_system
from thermo_pl.datamodules import GaussianDomains
from thermo_pl.process import (
    ConstantSteps,
    Continuation,
    Equilibration,
    IsoClassificationRule,
    Probes,
    Relaxed,
    Settings,
    System,
)
from thermo_pl.response import ResponseSettings

LAM, GAM, K = 1.0, 2.0, 0.5
Process = Continuation[Any]


def make_process(**rule: Any) -> tuple[Process, Callable[[int, int], Relaxed]]:
    """A linear-Gaussian system in float64, and a relaxation that jumps to the exact optimum."""
    exact = make_system(MOVING)
    torch.manual_seed(0)
    model = make_linear_model(exact, LAM, GAM).double()
    data = GaussianDomains(MOVING, LABELS, NOISE)  # type: ignore[arg-type]
    data.setup()

    def relax(part: int, parts: int) -> Relaxed:
        exact.optimum(float(model.lam), float(model.gam), data.t).put(model)
        return Relaxed(gradients=1)

    settings = Settings(
        Equilibration(1e-9, max_epochs=4, check_every=1),
        Probes(),
        ResponseSettings(1e-8, "hessian", 1e-8, 300),
    )
    rule = {"steps": ConstantSteps(4)} | rule
    return Continuation(System(model, data), IsoClassificationRule(K, **rule), settings, 0), relax
