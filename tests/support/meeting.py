"""Ranks as threads of one process, one at a time: what they share out, without launching any."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

from thermo_pl.particles import Reduction

T = TypeVar("T")


@dataclass(frozen=True)
class Meeting(Reduction):
    """Adds up over threads, in the order of the ranks."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))
    turn: threading.Lock = field(default_factory=threading.Lock)
    brought: dict[int, Tensor] = field(default_factory=dict)

    def sum(self, tensor: Tensor) -> Tensor:
        self.brought[self.rank] = tensor.detach()
        self.meet()
        total = sum(self.brought[rank] for rank in range(self.ranks))
        self.meet()  # nobody brings the next one before all have this one
        assert isinstance(total, Tensor)
        return total

    def meet(self) -> None:
        self.turn.release()
        try:
            self.barrier.wait(timeout=30)
        finally:
            self.turn.acquire()


def on_ranks(ranks: int, work: Callable[[Reduction], T]) -> list[T]:
    """What each rank comes to. One runs at a time: torch's forward mode is one for all threads."""
    barrier, turn, brought = threading.Barrier(ranks), threading.Lock(), dict[int, Tensor]()

    def run(rank: int) -> T:
        with turn:
            try:
                return work(Meeting(rank, ranks, barrier, turn, brought))
            except BaseException:
                barrier.abort()
                raise

    with ThreadPoolExecutor(ranks) as pool:
        return list(pool.map(run, range(ranks)))
