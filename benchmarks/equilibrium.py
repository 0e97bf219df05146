"""How far J still falls where the Newton decrement is small: what a stop rule can go by.

    python benchmarks/equilibrium.py
    python benchmarks/equilibrium.py --case mnist_mlp_1 --rates 0.001 0.005 --epochs 40

A case of gauntlet.py is relaxed at t = 0 by Adam, its learning rate falling to zero in each epoch
of 100 batches of 64, from several first rates and for several numbers of epochs. J and C are those
of all particles on a cubature that training never saw; the decrement is that of the default
response, on 2,048 particles and a witness.
"""

from __future__ import annotations

import argparse

import torch
from gauntlet import CASES
from response_accuracy import adam, built, relax

from thermo_pl.particles import Particles
from thermo_pl.response.linear import ResponseSettings, linear_response
from thermo_pl.response.measurement import measure
from thermo_pl.response.objective import Objective, Probe

BATCHES, BATCH = 100, 64


def main() -> None:
    """Relax, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default="digits_even_odd", choices=list(CASES))
    parser.add_argument("--rates", nargs="+", type=float, default=[0.001, 0.005, 0.02])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--every", type=int, default=20, help="epochs between two lines")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'rate':>7}{'epochs':>8}{'J':>9}{'R':>8}{'D':>9}{'C':>9}{'error':>9}{'decrement':>11}")
    for rate in arguments.rates:
        model, pairs = built(CASES[arguments.case](), None)
        optimizer = adam(model)
        some = min(2048, len(pairs.weight))
        points = model.cubature(2, some, 3)
        whole = Probe(drawn(pairs, some, 1), points, model.cubature_points)
        for epoch in range(1, arguments.epochs + 1):
            relax(model, pairs, optimizer, 0.0, BATCHES, rate, epoch, BATCH)
            if epoch % arguments.every:
                continue
            probes = [
                Probe(drawn(pairs, some, seed), model.noise(1, some))
                for seed in (2 * epoch, 2 * epoch + 1)
            ]
            solving, witness = (Objective(model, probe) for probe in probes)
            found = linear_response(solving, 0.0, ResponseSettings(), witness)
            state = measure(model, whole, 0.0, model.cubature_points)
            print(
                f"{rate:>7g}{epoch:>8}{state.free_energy.value:>9.3f}{state.rate.value:>8.3f}"
                f"{state.distortion.value:>9.3f}{state.classification.value:>9.5f}"
                f"{state.classification.error:>9.5f}{found.stationarity:>11.3f}",
                flush=True,
            )


def drawn(pairs: Particles, count: int, seed: int) -> Particles:
    """All pairs, or some of them by their mass."""
    if count >= len(pairs.weight):
        return pairs
    generator = torch.Generator().manual_seed(seed)
    index = torch.multinomial(pairs.weight, count, replacement=True, generator=generator)
    chosen = Particles(*(part[index] for part in pairs))
    return chosen._replace(weight=torch.ones_like(chosen.weight))


if __name__ == "__main__":
    main()
