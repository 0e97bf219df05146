"""Decoders d(x|z): a network for the parameters, a likelihood for the distortion."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from thermo_pl.errors import require
from thermo_pl.functionals import (
    bernoulli_log_partition,
    bernoulli_nll,
    gaussian_log_partition,
    gaussian_nll,
)
from thermo_pl.networks.layers import conv_sizes, mlp


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

    def forward(self, decoded: Tensor, x: Tensor, scatter: Tensor | None = None) -> Tensor:
        """Negative log-likelihood, or its mean over decoded images that scatter.

        Args:
            decoded: output of the decoder's network, shape ``(samples, n, *image)``.
            x: images, shape ``(n, *image)``.
            scatter: mean square distance of the decoded images from ``decoded``, which is their
                mean, summed over the pixels, shape ``(n,)``; of a quadratic likelihood only.

        Returns:
            Nats, shape ``(samples, n)``.
        """
        nll = self.nll(decoded, x)
        return nll if scatter is None else nll + self.excess(scatter)

    def excess(self, scatter: Tensor) -> Tensor:
        """What scatter adds to the mean of the negative log-likelihood, if that is quadratic.

        Args:
            scatter: as in :meth:`forward`.

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


class Decoder(nn.Module):
    """Base of the decoders.

    Attributes:
        image_shape: shape of one image, ``(channels, height, width)``.
        latent_dim: size k of the representation.
        likelihood: what the output says about a pixel.
    """

    def __init__(
        self, image_shape: Sequence[int], latent_dim: int, likelihood: Likelihood | None
    ) -> None:
        """Check and keep the sizes.

        Args:
            image_shape: shape of one image, ``(channels, height, width)``.
            latent_dim: size of the representation.
            likelihood: what the output says about a pixel; Bernoulli if not given.
        """
        super().__init__()
        ok = len(image_shape) == 3 and min(image_shape) > 0
        require(ok, "image_shape", list(image_shape), "three positive sizes [channels, h, w]")
        require(latent_dim > 0, "latent_dim", latent_dim, "a whole number > 0")
        self.image_shape = tuple(image_shape)
        self.latent_dim = latent_dim
        self.likelihood = likelihood or Bernoulli()

    @property
    def layer(self) -> nn.Linear | None:
        """The linear layer that the decoder is, if it is no more than one."""
        return None

    def forward(self, z: Tensor) -> Tensor:
        """Decode latent samples.

        Args:
            z: shape ``(samples, n, latent_dim)``.

        Returns:
            Parameters of d(x|z), shape ``(samples, n, *image)``.
        """
        raise NotImplementedError


class MLPDecoder(Decoder):
    """A multilayer perceptron."""

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        hidden: Sequence[int] = (128,),
        likelihood: Likelihood | None = None,
    ) -> None:
        """Build the layers.

        Args:
            image_shape: shape of one image, ``(channels, height, width)``.
            latent_dim: size of the representation.
            hidden: widths of the hidden layers; empty for a linear decoder.
            likelihood: what the output says about a pixel; Bernoulli if not given.
        """
        super().__init__(image_shape, latent_dim, likelihood)
        self.net = mlp(latent_dim, hidden, math.prod(image_shape))

    @property
    def layer(self) -> nn.Linear | None:
        """The linear layer that the decoder is, if it is no more than one."""
        # a subclass with a forward of its own may do anything
        alone = len(self.net) == 1 and type(self).forward is MLPDecoder.forward
        return cast(nn.Linear, self.net[0]) if alone else None

    def forward(self, z: Tensor) -> Tensor:
        """Decode latent samples.

        Args:
            z: shape ``(samples, n, latent_dim)``.

        Returns:
            Parameters of d(x|z), shape ``(samples, n, *image)``.
        """
        decoded: Tensor = self.net(z)
        return decoded.reshape(*z.shape[:-1], *self.image_shape)


class ConvDecoder(Decoder):
    """One linear layer, then steps of nearest-neighbour enlargement and 3x3 convolution."""

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        channels: Sequence[int] = (64, 32),
        likelihood: Likelihood | None = None,
    ) -> None:
        """Build the layers.

        Args:
            image_shape: shape of one image, ``(channels, height, width)``.
            latent_dim: size of the representation.
            channels: channels before each enlargement; each one doubles height and width.
            likelihood: what the output says about a pixel; Bernoulli if not given.
        """
        super().__init__(image_shape, latent_dim, likelihood)
        ok = len(channels) > 0 and min(channels) > 0
        require(ok, "channels", list(channels), "one or more whole numbers > 0")
        sizes = conv_sizes(image_shape[1:], len(channels))[::-1]
        first = (channels[0], *sizes[0])
        layers: list[nn.Module] = [nn.Linear(latent_dim, math.prod(first)), nn.SiLU()]
        layers.append(nn.Unflatten(-1, first))
        widths = [*channels, image_shape[0]]
        for step, size in enumerate(sizes[1:]):
            if step:
                layers.append(nn.SiLU())
            # enlarge to the exact size: an odd side is not twice its half
            layers += [nn.Upsample(size), nn.Conv2d(widths[step], widths[step + 1], 3, padding=1)]
        self.net = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Decode latent samples.

        Args:
            z: shape ``(samples, n, latent_dim)``.

        Returns:
            Parameters of d(x|z), shape ``(samples, n, *image)``.
        """
        decoded: Tensor = self.net(z.flatten(0, 1))
        return decoded.reshape(*z.shape[:-1], *self.image_shape)
