"""Likelihoods d(x|z) of a decoder's output, and D where it has a closed form."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
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


class Likelihood(nn.Module, ABC):
    """Base of the likelihoods: what the decoder's output says about a feature, such as a pixel.

    Attributes:
        limits: the least and the greatest value that a feature may have, or None.
        advice: what to do about values beyond these.
    """

    limits: tuple[float, float] | None = None
    advice = "another likelihood"

    @property
    def quadratic(self) -> bool:
        """Whether the negative log-likelihood is quadratic in the decoder's output."""
        return False

    def take_shape(self, shape: Sequence[int]) -> None:
        """Learn the shape of an example; the decoder tells it. Most likelihoods need not know.

        Args:
            shape: of one example.
        """

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
        return nll if scatter is None else nll + self.excess(scatter)

    def excess(self, scatter: Scatter) -> Tensor:
        """What scatter adds to the mean of the negative log-likelihood, if that is quadratic.

        Args:
            scatter: how the decoded examples lie around their mean.

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
    """Independent binary features; values between 0 and 1 are read as probabilities of a 1."""

    limits = (0.0, 1.0)
    advice = (
        "a Gaussian likelihood (likelihood: {class_path: Gaussian}), which takes any number, or "
        "data that are scaled to [0, 1]"
    )

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
    """Independent features N(mean, variance), the variance fixed or learned.

    There is one variance for all features, or one for each.

    Attributes:
        log_variance: log of the variance, 0-dimensional, or that of each feature, of the shape of
            an example.

    Example:
        >>> import thermo_pl as tp
        >>> each = tp.networks.Gaussian(1.0, learned=True, per_feature=True)
        >>> decoder = tp.MLPDecoder([13], latent_dim=2, likelihood=each)
        >>> decoder.likelihood.log_variance.shape
        torch.Size([13])
    """

    def __init__(
        self,
        variance: float | Sequence[float] = 0.05,
        learned: bool = False,
        per_feature: bool = False,
    ) -> None:
        """Keep the variance.

        Args:
            variance: variance of a feature, at the start if it is learned; or one for each
                feature, in the order of the flattened example.
            learned: whether it is one of the parameters.
            per_feature: whether each feature learns a variance of its own; a list says so.

        Raises:
            ConfigError: if a variance is not a finite number > 0, or each feature is to have one of
                its own where there is but one and it is fixed.
        """
        super().__init__()
        self._listed = not isinstance(variance, int | float)
        values: list[float] = list(variance) if self._listed else [variance]  # type: ignore[arg-type, list-item]
        ok = len(values) > 0 and all(0 < value < math.inf for value in values)
        require(ok, "variance", variance, "a finite number > 0, or one for each feature")
        ok = not per_feature or learned or self._listed
        allowed = "false, or true with learned: true: one fixed number is the same for each feature"
        require(ok, "per_feature", per_feature, allowed)
        self._per_feature = per_feature or self._listed
        # fixed, it stays exact: a buffer would be rounded with the networks
        logs = torch.tensor([math.log(v) for v in values], dtype=None if learned else torch.float64)
        value = logs if self._listed else logs[0].clone()
        self.log_variance = nn.Parameter(value) if learned else value

    @property
    def quadratic(self) -> bool:
        """Whether the negative log-likelihood is quadratic in the decoder's output."""
        # a subclass with a loss of its own may be anything
        return type(self).nll is Gaussian.nll and type(self).forward is Likelihood.forward

    def take_shape(self, shape: Sequence[int]) -> None:
        """Lay out the variances of the features; one for all stays as it is.

        Args:
            shape: of one example.

        Raises:
            ConfigError: if there is another number of variances than of features.
        """
        if not self._per_feature:
            return
        found, size = self.log_variance, math.prod(shape)
        allowed = f"{size} of them, one for each feature of an example of shape {list(shape)}"
        require(found.numel() == size or not self._listed, "variance", found.numel(), allowed)
        laid = found.detach().flatten().expand(size).reshape(*shape).clone()
        self.log_variance = nn.Parameter(laid) if isinstance(found, nn.Parameter) else laid

    def nll(self, decoded: Tensor, x: Tensor) -> Tensor:
        """Gaussian NLL, see :func:`thermo_pl.functionals.gaussian_nll`.

        Args:
            decoded: means, shape ``(samples, n, *image)``.
            x: images, shape ``(n, *image)``.

        Returns:
            Nats, shape ``(samples, n)``.
        """
        return gaussian_nll(decoded, x, self.log_variance)

    def excess(self, scatter: Scatter) -> Tensor:
        """Half the scatter over the variance of a feature.

        Args:
            scatter: how the decoded examples lie around their mean.

        Returns:
            Nats, shape ``(n,)``.
        """
        precision = torch.exp(-self.log_variance)
        if precision.ndim:
            return 0.5 * scatter.square(precision.flatten().to(scatter.columns))
        return 0.5 * precision * scatter.square()

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
    """How far what a linear decoder makes of z lies around what it makes of the mean of e(z|x).

    An axis j of z with standard deviation s_j moves them by s_j w_j, w_j a column of the decoder.

    Attributes:
        deviations: s, shape ``(n, k)``.
        columns: w, shape ``(features, k)``.
        tangent: s and w at which the products s_j w_j are replaced by their linearisation in s and
            w: J is then a convex function of what is left, with the same value and slope there,
            and its Hessian is the Gauss-Newton matrix of J in s_j w_j.
    """

    deviations: Tensor
    columns: Tensor
    tangent: tuple[Tensor, Tensor] | None = None

    def square(self, weight: Tensor | None = None) -> Tensor:
        """Mean square distance from the mean, Σ_j s_j² |w_j|².

        Args:
            weight: what the square of each feature is weighed with, shape ``(features,)``.

        Returns:
            Summed over the features, shape ``(n,)``.
        """
        s, w = self.deviations, self.columns

        def product(a: Tensor, b: Tensor) -> Tensor:
            each = a.square() if a is b else a * b
            return each.sum(0) if weight is None else weight @ each

        if self.tangent is None:
            return s.square() @ product(w, w)
        at, there = self.tangent
        # s w ≈ s₀ w + (s - s₀) w₀
        moved = s - at
        square = moved.square() * product(there, there) + 2 * moved * at * product(w, there)
        return (square + at.square() * product(w, w)).sum(-1)
