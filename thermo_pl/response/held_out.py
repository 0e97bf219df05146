"""Total derivatives on particles that J is not made of, such as held-out ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import jvp

from thermo_pl.response.curvature import MEMORY, part_size
from thermo_pl.response.objective import Objective
from thermo_pl.response.slopes import CONTROLS, Slopes


def slopes_on(objective: Objective, t: float, directions: Tensor, memory: int = MEMORY) -> Slopes:
    """How R, D and C of other particles follow λ, γ and t, as θ follows the equilibrium of J.

    X_a = ∇X·θ_a + ∂_aX. The responses θ_a are those of the J that is minimised; ∇X is taken on the
    particles at hand. Nothing is solved: three forward passes carry the derivatives along.

    Args:
        objective: the model on the other particles.
        t: domain coordinate.
        directions: θ_λ, θ_γ, θ_t, shape ``(3, p)``.
        memory: MiB that a part of the probe may take.

    Returns:
        Total derivatives on these particles, nats.

    Example:
        >>> import torch
        >>> import thermo_pl as tp
        >>> from thermo_pl.response import slopes_on
        >>> _ = torch.manual_seed(0)
        >>> x, y = torch.rand(8, 1, 2, 2), torch.eye(2).repeat(4, 1)
        >>> parts = tp.MLPEncoder([1, 2, 2], 2), tp.LinearClassifier(2, 2)
        >>> networks = tp.Networks(*parts, marginal=tp.StandardNormal(2), lam=0.0, gam=5.0)
        >>> probe = tp.Probe(tp.TensorPairs(x, 1 - x, y).all(), networks.noise(3, 8))
        >>> objective = tp.Objective(networks, probe)
        >>> response = tp.linear_response(objective, t=0.0, settings=tp.ResponseSettings())
        >>> again = slopes_on(objective, 0.0, response.directions)
        >>> abs(again.C.gam / response.slopes.C.gam - 1) < 1e-4  # the same particles
        True
    """
    at = torch.tensor(t, dtype=torch.float64)
    columns, parts = [], objective.parts(part_size(objective, t, memory))
    for control, direction in zip(CONTROLS, directions.to(objective.theta), strict=True):
        moving = torch.ones_like(at) if control == "t" else torch.zeros_like(at)
        total = torch.zeros(3, dtype=torch.float64)
        for part in parts:
            with torch.no_grad():
                change = jvp(part.means, (part.theta, at), (direction, moving))[1]
            total += change.double().cpu()
        columns.append(objective.probe.shared.sum(total))
    return Slopes.of(torch.stack(columns, 1))
