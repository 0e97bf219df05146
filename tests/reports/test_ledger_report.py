"""The ledger of a process of strokes as a summary and as a table, against arithmetic by hand."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import pytest

from support.cycle_rows import CORNERS, STROKES, one_pass, row, two_passes
from thermo_pl.laws.cycle_ledger import summarise_cycle
from thermo_pl.laws.promise import Promise
from thermo_pl.path.columns import Row
from thermo_pl.reports.cycle_figures import cycle_figure
from thermo_pl.reports.ledger import ledger_table, summarise_ledger
from thermo_pl.reports.summary import strokes_of_pass
from thermo_pl.text import WIDTH

ROWS = two_passes()
ACCURACIES = {"accuracy": {"A": [0.9, 0.8], "B": [0.25, 0.5]}, "accuracy_there": {"B": 0.75}}


def found_of(rows: list[Row], cycle: int) -> dict[str, Any]:
    """cycle.json of a pass."""
    strokes = [stroke.path for stroke in strokes_of_pass(rows, cycle)]
    return summarise_cycle(strokes, rows[-1], 0.125) | {"cycle": cycle}


def text_of(rows: list[Row], found: dict[str, Any] | None, ending: str = "done") -> str:
    summary = summarise_ledger(rows, ending, found) | ACCURACIES
    summary["promise"] = asdict(Promise("held", "C", 0.004, 0.001, 3, 0.01, 8))
    return ledger_table(summary, ending, "runs/v_3")


def cells(text: str) -> dict[str, list[str]]:
    """The table by the name of the line; a line without one is named by its number."""
    lines = (re.split(r"\s{2,}", line) for line in text.splitlines() if line)
    return {name or str(index): values for index, (name, *values) in enumerate(lines)}


def values_of(cell: str) -> list[float]:
    return [float(x) for x in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", cell)]


def test_the_strokes_of_a_pass_are_without_preparation_and_closure() -> None:
    assert [s.name for s in strokes_of_pass(ROWS, 0)] == list(STROKES)
    assert [s.name for s in strokes_of_pass(ROWS, 1)] == list(STROKES)
    assert strokes_of_pass(ROWS[:1], 0) == []
    assert strokes_of_pass(ROWS, 2) == []
    # the first stroke of all begins at the equilibrium, that of a later pass where it settles
    for cycle in (0, 1):
        paths = [stroke.path for stroke in strokes_of_pass(ROWS, cycle)]
        assert [[r["phase"] for r in path] for path in paths] == [
            [0, 0.5, 1],
            [1, 1.5, 2],
            [2, 2.5, 3],
            [3, 3.5, 4],
        ]


def test_the_last_whole_pass_is_what_is_summed_up() -> None:
    summary = summarise_ledger(ROWS, "done", found_of(ROWS, 1))
    assert (summary["pass"], summary["passes"]) == (1, 2)
    assert [s["stroke"] for s in summary["strokes"]] == list(STROKES)
    assert {s["cycle"] for s in summary["strokes"]} == {1}
    # the work of all passes
    assert (summary["steps"], summary["gradients"]) == (24, 2500)
    assert summary["seconds"] == pytest.approx(37.5)
    # a pass that broke off later does not take its place
    begun = [*ROWS[:-1], *(r | {"cycle": 2} for r in one_pass(1)[:2])]
    summary = summarise_ledger(begun, "stopped: no", found_of(ROWS[:-1], 1))
    assert (summary["pass"], summary["passes"]) == (1, 3)
    json.dumps(summary)


def test_before_a_whole_pass_the_one_under_way_is_summed_up() -> None:
    rows = one_pass(0)[:5]  # in the second stroke
    summary = summarise_ledger(rows, "stopped: no", None)
    assert [s["stroke"] for s in summary["strokes"]] == ["hot", "cooling"]
    assert summary["strokes"][-1]["status"] == "stopped: no"
    assert summary["cycle"] is None
    text = text_of(rows, None, "stopped: no")
    assert "η" not in text
    head = [line.split(None, 1) for line in text.splitlines()[:3]]
    assert [head[0], head[2]] == [["process", "stopped: no, 0 steps, 8 s"], ["ledger", "nats"]]


def test_a_run_that_never_left_its_preparation_has_an_empty_ledger() -> None:
    summary = summarise_ledger(ROWS[:1], "stopped: no", None)
    assert summary["strokes"] == []
    assert "hot" not in text_of(ROWS[:1], None)


def test_table_of_the_strokes_by_hand() -> None:
    found = cells(text_of(ROWS, found_of(ROWS, 1)))
    assert found["process"] == ["done, 24 steps, 38 s"]
    assert found["ledger"] == ["nats, pass 2 of 2"]
    assert list(STROKES) in found.values()
    assert found["λ"] == ["1 → 1.5", "1.5 → 2", "2 → 1.2", "1.2 → 1"]
    assert found["γ"] == ["1 → 2", "2 → 2", "2 → 1", "1 → 1"]
    assert found["C"] == ["0.8 → 0.8", "0.8 → 0.4", "0.4 → 0.4", "0.4 → 0.8"]
    assert found["ΔR"] == ["0.5", "1.5", "-1", "-1"]  # R is the same for every draw
    # of straight lines the integrals are those of the trapezoidal rule, with one error for all
    # points of a leg: 0.1 of D and 0.01 of C, times the range of the control
    for name, values, errors in [
        ("Q = ∫ C dγ", [0.8, 0, -0.4, 0], [0.01, 0, 0.01, 0]),
        ("W_λ = -∫ D dλ", [-2.75, -2, 2.8, 1], [0.05, 0.05, 0.08, 0.02]),
    ]:
        for cell, value, error in zip(found[name], values, errors, strict=True):
            assert values_of(cell) == pytest.approx([value, error][: 1 + bool(error)]), name
    heat = [1 * 6 + 0.8, 1.5 * 5 + 1.6, 2 * 3 + 0.8, 1.2 * 4 + 0.4, 6.8]
    expected = [a - b for a, b in pairwise(heat)]
    assert [values_of(c)[0] for c in found["S = ΔR - ΔF"]] == pytest.approx(expected)
    energies = [c[2] + s for c, s in zip(CORNERS, heat, strict=True)]
    expected = [b - a for a, b in pairwise(energies)]
    assert [values_of(c)[0] for c in found["ΔF"]] == pytest.approx(expected, rel=1e-3)
    # a stroke's with the step that settles on its leg, the cycle's without
    assert found["length (nats^½)"] == ["1.5"] * 4
    assert found["dissipation"] == ["0.08 ± 0.003, length 4 nats^½"]


def test_lines_of_the_cycle_by_hand() -> None:
    text = text_of(ROWS, found_of(ROWS, 1))
    found = cells(text)
    # Q_h = C_h Δγ = 0.8 and Q_c = C_c Δγ = 0.4, each ± 0.01
    assert values_of(found["W = ∮ C dγ"][0]) == pytest.approx([0.4, 0.01])
    assert values_of(found["Q_h, Q_c"][0]) == pytest.approx([0.8, 0.01, 0.4, 0.01])
    assert values_of(found["C_h, C_c"][0]) == pytest.approx([0.8, 0.4])
    # η = 1 - Q_c/Q_h: its error is hypot(0.01, 0.5·0.01)/0.8 = 0.014
    assert values_of(found["η = W/Q_h"][0]) == pytest.approx([0.5, 0.01])
    assert found["η_C = 1 - C_c/C_h"] == ["0.5"]
    assert values_of(found["η at finite speed"][0])[0] == pytest.approx(0.5 - 0.08 / 0.8)
    # errors of the legs in quadrature: of W_λ (above) 0.11, of W_s four times 0.3
    assert found["W = W_λ + W_s"] == ["-0.95 ± 0.6, of -0.95 ± 0.1 and 0 ± 0.6"]
    assert found["end less start"] == ["λ +0 (+0.00%), γ +0 (+0.00%) of their ranges"]
    assert "R +0 (+0.00%), D +0 (+0.00%), C +0 (+0.00%) of the start" in text
    assert found["|Δθ|/|θ|"] == ["0.125"]
    verdicts = {name: cell[-2] for name, cell in found.items() if cell[-1] == "1"}
    assert verdicts == {
        "Clausius, ∮ δQ/C = 0": "holds",
        "cycle, both works": "violated",  # these rows are no equilibria of anything
        "Carnot, η ≤ 1 - C_c/C_h": "holds",
    }
    assert found["test accuracy A"] == ["0.9000 → 0.8000"]
    assert found["test accuracy B"] == ["0.2500 → 0.5000, 0.7500 when the model was there"]
    assert found["files"] == ["runs/v_3"]
    kept = "held: at worst +0.40% ± 0.10% in C at step 3, allowed 1.00%"
    assert found["promise"] == [kept]


def test_a_gap_at_the_end_is_said_in_numbers_and_shares() -> None:
    rows = [r | {"lambda": r["lambda"] + 0.1} if r["phase"] == 4 else r for r in ROWS]
    rows[-1] = row(1, "closure", 4.0, 0, 0.0, R=2.5, D=5.4, C=1.0)
    text = text_of(rows, found_of(rows, 1))
    # λ from 1 to 2, γ from 1 to 2; R = 2, D = 6 and C = 0.8 at the start
    assert "λ +0.1 (+10.00%), γ +0 (+0.00%) of their ranges" in text
    assert "R +0.5 (+25.00%), D -0.6 (-10.00%), C +0.2 (+25.00%) of the start" in text


def test_what_is_not_applicable_is_said_with_its_reasons() -> None:
    rows = [r | {"C": 0.5} if (r["stroke"], r["t"]) == ("cold", 0.5) else r for r in ROWS]
    found = found_of(rows, 1)
    text = text_of(rows, found)
    lines = cells(text)
    for name in ("η = W/Q_h", "η_C = 1 - C_c/C_h", "η at finite speed"):
        assert lines[name] == ["not applicable"]
    reason = "cold: C is 0.5 where C* = 0.4 is to be held"
    assert f"η and η_C are not applicable: {reason}" in text
    assert f"not applicable: {reason}" in text.splitlines()
    assert lines["Carnot, η ≤ 1 - C_c/C_h"][-2] == "not applicable"
    assert max(map(len, text.splitlines())) <= WIDTH


def test_a_heat_pump_has_a_coefficient_of_performance() -> None:
    backwards = [s.path[::-1] for s in reversed(strokes_of_pass(ROWS, 1))]
    found = summarise_cycle(backwards, None, 0.125) | {"cycle": 1}
    lines = cells(text_of(ROWS, found))
    # 0.8 nats are given off for a work of 0.4, and eight relaxations of 0.01 on top of it
    assert values_of(lines["COP = Q_h/|W|"][0])[0] == pytest.approx(2)
    assert values_of(lines["COP_C = C_h/(C_h - C_c)"][0]) == [2]
    assert values_of(lines["COP at finite speed"][0])[0] == pytest.approx(0.8 / 0.48, abs=0.01)
    assert values_of(lines["Q_h, Q_c"][0])[::2] == [0.8, 0.4]
    assert not any(line.startswith("η") for line in lines)
    assert lines["Carnot, |W|/Q_h ≤ 1 - C_c/C_h"][-2] == "holds"
    title = cycle_figure(ROWS, found, 1).get_suptitle()
    assert title.startswith("heat pump: Q$_h$/|W| = 2 ± ")
    assert title.endswith("= 2")


def test_transitions_are_named_by_their_steps() -> None:
    marked = [r | {"transition": "kink" if r["step"] in {15, 16} else ""} for r in ROWS]
    assert cells(text_of(marked, None))["transitions at"] == ["15, 16"]
    assert "transitions" not in text_of(ROWS, None)


@pytest.mark.parametrize("strokes", [1, 2, 4, 7])
@pytest.mark.parametrize("scale", [1.0, 1.23456e-7])
def test_the_table_is_a_hundred_columns_wide_at_most(strokes: int, scale: float) -> None:
    rows = [row(0, "equilibration", 0.0, 0, 0.0)]
    for index in range(strokes):
        names = dict.fromkeys(("lambda", "gamma", "D", "J"), -scale / 3 * (index + 1))
        rows += [row(0, f"part_{index}", index + 1.0, index % 4, 1.0, **names)] * 2
    text = text_of(rows, None)
    assert max(map(len, text.splitlines())) <= WIDTH
    for index in range(strokes):
        assert text.count(f"part_{index}") == 1
    assert max(map(len, text_of(ROWS, found_of(ROWS, 1)).splitlines())) <= WIDTH
