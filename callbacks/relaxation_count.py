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
        super().__init__()
        self.relaxed = Relaxed()
        self._batch, self._steps, self._rate = 0, 0, 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the size of the batch, the steps so far and the learning rate of the next one."""
        self._batch, self._steps = len(batch.weight), trainer.global_step
        self._rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the time: by the steps of the optimiser, which may take several batches each."""
        took = (trainer.global_step - self._steps) * self._rate
        self.relaxed = self.relaxed._replace(time=self.relaxed.time + took)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the gradients; an optimiser with a line search takes several for a batch.

        One is that of J at one particle and one draw of z, as in the solves of a response.
        """
        count = self._batch * model_of(pl_module).training_draws * trainer.world_size
        self.relaxed = self.relaxed._replace(gradients=self.relaxed.gradients + count)
