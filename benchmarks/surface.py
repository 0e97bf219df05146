"""The map of the digits: its laws, its cost beside training from scratch, and models on demand.

    python benchmarks/surface.py
    python benchmarks/surface.py --root runs/surface_benchmark --sampled 5 --targets 10

Maps the 10 x 10 nodes of surface_digits.yaml, or reads the map if it is there; a map that was cut
goes on. Then it prints

- the laws at the nodes: how many keep each, the median, the worst and where it is;
- what a visit takes, in seconds and in gradients of one image and one point of the cubature, beside
  training from scratch at sampled nodes with the same optimiser, from three random starts, to J
  within 0.5 % of the map's and to 0.01 %. Solves count as gradients;
- ``model_at`` for random targets (R, C) inside the surface: how far R and C of the model are off,
  on rotations of the cubature that neither training nor the map has seen, and what it took.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from kept_runs import gone_on
from shipped_configs import shipped

import thermo_pl as tp
from thermo_pl.files import read_csv
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks.training import training_loss
from thermo_pl.optim import QuasiStaticLBFGS
from thermo_pl.particles import interpolate
from thermo_pl.process import Relaxation, System
from thermo_pl.response.measurement import measure
from thermo_pl.runs.trained import built
from thermo_pl.surface.checks import check_surface, table

CLOSE = (5e-3, 1e-4)
"""Shares of J to which training from scratch comes."""
STARTS = 3
ROTATIONS = 8


def mapped(root: Path, nodes: int) -> Path:
    """The run directory of the map; it is begun, or gone on with, where it is not whole."""
    config = shipped("surface_digits")
    process = config["trainer"]["callbacks"][-1]["init_args"]
    process |= {axis: process[axis][:nodes] for axis in ("lam", "gam")}
    return gone_on(root, config)


@torch.no_grad()
def terms(system: System) -> tuple[float, float, float]:
    """J, R and C on the points that the model trains on."""
    batch = interpolate(system.data.coupling("train").all(), system.data.t)
    networks = system.networks
    batch = type(batch)(*(part.to(networks.device, networks.dtype) for part in batch))
    loss, (rate, _, classification) = training_loss(networks, batch)
    weight = batch.weight / batch.weight.sum()
    return float(loss), float(rate @ weight), float(classification @ weight)


@torch.no_grad()
def fresh(system: System) -> tuple[float, float]:
    """R and C on rotations that training never saw, as the map measures them, but others."""
    networks, particles = system.networks, system.data.coupling("train").all()
    noise = networks.cubature(ROTATIONS, len(particles.weight), seed=99)
    moved = type(particles)(*(part.to(networks.device, noise.dtype) for part in particles))
    found = measure(networks, tp.Probe(moved, noise, networks.cubature_points), 0.0, 2)
    return found.rate.value, found.classification.value


def from_scratch(
    surface: tp.Surface, run: Path, index: int, seed: int
) -> list[tuple[float, float]]:
    """Seconds and gradients until J is within each of :data:`CLOSE` of that of a node."""
    node = surface.nodes[index]
    goal = terms(surface.system(surface.node(index))[0])[0]
    torch.manual_seed(seed)
    model = built(run, "model", FreeEnergyModel).double()
    system, _ = surface.system(model)
    if model.encoder.whitening is not None:
        model.encoder.whitening.learn(*system.data.image_moments())  # type: ignore[attr-defined]
    model.lam.fill_(node["lambda"])
    model.gam.fill_(node["gamma"])
    # short rounds, to see when it is there
    optimizer = QuasiStaticLBFGS(model.parameters(), max_iter=3, rounds=1, history_size=300)
    system = replace(system, optimizer=optimizer)
    relax, found, spent, seconds = Relaxation(system, 1, None), [], 0, 0.0
    for _ in range(400):
        start = time.monotonic()
        spent += relax(0, 1).gradients
        seconds += time.monotonic() - start
        off = terms(system)[0] / goal - 1
        while len(found) < len(CLOSE) and off <= CLOSE[len(found)]:
            found.append((seconds, spent))
        if len(found) == len(CLOSE):
            return found
    return found + (len(CLOSE) - len(found)) * [(float("nan"), float("nan"))]


def cost(surface: tp.Surface, run: Path, sampled: int) -> None:
    """What the map took for a node, beside training from scratch at some."""
    rows = read_csv(run / "path.csv")
    count = len(surface.nodes)
    seconds, gradients = (sum(float(row[n] or 0) for row in rows) for n in ("seconds", "gradients"))
    print(f"\nmap: {count} nodes, {len(rows)} visits, {seconds:.0f} s, {gradients:.3g} gradients")
    chosen = np.random.default_rng(0).choice(count, sampled, replace=False)
    tried = [from_scratch(surface, run, int(i), seed) for i in chosen for seed in range(STARTS)]
    for number, close in enumerate(CLOSE):
        took = [run_[number] for run_ in tried]
        middle = [float(np.nanmean([one[k] for one in took])) for k in (0, 1)]
        lost = sum(np.isnan(one[0]) for one in took)
        print(
            f"from scratch to {close:.2%} of J: {middle[0]:.2f} s, {middle[1]:.3g} gradients a node"
            f" ({lost} of {len(took)} starts never came there); the map took "
            f"{seconds / count / middle[0]:.2f} of the time and "
            f"{gradients / count / middle[1]:.2f} of the gradients"
        )


def on_demand(surface: tp.Surface, targets: int) -> None:
    """Models at random (R, C), and how far they are off."""
    generator, misses, took = np.random.default_rng(1), [], []
    grid = surface.fit.grid(400)
    print(f"\n{'R':>8} {'C':>8} {'λ':>8} {'γ':>8} {'R off':>8} {'C off':>8} {'gradients':>10}")
    for place in grid[generator.choice(len(grid), targets, replace=False)]:
        asked = surface(*place)
        point = surface.at(R=asked.R, C=asked.C)
        model, gradients = surface.model_at(point.lam, point.gam)
        rate, loss = fresh(surface.system(model)[0])
        off = rate / asked.R - 1, loss / asked.C - 1
        misses.append(max(map(abs, off)))
        took.append(gradients)
        print(
            f"{asked.R:8.3f} {asked.C:8.4f} {point.lam:8.3f} {point.gam:8.3f} {off[0]:8.2%} "
            f"{off[1]:8.2%} {gradients:10.3g}"
        )
    within = sum(miss <= 0.02 for miss in misses)
    print(f"within 2 %: {within} of {targets}; median {median(took):.3g} gradients")


def main() -> None:
    """Map, and print what holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/surface_benchmark"))
    parser.add_argument("--nodes", type=int, default=10, help="of each axis, the first ones")
    parser.add_argument("--sampled", type=int, default=5)
    parser.add_argument("--targets", type=int, default=10)
    arguments = parser.parse_args()
    run = mapped(arguments.root, arguments.nodes)
    surface = tp.Surface.load(run)
    print(table(check_surface(surface.nodes, read_csv(run / "path.csv"))))
    share, highest, where = surface.fit.curved()
    print(
        f"fit concave at {share:.1%} of 41 x 41 points; largest second derivative {highest:.2g} "
        f"nats per unit of log λ, log γ at {where.lam:.3g}, {where.gam:.3g}"
    )
    cost(surface, run, arguments.sampled)
    on_demand(surface, arguments.targets)


if __name__ == "__main__":
    main()
