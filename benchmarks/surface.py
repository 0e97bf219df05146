"""The map of the digits: its laws, its cost beside training from scratch, and models on demand.

    python benchmarks/surface.py
    python benchmarks/surface.py --root runs/surface_benchmark --sampled 5 --targets 10
    python benchmarks/surface.py --root runs/once --set passes=1 gain=3.0e-4

Maps the 10 x 10 nodes of surface_digits.yaml, or reads the map if it is there; a map that was cut
goes on. Then it prints

- the laws at the nodes: how many keep each, the median, the worst and where it is;
- what a node takes, in seconds and in gradients of all images at all points of the cubature, beside
  training from scratch at sampled nodes to J within 0.5 % and 0.01 % of the map's: with L-BFGS,
  from three random starts, and with Adam at the best of three learning rates. Solves count;
- ``model_at`` for random targets (R, C) inside the surface: how far R and C of the model are off,
  on the points that the map is of, and on rotations of the cubature that neither training nor the
  map has seen; and what it took, beside training there from scratch to within 2 % of both.

``--set`` changes the map: passes, revisits and responses of the process, max_iter and gain of its
optimiser.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from kept_runs import gone_on
from shipped_configs import shipped

import thermo_pl as tp
from thermo_pl.files import read_csv
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks.training import training_loss
from thermo_pl.optim import QuasiStaticLBFGS
from thermo_pl.particles import interpolate
from thermo_pl.process import System
from thermo_pl.response.measurement import measure
from thermo_pl.runs.trained import built
from thermo_pl.surface.checks import check_surface, table

CLOSE = (5e-3, 1e-4)
"""Shares of J to which training from scratch comes."""
MET = 0.02
"""Share of R and of C within which a model is what was asked for."""
STARTS = 3
RATES = (0.005, 0.02, 0.05)
"""Learning rates of Adam; the first is that of base/adam.yaml."""
MOST = 1000
"""Gradients from scratch, at most."""
ROTATIONS = 8


class Tried(NamedTuple):
    """What training has come to: seconds, gradients of all images, and J, R and C there."""

    seconds: float
    gradients: int
    energy: float
    R: float
    C: float


def mapped(root: Path, nodes: int, changes: Sequence[str]) -> Path:
    """The run directory of the map; it is begun, or gone on with, where it is not whole."""
    config = shipped("surface_digits")
    process = config["trainer"]["callbacks"][-1]["init_args"]
    process |= {axis: process[axis][:nodes] for axis in ("lam", "gam")}
    optimizer = config["model"]["init_args"]["optimizer"]["init_args"]
    for name, _, value in (change.partition("=") for change in changes):
        (optimizer if name in {"max_iter", "gain"} else process)[name] = yaml.safe_load(value)
    return gone_on(root, config)


def terms(system: System) -> tuple[torch.Tensor, float, float]:
    """J, R and C on the points that the model trains on."""
    batch = interpolate(system.data.coupling("train").all(), system.data.t)
    networks = system.networks
    batch = type(batch)(*(part.to(networks.device, networks.dtype) for part in batch))
    loss, (rate, _, classification) = training_loss(networks, batch)
    weight = batch.weight / batch.weight.sum()
    return loss, float(rate.detach() @ weight), float(classification.detach() @ weight)


@torch.no_grad()
def fresh(system: System) -> tuple[float, float]:
    """R and C on rotations that training never saw, as a map measures them by default."""
    networks, particles = system.networks, system.data.coupling("train").all()
    noise = networks.cubature(ROTATIONS, len(particles.weight), seed=99)
    moved = type(particles)(*(part.to(networks.device, noise.dtype) for part in particles))
    found = measure(networks, tp.Probe(moved, noise, networks.cubature_points), 0.0, 2)
    return found.rate.value, found.classification.value


class _Reached(Exception):
    """Training from scratch is where it was to come."""


def from_scratch(
    surface: tp.Surface,
    run: Path,
    place: tuple[float, float],
    done: Callable[[Tried], bool],
    seed: int = 0,
    rate: float | None = None,
) -> list[Tried]:
    """Train at a place until it is done: by L-BFGS, or by Adam at a learning rate."""
    torch.manual_seed(seed)
    model = built(run, "model", FreeEnergyModel).double()
    system, _ = surface.system(model)
    if model.encoder.whitening is not None:
        model.encoder.whitening.learn(*system.data.image_moments())  # type: ignore[attr-defined]
    model.lam.fill_(place[0])
    model.gam.fill_(place[1])
    parameters = list(model.parameters())
    optimizer: Any = (
        QuasiStaticLBFGS(parameters, max_iter=MOST, history_size=300)
        if rate is None
        else torch.optim.Adam(parameters, lr=rate)
    )
    found: list[Tried] = []
    start = time.monotonic()

    def closure() -> torch.Tensor:
        loss, *rest = terms(system)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        found.append(Tried(time.monotonic() - start, len(found) + 1, float(loss.detach()), *rest))
        if done(found[-1]) or len(found) >= MOST:
            raise _Reached
        return loss

    with contextlib.suppress(_Reached):
        while True:
            optimizer.step(closure)
    return found


def first(course: Sequence[Tried], met: Callable[[Tried], bool]) -> Tried | None:
    """Where training was first as close as asked; None if it never was."""
    return next((tried for tried in course if met(tried)), None)


def lower(tried: Tried, level: float) -> bool:
    """Whether J is no higher than a level."""
    return tried.energy <= level


def cost(surface: tp.Surface, run: Path, sampled: int) -> None:
    """What the map took for a node, beside training from scratch at some."""
    rows, count = read_csv(run / "path.csv"), len(surface.nodes)
    system, _ = surface.system(surface.node(0))
    unit = len(system.data.coupling("train")) * system.networks.training_draws
    seconds, gradients = (sum(float(row[n] or 0) for row in rows) for n in ("seconds", "gradients"))
    each = gradients / unit / count
    print(f"\nmap: {count} nodes, {len(rows)} visits, {seconds:.0f} s, {each:.1f} gradients a node")
    chosen = np.random.default_rng(0).choice(count, sampled, replace=False)
    tries: dict[str, list[tuple[Tried | None, ...]]] = {}
    for node in (surface.nodes[int(i)] for i in chosen):
        place = node["lambda"], node["gamma"]
        near = [partial(lower, level=(1 + close) * node["F"]) for close in CLOSE]
        ways = [("L-BFGS", seed, None) for seed in range(STARTS)]
        for name, seed, rate in ways + [(f"Adam {rate:g}", 0, rate) for rate in RATES]:
            course = from_scratch(surface, run, place, near[-1], seed, rate)
            tries.setdefault(name, []).append(tuple(first(course, met) for met in near))
    for name, reached in tries.items():
        for close, met in zip(CLOSE, zip(*reached, strict=True), strict=True):
            there = [tried for tried in met if tried is not None]
            told = (
                f"from scratch, {name:<10} to {close:.2%} of J: {len(there)} of {len(met)} starts"
            )
            if there:
                took = [float(np.mean([tried[k] for tried in there])) for k in (0, 1)]
                told += (
                    f", {took[1]:.0f} gradients, {took[0]:.2f} s; the map: {each / took[1]:.2f} of "
                    f"the gradients, {seconds / count / took[0]:.2f} of the time"
                )
            print(told)


def on_demand(surface: tp.Surface, run: Path, targets: int) -> None:
    """Models at random (R, C), how far they are off, and what they took beside training there."""
    generator, misses, unseen, took, alone = np.random.default_rng(1), [], [], [], []
    grid = surface.fit.grid(400)
    print(
        f"\n{'R':>7} {'C':>8} {'λ':>7} {'γ':>7} {'R off':>8} {'C off':>8} {'R fresh':>8} "
        f"{'C fresh':>8} {'gradients':>10} {'scratch':>8} {'Adam':>6}"
    )
    for place in grid[generator.choice(len(grid), targets, replace=False)]:
        asked = surface(*place)
        point = surface.at(R=asked.R, C=asked.C)
        model, spent = surface.model_at(point.lam, point.gam)
        system, _ = surface.system(model)
        unit = len(system.data.coupling("train")) * model.training_draws
        with torch.no_grad():
            found = terms(system)[1:]
        off = [value / goal - 1 for value, goal in zip(found, (asked.R, asked.C), strict=True)]
        new = [
            value / goal - 1 for value, goal in zip(fresh(system), (asked.R, asked.C), strict=True)
        ]
        misses.append(max(map(abs, off)))
        unseen.append(max(map(abs, new)))
        took.append(spent / unit)

        def met(tried: Tried, asked: Any = asked) -> bool:
            return max(abs(tried.R / asked.R - 1), abs(tried.C / asked.C - 1)) <= MET

        ways = (None, RATES[-1])
        spans = [from_scratch(surface, run, (point.lam, point.gam), met, 0, r)[-1] for r in ways]
        alone.append([span.gradients for span in spans])
        print(
            f"{asked.R:7.3f} {asked.C:8.4f} {point.lam:7.3f} {point.gam:7.3f} "
            + " ".join(f"{x:8.2%}" for x in (*off, *new))
            + f" {took[-1]:10.1f} {alone[-1][0]:8} {alone[-1][1]:6}"
        )
    for name, values in (("on the map's own points", misses), ("on fresh ones", unseen)):
        print(f"within 2 % of both {name}: {sum(v <= MET for v in values)} of {targets}")
    scratch, adam = (sum(column) for column in zip(*alone, strict=True))
    print(
        f"gradients: {median(took):.1f} in the median, {sum(took):.0f} in all; from scratch by "
        f"L-BFGS {scratch}, share {sum(took) / scratch:.3f}; by Adam {adam}, share "
        f"{sum(took) / adam:.3f}"
    )


def main() -> None:
    """Map, and print what holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/surface_benchmark"))
    parser.add_argument("--nodes", type=int, default=10, help="of each axis, the first ones")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of the map")
    parser.add_argument("--sampled", type=int, default=5)
    parser.add_argument("--targets", type=int, default=10)
    arguments = parser.parse_args()
    run = mapped(arguments.root, arguments.nodes, arguments.set)
    surface = tp.Surface.load(run)
    print(table(check_surface(surface.nodes, read_csv(run / "path.csv"))))
    share, highest, where = surface.fit.curved()
    print(
        f"fit concave at {share:.1%} of 41 x 41 points; largest second derivative {highest:.2g} "
        f"nats per unit of log λ, log γ at {where.lam:.3g}, {where.gam:.3g}"
    )
    if arguments.sampled:
        cost(surface, run, arguments.sampled)
    if arguments.targets:
        on_demand(surface, run, arguments.targets)


if __name__ == "__main__":
    main()
