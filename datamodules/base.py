"""The DataModule under all moving data: a position on a path of couplings, and its loaders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler
from typing_extensions import override

from thermo_pl.datamodules.coupled import (
    CoupledImages,
    CurrentLeg,
    CurrentLegBatches,
    LateLoader,
    ParticleSampler,
    Position,
    WholeLeg,
    as_it_is,
)
from thermo_pl.datamodules.legs import DataPath
from thermo_pl.datamodules.sources import SPLITS
from thermo_pl.errors import DataError, require
from thermo_pl.particles import ALONE, Batch, Particles, Reduction, interpolate, mixed
from thermo_pl.process.data import Predictor
from thermo_pl.progress import StageBar, shown


class PathDataModule(pl.LightningDataModule, ABC):
    """Particles of a path of couplings; a subclass says which path.

    The position (leg, t) is state: :meth:`move_to` changes it, checkpoints hold it. Move to another
    leg between epochs, as workers of a running epoch keep the leg they began with.

    A training batch is drawn from the current leg by mass, or is all of the leg. The val and test
    loaders give all particles of the current leg, in order, with their masses as weights; predict
    takes those of test. Batches arrive as pairs; x(t) is formed on the device, at the t of then.

    Attributes:
        mixture: whether the domain at t is the mixture (1-t) p_A + t p_B of the two ends instead of
            the displacement interpolation between them.
    """

    mixture = False

    def __init__(
        self,
        n_legs: int,
        batch_size: int | None,
        train_batches: int,
        eval_batch_size: int,
        num_workers: int,
        seed: int | None,
    ) -> None:
        """Keep the sizes of batches; the domains are coupled when they are first needed.

        Args:
            n_legs: number of legs.
            batch_size: particles in a training batch; None for all of them with their masses.
            train_batches: training batches in an epoch.
            eval_batch_size: the largest batch of the val, test and predict loaders.
            num_workers: worker processes of each loader.
            seed: seed of the training draws; None takes torch's initial seed, or that of the
                checkpoint a run is resumed from.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        super().__init__()
        ok = batch_size is None or batch_size >= 1
        require(ok, "batch_size", batch_size, "an integer from 1, or null for all particles")
        require(train_batches >= 1, "train_batches", train_batches, "an integer from 1")
        require(eval_batch_size >= 1, "eval_batch_size", eval_batch_size, "an integer from 1")
        require(num_workers >= 0, "num_workers", num_workers, "an integer from 0")
        require(seed is None or seed >= 0, "seed", seed, "an integer from 0, or null")
        self.n_legs = n_legs
        self.batch_size, self.train_batches = batch_size, train_batches
        self.eval_batch_size, self.num_workers = eval_batch_size, num_workers
        self._configured_seed, self._seed = seed, seed
        self._sampler: ParticleSampler | None = None
        self._position = Position()
        self._path: DataPath | None = None
        self._restored_path: str | None = None

    @abstractmethod
    def build(self) -> DataPath:
        """Couple the domains; called once.

        Returns:
            The path.
        """

    @property
    def leg(self) -> int:
        """Index of the current leg."""
        return self._position.leg

    @property
    def t(self) -> float:
        """Domain coordinate on the current leg, in [0, 1]."""
        return self._position.t

    @property
    def closed(self) -> bool:
        """Whether the path leads back to its first domain. Builds the path if need be."""
        return self._built().closed

    @property
    def static(self) -> bool:
        """Whether there is a single domain, so that nothing moves with t. May build the path."""
        return self.n_legs == 1 and self.closed

    @property
    def class_names(self) -> list[str]:
        """Name of each class index, such as "0→5". Builds the path if need be."""
        return list(self._built().class_names)

    def move_to(self, leg: int, t: float) -> None:
        """Move the data.

        Args:
            leg: index of the leg.
            t: domain coordinate on it.

        Raises:
            ConfigError: if there is no such leg, or t is outside [0, 1].
        """
        require(leg in range(self.n_legs), "leg", leg, f"an integer from 0 to {self.n_legs - 1}")
        require(0 <= t <= 1, "t", t, "a number from 0 to 1")
        self._position.leg, self._position.t = int(leg), float(t)

    def label_with(self, predict: Predictor) -> None:
        """Label what has no labels yet on the current leg; nothing lacks them, by default.

        Args:
            predict: class probabilities by the model at this moment.
        """

    def bars(self) -> AbstractContextManager[None]:
        """Bars for the couplings, where the trainer shows its own progress.

        Returns:
            A context in which the stages of :meth:`build` are shown, or not.
        """
        visible = self.trainer is not None and self.trainer.progress_bar_callback is not None
        return shown(StageBar() if visible else None)

    def formed(self, particles: Particles) -> Batch:
        """x(t) at the t of this moment; of a mixture, both ends.

        Args:
            particles: the pairs.

        Returns:
            The batch at t.
        """
        moving = not self.mixture or self.t in {0, 1}
        return interpolate(particles, self.t) if moving else mixed(particles, self.t)

    def data_entropy(self, labels: bool) -> float | None:
        """Entropy of p(x(t)), where it is known exactly.

        Args:
            labels: whether it is that of (x, y).

        Returns:
            Nats; None where it is not known.
        """
        return None

    # one process computes the couplings and stores them; the others then read them
    @override
    def prepare_data(self) -> None:
        self._built()

    # whatever the stage: the other splits are small beside the couplings of train
    @override
    def setup(self, stage: str | None = None) -> None:
        self._built()

    def coupling(self, split: str, leg: int | None = None) -> CoupledImages:
        """The pairs of a leg.

        Args:
            split: "train", "val" or "test".
            leg: index of the leg; the current one if not given.

        Returns:
            A data set of the pairs. It stays with this leg when the data move on.

        Raises:
            ConfigError: if there is no such split.
        """
        require(split in SPLITS, "split", split, ", ".join(SPLITS))
        return self._built().legs[split][self.leg if leg is None else leg]

    @property
    def value_range(self) -> tuple[float, float]:
        """The least and the greatest value of a feature. Builds the path if need be."""
        ranges = [leg.value_range for legs in self._built().legs.values() for leg in legs]
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    def image_moments(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the training examples, both ends of all legs taken together.

        Returns:
            Float64, shapes ``(d,)`` and ``(d, d)`` for examples of d numbers.
        """
        legs = self._built().legs["train"]
        seconds = torch.stack([half for leg in legs for half in leg.second_moments()]).mean(0)
        mean = seconds[-1, :-1]
        return mean, seconds[:-1, :-1] - torch.outer(mean, mean)

    def draw(self, split: str, n: int, generator: torch.Generator | None = None) -> Particles:
        """Draw particles of the current leg with replacement, by their mass.

        Args:
            split: "train", "val" or "test".
            n: how many.
            generator: a CPU generator; None for torch's global one.

        Returns:
            The particles, each of weight one.
        """
        return self.coupling(split).draw(n, generator)

    def begin_epoch(self, number: int) -> None:
        """Draw what an epoch of this number draws: a process that takes one back repeats it.

        Args:
            number: of the epoch, as the process counts.
        """
        if self._sampler is not None:
            self._sampler.set_epoch(number)

    @override
    def train_dataloader(self) -> DataLoader[Particles]:
        legs = self._built().legs["train"]
        if self.batch_size is None:
            shared = self._shared
            return self._loader(WholeLeg(legs, self._position, self.train_batches, shared), shared)
        if self._seed is None:
            self._seed = torch.initial_seed()
        trainer, shared = self.trainer, self._shared
        data = CurrentLeg(legs, self._position)
        sampler = ParticleSampler(
            data,
            size=self.batch_size * self.train_batches,
            seed=self._seed,
            epoch=0 if trainer is None else trainer.current_epoch,
            ranks=shared.ranks,
            rank=shared.rank,
        )
        self._sampler = sampler
        return LateLoader(
            data,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=as_it_is,
        )

    @override
    def val_dataloader(self) -> DataLoader[Particles]:
        return self._eval_loader("val", self._shared)

    @override
    def test_dataloader(self) -> DataLoader[Particles]:
        return self._eval_loader("test", self._shared)

    @override
    def predict_dataloader(self) -> DataLoader[Particles]:
        return self._eval_loader("test", ALONE)

    # on the device, so that no worker forms x at a t that is past
    @override
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if isinstance(batch, Particles):
            return self.formed(batch)
        if isinstance(batch, Batch):
            return batch
        raise DataError(f"got a batch of {type(batch).__name__}; allowed: Particles, Batch")

    @override
    def state_dict(self) -> dict[str, Any]:
        fingerprint = self._restored_path if self._path is None else self._path.fingerprint
        return {"leg": self.leg, "t": self.t, "seed": self._seed, "path": fingerprint}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._path is not None:  # else the path is compared when it is built
            _check_same_path(state_dict["path"], self._path.fingerprint)
        self._restored_path = state_dict["path"]
        self.move_to(state_dict["leg"], state_dict["t"])
        if self._configured_seed is None:  # a seed given as an argument wins
            self._seed = state_dict["seed"]

    def _built(self) -> DataPath:
        if self._path is None:
            path = self.build()
            _check_same_path(self._restored_path, path.fingerprint)
            self._path = path
        return self._path

    @property
    def _shared(self) -> Reduction:
        # which of the particles are those of this rank
        trainer = self.trainer
        if trainer is None or trainer.world_size == 1:
            return ALONE
        allowed = "false on several ranks: the two ends of a pair are one example on each"
        require(not self.mixture, "data.mixture", self.mixture, allowed)
        return Reduction(trainer.global_rank, trainer.world_size)

    def _eval_loader(self, split: str, shared: Reduction) -> DataLoader[Particles]:
        legs, size = self._built().legs[split], self.eval_batch_size
        return self._loader(CurrentLegBatches(legs, self._position, size, shared), shared)

    def _loader(self, batches: Dataset[Particles], shared: Reduction) -> DataLoader[Particles]:
        # shared out already: Lightning leaves a loader as it is that has such a sampler
        sampler: Sampler[int] | None = None
        if shared.ranks > 1:
            sampler = DistributedSampler(batches, 1, 0, shuffle=False)
        return LateLoader(
            batches,
            batch_size=None,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=as_it_is,
        )


def _check_same_path(saved: str | None, here: str) -> None:
    if saved is not None and saved != here:
        raise DataError(
            f"the checkpoint was saved on another path of domains ({saved[:12]}) than that of this "
            f"config ({here[:12]}); use the same waypoints, labels and mixture, or load its "
            "weights only"
        )
