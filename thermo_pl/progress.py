"""How far long computations are: couplings and solves. Silent unless somebody asks to see it."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

QUIET = 30.0
"""Seconds after which a long part is told of where there is no terminal."""
_REDRAW = 0.1  # seconds between two drawings of a bar


class StageBar:
    """One stage at a time: a bar on a terminal, elsewhere a plain line for what was computed."""

    def __init__(self, lines: bool = True, delay: float = 0.0) -> None:
        """Show nothing yet.

        Args:
            lines: whether there are lines where there is no terminal.
            delay: seconds before a bar is shown; a stage that is over sooner needs none.
        """
        self._lines = lines
        self._delay = delay
        self._label = ""
        self._began = 0.0
        self._bar: tqdm[Any] | None = None
        self._computed = self._parts = 0
        self._drawn = 0.0

    def begin(self, label: str, total: int) -> None:
        """Begin a stage.

        Args:
            label: what is computed.
            total: parts, at most.
        """
        self._label, self._began, self._computed = label, time.monotonic(), 0
        self._parts, self._drawn = 0, self._began
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=total,
                desc=label,
                ncols=100,
                delay=self._delay,
                leave=False,
                file=sys.stderr,
                bar_format="{desc} |{bar}| {n_fmt}/{total_fmt}  {remaining} left",
            )

    def advance(self, computed: bool) -> None:
        """A part is done.

        Args:
            computed: whether it was computed, and not just looked up.
        """
        self._computed += computed
        self._parts += 1
        if self._bar is not None:
            self._bar.update(self._parts - self._bar.n)

    def within(self, share: float, note: str) -> None:
        """The present part goes on; one that takes minutes says so.

        Args:
            share: of it that is done, 0 to 1, as far as can be said.
            note: a few words on where it stands.
        """
        now = time.monotonic()
        if self._bar is None:
            if self._lines and now - self._drawn > QUIET:
                self._drawn = now
                print(f"{self._label}: {note}", file=sys.stderr, flush=True)
        elif now - self._drawn > _REDRAW and now - self._began > self._delay:
            self._drawn = now
            self._bar.bar_format = "{desc} |{bar}| {percentage:3.0f}%"  # time left is not known
            self._bar.n = self._parts + share
            self._bar.set_description_str(f"{self._label}, {note}")

    def end(self) -> None:
        """The stage is over, also where it failed."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        elif self._lines and self._computed:
            seconds = time.monotonic() - self._began
            plans = f"{self._computed} plan{'s' * (self._computed > 1)}"
            print(f"{self._label}: {plans} in {seconds:.1f} s", file=sys.stderr, flush=True)


_shown: StageBar | None = None


@contextmanager
def shown(bar: StageBar | None) -> Generator[None, None, None]:
    """Show the stages of a block.

    Args:
        bar: where; None for nowhere.

    Yields:
        Nothing.
    """
    global _shown
    before, _shown = _shown, bar
    try:
        yield
    finally:
        _shown = before


@contextmanager
def stage(label: str, total: int) -> Generator[None, None, None]:
    """A computation whose parts call :func:`advance`.

    Args:
        label: what is computed.
        total: parts, at most.

    Yields:
        Nothing.
    """
    bar = _shown
    if bar is not None:
        bar.begin(label, total)
    try:
        yield
    finally:
        if bar is not None:
            bar.end()


def advance(computed: bool = True) -> None:
    """A part of the present stage is done.

    Args:
        computed: whether it was computed, and not just looked up.
    """
    if _shown is not None:
        _shown.advance(computed)


def within(share: float, note: str) -> None:
    """The present part of the present stage goes on.

    Args:
        share: of it that is done, 0 to 1, as far as can be said.
        note: a few words on where it stands.
    """
    if _shown is not None:
        _shown.within(share, note)
