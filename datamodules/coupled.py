"""Pairs of a coupling as data sets, and how particles are drawn from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from thermo_pl.errors import ConfigError, require
from thermo_pl.particles import ALONE, Particles, Reduction
from thermo_pl.transport.couplings import Coupling, identity_coupling


@dataclass
class Position:
    """Where on the path the data are; the datamodule and its data sets share one.

    Attributes:
        leg: index of the leg.
        t: domain coordinate on that leg, in [0, 1].
    """

    leg: int = 0
    t: float = 0.0


class CoupledImages(Dataset[Particles]):
    """The pairs of one coupling. Images are gathered when pairs are asked for, never before.

    Attributes:
        mass: mass of each pair, float64, shape ``(pairs,)``, sums to one.
        weight: mass times the number of pairs, shape ``(pairs,)``: one in the mean.
        cost: W2² of the coupling.
    """

    def __init__(
        self,
        source: Tensor,
        target: Tensor,
        source_label: Tensor,
        target_label: Tensor,
        coupling: Coupling,
    ) -> None:
        """Hold the images, and the pairs as indices of images.

        Args:
            source: images x_a, shape ``(n, *image)``.
            target: images x_b, shape ``(m, *image)``.
            source_label: class probabilities of each x_a, shape ``(n, classes)``.
            target_label: class probabilities of each x_b, shape ``(m, classes)``.
            coupling: the pairs.
        """
        self._source, self._target = source, target
        self._source_label, self._target_label = source_label, target_label
        self._rows, self._cols = torch.from_numpy(coupling.rows), torch.from_numpy(coupling.cols)
        self.cost = coupling.cost
        self.mass = torch.from_numpy(coupling.mass)
        self.weight = (self.mass * len(coupling)).to(source.dtype)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Particles:
        return self.__getitems__([index])

    # a DataLoader asks for a whole batch by this name
    def __getitems__(self, indices: Sequence[int] | Tensor) -> Particles:
        index = torch.as_tensor(indices, dtype=torch.int64)
        rows, cols = self._rows[index], self._cols[index]
        return Particles(
            source=self._source[rows],
            target=self._target[cols],
            source_label=self._source_label[rows],
            target_label=self._target_label[cols],
            weight=self.weight[index],
        )

    def all(self) -> Particles:
        """All pairs, in order.

        Returns:
            The pairs, with :attr:`weight`.
        """
        return self.__getitems__(torch.arange(len(self)))

    @property
    def value_range(self) -> tuple[float, float]:
        """The least and the greatest value of a feature, at both ends."""
        (a, b), (c, d) = (map(float, images.aminmax()) for images in (self._source, self._target))
        return min(a, c), max(b, d)

    def second_moments(self) -> tuple[Tensor, Tensor]:
        """E[uuᵀ] of u = (image, 1) at both ends: the last row holds the mean.

        Returns:
            Float64, each of shape ``(d + 1, d + 1)``.
        """
        ends = ((self._source, self._rows), (self._target, self._cols))
        first, second = (_second_moment(images, index, self.mass) for images, index in ends)
        return first, second

    def start(self) -> CoupledImages:
        """The first images of the pairs, at rest.

        Returns:
            Each coupled with itself, with the mass of all its pairs.
        """
        mass = self.mass.new_zeros(len(self._source)).index_add_(0, self._rows, self.mass)
        still = identity_coupling(len(self._source))
        still = Coupling(still.rows, still.cols, mass.numpy(), 0.0)
        images, labels = self._source, self._source_label
        return CoupledImages(images, images, labels, labels, still)

    def beside(self, others: CoupledImages, share: float) -> CoupledImages:
        """These pairs, with others beside them.

        Args:
            others: pairs of images of the same shape and labels of the same classes.
            share: of the mass, what the others have.

        Returns:
            The pairs of both. Images are copied.
        """
        coupling = Coupling(
            np.concatenate([self._rows.numpy(), others._rows.numpy() + len(self._source)]),
            np.concatenate([self._cols.numpy(), others._cols.numpy() + len(self._target)]),
            np.concatenate([(1 - share) * self.mass.numpy(), share * others.mass.numpy()]),
            (1 - share) * self.cost + share * others.cost,
        )
        return CoupledImages(
            torch.cat([self._source, others._source]),
            torch.cat([self._target, others._target]),
            torch.cat([self._source_label, others._source_label]),
            torch.cat([self._target_label, others._target_label]),
            coupling,
        )

    def draw(self, n: int, generator: torch.Generator | None = None) -> Particles:
        """Independent draws, with replacement, with probability equal to the mass.

        Args:
            n: how many.
            generator: a CPU generator; None for torch's global one.

        Returns:
            The particles, each of weight one.
        """
        index = torch.multinomial(self.mass, n, replacement=True, generator=generator)
        return with_unit_weight(self.__getitems__(index))


class CurrentLeg(Dataset[Particles]):
    """Pairs of the leg that is current when they are fetched, with weight one each.

    They are meant to be drawn by their mass, which then must not count a second time.
    """

    def __init__(self, legs: Sequence[CoupledImages], position: Position) -> None:
        """Hold all legs, and the position that tells the current one.

        Args:
            legs: one data set per leg.
            position: shared with the datamodule.
        """
        self._legs, self._position = legs, position

    @property
    def current(self) -> CoupledImages:
        """The data set of the current leg."""
        return self._legs[self._position.leg]

    def __len__(self) -> int:
        return len(self.current)

    def __getitem__(self, index: int) -> Particles:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Particles:
        return with_unit_weight(self.current.__getitems__(indices))


class WholeLeg(Dataset[Particles]):
    """Full batches: each one is all pairs of the current leg, with their masses."""

    def __init__(
        self,
        legs: Sequence[CoupledImages],
        position: Position,
        count: int,
        shared: Reduction = ALONE,
    ) -> None:
        """Hold all legs, and how often the current one is given.

        Args:
            legs: one data set per leg.
            position: shared with the datamodule.
            count: batches in an epoch.
            shared: the ranks, of which each gets its share of the pairs.
        """
        self._legs, self._position, self._count = legs, position, count
        self._share = shared.share
        check_shared(legs, 1, shared)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Particles:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return Particles(*(part[self._share] for part in self._legs[self._position.leg].all()))


class CurrentLegBatches(Dataset[Particles]):
    """All pairs of the current leg, in order, as a number of batches that no leg changes.

    Lightning counts the batches of a loader once. Of a leg with more batches it would silently
    leave some out. So every leg is cut into the same number of nearly equal batches.
    """

    def __init__(
        self,
        legs: Sequence[CoupledImages],
        position: Position,
        batch_size: int,
        shared: Reduction = ALONE,
    ) -> None:
        """Count the batches, the same number for every leg.

        Args:
            legs: one data set per leg.
            position: shared with the datamodule.
            batch_size: the largest allowed batch.
            shared: the ranks, of which each gets its share of each batch.

        Raises:
            ConfigError: if the batch size is so small that some leg has fewer pairs than batches.
        """
        self._legs, self._position = legs, position
        least, most = min(map(len, legs)), max(map(len, legs))
        self._count = -(-most // batch_size)
        if self._count > least:
            raise ConfigError(
                f"eval_batch_size: got {batch_size} for legs of {least} to {most} pairs; "
                f"allowed: at least {-(-most // least)}"
            )
        self._share = shared.share
        check_shared(legs, self._count, shared)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Particles:
        if not 0 <= index < self._count:
            raise IndexError(index)
        leg = self._legs[self._position.leg]
        start, stop = (len(leg) * k // self._count for k in (index, index + 1))
        return leg.__getitems__(torch.arange(start, stop)[self._share])


def check_shared(legs: Sequence[CoupledImages], batches: int, shared: Reduction) -> None:
    """Refuse batches of which some rank would get nothing.

    Args:
        legs: one data set per leg.
        batches: into which each is cut.
        shared: the ranks.
    """
    least = min(map(len, legs)) // batches
    allowed = f"at least {shared.ranks}, one for each rank; take larger batches or fewer ranks"
    require(least >= shared.ranks, "data: examples of a batch", least, allowed)


class ParticleSampler(DistributedSampler[int]):
    """Draws pairs of the current leg with replacement, with probability equal to their mass.

    The draws of an epoch depend on the seed, the epoch and the coupling alone: a resumed run draws
    what the uninterrupted one would have drawn. All ranks make the same draw, and each takes its
    share. Of a DistributedSampler Lightning calls :meth:`set_epoch`, and leaves it as it is.
    """

    def __init__(
        self,
        data: CurrentLeg,
        size: int,
        seed: int,
        epoch: int = 0,
        ranks: int = 1,
        rank: int = 0,
    ) -> None:
        """Begin with the draws of an epoch.

        Args:
            data: the pairs to draw from.
            size: draws per epoch and rank.
            seed: seed of all epochs.
            epoch: epoch to begin with. Lightning makes the first iterator of a resumed run before
                it calls :meth:`set_epoch`, so it must be right from the start.
            ranks: number of processes.
            rank: number of this process.
        """
        super().__init__(data, num_replicas=ranks, rank=rank, shuffle=False)
        self._data, self._size, self._seed = data, size, seed
        self.set_epoch(epoch)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        entropy = np.random.SeedSequence([self._seed, self.epoch])
        generator = torch.Generator().manual_seed(int(entropy.generate_state(1, np.uint64)[0]) >> 1)
        mass = self._data.current.mass
        total = self._size * self.num_replicas
        drawn = torch.multinomial(mass, total, replacement=True, generator=generator)
        yield from drawn[self.rank :: self.num_replicas].tolist()


class LateLoader(DataLoader[Particles]):
    """A DataLoader that starts its workers when the first batch is asked for, not before.

    Lightning makes the iterator of an epoch first, and then lets callbacks move the data. Workers
    that had started by then would still give the leg that was left.
    """

    def __iter__(self) -> Iterator[Particles]:  # type: ignore[override] # what a loop needs of it
        yield from super().__iter__()


def at_rest(images: Tensor, labels: Tensor) -> CoupledImages:
    """Images of a domain at rest, each coupled with itself.

    Args:
        images: shape ``(n, *image)``.
        labels: class probabilities, shape ``(n, classes)``.

    Returns:
        The pairs, of equal mass.
    """
    return CoupledImages(images, images, labels, labels, identity_coupling(len(images)))


def _second_moment(images: Tensor, index: Tensor, mass: Tensor) -> Tensor:
    # each image once, with the mass of all its pairs
    weight = mass.new_zeros(len(images)).index_add_(0, index, mass)
    u = F.pad(images.flatten(1).double(), (0, 1), value=1.0)
    return (u * weight[:, None]).T @ u


def with_unit_weight(particles: Particles) -> Particles:
    """Particles that were drawn by their mass, which then must not count a second time.

    Args:
        particles: the particles.

    Returns:
        The same with weight one each.
    """
    return particles._replace(weight=torch.ones_like(particles.weight))


def as_it_is(batch: Any) -> Any:
    """The collate function of data sets that already give batches.

    Args:
        batch: a batch.

    Returns:
        The same batch.
    """
    return batch
