"""MNIST that turns: the benchmark of gradual self-training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from thermo_pl.datamodules.sources import GradualImages, GradualSource, Split
from thermo_pl.datamodules.transforms import Rotation
from thermo_pl.datamodules.vision import MNIST
from thermo_pl.errors import require


class RotatedMNIST(GradualSource):
    """MNIST's 60,000 training images, turned by an angle that grows along an unlabelled stream.

    The split of Kumar, Ma & Liang (2020), of the training images in random order: 5,000 labelled
    ones turned by 0-5°, and 1,000 like them held out; a stream of 42,000 turned by 5° to 60°; and
    2,000 turned by 55-60° to test on. Inside each part the angle grows evenly from image to image.
    Images turn counterclockwise, with bilinear interpolation.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        download: bool = False,
        sizes: tuple[int, int, int, int] = (5000, 1000, 42000, 2000),
        source: tuple[float, float] = (0.0, 5.0),
        stream: tuple[float, float] = (5.0, 60.0),
        target: tuple[float, float] = (55.0, 60.0),
        split_seed: int = 0,
    ) -> None:
        """Check sizes and angles; the images are read by :meth:`load`.

        Args:
            root: folder that holds ``MNIST/raw``; ``$THERMO_PL_DATA`` if not given.
            download: fetch it there if it is missing.
            sizes: images that are labelled, held out beside them, in the stream, and to test on.
            source: least and largest angle of the labelled images, in degrees.
            stream: angles of the first and of the last image of the stream.
            target: least and largest angle of the test images.
            split_seed: which split.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        ok = min(sizes) > 0 and sum(sizes) <= 60_000
        require(ok, "sizes", list(sizes), "four whole numbers > 0, of 60,000 images together")
        require(split_seed >= 0, "split_seed", split_seed, "an integer from 0")
        self._turns = [Rotation(ends) for ends in (source, source, stream, target)]
        self._mnist = MNIST(root, download)
        self.sizes, self.split_seed = sizes, split_seed

    def load(self) -> GradualImages:
        """Read MNIST and turn the images.

        Returns:
            The parts.
        """
        splits = self._mnist.load()
        both = splits["train"], splits["val"]
        images = torch.cat([part.images for part in both])
        labels = torch.cat([part.labels for part in both])
        order = np.random.default_rng(self.split_seed).permutation(len(labels))
        parts = np.split(order, np.cumsum(self.sizes))[:4]
        source, val, stream, test = (
            Split(turn(images[part]), labels[part])
            for turn, part in zip(self._turns, parts, strict=True)
        )
        return GradualImages(source, val, stream.images, test)
