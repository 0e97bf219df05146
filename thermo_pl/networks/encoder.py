"""Encoders e(z|x): images in, the mean and log variance of a diagonal Gaussian out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from thermo_pl.errors import require
from thermo_pl.networks.layers import conv_sizes, mlp


class Encoder(nn.Module):
    """Base of the encoders.

    Attributes:
        image_shape: shape of one image, ``(channels, height, width)``.
        latent_dim: size k of the representation.
        deterministic: whether z is a function of x; there is then no rate.
    """

    deterministic = False

    def __init__(self, image_shape: Sequence[int], latent_dim: int) -> None:
        """Check and keep the sizes.

        Args:
            image_shape: shape of one image, ``(channels, height, width)``.
            latent_dim: size of the representation.
        """
        super().__init__()
        ok = len(image_shape) == 3 and min(image_shape) > 0
        require(ok, "image_shape", list(image_shape), "three positive sizes [channels, h, w]")
        require(latent_dim > 0, "latent_dim", latent_dim, "a whole number > 0")
        self.image_shape = tuple(image_shape)
        self.latent_dim = latent_dim

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images.

        Args:
            x: shape ``(n, channels, height, width)``.

        Returns:
            Mean and log variance of e(z|x), each ``(n, latent_dim)``.
        """
        raise NotImplementedError


class MLPEncoder(Encoder):
    """A multilayer perceptron on the flattened image."""

    def __init__(
        self, image_shape: Sequence[int], latent_dim: int, hidden: Sequence[int] = (128,)
    ) -> None:
        """Build the layers.

        Args:
            image_shape: shape of one image, ``(channels, height, width)``.
            latent_dim: size of the representation.
            hidden: widths of the hidden layers; empty for a linear encoder.
        """
        super().__init__(image_shape, latent_dim)
        self.net = mlp(math.prod(image_shape), hidden, 2 * latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images.

        Args:
            x: shape ``(n, channels, height, width)``.

        Returns:
            Mean and log variance of e(z|x), each ``(n, latent_dim)``.
        """
        mean, log_var = self.net(x.flatten(1)).chunk(2, -1)
        return mean, log_var


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
        super().__init__(image_shape, latent_dim)
        ok = len(channels) > 0 and min(channels) > 0
        require(ok, "channels", list(channels), "one or more whole numbers > 0")
        sizes = conv_sizes(image_shape[1:], len(channels))
        layers: list[nn.Module] = []
        for width_in, width_out in zip((image_shape[0], *channels), channels, strict=False):
            layers += [nn.Conv2d(width_in, width_out, 3, stride=2, padding=1), nn.SiLU()]
        features = channels[-1] * math.prod(sizes[-1])
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 2 * latent_dim))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images.

        Args:
            x: shape ``(n, channels, height, width)``.

        Returns:
            Mean and log variance of e(z|x), each ``(n, latent_dim)``.
        """
        mean, log_var = self.net(x).chunk(2, -1)
        return mean, log_var


class IdentityEncoder(Encoder):
    """No representation at all: z is the flattened image, R is zero by definition.

    With a linear classifier the model is logistic regression.
    """

    deterministic = True

    def __init__(self, image_shape: Sequence[int]) -> None:
        """Keep the sizes.

        Args:
            image_shape: shape of one image, ``(channels, height, width)``.
        """
        super().__init__(image_shape, math.prod(image_shape))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Flatten images.

        Args:
            x: shape ``(n, channels, height, width)``.

        Returns:
            The flattened images, and a log variance of minus infinity: no noise.
        """
        mean = x.flatten(1)
        return mean, mean.new_full(mean.shape, -math.inf)
