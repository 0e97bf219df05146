"""Hands what a process measures to every logger of the run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from thermo_pl.callbacks.quasi_static import QuasiStatic, is_fitting
from thermo_pl.path.columns import SECTIONS, Row
from thermo_pl.runs.wandb import WandbRunLogger


class PathLogger(pl.Callback):
    """Logs each macro-step when it is measured, and the run directory at the end of the run.

    Does nothing where there is no process, but for the figures of the run directory. Part of every
    command, so that configs need not name it.
    """

    def __init__(self) -> None:
        """Start with nothing logged."""
        self._rows = 0
        self._checks = 0
        self._version: str | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the id of the W&B run, for checkpoints.

        Args:
            trainer: the trainer.
            pl_module: not used.
        """
        self._version = next((logger.version for logger in _wandb(trainer)), None)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what the process has measured since it was last asked.

        Args:
            trainer: the trainer.
            pl_module: not used.
        """
        process = _process(trainer)
        if process is None:
            return
        rows, checks = process.state.rows, process.state.checks
        for check in checks[self._checks :]:
            _log(trainer, {f"equilibration/{name}": value for name, value in check.items()})
        for row in rows[self._rows :]:
            laws = law_metrics(Path(trainer.default_root_dir)) if row is rows[-1] else {}
            _log(trainer, {**row_metrics(row), **laws})
        self._rows, self._checks = len(rows), len(checks)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the run directory.

        Args:
            trainer: the trainer.
            pl_module: not used.
        """
        self._finish(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Log what the run directory holds of a run that stopped.

        Args:
            trainer: the trainer.
            pl_module: not used.
            exception: what stopped it.
        """
        if is_fitting(trainer):
            self._finish(trainer)

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

    def _finish(self, trainer: pl.Trainer) -> None:
        self.on_train_epoch_end(trainer, trainer.lightning_module)  # what a stop left unlogged
        for logger in _wandb(trainer):
            logger.log_directory(Path(trainer.default_root_dir))


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
        "drift": row["C"] / row["C_target"] - 1,
        "t": way,
        "phase": row.get("phase", way),
    }
    return _finite({
        f"{SECTIONS.get(name, 'thermo')}/{name}": value for name, value in numbers.items()
    })


def law_metrics(directory: Path) -> dict[str, float]:
    """The value of each law in laws.json, under ``law/``.

    Args:
        directory: the run directory.

    Returns:
        Finite numbers; none without a LawMonitor.
    """
    path = directory / "laws.json"
    if not path.is_file():
        return {}
    laws = json.loads(path.read_text(encoding="utf-8"))
    return _finite({f"law/{_plain(law['law'])}": law["value"] for law in laws})


def _plain(name: str) -> str:
    # "concavity, D_λ ≤ 0" becomes "concavity_D_lambda", a name for a metric
    spelled = name.partition("≤")[0].replace("λ", "lambda").replace("γ", "gamma")
    return re.sub(r"[^A-Za-z0-9]+", "_", spelled).strip("_")


def _finite(numbers: Mapping[str, float | None]) -> dict[str, float]:
    return {name: x for name, x in numbers.items() if x is not None and math.isfinite(x)}


def _log(trainer: pl.Trainer, metrics: Mapping[str, float]) -> None:
    for logger in trainer.loggers:
        logger.log_metrics(_finite(metrics), trainer.global_step)
        logger.save()


def _process(trainer: pl.Trainer) -> QuasiStatic | None:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return next((found for found in callbacks if isinstance(found, QuasiStatic)), None)


def _wandb(trainer: pl.Trainer) -> list[WandbRunLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, WandbRunLogger)]
