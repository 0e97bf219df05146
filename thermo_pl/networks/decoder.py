"""Decoders d(x|z): a network for the parameters, a likelihood for the distortion."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from thermo_pl.errors import require
from thermo_pl.networks.layers import Axes, checked_shape, conv_sizes, hooked, mlp, only_linear
from thermo_pl.networks.likelihood import Bernoulli, Likelihood, Scatter
from thermo_pl.networks.posterior import GaussianPosterior, Posterior


class Decoder(nn.Module, ABC):
    """Base of the decoders.

    Attributes:
        image_shape: shape of one example, as the encoder's.
        latent_dim: size k of the representation.
        likelihood: what the output says about a feature, such as a pixel.
    """

    def __init__(
        self, image_shape: Sequence[int], latent_dim: int, likelihood: Likelihood | None
    ) -> None:
        """Check and keep the sizes.

        Args:
            image_shape: shape of one example.
            latent_dim: size of the representation.
            likelihood: what the output says about a feature; Bernoulli if not given.
        """
        super().__init__()
        self.image_shape = checked_shape(image_shape)
        require(latent_dim > 0, "latent_dim", latent_dim, "a whole number > 0")
        self.latent_dim = latent_dim
        self.likelihood = likelihood or Bernoulli()
        self.likelihood.take_shape(self.image_shape)

    @property
    def layer(self) -> nn.Linear | None:
        """The linear layer that the decoder is, if it is no more than one."""
        return None

    @property
    def closed(self) -> bool:
        """Whether D of a Gaussian e(z|x) has a closed form, for which no z is drawn."""
        return self.layer is not None and self.likelihood.quadratic and not hooked(self)

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Decode latent samples.

        Args:
            z: shape ``(samples, n, latent_dim)``.

        Returns:
            Parameters of d(x|z), shape ``(samples, n, *image)``.
        """

    def of_posterior(
        self, posterior: Posterior, z: Tensor, axes: Axes
    ) -> tuple[Tensor, Scatter | None]:
        """What D of e(z|x) is a function of: no draws where D has a closed form.

        Args:
            posterior: e(z|x).
            z: draws from it, shape ``(samples, n, latent_dim)``.
            axes: how the axes of z are turned.

        Returns:
            Parameters of d(x|z) at the draws, shape ``(samples, n, *image)``, and None. Of a linear
            decoder with a quadratic likelihood: those at the mean of e(z|x), shape
            ``(1, n, *image)``, and how the decoded examples lie around them.
        """
        layer = self.layer if self.closed else None
        if layer is None or not isinstance(posterior, GaussianPosterior):
            return self(axes.seen(z)), None
        columns = axes.turned(layer.weight)
        scatter = Scatter(torch.exp(0.5 * posterior.log_var), columns)
        return self(axes.seen(posterior.mean[None])), scatter


class MLPDecoder(Decoder):
    """A multilayer perceptron.

    Example:
        >>> import torch
        >>> import thermo_pl as tp
        >>> decoder = tp.MLPDecoder([1, 8, 8], latent_dim=3)
        >>> pixels = decoder.likelihood.mean(decoder(torch.randn(1, 2, 3)))
        >>> pixels.shape, bool((pixels > 0).all() and (pixels < 1).all())
        (torch.Size([1, 2, 1, 8, 8]), True)
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        hidden: Sequence[int] = (128,),
        likelihood: Likelihood | None = None,
    ) -> None:
        """Build the layers.

        Args:
            image_shape: shape of one example.
            latent_dim: size of the representation.
            hidden: widths of the hidden layers; empty for a linear decoder.
            likelihood: what the output says about a feature; Bernoulli if not given.
        """
        super().__init__(image_shape, latent_dim, likelihood)
        self.net = mlp(latent_dim, hidden, math.prod(image_shape))

    @property
    def layer(self) -> nn.Linear | None:
        """The linear layer that the decoder is, if it is no more than one."""
        # a subclass with a forward of its own may do anything
        return only_linear(self.net) if type(self).forward is MLPDecoder.forward else None

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
        super().__init__(checked_shape(image_shape, images=True), latent_dim, likelihood)
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
