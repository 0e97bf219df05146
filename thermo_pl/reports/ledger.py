"""What a process made of strokes comes to: its ledger as a summary and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from thermo_pl.estimate import Estimate, add
from thermo_pl.laws import checks
from thermo_pl.laws.checks import Verdict
from thermo_pl.laws.ledger import summarise_strokes
from thermo_pl.path.columns import Row
from thermo_pl.path.segments import drift
from thermo_pl.reports.summary import carried_classes, kept, strokes_of_pass
from thermo_pl.text import WIDTH, aligned, number, wrapped

TERMS = {
    "ΔR": "dR",
    "ΔD": "dD",
    "ΔC": "dC",
    "ΔF": "dF",
    "Q = ∫ C dγ": "heat",
    "W_λ = -∫ D dλ": "work_control",
    "W_s = -∫ ∂F/∂s ds": "work_domain",
    "S = ΔR - ΔF": "S",
    "dissipation": "dissipation",
    "length (nats^½)": "length",
}
"""Lines of the ledger and their names in strokes.json."""
EFFICIENCIES = {
    "η = W/Q_h": "efficiency",
    "η_C = 1 - C_c/C_h": "carnot_efficiency",
    "η at finite speed": "finite_efficiency",
}
PERFORMANCES = {
    "COP = Q_h/|W|": "performance",
    "COP_C = C_h/(C_h - C_c)": "carnot_performance",
    "COP at finite speed": "finite_performance",
}
"""Lines of an engine and of a heat pump, and their names in cycle.json."""


def summarise_ledger(
    rows: Sequence[Row], ending: str, found: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The numbers a reader of a process of strokes asks for first.

    Args:
        rows: the path, all passes.
        ending: how the process ended.
        found: cycle.json of the last whole pass, if there is one.

    Returns:
        Plain numbers: ``pass``, ``strokes`` of it as in strokes.json, ``cycle`` as in cycle.json or
        None, and the cost of the run.
    """
    shown = found["cycle"] if found else rows[-1]["cycle"]
    names = {stroke.name for stroke in strokes_of_pass(rows, shown)}
    strokes = summarise_strokes(rows, ending)
    members = [row for row in rows if row["cycle"] == shown and row["stroke"] in names]
    largest, mean = drift(members)
    return {
        "pass": shown,
        "passes": rows[-1]["cycle"] + 1,
        "strokes": [s for s in strokes if s["cycle"] == shown and s["stroke"] in names],
        "cycle": found,
        "drift_max": largest,
        "drift_mean": mean,
        "stationarity": rows[-1]["stationarity"],
        "steps": rows[-1]["step"],
        "gradients": sum(row["gradients"] for row in rows),
        "seconds": sum(row["seconds"] for row in rows),
    }


def ledger_table(summary: Mapping[str, Any], ending: str, directory: str) -> str:
    """The summary as text, at most 100 columns wide.

    Args:
        summary: of :func:`summarise_ledger`, with ``accuracy`` added, a mapping from the name of a
            held-out domain to its accuracies at the start and at the end of the run, with
            ``accuracy_there``, one to that when the model was last in the domain, and with
            ``promise``, see :func:`~thermo_pl.reports.summary.kept`.
        ending: how the process ended.
        directory: where the files are.

    Returns:
        Lines of text; energies in nats.
    """
    made = f"{ending}, {summary['steps']} steps, {summary['seconds']:.0f} s"
    several = summary["passes"] > 1
    shown = f"nats, pass {summary['pass'] + 1} of {summary['passes']}" if several else "nats"
    head = {"process": made, "promise": kept(summary["promise"]), "ledger": shown}
    parts = [aligned(head.items()), *_grids(summary["strokes"])]
    if summary["cycle"]:
        parts.append(aligned(cycle_lines(summary["cycle"]).items()))
        parts += _why_no_efficiency(summary["cycle"])
        parts.append(checks.table([checks.Check(**check) for check in summary["cycle"]["checks"]]))
    others = {}
    for name, (start, end) in summary["accuracy"].items():
        there = summary["accuracy_there"].get(name)
        then = "" if there is None else f", {there:.4f} when the model was there"
        others[f"test accuracy {name}"] = f"{start:.4f} → {end:.4f}{then}"
    parts.append(aligned([*others.items(), *carried_classes(summary), ("files", directory)]))
    return "\n\n".join(parts)


def cycle_lines(found: Mapping[str, Any]) -> dict[str, str]:
    """What a closed cycle comes to, line by line.

    Args:
        found: of cycle.json.

    Returns:
        Names and numbers, energies in nats.
    """

    def value(name: str) -> str:
        return number(found[name], found[f"{name}_error"])

    def ratio(name: str) -> str:
        if found.get("not_applicable"):  # older runs do not say
            return Verdict.NOT_APPLICABLE
        return number(found[name], found.get(f"{name}_error"))

    pumps = found.get("machine") == "heat pump"
    ratios = PERFORMANCES if pumps else EFFICIENCIES
    gaps, shares = found["closure"], found["relative_closure"]

    def closure(names: Mapping[str, str]) -> str:
        return ", ".join(
            f"{label} {gaps[key]:+.2g} ({shares[key]:+.2%})" for key, label in names.items()
        )

    works = ("work_control", "work_domain")
    parts = [Estimate(found[name], found[f"{name}_error"]) for name in works]
    each = " and ".join(number(part.value, part.error) for part in parts)
    both = add(*parts)
    return {
        "W = ∮ C dγ": value("work"),
        "W = W_λ + W_s": f"{number(both.value, both.error)}, of {each}",
        "Q_h, Q_c": f"{value('heat_hot')}, {value('heat_cold')}",
        "C_h, C_c": f"{number(found['C_hot'])}, {number(found['C_cold'])}",
        **{label: ratio(name) for label, name in ratios.items()},
        "dissipation": f"{value('dissipation')}, length {number(found['length'])} nats^½",
        "end less start": closure({"lambda": "λ", "gamma": "γ"}) + " of their ranges",
        "": closure({"R": "R", "D": "D", "C": "C"}) + " of the start",
        "|Δθ|/|θ|": number(gaps["theta"]),
    }


def _why_no_efficiency(found: Mapping[str, Any]) -> list[str]:
    # the reasons of the ledger, below its numbers
    if not found["not_applicable"]:
        return []
    return [wrapped(f"η and η_C are not applicable: {found['not_applicable']}")]


def _grids(strokes: Sequence[Mapping[str, Any]]) -> list[str]:
    # strokes beside each other as far as the columns go
    if not strokes:
        return []
    grid = _grid(strokes)
    if len(strokes) == 1 or max(map(len, grid.splitlines())) <= WIDTH:
        return [grid]
    half = (len(strokes) + 1) // 2
    return _grids(strokes[:half]) + _grids(strokes[half:])


def _grid(strokes: Sequence[Mapping[str, Any]]) -> str:
    # one column for each stroke
    lines = [["", *(stroke["stroke"] for stroke in strokes)]]
    for label, name in (("λ", "lambda"), ("γ", "gamma"), ("C", "C")):
        ends = (stroke[name] for stroke in strokes)
        lines.append([label, *(f"{start:.4g} → {end:.4g}" for start, end in ends)])
    for label, name in TERMS.items():
        values = ((s[name], s.get(f"{name}_error", 0.0)) for s in strokes)
        lines.append([label, *(number(*pair) for pair in values)])
    places = [stroke["transitions"] for stroke in strokes]
    if any(places):
        lines.append(["transitions at", *(", ".join(map(str, steps)) for steps in places)])
    return aligned(lines)
