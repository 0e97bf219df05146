"""Thermodynamic length: the metric of the equilibrium surface, and the length of a step in it.

When the control w = (λ, γ, t) jumps by Δ and θ then relaxes, J falls by ½ ΔᵀgΔ to second order in
Δ, with g_ab = θ_aᵀAθ_b. N steps of a path of length L, each fully relaxed, so dissipate at least
about L²/2N, and just that where all steps have the same length. At fixed data g = -∇²F.

Source: Salamon & Berry, "Thermodynamic length and dissipated availability", 1983; Crooks,
"Measuring thermodynamic length", 2007.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from thermo_pl.response.linear import Response
from thermo_pl.response.slopes import Gradient


def metric(response: Response) -> Tensor:
    """The metric in (λ, γ, t), g_ab = θ_aᵀAθ_b = -∇(∂_aJ)·θ_b, without another product with A.

    Args:
        response: the response of an equilibrium.

    Returns:
        In nats per unit of both controls; float64, symmetric, shape ``(3, 3)``.
    """
    force = Gradient(*(response.directions.double() @ response.gradient_t.double()).tolist())
    # in λ and γ the slopes have nothing explicit in them
    by_lam = response.slopes.D._replace(t=force.lam)
    by_gam = response.slopes.C._replace(t=force.gam)
    metric = -torch.tensor([by_lam, by_gam, force], dtype=torch.float64)
    return (metric + metric.T) / 2


def length(step: Sequence[float], metric: Tensor) -> float:
    """Length of a step in the metric of one point, (ΔᵀgΔ)^½.

    Args:
        step: changes of λ, γ and t.
        metric: g, shape ``(3, 3)``.

    Returns:
        In nats^½; 0 where a truncated solve makes the square negative.
    """
    change = torch.tensor(step, dtype=metric.dtype)
    return float((change @ metric @ change).clamp_min(0).sqrt())
