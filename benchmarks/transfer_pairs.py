"""The pairs of domains of docs/transfer_study.md: small images and a table, each shifted."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.datasets import load_breast_cancer, load_digits

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Change = Callable[[Array], Array]
IMAGES = ("digits", "MNIST", "FashionMNIST")
LOW, HIGH = range(5), range(5, 10)
TEXTURE = 1
"""Column of the table that divides small from large."""


class Pair(NamedTuple):
    """A source and a target.

    Attributes:
        source: name of the data set of A.
        target: that of B.
        kind: of shift; the same name means the same in all data sets.
        classes_a: the classes of A, in the order in which they go with those of B.
        classes_b: those of B.
        change: what is done to the examples of B.
        part_a: of the table which half A is made of: 0, 1, or 2 and 3 for small and large.
        part_b: likewise.
    """

    source: str
    target: str
    kind: str
    classes_a: tuple[int, ...]
    classes_b: tuple[int, ...]
    change: Change = np.asarray
    part_a: int = 0
    part_b: int = 1

    @property
    def name(self) -> str:
        """What the pair is called in tables."""
        return f"{self.source} → {self.target}, {self.kind}"


class Sets(NamedTuple):
    """The examples of a pair.

    Attributes:
        x_a: of A, shape ``(n, d)``.
        y_a: their classes, 0, 1, ….
        x_b: the labelled ones of B.
        y_b: their classes.
        test_a: held-out ones of A.
        test_y_a: their classes.
        test_b: those of B.
        test_y_b: their classes.
    """

    x_a: Array
    y_a: Labels
    x_b: Array
    y_b: Labels
    test_a: Array
    test_y_a: Labels
    test_b: Array
    test_y_b: Labels


def all_pairs() -> list[Pair]:
    """The 66 pairs.

    Returns:
        In the order of the protocol.
    """
    pairs = [pair for name in IMAGES for pair in _within(name)]
    for a, b in (("digits", "MNIST"), ("MNIST", "digits")):
        pairs.append(_pair(a, b, "another set", LOW, LOW))
        pairs.append(_pair(a, b, "another set, 0-4 to 5-9", LOW, HIGH))
    for a in ("MNIST", "digits"):
        pairs.append(_pair("FashionMNIST", a, "another set", LOW, LOW))
        pairs.append(_pair(a, "FashionMNIST", "another set", LOW, LOW))
    pairs += [_pair(name, name, "renamed", LOW, (1, 2, 3, 4, 0)) for name in IMAGES]
    return pairs + _of_table()


def sets(pair: Pair, labels: int, seed: int) -> Sets:
    """Draw the examples of a pair.

    Args:
        pair: the pair.
        labels: labelled examples of each class of B.
        seed: of the draw.

    Returns:
        The examples.
    """
    of_table = pair.source == "table"
    kept = 10_000 if of_table else 200
    x, y, z, v = _parts(pair.source, pair.classes_a, pair.part_a, kept, seed)
    u, w, s, t = _parts(pair.target, pair.classes_b, pair.part_b, labels, seed)
    return Sets(x, y, pair.change(u), w, z, v, pair.change(s), t)


def _parts(
    name: str, classes: tuple[int, ...], part: int, count: int, seed: int
) -> tuple[Array, Labels, Array, Labels]:
    # so many of each class, and up to 200 others of it to test on; of the table at least a fifth
    x, y, part_of = _loaded(name)
    rng = np.random.default_rng([seed, part])
    few, rest = [], []
    for label in classes:
        index = rng.permutation(np.flatnonzero((y == label) & _belongs(part_of, part)))
        cut = min(count, len(index) * 4 // 5)
        few.append(index[:cut])
        rest.append(index[cut : cut + 200])
    numbers = [np.repeat(np.arange(len(classes)), [len(i) for i in group]) for group in (few, rest)]
    chosen, others = np.concatenate(few), np.concatenate(rest)
    return x[chosen], numbers[0], x[others], numbers[1]


def _belongs(part_of: Labels, part: int) -> NDArray[np.bool_]:
    # bit 0 says which half of the examples, bit 1 whether the texture is large
    return part_of % 2 == part if part < 2 else part_of // 2 == part - 2


@cache
def _loaded(name: str) -> tuple[Array, Labels, Labels]:
    # examples, classes, and the part of the data that each belongs to
    if name == "table":
        x, y = load_breast_cancer(return_X_y=True)
        x = (x - x.mean(0)) / x.std(0)
        large = (x[:, TEXTURE] > np.median(x[:, TEXTURE])).astype(np.int64)
        return x, y.astype(np.int64), np.random.default_rng(0).permutation(len(x)) % 2 + 2 * large
    if name == "digits":
        x, y = load_digits(return_X_y=True)
        x = x / 16
    else:
        from thermo_pl.datamodules import MNIST, FashionMNIST  # they take a while

        split = {"MNIST": MNIST, "FashionMNIST": FashionMNIST}[name]().load()["train"]
        images = np.pad(split.images[:12_000, 0].double().numpy(), ((0, 0), (2, 2), (2, 2)))
        x = images.reshape(-1, 8, 4, 8, 4).mean((2, 4)).reshape(-1, 64)
        y = split.labels[:12_000].numpy()
    return x, y.astype(np.int64), np.random.default_rng(0).permutation(len(x)) % 2


def _pair(
    a: str, b: str, kind: str, from_: object, to: object, change: Change = np.asarray
) -> Pair:
    return Pair(a, b, kind, tuple(from_), tuple(to), change)  # type: ignore[call-overload]


def _within(name: str) -> list[Pair]:
    def same(kind: str, change: Change) -> Pair:
        return _pair(name, name, kind, LOW, LOW, change)

    return [
        _pair(name, name, "other classes", LOW, HIGH),
        _pair(name, name, "other classes, even to odd", range(0, 10, 2), range(1, 10, 2)),
        _pair(name, name, "other classes, mixed", (0, 2, 5, 7, 9), (1, 3, 4, 6, 8)),
        *(same(f"turned by {degrees}°", _turned(degrees)) for degrees in (30, 60, 90, 180)),
        *(same(f"noise {std}", _noisy(std)) for std in (0.3, 0.6)),
        same("first half gone", _without(slice(0, 32))),
        same("second half gone", _without_left),
        same("inverted", _inverted),
        _pair(name, name, "other classes, turned", LOW, HIGH, _turned(45)),
        _pair(name, name, "other classes, inverted", LOW, HIGH, _inverted),
    ]


def _of_table() -> list[Pair]:
    def same(kind: str, change: Change, to: tuple[int, int] = (0, 1)) -> Pair:
        return Pair("table", "table", kind, (0, 1), to, change)

    rng = np.random.default_rng(1)
    order, turn = rng.permutation(30), np.linalg.qr(rng.standard_normal((30, 30)))[0]
    return [
        *(same(f"noise {std}", _noisy(std)) for std in (0.5, 1.0, 2.0)),
        same("first half gone", _without(slice(0, 15))),
        same("second half gone", _without(slice(15, 30))),
        same("inverted", np.negative),
        same("renamed", np.asarray, (1, 0)),
        same("columns shifted", lambda x: np.roll(x, 1, axis=1)),
        same("columns in another order", lambda x: x[:, order]),
        same("columns mixed", lambda x: x @ turn),
        Pair("table", "table", "small to large", (0, 1), (0, 1), np.asarray, 2, 3),
        Pair("table", "table", "large to small", (0, 1), (0, 1), np.asarray, 3, 2),
        same("noise and inverted", lambda x: -_noisy(1.0)(x)),
    ]


def _turned(degrees: float) -> Change:
    def change(x: Array) -> Array:
        images = x.reshape(-1, 8, 8)
        turned = ndimage.rotate(images, degrees, axes=(2, 1), reshape=False, order=1)
        return np.asarray(turned.reshape(-1, 64))

    return change


def _noisy(std: float) -> Change:
    return lambda x: x + std * np.random.default_rng(len(x)).standard_normal(x.shape)


def _without(columns: slice) -> Change:
    def change(x: Array) -> Array:
        x = x.copy()
        x[:, columns] = 0
        return x

    return change


def _without_left(x: Array) -> Array:
    images = x.reshape(-1, 8, 8).copy()
    images[..., :4] = 0
    return images.reshape(-1, 64)


def _inverted(x: Array) -> Array:
    return 1 - x
