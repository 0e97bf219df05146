"""Images as a trained encoder sees them, for paths in the space of its features."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from thermo_pl.checkpoints import load_weights
from thermo_pl.errors import DataError
from thermo_pl.networks import Encoder

CHUNK = 1024
"""Images that are encoded at once."""


class Latents(nn.Module):
    """Put Φ(μ(x)) in place of an image x, where μ is the mean of a trained e(z|x).

    Φ is the distribution function of the standard normal, the usual marginal of z. It takes each
    latent to [0, 1], where images are; latents that follow the marginal are spread evenly there.
    Plans and interpolations of a waypoint with this transform are between latents, not pixels.
    """

    def __init__(self, encoder: Encoder, checkpoint: str | Path) -> None:
        """Load the encoder.

        Args:
            encoder: the encoder as it was configured when it was trained.
            checkpoint: checkpoint of the model that it was trained in; its weights are loaded.

        Raises:
            ConfigError: if there is no such file, or the weights are not those of this encoder.
        """
        super().__init__()
        allowed = "a model with this encoder"
        load_weights(encoder, Path(checkpoint), "checkpoint", allowed, prefix="encoder.")
        self.encoder = encoder.float().eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Encode them.

        Args:
            images: all images of a split, shape ``(n, channels, height, width)``.

        Returns:
            Φ(μ), shape ``(n, 1, 1, latent_dim)``.

        Raises:
            DataError: if the encoder takes images of another shape.
        """
        shape = self.encoder.image_shape
        if tuple(images.shape[1:]) != shape:
            raise DataError(
                f"Latents: got images of shape {tuple(images.shape[1:])}; allowed: {shape}, which "
                "the encoder takes"
            )
        means = [self.encoder(part).mean for part in torch.split(images, CHUNK)]
        seen: Tensor = torch.special.ndtr(torch.cat(means))
        return seen[:, None, None]
