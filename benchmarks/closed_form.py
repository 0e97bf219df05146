"""What the closed form of D saves on the model of carnot_digits.yaml.

D of a linear decoder with Gaussian pixels, from the mean and the variance of e(z|x), beside the
mean over decoded points with the same moments, ±√k s_j e_j: one gradient of J and one Gauss-Newton
product for four right-hand sides, in turns in one process.

    python benchmarks/closed_form.py --threads 1
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from cycle_model import K, cycle_model, digits, training_particles
from torch import Tensor
from turns import in_turns

from thermo_pl.networks import MLPDecoder, Networks
from thermo_pl.particles import Particles
from thermo_pl.response.curvature import gauss_newton
from thermo_pl.response.objective import Objective, Probe
from thermo_pl.response.partials import gradient_of

REPEATS = 20
T = 0.3


class Unknown(MLPDecoder):
    """The same decoder, not known to be linear: D is a mean over draws."""

    def forward(self, z: Tensor) -> Tensor:
        """Decode."""
        return super().forward(z)


def both() -> tuple[Networks, Networks]:
    """The model with the closed form, and without, at the same weights."""
    torch.manual_seed(0)
    closed, drawn = cycle_model().double(), cycle_model()
    drawn.decoder = Unknown([1, 8, 8], K, [], closed.decoder.likelihood)
    drawn.load_state_dict(closed.state_dict())
    return closed, drawn.double()


def works(model: Networks, probe: Probe) -> dict[str, Callable[[], Tensor]]:
    """What is timed."""
    objective = Objective(model, probe)
    product = gauss_newton(objective, T)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(4, len(objective.theta), generator=generator, dtype=torch.float64)
    return {
        "a gradient": lambda: gradient_of(objective, T),
        "four Gauss-Newton products": lambda: product(rows),
    }


def main() -> None:
    """Time both in turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    particles: Particles = training_particles(digits([0, 1, 2, 3, 4], [5, 7, 8, 9, 6]))
    axes = torch.eye(K, dtype=torch.float64) * K**0.5
    noise = torch.cat([axes, -axes])[:, None].expand(-1, len(particles.weight), -1)
    closed, drawn = (works(model, Probe(particles, noise)) for model in both())
    print(f"{len(particles.weight)} particles, {2 * K} points, {torch.get_num_threads()} threads")
    for name in closed:
        gap = (closed[name]() - drawn[name]()).abs().max() / drawn[name]().abs().max()
        seconds = in_turns({"points": drawn[name], "closed": closed[name]}, REPEATS)
        at_points, in_closed_form = (seconds[which] * 1e3 for which in ("points", "closed"))
        print(
            f"{name:<28} at points {at_points:7.1f} ms, closed {in_closed_form:7.1f} ms: "
            f"{at_points / in_closed_form:.1f} times faster, relative difference {float(gap):.0e}"
        )


if __name__ == "__main__":
    main()
