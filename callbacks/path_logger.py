"""Hands what a process measures to every logger of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from thermo_pl.callbacks.attached import callbacks_of, is_fitting
from thermo_pl.callbacks.monitor import Monitor, monitors
from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.path.columns import SECTIONS, Row
from thermo_pl.runs.wandb import WandbRunLogger


class PathLogger(Monitor):
    """Logs each macro-step when it is measured, and the run directory at the end of the run.

    What other monitors say of a row, by their ``metrics``, is logged with it. Without a process
    only the figures of the run directory are logged. It is part of every command, so configs need
    not name it.
    """

    def __init__(self) -> None:
        """Start with nothing logged."""
        self._rows = 0
        self._checks = 0
        self._version: str | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the id of the W&B run, for checkpoints."""
        self._version = next((logger.version for logger in _wandb(trainer)), None)

    def on_check(self, trainer: pl.Trainer, process: QuasiStatic, check: dict[str, float]) -> None:
        """Log what has been measured since the last time."""
        self._log_new(trainer, process)

    def on_row(self, trainer: pl.Trainer, process: QuasiStatic, row: Row) -> None:
        """Log what has been measured since the last time."""
        self._log_new(trainer, process)

    def on_ending(self, trainer: pl.Trainer, process: QuasiStatic) -> None:
        """Log what a process that went on from a checkpoint had measured before, if nobody has."""
        self._log_new(trainer, process)

    def on_written(self, trainer: pl.Trainer, process: QuasiStatic) -> None:
        """Log the run directory."""
        _log_directory(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the run directory where no process says that it is written."""
        if not _has_process(trainer):
            _log_directory(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Log what the run directory holds of a run that stopped, likewise."""
        if is_fitting(trainer) and not _has_process(trainer):
            _log_directory(trainer)

    def state_dict(self) -> dict[str, Any]:
        """What has been logged, and to which W&B run.

        Returns:
            Plain values.
        """
        return {"rows": self._rows, "checks": self._checks, "version": self._version}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there.

        Args:
            state_dict: what :meth:`state_dict` gave.
        """
        self._rows, self._checks = state_dict["rows"], state_dict["checks"]

    def _log_new(self, trainer: pl.Trainer, process: QuasiStatic) -> None:
        rows, checks = process.rows, process.state.checks
        for check in checks[self._checks :]:
            _log(trainer, {f"equilibration/{name}": value for name, value in check.items()})
        for row in rows[self._rows :]:
            _log(trainer, row_metrics(row) | (_said(trainer, process) if row is rows[-1] else {}))
        self._rows, self._checks = len(rows), len(checks)


def row_metrics(row: Row) -> dict[str, float]:
    """The numbers of a row of path.csv under their names in the loggers.

    Beside its columns: ``thermo/F``, J less the stationarity, which is what J would still fall by;
    ``thermo/drift``, C/C* - 1; ``thermo/t`` counts t through the legs, ``thermo/phase`` through
    the strokes of a cycle, too.

    Args:
        row: the row.

    Returns:
        Finite numbers.
    """
    numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
    way = row["leg"] + row["t"]
    numbers |= {
        "F": row["J"] - row["stationarity"],
        "drift": row["C_held"] / row["C_target"] - 1,
        "t": way,
        "phase": row.get("phase", way),
    }
    return _finite({
        f"{SECTIONS.get(name, 'thermo')}/{name}": value for name, value in numbers.items()
    })


def _said(trainer: pl.Trainer, process: QuasiStatic) -> dict[str, float]:
    # what all monitors have to say of the last row
    said: dict[str, float] = {}
    for monitor in monitors(trainer):
        said |= monitor.metrics(process)
    return said


def _finite(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: x for name, x in numbers.items() if math.isfinite(x)}


def _log(trainer: pl.Trainer, metrics: Mapping[str, float]) -> None:
    for logger in trainer.loggers:
        logger.log_metrics(_finite(metrics), trainer.global_step)
        logger.save()


def _log_directory(trainer: pl.Trainer) -> None:
    for logger in _wandb(trainer):
        logger.log_directory(Path(trainer.default_root_dir))


def _has_process(trainer: pl.Trainer) -> bool:
    return any(isinstance(callback, QuasiStatic) for callback in callbacks_of(trainer))


def _wandb(trainer: pl.Trainer) -> list[WandbRunLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, WandbRunLogger)]
