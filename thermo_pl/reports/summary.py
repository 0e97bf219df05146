"""What a run comes to: a summary of its path, and the table printed at its end."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from thermo_pl.laws.promise import misses
from thermo_pl.path.columns import CLOSURE, PREPARATION, Row
from thermo_pl.path.segments import (
    StrokePath,
    drift,
    hysteresis,
    relative_first_law_residual,
    stroke_paths,
    total,
)
from thermo_pl.text import WIDTH, aligned, number


def moving(rows: Sequence[Row]) -> list[Row]:
    """The part of a path on which the process holds its constraint, its first point included.

    Args:
        rows: the path.

    Returns:
        The last row of the preparation and all rows after it.
    """
    first = sum(row["stroke"] in PREPARATION for row in rows)
    return list(rows[max(first - 1, 0) :])


def strokes_of_pass(rows: Sequence[Row], cycle: int) -> list[StrokePath]:
    """The strokes of one pass of a cycle.

    Args:
        rows: the path, all passes.
        cycle: number of the pass.

    Returns:
        Its strokes in order, without the preparation and the closing row.
    """
    others = (*PREPARATION, CLOSURE)
    return [s for s in stroke_paths(rows) if s.cycle == cycle and s.name not in others]


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """The numbers a reader asks for first.

    Args:
        rows: the path.

    Returns:
        Plain numbers; energies in nats, drifts as fractions of C*.
    """
    path = moving(rows)
    first, last = path[0], path[-1]
    largest, mean = drift(path[1:])
    predicted = [abs(row["C_predicted"] / row["C_target"] - 1) for row in path[1:]]
    return {
        "steps": len(path) - 1,
        "C_target": last["C_target"],
        "drift_max": largest,
        "drift_mean": mean,
        "predictor_miss_max": max(predicted, default=float("nan")),
        "val_C": [first["val_C"], last["val_C"]],
        "lambda": [first["lambda"], last["lambda"]],
        "gamma": [first["gamma"], last["gamma"]],
        "stationarity": [first["stationarity"], last["stationarity"]],
        "first_law_residual_median": relative_first_law_residual(path),
        "length": total(path[1:], "length"),
        "dissipation": total(path[1:], "relaxation"),
        "rejected": int(total(path[1:], "rejected")),
        "transitions": [
            {name: row[name] for name in ("step", "t", "lambda", "transition")}
            for row in path
            if row.get("transition")
        ],
        "hysteresis": {name: found._asdict() for name, found in hysteresis(rows).items()},
        "gradients": sum(row["gradients"] for row in rows),
        "seconds": sum(row["seconds"] for row in rows),
    }


def largest_misses(rows: Sequence[Row]) -> dict[str, float]:
    """What each quantity missed its target by at most, on the measuring probe.

    Args:
        rows: the path; of a cycle, its last pass counts.

    Returns:
        Shares by the name of the quantity, C or S; none where nothing has a target.
    """
    found: dict[str, float] = {}
    for value in misses(rows):
        if math.isfinite(value.miss):
            found[value.quantity] = max(found.get(value.quantity, 0.0), abs(value.miss))
    return found


def kept(found: Mapping[str, Any]) -> str:
    """What became of the promise of a process, in one line.

    Args:
        found: the fields of a :class:`~thermo_pl.laws.promise.Promise`.

    Returns:
        The verdict, and the worst miss on the measuring probe with its error.
    """
    if not found["count"]:
        return str(found["verdict"])
    miss = f"{found['miss']:+.2%} ± {found['error']:.2%} in {found['quantity']}"
    allowed = "" if found["verdict"] == "not promised" else f", allowed {found['allowed']:.2%}"
    return f"{found['verdict']}: at worst {miss} at step {found['step']}{allowed}"


def carried_classes(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which class goes with which along the path, as a line of a table.

    Args:
        summary: of a run; ``classes`` names them, such as "0→5".

    Returns:
        The lines; none where no class is carried to another domain.
    """
    names = ", ".join(name for name in summary.get("classes", []) if "→" in name)
    lines = textwrap.wrap(names, WIDTH - 20, break_on_hyphens=False)
    return [("" if number else "classes", line) for number, line in enumerate(lines)]


def table(summary: Mapping[str, Any], ending: str, directory: str) -> str:
    """The summary as a short table.

    Args:
        summary: of :func:`summarise`, with ``accuracy`` added, a mapping from the name of a
            held-out domain to its accuracies at the start and at the end, and ``promise``, see
            :func:`kept`.
        ending: how the process ended.
        directory: where the files are.

    Returns:
        Lines of text.
    """

    def ends(name: str) -> str:
        start, end = summary[name]
        return f"{start:.4g} → {end:.4g}"

    lines = [
        ("process", f"{ending}, {summary['steps']} steps, {summary['seconds']:.0f} s"),
        ("promise", kept(summary["promise"])),
        ("C*", f"{summary['C_target']:.4g} nats"),
        ("drift |C/C*-1|", f"max {summary['drift_max']:.2%}, mean {summary['drift_mean']:.2%}"),
        ("  after predictor", f"max {summary['predictor_miss_max']:.2%}"),
        ("C on validation", f"{ends('val_C')} nats"),
        ("lambda", ends("lambda")),
        ("gamma", ends("gamma")),
        ("stationarity", f"{ends('stationarity')} nats"),
        (
            "dissipation",
            f"{summary['dissipation']:.3g} nats, length {summary['length']:.3g} nats^½",
        ),
        (
            "first-law residual",
            f"median {summary['first_law_residual_median']:.2%} of |dR| + λ|dD| + γ|dC|",
        ),
    ]
    for place in summary["transitions"]:
        lines.append((
            "transition",
            "{transition} at t = {t:.4g}, λ = {lambda:.4g}".format(**place),
        ))
    for name, found in summary["hysteresis"].items():
        value = number(found["difference"], found["error"], "+.4g")
        lines.append((f"hysteresis {name}", f"{value} at t = {found['t']:.4g}"))
    for domain, (start, end) in summary["accuracy"].items():
        lines.append((f"test accuracy {domain}", f"{start:.4f} → {end:.4f}"))
    lines += carried_classes(summary)
    lines.append(("files", directory))
    return aligned(lines)
