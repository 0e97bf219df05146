"""A process goes on with the settings that it began with; a checkpoint never overrules a config."""

from __future__ import annotations

import os
from typing import Any

import pytorch_lightning as pl
import torch

from thermo_pl.callbacks.attached import is_fitting
from thermo_pl.checkpoints import check_resumed, settings_of
from thermo_pl.errors import require
from thermo_pl.process.rule import Rule
from thermo_pl.process.settings import Settings
from thermo_pl.process.state import State

SETTINGS = "thermo_process"
FREE = ("equilibration", "on_transition", "gamma_range")
"""What may change on the way: no state depends on it."""


class OwnSettings(pl.Callback):
    """Base of a process: its settings in checkpoints.

    The next macro-step, C* and the probes it was measured on are state. Another k in the config
    would act from the step after the next; another probe would have another C*.

    Attributes:
        rule: where the process goes.
        settings: what every process is told.
    """

    def __init__(self, rule: Rule[Any], settings: Settings) -> None:
        """Keep rule and settings.

        Args:
            rule: where the process goes.
            settings: of the process.
        """
        super().__init__()
        self.rule, self.settings = rule, settings
        self._resumed: dict[str, str] = {}

    def check_settings(self, trainer: pl.Trainer, state: State[Any] | None) -> None:
        """Refuse to go on with other settings; in equilibration they are taken as they are.

        Args:
            trainer: the trainer.
            state: that of the checkpoint; None without one, or if it is of another process.

        Raises:
            ConfigError: if one differs, if it is of another process, or another seed was given.
        """
        if state is None:
            allowed = (
                f"a checkpoint of a {type(self).__name__}; or model.initial_weights instead of "
                "--ckpt_path, to start anew from its weights"
            )
            path = trainer.ckpt_path
            require(path is None, "ckpt_path", None if path is None else str(path), allowed)
            return
        seed = torch.initial_seed()
        if os.environ.get("PL_GLOBAL_SEED") == str(seed):  # somebody chose it
            check_resumed({"seed_everything": str(seed)}, {"seed_everything": str(state.seed)})
        if state.course is not None and self._resumed:
            check_resumed(self._chosen(), self._resumed)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write the settings down."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        checkpoint[SETTINGS] = self._chosen()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep those of the checkpoint until the fit begins."""
        super().on_load_checkpoint(trainer, pl_module, checkpoint)
        if is_fitting(trainer):
            self._resumed = checkpoint.get(SETTINGS, {})

    def _chosen(self) -> dict[str, str]:
        name = type(self).__name__
        told = settings_of(self.settings, name) | settings_of(self.rule, name)
        free = tuple(f"{name}.{key}" for key in FREE)
        return {key: value for key, value in told.items() if not key.startswith(free)}
