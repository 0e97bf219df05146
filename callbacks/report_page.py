"""Writes the page of a run, report.html, into its directory when it ends."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl

from thermo_pl.callbacks.attached import callbacks_of, is_fitting
from thermo_pl.callbacks.monitor import Monitor, spared
from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.runs.report import write_report


class ReportPage(Monitor):
    """Makes the page of the files that a fit has left, also where it was cut off.

    A page that cannot be made is a warning: the run has ended as it has. It is part of every
    command, so configs need not name it; a trainer of one's own is given it as a callback.
    """

    def on_written(self, trainer: pl.Trainer, process: QuasiStatic) -> None:
        """Write the page of a process, once all monitors have written their files."""
        _write(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write it where no process says that the files are there."""
        if not _has_process(trainer):
            with spared(self):
                _write(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Write it of a fit that stopped, likewise."""
        if is_fitting(trainer):
            self.on_fit_end(trainer, pl_module)


def _has_process(trainer: pl.Trainer) -> bool:
    return any(isinstance(callback, QuasiStatic) for callback in callbacks_of(trainer))


def _write(trainer: pl.Trainer) -> None:
    tried = getattr(trainer, "fast_dev_run", False)  # set, but not declared
    if tried or not trainer.is_global_zero:
        return
    for logger in trainer.loggers:  # metrics.csv is written every so often
        logger.save()
    directory = Path(trainer.default_root_dir)
    print(f"report  {write_report(directory)}", flush=True)
