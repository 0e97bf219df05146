"""Jobs timed side by side in one process, so that a noisy machine is the same for all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def in_turns(jobs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each job, run in turns, each right after a run that does not count.

    In a solve a product follows a product: it finds its own memory, not that of another job.
    """
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            job()
            start = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
