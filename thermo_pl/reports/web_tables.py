"""Strokes, cycle and laws as tables of the page of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from thermo_pl.path.columns import CLOSURE, PREPARATION, Row
from thermo_pl.reports.ledger import TERMS, cycle_lines
from thermo_pl.reports.web import Raw, html, table
from thermo_pl.surface.checks import check_surface
from thermo_pl.text import number


def strokes_table(strokes: Sequence[Mapping[str, Any]]) -> Raw:
    """The ends and the ledger of each stroke.

    Args:
        strokes: of strokes.json.

    Returns:
        A column for each stroke; empty without strokes.
    """
    others = {*PREPARATION, CLOSURE}
    shown = [stroke for stroke in strokes if "dF" in stroke and stroke["stroke"] not in others]
    if not shown:
        return Raw()
    several = any(stroke["cycle"] for stroke in shown)
    names = [f"{s['stroke']}, pass {s['cycle'] + 1}" if several else s["stroke"] for s in shown]
    lines = [["steps", *(str(s["steps"][1] - s["steps"][0] + 1) for s in shown)]]
    for label, name in (("λ", "lambda"), ("γ", "gamma"), ("C", "C")):
        lines.append([label, *(f"{s[name][0]:.4g} → {s[name][1]:.4g}" for s in shown)])
    for label, name in TERMS.items():
        lines.append([label, *(number(s[name], s.get(f"{name}_error", 0.0)) for s in shown)])
    drifts = ["" if s.get("drift_max") is None else f"{s['drift_max']:.2%}" for s in shown]
    lines.append(["largest |C/C* - 1|", *drifts])
    lines.append(["seconds", *(f"{s['seconds']:.1f}" for s in shown)])
    note = '<p class="soft">Energies in nats; ± is the standard error over the noise draws.</p>'
    return Raw(note + table(("", *names), lines, ("", *["number"] * len(shown))))


def cycle_table(cycle: Mapping[str, Any]) -> Raw:
    """Work, heat, efficiency and closure of a cycle.

    Args:
        cycle: of cycle.json.

    Returns:
        The table; empty without a cycle.
    """
    if not cycle:
        return Raw()
    why = cycle.get("not_applicable")
    note = f"<p>η and η_C are not applicable: {html(why)}</p>" if why else ""
    return Raw(table(("the cycle, in nats", ""), cycle_lines(cycle).items()) + note)


def laws_table(laws: Sequence[Mapping[str, Any]]) -> Raw:
    """The laws with their verdicts.

    Args:
        laws: of laws.json.

    Returns:
        The table; empty without laws.
    """
    if not laws:
        return Raw()
    rows = []
    for law in laws:
        said = law["verdict"]
        kind = {"holds": "held", "within error": "held", "violated": "broken"}.get(said, "")
        why = f" ({law['reason']})" if law.get("reason") else ""
        word = Raw(f'<span class="{kind}">{html(said)}</span>{html(why)}')
        value = number(law["value"], law["error"], ".3g", ".2g")
        allowed = number(law["tolerance"], 0.0, ".2g")
        rows.append([law["law"], law["statement"], value, allowed, word, str(law["count"])])
    header = ("law", "what is checked", "value", "allowed", "verdict", "n")
    return table(header, rows, ("text", "text", "number", "number", "text", "number"))


def tallies(nodes: Sequence[Row], visits: Sequence[Row]) -> Raw:
    """The laws at the nodes of a map.

    Args:
        nodes: lines of surface.csv.
        visits: rows of path.csv.

    Returns:
        A line for each law; nothing where there is none.
    """
    found = check_surface(nodes, visits) if nodes else []
    if not found:
        return Raw()
    header = ("law", "what is small, or at least 0", "kept", "of", "median", "worst", "at λ, γ")
    rows = [
        (
            tally.law,
            tally.statement,
            str(sum(tally.kept)),
            str(len(tally.kept)),
            f"{tally.median:.3g}",
            f"{tally.values[tally.worst]:.3g}",
            "{:.4g}, {:.4g}".format(*tally.places[tally.worst]),
        )
        for tally in found
    ]
    return table(header, rows, ("text", "text", *["number"] * 5))
