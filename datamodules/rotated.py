"""MNIST that turns or brightens: the benchmarks of gradual self-training."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from thermo_pl.datamodules.sources import GradualImages, GradualSource, Split
from thermo_pl.datamodules.transforms import Rotation
from thermo_pl.datamodules.vision import MNIST
from thermo_pl.errors import require

PARTS = ("source", "val", "stream", "test")


class ChangingMNIST(GradualSource):
    """MNIST's 60,000 training images in random order, cut into four parts that are changed."""

    def __init__(
        self,
        root: str | Path | None,
        download: bool,
        sizes: tuple[int, int, int, int],
        split_seed: int,
        others: bool = False,
    ) -> None:
        """Check the sizes; the images are read by :meth:`load`.

        Args:
            root: folder that holds ``MNIST/raw``; ``$THERMO_PL_DATA`` if not given.
            download: fetch it there if it is missing.
            sizes: images that are labelled, held out beside them, in the stream, and to test on.
            split_seed: which split.
            others: whether the images to test on are of MNIST's own test images.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        of_training = sum(sizes) - (sizes[3] if others else 0)
        ok = min(sizes) > 0 and of_training <= 60_000 and (not others or sizes[3] <= 10_000)
        allowed = "four whole numbers > 0, of 60,000 training and 10,000 test images"
        require(ok, "sizes", list(sizes), allowed)
        require(split_seed >= 0, "split_seed", split_seed, "an integer from 0")
        self._mnist = MNIST(root, download)
        self.sizes, self.split_seed, self.others = sizes, split_seed, others

    @abstractmethod
    def changed(self, images: Tensor, part: str) -> Tensor:
        """The images of a part as they are on the way.

        Args:
            images: in their order, shape ``(n, 1, 28, 28)``.
            part: "source", "val", "stream" or "test".

        Returns:
            The images, changed.
        """

    def load(self) -> GradualImages:
        """Read MNIST and change the images.

        Returns:
            The parts.
        """
        splits = self._mnist.load()
        training = splits["train"], splits["val"]
        images, labels = (torch.cat(part) for part in zip(*training, strict=True))
        rng = np.random.default_rng(self.split_seed)
        parts = np.split(rng.permutation(len(labels)), np.cumsum(self.sizes))[:4]
        if self.others:
            parts[3] = len(labels) + rng.permutation(len(splits["test"].labels))[: self.sizes[3]]
            images, labels = (
                torch.cat([a, b]) for a, b in zip((images, labels), splits["test"], strict=True)
            )
        source, val, stream, test = (
            Split(self.changed(images[index], part), labels[index])
            for part, index in zip(PARTS, parts, strict=True)
        )
        return GradualImages(source, val, stream.images, test)


class RotatedMNIST(ChangingMNIST):
    """MNIST's 60,000 training images, turned by an angle that grows along an unlabelled stream.

    The split of Kumar, Ma & Liang (2020), of the training images in random order: 5,000 labelled
    ones turned by 0-5°, and 1,000 like them held out; a stream of 42,000 turned by 5° to 60°; and
    2,000 turned by 55-60° to test on. Inside each part the angle grows evenly from image to image.
    Images turn counterclockwise. Shi & Liu (2023) turn them by splines, and test on MNIST's own
    10,000 test images: ``spline``, ``others`` and ``sizes: [5000, 1000, 42000, 10000]``.
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
        spline: bool = False,
        others: bool = False,
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
            spline: interpolate by cubic splines, and not bilinearly.
            others: whether the images to test on are of MNIST's own test images.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        super().__init__(root, download, sizes, split_seed, others)
        ends = zip(PARTS, (source, source, stream, target), strict=True)
        self._turns = {part: Rotation(pair, spline) for part, pair in ends}

    def changed(self, images: Tensor, part: str) -> Tensor:
        """Turn them.

        Args:
            images: in their order, shape ``(n, 1, 28, 28)``.
            part: "source", "val", "stream" or "test".

        Returns:
            The images, turned.
        """
        turned: Tensor = self._turns[part](images)
        return turned


class ColourShiftMNIST(ChangingMNIST):
    """MNIST's 60,000 training images, all pixels of which grow by a constant along the stream.

    Of the training images in random order 5,000 are labelled and as they are, 1,000 like them are
    held out; in a stream of 42,000 the constant grows domain by domain, from one step to 1; 10,000
    with 1 added are there to test on. Values lie in [0, 2]: a decoder needs a likelihood that
    allows them. Source: He et al., "Gradual Domain Adaptation: Theory and Algorithms", 2023.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        download: bool = False,
        sizes: tuple[int, int, int, int] = (5000, 1000, 42000, 10000),
        domains: int = 20,
        shift: float = 1.0,
        split_seed: int = 0,
    ) -> None:
        """Check the sizes; the images are read by :meth:`load`.

        Args:
            root: folder that holds ``MNIST/raw``; ``$THERMO_PL_DATA`` if not given.
            download: fetch it there if it is missing.
            sizes: images that are labelled, held out beside them, in the stream, and to test on.
            domains: of the stream; within one the constant is the same.
            shift: what is added to the pixels of the last one, and of the test images.
            split_seed: which split.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        super().__init__(root, download, sizes, split_seed)
        ok = 0 < domains <= sizes[2]
        require(ok, "domains", domains, "a whole number > 0, with an image in each")
        self.domains, self.shift = domains, shift

    def changed(self, images: Tensor, part: str) -> Tensor:
        """Brighten them.

        Args:
            images: in their order, shape ``(n, 1, 28, 28)``.
            part: "source", "val", "stream" or "test".

        Returns:
            The images, with a constant added to each.
        """
        if part != "stream":
            return images + (self.shift if part == "test" else 0.0)
        number = torch.arange(len(images)) * self.domains // len(images) + 1
        return images + (self.shift * number / self.domains)[:, None, None, None]
