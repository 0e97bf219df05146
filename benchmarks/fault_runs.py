"""Runs for faults.py: the command line in a fork, as imports take seconds."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LONGEST = 300.0
"""Seconds after which a run hangs, unless a case says otherwise."""


@dataclass(frozen=True)
class Ran:
    """How a run ended.

    Attributes:
        code: its exit code; less than zero for a signal, None where it hung and was ended.
        out: what it printed.
        err: what it complained of.
        seconds: wall time.
    """

    code: int | None
    out: str
    err: str
    seconds: float

    @property
    def told(self) -> str:
        """The last complaint."""
        return (self.err.strip().splitlines() or [""])[-1]

    @property
    def is_plain(self) -> bool:
        """Whether a user is told what happened: 0, 2 or 3, in six lines, without a traceback."""
        return (
            self.code in {0, 2, 3}
            and "Traceback" not in self.err
            and len(self.err.strip().splitlines()) <= 6
        )


def run(
    words: list[str],
    folder: Path,
    *,
    longest: float = LONGEST,
    disturb: Callable[[int, float], bool] | None = None,
    before: Callable[[], None] | None = None,
) -> Ran:
    """Run a command of thermo_pl in a fork.

    Args:
        words: of the command line.
        folder: where; made if need be.
        longest: seconds after which it is ended.
        disturb: asked all the time with the process and the seconds so far; True ends the run by
            kill -9.
        before: done in the fork, before the command.

    Returns:
        How it ended.
    """
    folder.mkdir(parents=True, exist_ok=True)
    out, err = folder / "out.txt", folder / "err.txt"
    child = os.fork()
    if child == 0:
        in_the_fork(words, folder, out, err, before)
    start, status = time.monotonic(), None
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        seconds = time.monotonic() - start
        if done:
            break
        hangs = seconds > longest
        if hangs or (disturb is not None and disturb(child, seconds)):
            os.kill(child, signal.SIGKILL)
            status = None if hangs else os.waitpid(child, 0)[1]
            break
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # workers that it left behind
    if status is None:
        os.waitpid(child, 0)
    code = None if status is None else os.waitstatus_to_exitcode(status)
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in (out, err))
    return Ran(code, *texts, seconds)


def in_the_fork(
    words: list[str], folder: Path, out: Path, err: Path, before: Callable[[], None] | None
) -> None:
    """Run a command in a process that was forked for it, and end with its exit code.

    Args:
        words: of the command line.
        folder: where.
        out: file for what it prints.
        err: file for what it complains of.
        before: done before the command.
    """
    from thermo_pl.cli import main

    os.setsid()
    os.chdir(folder)
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    code = 1
    try:
        if before is not None:
            before()
        code = main(words)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
