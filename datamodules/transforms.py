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


class Occlusion(nn.Module):
    """Cover a rectangle of every image with one grey."""

    def __init__(
        self,
        rows: tuple[float, float] = (0.0, 1.0),
        columns: tuple[float, float] = (0.0, 1.0),
        grey: float = 0.5,
    ) -> None:
        """Set it up.

        Args:
            rows: where the rectangle begins and ends from the top, as shares of the height.
            columns: the same from the left, as shares of the width.
            grey: value of the pixels there; 0.5 is the hardest to encode.

        Raises:
            ConfigError: if the shares or the value are not within [0, 1].
        """
        super().__init__()
        for name, (begin, end) in (("rows", rows), ("columns", columns)):
            ok = 0 <= begin < end <= 1
            require(ok, name, [begin, end], "two shares, 0 ≤ begin < end ≤ 1")
        require(0 <= grey <= 1, "grey", grey, "a number from 0 to 1")
        self.rows, self.columns, self.grey = rows, columns, grey

    def forward(self, images: Tensor) -> Tensor:
        """Cover the rectangle.

        Args:
            images: all images of a split, shape ``(n, channels, height, width)``.

        Returns:
            The images, of the same shape.
        """
        height, width = images.shape[-2:]
        top, bottom = (round(share * height) for share in self.rows)
        left, right = (round(share * width) for share in self.columns)
        covered = images.clone()
        covered[..., top:bottom, left:right] = self.grey
        return covered
