"""What a process needs of the data it moves: legs of paired particles, and a position on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from thermo_pl.errors import DataError, require
from thermo_pl.particles import Particles

Predictor = Callable[[Tensor], Tensor]
"""Class probabilities, shape ``(n, classes)``, of inputs, shape ``(n, *shape)``."""


class Pairs(Protocol):
    """The particles of one leg."""

    def __len__(self) -> int:
        """How many there are."""

    def all(self) -> Particles:
        """All of them, with their masses as weights."""

    def draw(self, n: int, generator: torch.Generator | None = None) -> Particles:
        """Some of them, with replacement, by their mass; each of weight one.

        Args:
            n: how many.
            generator: on the CPU.
        """


class MovingData(Protocol):
    """Data on a path of legs, at one place of it."""

    @property
    def n_legs(self) -> int:
        """Number of legs."""

    @property
    def closed(self) -> bool:
        """Whether the last domain is the first one."""

    @property
    def static(self) -> bool:
        """Whether there is a single domain, so that nothing moves with t."""

    @property
    def mixture(self) -> bool:
        """Whether the domain at t is the mixture of both ends of the leg."""

    @property
    def leg(self) -> int:
        """Index of the leg where the data are."""

    @property
    def t(self) -> float:
        """Domain coordinate on the leg, from 0 to 1."""

    def move_to(self, leg: int, t: float) -> None:
        """Move the data; nothing else changes.

        Args:
            leg: index of the leg.
            t: domain coordinate on it.
        """

    def coupling(self, split: str) -> Pairs:
        """The particles of the leg where the data are.

        Args:
            split: "train", "val" or "test".
        """

    def label_with(self, predict: Predictor) -> None:
        """Label what has no labels yet on the leg where the data are; most data have all of them.

        Args:
            predict: class probabilities by the model at this moment.
        """


class Route(NamedTuple):
    """The path that the data take.

    Attributes:
        n_legs: number of legs.
        closed: whether the last domain is the first one.
        static: whether there is a single domain, so that nothing moves with t.
    """

    n_legs: int
    closed: bool
    static: bool

    @classmethod
    def of(cls, data: MovingData) -> Route:
        """The path of these data.

        Args:
            data: the data.

        Returns:
            The path.
        """
        return cls(data.n_legs, data.closed, data.static)


class TensorPairs:
    """Pairs that lie in memory, all of the same mass.

    Example:
        >>> import torch
        >>> import thermo_pl as tp
        >>> pairs = tp.TensorPairs(torch.zeros(4, 3), torch.ones(4, 3), torch.eye(2).repeat(2, 1))
        >>> len(pairs), pairs.draw(100).target.shape
        (4, torch.Size([100, 3]))
    """

    def __init__(self, source: Tensor, target: Tensor, y: Tensor) -> None:
        """Keep the pairs.

        Args:
            source: x_a, shape ``(n, *shape)``.
            target: x_b, the partner of each, of the same shape.
            y: class probabilities of each pair, shape ``(n, classes)``.

        Raises:
            DataError: if the shapes do not fit.
        """
        if source.shape != target.shape or len(y) != len(source):
            raise DataError(
                f"pairs: got {tuple(source.shape)}, {tuple(target.shape)} and labels "
                f"{tuple(y.shape)}; allowed: x_a and x_b of one shape, and a row of labels for each"
            )
        self._particles = Particles(source, target, y, y, y.new_ones(len(y)))

    def __len__(self) -> int:
        return len(self._particles.weight)

    def all(self) -> Particles:
        """All of them.

        Returns:
            The pairs, each of weight one.
        """
        return self._particles

    def draw(self, n: int, generator: torch.Generator | None = None) -> Particles:
        """Some of them, with replacement.

        Args:
            n: how many.
            generator: on the CPU; torch's global one if not given.

        Returns:
            The pairs, each of weight one.
        """
        index = torch.randint(len(self), (n,), generator=generator)
        return Particles(*(part[index] for part in self._particles))


class TensorPath:
    """One leg of pairs in memory: the least that a process can move.

    Example:
        >>> import torch
        >>> import thermo_pl as tp
        >>> x = torch.rand(8, 3)
        >>> path = tp.TensorPath(tp.TensorPairs(x, x + 1, torch.eye(2).repeat(4, 1)))
        >>> path.move_to(0, 0.5)
        >>> path.t
        0.5
    """

    n_legs, closed, static, mixture = 1, False, False, False

    def __init__(self, pairs: Pairs, val: Pairs | None = None) -> None:
        """Start at t = 0.

        Args:
            pairs: the particles.
            val: held-out particles, which a process with ``hold: validation`` asks for.
        """
        self._pairs, self._t = {"train": pairs}, 0.0
        if val is not None:
            self._pairs["val"] = val

    @property
    def leg(self) -> int:
        """The only one, 0."""
        return 0

    @property
    def t(self) -> float:
        """Domain coordinate."""
        return self._t

    def move_to(self, leg: int, t: float) -> None:
        """Move the data.

        Args:
            leg: 0.
            t: domain coordinate.
        """
        require(leg == 0, "leg", leg, "0, the only one")
        require(0 <= t <= 1, "t", t, "a number from 0 to 1")
        self._t = t

    def coupling(self, split: str) -> Pairs:
        """The pairs.

        Args:
            split: "train", or "val" if there are held-out ones.

        Returns:
            The pairs.
        """
        require(split in self._pairs, "split", split, ", ".join(self._pairs))
        return self._pairs[split]

    def label_with(self, predict: Predictor) -> None:
        """Nothing lacks a label.

        Args:
            predict: not asked.
        """
