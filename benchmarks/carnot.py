"""Carnot's theorem, measured: efficiencies, dissipation against speed, and the main job's figures.

    python benchmarks/carnot.py            # the exact system: cycles, speeds, one figure
    python benchmarks/carnot.py --digits   # carnot_digits.yaml for seeds 0, 1 and 2
    python benchmarks/carnot.py --mnist --seeds 0   # carnot_mnist.yaml
    python benchmarks/carnot.py --cycles exact      # Carnot, Stirling, Otto, heat pump as shipped
    python benchmarks/carnot.py --cycles digits     # the same on real images

Exact system (lightning_configs/carnot_exact.yaml): the Carnot cycle, closed by shooting, at 4
speeds (N, 2N, 4N and 8N macro-steps per stroke) with sudden steps; the same in N steps as a
shortcut, with two drives, and with its steps spread over the strokes; and two other cycles between
the same C_c and C_h. Efficiency against speed for each protocol: benchmarks/power.py. Every number
is read from the run's own cycle.json and path.csv. Runs of --cycles are kept: what is there is not
run again.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

from kept_runs import fitted, timed
from matplotlib.figure import Figure
from shipped_configs import shipped

from thermo_pl.files import read_csv

Config = dict[str, Any]


def arguments_of(config: Config) -> Config:
    """The arguments of the process of a config."""
    process = config["trainer"]["callbacks"][-1]
    assert process["class_path"] in {"CarnotCycle", "Cycle"}
    return process["init_args"]


def ledger(directory: Path) -> Config:
    """cycle.json of a run."""
    return json.loads((directory / "cycle.json").read_text())


def other_cycles(corners: list[Config], carnot: Config) -> dict[str, list[Config]]:
    """Two cycles between the same C_c and C_h, from the corners A and B of the Carnot cycle.

    Stirling's joins the isotherms at constant λ; the other one (oblique) gives off a part of its
    heat while C falls, and another while it rises. C never leaves C_c … C_h. Back at A and C_h, λ
    or γ returns by construction, and the other one with it: nothing is left to shoot at.
    """
    a, b, *_ = corners
    rise, there = b["gamma"] - a["gamma"], b["lambda"] - a["lambda"]
    fall = carnot["C_cold"] - carnot["C_hot"]
    hot = {"name": "hot", "lam": there, "C": 0.0}
    return {
        "Stirling": [
            hot,
            {"name": "down", "C": fall, "lam": 0.0},
            {"name": "cold", "C": 0.0, "lam": -there},
            {"name": "up", "C": -fall, "lam": 0.0},
        ],
        "oblique": [
            hot,
            {"name": "down", "C": fall, "gam": -0.2 * rise},
            {"name": "cold", "C": 0.0, "gam": -0.7 * rise},
            {"name": "up", "C": -fall, "gam": "return"},
        ],
    }


def describe(name: str, steps: int, directory: Path, seconds: float) -> str:
    """One line of the table."""
    found = ledger(directory)
    if found["not_applicable"]:
        return f"{name:<12}{steps:>6}  no efficiency: {found['not_applicable']}"
    works = found["work_control"] + found["work_domain"]
    gap = found["carnot_efficiency"] - found["efficiency"]
    return (
        f"{name:<12}{steps:>6}{found['C_hot']:>9.4f}{found['C_cold']:>9.4f}{found['work']:>11.6f}"
        f"{works:>11.6f}{found['efficiency']:>10.6f}{gap:>10.1e}{found['finite_efficiency']:>9.3f}"
        f"{found['dissipation']:>12.5f}{steps * found['dissipation']:>9.4f}"
        f"{max(abs(found['closure'][x]) for x in ('lambda', 'gamma')):>10.1e}{seconds:>6.0f}"
    )


DRIVEN: list[tuple[str, Config]] = [
    ("shortcut", {"protocol": "shortcut", "drives": 1}),
    ("2 drives", {"protocol": "shortcut", "drives": 2}),
    ("spread", {"protocol": "shortcut", "drives": 2, "spread": True, "passes": [2, 6]}),
]
"""Ways to lose less in as many steps."""

HEADER = (
    f"{'cycle':<12}{'steps':>6}{'C_h':>9}{'C_c':>9}{'W':>11}{'W mech.':>11}{'eta':>10}"
    f"{'eta_C-eta':>10}{'finite':>9}{'dissipation':>12}{'x steps':>9}{'closure':>10}{'s':>6}"
)


def exact(root: Path, steps: int) -> None:
    """The exact system: speeds, protocols, other cycles, figure."""
    print(HEADER, flush=True)
    config = shipped("carnot_exact")
    arguments_of(config).update(steps=steps, protocol="sudden", drives=1)
    speeds: list[tuple[int, Config]] = []
    names: list[tuple[str, Config]] = []
    for factor in (1, 2, 4, 8):
        arguments_of(config)["steps"] = factor * steps
        directory, seconds = timed(root / f"carnot_{factor * steps}", copy.deepcopy(config))
        print(describe("Carnot", factor * steps, directory, seconds), flush=True)
        found = ledger(directory)
        speeds.append((factor * steps, found))
        if factor == 1:  # where the cycle closes does not depend on the steps
            arguments_of(config)["k_hot"] = found["changes"]["hot"]
            arguments_of(config)["k_cold"] = found["changes"]["cold"]
            names.append(("Carnot", found))
            rows = [row for row in read_csv(directory / "path.csv") if row["phase"] in {0, 1, 2, 3}]
            corners = [next(r for r in reversed(rows) if r["phase"] == k) for k in range(4)]
    for name, changes in DRIVEN:
        driven = copy.deepcopy(config)
        arguments_of(driven).update(changes, steps=steps)
        directory, seconds = timed(root / name, driven)
        print(describe(name, steps, directory, seconds), flush=True)
    arguments = arguments_of(config)
    for name in ("k_hot", "k_cold", "steps"):
        del arguments[name]
    config["trainer"]["callbacks"][-1]["class_path"] = "Cycle"
    for name, strokes in other_cycles(corners, names[0][1]).items():
        arguments["strokes"] = [stroke | {"steps": steps} for stroke in strokes]
        directory, seconds = timed(root / name, copy.deepcopy(config))
        print(describe(name, steps, directory, seconds), flush=True)
        names.append((name, ledger(directory)))
    picture(speeds, names).savefig(root / "carnot_theorem.png", dpi=150)
    print(f"figure: {root / 'carnot_theorem.png'}")


def picture(speeds: list[tuple[int, Config]], cycles: list[tuple[str, Config]]) -> Figure:
    """Dissipation against the number of steps, and the efficiencies."""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    n, lost = zip(*[(n, found["dissipation"]) for n, found in speeds], strict=True)
    left.loglog(n, lost, "o-", color="#0072B2", label="measured")
    left.loglog(n, [lost[-1] * n[-1] / x for x in n], ":", color="#7F7F7F", label="∝ 1/N")
    bound = [found["length"] ** 2 / (2 * 4 * n) for n, found in speeds]
    left.loglog(n, bound, "--", color="#D55E00", label="L²/2N, steps of equal length")
    left.set_xticks(n, [str(x) for x in n])
    left.set_yticks(lost, [f"{x:.3g}" for x in lost])
    left.minorticks_off()
    left.set_xlabel("macro-steps per stroke")
    left.set_ylabel("dissipation of a cycle (nats)")
    left.legend(fontsize="small", frameon=False)
    places = range(len(cycles))
    right.bar(places, [found["efficiency"] for _, found in cycles], color="#0072B2", width=0.5)
    for x, (_, found) in zip(places, cycles, strict=True):
        right.hlines(found["carnot_efficiency"], x - 0.4, x + 0.4, color="#D55E00")
    right.set_xticks(places, [name for name, _ in cycles])
    right.set_ylabel("efficiency η (line: $1 - C_c/C_h$)")
    return figure


DIGITS = (
    f"{'seed':>4}{'C_h':>8}{'C_c':>8}{'iso drift':>11}{'S drift':>9}{'d lam':>8}{'d gam':>8}"
    f"{'R':>8}{'D':>8}{'C':>8}{'eta':>8}{'eta_C':>8}{'finite':>8}{'W':>9}"
    f"{'gap of works':>18}{'passes':>7}{'s':>6}"
)


def images(root: Path, name: str, seeds: list[int]) -> None:
    """A config of real images over seeds."""
    print(DIGITS, flush=True)
    for seed in seeds:
        config = shipped(name)
        config["seed_everything"] = seed
        directory, seconds = timed(root / f"{name}_{seed}", config)
        if not (directory / "cycle.json").exists():
            continue
        found = ledger(directory)
        if found["not_applicable"]:
            print(f"{seed:>4}  no efficiency: {found['not_applicable']}", flush=True)
            continue
        rows = [row for row in read_csv(directory / "path.csv") if row["cycle"] == found["cycle"]]
        held = [abs(r["C"] / r["C_target"] - 1) for r in rows if r["C_target"]]
        heat = [0.0]
        for stroke in ("cooling", "heating"):
            values = [
                r["lambda"] * r["D"] + r["gamma"] * r["C"] for r in rows if r["stroke"] == stroke
            ]
            heat += [abs(value / values[0] - 1) for value in values]
            assert len({r["gamma"] for r in rows if r["stroke"] == stroke}) == 1
        closed = found["relative_closure"]
        print(
            f"{seed:>4}{found['C_hot']:>8.4f}{found['C_cold']:>8.4f}{max(held):>11.2%}"
            f"{max(heat):>9.2%}{closed['lambda']:>8.2%}{closed['gamma']:>8.2%}{closed['R']:>8.2%}"
            f"{closed['D']:>8.2%}{closed['C']:>8.2%}{found['efficiency']:>8.4f}"
            f"{found['carnot_efficiency']:>8.4f}{found['finite_efficiency']:>8.4f}"
            f"{found['work']:>9.4f}{found['works_gap']:>10.4f} ± {found['works_gap_error']:<6.4f}"
            f"{found['cycle'] + 1:>6}{seconds:>6.0f}",
            flush=True,
        )


CYCLES = (
    f"{'cycle':<20}{'seed':>5}{'C_h':>9}{'C_c':>9}{'W':>20}{'|W|/Q_h':>20}{'1 - C_c/C_h':>13}"
    f"{'gap':>20}{'Q_h/|W|':>10}{'finite':>9}{'dissipation':>13}{'gap of works':>20}"
)


def cycles(root: Path, kind: str, seeds: list[int]) -> None:
    """η ≤ η_C for each of the shipped cycles; that of a heat pump is |W|/Q_h."""
    print(CYCLES, flush=True)
    for name in ("carnot", "stirling", "otto", "heat_pump"):
        for seed in seeds:
            config = shipped(f"{name}_{kind}")
            config["seed_everything"] = seed
            file = fitted(root / f"{name}_{kind}_{seed}", config) / "cycle.json"
            if file.exists():
                print(f"{name:<20}{seed:>5}{bounded(json.loads(file.read_text()))}", flush=True)


def bounded(found: Config) -> str:
    """What a cycle comes to beside Carnot's bound."""
    if found["not_applicable"]:
        return f"  nothing: {found['not_applicable']}"
    (check,) = (c for c in found["checks"] if c["law"].startswith("Carnot"))
    pump = found["machine"] == "heat pump"
    name = "performance" if pump else "efficiency"
    ratio, error = found[name], found[f"{name}_error"]
    if pump:  # Q_h/|W|, told as its inverse
        ratio, error = 1 / ratio, error / ratio**2
    bound = 1 / found["carnot_performance"] if pump else found["carnot_efficiency"]

    def pair(value: float, error: float) -> str:
        return f"{f'{value:.5f} ± {error:.5f}':>20}"

    return (
        f"{found['C_hot']:>9.4f}{found['C_cold']:>9.4f}{pair(found['work'], found['work_error'])}"
        f"{pair(ratio, error)}{bound:>13.5f}{pair(check['value'], check['error'])}"
        f"{1 / ratio:>10.4f}{found[f'finite_{name}']:>9.4f}"
        f"{found['dissipation']:>13.5f}{pair(found['works_gap'], found['works_gap_error'])}"
    )


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark_carnot"))
    parser.add_argument("--steps", type=int, default=10, help="N, macro-steps per stroke")
    parser.add_argument("--digits", action="store_true", help="the main job instead")
    parser.add_argument("--mnist", action="store_true", help="the same on MNIST instead")
    parser.add_argument("--cycles", choices=["exact", "digits"], help="every cycle as shipped")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    if arguments.cycles:
        cycles(arguments.root, arguments.cycles, arguments.seeds)
        return
    root = arguments.root / time.strftime("%Y%m%d-%H%M%S")
    root.mkdir(parents=True)
    if arguments.digits:
        images(root, "carnot_digits", arguments.seeds)
    elif arguments.mnist:
        images(root, "carnot_mnist", arguments.seeds)
    else:
        exact(root, arguments.steps)


if __name__ == "__main__":
    main()
