"""The linear response of shipped models against relaxations that really took place.

    python benchmarks/response_accuracy.py
    python benchmarks/response_accuracy.py --config transfer_mnist --particles 2048

The model of a config (iso_digits by default) is brought to equilibrium at its (λ, γ) and t = 0.1.
Then λ, γ or t is moved a little to either side, and Adam relaxes as a macro-step does: the config's
batches, fresh noise, the learning rate annealed to zero. Central differences of C and D over these
pairs are what is true of a relaxation of this length. Both sides share the noise of the relaxation
and that of the measuring probe; the error is over seeds. Beside them the predictions, with a
damping of 0.5 and with that of the relaxation itself, how far off they are, and what they cost in
gradients of the probe.
"""

from __future__ import annotations

import argparse
import math
import time
from copy import deepcopy
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser
from shipped_configs import shipped
from torch import Tensor

import thermo_pl.datamodules  # ruff: ignore[unused-import]
import thermo_pl.networks  # ruff: ignore[unused-import]
from thermo_pl.module import FreeEnergyModel
from thermo_pl.particles import Particles, interpolate
from thermo_pl.response.damping import damping_effect, relaxation_damping
from thermo_pl.response.fluctuation import fluctuation_response
from thermo_pl.response.linear import Response, ResponseSettings, linear_response
from thermo_pl.response.measurement import measure
from thermo_pl.response.objective import Objective, Probe
from thermo_pl.response.slopes import Slopes

T = 0.1
MOVED, MOVED_T = 0.1, 0.05
"""How far a control is moved, to either side: a share of λ and of γ, and of the leg."""
SHOWN = {"C_lambda": "C.lam", "C_gamma": "C.gam", "C_t": "C.t", "D_lambda": "D.lam", "D_t": "D.t"}


class Pace(NamedTuple):
    """How a config relaxes: Adam's learning rate, and the size of its batches."""

    rate: float
    batch: int


def pace_of(config: dict[str, Any]) -> Pace:
    """What the config says."""
    rate = config["model"]["init_args"]["optimizer"]["init_args"]["lr"]
    return Pace(rate, config["data"]["init_args"]["batch_size"])


def built(config: dict[str, Any], particles: int | None) -> tuple[FreeEnergyModel, Particles]:
    """A config's model, whitened if it asks for that, and pairs of its first leg: all, or some."""
    parser = ArgumentParser()
    parser.add_subclass_arguments(FreeEnergyModel, "model")
    parser.add_subclass_arguments(pl.LightningDataModule, "data")
    torch.manual_seed(0)
    made = parser.instantiate(parser.parse_object({k: config[k] for k in ("model", "data")}))
    made.data.setup()
    if made.model.encoder.whitening is not None:
        made.model.encoder.whitening.learn(*made.data.image_moments())
    coupling = made.data.coupling("train")
    if particles is None or particles >= len(coupling):
        return made.model, coupling.all()
    return made.model, coupling.draw(particles, torch.Generator().manual_seed(2))


def relax(
    model: FreeEnergyModel,
    pairs: Particles,
    optimizer: torch.optim.Optimizer,
    t: float,
    steps: int,
    rate: float,
    seed: int,
    batch: int,
) -> None:
    """Train on drawn pairs and fresh noise, the learning rate falling to zero like a cosine."""
    generator = torch.Generator().manual_seed(seed)
    data = interpolate(pairs, t)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        index = torch.multinomial(pairs.weight, batch, replacement=True, generator=generator)
        x, y = data.x[index], data.y[index]
        rate_, distortion, loss = model.terms(model(x, model.noise(1, batch, generator)), x, y)
        optimizer.zero_grad()
        (rate_ + model.lam * distortion + model.gam * loss).mean().backward()
        optimizer.step()


def probe_of(model: FreeEnergyModel, pairs: Particles, samples: int, seed: int) -> Probe:
    """All pairs, with noise."""
    generator = torch.Generator().manual_seed(seed)
    return Probe(pairs, model.noise(samples, len(pairs.weight), generator))


def adam(model: FreeEnergyModel) -> torch.optim.Optimizer:
    """The configs' optimiser; each relaxation sets its learning rate."""
    return torch.optim.Adam(model.parameters(), fused=True)


class Relaxations:
    """Central differences between relaxed equilibria."""

    def __init__(
        self,
        model: FreeEnergyModel,
        pairs: Particles,
        optimizer: torch.optim.Optimizer,
        pace: Pace,
    ) -> None:
        """Start from this equilibrium and this state of the optimiser."""
        self.model, self.pairs, self.pace = model, pairs, pace
        self.start = deepcopy(model.state_dict()), deepcopy(optimizer.state_dict())
        self.probe = probe_of(model, pairs, 128, 77)

    def end(self, control: str, size: float, steps: int, seed: int) -> Tensor:
        """R, D and C after a relaxation at a control that was moved."""
        model, optimizer = self.model, adam(self.model)
        model.load_state_dict(self.start[0])
        optimizer.load_state_dict(deepcopy(self.start[1]))
        if control != "t":
            getattr(model, {"lambda": "lam", "gamma": "gam"}[control]).add_(size)
        t = T + size * (control == "t")
        relax(model, self.pairs, optimizer, t, steps, self.pace.rate, seed, self.pace.batch)
        found = measure(model, self.probe, t, 16)
        model.load_state_dict(self.start[0])
        terms = found.rate, found.distortion, found.classification
        return torch.tensor([term.value for term in terms], dtype=torch.float64)

    def slopes(self, steps: int, seeds: int) -> tuple[Slopes, Slopes]:
        """The slopes of R, D and C, and their standard errors."""
        lam, gam = float(self.model.lam), float(self.model.gam)
        moved = {"lambda": MOVED * lam, "gamma": MOVED * gam, "t": MOVED_T}
        runs = []
        for seed in range(seeds):
            columns = [
                (self.end(name, h, steps, seed) - self.end(name, -h, steps, seed)) / (2 * h)
                for name, h in moved.items()
            ]
            runs.append(torch.stack(columns, 1))
        each = torch.stack(runs)
        return Slopes.of(each.mean(0)), Slopes.of(each.std(0) / math.sqrt(seeds))


def line(name: str, values: Slopes, note: str, truth: Slopes | None = None) -> None:
    """One row of the table."""
    cells = []
    for value in map(attrgetter, SHOWN.values()):
        off = "" if truth is None else f" {value(values) / value(truth) - 1:+.0%}"
        cells.append(f"{value(values):>9.4f}{off:>6}")
    print(f"{name:<32}" + "".join(cells) + f"  {note}", flush=True)


def told(found: Response) -> str:
    """What a solve cost, and how it ended."""
    return f"{found.gradients} gradients; {found.solution.message[:40]}"


def main() -> None:
    """Equilibrate, relax, predict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="iso_digits", help="a shipped one that uses Adam")
    parser.add_argument("--particles", type=int, help="of the data; all if not given")
    parser.add_argument("--equilibration", type=int, default=12, help="rounds of 15,000 steps")
    parser.add_argument("--state", type=Path, help="keeps the equilibrium; read if it is there")
    parser.add_argument("--steps", type=int, nargs="+", default=[150, 600], help="of a relaxation")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--rotations", type=int, default=1, help="of the solving probe's cubature")
    parser.add_argument("--iterations", type=int, default=200)
    arguments = parser.parse_args()
    config = shipped(arguments.config)
    pace = pace_of(config)
    model, pairs = built(config, arguments.particles)
    begun = time.monotonic()
    if arguments.state and arguments.state.exists():
        model.load_state_dict(torch.load(arguments.state))
    else:
        for round_ in range(arguments.equilibration):
            relax(
                model, pairs, adam(model), T, 15_000, pace.rate / 2, 1_000 + round_, 2 * pace.batch
            )
        if arguments.state:
            torch.save(model.state_dict(), arguments.state)
    optimizer = adam(model)
    relax(
        model, pairs, optimizer, T, 2_000, 0.0, 1, pace.batch
    )  # only to learn the noise of the gradient
    count = sum(p.numel() for p in model.parameters())
    print(f"{count} parameters, {len(pairs.weight)} pairs; λ {model.lam:g}, γ {model.gam:g}, t {T}")
    print(f"equilibrated after {time.monotonic() - begun:.0f} s")
    print(f"{'':<32}" + "".join(f"{name:>15}" for name in SHOWN), flush=True)
    truths = Relaxations(model, pairs, optimizer, pace)
    points = model.cubature(arguments.rotations, len(pairs.weight), 5)
    objective = Objective(model, Probe(pairs, points))
    for steps in arguments.steps:
        truth, error = truths.slopes(steps, arguments.seeds)
        line(f"relaxed, {steps} steps", truth, f"{time.monotonic() - begun:.0f} s")
        line("  standard error", error, f"over {arguments.seeds} seeds")
        damping = relaxation_damping(model, optimizer, pace.rate * steps / 2)
        for curvature, solver in (("gauss_newton", "conjugate_gradient"), ("hessian", "minres")):
            rest = curvature, 1e-2, arguments.iterations, solver
            found = linear_response(objective, T, ResponseSettings(0.5, *rest))
            line(f"{curvature}, 0.5", found.slopes, told(found), truth)
            effect = damping_effect(objective, T, ResponseSettings("auto", *rest), damping)
            single, double = effect.single, effect.double
            line(f"{curvature}, auto", single.slopes, told(single), truth)
            line("  damping twice that", double.slopes, told(double), truth)
            both = f"{single.gradients + double.gradients} gradients"
            line("  extrapolated", effect.extrapolated, both, truth)
        found = fluctuation_response(model, probe_of(model, pairs, 64, 6), T, biased=True)
        line("covariances under e(z|x)", found.slopes, f"biased: {found.bias}", truth)
    print(f"{time.monotonic() - begun:.0f} s in all")


if __name__ == "__main__":
    main()
