"""Response or feedback: what holds C better for the same gradients?

    python benchmarks/feedback.py --seeds 0 1 2

The digits 0-4 become 5-9 at constant λ, from the same start of 60 epochs. `response` is
IsoClassification. `PI steps/batches p i ν` is FeedbackControl with as many macro-steps, of as many
batches each; its gains are tried on a grid, and all of them are shown. Gradients are those after
the start. Runs lie under --root; one that is there is read, not run again.
"""

from __future__ import annotations

import argparse
import statistics
from itertools import product
from pathlib import Path
from typing import Any

from kept_runs import summary_of
from shipped_configs import shipped

from thermo_pl.files import read_csv
from thermo_pl.reports.summary import moving

START = 60
STEPS, BATCHES = 20, 100
SPLITS = ((20, 100), (60, 100), (240, 25))
"""Macro-steps and batches: as many as with the response, and twice about as many gradients."""
GAINS = ((0.0, 0.3, 0.0), (0.0, 1.0, 0.0), (0.5, 0.3, 0.0), (1.0, 0.3, 0.5), (0.5, 1.0, 0.0))
"""p, i and ν."""
HEAD = f"{'run':<28}{'seed':>5}{'max drift':>11}{'mean':>8}{'gradients':>12}{'seconds':>9}"


def config_of(name: str, seed: int) -> dict[str, Any]:
    """The config of a run."""
    config = shipped("iso_digits")
    config["seed_everything"] = seed
    callbacks = config["trainer"]["callbacks"]
    callbacks[:] = [one for one in callbacks if one["class_path"] != "LawMonitor"]
    arguments = callbacks[-1]["init_args"]
    arguments["probes"] |= {"control_samples": 16, "measuring_samples": 16}
    if name == "response":
        config["data"]["init_args"]["train_batches"] = BATCHES
        still = {"stationarity": 1e6, "max_epochs": START, "check_every": START // 2}
        arguments |= {"k": 0.0, "steps": STEPS, "equilibration": still, "tolerance": 0.05}
        return config
    _, split, *gains = name.split()
    steps, batches = map(int, split.split("/"))
    config["data"]["init_args"]["train_batches"] = batches
    feedback = {
        "steps": steps,
        "source_epochs": START * BATCHES // batches,
        **dict(zip(("proportional", "integral", "smoothing"), map(float, gains), strict=True)),
        "probes": arguments["probes"],
    }
    callbacks[-1] = {"class_path": "FeedbackControl", "init_args": feedback}
    return config


def found(root: Path, name: str, seed: int) -> tuple[float, ...] | None:
    """Largest and mean drift, gradients and seconds of a run."""
    folder = root / f"{name.replace(' ', '_').replace('/', '-')}_{seed}"
    if summary_of(folder, config_of(name, seed)) is None:
        return None
    rows = moving(read_csv(folder / "version_0" / "path.csv"))[1:]
    drifts = [abs(row["C"] / row["C_target"] - 1) for row in rows]
    spent = (sum(row[key] for row in rows) for key in ("gradients", "seconds"))
    return (max(drifts), statistics.fmean(drifts), *spent)


def main() -> None:
    """Run what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark_feedback"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    print(HEAD, flush=True)
    grid = [f"PI {s}/{b} {p} {i} {v}" for (s, b), (p, i, v) in product(SPLITS, GAINS)]
    for name in ["response", *grid]:
        for seed in arguments.seeds:
            numbers = found(arguments.root, name, seed)
            if numbers is not None:
                most, mean, gradients, seconds = numbers
                cells = f"{most:>11.2%}{mean:>8.2%}{gradients:>12,.0f}{seconds:>9.0f}"
                print(f"{name:<28}{seed:>5}{cells}", flush=True)


if __name__ == "__main__":
    main()
