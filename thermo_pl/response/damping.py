r"""The damping of the response: what relaxation it stands for, and what it does to the result.

Relaxation at fixed controls, dθ/dτ = -M ∇J with M a positive diagonal, answers a small step of the
control after a time τ by (A + M⁻¹/τ)⁻¹ b up to the shape of the cut-off, as
(A+μ)⁻¹ = ∫_0^∞ e^{-(A+μ)τ} dτ does for M = 1. So a damping is a relaxation time in disguise: for
plain gradient descent μ = 1/τ with τ the sum of the learning rates. Adam divides each gradient by
√v, the root of its mean square, which at equilibrium is its noise: M⁻¹ = √v + ε.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from thermo_pl.errors import ConfigError, require
from thermo_pl.networks import Networks
from thermo_pl.response.linear import Response, ResponseSettings, ResponseSystem
from thermo_pl.response.objective import Objective
from thermo_pl.response.slopes import Slopes

SLOWEST = 0.1
"""Least √v of Adam, in means of √v over the parameters: rows behind pixels that never light up."""


def relaxation_damping(model: Networks, optimizer: torch.optim.Optimizer, time: float) -> Tensor:
    """Damping whose response is that of a relaxation by this optimiser.

    Source: Adam as in Kingma & Ba 2015; decay of the weights is left out.

    Args:
        model: the model, at equilibrium.
        optimizer: Adam after some steps at this equilibrium, or SGD.
        time: sum of the learning rates over the steps of the relaxation.

    Returns:
        One for each trainable parameter, shape ``(p,)``, in the order of the response.

    Raises:
        ConfigError: if it is another optimiser, has not made a step, or has several learning
            rates.
    """
    require(time > 0, "time", time, "a number > 0, the sum of the learning rates")
    name, allowed = (
        type(optimizer).__name__,
        "SGD, Adam, AdamW; or take a number for response.damping",
    )
    known = isinstance(optimizer, torch.optim.SGD | torch.optim.Adam | torch.optim.AdamW)
    require(known, "optimizer", name, allowed)
    rates = {float(group["lr"]) for group in optimizer.param_groups}
    require(len(rates) == 1, "optimizer.lr", sorted(rates), "one for all parameters")
    group = optimizer.param_groups[0]
    parameters = [p for p in model.parameters() if p.requires_grad]
    if isinstance(optimizer, torch.optim.SGD):
        # how far one gradient moves θ in the end, in learning rates
        gain = (1 - group["dampening"] * (group["momentum"] > 0)) / (1 - group["momentum"])
        inverse = torch.cat([torch.ones_like(p).flatten() for p in parameters]) / gain
    else:
        root = torch.cat([_root(optimizer, p, group["betas"][1]) for p in parameters])
        inverse = root.clamp_min(SLOWEST * root.mean()) + group["eps"]
    damping: Tensor = inverse.detach() / time
    return damping


def _root(optimizer: torch.optim.Optimizer, parameter: Tensor, decay: float) -> Tensor:
    # √v of Adam, the bias of its start taken out
    state = optimizer.state.get(parameter)
    if not state:
        raise ConfigError("optimizer: got one before its first step; allowed: one after some steps")
    square = state.get("max_exp_avg_sq", state["exp_avg_sq"])  # the first where amsgrad is on
    root: Tensor = (square / (1 - decay ** float(state["step"]))).sqrt()
    return root.flatten()


@dataclass(frozen=True)
class DampingEffect:
    """The same response at a damping and at twice as much.

    Attributes:
        single: at μ.
        double: at 2μ.
    """

    single: Response
    double: Response

    @property
    def extrapolated(self) -> Slopes:
        """Slopes 2X(μ) - X(2μ).

        Free of the damping to first order in μ where all eigenvalues of A are above it; the slow
        directions below it are not there yet, and their share is not seen from here.
        """
        return Slopes.of(2 * self.single.slopes.tensor() - self.double.slopes.tensor())

    @property
    def effect(self) -> Slopes:
        """What the damping does to the slopes to first order, X(2μ) - X(μ)."""
        return Slopes.of(self.double.slopes.tensor() - self.single.slopes.tensor())


def damping_effect(
    objective: Objective, t: float, settings: ResponseSettings, damping: Tensor | None = None
) -> DampingEffect:
    """Solve at 2μ and, from there, at μ, with one linearisation.

    Args:
        objective: the model on the solving probe.
        t: domain coordinate.
        settings: curvature, damping and solver.
        damping: one for each parameter where the settings say ``auto``.

    Returns:
        Both responses.

    Raises:
        ConfigError: if there is no damping; or as
            :func:`~thermo_pl.response.linear.linear_response`.
    """
    allowed = "more than 0: there is nothing to extrapolate from"
    require(settings.damping != 0, "response.damping", 0, allowed)
    system = ResponseSystem(objective, t, settings, damping)
    double = system.response(factor=2.0)
    return DampingEffect(system.response(start=double.solution.x), double)
