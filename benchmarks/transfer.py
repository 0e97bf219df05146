"""Transfer on MNIST, 0-4 to 5-9: iso-classification beside what a user would do instead.

    THERMO_PL_DATA=... python benchmarks/transfer.py --methods iso fine_tuning --budgets 5 --seeds 0

Each run is lightning_configs/transfer_mnist.yaml, or for the other methods files of
lightning_configs/transfer_mnist/; a budget keeps so many training images of each
target class, another choice of them for each seed. Methods named latents see the latents of
latents_mnist.yaml, which is run first. Runs lie under --root, one folder each; one that is there is
read, not run again, so that the table can be filled in parts.
"""

from __future__ import annotations

import argparse
import math
import statistics
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from kept_runs import fitted, summary_of, tested
from matplotlib.figure import Figure
from shipped_configs import shipped

from thermo_pl.files import read_csv
from thermo_pl.reports.figures import BLUE, DPI, ORANGE
from thermo_pl.reports.summary import moving

METHODS: dict[str, tuple[str, ...]] = {
    "iso": ("transfer_mnist",),
    **{
        name: (f"transfer_mnist/{name}",)
        for name in (
            "one_by_one",
            "constant_gamma",
            "mixture",
            "feedback",
            "fine_tuning",
            "from_scratch",
        )
    },
    "latents": ("transfer_mnist", "transfer_mnist/latents"),
    "latents, constant_gamma": ("transfer_mnist/constant_gamma", "transfer_mnist/latents"),
    "latents, fine_tuning": ("transfer_mnist/fine_tuning", "transfer_mnist/latents"),
    "latents, from_scratch": ("transfer_mnist/latents_from_scratch",),
}
"""Methods, and the configs that make them, each laid over those before it."""
SOURCE = range(5)
LATENTS = {"iso": "latents"} | {
    name: f"latents, {name}" for name in ("constant_gamma", "fine_tuning", "from_scratch")
}
"""Methods between pixels that have one between latents beside them."""
DRAWN = (
    ("iso", "path, C held", BLUE, "o"),
    ("constant_gamma", "path, constant γ", "#56B4E9", "s"),
    ("mixture", "mixture", "#009E73", "D"),
    ("feedback", "feedback", "#CC79A7", "v"),
    ("fine_tuning", "fine-tuning", ORANGE, "^"),
    ("from_scratch", "a fresh model", "#000000", "x"),
)
"""What is in the picture, in colours of Okabe & Ito's palette."""
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
    config = shipped(*METHODS[method])
    config["seed_everything"] = seed
    if budget != "all":
        for waypoint in config["data"]["init_args"]["waypoints"]:
            of_target = [None if label in SOURCE else int(budget) for label in waypoint["classes"]]
            waypoint |= {"per_class": of_target, "choice": seed}
    return config


def with_latents(root: Path, config: dict[str, Any]) -> None:
    """Train the features, if need be, and let the waypoints of a config see them."""
    waypoints = config["data"]["init_args"]["waypoints"]
    transforms = [waypoint["transform"] for waypoint in waypoints if "transform" in waypoint]
    if transforms:
        run = fitted(root / "latents_mnist", shipped("latents_mnist"))
        for transform in transforms:
            transform["init_args"]["checkpoint"] = str(run / "checkpoints" / "last.ckpt")


def result(folder: Path, config: dict[str, Any]) -> Result | None:
    """Run a method if need be, test it on the target, and read what came of it."""
    summary, run = summary_of(folder, config), folder / "version_0"
    if summary is None:
        return None
    metrics = tested(folder)
    rows = moving(read_csv(run / "path.csv"))
    alone = len(rows) == 1  # on the target from the start
    place = [row["leg"] + row["t"] for row in rows]
    return Result(
        math.nan if alone else summary["drift_max"],
        float(np.trapezoid([row["C"] for row in rows], place)) if len(rows) > 2 else math.nan,
        metrics["test/accuracy"],
        metrics["test/C"],
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


def figure(results: dict[tuple[str, str], list[Result]]) -> Figure:
    """Accuracy on the target over the labels of it, between pixels and between latents.

    Args:
        results: those of all seeds, by method and budget.

    Returns:
        Two panels; dots are seeds, lines their means.
    """
    picture = Figure(figsize=(8.0, 4.2), layout="constrained")
    panels = picture.subplots(1, 2, sharey=True)
    for number, (name, label, colour, marker) in enumerate(DRAWN):
        shift = 1.06 ** (number - 2.5)  # so that the seeds of methods do not cover each other
        for panel, full in zip(panels, (name, LATENTS.get(name, "")), strict=True):
            budgets = [b for b in BUDGETS if (full, b) in results]
            seeds = [[found.accuracy for found in results[full, b]] for b in budgets]
            at = [shift * (5400 if b == "all" else int(b)) for b in budgets]
            means = [statistics.fmean(of_seed) for of_seed in seeds]
            panel.plot(at, means, color=colour, lw=1.2)
            for x, of_seed in zip(at, seeds, strict=True):
                panel.plot([x] * len(of_seed), of_seed, marker, color=colour, ms=5, alpha=0.8)
            panel.plot([], [], f"-{marker}", color=colour, lw=1.2, ms=5, label=label)
    for panel, space in zip(panels, ("pixels", "latents of a model of 0-4"), strict=True):
        panel.set_xscale("log")
        panel.set_xlim(3.5, 9000)
        panel.set_xticks([5, 20, 100, 5400], ["5", "20", "100", "all"], minor=False)
        panel.minorticks_off()
        panel.set_xlabel("labelled images of each target class")
        panel.set_title(f"between {space}", fontsize="medium")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy on test images of 5-9")
    panels[0].legend(fontsize="small", loc="lower right")
    return picture


def main() -> None:
    """Run what is asked for and print the table, line by line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark_transfer"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--budgets", nargs="+", choices=BUDGETS, default=BUDGETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--present", action="store_true", help="only runs that are there")
    parser.add_argument("--figure", type=Path, help="file of a picture of the table")
    arguments = parser.parse_args()
    print(HEAD, flush=True)
    results: dict[tuple[str, str], list[Result]] = {}
    for budget, method in product(arguments.budgets, arguments.methods):
        of_seeds = []
        for seed in arguments.seeds:
            folder = arguments.root / f"{method.replace(', ', '_')}_{budget}_{seed}"
            if arguments.present and not (folder / "version_1").exists():
                continue
            config = config_of(method, budget, seed)
            with_latents(arguments.root, config)
            found = result(folder, config)
            if found is None:
                print(f"{method:<24}{budget:>7}{seed:>6}  failed", flush=True)
                continue
            of_seeds.append(found)
            print(line(method, budget, str(seed), found), flush=True)
        if len(of_seeds) > 1:
            means = Result(*map(statistics.fmean, zip(*of_seeds, strict=True)))
            print(line(method, budget, "mean", means), flush=True)
        if of_seeds:
            results[method, budget] = of_seeds
    if arguments.figure is not None:
        figure(results).savefig(arguments.figure, dpi=DPI)


if __name__ == "__main__":
    main()
