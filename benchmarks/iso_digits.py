"""The main job, measured: drift of C, accuracy and time, over seeds and without its parts.

    python benchmarks/iso_digits.py               # the job, and without its parts
    python benchmarks/iso_digits.py --baselines   # smaller steps, no predictor

Runs lightning_configs/iso_digits.yaml for seeds 0, 1 and 2, and for seed 0 without the predictor,
without the restoring term, and without both. The baselines, named steps/batches/batch/damping,
spend five times the gradients of the job on longer relaxation, larger batches or smaller steps in
place of the predictor. Prints one table; every number is read from the run's own path.csv and
summary.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from pathlib import Path
from typing import Any

from kept_runs import timed
from shipped_configs import shipped

from thermo_pl.files import read_csv

SWITCHES = {
    "no predictor": {"predictor": False},
    "no restoring": {"restoring": False},
    "neither": {"predictor": False, "restoring": False},
}
BASELINES = (
    (40, 640, None, 0.1),
    (40, 640, None, 0.5),
    (40, 2600, 256, 0.5),
    (200, 500, 256, 0.5),
)
"""Macro-steps, relaxation steps in each, batch (None: all), damping: five times the gradients."""
BASELINE_PARTICLES = 512
"""Particles that the response of a baseline, which only steers γ, is solved on."""
HEADER = (
    f"{'run':<18}{'seed':>5}{'max drift':>11}{'mean':>8}{'predicted':>11}{'acc B':>8}"
    f"{'first law':>11}{'gamma':>15}{'gradients':>11}{'seconds':>9}  ending"
)


def job() -> dict[str, Any]:
    """The shipped config."""
    config = shipped("iso_digits")
    assert config["trainer"]["callbacks"][-1]["class_path"] == "IsoClassification"
    return config


def switched(switches: dict[str, bool]) -> dict[str, Any]:
    """The job without some of its parts."""
    config = job()
    config["trainer"]["callbacks"][-1]["init_args"] |= switches
    return config


def baseline(steps: int, batches: int, batch_size: int | None, damping: float) -> dict[str, Any]:
    """The job without the predictor, in other steps."""
    config = switched({"predictor": False})
    process = config["trainer"]["callbacks"][-1]["init_args"]
    process["steps"] = steps
    process["probes"]["solving_particles"] = BASELINE_PARTICLES
    process["response"] = {"damping": damping, "max_iterations": 150, "tolerance": 0.1}
    # looks at stationarity after about as many batches as the job does
    process["equilibration"]["check_every"] = max(1, round(20 * 150 / batches))
    config["data"]["init_args"] |= {"train_batches": batches, "batch_size": batch_size}
    return config


def run(root: Path, name: str, seed: int, config: dict[str, Any]) -> str:
    """Run a config once and describe it in one line."""
    config["seed_everything"] = seed
    directory, seconds = timed(root / f"{re.sub(r'[ /]', '_', name)}_{seed}", config)
    rows = read_csv(directory / "path.csv")
    summary = json.loads((directory / "summary.json").read_text())
    held = [row for row in rows if row["C_target"] is not None]
    drifts = [abs(row["C"] / row["C_target"] - 1) for row in held]
    predicted = [
        abs(row["C_predicted"] / row["C_target"] - 1) for row in held if row["C_predicted"]
    ]
    gamma = f"{rows[0]['gamma']:.3g} to {rows[-1]['gamma']:.3g}"
    return (
        f"{name:<18}{seed:>5}{max(drifts):>11.2%}{sum(drifts) / len(drifts):>8.2%}"
        f"{max(predicted, default=float('nan')):>11.2%}{summary['accuracy']['B'][1]:>8.4f}"
        f"{summary['first_law_residual_median']:>11.1%}{gamma:>15}"
        f"{sum(row['gradients'] for row in rows):>11.2e}{seconds:>9.0f}"
        f"  {summary['ending'][:60]}"
    )


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark_iso_digits"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--no-switches", action="store_true", help="only the main job itself")
    parser.add_argument("--baselines", action="store_true", help="no predictor, smaller steps")
    arguments = parser.parse_args()
    root = arguments.root / time.strftime("%Y%m%d-%H%M%S")
    root.mkdir(parents=True)
    print(f"{os.cpu_count()} cores; drift is max and mean of |C/C*-1| over all rows of path.csv")
    print(HEADER, flush=True)
    if arguments.baselines:
        for sizes in BASELINES:
            name = "/".join(map(str, sizes)).replace("None", "all")
            print(run(root, name, arguments.seeds[0], baseline(*sizes)), flush=True)
        return
    for seed in arguments.seeds:
        print(run(root, "main job", seed, job()), flush=True)
    if not arguments.no_switches:
        for name, switches in SWITCHES.items():
            print(run(root, name, 0, switched(switches)), flush=True)


if __name__ == "__main__":
    main()
