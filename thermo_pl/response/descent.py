"""Newton steps in θ on a frozen probe: a way down that knows the curvature."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from thermo_pl.response.curvature import CURVATURES
from thermo_pl.response.linear import ResponseSettings
from thermo_pl.response.objective import Objective
from thermo_pl.response.partials import gradient_of
from thermo_pl.response.solvers import conjugate_gradient

SOFTER = 0.3
"""Damping of a descent, in that of a response: it holds soft directions back."""
HALVINGS = 3
"""Of a step that leads uphill."""


class Descent(NamedTuple):
    """A Newton step.

    Attributes:
        change: of all parameters, shape ``(p,)``; zero where no part of the step leads down.
        gradients: gradient evaluations on the probe.
    """

    change: Tensor
    gradients: int


def newton_step(
    objective: Objective, exact: Objective, t: float, settings: ResponseSettings
) -> Descent:
    """-(A+μ)⁻¹∇J by conjugate gradients, as much of it as lowers J.

    A direction of negative curvature ends the solve, and what was found until then leads down.

    Args:
        objective: the model on a probe, in the precision of the solve.
        exact: the same in that of the model, for J itself.
        t: domain coordinate.
        settings: curvature, tolerance of the decrement, and the damping of a response, a number.

    Returns:
        The step: all of it, or a half, a quarter or an eighth.

    Source: truncated Newton, Nocedal & Wright 2006, algorithm 7.1.
    """
    damping, memory = SOFTER * float(settings.damping), settings.memory
    matrix = CURVATURES[settings.curvature](objective, t, memory)
    slope = gradient_of(objective, t, memory)[None]
    limit = settings.max_iterations
    solution = conjugate_gradient(
        lambda rows: matrix(rows) + damping * rows, slope, settings.tolerance, limit, yardsticks=1
    )
    whole, start = -solution.x[0].to(exact.theta), _energy(exact, t)
    spent = round(matrix.gradients) + 2
    for halvings in range(HALVINGS + 1):
        change = whole / 2.0**halvings
        spent += 1
        if _energy(exact, t, change) < start:
            return Descent(change, spent)
    return Descent(torch.zeros_like(whole), spent)


@torch.no_grad()
def _energy(objective: Objective, t: float, change: Tensor | float = 0.0) -> float:
    means = objective.probe.shared.sum(objective.means(objective.theta + change, t))
    return float(objective.value(means))
