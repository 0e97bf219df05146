"""Is C on the points that a model trains on the true C? Rules for e(z|x), side by side.

    python benchmarks/cubature.py

For each rule the model of lightning_configs/carnot_digits.yaml is brought to the equilibrium of J
on frozen points, on clean digits 0-4, by L-BFGS. Then C is taken on those points, and on fresh
draws.
"""

from __future__ import annotations

import argparse
import math

import torch
from cycle_model import K, cycle_model, digits, training_particles
from torch import Tensor

from thermo_pl.networks.cubature import turned_cubature
from thermo_pl.optim import QuasiStaticLBFGS
from thermo_pl.response.measurement import classification_draws
from thermo_pl.response.objective import Objective, Probe

FRESH = 640


def rules(n: int) -> dict[str, Tensor]:
    """Frozen points for n particles, by name; float64, shape (points, n, K)."""
    generator = torch.Generator().manual_seed(5)
    draws = torch.randn(16, n, K, generator=generator, dtype=torch.float64)
    turned = turned_cubature(n, K, 0)
    directions = turned / turned.norm(dim=-1, keepdim=True)
    # two radii that give |z|² and |z|⁴ their means
    radii = torch.tensor([K - math.sqrt(2 * K), K + math.sqrt(2 * K)]).sqrt()
    return {
        "4 independent draws": draws[:4],
        "8 antithetic draws": torch.cat([draws[:4], -draws[:4]]),
        "16 independent draws": draws,
        "16 points, |z|² = k": math.sqrt(K) * directions[: 2 * K],
        "32 points, two radii": radii.repeat_interleave(2 * K)[:, None, None] * directions,
        "32 points, radii spread": turned,
        "64 points, radii spread": turned_cubature(n, K, 0, count=2),
    }


def equilibrium(probe: Probe, lam: float, gam: float) -> Objective:
    """The model at the minimum of J on the probe."""
    torch.manual_seed(0)
    model = cycle_model(lam=lam, gam=gam).double()
    objective = Objective(model, probe)
    optimizer = QuasiStaticLBFGS(model.parameters(), max_iter=100, rounds=1, history_size=100)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = objective.value(objective.means(list(objective.named.values()), 0.0))
        value.backward()
        return value

    for _ in range(8):
        optimizer.step(closure)
    return Objective(model, probe)


def main() -> None:
    """Run all rules."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lam", type=float, default=3.0)
    parser.add_argument("--gam", type=float, default=2.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    particles = training_particles(digits([0, 1, 2, 3, 4]))
    n = len(particles.weight)
    generator = torch.Generator().manual_seed(7)
    fresh = Probe(particles, torch.randn(FRESH, n, K, generator=generator, dtype=torch.float64))
    print(f"{'trained on':<24}{'J':>10}{'C there':>10}{'C true':>10}{'error':>9}", flush=True)
    for name, points in rules(n).items():
        objective = equilibrium(Probe(particles, points), arguments.lam, arguments.gam)
        means = objective.means(objective.theta, 0.0)
        true = classification_draws(objective.model, fresh, 0.0)
        print(
            f"{name:<24}{float(objective.value(means)):>10.4f}{float(means[2]):>10.4f}"
            f"{float(true.mean()):>10.4f}{float(true.std()) / FRESH**0.5:>9.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
