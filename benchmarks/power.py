"""Efficiency and delivered work of a Carnot cycle against its speed, by protocol.

    python benchmarks/power.py                           # the exact system
    python benchmarks/power.py --digits --steps 5 10     # carnot_digits.yaml at these speeds

The exact system is that of lightning_configs/carnot_exact.yaml, carried around its cycle by the
engine in N steps a stroke. Relaxation is put at the minimum of J in closed form, so that what a
protocol gives off is all that is measured. On digits a protocol is laid over the shipped config,
nothing else; its runs are kept, and what is there is not run again. Power is what is delivered in a
macro-step, (W - dissipation)/4N. Writes power.png beside the table: a line of panels for each
system that was run in the same --root.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from kept_runs import fitted
from matplotlib.figure import Figure
from shipped_configs import shipped

from thermo_pl.datamodules import GaussianDomains
from thermo_pl.exact.gaussian import LinearGaussian
from thermo_pl.networks import (
    Gaussian,
    GaussianClassifier,
    LinearGaussianEncoder,
    MLPDecoder,
    Networks,
    StandardNormal,
)
from thermo_pl.process import Continuation, CycleRule, Equilibration, Relaxed, Settings, Stroke
from thermo_pl.process import System as Moved
from thermo_pl.process.cycle_rule import CycleCourse
from thermo_pl.response import ResponseSettings

PROTOCOLS: dict[str, dict[str, Any]] = {
    "sudden": {},
    "shortcut": {"protocol": "shortcut"},
    "shortcut, 2 drives": {"protocol": "shortcut", "drives": 2},
}
ORDER = {"sudden": 1, "shortcut": 3, "shortcut, 2 drives": 5}
COLOURS = dict(zip(PROTOCOLS, ("#D55E00", "#0072B2", "#009E73"), strict=True))
MARKS = dict(zip(PROTOCOLS, "os^", strict=True))


class Speed(NamedTuple):
    """What a cycle of N steps a stroke comes to."""

    steps: int
    found: dict[str, Any]

    @property
    def delivered(self) -> float:
        """W - dissipation, nats."""
        return float(self.found["work"] - self.found["dissipation"])

    @property
    def efficiency(self) -> float:
        """The same as a share of the heat taken in."""
        return float(self.delivered / self.found["heat_hot"])

    @property
    def power(self) -> float:
        """Nats delivered in a macro-step."""
        return self.delivered / (4 * self.steps)


def legs_of(data: dict[str, Any]) -> list[LinearGaussian]:
    """The closed form of each leg."""
    matrices = [torch.tensor(rows, dtype=torch.float64) for rows in data["covariances"]]
    labels = torch.tensor(data["label_map"], dtype=torch.float64)
    noise = torch.tensor(data["label_noise"], dtype=torch.float64)
    return [LinearGaussian(*ends, labels, noise, 0.5, 0.2, 2) for ends in pairwise(matrices)]


def cycle(changes: Sequence[float], steps: int, shoots: bool, **settings: Any) -> dict[str, Any]:
    """cycle.json of the exact cycle in so many steps a stroke."""
    config = shipped("carnot_exact")
    data, model = config["data"]["init_args"], config["model"]["init_args"]
    legs, moving = legs_of(data), GaussianDomains(**{**data, "train_batches": 1})
    moving.setup()
    torch.manual_seed(0)
    made = Networks(
        LinearGaussianEncoder([1, 1, 3], 2),
        GaussianClassifier(2, 2, 0.2, label_noise=0.04),
        MLPDecoder([1, 1, 3], 2, [], Gaussian(0.5)),
        StandardNormal(2),
        lam=model["lam"],
        gam=model["gam"],
    ).double()

    def relax(part: int, parts: int) -> Relaxed:
        legs[moving.leg].optimum(float(made.lam), float(made.gam), moving.t).put(made)
        return Relaxed(1)

    hot, cold = changes
    adjust: Any = "lam" if shoots else None
    strokes = (
        Stroke("hot", steps, lam=hot, C=0.0, adjust=adjust),
        Stroke("cooling", steps, gam=0.0, S=0.0),
        Stroke("cold", steps, lam=cold, C=0.0, adjust=adjust),
        Stroke("heating", steps, gam=0.0, S=0.0),
    )
    rule = CycleRule(strokes, closure=(1e-6, 1e-6), correct_above=1e-6)
    response = ResponseSettings(1e-8, "hessian", 1e-8, 300)
    made_settings = Settings(Equilibration(1e-9, 4, 1), response=response, parts=2, **settings)
    process = Continuation(Moved(made, moving), rule, made_settings, seed=0)
    *_, last = process.run(process.start(), relax)
    course = cast(CycleCourse, last.state.course)
    return rule.results(course, process.here(last.state))["cycle"]


Speeds = dict[str, list[Speed]]
HEADER = f"{'protocol':<20}{'steps':>6}{'W':>10}{'dissipation':>13}{'eta':>9}{'finite':>20}{'s':>6}"


def line(name: str, speed: Speed, seconds: float) -> str:
    """One speed of a protocol."""
    found = speed.found
    error = found.get("finite_efficiency_error") or 0.0
    return (
        f"{name:<20}{speed.steps:>6}{found['work']:>10.6f}{found['dissipation']:>13.3e}"
        f"{found['efficiency']:>9.5f}{f'{speed.efficiency:.4f} ± {error:.4f}':>20}{seconds:>6.0f}"
    )


def exact(steps: Sequence[int]) -> Speeds:
    """The exact cycle at these speeds, its λ rates found once by shooting."""
    process = shipped("carnot_exact")["trainer"]["callbacks"][-1]["init_args"]
    closed = cycle([process["k_hot"], process["k_cold"]], 6, shoots=True)
    changes = [closed["changes"][name] for name in ("hot", "cold")]
    speeds: Speeds = {name: [] for name in PROTOCOLS}
    for name, settings in PROTOCOLS.items():
        for count in steps:
            start = time.monotonic()
            speed = Speed(count, cycle(changes, count, shoots=False, **settings))
            speeds[name].append(speed)
            print(line(name, speed, time.monotonic() - start), flush=True)
    return speeds


def digits(root: Path, steps: Sequence[int]) -> Speeds:
    """The cycle of digits at these speeds; runs that are there are read."""
    speeds: Speeds = {name: [] for name in PROTOCOLS}
    for name, settings in PROTOCOLS.items():
        for count in steps:
            config = shipped("carnot_digits")
            arguments = config["trainer"]["callbacks"][-1]["init_args"]
            arguments |= {"protocol": "sudden", "drives": 1, **settings, "steps": count}
            run = fitted(root / f"{name.replace(',', '').replace(' ', '_')}_{count}", config)
            summary = run / "summary.json"
            found = json.loads(summary.read_text()) if summary.exists() else {"cycle": None}
            if not found["cycle"] or found["cycle"]["not_applicable"]:
                why = found["cycle"]["not_applicable"] if found["cycle"] else "no whole cycle"
                print(f"{name:<20}{count:>6}  {why}", flush=True)
                continue
            speeds[name].append(Speed(count, found["cycle"]))
            print(line(name, speeds[name][-1], found["seconds"]), flush=True)
    return speeds


def bounds(speeds: Speeds) -> dict[str, float]:
    """Carnot's efficiency and Curzon and Ahlborn's, at the C of the slowest cycle."""
    slowest = max((s for found in speeds.values() for s in found), key=lambda speed: speed.steps)
    carnot = slowest.found["carnot_efficiency"]
    ratio = slowest.found["C_cold"] / slowest.found["C_hot"]
    return {"Carnot": carnot, "Curzon-Ahlborn": 1 - ratio**0.5}


def table(speeds: Speeds) -> None:
    """Each protocol's efficiency at the highest power of the speeds that were tried."""
    known = bounds(speeds)
    print(f"\n{'protocol':<20}{'steps at max. power':>20}{'eta there':>11}{'p/(p+1) eta_C':>15}")
    for name, found in speeds.items():
        if found:
            best = max(found, key=lambda speed: speed.power)
            share = ORDER[name] / (ORDER[name] + 1) * known["Carnot"]
            print(f"{name:<20}{best.steps:>20}{best.efficiency:>11.4f}{share:>15.4f}")
    print("  ".join(f"{name} = {value:.4f}" for name, value in known.items()))


def picture(systems: dict[str, Speeds]) -> Figure:
    """Dissipation, efficiency and power against the number of steps, a line for each system."""
    figure = Figure(figsize=(11, 3.6 * len(systems)), layout="constrained")
    grid = figure.subplots(len(systems), 3, squeeze=False)
    for axes, (system, speeds) in zip(grid, systems.items(), strict=True):
        known = bounds(speeds)
        for name, found in speeds.items():
            n = [speed.steps for speed in found]
            style = {"color": COLOURS[name], "marker": MARKS[name], "label": name, "markersize": 4}
            axes[0].loglog(n, [speed.found["dissipation"] for speed in found], **style)
            axes[1].semilogx(n, [speed.efficiency for speed in found], **style)
            axes[2].semilogx(n, [1e3 * speed.power for speed in found], **style)
        ticks = sorted({speed.steps for found in speeds.values() for speed in found})
        for (name, value), dashes in zip(known.items(), ("-", "--"), strict=True):
            axes[1].axhline(value, color="#7F7F7F", linestyle=dashes, linewidth=1)
            place = ticks[-1], value
            axes[1].annotate(name, place, ha="right", va="bottom", fontsize="small")
        axes[1].set_ylim(0, 1.12 * max(known.values()))
        most = max(speed.power for found in speeds.values() for speed in found)
        axes[2].set_ylim(0, 1.1e3 * most)
        labels = "dissipation of a cycle (nats)", "delivered efficiency", "power (10⁻³ nats a step)"
        for axis, label in zip(axes, labels, strict=True):
            axis.set_xticks(ticks, [str(x) for x in ticks])
            axis.minorticks_off()
            axis.set_xlabel("macro-steps per stroke")
            axis.set_ylabel(label)
        axes[0].set_title(system, loc="left", fontsize="medium")
    grid[0, 0].legend(fontsize="small", frameon=False)
    return figure


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark_power"))
    parser.add_argument("--steps", type=int, nargs="+", help="a stroke")
    parser.add_argument("--digits", action="store_true", help="carnot_digits.yaml")
    arguments = parser.parse_args()
    arguments.root.mkdir(parents=True, exist_ok=True)
    print(HEADER)
    if arguments.digits:
        speeds = digits(arguments.root, arguments.steps or [5, 10, 20, 40])
    else:
        speeds = exact(arguments.steps or [4, 6, 8, 12, 16, 24])
    if not any(speeds.values()):
        return
    table(speeds)
    name = "digits" if arguments.digits else "exact system"
    kept = {one: list(map(Speed._asdict, found)) for one, found in speeds.items()}
    (arguments.root / f"{name}.json").write_text(json.dumps(kept))
    files = [arguments.root / f"{one}.json" for one in ("exact system", "digits")]
    systems = {
        file.stem: {
            one: [Speed(**each) for each in found]
            for one, found in json.loads(file.read_text()).items()
        }
        for file in files
        if file.exists()
    }
    picture(systems).savefig(arguments.root / "power.png", dpi=150)
    print(f"figure: {arguments.root / 'power.png'}")


if __name__ == "__main__":
    main()
