"""When does transfer pay? The study of docs/transfer_study.md, which says what is measured and how.

    THERMO_PL_DATA=... python benchmarks/transfer_study.py run   # resumable
    python benchmarks/transfer_study.py report --figure docs/images/transfer_study.png

The lines lie in --table (CSV); those that are there are not run again. `report` reads them alone.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot
from transfer_pairs import Pair, Sets, all_pairs, sets
from transfer_report import report
from transfer_scores import field

import thermo_pl as tp
from thermo_pl.datamodules import CoupledImages
from thermo_pl.datamodules.coupled import at_rest
from thermo_pl.errors import ProcessStopped
from thermo_pl.networks import Gaussian
from thermo_pl.process.data import TensorPath
from thermo_pl.process.system import System
from thermo_pl.response.measurement import data_force, measure
from thermo_pl.response.metric import metric
from thermo_pl.transport.matching import matched_coupling

LAM, GAM = 0.1, 20.0
SOURCE_STEPS, STEPS, BATCH = 600, 100, 64
BUDGETS = {"few": 10, "many": 100}
MANY_OF_TABLE = 60
PATH_STEPS = 4
Numbers = dict[str, float]


def networks(columns: int, classes: int, seed: int) -> tp.Networks:
    """The networks of the study, at their first weights.

    Args:
        columns: of an example.
        classes: how many.
        seed: of the weights.

    Returns:
        The networks.
    """
    torch.manual_seed(seed)
    seen_as = Gaussian(1.0 if columns == 30 else 0.1)  # a standardised table, or images in [0, 1]
    parts = (
        tp.MLPEncoder([columns], 8, [64]),
        tp.LinearClassifier(8, classes),
        tp.MLPDecoder([columns], 8, [], seen_as),
        tp.StandardNormal(8),
    )
    return tp.Networks(*parts, lam=LAM, gam=GAM)


def tensors(x: Any, y: Any, classes: int) -> tuple[Tensor, Tensor]:
    """Examples and class probabilities."""
    return torch.from_numpy(x).float(), one_hot(torch.from_numpy(y), classes).float()


def trained(model: tp.Networks, x: Tensor, y: Tensor, steps: int, seed: int) -> tp.Networks:
    """Train a copy of the networks on examples, each of the same weight."""
    model = copy.deepcopy(model)
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    system = System(model, TensorPath(at_rest(x, y)), optimizer)
    tp.Relaxation(system, batches=steps, batch_size=BATCH)(part=0, parts=1)
    return model


def accuracy(model: tp.Networks, x: Any, y: Any) -> float:
    """Share of examples that the model names right."""
    guess = model.predict(torch.from_numpy(x).float()).probabilities.argmax(-1).numpy()
    return float((guess == y).mean())


@cache
def source_model(source: str, classes: tuple[int, ...], part: int, seed: int) -> tp.Networks:
    """The model of A; the same for all pairs that begin there."""
    drawn = sets(Pair(source, source, "", classes, classes, part_a=part, part_b=part), 1, seed)
    fresh = networks(drawn.x_a.shape[1], len(classes), seed)
    return trained(fresh, *tensors(drawn.x_a, drawn.y_a, len(classes)), SOURCE_STEPS, seed)


def coupled(drawn: Sets, classes: int) -> CoupledImages:
    """The labelled examples of both domains on class-matched exact plans."""
    same = {label: label for label in range(classes)}
    plan = matched_coupling(drawn.x_a, drawn.y_a, drawn.x_b, drawn.y_b, same)
    (a, y_a), (b, y_b) = (
        tensors(x, y, classes) for x, y in ((drawn.x_a, drawn.y_a), (drawn.x_b, drawn.y_b))
    )
    return CoupledImages(a, b, y_a, y_b, plan)


def of_response(model: tp.Networks, pairs: CoupledImages, seed: int) -> Numbers:
    """The thermodynamic candidates of one response at t = 0."""
    particles = pairs.all()
    noise = model.noise(4, len(pairs), torch.Generator().manual_seed(seed))
    probe = tp.Probe(particles, noise)
    settings = tp.ResponseSettings(damping=1.0, max_iterations=50, tolerance=0.05)
    response = tp.linear_response(tp.Objective(model, probe), 0.0, settings)
    _, by_gam, by_t = response.slopes.C
    start, end = (measure(model, probe, t, 4) for t in (0.0, 1.0))
    length = float(metric(response)[2, 2]) ** 0.5
    return {
        "|C_t|": abs(by_t),
        "|γ̇|/γ": abs(by_t / (GAM * by_gam)),
        "length at 0": length,
        "force": data_force(model, probe, 0.0, 4).value,
        "sudden J": (end.free_energy - start.free_energy).value,
        "sudden C": (end.classification - start.classification).value,
    }


def of_path(model: tp.Networks, pairs: CoupledImages, seed: int) -> Numbers:
    """The candidates of a path of a few steps; of one that cannot go on, as far as it went."""
    model = copy.deepcopy(model)
    data = TensorPath(pairs)
    system = System(model, data, torch.optim.Adam(model.parameters(), lr=2e-3))
    rule = tp.IsoClassificationRule(
        k=0.0, steps=tp.ConstantSteps(PATH_STEPS), tolerance=math.inf, gamma_range=(1e-2, 1e4)
    )
    settings = tp.Settings(
        tp.Equilibration(stationarity=1e6, max_epochs=2, check_every=1),
        tp.Probes(512, 1, control_samples=8, measuring_samples=8),
        tp.ResponseSettings(damping=1.0, max_iterations=50, tolerance=0.1),
    )
    process, rows = tp.Continuation(system, rule, settings, seed=seed), []
    try:
        for result in process.run(process.start(), tp.Relaxation(system)):
            rows.append(result.row)
    except ProcessStopped:
        pass
    nothing = dict.fromkeys(("length", "dissipation", "∫|C_t|", "ln γ", "ΔF"), math.nan)
    if len(rows) < 2:
        return nothing
    place, slope = ([abs(row[name]) for row in rows] for name in ("t", "C_t"))
    return {
        "length": sum(row["length"] for row in rows[1:]),
        "dissipation": sum(row["relaxation"] for row in rows[1:]),
        "∫|C_t|": float(np.trapezoid(slope, place)),
        "ln γ": math.log(rows[-1]["gamma"] / rows[0]["gamma"]),
        "ΔF": rows[-1]["J"] - rows[0]["J"],
    }


def transfer(pair: Pair, budget: str, seed: int) -> dict[str, Any]:
    """Run one transfer, and all candidates before it.

    Args:
        pair: the pair.
        budget: few or many.
        seed: of everything.

    Returns:
        A line of the table.
    """
    many = MANY_OF_TABLE if pair.source == "table" else BUDGETS["many"]
    drawn = sets(pair, BUDGETS["few"] if budget == "few" else many, seed)
    classes = len(pair.classes_a)
    model = source_model(pair.source, pair.classes_a, pair.part_a, seed)
    since = time.perf_counter()
    pairs = coupled(drawn, classes)
    scores = of_response(model, pairs, seed)
    half = time.perf_counter()
    with torch.no_grad():
        seen = model.predict(torch.from_numpy(drawn.x_b).float())
    features, said = seen.z.double().numpy(), seen.probabilities.double().numpy()
    scores |= field(drawn.x_a, drawn.y_a, drawn.x_b, drawn.y_b, features, said)
    times = {
        "seconds of the response": half - since,
        "seconds of the field": time.perf_counter() - half,
    }
    since = time.perf_counter()
    scores |= of_path(model, pairs, seed) if seed == 0 else {}
    times["seconds of the path"] = time.perf_counter() - since
    x, y = tensors(drawn.x_b, drawn.y_b, classes)
    moved = trained(model, x, y, STEPS, seed + 1)
    fresh = trained(networks(x.shape[1], classes, seed + 100), x, y, STEPS, seed + 1)
    found = [accuracy(m, drawn.test_b, drawn.test_y_b) for m in (moved, fresh)]
    outcome = {
        "accuracy": found[0],
        "fresh": found[1],
        "gain": found[0] - found[1],
        "A before": accuracy(model, drawn.test_a, drawn.test_y_a),
        "A kept": accuracy(moved, drawn.test_a, drawn.test_y_a),
    }
    where = {"source": pair.source, "target": pair.target, "kind": pair.kind}
    return where | {"budget": budget, "seed": seed} | outcome | times | scores


def run(table: Path, seeds: list[int]) -> None:
    """Run what is not in the table yet."""
    done, header = set(), None
    if table.exists():
        with table.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            header = reader.fieldnames
            keys = ("source", "target", "kind", "budget", "seed")
            done = {tuple(row[key] for key in keys) for row in reader}
    table.parent.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        for budget in BUDGETS:
            for pair in all_pairs():
                if (pair.source, pair.target, pair.kind, budget, str(seed)) in done:
                    continue
                row = transfer(pair, budget, seed)
                rounded = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
                with table.open("a", newline="", encoding="utf-8") as lines:
                    writer = csv.DictWriter(lines, header or list(row), restval="")
                    if header is None:
                        header = list(row)
                        writer.writeheader()
                    writer.writerow(rounded)
                print(f"{pair.name}, {budget}, {seed}: gain {row['gain']:+.3f}", flush=True)


def main() -> None:
    """Run, or report what was run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--table", type=Path, default=Path("docs/transfer_study.csv"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--figure", type=Path, help="file of a picture, of a report")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.command == "run":
        run(arguments.table, arguments.seeds)
    else:
        report(arguments.table, arguments.figure)


if __name__ == "__main__":
    main()
