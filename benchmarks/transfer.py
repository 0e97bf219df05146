"""Transfer on MNIST, 0-4 to 5-9: iso-classification beside what a user would do instead.

    THERMO_PL_DATA=... python benchmarks/transfer.py --methods iso fine_tuning --budgets 5 --seeds 0

Each run is lightning_configs/transfer_mnist.yaml, for the other methods with files of
lightning_configs/transfer_mnist/ laid over it; a budget keeps so many training images of each
target class, another choice of them for each seed. Methods named latents see the latents of
latents_mnist.yaml, which is run first. Runs lie under --root, one folder each; one that is there is
read, not run again, so that the table can be filled in parts.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from kept_runs import command, fitted, shipped, summary_of

from thermo_pl.report import moving
from thermo_pl.rundir import read_csv

METHODS: dict[str, tuple[str, ...]] = {
    "iso": (),
    "one_by_one": ("one_by_one",),
    "constant_gamma": ("constant_gamma",),
    "mixture": ("mixture",),
    "feedback": ("feedback",),
    "fine_tuning": ("fine_tuning",),
    "from_scratch": ("from_scratch",),
    "latents": ("latents",),
    "latents, constant_gamma": ("constant_gamma", "latents"),
    "latents, fine_tuning": ("fine_tuning", "latents"),
    "latents, from_scratch": ("from_scratch", "latents", "latents_from_scratch"),
}
"""Methods, and the files that make them, each laid over those before it."""
SOURCE = range(5)
BUDGETS = ("5", "20", "100", "all")


class Result(NamedTuple):
    """A line of the table; nan where a method has no such number.

    Attributes:
        drift: largest |C/C* - 1| on the measuring probe.
        area: ∫ C dt over the path, on the same probe; of a path of one step there is none.
        accuracy: on the target's test images.
        loss: C on them.
        kept: accuracy on the source's test images.
        gradients: of J, each at one image and one draw of z.
        seconds: wall time.
    """

    drift: float
    area: float
    accuracy: float
    loss: float
    kept: float
    gradients: float
    seconds: float


HEAD = (
    f"{'method':<24}{'images':>7}{'seed':>6}{'drift':>9}{'area':>8}{'acc B':>8}{'C B':>8}"
    f"{'acc A':>8}{'gradients':>12}{'seconds':>9}"
)


def config_of(method: str, budget: str, seed: int) -> dict[str, Any]:
    """The config of a run."""
    config = shipped("transfer_mnist", *METHODS[method])
    config["seed_everything"] = seed
    if budget != "all":
        for waypoint in config["data"]["init_args"]["waypoints"]:
            of_target = [None if label in SOURCE else int(budget) for label in waypoint["classes"]]
            waypoint |= {"per_class": of_target, "choice": seed}
    return config


def with_latents(root: Path, config: dict[str, Any]) -> None:
    """Train the features, if need be, and let the waypoints of a config see them."""
    folder = root / "latents_mnist"
    checkpoint = folder / "version_0" / "checkpoints" / "last.ckpt"
    for waypoint in config["data"]["init_args"]["waypoints"]:
        if "transform" in waypoint:
            if not checkpoint.exists():
                fitted(folder, shipped("latents_mnist"))
            waypoint["transform"]["init_args"]["checkpoint"] = str(checkpoint)


def result(folder: Path, config: dict[str, Any]) -> Result | None:
    """Run a method if need be, test it on the target, and read what came of it."""
    summary, run = summary_of(folder, config), folder / "version_0"
    if summary is None:
        return None
    if not (folder / "version_1").exists():
        checkpoint = str(run / "checkpoints" / "last.ckpt")
        command("test", "--config", str(folder / "config.yaml"), "--ckpt_path", checkpoint)
    tested = read_csv(folder / "version_1" / "metrics.csv")[-1]
    rows = moving(read_csv(run / "path.csv"))
    alone = len(rows) == 1  # on the target from the start
    place = [row["leg"] + row["t"] for row in rows]
    return Result(
        math.nan if alone else summary["drift_max"],
        float(np.trapezoid([row["C"] for row in rows], place)) if len(rows) > 2 else math.nan,
        tested["test/accuracy"],
        tested["test/C"],
        math.nan if alone else summary["accuracy"]["A"][1],
        summary["gradients"],
        summary["seconds"],
    )


def line(method: str, budget: str, seed: str, found: Result) -> str:
    """A line of the table."""
    cells = (
        f"{found.drift:>9.1%}{found.area:>8.4f}{found.accuracy:>8.4f}{found.loss:>8.4f}"
        f"{found.kept:>8.4f}{found.gradients:>12,.0f}{found.seconds:>9.0f}"
    )
    return f"{method:<24}{budget:>7}{seed:>6}" + cells.replace("nan%", "   -").replace("nan", "  -")


def main() -> None:
    """Run what is asked for and print the table, line by line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark_transfer"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--budgets", nargs="+", choices=BUDGETS, default=BUDGETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    print(HEAD, flush=True)
    for budget in arguments.budgets:
        for method in arguments.methods:
            results = []
            for seed in arguments.seeds:
                folder = arguments.root / f"{method.replace(', ', '_')}_{budget}_{seed}"
                config = config_of(method, budget, seed)
                with_latents(arguments.root, config)
                found = result(folder, config)
                if found is None:
                    print(f"{method:<24}{budget:>7}{seed:>6}  failed", flush=True)
                    continue
                results.append(found)
                print(line(method, budget, str(seed), found), flush=True)
            if len(results) > 1:
                means = Result(*map(statistics.fmean, zip(*results, strict=True)))
                print(line(method, budget, "mean", means), flush=True)


if __name__ == "__main__":
    main()
