"""The first law on the digits, and how its residual depends on the step size.

    python benchmarks/first_law.py
    THERMO_PL_DATA=... python benchmarks/first_law.py --tries as_shipped at_rest

Runs lightning_configs/iso_digits.yaml for seeds 0, 1 and 2, and for seed 0 with half and with twice
as many macro-steps at the same relaxation in each. Prints the median over the steps of the residual
|ΔR + λΔD + γΔC - ∫∂_tJ dt| relative to |ΔR| + λ|ΔD| + γ|ΔC|, the signed sum of the residuals, the
total dissipation (the sum of the relaxations) and their standard errors over noise draws. On
lightning_configs/exact_gaussian.yaml, where relaxation is complete, the same columns show the order
in the step size alone.

With ``--tries`` it is lightning_configs/transfer_mnist.yaml at seed 0 with one thing changed: what
keeps a path on MNIST from being reversible. Runs lie below ``--root``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from kept_runs import summary_of, timed
from shipped_configs import shipped

from thermo_pl.files import read_csv
from thermo_pl.path.segments import drift, relative_first_law_residual
from thermo_pl.reports.summary import moving

HEADER = (
    f"{'config':<16}{'seed':>5}{'steps':>7}{'residual':>11}{'sum [nats]':>20}"
    f"{'dissipation [nats]':>22}{'seconds':>9}"
)


TRIES: dict[str, dict[str, Any]] = {
    "as_shipped": {},
    "at_rest": {"equilibration": {"stationarity": "auto", "max_epochs": 120, "check_every": 4}},
    "rest": {"relaxation": "auto"},
    "finer": {"steps": 24},
    "shortcut": {"protocol": "shortcut", "drives": 2},
    "hessian_auto": {
        "response": {
            "damping": "auto",
            "curvature": "hessian",
            "solver": "minres",
            "max_iterations": 60,
        }
    },
    "more_particles": {"probes": {"solving_particles": 16_384}},
}
"""What is tried on MNIST; arguments of the process."""
TRIES["together"] = TRIES["at_rest"] | TRIES["rest"] | TRIES["finer"] | TRIES["shortcut"]


def tried(folder: Path, name: str) -> str:
    """Run transfer_mnist with one thing changed and describe its first law in one line."""
    config = shipped("transfer_mnist")
    arguments = config["trainer"]["callbacks"][-1]["init_args"]
    for key, value in TRIES[name].items():
        nested = isinstance(value, dict) and key == "probes"
        arguments[key] = arguments[key] | value if nested else value
    found = summary_of(folder, config)
    if found is None:
        return f"{name:<16}  cut off"
    path = moving(read_csv(folder / "version_0" / "path.csv"))
    falls = sum(row["first_law_residual"] for row in path[1:])
    spent = sum(row["relaxation"] for row in path[1:])
    largest, mean = drift(path)
    return (
        f"{name:<16}{len(path):>6}{relative_first_law_residual(path):>11.1%}{falls:>9.2f}{spent:>9.2f}"
        f"{largest:>9.2%}{mean:>8.2%}{found['gradients']:>11.2e}{found['seconds']:>9.0f}  "
        f"{found['ending'][:40]}"
    )


def run(root: Path, name: str, seed: int, steps: int) -> str:
    """Run one config once and describe its first law in one line."""
    config = shipped(name)
    config["seed_everything"] = seed
    process = config["trainer"]["callbacks"][-1]
    assert process["class_path"] == "IsoClassification"
    process["init_args"]["steps"] = steps
    directory, seconds = timed(root / f"{name}_{seed}_{steps}", config, may_stop=False)
    path = moving(read_csv(directory / "path.csv"))
    totals = {}
    for column in ("first_law", "relaxation"):
        name_of = "first_law_residual" if column == "first_law" else column
        value = sum(row[name_of] for row in path[1:])
        # the steps share their noise draws: errors add up
        error = sum(row[f"{column}_error"] for row in path[1:])
        totals[column] = f"{value:.4g} ± {error:.1g}"
    return (
        f"{name:<16}{seed:>5}{steps:>7}{relative_first_law_residual(path):>11.3%}"
        f"{totals['first_law']:>20}{totals['relaxation']:>22}{seconds:>9.0f}"
    )


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark_first_law"))
    parser.add_argument("--tries", nargs="+", choices=list(TRIES), help="on MNIST, by name")
    arguments = parser.parse_args()
    if arguments.tries:
        print(
            f"{'try':<16}{'rows':>6}{'residual':>11}{'sum':>9}{'relaxed':>9}{'drift':>9}{'mean':>8}"
            f"{'gradients':>11}{'seconds':>9}  ending",
            flush=True,
        )
        for name in arguments.tries:
            print(tried(arguments.root / name, name), flush=True)
        return
    root = arguments.root / time.strftime("%Y%m%d-%H%M%S")
    root.mkdir(parents=True)
    print(HEADER, flush=True)
    for seed in (0, 1, 2):
        print(run(root, "iso_digits", seed, 40), flush=True)
    for steps in (20, 80):
        print(run(root, "iso_digits", 0, steps), flush=True)
    for steps in (25, 50, 100):
        print(run(root, "exact_gaussian", 0, steps), flush=True)


if __name__ == "__main__":
    main()
