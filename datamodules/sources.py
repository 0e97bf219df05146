"""Where examples come from: images, tables, features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split
from torch import Tensor

from thermo_pl.errors import DataError, require

IntArray = npt.NDArray[np.int64]
SPLITS = ("train", "val", "test")


class Split(NamedTuple):
    """Labelled examples: images, rows of a table, vectors of features or any other tensors.

    Attributes:
        images: float32, shape ``(n, *image)``: ``(n, channels, height, width)`` of images,
            ``(n, columns)`` of a table. A Bernoulli likelihood asks for values in [0, 1].
        labels: classes, any whole numbers, int64, shape ``(n,)``.
    """

    images: Tensor
    labels: Tensor


class ImageSource(ABC):
    """A set of labelled examples, split into train, val and test.

    A source of your own subclasses this; its constructor arguments are what a config can set.

    Attributes:
        names: what the labels 0, 1, … are called, known once they are loaded; empty where a number
            is its own name.
    """

    names: tuple[str, ...] = ()

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


def check_shares(val: float, test: float | None, seed: int) -> None:
    """Refuse shares that leave nothing to train on.

    Args:
        val: share of the examples that is held out for validation.
        test: share that is held out for testing; None where test examples are others.
        seed: which split.

    Raises:
        ConfigError: if one of them is not allowed.
    """
    require(0 < val < 1, "val", val, "a share between 0 and 1")
    allowed = "what has the test examples, or a share so that val + test is below 1"
    require(test is None or 0 < test < 1 - val, "test", test, allowed)
    require(seed >= 0, "split_seed", seed, "an integer from 0")


def divide(
    name: str, labels: IntArray, shares: Mapping[str, float], seed: int
) -> dict[str, IntArray]:
    """Hold out shares of the examples; what is left is for training.

    Args:
        name: of the source, for errors.
        labels: classes of all examples, shape ``(n,)``.
        shares: by the names of the splits that are held out, in the order in which they are.
        seed: which split.

    Returns:
        Indices of each split in ascending order; "train" is one of them.

    Raises:
        DataError: if there are too few examples of a class to divide.
    """
    rest, parts = np.arange(len(labels)), {}
    for split, share in shares.items():
        rest, held_out = hold_out(name, rest, labels, round(share * len(labels)), seed)
        parts[split] = np.sort(held_out)
    return {"train": np.sort(rest)} | parts


def as_classes(values: npt.NDArray[Any], name: str) -> tuple[IntArray, tuple[str, ...]]:
    """Classes of labels of any kind: whole numbers stay what they are, names are numbered.

    Args:
        values: one label for each example: numbers, text, or text that is numbers.
        name: of the source, for errors.

    Returns:
        Whole numbers, shape ``(n,)``, and the names of 0, 1, … in alphabetical order; no names
        where the labels are numbers.

    Raises:
        DataError: if a label is missing, or is a number that is not whole.
    """
    allowed = "whole numbers or names, one for each example; a measured quantity is no class"
    if values.ndim != 1:
        raise DataError(f"{name}: got labels of shape {values.shape}; allowed: {allowed}")
    if values.dtype.kind in "OUS":
        words = [str(value).strip() for value in values.tolist()]
        missing = [i for i, word in enumerate(words) if word in {"", "None", "nan", "NaN"}]
        if missing:
            raise DataError(f"{name}: got no label in row {missing[0]}; allowed: {allowed}")
        try:
            return np.array([int(word) for word in words], dtype=np.int64), ()
        except ValueError:
            names, codes = np.unique(np.array(words), return_inverse=True)
            return codes.astype(np.int64), tuple(map(str, names))
    classes = values.astype(np.int64) if values.dtype.kind in "biu" else np.round(values)
    odd = np.flatnonzero(classes != values)
    if len(odd) or values.dtype.kind not in "biuf":
        got = f"the label {values[odd[0]]} in row {odd[0]}" if len(odd) else str(values.dtype)
        raise DataError(f"{name}: got {got}; allowed: {allowed}")
    return classes.astype(np.int64), ()
