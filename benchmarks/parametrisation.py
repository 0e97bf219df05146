"""How fast the model of carnot_digits.yaml relaxes: parametrisation, and memory of the optimiser.

The same networks with and without pixels whitened before the first layer, and with and without
axes of z that may turn. Each is brought to equilibrium on clean 5-9; then the data move a third of
the way to 0-4 at once and λ and γ with them, and the excess of J over its own minimum is taken
after so many evaluations of L-BFGS. The same way in eight steps, as a process goes it, shows what
the pairs that are kept from step to step are worth. About twelve minutes on one core.
"""

from __future__ import annotations

import argparse
import copy

import torch
from cycle_model import cycle_model, digits, training_particles
from torch import Tensor

from thermo_pl.datamodules import InterpolatedDataModule
from thermo_pl.module import FreeEnergyModel
from thermo_pl.optim import QuasiStaticLBFGS
from thermo_pl.particles import Batch, Particles, interpolate

START, MOVED = (0.0, 2.78, 3.0), (0.33, 3.0, 3.45)
"""t, λ, γ, as on the cold stroke of the cycle."""
CHECKS, ROUND = (100, 200, 400, 800), 20
LONG = 4_000
"""Evaluations after which J is taken for its minimum."""
STEPS, BUDGET = 8, 80
"""The way in steps, and the evaluations in each."""
MEMORIES = (40, 200, 600)
"""Pairs kept."""


def built(data: InterpolatedDataModule, whiten: bool, turning: bool) -> FreeEnergyModel:
    """A fresh model; the same weights in all four."""
    torch.manual_seed(0)
    model = cycle_model(whiten, samples=2, cubature_seed=0, turning=turning)
    if model.encoder.whitening is not None:
        model.encoder.whitening.learn(*data.image_moments())
    return model.double()


def optimiser(model: FreeEnergyModel, memory: int = 300) -> QuasiStaticLBFGS:
    """One that takes a round in each step, whatever it gains."""
    return QuasiStaticLBFGS(
        model.parameters(), max_iter=ROUND, rounds=1, gain=0.0, history_size=memory
    )


def relaxed(
    model: FreeEnergyModel, optimizer: QuasiStaticLBFGS, batch: Batch, checks: tuple[int, ...]
) -> list[float]:
    """J after so many evaluations, and no more than a round later."""
    count, values = 0, []

    def closure() -> Tensor:
        nonlocal count
        count += 1
        optimizer.zero_grad()
        value = model.training_step(batch, 0)
        value.backward()
        return value

    for check in checks:
        while count < check:
            optimizer.step(closure)
        values.append(float(closure().detach()))
    return values


def place(model: FreeEnergyModel, particles: Particles, where: tuple[float, ...]) -> Batch:
    """Move the controls; the data there."""
    t, lam, gam = where
    model.lam.fill_(lam)
    model.gam.fill_(gam)
    return interpolate(particles, t)


def jump(particles: Particles, model: FreeEnergyModel) -> list[float]:
    """J after each check of a relaxation that starts far from equilibrium, and its minimum."""
    relaxed(model, optimiser(model), place(model, particles, START), (LONG // 2,))
    return relaxed(model, optimiser(model), place(model, particles, MOVED), (*CHECKS, LONG))


def steps(particles: Particles, model: FreeEnergyModel, memory: int) -> float:
    """Excess of J at the end of a way in steps, the optimiser's pairs being kept."""
    optimizer = optimiser(model, memory)
    for share in torch.linspace(0, 1, STEPS + 1)[1:].tolist():
        where = tuple(a + (b - a) * share for a, b in zip(START, MOVED, strict=True))
        batch = place(model, particles, where)
        (value,) = relaxed(model, optimizer, batch, (BUDGET,))
    return value - relaxed(model, optimiser(model), batch, (LONG,))[0]


def parametrisations(data: InterpolatedDataModule) -> None:
    """The four, each after a jump."""
    particles = training_particles(data)
    heads = "".join(f"{f'after {check}':>12}" for check in CHECKS)
    print(f"{'excess of J, nats':<22}{heads}{'minimum':>12}", flush=True)
    for whiten in (False, True):
        for turning in (False, True):
            *values, least = jump(particles, built(data, whiten, turning))
            names = [name for name, on in (("whitened", whiten), ("turning", turning)) if on]
            excess = "".join(f"{value - least:>12.5f}" for value in values)
            print(f"{' and '.join(names) or 'plain':<22}{excess}{least:>12.5f}", flush=True)


def memories(data: InterpolatedDataModule) -> None:
    """The model of the config in steps, with each memory."""
    particles, model = training_particles(data), built(data, whiten=True, turning=True)
    relaxed(model, optimiser(model), place(model, particles, START), (LONG,))
    for memory in MEMORIES:
        excess = steps(particles, copy.deepcopy(model), memory)
        print(f"{f'{memory} pairs, {STEPS} x {BUDGET}':<22}{excess:>12.5f}", flush=True)


def main() -> None:
    """Run what is asked for."""
    parts = {"parametrisation": parametrisations, "memory": memories}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    chosen = parser.parse_args().parts
    torch.set_num_threads(1)
    data = digits([5, 7, 8, 9, 6], [0, 1, 2, 3, 4])
    for name in chosen:
        parts[name](data)


if __name__ == "__main__":
    main()
