"""Encoders e(z|x): examples in, a distribution of the representation out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from thermo_pl.errors import require
from thermo_pl.networks.layers import Whitening, checked_shape, conv_sizes, mlp
from thermo_pl.networks.posterior import GaussianPosterior, Posterior


class Encoder(nn.Module, ABC):
    """Base of the encoders.

    Attributes:
        image_shape: shape of one example: ``(channels, height, width)`` of an image, ``(columns,)``
            of a row of a table, or any other.
        latent_dim: size k of the representation.
        deterministic: whether z is a function of x; there is then no rate.
        exact: whether means over the draws are expectations, without sampling error.
        family: the kind of distribution that comes out.
        whitening: what images go through first and that wants to know their moments, if anything.
    """

    deterministic = False
    exact = False
    family: type[Posterior] = GaussianPosterior
    whitening: Whitening | None

    def __init__(self, image_shape: Sequence[int], latent_dim: int) -> None:
        """Check and keep the sizes.

        Args:
            image_shape: shape of one example.
            latent_dim: size of the representation.
        """
        super().__init__()
        self.image_shape = checked_shape(image_shape)
        require(latent_dim > 0, "latent_dim", latent_dim, "a whole number > 0")
        self.latent_dim = latent_dim
        self.whitening = None

    @property
    def gaussian_draws(self) -> bool:
        """Whether z is drawn from a Gaussian, so that a cubature may take the place of draws."""
        return self.family is GaussianPosterior and not self.exact and not self.deterministic

    @abstractmethod
    def forward(self, x: Tensor) -> Posterior:
        """Encode examples.

        Args:
            x: shape ``(n, *image)``.

        Returns:
            e(z|x).
        """

    def noise(self, samples: int, n: int, generator: torch.Generator | None = None) -> Tensor:
        """What e(z|x) is drawn with, on the CPU in torch's default precision.

        Args:
            samples: draws for each example.
            n: number of examples.
            generator: a generator on the CPU; the global one if not given.

        Returns:
            Standard normal draws, shape ``(samples, n, latent_dim)``.
        """
        return torch.randn(samples, n, self.latent_dim, generator=generator)


class MLPEncoder(Encoder):
    """A multilayer perceptron on the flattened example.

    Example:
        >>> import torch
        >>> import thermo_pl as tp
        >>> posterior = tp.MLPEncoder([1, 8, 8], latent_dim=3)(torch.rand(2, 1, 8, 8))
        >>> posterior.mean.shape, posterior.log_var.shape
        (torch.Size([2, 3]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        hidden: Sequence[int] = (128,),
        whiten: bool = False,
    ) -> None:
        """Build the layers.

        Args:
            image_shape: shape of one example.
            latent_dim: size of the representation.
            hidden: widths of the hidden layers; empty for a linear encoder.
            whiten: whiten the features first, by the mean and the covariance of the training
                examples of all waypoints: the same networks, but far easier to bring to
                equilibrium.
        """
        super().__init__(image_shape, latent_dim)
        self.net = mlp(math.prod(image_shape), hidden, 2 * latent_dim)
        if whiten:
            self.whitening = Whitening(math.prod(image_shape))

    def forward(self, x: Tensor) -> GaussianPosterior:
        """Encode examples.

        Args:
            x: shape ``(n, *image)``.

        Returns:
            The Gaussian e(z|x).
        """
        pixels = x.flatten(1) if self.whitening is None else self.whitening(x.flatten(1))
        mean, log_var = self.net(pixels).chunk(2, -1)
        return GaussianPosterior(mean, log_var)


class ConvEncoder(Encoder):
    """Strided 3x3 convolutions, then one linear layer."""

    def __init__(
        self, image_shape: Sequence[int], latent_dim: int, channels: Sequence[int] = (32, 64)
    ) -> None:
        """Build the layers.

        Args:
            image_shape: shape of one image, ``(channels, height, width)``.
            latent_dim: size of the representation.
            channels: channels of the convolutions; each one halves height and width.
        """
        super().__init__(checked_shape(image_shape, images=True), latent_dim)
        ok = len(channels) > 0 and min(channels) > 0
        require(ok, "channels", list(channels), "one or more whole numbers > 0")
        sizes = conv_sizes(image_shape[1:], len(channels))
        layers: list[nn.Module] = []
        for width_in, width_out in zip((image_shape[0], *channels), channels, strict=False):
            layers += [nn.Conv2d(width_in, width_out, 3, stride=2, padding=1), nn.SiLU()]
        features = channels[-1] * math.prod(sizes[-1])
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 2 * latent_dim))

    def forward(self, x: Tensor) -> GaussianPosterior:
        """Encode images.

        Args:
            x: shape ``(n, channels, height, width)``.

        Returns:
            The Gaussian e(z|x).
        """
        mean, log_var = self.net(x).chunk(2, -1)
        return GaussianPosterior(mean, log_var)


class IdentityEncoder(Encoder):
    """No representation at all: z is the flattened example, R is zero by definition.

    With a linear classifier the model is logistic regression.
    """

    deterministic = True

    def __init__(self, image_shape: Sequence[int]) -> None:
        """Keep the sizes.

        Args:
            image_shape: shape of one example.
        """
        super().__init__(image_shape, math.prod(image_shape))

    def forward(self, x: Tensor) -> GaussianPosterior:
        """Flatten examples.

        Args:
            x: shape ``(n, *image)``.

        Returns:
            The flattened examples, and a log variance of minus infinity: no noise.
        """
        mean = x.flatten(1)
        return GaussianPosterior(mean, mean.new_full(mean.shape, -math.inf))
