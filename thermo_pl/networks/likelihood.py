"""Likelihoods d(x|z) of a decoder's output, and D where it has a closed form."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from thermo_pl.errors import require
from thermo_pl.functionals import (
    bernoulli_log_partition,
    bernoulli_nll,
    gaussian_log_partition,
    gaussian_nll,
)


class Likelihood(nn.Module):
    """Base of the likelihoods: what the decoder's output says about a pixel.

    Attributes:
        quadratic: whether the negative log-likelihood is quadratic in the decoder's output.
    """

    quadratic = False

    @abstractmethod
    def nll(self, decoded: Tensor, x: Tensor) -> Tensor:
        """Full, normalised negative log-likelihood.

        Args:
            decoded: output of the decoder's network, shape ``(samples, n, *image)``.
            x: images, shape ``(n, *image)``.

        Returns:
            Nats, shape ``(samples, n)``.
        """

    def forward(self, decoded: Tensor, x: Tensor, scatter: Scatter | None = None) -> Tensor:
        """Negative log-likelihood, or its mean over decoded images that scatter.

        Args:
            decoded: output of the decoder's network, shape ``(samples, n, *image)``.
            x: images, shape ``(n, *image)``.
            scatter: how the decoded images lie around ``decoded``, which is then their mean; of a
                quadratic likelihood only.

        Returns:
            Nats, shape ``(samples, n)``.
        """
        nll = self.nll(decoded, x)
        return nll if scatter is None else nll + self.excess(scatter.square())

    def excess(self, scatter: Tensor) -> Tensor:
        """What scatter adds to the mean of the negative log-likelihood, if that is quadratic.

        Args:
            scatter: mean square distance of the decoded images from their mean, summed over the
                pixels, shape ``(n,)``.

        Returns:
            Nats, shape ``(n,)``.
        """
        raise NotImplementedError

    @abstractmethod
    def log_partition(self, decoded: Tensor, lam: Tensor) -> Tensor:
        """Log of ∫ d(x|z)^λ dx over all x, which the second law needs.

        Args:
            decoded: output of the decoder's network, shape ``(m, *image)``.
            lam: λ, 0-dimensional.

        Returns:
            Nats, shape ``(m,)``.
        """

    @abstractmethod
    def mean(self, decoded: Tensor) -> Tensor:
        """The expected image.

        Args:
            decoded: output of the decoder's network.

        Returns:
            Images of the same shape.
        """


class Bernoulli(Likelihood):
    """Independent binary pixels; grey levels are read as probabilities of ink."""

    def nll(self, decoded: Tensor, x: Tensor) -> Tensor:
        """Binary cross-entropy, see :func:`thermo_pl.functionals.bernoulli_nll`.

        Args:
            decoded: log odds, shape ``(samples, n, *image)``.
            x: images in [0, 1], shape ``(n, *image)``.

        Returns:
            Nats, shape ``(samples, n)``.
        """
        return bernoulli_nll(decoded, x)

    def log_partition(self, decoded: Tensor, lam: Tensor) -> Tensor:
        """A sum over binary images, see :func:`thermo_pl.functionals.bernoulli_log_partition`.

        Args:
            decoded: log odds, shape ``(m, *image)``.
            lam: λ, 0-dimensional.

        Returns:
            Nats, shape ``(m,)``.
        """
        return bernoulli_log_partition(decoded, lam)

    def mean(self, decoded: Tensor) -> Tensor:
        """Probability of ink.

        Args:
            decoded: log odds.

        Returns:
            Images in [0, 1] of the same shape.
        """
        return decoded.sigmoid()


class Gaussian(Likelihood):
    """Independent pixels N(mean, variance) with one variance for all, fixed or learned.

    Attributes:
        log_variance: log of the variance, 0-dimensional.
    """

    quadratic = True

    def __init__(self, variance: float = 0.05, learned: bool = False) -> None:
        """Keep the variance.

        Args:
            variance: variance of a pixel, at the start if it is learned.
            learned: whether it is one of the parameters.
        """
        super().__init__()
        ok = 0 < variance < math.inf
        require(ok, "variance", variance, "a finite number > 0")
        # fixed, it stays exact: a buffer would be rounded with the networks
        value = torch.tensor(math.log(variance), dtype=None if learned else torch.float64)
        self.log_variance = nn.Parameter(value) if learned else value

    def nll(self, decoded: Tensor, x: Tensor) -> Tensor:
        """Gaussian NLL, see :func:`thermo_pl.functionals.gaussian_nll`.

        Args:
            decoded: means, shape ``(samples, n, *image)``.
            x: images, shape ``(n, *image)``.

        Returns:
            Nats, shape ``(samples, n)``.
        """
        return gaussian_nll(decoded, x, self.log_variance)

    def excess(self, scatter: Tensor) -> Tensor:
        """Half the scatter over the variance of a pixel.

        Args:
            scatter: mean square distance of the decoded images from their mean, summed over the
                pixels, shape ``(n,)``.

        Returns:
            Nats, shape ``(n,)``.
        """
        return 0.5 * torch.exp(-self.log_variance) * scatter

    def log_partition(self, decoded: Tensor, lam: Tensor) -> Tensor:
        """An integral over all images, see :func:`thermo_pl.functionals.gaussian_log_partition`.

        Args:
            decoded: means, shape ``(m, *image)``.
            lam: λ, 0-dimensional.

        Returns:
            Nats, shape ``(m,)``; infinite at λ = 0.
        """
        return gaussian_log_partition(decoded, self.log_variance, lam)

    def mean(self, decoded: Tensor) -> Tensor:
        """The mean is what the network says.

        Args:
            decoded: means.

        Returns:
            The same.
        """
        return decoded


class Scatter(NamedTuple):
    """How far the images that a linear decoder makes of z lie around that of the mean of e(z|x).

    An axis j of z with standard deviation s_j moves them by s_j w_j, w_j a column of the decoder.

    Attributes:
        deviations: s, shape ``(n, k)``.
        columns: w, shape ``(pixels, k)``.
        tangent: s and w at which the products s_j w_j are replaced by their linearisation in s and
            w: J is then a convex function of what is left, with the same value and slope there,
            and its Hessian is the Gauss-Newton matrix of J in s_j w_j.
    """

    deviations: Tensor
    columns: Tensor
    tangent: tuple[Tensor, Tensor] | None = None

    def square(self) -> Tensor:
        """Mean square distance from the mean image, Σ_j s_j² |w_j|².

        Returns:
            Summed over the pixels, shape ``(n,)``.
        """
        s, w = self.deviations, self.columns
        if self.tangent is None:
            return s.square() @ w.square().sum(0)
        at, there = self.tangent
        # s w ≈ s₀ w + (s - s₀) w₀
        moved, own = s - at, there.square().sum(0)
        square = moved.square() * own + 2 * moved * at * (w * there).sum(0)
        return (square + at.square() * w.square().sum(0)).sum(-1)
