"""A process as a callback: epochs of the trainer are macro-steps of a continuation.

The process moves θ, λ, γ and t at the start of an epoch. The ordinary optimiser relaxes θ. After
the last batch the process corrects; at the end of the epoch it measures. Files are written after
every macro-step, and checkpoints fall between two of them.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from typing_extensions import override

from thermo_pl.callbacks.attached import data_of, is_fitting, model_of
from thermo_pl.callbacks.checks import check_relaxation, check_system, check_trainer, who_stopped
from thermo_pl.callbacks.monitor import tell, tell_ending
from thermo_pl.callbacks.own_place import OwnPlace
from thermo_pl.callbacks.own_settings import OwnSettings
from thermo_pl.callbacks.ranks import check_same
from thermo_pl.callbacks.relaxation_count import CountsRelaxation
from thermo_pl.callbacks.run_files import RunFiles
from thermo_pl.errors import ConfigError, NonFinite
from thermo_pl.path.columns import Row
from thermo_pl.process.continuation import Continuation
from thermo_pl.process.probing import seed_relaxation
from thermo_pl.process.rule import Relaxed, Rule, Seen
from thermo_pl.process.settings import Settings
from thermo_pl.process.state import RowBlocks, State, from_plain, to_plain
from thermo_pl.process.steps import Step
from thermo_pl.process.system import System

NAN = float("nan")
VALIDATED = ("val/C", "val/accuracy", "kept/C", "kept/accuracy")
"""What is taken from a validation, if it is there."""


class QuasiStatic(OwnSettings, CountsRelaxation, OwnPlace):
    """Ties a process to a trainer; a subclass says which, by its rule.

    The trainer's ``default_root_dir`` is the run directory: path.csv has a new row there after
    every macro-step, and a run that is killed keeps all it measured. Control uses the training
    particles and their labels only; validation is reported beside it.

    Attributes:
        ending: how the process ended, in words; ``running`` before.
        results: what it came to beside its path, by the name of a file.
    """

    def __init__(self, rule: Rule[Any], settings: Settings) -> None:
        """Keep rule and settings.

        Args:
            rule: where the process goes.
            settings: of the process.
        """
        super().__init__(rule, settings)
        self.ending = "running"
        self.results: dict[str, dict[str, Any]] = {}
        self._state: State[Any] | None = None
        self._process: Continuation[Any] | None = None
        self._step: Step[Any] | None = None
        self._files: RunFiles | None = None
        self._since, self._blocks = 0.0, RowBlocks()
        self._validated = False
        self._told = False

    @property
    def state(self) -> State[Any]:
        """Where the process stands; that of a run that has not begun before a fit."""
        return State(0) if self._state is None else self._state

    @property
    def rows(self) -> list[Row]:
        """The measured path."""
        return self.state.rows

    @property
    def macro_steps(self) -> int:
        """Macro-steps after equilibration, as far as is known; in a fit only."""
        process = self._running
        return self.rule.macro_steps(self.state.course, process.here(self.state))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check that trainer, model and data can carry the process, and start the clock.

        Raises:
            ConfigError: if they cannot, or if this process has run before.
        """
        check_trainer(trainer)
        schedulers = tuple(config.scheduler for config in trainer.lr_scheduler_configs)
        model, optimizer = model_of(pl_module), trainer.optimizers[0]
        system = System(model, data_of(trainer), optimizer, schedulers, model.shared)
        name = type(self).__name__
        check_relaxation(trainer, self.settings)
        check_system(name, system, self.rule, self.settings)
        if self.rows and trainer.ckpt_path is None:
            raise ConfigError(
                f"{name}: got a process that has run before; allowed: a new one, or a checkpoint "
                "to go on from"
            )
        new = trainer.strategy.broadcast(torch.initial_seed())
        seed = new if self._state is None else self._state.seed
        self._process = Continuation(system, self.rule, self.settings, seed)
        self.check_settings(trainer, self._state)
        if self._state is None:
            self._state = self._process.start()
        model.takes_back = self._takes_back
        self._since, self._told, self.ending, self._files = time.monotonic(), False, "running", None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do not train on where a finished run is resumed."""
        if self.state.phase == "done":
            self.ending = "done"
            self._write(trainer)
            trainer.should_stop = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Predict."""
        self.enter(trainer, self._running.system)
        seed_relaxation(self.state)
        data_of(trainer).begin_epoch(self.state.epoch)
        self._validated, self.relaxed = False, Relaxed()
        self._step = self._running.begin(self.state)
        if self._step.fault is not None:
            self.recover()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """After the last batch, and after each part of the relaxation before, correct."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        done, total = batch_idx + 1, int(trainer.num_training_batches)
        parts = self.settings.parts
        # Not at the end of the epoch: validation comes before it, and must see the corrected state.
        due = done * parts // total > batch_idx * parts // total
        if due and self._under_way.fault is None:
            self._step = self._running.correct(self._under_way, self.relaxed)
        if done == total:
            self.keep_place()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that this epoch has a validation of its own; Lightning keeps an earlier one's."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the equilibrium, or close the macro-step; write it down, and tell the monitors.

        A macro-step that a limit of the trainer has cut short is taken back.

        Raises:
            ProcessStopped: if the process cannot go on.
        """
        if self.taken_back():
            return
        self.check_place(trainer)
        metrics = trainer.callback_metrics if self._validated else {}
        now = time.monotonic()
        told = (float(metrics.get(name, NAN)) for name in VALIDATED)
        seen = Seen(now - self._since, *told)
        before, result = self.state, self._running.end(self._under_way, seen)
        self._state, self._step = result.state, None
        self.leave()
        response = None if result.solved is None else result.solved.response
        check_same(trainer, self._running.system, response)
        if result.row is not None:
            self._since = now
        if self.state.phase == "done" and result.failure is None:
            self.ending = "done"
            trainer.should_stop = True
        self._write(trainer)
        tell(trainer, self, result, len(before.checks))
        if result.failure is not None:
            raise result.failure

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note a process that was ended early, and by what; tell the monitors."""
        if self.ending == "running":
            self.ending = f"cut off by {who_stopped(trainer)} after {self.state.epoch} epochs"
        self.check_place(trainer)
        self._end(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Write down why the process stopped, and tell the monitors."""
        if is_fitting(trainer) and not self._told:
            self.ending = f"stopped: {str(exception) or type(exception).__name__}"
            self._end(trainer)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Wait for all ranks: one that failed at the end of the fit must not go unnoticed."""
        if stage == "fit":
            model_of(pl_module).takes_back = None
            trainer.strategy.barrier()

    @override
    def state_dict(self) -> dict[str, Any]:
        return {} if self._state is None else to_plain(self._state, self._blocks)

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._state = from_plain(state_dict, self.rule.course) if state_dict else None

    @property
    def _running(self) -> Continuation[Any]:
        if self._process is None:
            raise RuntimeError(f"{type(self).__name__}: got no fit under way; allowed: in a fit")
        return self._process

    @property
    def _under_way(self) -> Step[Any]:
        if self._step is None:
            raise RuntimeError("an epoch went on that had not begun")
        return self._step

    def _takes_back(self, fault: NonFinite) -> None:
        # J of a batch is not finite; an epoch that can be taken back need not end the run
        if not self.rule.solves:
            raise fault
        self._step = replace(self._under_way, fault=fault)
        self.recover()

    def _write(self, trainer: pl.Trainer) -> None:
        course = self.state.course
        if self._process is not None and course is not None:
            self.results |= self.rule.results(course, self._process.here(self.state))
        if trainer.is_global_zero:
            if self._files is None:
                self._files = RunFiles(Path(trainer.default_root_dir))
            self._files.write(self.state, self.ending, self.results)

    def _end(self, trainer: pl.Trainer) -> None:
        if self._told:
            return
        self._told = True
        if self.ending != "done":  # else it is written
            self._write(trainer)
        tell_ending(trainer, self)
