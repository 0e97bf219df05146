"""Marginals q(z) of the representation, and the rate against them."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thermo_pl.errors import require
from thermo_pl.functionals import gaussian_log_prob, gaussian_rate, monte_carlo_rate


class Marginal(nn.Module):
    """Base of the marginals; the module itself computes the rate.

    Attributes:
        latent_dim: size k of the representation.
    """

    def __init__(self, latent_dim: int) -> None:
        """Check and keep the size.

        Args:
            latent_dim: size of the representation.
        """
        super().__init__()
        require(latent_dim > 0, "latent_dim", latent_dim, "a whole number > 0")
        self.latent_dim = latent_dim

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of q.

        Args:
            z: points, shape ``(..., latent_dim)``.

        Returns:
            Nats, shape ``(...)``.
        """

    def forward(self, mean: Tensor, log_var: Tensor, z: Tensor) -> Tensor:
        """Rate of the encoder, by Monte Carlo over the draws unless a subclass knows better.

        Args:
            mean: encoder mean, shape ``(n, k)``.
            log_var: encoder log variance, shape ``(n, k)``.
            z: draws from the encoder, shape ``(samples, n, k)``.

        Returns:
            Nats, shape ``(n,)``.
        """
        return monte_carlo_rate(z, mean, log_var, self.log_prob(z))


class StandardNormal(Marginal):
    """N(0, I); the rate is analytic."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of N(0, I).

        Args:
            z: points, shape ``(..., latent_dim)``.

        Returns:
            Nats, shape ``(...)``.
        """
        return gaussian_log_prob(z, torch.zeros_like(z), torch.zeros_like(z))

    def forward(self, mean: Tensor, log_var: Tensor, z: Tensor) -> Tensor:
        """Analytic rate.

        Args:
            mean: encoder mean, shape ``(n, k)``.
            log_var: encoder log variance, shape ``(n, k)``.
            z: not needed.

        Returns:
            Nats, shape ``(n,)``.
        """
        zero = mean.new_zeros(self.latent_dim)
        return gaussian_rate(mean, log_var, zero, zero)


class DiagonalGaussian(Marginal):
    """A learned N(mean, diag(exp(log_var))); the rate is analytic."""

    def __init__(self, latent_dim: int) -> None:
        """Start at N(0, I).

        Args:
            latent_dim: size of the representation.
        """
        super().__init__(latent_dim)
        self.mean = nn.Parameter(torch.zeros(latent_dim))
        self.log_var = nn.Parameter(torch.zeros(latent_dim))

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of the Gaussian.

        Args:
            z: points, shape ``(..., latent_dim)``.

        Returns:
            Nats, shape ``(...)``.
        """
        return gaussian_log_prob(z, self.mean, self.log_var)

    def forward(self, mean: Tensor, log_var: Tensor, z: Tensor) -> Tensor:
        """Analytic rate.

        Args:
            mean: encoder mean, shape ``(n, k)``.
            log_var: encoder log variance, shape ``(n, k)``.
            z: not needed.

        Returns:
            Nats, shape ``(n,)``.
        """
        return gaussian_rate(mean, log_var, self.mean, self.log_var)


class GaussianMixture(Marginal):
    """A learned mixture of diagonal Gaussians; the rate is a Monte Carlo mean.

    The number of draws is the model's ``samples``.
    """

    def __init__(self, latent_dim: int, components: int = 10) -> None:
        """Start with equal weights and means drawn from N(0, I).

        Args:
            latent_dim: size of the representation.
            components: number of Gaussians.
        """
        super().__init__(latent_dim)
        require(components > 0, "components", components, "a whole number > 0")
        self.logits = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(torch.randn(components, latent_dim))
        self.log_var = nn.Parameter(torch.zeros(components, latent_dim))

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of the mixture.

        Args:
            z: points, shape ``(..., latent_dim)``.

        Returns:
            Nats, shape ``(...)``.
        """
        each = gaussian_log_prob(z.unsqueeze(-2), self.mean, self.log_var)
        return torch.logsumexp(each + F.log_softmax(self.logits, -1), -1)
