"""Time and memory of a response against particles, parameters and ranks, and what follows from it.

    OMP_NUM_THREADS=1 python benchmarks/scaling.py

Measured with one and with two processes (gloo) on random images of MNIST's shape: seconds are those
of the processor, so that other work beside does not count. Least squares then give a model, and the
model says what larger jobs would take on processors like this one. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from process_memory import with_memory
from torch import nn

from thermo_pl.networks import LinearClassifier, MLPDecoder, MLPEncoder, Networks, StandardNormal
from thermo_pl.particles import AllReduce, Particles, Reduction
from thermo_pl.response.curvature import gauss_newton, graph_bytes
from thermo_pl.response.linear import ResponseSettings, linear_response
from thermo_pl.response.objective import Objective, Probe

SHAPE, LATENT, CLASSES = (1, 28, 28), 16, 10
PARTICLES, HIDDEN, RANKS = (128, 512), (32, 128, 512), (1, 2)
LARGER = [(10**5, 10**6, 1), (10**6, 10**7, 8), (10**7, 10**8, 64), (10**8, 10**9, 1024)]
"""Particles of the solving probe, parameters and ranks that the model is asked for."""
ROWS = 4
"""Right-hand sides of a response."""


class Measured(NamedTuple):
    """One size.

    Attributes:
        particles: of the probe, on all ranks.
        parameters: of the networks.
        ranks: processes.
        product: seconds of a product of one row, without the sum over ranks.
        added: seconds of that sum.
        graph: bytes of the linearisation for each particle.
        held: GiB that a whole response took on a rank, above what was there before.
    """

    particles: int
    parameters: int
    ranks: int
    product: float
    added: float
    graph: int
    held: float


def networks(hidden: int) -> Networks:
    """784-h-(2x16), 16-h-784 and 16-10."""
    torch.manual_seed(0)
    return Networks(
        MLPEncoder(SHAPE, LATENT, hidden=(hidden,)),
        LinearClassifier(LATENT, CLASSES),
        MLPDecoder(SHAPE, LATENT, hidden=(hidden,)),
        StandardNormal(LATENT),
        lam=1.0,
        gam=4.0,
    )


def probe_of(n: int, shared: Reduction) -> Probe:
    """Random images and noise; the part of this rank."""
    draw = torch.Generator().manual_seed(1)
    ends = (torch.rand(n, *SHAPE, generator=draw) for _ in range(2))
    labels = nn.functional.one_hot(torch.arange(n) % CLASSES, CLASSES).float()
    noise = torch.randn(1, n, LATENT, generator=draw)
    particles = Particles(*ends, labels, labels, torch.ones(n))
    return Probe(particles, noise).take(shared.share)._replace(shared=shared)


def measured(n: int, hidden: int, shared: Reduction) -> Measured:
    """Measure on this rank."""
    objective = Objective(networks(hidden), probe_of(n, shared))
    p = len(objective.theta)
    rows = torch.randn(2, p)
    alone = Objective(objective.model, objective.probe._replace(shared=Reduction()))
    product = gauss_newton(alone, 0.5)
    product(rows)
    took = shortest(lambda: product(rows)) / len(rows)
    added = shortest(lambda: shared.sum(rows)) / len(rows)
    settings = ResponseSettings(damping=1.0, max_iterations=3)
    _, _, held = with_memory(lambda: linear_response(objective, 0.5, settings))
    return Measured(n, p, shared.ranks, took, added, graph_bytes(objective, 0.5), held)


def shortest(job) -> float:  # type: ignore[no-untyped-def]
    """Processor seconds of the fastest of five."""
    taken = []
    for _ in range(5):
        start = time.process_time()
        job()
        taken.append(time.process_time() - start)
    return min(taken)


def on_ranks(ranks: int, sizes: list[tuple[int, int]]) -> list[Measured]:
    """Measure in as many processes; what the first one found."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port, children = free.getsockname()[1], []
        free.close()
        for rank in range(ranks):
            child = os.fork()
            if child == 0:
                _work(rank, ranks, port, sizes, Path(folder))
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        if any(codes):
            raise SystemExit(f"ranks ended with {codes}")
        return [Measured(*row) for row in json.loads((Path(folder) / "0").read_text())]


def _work(rank: int, ranks: int, port: int, sizes: list[tuple[int, int]], folder: Path) -> None:
    code = 1
    try:
        shared = Reduction()
        if ranks > 1:
            address = f"tcp://127.0.0.1:{port}"
            dist.init_process_group("gloo", address, rank=rank, world_size=ranks)
            shared = AllReduce(rank, ranks, torch.device("cpu"))
        measured(*min(sizes), shared)  # loads what is loaded once
        found = [measured(n, hidden, shared) for n, hidden in sizes]
        (folder / str(rank)).write_text(json.dumps(found))
        code = 0
    finally:
        os._exit(code)


class Model(NamedTuple):
    """What the measurements come to.

    Attributes:
        product: seconds of a product for each particle and parameter.
        particle: seconds of a product for each particle beside.
        added: seconds of the sum over ranks for each parameter.
        vectors: vectors of all parameters, in float32, that a response holds.
    """

    product: float
    particle: float
    added: float
    vectors: float

    @classmethod
    def of(cls, found: list[Measured]) -> Model:
        """Least squares of relative errors, none negative; vectors are those of the largest."""
        from scipy.optimize import nnls

        def fit(columns: list[list[float]], values: list[float]) -> list[float]:
            matrix = np.array(columns).T / np.array(values)[:, None]
            return [float(x) for x in nnls(matrix, np.ones(len(values)))[0]]

        here = [(m.particles / m.ranks, m.parameters) for m in found]
        product = fit([[n * p for n, p in here], [n for n, _ in here]], [m.product for m in found])
        shared = [m for m in found if m.ranks > 1]
        added = fit([[m.parameters for m in shared]], [m.added for m in shared])
        largest = max(p for _, p in here)
        held = [
            (m.held * 2**30 - m.graph * m.particles / m.ranks) / (4 * m.parameters)
            for m in found
            if m.parameters == largest
        ]
        return cls(*product, *added, float(np.median(held)))

    def seconds(self, n: float, p: float, ranks: int) -> float:
        """Of a product of one row."""
        here = n / ranks * (self.product * p + self.particle)
        return here + (self.added * p if ranks > 1 else 0.0)

    def gib(self, p: float) -> float:
        """Of the vectors of a response on a rank; beside them lie graphs, as much as allowed."""
        return self.vectors * 4 * p / 2**30


def main() -> None:
    """Measure, fit, and say what larger jobs would take."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--particles", type=int, nargs="+", default=PARTICLES)
    parser.add_argument("--hidden", type=int, nargs="+", default=HIDDEN)
    asked = parser.parse_args()
    sizes = [(n, h) for n in asked.particles for h in asked.hidden]
    torch.set_num_threads(1)
    found = [row for ranks in RANKS for row in on_ranks(ranks, sizes)]
    model = Model.of(found)
    print(
        "particles  parameters  ranks  product, s  of the model  sum, s  graph, KiB  response, GiB"
    )
    for m in found:
        said = model.seconds(m.particles, m.parameters, m.ranks) - model.added * m.parameters * (
            m.ranks > 1
        )
        print(
            f"{m.particles:9}{m.parameters:12}{m.ranks:7}{m.product:12.4f}{said:14.4f}"
            f"{m.added:8.4f}{m.graph / 1024:12.0f}{m.held:15.3f}"
        )
    print(
        f"a product: {model.product:.2e} s for each particle and parameter, {model.particle:.1e} s "
        f"for each particle; its sum over ranks: {model.added:.1e} s for each parameter; "
        f"a response holds {model.vectors:.0f} vectors of all parameters"
    )
    print("\nextrapolated: particles  parameters  ranks  seconds of a product  GiB on each rank")
    for n, p, ranks in LARGER:
        took = model.seconds(n, p, ranks)
        print(f"{n:23.0e}{p:12.0e}{ranks:7}{took:22.3g}{model.gib(p):18.3g}")


if __name__ == "__main__":
    main()
