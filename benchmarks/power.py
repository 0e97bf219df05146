"""Efficiency and delivered work of the exact Carnot cycle against its speed, by protocol.

    python benchmarks/power.py

The system of lightning_configs/carnot_exact.yaml, carried around its cycle by the engine in N steps
a stroke. Relaxation is put at the minimum of J in closed form, so that what a protocol gives off is
all that is measured. Power is what is delivered in a macro-step, (W - dissipation)/4N. Writes
power.png beside the table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from matplotlib.figure import Figure
from shipped_configs import shipped
from torch import nn

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
    made: Any = Networks(
        LinearGaussianEncoder([1, 1, 3], 2),
        GaussianClassifier(2, 2, 0.2, label_noise=0.04),
        MLPDecoder([1, 1, 3], 2, [], Gaussian(0.5)),
        StandardNormal(2),
        lam=model["lam"],
        gam=model["gam"],
    ).double()
    decoder, classifier = (
        next(m for m in part.modules() if isinstance(m, nn.Linear))
        for part in (made.decoder, made.classifier)
    )

    def relax(part: int, parts: int) -> Relaxed:
        best = legs[moving.leg].optimum(float(made.lam), float(made.gam), moving.t)
        sign = torch.where((best.decoder * decoder.weight).sum(0) < 0, -1.0, 1.0)
        with torch.no_grad():
            made.encoder.log_var.copy_(best.encoder_log_var)
            made.encoder.net.weight.copy_(sign[:, None] * best.encoder)
            decoder.weight.copy_(best.decoder * sign)
            classifier.weight.copy_(best.classifier * sign)
            for layer in (made.encoder.net, decoder, classifier):
                layer.bias.zero_()
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


def table(speeds: dict[str, list[Speed]], carnot: float, known: dict[str, float]) -> None:
    """What each protocol delivers, and its efficiency at the highest power."""
    print(f"\n{'protocol':<20}{'steps at max. power':>20}{'eta there':>11}{'p/(p+1) eta_C':>15}")
    for name, found in speeds.items():
        best = max(found, key=lambda speed: speed.power)
        order = ORDER[name]
        share = order / (order + 1) * carnot
        print(f"{name:<20}{best.steps:>20}{best.efficiency:>11.4f}{share:>15.4f}")
    print("  ".join(f"{name} = {value:.4f}" for name, value in known.items()))


def picture(speeds: dict[str, list[Speed]], known: dict[str, float]) -> Figure:
    """Dissipation, efficiency and power against the number of steps."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    for name, found in speeds.items():
        n = [speed.steps for speed in found]
        style = {"color": COLOURS[name], "marker": MARKS[name], "label": name, "markersize": 4}
        axes[0].loglog(n, [speed.found["dissipation"] for speed in found], **style)
        axes[1].semilogx(n, [speed.efficiency for speed in found], **style)
        axes[2].semilogx(n, [1e3 * speed.power for speed in found], **style)
    for (name, value), line in zip(known.items(), ("-", "--"), strict=True):
        axes[1].axhline(value, color="#7F7F7F", linestyle=line, linewidth=1)
        axes[1].annotate(name, (n[-1], value), ha="right", va="bottom", fontsize="small")
    axes[1].set_ylim(0, 1.12 * max(known.values()))
    axes[2].set_ylim(bottom=0)
    labels = ("dissipation of a cycle (nats)", "delivered efficiency", "power (10⁻³ nats a step)")
    for axis, label in zip(axes, labels, strict=True):
        axis.set_xticks(n, [str(x) for x in n])
        axis.minorticks_off()
        axis.set_xlabel("macro-steps per stroke")
        axis.set_ylabel(label)
    axes[0].legend(fontsize="small", frameon=False)
    return figure


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark_power"))
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 6, 8, 12, 16, 24])
    arguments = parser.parse_args()
    arguments.root.mkdir(parents=True, exist_ok=True)
    process = shipped("carnot_exact")["trainer"]["callbacks"][-1]["init_args"]
    closed = cycle([process["k_hot"], process["k_cold"]], 6, shoots=True)
    changes = [closed["changes"][name] for name in ("hot", "cold")]
    carnot = closed["carnot_efficiency"]
    known = {
        "Carnot": carnot,
        "Curzon-Ahlborn": 1 - (closed["C_cold"] / closed["C_hot"]) ** 0.5,
    }
    print(f"{'protocol':<20}{'steps':>6}{'W':>9}{'dissipation':>13}{'eta':>9}{'finite':>9}{'s':>5}")
    speeds: dict[str, list[Speed]] = {name: [] for name in PROTOCOLS}
    for name, settings in PROTOCOLS.items():
        for steps in arguments.steps:
            start = time.monotonic()
            speed = Speed(steps, cycle(changes, steps, shoots=False, **settings))
            speeds[name].append(speed)
            work, lost, eta = (speed.found[x] for x in ("work", "dissipation", "efficiency"))
            print(
                f"{name:<20}{steps:>6}{work:>9.6f}{lost:>13.3e}{eta:>9.5f}{speed.efficiency:>9.4f}"
                f"{time.monotonic() - start:>5.0f}",
                flush=True,
            )
    table(speeds, carnot, known)
    picture(speeds, known).savefig(arguments.root / "power.png", dpi=150)
    print(f"figure: {arguments.root / 'power.png'}")


if __name__ == "__main__":
    main()
