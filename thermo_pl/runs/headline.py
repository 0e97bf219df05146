"""What the page of a run says first: its verdict in words, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from thermo_pl.path.segments import total
from thermo_pl.reports.summary import largest_misses
from thermo_pl.reports.web import Card, Tone
from thermo_pl.runs.record import Record
from thermo_pl.text import number

KINDS = {
    "IsoClassification": "The data move from one domain to the next, λ changes at a given rate, "
    "and γ is steered so that the classification loss C stays at C*.",
    "Adiabatic": "The data move from one domain to the next, γ stands still, and λ is steered so "
    "that λD + γC stays.",
    "CarnotCycle": "Two iso-classifications and two adiabats bring λ, γ and the data back to where "
    "they began; the area in the (γ, C) plane is the work.",
    "Cycle": "Strokes, one after the other, as the config has them.",
    "StrokeProcess": "Strokes, one after the other.",
    "FreeEnergySurface": "The data stand still; λ and γ go over a grid, and each row is an "
    "equilibrium.",
    "DomainSteps": "Training at a few domains on the way, one after the other, without a linear "
    "response.",
}
"""What a process does, by the name of its class."""
_BY_STROKE = {
    "iso_classification": "IsoClassification",
    "adiabat": "Adiabatic",
    "surface": "FreeEnergySurface",
    "domain_steps": "DomainSteps",
}
_MISSED = {"C": "C within {:.2%} of its target", "S": "λD + γC within {:.2%} of γC"}


def told(record: Record) -> tuple[Any, ...]:
    """The verdict of a run.

    Args:
        record: what lies in its directory.

    Returns:
        The arguments of :func:`thermo_pl.reports.web.verdict`.
    """
    run = record.run
    promise = record.summary.get("promise")
    if not run.path:
        kind = "A process that has no row yet." if record.checks else _PLAIN
        return "open", run.status[:1].upper() + run.status[1:], kind
    lines = [_kind(record), _promise(promise), _reason(run.status)]
    tone, headline = _headline(record)
    return tone, headline, *lines


_PLAIN = "A training without a process: λ and γ stand still, and nothing is held or promised."


def _promise(found: Mapping[str, Any] | None) -> str:
    if not found or not found["count"]:
        return ""
    miss = f"{found['miss']:+.2%} ± {found['error']:.2%} in {found['quantity']}"
    allowed = found["allowed"]
    rule = (
        "Nothing was promised." if allowed is None else f"Allowed is {allowed:.2%} and the noise."
    )
    return f"{rule} Held against its noise, step {found['step']} is the worst: {miss}."


def _headline(record: Record) -> tuple[Tone, str]:
    status, steps = record.run.status, len(record.run.path) - 1
    worst = " and ".join(
        _MISSED[quantity].format(share)
        for quantity, share in largest_misses(record.run.path).items()
    )
    if status != "done":
        tone: Tone = "bad" if status.startswith("stopped") else "open"
        what = {"s": "Stopped", "c": "Cut off", "r": "Not finished"}.get(status[0], "Not finished")
        return tone, f"{what} after {steps} steps" + (f"; so far {worst}" if worst else "")
    said = record.summary.get("promise", {}).get("verdict", "not judged")
    if said == "held":
        return "good", f"Held: {worst}, over {steps} steps"
    if said == "not held":
        return "bad", f"Not held: {worst.replace('within', 'off by up to')}"
    if said == "not promised":
        return "open", "Done; nothing was promised" + (f". Found: {worst}" if worst else "")
    return "open", f"Done in {steps} steps" + (f": {worst}" if worst else "; nothing to judge")


def _reason(status: str) -> str:
    return "" if status == "done" else f"Ending: {status}."


def _kind(record: Record) -> str:
    config = (key.rpartition(".")[2] for key in record.run.config)
    strokes = (_BY_STROKE.get(row["stroke"]) for row in record.run.path)
    name = next((name for names in (config, strokes) for name in names if name in KINDS), None)
    return KINDS[name] if name else "A process of your own."


def key_numbers(record: Record) -> Iterator[Card]:
    """The numbers that a reader asks for first.

    Args:
        record: what lies in the run's directory.

    Yields:
        Those that the run has.
    """
    yield from _held_cards(record)
    if record.laws:
        yield _law_card(record.laws)
    if record.cycle:
        yield from _cycle_cards(record.cycle)
    yield from _way_cards(record)
    accuracy, there = (record.summary.get(n, {}) for n in ("accuracy", "accuracy_there"))
    if there:  # of a round trip the model knows the domain where it is
        each = ", ".join(f"{domain} {value:.3f}" for domain, value in there.items())
        yield Card("test accuracy in each domain", each, "when the model was there")
    else:
        for domain, (start, end) in accuracy.items():
            yield Card(f"test accuracy on {domain}", f"{start:.3f} → {end:.3f}", "start → end")
    yield from _plain_cards(record)
    if "seconds" in record.run.results:
        seconds, gradients = (float(record.run.results[n] or 0) for n in ("seconds", "gradients"))
        taken_back = total(record.run.path[1:], "rejected")
        note = f"{gradients:.2g} gradients"
        if taken_back > 0:
            note += f", {taken_back:.0f} steps taken back"
        yield Card("cost", duration(seconds), note)


def duration(seconds: float) -> str:
    """A time for a reader.

    Args:
        seconds: the time.

    Returns:
        Such as ``3 min 7 s``.
    """
    whole = round(seconds)
    if whole < 100:
        return f"{seconds:.0f} s"
    hours, rest = divmod(whole, 3600)
    if hours:
        return f"{hours} h {rest // 60} min"
    return f"{rest // 60} min {rest % 60} s"


def _held_cards(record: Record) -> Iterator[Card]:
    allowed = record.summary.get("promise", {}).get("allowed")
    note = f"allowed {allowed:.2%} and noise" if allowed is not None else ""
    for quantity, share in largest_misses(record.run.path).items():
        label = "C off C*, at most" if quantity == "C" else "λD + γC off, at most (of γC)"
        yield Card(label, f"{share:.2%}", note)


def _law_card(laws: list[dict[str, Any]]) -> Card:
    verdicts = [law["verdict"] for law in laws]
    applicable = [verdict for verdict in verdicts if verdict != "not applicable"]
    good = sum(verdict in {"holds", "within error"} for verdict in applicable)
    broken = ", ".join(law["law"] for law in laws if law["verdict"] == "violated")
    note = f"violated: {broken}" if broken else "none violated"
    return Card("laws that hold", f"{good} of {len(applicable)}", note)


def _cycle_cards(cycle: dict[str, Any]) -> Iterator[Card]:
    why = cycle.get("not_applicable")
    if why:
        yield Card("efficiency η", "not applicable", why)
    elif cycle.get("machine") == "heat pump":
        bound = f"Carnot's C_h/(C_h - C_c): {number(cycle['carnot_performance'])}"
        value = number(cycle["performance"], cycle["performance_error"])
        yield Card("performance Q_h/|W| of a heat pump", value, bound)
    else:
        bound = f"Carnot's 1 - C_c/C_h: {number(cycle['carnot_efficiency'])}"
        value = number(cycle["efficiency"], cycle["efficiency_error"])
        yield Card("efficiency η = W/Q_h", value, bound)
    yield Card("work W = ∮ C dγ", f"{number(cycle['work'], cycle['work_error'])} nats")
    shares = cycle["relative_closure"]
    label = {"lambda": "λ", "gamma": "γ"}
    parts = [f"{name} {shares[key]:+.2%}" for key, name in label.items()]
    others = ", ".join(f"{name} {shares[name]:+.2%}" for name in "RDC")
    yield Card("closure, end less start", ", ".join(parts), others)


def _way_cards(record: Record) -> Iterator[Card]:
    rows = record.run.path
    if not rows:
        return
    first, last = rows[0], rows[-1]
    shown = [("λ", "lambda"), ("γ", "gamma")]
    if not largest_misses(rows):  # else C is told by what it missed
        shown.append(("C (nats)", "C"))
    for label, name in shown:
        lowest, highest = (f([row[name] for row in rows]) for f in (min, max))
        note = f"between {lowest:.4g} and {highest:.4g}"
        yield Card(label, f"{first[name]:.4g} → {last[name]:.4g}", note)


def _plain_cards(record: Record) -> Iterator[Card]:
    if record.run.path:
        return
    for label, key in (("λ", "model.lam"), ("γ", "model.gam")):
        if key in record.run.config:
            yield Card(label, str(record.run.config[key]), "of the config")
    for name in ("J", "R", "D", "C"):
        value = record.run.results.get(f"val_{name}")
        if isinstance(value, float):
            yield Card(f"{name} (nats)", f"{value:.4g}", "validation examples, at the end")
    accuracy = record.run.results.get("val_accuracy")
    if isinstance(accuracy, float):
        yield Card("accuracy", f"{accuracy:.4f}", "validation examples, at the end")
