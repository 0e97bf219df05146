"""The undamped linear response of the exact Gaussian system against its closed form.

    python benchmarks/response_exact.py

The model of lightning_configs/exact_gaussian.yaml is put at the minimum of J that the closed form
knows, at points all over (λ, γ, t). Prints the largest deviation of the derivatives of R, D and C
by λ, γ and t, relative to the largest derivative there, for each solver.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from response_accuracy import built
from shipped_configs import shipped
from torch import Tensor

from thermo_pl.exact.gaussian import LinearGaussian
from thermo_pl.module import FreeEnergyModel
from thermo_pl.response.linear import ResponseSettings, linear_response
from thermo_pl.response.objective import Objective, Probe

POINTS = list(product((0.5, 1.0, 2.0), (1.0, 2.0, 4.0), (0.1, 0.3, 0.5, 0.7, 0.9)))
"""λ, γ and t; all of them have both latents active."""
BAR = 1e-8


def system() -> LinearGaussian:
    """The closed form that goes with the config."""
    config = shipped("exact_gaussian")
    data, model = config["data"]["init_args"], config["model"]["init_args"]

    def tensor(values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    return LinearGaussian(
        *map(tensor, data["covariances"]),
        tensor(data["label_map"]),
        tensor(data["label_noise"]),
        model["decoder"]["init_args"]["likelihood"]["init_args"]["variance"],
        model["classifier"]["init_args"]["variance"],
        model["encoder"]["init_args"]["latent_dim"],
    )


@torch.no_grad()
def place(model: FreeEnergyModel, exact: LinearGaussian, lam: float, gam: float, t: float) -> None:
    """Put the model at the minimum of J."""
    model.lam.fill_(lam)
    model.gam.fill_(gam)
    exact.optimum(lam, gam, t).put(model)


def main() -> None:
    """Compare at all points."""
    torch.set_default_dtype(torch.float64)
    model, pairs = built("exact_gaussian")
    exact = system()
    probe = Probe(pairs, model.noise(1, len(pairs.weight)))
    print(f"{len(POINTS)} points; largest deviation of nine derivatives (bar: {BAR:g})")
    for solver in ("minres", "dense"):
        settings = ResponseSettings(0.0, "hessian", 1e-13, 500, solver)
        worst = 0.0
        for point in POINTS:
            place(model, exact, *point)
            found = linear_response(Objective(model, probe), point[2], settings).slopes.tensor()
            expected = exact.derivatives(*point)
            gap = (found - expected).abs().max() / expected.abs().max()
            worst = max(worst, float(gap))
        print(f"{solver:<10}{worst:>12.1e}")


if __name__ == "__main__":
    main()
