"""What an encoder says of an image: the family of e(z|x), how it is drawn and averaged."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from thermo_pl.functionals import sample_latent
from thermo_pl.networks.layers import Axes
from thermo_pl.particles import ALONE, Reduction


class GaussianPosterior(NamedTuple):
    """A diagonal Gaussian for each image; expectations are means over draws.

    Attributes:
        mean: shape ``(n, k)``.
        log_var: log variance, shape ``(n, k)``.
    """

    mean: Tensor
    log_var: Tensor

    @property
    def centre(self) -> Tensor:
        """The mean of z, shape ``(n, k)``."""
        return self.mean

    def turned(self, axes: Axes) -> GaussianPosterior:
        """The mean in the axes of z; the covariance is diagonal in those already.

        Args:
            axes: how the axes of z are turned.

        Returns:
            e(z|x).
        """
        return self._replace(mean=axes.turned(self.mean))

    def draw(self, noise: Tensor) -> Tensor:
        """Reparametrised draws.

        Args:
            noise: shape ``(samples, n, k)``.

        Returns:
            z of the same shape.
        """
        return sample_latent(self.mean, self.log_var, noise)

    def draw_affine(self, weight: Tensor, bias: Tensor, noise: Tensor) -> Tensor:
        """Draws of an affine function of z, without z: most often they are fewer numbers.

        Args:
            weight: shape ``(m, k)``.
            bias: shape ``(m,)``.
            noise: shape ``(samples, n, k)``.

        Returns:
            z Wᵀ + b at the z of :meth:`draw`, shape ``(samples, n, m)``. In memory the samples
            are next to each other: sums over a short last axis are fast that way.
        """
        spread = weight * torch.exp(0.5 * self.log_var)[:, None]
        mean = F.linear(self.mean, weight, bias)
        return torch.baddbmm(mean[..., None], spread, noise.permute(1, 2, 0)).permute(2, 0, 1)

    def weigh(self, values: Tensor) -> Tensor:
        """Values whose plain mean over the draws is their expectation under e(z|x).

        Args:
            values: one for each draw, shape ``(samples, n, ...)``.

        Returns:
            The values as they are: the draws have equal weight.
        """
        return values

    def in_use(self, weight: Tensor, shared: Reduction = ALONE) -> float:
        """Axes of z that tell the particles apart: those with the prior's z for all of them do not.

        An axis counts if more than a hundredth of its variance is that of its mean over the
        particles. On an aggregate of unit variance that is the criterion of Burda et al. 2016.

        Args:
            weight: of the particles, shape ``(n,)``.
            shared: adds up over the ranks, of which each has some of the particles.

        Returns:
            Their number.
        """
        share = weight / shared.sum(weight.sum())
        centre = shared.sum(share @ self.mean)
        between = shared.sum(share @ (self.mean - centre).square())
        within = shared.sum(share @ self.log_var.exp())
        return float((between > 0.01 * (between + within)).sum())


class CategoricalPosterior(NamedTuple):
    """A distribution over K codes for each image; expectations are exact sums over the codes.

    Attributes:
        logits: shape ``(n, K)``.
    """

    logits: Tensor

    @property
    def centre(self) -> Tensor:
        """The mean of the one-hot z: e(z|x), shape ``(n, K)``."""
        return self.logits.softmax(-1)

    def turned(self, axes: Axes) -> CategoricalPosterior:
        """Codes have no axes that could turn.

        Args:
            axes: not turned.

        Returns:
            e(z|x).
        """
        return self

    def draw(self, noise: Tensor) -> Tensor:
        """All codes instead of draws.

        Args:
            noise: not needed.

        Returns:
            One-hot z, shape ``(K, n, K)``.
        """
        n, codes = self.logits.shape
        one_hot = torch.eye(codes, dtype=self.logits.dtype, device=self.logits.device)
        return one_hot[:, None].expand(codes, n, codes)

    def weigh(self, values: Tensor) -> Tensor:
        """Values whose plain mean over the codes is their expectation under e(z|x).

        Args:
            values: one for each code, shape ``(K, n, ...)``.

        Returns:
            K e(z|x) times the values.
        """
        weight = self.logits.shape[-1] * self.logits.softmax(-1).T
        return weight.reshape(*weight.shape, *[1] * (values.ndim - 2)) * values

    def in_use(self, weight: Tensor, shared: Reduction = ALONE) -> float:
        """Codes that are in use: the exponential of the entropy of their frequencies.

        Args:
            weight: of the particles, shape ``(n,)``.
            shared: adds up over the ranks, of which each has some of the particles.

        Returns:
            Between 1 and K.
        """
        frequency = shared.sum((weight / shared.sum(weight.sum())) @ self.centre)
        return float(torch.special.entr(frequency).sum().exp())

    def rate(self, log_marginal: Tensor) -> Tensor:
        """Rate Σ_z e(z|x) log e(z|x)/q(z).

        Args:
            log_marginal: log q(z), shape ``(K,)``.

        Returns:
            Nats, shape ``(n,)``.
        """
        log_code = F.log_softmax(self.logits, -1)
        return (log_code.exp() * (log_code - log_marginal)).sum(-1)


Posterior = GaussianPosterior | CategoricalPosterior
