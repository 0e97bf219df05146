"""Ranks that Lightning starts as processes of their own: none outlives the others."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import torch.distributed

GRACE = 30.0
"""Seconds that a rank has to end by itself after the first one has gone."""


def watch_the_first(
    end: Callable[[int], object] = os._exit, grace: float = GRACE, every: float = 1.0
) -> threading.Thread:
    """End this rank where the first one, which has started it, is gone.

    A rank that waits for another one in a sum is told when that one dies. One that waits for the
    first to let it in is not, for half an hour.

    Args:
        end: ends the process with an exit code.
        grace: seconds until then, in which it may end by itself.
        every: seconds between two looks.

    Returns:
        The thread that looks.
    """
    first = os.getppid()

    def look() -> None:
        while os.getppid() == first:
            time.sleep(every)
        time.sleep(grace)
        end(1)

    thread = threading.Thread(target=look, daemon=True, name="watch-the-first-rank")
    thread.start()
    return thread


def wait_for_the_first(longest: float = GRACE, every: float = 0.2) -> None:
    """Let the first rank end before this one.

    Where another rank ends with an error, Lightning kills the first one within seconds, be it in
    the middle of its last files.

    Args:
        longest: seconds to wait.
        every: seconds between two looks.
    """
    first, until = os.getppid(), time.monotonic() + longest
    while os.getppid() == first and time.monotonic() < until:
        time.sleep(every)


def is_lost(error: BaseException) -> bool:
    """Whether an error says that another rank has gone.

    Args:
        error: what ended this one.

    Returns:
        Whether it is one of torch's backends for ranks.
    """
    told = isinstance(error, torch.distributed.DistError)
    # gloo tells in errors of no class of their own
    return told or (isinstance(error, RuntimeError) and "gloo" in str(error))
