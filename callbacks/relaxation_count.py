"""Counts what relaxation takes between two corrections."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from thermo_pl.callbacks.attached import model_of
from thermo_pl.process.rule import Relaxed


class CountsRelaxation(pl.Callback):
    """Base of a process: the gradients and the learning rates of an epoch.

    Attributes:
        relaxed: what relaxation took since it was last set.
    """

    def __init__(self) -> None:
        """Start at nothing."""
        self.relaxed = Relaxed()
        self._batch = 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the size of the batch, and the learning rate."""
        self._batch = len(batch.weight)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.relaxed = self.relaxed._replace(time=self.relaxed.time + rate)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the gradients; an optimiser with a line search takes several for a batch.

        One is that of J at one particle and one draw of z, as in the solves of a response.
        """
        count = self._batch * model_of(pl_module).training_draws * trainer.world_size
        self.relaxed = self.relaxed._replace(gradients=self.relaxed.gradients + count)
