"""kill -9 at a random moment, then ``--ckpt_path last``: the same path and weights, bit for bit."""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from fault_runs import Ran, run

CONFIGS = Path(__file__).resolve().parent / "small_configs"
WORKERS = ["--data.num_workers", "1"]
MOMENTS = ("random", "random", "twice", "checkpoint", "path.csv")
"""When a run is killed; a checkpoint and path.csv while they are being written."""


def case(number: int, folder: Path) -> dict[str, Any]:
    """Kill a run and go on: half of them iso-classifications, half Carnot cycles.

    Args:
        number: of the case; it is the seed, too.
        folder: where runs lie.

    Returns:
        What came of it.
    """
    draw = random.Random(number)
    name = ("iso", "carnot")[number % 2]
    moment = MOMENTS[number // 2 % len(MOMENTS)]
    workers = WORKERS if number % 10 == 4 else []
    words = ["fit", "--config", str(CONFIGS / f"{name}.yaml"), *workers]
    straight = folder / f"straight-{name}{len(workers)}"
    if not (straight / "seconds").exists():
        ran = run(words, straight)
        if ran.code != 0:
            raise SystemExit(f"{name}: got {ran.code} from a run that nobody disturbs; {ran.err}")
        (straight / "seconds").write_text(str(ran.seconds))
    place = folder / "cut"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    if number % 5 == 0:  # the couplings are known already; else they are part of the run
        shutil.copytree(straight / "cache", place / "cache")
    seconds = float((straight / "seconds").read_text())
    kills = []
    for _ in range(2 if moment == "twice" else 1):
        ran = _go_on(words, place, _kill(moment, place, draw, seconds))
        kills.append(round(ran.seconds, 2))
    ran = _go_on(words, place, None)
    differing = [f"exit code {ran.code}: {ran.told}"] if ran.code != 0 else []
    differing = differing or _differences(straight / "runs" / "version_0", _latest(place))
    found = {"run": name, "moment": moment, "workers": bool(workers), "killed after": kills}
    return {"ok": not differing, "told": "; ".join(differing)[:300]} | found


def _go_on(words: list[str], place: Path, kill: Callable[[int, float], bool] | None) -> Ran:
    saved = any((place / "runs").glob("version_*/checkpoints/*.ckpt"))
    return run([*words, *(["--ckpt_path", "last"] if saved else [])], place, disturb=kill)


def _kill(
    moment: str, place: Path, draw: random.Random, seconds: float
) -> Callable[[int, float], bool]:
    after = draw.uniform(0.05, 0.9) * seconds
    sizes: list[int] = []

    def now(_: int, so_far: float) -> bool:
        if so_far < after:
            return False
        if moment == "checkpoint":
            return any((place / "runs").glob("version_*/checkpoints/.last*"))
        if moment == "path.csv":  # a row has just been appended, and no checkpoint has it
            sizes.append(sum(p.stat().st_size for p in (place / "runs").glob("version_*/path.csv")))
            return sizes[-1] > sizes[0]
        return True

    return now


def _latest(place: Path) -> Path:
    return max((place / "runs").glob("version_*"), key=lambda path: int(path.name[8:]))


def _checkpoint(run_directory: Path) -> Path:
    # a run that was finished when it was resumed trains nothing, and saves nothing
    path = run_directory / "checkpoints" / "last.ckpt"
    if path.exists():
        return path
    config = yaml.safe_load((run_directory / "config.yaml").read_text())
    return run_directory.parents[1] / str(config["ckpt_path"])


def _differences(one: Path, other: Path) -> list[str]:
    found = []
    rows = []
    for run_directory in (one, other):
        with (run_directory / "path.csv").open(newline="") as lines:
            rows.append(list(csv.DictReader(lines)))
    if len(rows[0]) != len(rows[1]):
        return [f"{len(rows[0])} and {len(rows[1])} rows"]
    for number, (a, b) in enumerate(zip(*rows, strict=True)):
        found += [
            f"row {number}, {name}: {a[name]} | {b[name]}"
            for name in a
            if name != "seconds" and a[name] != b[name]
        ]
    for name in ("equilibration.csv", "laws.json"):
        if (one / name).read_text() != (other / name).read_text():
            found.append(f"{name} differs")
    endings = [json.loads((d / "strokes.json").read_text())[-1]["status"] for d in (one, other)]
    found += [f"status {endings[1]}"] if endings[0] != endings[1] else []
    weights = [torch.load(_checkpoint(d), weights_only=True)["state_dict"] for d in (one, other)]
    for name, value in weights[0].items():
        if not torch.equal(value, weights[1][name]):
            found.append(f"{name} differs")
    return found[:4]
