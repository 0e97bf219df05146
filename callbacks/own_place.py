"""θ, λ, γ and the data are the process's own: nothing else moves them between its macro-steps."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning.trainer.states import TrainerStatus

from thermo_pl.callbacks.attached import callbacks_of, is_fitting
from thermo_pl.callbacks.ranks import digest
from thermo_pl.checkpoints import INSIDE
from thermo_pl.errors import ConfigError
from thermo_pl.process.state import Snapshot
from thermo_pl.process.system import System

OUTSIDE = (
    "allowed: one between two, from a ModelCheckpoint with save_on_train_epoch_end: true and "
    "without every_n_train_steps or train_time_interval"
)


class OwnPlace(pl.Callback):
    """Base of a process: where it has left its system, and that it is still there.

    Checkpoints are taken there, too. From inside a macro-step a run cannot go on: what the step
    has done so far is not in a checkpoint.
    """

    def __init__(self) -> None:
        """Start nowhere."""
        super().__init__()
        self._system: System | None = None
        self._before: Snapshot | None = None  # inside a macro-step: where it began
        self._left: dict[str, object] = {}

    def enter(self, trainer: pl.Trainer, system: System) -> None:
        """Begin a macro-step where the last one ended.

        Args:
            trainer: the trainer, whose callbacks are suspected.
            system: networks and data.

        Raises:
            ConfigError: if something has moved it meanwhile.
        """
        self._system = system
        self.check_place(trainer)
        self._left, self._before = {}, system.snapshot()

    def keep_place(self) -> None:
        """Note that the system stays where it is now."""
        if self._system is not None:
            self._left = _place(self._system)

    def leave(self) -> None:
        """End a macro-step here."""
        self._before = None
        self.keep_place()

    def taken_back(self) -> bool:
        """Take back a macro-step that was cut short: one that is neither relaxed nor corrected.

        Returns:
            Whether it was.
        """
        if self._left or self._system is None or self._before is None:
            return False
        self._system.restore(self._before)
        self.leave()
        return True

    def recover(self) -> None:
        """Put θ back to where the macro-step began: it goes on no further, and is taken back."""
        if self._system is not None and self._before is not None:
            self._system.recover(self._before)

    def check_place(self, trainer: pl.Trainer) -> None:
        """Look whether the system is where it was left; it is where nothing has been noted.

        Args:
            trainer: the trainer, whose callbacks are suspected.

        Raises:
            ConfigError: if something has moved it.
        """
        here = _place(self._system) if self._left and self._system is not None else {}
        moved = [name for name, value in self._left.items() if here[name] != value]
        if moved:
            raise ConfigError(
                f"trainer.callbacks: got {', '.join(moved)} changed between two macro-steps, by "
                f"{_suspects(trainer)}; allowed: callbacks that leave them to the process"
            )

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Refuse to validate at another θ than the corrected one, such as an average."""
        if batch_idx == 0:  # the callbacks have had their hooks of the start
            self.check_place(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse a checkpoint inside a macro-step; one that SLURM or an error asks for is marked.

        Raises:
            ConfigError: if it is an ordinary one.
        """
        checkpoint[INSIDE] = self._before is not None
        ordinary = trainer.state.status == TrainerStatus.RUNNING and not SLURMEnvironment.detect()
        if checkpoint[INSIDE] and ordinary:
            raise ConfigError(f"checkpoint: got one to save inside a macro-step; {OUTSIDE}")

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to go on from inside a macro-step.

        Raises:
            ConfigError: if the checkpoint was saved there.
        """
        if checkpoint.get(INSIDE) and is_fitting(trainer):
            raise ConfigError(f"ckpt_path: got a checkpoint from inside a macro-step; {OUTSIDE}")


def _place(system: System) -> dict[str, object]:
    networks, data = system.networks, system.data
    return {
        "theta": [digest(parameter) for parameter in networks.parameters()],
        "lambda": float(networks.lam),
        "gamma": float(networks.gam),
        "the data": (data.leg, data.t),
    }


def _suspects(trainer: pl.Trainer) -> str:
    # those that came with this package or with Lightning have been looked at before the fit
    known = ("thermo_pl.", "pytorch_lightning.")
    kinds = {type(callback) for callback in callbacks_of(trainer)}
    names = sorted(kind.__name__ for kind in kinds if not kind.__module__.startswith(known))
    return " or ".join(names) or "a hook of the model"
