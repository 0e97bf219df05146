"""Live progress of a process: a bar on a terminal, one plain line per macro-step elsewhere."""

from __future__ import annotations

import math
import sys
import time
from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

from thermo_pl.callbacks.quasi_static import QuasiStatic, find_process
from thermo_pl.path.columns import Row
from thermo_pl.progress import StageBar, shown


class ProcessProgress(ProgressBar):
    """Shows stroke, t, λ, γ, C/C* and the time left, at a width of 100 columns.

    On a terminal a solve of more than a second has a bar of its own, for as long as it takes. Takes
    the place of Lightning's own bar, which would count batches.
    """

    def __init__(self) -> None:
        """Start hidden."""
        super().__init__()
        self._bar: tqdm[Any] | None = None
        self._enabled = True
        self._process: QuasiStatic | None = None
        self._began: tuple[float, int] | None = None
        self._solves = ExitStack()

    def disable(self) -> None:
        """Show nothing (Lightning calls this on all ranks but the first)."""
        self._enabled = False

    def enable(self) -> None:
        """Show the progress again."""
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the process.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        super().on_train_start(trainer, pl_module)
        self._process = find_process(trainer)
        if self._enabled and sys.stderr.isatty():
            self._bar = tqdm(
                total=self._process.equilibration.max_epochs,
                bar_format="{desc} |{bar}| {n_fmt}/{total_fmt}",
                ncols=100,
                file=sys.stderr,
            )
            self._solves.enter_context(shown(StageBar(lines=False, delay=1.0)))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the last check or the last row.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        process = self._process
        if process is None or not self._enabled:
            return
        state = process.state
        if state.phase == "equilibration":
            done, total = trainer.current_epoch + 1, process.equilibration.max_epochs
            news = bool(state.checks) and state.checks[-1]["epoch"] == done
            text = _describe_check(state.checks[-1], process) if state.checks else "equilibration"
        else:
            done = sum(row["stroke"] != "equilibration" for row in state.rows)
            approach = sum(row["stroke"] == "approach" for row in state.rows)
            data = trainer.datamodule  # type: ignore[attr-defined]
            total, news = process.length(data) + approach, True
            text = f"{describe_row(process.last)}  {self._time_left(done, total)} left"
        self._show(text, done, total, news)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the error has a line of its own.

        Args:
            trainer: the trainer.
            pl_module: the model.
            exception: what stopped the run.
        """
        self._close()

    def _show(self, text: str, done: int, total: int, news: bool) -> None:
        if self._bar is not None:
            self._bar.total = total
            self._bar.n = done
            self._bar.set_description_str(text)
        elif news:
            print(f"{done:>4}/{total}  {text}", file=sys.stderr, flush=True)

    def _time_left(self, done: int, total: int) -> str:
        # at the pace so far, of this session if the run was resumed
        now = time.monotonic()
        if self._began is None:
            self._began = (now, done)
        began, first = self._began
        if done == first:
            return "?:??"
        seconds = (now - began) / (done - first) * max(total - done, 0)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"

    def _close(self) -> None:
        self._solves.close()
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def describe_row(row: Row) -> str:
    """Stroke, t, λ, γ and C/C* of a row, or C where it has no target, in about 70 columns.

    Args:
        row: a row of a path.

    Returns:
        One line.
    """
    held = row["C"] / row["C_target"]
    loss = f"C={row['C']:.4g}" if math.isnan(held) else f"C/C*={held:.4f}"
    return (
        f"{row['stroke'].replace('_classification', '')} t={row['leg'] + row['t']:.3f} "
        f"λ={row['lambda']:.3g} γ={row['gamma']:.3g} {loss}"
    )


def _describe_check(check: dict[str, float], process: QuasiStatic) -> str:
    return (
        f"equilibration J={check['J']:.3f} stationarity {check['stationarity']:.2g} "
        f"→ {process.equilibration.stationarity:g} nats"
    )
