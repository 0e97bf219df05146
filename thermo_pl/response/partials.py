"""Derivatives of R, D, C and J on a probe, in bounded memory: what linear systems are made of."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import grad
from torch.func import grad as functional_grad

from thermo_pl.response.curvature import MEMORY, part_size
from thermo_pl.response.objective import Objective, with_t_derivative


class Partials(NamedTuple):
    """Partial derivatives on a probe.

    Attributes:
        jacobian: of R, D and C in θ, shape ``(3, p)``.
        partial_t: of R, D and C in t, float64, shape ``(3,)``.
        gradient_t: ∂_t∇J, shape ``(p,)``.
    """

    jacobian: Tensor
    partial_t: Tensor
    gradient_t: Tensor


def partials(objective: Objective, t: float, memory: int = MEMORY) -> Partials:
    """Partial derivatives of R, D and C, and ∂_t∇J.

    Args:
        objective: the model on a probe.
        t: domain coordinate.
        memory: MiB that the graphs may take.

    Returns:
        The derivatives.
    """
    p = len(objective.theta)
    total = Partials(*(objective.theta.new_zeros(shape) for shape in ((3, p), 3, p)))
    total = total._replace(partial_t=total.partial_t.double())
    for part in objective.parts(part_size(objective, t, memory)):
        for sum_, term in zip(total, _partials_of(part, t), strict=True):
            sum_ += term
    return Partials(*map(objective.probe.shared.sum, total))


def _partials_of(part: Objective, t: float) -> Partials:
    theta = part.theta.clone().requires_grad_()
    means = part.means(theta, t)
    rows = [grad(mean, theta, retain_graph=True, materialize_grads=True)[0] for mean in means]

    def joined(s: Tensor) -> Tensor:
        # ∇J, and R, D, C behind it: one pass gives the derivatives in t of both
        slope, means = functional_grad(lambda v: _value_and_means(part, v, s), has_aux=True)(theta)
        return torch.cat([slope, means.to(slope)])

    theta = theta.detach()
    moving = with_t_derivative(joined, t)[1]
    return Partials(torch.stack(rows), moving[-3:].double(), moving[:-3])


def _value_and_means(part: Objective, theta: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    means = part.means(theta, t)
    return part.value(means), means


def gradient_of(objective: Objective, t: float, memory: int = MEMORY) -> Tensor:
    """∇J on a probe.

    Args:
        objective: the model on a probe.
        t: domain coordinate.
        memory: MiB that the graphs may take.

    Returns:
        Shape ``(p,)``.
    """
    total = torch.zeros_like(objective.theta)
    for part in objective.parts(part_size(objective, t, memory)):
        theta = part.theta.clone().requires_grad_()
        total += grad(part.value(part.means(theta, t)), theta)[0]
    return objective.probe.shared.sum(total)
