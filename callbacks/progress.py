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

from thermo_pl.callbacks.monitor import Monitor
from thermo_pl.callbacks.processes import find_process
from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.path.columns import Row
from thermo_pl.process.state import State
from thermo_pl.progress import StageBar, shown


class ProcessProgress(ProgressBar, Monitor):
    """Shows stroke, t, λ, γ, C/C* and the time left, at a width of 100 columns.

    On a terminal a solve of more than a second has a bar of its own, for as long as it takes. This
    takes the place of Lightning's bar, which would count batches.
    """

    def __init__(self) -> None:
        """Start hidden."""
        super().__init__()
        self._bar: tqdm[Any] | None = None
        self._enabled = True
        self._began: dict[str, tuple[float, int]] = {}  # by the phase of the process
        self._solves = ExitStack()
        self._shown = (0, 0)  # rows that there were and would be at the last row

    def disable(self) -> None:
        """Show nothing (Lightning calls this on all ranks but the first)."""
        self._enabled = False

    def enable(self) -> None:
        """Show the progress again."""
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a run without a process, and open the bar."""
        super().on_train_start(trainer, pl_module)
        process = find_process(trainer)
        self._began = {"equilibration": (time.monotonic(), trainer.current_epoch)}
        if self._enabled and sys.stderr.isatty():
            self._bar = tqdm(
                total=process.settings.equilibration.max_epochs,
                bar_format="{desc} |{bar}| {n_fmt}/{total_fmt}",
                ncols=100,
                file=sys.stderr,
            )
            self._solves.enter_context(shown(StageBar(lines=False, delay=1.0)))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Move the bar on between two checks; there is a row for what comes after."""
        process = find_process(trainer)
        state, total = process.state, process.settings.equilibration.max_epochs
        if state.phase == "equilibration" and self._bar is not None:
            told, epoch = process.settings.equilibration.told, trainer.current_epoch + 1
            text = told(state.checks[-1]) if state.checks else "equilibration"
            self._draw(self._bar, f"{text}  {self._left_at_first(process, epoch)}", epoch, total)

    def on_check(self, trainer: pl.Trainer, process: QuasiStatic, check: dict[str, float]) -> None:
        """Show the check, unless it ends the equilibration: then its row is shown."""
        if process.state.phase == "equilibration":
            settings, epoch = process.settings.equilibration, int(check["epoch"])
            left = self._left_at_first(process, epoch)
            self._show(f"{settings.told(check)}  {left}", epoch, settings.max_epochs)

    def on_row(self, trainer: pl.Trainer, process: QuasiStatic, row: Row) -> None:
        """Show the row, unless there is no equilibrium: then the check says so."""
        if process.state.phase != "equilibration":
            done, total = self._shown = _counts(process)
            left = self._time_left("process", done, total)
            self._show(f"{describe_row(row)}  {left} left", done, total)

    def on_again(self, trainer: pl.Trainer, process: QuasiStatic) -> None:
        """Say that the macro-step is tried again, and why."""
        text, (done, total) = _describe_try(process.state), self._shown
        if text:
            self._show(f"{text}  {self._time_left('process', done, total)} left", done, total)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_ending(self, trainer: pl.Trainer, process: QuasiStatic) -> None:
        """Close the bar, also after an exception."""
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the error has a line of its own."""
        self._close()

    def _show(self, text: str, done: int, total: int) -> None:
        if self._bar is not None:
            self._draw(self._bar, text, done, total)
        elif self._enabled:
            print(f"{done:>4}/{total}  {text}", file=sys.stderr, flush=True)

    @staticmethod
    def _draw(bar: tqdm[Any], text: str, done: int, total: int) -> None:
        bar.total, bar.n = total, done
        bar.set_description_str(text)

    def _left_at_first(self, process: QuasiStatic, epoch: int) -> str:
        # as if it took all its epochs, and a macro-step as long as one of them
        total = process.settings.equilibration.max_epochs + process.macro_steps
        return f"~{self._time_left('equilibration', epoch, total)} left"

    def _time_left(self, phase: str, done: int, total: int) -> str:
        # at the pace so far, of this session if the run was resumed
        now = time.monotonic()
        began, first = self._began.setdefault(phase, (now, done))
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
    held = row["C_held"] / row["C_target"]
    loss = f"C={row['C']:.4g}" if math.isnan(held) else f"C/C*={held:.4f}"
    return (
        f"{row['stroke'].replace('_classification', '')} t={row['leg'] + row['t']:.3f} "
        f"λ={row['lambda']:.3g} γ={row['gamma']:.3g} {loss}"
    )


def _counts(process: QuasiStatic) -> tuple[int, int]:
    # rows that are there, and as many as there will be; only known at a row
    done = sum(row["stroke"] != "equilibration" for row in process.rows)
    approach = sum(row["stroke"] == "approach" for row in process.rows)
    return done, process.macro_steps + approach


def _describe_try(state: State[Any]) -> str:
    # nothing where training goes on as it is meant to
    if state.step is not None:
        return f"not held yet: relaxed and corrected again, round {state.step.rounds}"
    if state.rejected:
        why = state.rejection.rpartition(": ")[2].partition(", allowed")[0]
        return f"taken back, halved: {why}"
    return ""
