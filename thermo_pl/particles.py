"""Particles of a coupling, and the batches they become at a domain coordinate t."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Particles(NamedTuple):
    """Pairs (x_a, x_b) drawn from a coupling of two domains.

    Attributes:
        source: images x_a of the domain at t = 0, shape ``(n, *image)``.
        target: images x_b of the domain at t = 1, shape ``(n, *image)``.
        source_label: class probabilities of x_a, shape ``(n, classes)``.
        target_label: class probabilities of x_b, shape ``(n, classes)``.
        weight: mass of each pair, shape ``(n,)``; need not sum to one.
    """

    source: Tensor
    target: Tensor
    source_label: Tensor
    target_label: Tensor
    weight: Tensor


class Batch(NamedTuple):
    """Samples of p(x(t)), what the model is shown.

    Attributes:
        x: images, shape ``(n, *image)``.
        y: class probabilities p(y|x), shape ``(n, classes)``.
        weight: mass of each sample, shape ``(n,)``.
    """

    x: Tensor
    y: Tensor
    weight: Tensor


def interpolate(particles: Particles, t: float | Tensor) -> Batch:
    """Displacement interpolation x(t) = (1-t) x_a + t x_b of every pair (McCann 1997).

    Labels are interpolated alike; where both ends carry the same label (class-matched
    couplings) they stay as they are.

    Args:
        particles: the pairs.
        t: domain coordinate in [0, 1]; a tensor may carry a derivative.

    Returns:
        The batch at t.
    """
    return Batch(
        x=particles.source + t * (particles.target - particles.source),
        y=particles.source_label + t * (particles.target_label - particles.source_label),
        weight=particles.weight,
    )


def mixed(particles: Particles, t: float) -> Batch:
    """The mixture (1-t) p_A + t p_B: both ends of every pair, weighted by their shares.

    Args:
        particles: the pairs.
        t: share of the domain at t = 1, in [0, 1].

    Returns:
        A batch of twice as many samples, with the same total weight.
    """
    return Batch(
        x=torch.cat([particles.source, particles.target]),
        y=torch.cat([particles.source_label, particles.target_label]),
        weight=torch.cat([(1 - t) * particles.weight, t * particles.weight]),
    )


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of per-sample values under the weights.

    Args:
        values: shape ``(..., n)``.
        weight: shape ``(n,)``, not negative, not all zero.

    Returns:
        Shape ``(...)``.
    """
    return (values * weight).sum(-1) / weight.sum()
