"""Domains small enough to reason about, and real digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from thermo_pl.datamodules import ImageSource, InterpolatedDataModule, Split, Waypoint


class Toy(ImageSource):
    """A source that gives what it was given."""

    def __init__(self, splits: dict[str, Split]) -> None:
        """Keep the splits."""
        self.splits = splits

    def load(self) -> dict[str, Split]:
        return self.splits


def toy_split(values: dict[int, list[float]]) -> Split:
    """Images of one pixel: the values of each class."""
    pixels = [value for group in values.values() for value in group]
    labels = [label for label, group in values.items() for _ in group]
    return Split(torch.tensor(pixels).reshape(-1, 1, 1, 1), torch.tensor(labels))


def toy(train: dict[int, list[float]], **others: dict[int, list[float]]) -> Toy:
    """A toy source; val and test are like train unless given."""
    values = {"train": train, "val": train, "test": train, **others}
    return Toy({name: toy_split(split) for name, split in values.items()})


@pytest.fixture
def toys() -> Callable[..., Toy]:
    return toy


@pytest.fixture
def datamodule(tmp_path: Path) -> Callable[..., InterpolatedDataModule]:
    """Digits 0-4 to 5-9 unless other waypoints are given, with a cache of the test's own."""

    def make(*waypoints: Waypoint, **arguments: object) -> InterpolatedDataModule:
        path = list(waypoints) or [Waypoint([0, 1, 2, 3, 4]), Waypoint([5, 6, 7, 8, 9])]
        made = InterpolatedDataModule(path, **({"cache_dir": tmp_path / "cache"} | arguments))
        made.setup("fit")
        return made

    return make


@pytest.fixture
def two_legs(
    datamodule: Callable[..., InterpolatedDataModule],
) -> Callable[..., InterpolatedDataModule]:
    """Legs of 4 and of 12 pairs; x_a of the first leg is below 0.5, of the second above."""

    def make(**arguments: object) -> InterpolatedDataModule:
        small = toy({0: [0.0, 0.1], 1: [0.3, 0.4]})
        large = toy({0: [0.51, 0.52, 0.53, 0.54], 1: [0.61, 0.62, 0.63, 0.64]})
        odd = toy({0: [0.8, 0.81, 0.82], 1: [0.9, 0.91, 0.92]})
        waypoints = [Waypoint(source=source) for source in (small, large, odd)]
        return datamodule(*waypoints, **arguments)

    return make
