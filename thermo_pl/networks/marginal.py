"""Marginals q(z) of the representation, and the rate against them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thermo_pl.errors import require
from thermo_pl.functionals import (
    gaussian_log_prob,
    gaussian_rate,
    monte_carlo_rate,
    sample_latent,
)
from thermo_pl.networks.layers import hooked
from thermo_pl.networks.posterior import GaussianPosterior, Posterior


class Marginal(nn.Module, ABC):
    """Base of the marginals; the module itself computes the rate.

    Attributes:
        latent_dim: size k of the representation.
        family: the kind of e(z|x) that can be compared with it.
    """

    family: type[Posterior] = GaussianPosterior

    def __init__(self, latent_dim: int) -> None:
        """Check and keep the size.

        Args:
            latent_dim: size of the representation.
        """
        super().__init__()
        require(latent_dim > 0, "latent_dim", latent_dim, "a whole number > 0")
        self.latent_dim = latent_dim

    @property
    def closed(self) -> bool:
        """Whether the rate has a closed form, for which no z is drawn."""
        return False

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of q.

        Args:
            z: points, shape ``(..., latent_dim)``.

        Returns:
            Nats, shape ``(...)``.
        """

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws from q.

        Args:
            n: how many.
            generator: a generator on the CPU; the global one if not given.

        Returns:
            Shape ``(n, latent_dim)``, on the device of the parameters.
        """

    def points(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Points whose weighted mean is the expectation under q: draws, or all codes.

        Args:
            n: how many draws.
            generator: a generator on the CPU; the global one if not given.

        Returns:
            z, shape ``(m, latent_dim)``, and the log weights, shape ``(m,)``.
        """
        z = self.sample(n, generator)
        return z, z.new_full((n,), -math.log(n))

    def forward(self, posterior: Any, z: Tensor) -> Tensor:
        """Rate of the encoder, one value for each draw where it has no closed form.

        Args:
            posterior: e(z|x), of the marginal's ``family``.
            z: draws from it, shape ``(samples, n, k)``.

        Returns:
            Nats, shape ``(samples, n)``, or ``(1, n)`` where it is analytic.
        """
        return monte_carlo_rate(z, posterior.mean, posterior.log_var, self.log_prob(z))

    @staticmethod
    def whiten(posterior: Any, parameters: Mapping[str, Tensor]) -> Any:
        """e(z|x) in coordinates relative to q(z), in which the rate is convex if it can be.

        Args:
            posterior: e(z|x), of the marginal's ``family``.
            parameters: the marginal's parameters by name.

        Returns:
            The coordinates; here e(z|x) as it is.
        """
        return posterior

    @staticmethod
    def unwhiten(relative: Any, parameters: Mapping[str, Tensor]) -> Any:
        """The inverse of :meth:`whiten`.

        Args:
            relative: what :meth:`whiten` gave.
            parameters: the marginal's parameters by name.

        Returns:
            e(z|x).
        """
        return relative


class StandardNormal(Marginal):
    """N(0, I); the rate is analytic.

    Example:
        >>> import torch
        >>> import thermo_pl as tp
        >>> from thermo_pl.networks import GaussianPosterior
        >>> posterior = GaussianPosterior(torch.tensor([[2.0]]), torch.zeros(1, 1))
        >>> float(tp.StandardNormal(1)(posterior, posterior.mean[None]))  # ½ |mean|² nats
        2.0
    """

    @property
    def closed(self) -> bool:
        """Whether the rate has a closed form; a subclass may have a rate of its own."""
        return type(self).forward is StandardNormal.forward and not hooked(self)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of N(0, I).

        Args:
            z: points, shape ``(..., latent_dim)``.

        Returns:
            Nats, shape ``(...)``.
        """
        return gaussian_log_prob(z, torch.zeros_like(z), torch.zeros_like(z))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal draws.

        Args:
            n: how many.
            generator: a generator on the CPU; the global one if not given.

        Returns:
            Shape ``(n, latent_dim)``.
        """
        return torch.randn(n, self.latent_dim, generator=generator)

    def forward(self, posterior: GaussianPosterior, z: Tensor) -> Tensor:
        """Analytic rate.

        Args:
            posterior: the Gaussian e(z|x).
            z: not needed.

        Returns:
            Nats, shape ``(1, n)``.
        """
        zero = posterior.mean.new_zeros(self.latent_dim)
        return gaussian_rate(*posterior, zero, zero)[None]


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

    @property
    def closed(self) -> bool:
        """Whether the rate has a closed form; a subclass may have a rate of its own."""
        return type(self).forward is DiagonalGaussian.forward and not hooked(self)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of the Gaussian.

        Args:
            z: points, shape ``(..., latent_dim)``.

        Returns:
            Nats, shape ``(...)``.
        """
        return gaussian_log_prob(z, self.mean, self.log_var)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws from the Gaussian.

        Args:
            n: how many.
            generator: a generator on the CPU; the global one if not given.

        Returns:
            Shape ``(n, latent_dim)``.
        """
        noise = torch.randn(n, self.latent_dim, generator=generator).to(self.mean)
        return sample_latent(self.mean, self.log_var, noise)

    def forward(self, posterior: GaussianPosterior, z: Tensor) -> Tensor:
        """Analytic rate.

        Args:
            posterior: the Gaussian e(z|x).
            z: not needed.

        Returns:
            Nats, shape ``(1, n)``.
        """
        return gaussian_rate(*posterior, self.mean, self.log_var)[None]

    @staticmethod
    def whiten(posterior: GaussianPosterior, parameters: Mapping[str, Tensor]) -> GaussianPosterior:
        """Mean (m-a)/b and log variance log s²/b²: the rate is that against N(0, I), and convex.

        In (m, a, b) it is not: (m-a)²/b² has directions of negative curvature.

        Args:
            posterior: the Gaussian N(m, s²).
            parameters: mean a and log variance log b² of the marginal.

        Returns:
            The Gaussian of (z-a)/b.
        """
        scale = torch.exp(-0.5 * parameters["log_var"])
        mean = (posterior.mean - parameters["mean"]) * scale
        return GaussianPosterior(mean, posterior.log_var - parameters["log_var"])

    @staticmethod
    def unwhiten(
        relative: GaussianPosterior, parameters: Mapping[str, Tensor]
    ) -> GaussianPosterior:
        """The inverse of :meth:`whiten`.

        Args:
            relative: the Gaussian of (z-a)/b.
            parameters: mean a and log variance log b² of the marginal.

        Returns:
            The Gaussian e(z|x).
        """
        scale = torch.exp(0.5 * parameters["log_var"])
        mean = parameters["mean"] + relative.mean * scale
        return GaussianPosterior(mean, relative.log_var + parameters["log_var"])


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

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws from the mixture.

        Args:
            n: how many.
            generator: a generator on the CPU; the global one if not given.

        Returns:
            Shape ``(n, latent_dim)``.
        """
        which = draw_indices(self.logits, n, generator)
        noise = torch.randn(n, self.latent_dim, generator=generator).to(self.mean)
        return sample_latent(self.mean[which], self.log_var[which], noise)


def draw_indices(logits: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
    """Draws from a distribution over a few choices.

    Args:
        logits: log probabilities up to a constant, shape ``(choices,)``.
        n: how many.
        generator: a generator on the CPU; the global one if not given.

    Returns:
        Indices, shape ``(n,)``, on the device of the logits.
    """
    share = logits.detach().softmax(-1).cpu()
    drawn = torch.multinomial(share, n, replacement=True, generator=generator)
    return drawn.to(logits.device)
