"""Where images come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

SPLITS = ("train", "val", "test")


class Split(NamedTuple):
    """Labelled images.

    Attributes:
        images: float32 in [0, 1], shape ``(n, channels, height, width)``.
        labels: classes, int64, shape ``(n,)``.
    """

    images: Tensor
    labels: Tensor


class ImageSource(ABC):
    """A set of labelled images, split into train, val and test.

    A source of your own subclasses this; its constructor arguments are what a config can set.
    """

    @abstractmethod
    def load(self) -> dict[str, Split]:
        """Load all images.

        Must give the same images every time: couplings refer to them by index.

        Returns:
            Disjoint splits by the names "train", "val" and "test".
        """
