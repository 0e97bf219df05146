"""Where examples come from: images, tables, features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split
from torch import Tensor

from thermo_pl.errors import DataError

IntArray = npt.NDArray[np.int64]
SPLITS = ("train", "val", "test")


class Split(NamedTuple):
    """Labelled examples: images, rows of a table, vectors of features or any other tensors.

    Attributes:
        images: float32, shape ``(n, *image)``: ``(n, channels, height, width)`` of images,
            ``(n, columns)`` of a table. A Bernoulli likelihood asks for values in [0, 1].
        labels: classes, int64, shape ``(n,)``.
    """

    images: Tensor
    labels: Tensor


class ImageSource(ABC):
    """A set of labelled examples, split into train, val and test.

    A source of your own subclasses this; its constructor arguments are what a config can set.
    """

    @abstractmethod
    def load(self) -> dict[str, Split]:
        """Load all examples.

        Must give the same ones every time: couplings refer to them by index.

        Returns:
            Disjoint splits by the names "train", "val" and "test".
        """


class GradualImages(NamedTuple):
    """Labelled images of one domain, and unlabelled ones that lead away from it.

    Attributes:
        source: what the labels of the path come from.
        val: held-out images of the same domain.
        stream: images in the order in which their domain shifts, float32 in [0, 1], shape
            ``(n, channels, height, width)``.
        test: held-out images of the domain at the end of the stream.
    """

    source: Split
    val: Split
    stream: Tensor
    test: Split


class GradualSource(ABC):
    """A labelled domain and a stream away from it; subclass this for one of your own."""

    @abstractmethod
    def load(self) -> GradualImages:
        """Load all images.

        Must give the same images every time: couplings refer to them by index.

        Returns:
            The images, no one of them twice.
        """


def hold_out(
    name: str, index: IntArray, labels: IntArray, size: float | int, seed: int
) -> tuple[IntArray, IntArray]:
    """Divide examples at random, every class in the same proportions.

    Args:
        name: of the source, for errors.
        index: the examples to divide, shape ``(n,)``.
        labels: classes of all examples, such that ``labels[index]`` are those of these.
        size: number of examples that are held out, or their share of ``index``.
        seed: which division.

    Returns:
        The examples that are kept, and those held out, in random order.

    Raises:
        DataError: if there are too few examples of a class to divide.
    """
    try:
        kept, held_out = train_test_split(
            index, test_size=size, stratify=labels[index], random_state=seed
        )
    except ValueError as error:
        counts = np.unique_counts(labels[index]).counts
        raise DataError(
            f"{name}: got {len(index)} examples of {len(counts)} classes, {counts.min()} of the "
            f"rarest one, to hold out {size:.3g} of them; allowed: enough for some of every class "
            f"on both sides ({str(error).rstrip('.')})"
        ) from error
    return np.asarray(kept), np.asarray(held_out)
