"""What reads a process: told of each check, of each row, and once of the ending."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

from thermo_pl.callbacks.attached import callbacks_of
from thermo_pl.path.columns import Row

if TYPE_CHECKING:
    from thermo_pl.callbacks.quasi_static import QuasiStatic
    from thermo_pl.process.steps import Result


class Monitor(pl.Callback):
    """Base of all that reads a process. A monitor steers nothing and stops nothing.

    What one raises becomes a warning, and the process goes on.

    The process calls the hooks once it has written path.csv. They do not depend on the order of
    the trainer's callbacks.

    Example:
        >>> class Watch(Monitor):
        ...     def on_row(self, trainer, process, row):
        ...         print(f"t = {row['t']:.2f}, C = {row['C']:.3f} nats")
        >>> Watch().on_row(None, None, {"t": 0.5, "C": 0.1})
        t = 0.50, C = 0.100 nats
    """

    def on_check(self, trainer: pl.Trainer, process: QuasiStatic, check: dict[str, float]) -> None:
        """The stationarity was checked during equilibration.

        Args:
            trainer: the trainer.
            process: the process.
            check: a row of equilibration.csv.
        """

    def on_row(self, trainer: pl.Trainer, process: QuasiStatic, row: Row) -> None:
        """A macro-step was measured.

        Args:
            trainer: the trainer.
            process: the process.
            row: the last row of its path.
        """

    def on_again(self, trainer: pl.Trainer, process: QuasiStatic) -> None:
        """An epoch did not end the macro-step: it goes on, or was taken back and is tried anew.

        Args:
            trainer: the trainer.
            process: the process; its state says which.
        """

    def on_ending(self, trainer: pl.Trainer, process: QuasiStatic) -> None:
        """The process is over; called once, also after an exception.

        Args:
            trainer: the trainer.
            process: the process; its ``ending`` says how.
        """

    def on_written(self, trainer: pl.Trainer, process: QuasiStatic) -> None:
        """All monitors have written what they have to say of the ending.

        Args:
            trainer: the trainer.
            process: the process.
        """

    def metrics(self, process: QuasiStatic) -> dict[str, float]:
        """What this monitor adds to the numbers of the last row in the loggers.

        It is asked while the row is being told: say what follows from the rows, whatever this
        monitor has been told so far.

        Args:
            process: the process.

        Returns:
            By the name in the loggers; nothing by default.
        """
        return {}


def monitors(trainer: pl.Trainer) -> list[Monitor]:
    """The monitors among the trainer's callbacks.

    Args:
        trainer: the trainer.

    Returns:
        In the order of the list.
    """
    return [callback for callback in callbacks_of(trainer) if isinstance(callback, Monitor)]


def tell(trainer: pl.Trainer, process: QuasiStatic, result: Result[Any], checks: int) -> None:
    """Tell all monitors what an epoch came to.

    Args:
        trainer: the trainer.
        process: the process.
        result: what it came to.
        checks: how many checks they know of.
    """
    for monitor in monitors(trainer):
        with spared(monitor):
            for check in result.state.checks[checks:]:
                monitor.on_check(trainer, process, check)
            if result.row is not None:
                monitor.on_row(trainer, process, result.row)
            elif result.state.phase == "process" and result.failure is None:
                monitor.on_again(trainer, process)


def tell_ending(trainer: pl.Trainer, process: QuasiStatic) -> None:
    """Tell all monitors that the process is over.

    Args:
        trainer: the trainer.
        process: the process.
    """
    for monitor in monitors(trainer):
        with spared(monitor):
            monitor.on_ending(trainer, process)
    for monitor in monitors(trainer):
        with spared(monitor):
            monitor.on_written(trainer, process)


@contextmanager
def spared(monitor: Monitor) -> Generator[None, None, None]:
    """What shows a run must not end it: a full disk, a console without Greek letters, no LaTeX.

    Args:
        monitor: what is asked; an exception of it becomes a warning.

    Yields:
        Nothing.
    """
    try:
        yield
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        where = traceback.extract_tb(error.__traceback__)[-1]
        warnings.warn(
            f"{type(monitor).__name__} failed with {type(error).__name__}: {told} "
            f"({Path(where.filename).name}:{where.lineno}); the run goes on, and what this monitor "
            "was about to show is missing",
            stacklevel=2,
        )
