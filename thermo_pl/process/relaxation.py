"""Relaxation without a trainer: an optimiser on batches of the leg where the data are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer

from thermo_pl.errors import ConfigError, require
from thermo_pl.networks.parts import Networks
from thermo_pl.networks.training import training_loss
from thermo_pl.particles import Batch, interpolate
from thermo_pl.process.rule import Relaxed
from thermo_pl.process.system import System


@dataclass(frozen=True)
class Relaxation:
    """Lowers J at fixed λ, γ and data by the system's optimizer.

    Attributes:
        system: networks, data and optimizer.
        batches: in an epoch of relaxation.
        batch_size: particles in each, drawn by their mass; None for all of them, as the points of a
            cubature and optimizers with a line search ask for.

    Example:
        >>> import torch
        >>> import thermo_pl as tp
        >>> x, y = torch.rand(8, 1, 2, 2), torch.eye(2).repeat(4, 1)
        >>> parts = tp.MLPEncoder([1, 2, 2], 2), tp.LinearClassifier(2, 2)
        >>> networks = tp.Networks(*parts, marginal=tp.StandardNormal(2), lam=0.0, gam=5.0)
        >>> optimizer = torch.optim.Adam(networks.parameters(), lr=2e-3)
        >>> system = tp.System(networks, tp.TensorPath(tp.TensorPairs(x, x, y)), optimizer)
        >>> relax = tp.Relaxation(system, batches=10, batch_size=4)
        >>> relax(part=0, parts=1).gradients  # a whole epoch of relaxation
        40
    """

    system: System
    batches: int = 50
    batch_size: int | None = 64

    def __post_init__(self) -> None:
        require(self.batches > 0, "batches", self.batches, "a whole number > 0")
        ok = self.batch_size is None or self.batch_size > 0
        require(ok, "batch_size", self.batch_size, "a whole number > 0, or None for all")

    def __call__(self, part: int, parts: int) -> Relaxed:
        """Relax one part of an epoch.

        Args:
            part: index of the part.
            parts: into how many an epoch is cut.

        Returns:
            What it took.

        Raises:
            ConfigError: if the system has no optimizer, or several ranks.
            NonFinite: if J is not finite.
        """
        networks, optimizer = self.system.networks, self.system.optimizer
        ranks = self.system.shared.ranks
        require(ranks == 1, "ranks", ranks, "1: gradients of several are averaged by a trainer")
        if optimizer is None:
            raise ConfigError(
                "optimizer: got None; allowed: System(networks, data, optimizer) to relax with it"
            )
        done, time = 0, 0.0
        first, last = (self.batches * k // parts for k in (part, part + 1))
        for _ in range(first, last):
            batch = self._batch()
            calls = _Calls(networks, optimizer, batch)
            optimizer.step(calls)
            done += calls.count * len(batch.x) * networks.training_draws
            time += optimizer.param_groups[0]["lr"]
        return Relaxed(done, time)

    def _batch(self) -> Batch:
        networks, data = self.system.networks, self.system.data
        pairs = data.coupling("train")
        drawn = pairs.all() if self.batch_size is None else pairs.draw(self.batch_size)
        batch = interpolate(drawn, data.t)
        return Batch(*(part.to(networks.device, networks.dtype) for part in batch))


class _Calls:
    # J and its gradient; an optimizer with a line search asks for them several times

    def __init__(self, networks: Networks, optimizer: Optimizer, batch: Batch) -> None:
        self._networks, self._optimizer, self._batch = networks, optimizer, batch
        self.count = 0

    def __call__(self) -> Any:
        self.count += 1
        loss, _ = training_loss(self._networks, self._batch)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss
