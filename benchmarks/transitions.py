"""Transitions: where latents switch on, with which exponent; and one of first order.

    python benchmarks/transitions.py
    python benchmarks/transitions.py --digits runs/transitions_digits
    python benchmarks/transitions.py --run runs/surface_benchmark/version_0

1. Second order. A linear network on Gaussian data is mapped along λ at γ = 0; λ_c, the exponent and
   the jump of D_λ are fitted to its nodes, beside the closed form: λ_c = σ²/τ, ½ and -1/(2λ_c²).
2. First order. One latent, and labels that see the direction of less variance: as γ rises the
   latent turns from one direction to the other, and D, C jump at the same R. A walk there and back,
   beside the closed form.
3. With ``--digits`` the model of surface_digits.yaml walks along λ at γ = 0.5, there and back, by
   steps of 5 %; the run is read if it is there. The same fit to its latents, with the error of the
   fit, and how far both ways differ.
4. With ``--run`` the same fit to each γ of any map.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from kept_runs import gone_on
from shipped_configs import shipped

import thermo_pl as tp
from thermo_pl.datamodules import GaussianDomains
from thermo_pl.exact.gaussian import LinearGaussian
from thermo_pl.files import read_csv
from thermo_pl.networks import Gaussian, GaussianClassifier, LinearGaussianEncoder
from thermo_pl.particles import interpolate
from thermo_pl.path.columns import Row
from thermo_pl.process import Nodes, SurfaceRule
from thermo_pl.response.measurement import latent_rates
from thermo_pl.surface.checks import check_surface, table
from thermo_pl.surface.transitions import round_trip, switches

DIGITS = (0.8, 2.8, 1.05)
"""Lowest λ of the digits, highest, and from one to the next."""
VARIANCES, SIGMA = (4.0, 2.5, 1.6), 0.5
LABEL, RHO, NOISE = 2.0, 0.5, 0.1
FIRST = (4.0, 1.0)
"""Variances of x in the first-order case; labels are :data:`LABEL` times the second, and noise."""


def walked(system: tp.System, nodes: Nodes, passes: int) -> list[Row]:
    """Rows of a map, each with the rates of the latents."""
    settings = tp.Settings(
        tp.Equilibration(stationarity=1e-9, max_epochs=40, check_every=1),
        response=tp.ResponseSettings(1e-6, "hessian", 1e-6, 300),
        on_transition="continue",
    )
    rule = SurfaceRule(nodes, passes, gain=1e-8, revisits=0.0)
    process = tp.Continuation(system, rule, settings, seed=0)
    rows = []
    for result in process.run(process.start(), tp.Relaxation(system, 2, None)):
        batch = interpolate(system.data.coupling("train").all(), system.data.t)
        rates = latent_rates(system.networks, batch)
        rows.append((result.row or {}) | {f"rate_{i}": rate for i, rate in enumerate(rates, 1)})
    return rows


def system_of(variances: tuple[float, ...], latents: int, labels: bool, start: Nodes) -> tp.System:
    """A linear network on Gaussian data."""
    torch.manual_seed(0)
    size = len(variances)
    label_map = [[0.0] * (size - 1) + [LABEL], [0.0] * size]  # the second one is noise alone
    covariance = torch.diag(torch.tensor(variances)).tolist()
    data = GaussianDomains([covariance], label_map, [[NOISE, 0.0], [0.0, NOISE]], train_batches=1)
    data.prepare_data()
    data.setup("fit")
    shape = [1, 1, size]
    lam, gam = start.places[0]
    networks = tp.Networks(
        LinearGaussianEncoder(shape, latents),
        GaussianClassifier(latents, 2, RHO, label_noise=2 * NOISE) if labels else None,
        tp.MLPDecoder(shape, latents, [], Gaussian(SIGMA)),
        tp.StandardNormal(latents),
        lam=lam,
        gam=gam,
    ).double()
    optimizer = partial(
        torch.optim.LBFGS,
        max_iter=300,
        history_size=60,
        tolerance_grad=1e-10,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )
    return tp.System(networks, data, optimizer(networks.parameters()))


def second_order(count: int) -> None:
    """Switches of a linear network, beside the closed form."""
    nodes = Nodes.grid(np.geomspace(0.6, 0.1, count).tolist(), [0.0])
    rows = walked(system_of(VARIANCES, 3, False, nodes), nodes, 1)
    print(f"second order: {len(rows)} nodes along λ, at γ = 0")
    header = ("latent", "λ_c", "theory", "exponent", "jump of D_λ", "theory")
    print("{:>6} {:>10} {:>8} {:>20} {:>12} {:>8}".format(*header))
    for switch in switches(rows):
        theory = SIGMA / VARIANCES[switch.latent - 1]
        exponent = f"{switch.exponent.value:.5f} ± {switch.exponent.error:.1g}"
        print(
            f"{switch.latent:6} {switch.lam.value:10.5f} {theory:8.4f} {exponent:>20} "
            f"{switch.jump:12.3f} {-1 / (2 * theory**2):8.3f}"
        )


def first_order(count: int) -> None:
    """A latent that turns from one direction to the other, there and back."""
    # ν of both directions: λ τ_1/σ² and λ τ_2/σ² + γ LABEL² τ_2/ρ²
    lam = 1.0
    critical = lam * (FIRST[0] - FIRST[1]) / SIGMA * RHO / (LABEL**2 * FIRST[1])
    nodes = Nodes.along([[lam, critical * x] for x in np.linspace(0.8, 1.2, count)])
    rows = walked(system_of(FIRST, 1, True, nodes), nodes, 2)
    found = round_trip(rows)
    covariance = torch.diag(torch.tensor(FIRST, dtype=torch.float64))
    labels = torch.tensor([[0.0, LABEL], [0.0, 0.0]], dtype=torch.float64)
    noise = NOISE * torch.eye(2, dtype=torch.float64)
    exact = LinearGaussian(covariance, None, labels, noise, SIGMA, RHO, 1)
    below, above = (exact.state(lam, critical * x) for x in (1 - 1e-9, 1 + 1e-9))
    print(f"\nfirst order: {len(rows)} visits along γ, there and back, at λ = {lam:g}")
    for name, value, theory in (
        ("γ on the way up", found.up, critical),
        ("γ on the way down", found.down, critical),
        ("latent heat γ ΔC, nats", found.heat, critical * (above.C - below.C)),
        ("ΔC, nats", found.loss, above.C - below.C),
        ("ΔD, nats", found.distortion, above.D - below.D),
        ("ΔR, nats", found.rate, above.R - below.R),
        ("area of the hysteresis, nats", found.area, 0.0),
    ):
        print(f"{name:<30} {value:9.4f}  theory {theory:9.4f}")


def digits_line(root: Path) -> Path:
    """The run directory of the digits along λ."""
    low, high, ratio = DIGITS
    lam = [round(low * ratio**k, 4) for k in range(int(np.log(high / low) / np.log(ratio)) + 1)]
    config = shipped("surface_digits")
    config["model"]["init_args"]["lam"] = lam[0]
    config["trainer"]["callbacks"][-1]["init_args"] |= {"lam": lam, "gam": [0.5]}
    return gone_on(root, config)


def of_map(run: Path) -> None:
    """Switches at each γ of a map."""
    nodes = tp.Surface.load(run).nodes
    print()
    print(table(check_surface(nodes, read_csv(run / "path.csv"))))
    print(
        f"{'γ':>8} {'latent':>6} {'λ_c':>16} {'exponent':>16} {'amplitude':>10} {'jump of D_λ':>12}"
    )
    for gam in sorted({row["gamma"] for row in nodes}):
        for switch in switches([row for row in nodes if row["gamma"] == gam]):
            values = (f"{x.value:.3f} ± {x.error:.2g}" for x in (switch.lam, switch.exponent))
            told = " ".join(f"{value:>16}" for value in values)
            print(
                f"{gam:8.3g} {switch.latent:6} {told} {switch.amplitude:10.3f} {switch.jump:12.3f}"
            )


def main() -> None:
    """All of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=24)
    parser.add_argument("--digits", type=Path, help="where the run on digits lies, or will lie")
    parser.add_argument("--run", type=Path, help="the run directory of a map")
    arguments = parser.parse_args()
    second_order(arguments.nodes)
    first_order(arguments.nodes // 4 * 2)  # an even number: none at the transition itself
    if arguments.digits is not None:
        of_map(digits_line(arguments.digits))
    if arguments.run is not None:
        of_map(arguments.run)


if __name__ == "__main__":
    main()
