"""What a job takes of time and memory, read from /proc: on Linux only."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def status(key: str) -> float:
    """A line of /proc/self/status, in GiB."""
    for row in Path("/proc/self/status").read_text().splitlines():
        if row.startswith(key):
            return float(row.split()[1]) / 2**20
    raise SystemExit(f"/proc/self/status has no {key}: the memory is measured on Linux only")


def with_memory(job: Callable[[], T]) -> tuple[T, float, float]:
    """What a job gives, its seconds, and its peak in GiB above what was held before it."""
    before, start = status("VmRSS"), time.perf_counter()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    result = job()
    return result, time.perf_counter() - start, status("VmHWM") - before
