"""Transforms of the images of a waypoint."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor, nn

from thermo_pl.errors import require


class GaussianNoise(nn.Module):
    """Add Gaussian noise, drawn once and for all, and clamp to [0, 1].

    The draw depends on ``seed`` and on the images given, on nothing else: the same split always
    gets the same noise, while train, val and test get independent noise.
    """

    def __init__(self, std: float, seed: int = 0) -> None:
        """Set it up.

        Args:
            std: standard deviation of the noise, in units of the pixel range.
            seed: seed of the draw.

        Raises:
            ConfigError: if ``std`` or ``seed`` is negative.
        """
        super().__init__()
        require(0 <= std < float("inf"), "std", std, "a finite number from 0")
        require(seed >= 0, "seed", seed, "an integer from 0")
        self.std, self.seed = std, seed

    def forward(self, images: Tensor) -> Tensor:
        """Add the noise.

        Args:
            images: all images of a split, shape ``(n, *image)``.

        Returns:
            The noisy images, in [0, 1].
        """
        content = zlib.crc32(np.ascontiguousarray(images.cpu().numpy()).data)
        generator = np.random.default_rng([self.seed, content])
        noise = generator.standard_normal(tuple(images.shape), dtype=np.float32)
        return (images + self.std * torch.from_numpy(noise).to(images)).clamp(0, 1)
