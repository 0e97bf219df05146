"""Finite distributions, by sums over all letters: entropy and divergence, in float64 and nats."""

from __future__ import annotations

import torch
from torch import Tensor

from thermo_pl.errors import require

NORMALISED = 1e-9
"""How far the sum of a distribution may be from one."""


def require_distribution(name: str, p: Tensor) -> None:
    """Raise unless the last axis of ``p`` is a probability distribution in float64.

    Args:
        name: the argument, as the user wrote it.
        p: probabilities, shape ``(..., letters)``.

    Raises:
        ConfigError: if a number is negative or not finite, a sum is not one or ``p`` is not
            float64.
    """
    require(p.dtype == torch.float64, name, p.dtype, "torch.float64")
    require(bool((p >= 0).all()), name, p.min().item(), "probabilities, 0 or more")
    off = (p.sum(-1) - 1).abs().max().item()
    require(off <= NORMALISED, name, f"a sum off by {off:.1e}", "sums of 1 over the last axis")


def discrete_entropy(p: Tensor) -> Tensor:
    r"""Entropy of a finite distribution, exactly: H = -Σ p log p, with 0 log 0 = 0.

    Args:
        p: probabilities in float64, shape ``(..., letters)``; flatten a joint one first.

    Returns:
        Nats, shape ``(...)``.

    Raises:
        ConfigError: if ``p`` is no distribution.
    """
    require_distribution("p", p)
    return -torch.xlogy(p, p).sum(-1)


def divergence(p: Tensor, q: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence KL(p ‖ q) = Σ p log(p/q); ∞ where p > 0 meets q = 0.

    Args:
        p: probabilities, shape ``(..., letters)``.
        q: non-negative masses, which need not sum to one, broadcastable to ``p``.

    Returns:
        Nats, shape ``(...)``.
    """
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)
