"""Particles of a coupling, the batches they become at a coordinate t, and the ranks they lie on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.distributed
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


@dataclass(frozen=True)
class Reduction:
    """Adds up what ranks have found; of one process that is what it has found itself.

    Attributes:
        rank: number of this process.
        ranks: how many there are.

    Example:
        >>> import torch
        >>> from thermo_pl.particles import Reduction
        >>> torch.arange(5)[Reduction(rank=1, ranks=2).share].tolist()
        [1, 3]
        >>> Reduction().sum(torch.ones(2)).tolist()  # alone
        [1.0, 1.0]
    """

    rank: int = 0
    ranks: int = 1

    @property
    def share(self) -> slice:
        """Which of the particles are those of this rank: every so many-th, from its number on."""
        return slice(self.rank, None, self.ranks)

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up; to be called by all ranks, in the same order.

        Args:
            tensor: what this rank has found; no gradient goes through a sum over ranks.

        Returns:
            The sum, the same on every rank to the last bit.
        """
        return tensor

    def count(self, number: int) -> int:
        """Add up whole numbers.

        Args:
            number: that of this rank.

        Returns:
            The sum.
        """
        return int(self.sum(torch.tensor(number)))


@dataclass(frozen=True)
class AllReduce(Reduction):
    """Sums over the processes of ``torch.distributed``.

    Attributes:
        device: where the backend can add up: that of the model.
    """

    device: torch.device | None = None

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up; to be called by all ranks, in the same order.

        Args:
            tensor: what this rank has found; no gradient goes through a sum over ranks.

        Returns:
            The sum, the same on every rank to the last bit.
        """
        total = tensor.detach().to(self.device, copy=True).contiguous()
        torch.distributed.all_reduce(total)
        return total.to(tensor.device)


ALONE = Reduction()
"""One process."""
