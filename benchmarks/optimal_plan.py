"""Exact plans without a matrix of all costs: time, memory and W2² beside the dense solver's.

    THERMO_PL_DATA=... python benchmarks/optimal_plan.py --points 2500 5400 30000

Digits 0-4 and 5-9 of MNIST's training images, chosen at random, in one plan that is blind to
labels; 30000 is all of them, 27,537 × 26,463 (a tenth is held out). Each plan is solved in a
process of its own, one after the other. The dense solver is left out where it would take more than
--memory; up to 1,500 × 1,500 points it is the only one. Memory is what a plan takes beside the
images, and what `transport.memory` expects it to; it is read from /proc, so on Linux only.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from process_memory import with_memory
from torch import Tensor

from thermo_pl.datamodules import MNIST
from thermo_pl.transport import column_generation
from thermo_pl.transport.solver import pair_distances

Images = np.ndarray
HEAD = f"{'points':>16}  {'solver':<10}{'seconds':>9}{'GiB':>7}{'expected':>10}{'W2²':>16}"


def domains(images: Tensor, labels: Tensor, count: int) -> tuple[Images, Images]:
    """At most so many images of each domain, chosen at random."""
    rng = np.random.default_rng(0)
    halves = (images[labels < 5].numpy(), images[labels >= 5].numpy())
    return tuple(x[rng.permutation(len(x))[:count]].reshape(-1, 784) for x in halves)


def solved(a: Images, b: Images, dense: bool) -> tuple[float, float, float, float]:
    """Seconds, GiB taken and expected, and W2²."""
    if dense:
        column_generation.PILOT = max(len(a), len(b))  # all pairs at once
    plan, seconds, taken = with_memory(partial(column_generation.optimal_plan, a, b))
    cost = plan["mass"] @ pair_distances(a, b, plan["rows"], plan["cols"])
    return seconds, taken, column_generation.memory(a, b), float(cost)


def main() -> None:
    """Solve each size both ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[2500, 5400])
    parser.add_argument("--memory", type=float, default=8.0, help="GiB for the dense solver")
    arguments = parser.parse_args()
    train = MNIST().load()["train"]
    print(HEAD, flush=True)
    for count in arguments.points:
        a, b = domains(*train, count)
        for name in ("dense", "generated"):
            dense = column_generation.BYTES_DENSE * len(a) * len(b) / 2**30
            if name == "dense" and dense > arguments.memory:
                continue
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                found = process.submit(solved, a, b, name == "dense").result()
            size = f"{len(a)} × {len(b)}"
            numbers = "{:>9.1f}{:>7.2f}{:>10.2f}{:>16.9f}".format(*found)
            print(f"{size:>16}  {name:<10}{numbers}", flush=True)


if __name__ == "__main__":
    main()
