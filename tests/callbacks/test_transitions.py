"""Transitions: signs on rows by hand, and a latent that switches on or off in closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from support.exact_runs import STILL, fit_exact, make_linear_model, make_system
from support.process_runs import Run, json_of
from thermo_pl.callbacks import RunReport
from thermo_pl.path.columns import BACK, COLUMNS, FORWARD, Row
from thermo_pl.path.segments import hysteresis
from thermo_pl.process.transitions import TransitionMet, kick, transition
from thermo_pl.reports.figures import control_figure

NAN = float("nan")
# λ falls from 0.85 to 0.45 and back; the third latent is on above 0.625
SWEEP: dict[str, Any] = {"lam": 0.85, "k": -0.4, "steps": 10}
SWITCH = 0.625


# --- signs on rows ---


def smooth(count: int, **others: Any) -> list[Row]:
    """Steps of a path on which nothing happens."""
    blank: Row = dict.fromkeys(COLUMNS, 0.0)
    first = blank | {"length": NAN, "length_change": NAN, "predictor_miss": NAN, "relaxation": NAN}
    step = blank | {"length": 0.1, "length_change": 0.002, "predictor_miss": 0.003}
    step |= {"relaxation": 0.005, "relaxation_error": 1e-4}
    rows = [first | {"stroke": "equilibration"}] + count * [step | {"stroke": FORWARD}]
    return [row | {"step": i, "transition": ""} | others for i, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, ""),
        ({"length_change": -0.03}, "kink"),
        ({"length_change": 0.03}, "kink"),
        ({"length_change": 0.019}, ""),  # ten times the median, but below a fifth
        ({"relaxation": 0.06}, "jump"),
        ({"relaxation": 0.04}, ""),
        ({"relaxation": 0.06, "relaxation_error": 0.02}, ""),  # not significant
        ({"predictor_miss": 0.04}, "miss"),
        ({"predictor_miss": 0.015}, ""),
        # a longer step misses more and gives off more; that is no sign
        ({"length": 0.4, "predictor_miss": 0.048, "relaxation": 0.08, "length_change": 0.008}, ""),
        ({"length": 0.0}, ""),
    ],
)
def test_signs(change: Row, word: str) -> None:
    *before, last = smooth(8)
    assert transition([*before, last | change]) == word


def test_nothing_is_marked_without_a_history_or_twice() -> None:
    broken = {"length_change": 0.15}
    assert transition([*smooth(3), smooth(1)[1] | broken]) == ""
    assert transition([*smooth(4), smooth(1)[1] | broken]) == "kink"
    *before, last = smooth(6)
    marked = [*before, last | broken | {"transition": "kink"}]
    assert transition([*marked, last | broken]) == ""
    assert transition([*marked, last, last | broken]) == "kink"


def test_another_leg_or_stroke_is_no_history() -> None:
    broken = smooth(1)[1] | {"length_change": 0.15}
    assert transition([*smooth(6), broken | {"leg": 1}]) == ""
    assert transition([*smooth(6), broken | {"stroke": BACK}]) == ""


@given(st.lists(st.floats(0.3, 3), min_size=6, max_size=30))
def test_noise_within_a_factor_of_three_is_never_marked(noise: list[float]) -> None:
    rows = smooth(len(noise))
    for row, factor in zip(rows[1:], noise, strict=True):
        row["length_change"] *= factor
        row["relaxation"] *= factor
        row["predictor_miss"] *= factor
    assert {transition(rows[:i]) for i in range(1, len(rows) + 1)} == {""}


# --- hysteresis ---


def passes() -> list[Row]:
    """γ = t² on the way there, higher on the way back; R has an error, D and C agree."""
    rows = []
    for i, stroke in enumerate(["equilibration", *4 * [FORWARD], *4 * [BACK]]):
        t = min(i, 8 - i) / 4
        row: Row = dict.fromkeys(COLUMNS, 0.0) | {"stroke": stroke, "t": t, "transition": ""}
        row |= {"gamma": t * t + (0.1 * (1 - t) * t if stroke == BACK else 0), "C_gamma": -0.5}
        row |= {"C_error": 0.03, "R_error": 0.01, "R": 1.0 + (stroke == BACK and i == 7)}
        rows.append(row)
    return rows


def test_hysteresis_by_hand() -> None:
    found = hysteresis(passes())
    assert found["gamma"].difference == pytest.approx(0.025)
    assert found["gamma"].t == pytest.approx(0.5)
    assert found["gamma"].error == pytest.approx(2**0.5 * 0.06)
    assert (found["R"].difference, found["R"].t) == (1.0, 0.25)
    assert found["R"].error == pytest.approx(2**0.5 * 0.01)
    assert found["D"].difference == pytest.approx(0, abs=1e-300)
    assert hysteresis(passes()[:5]) == {}


def test_hysteresis_between_unequal_steps() -> None:
    # a linear path is interpolated exactly, wherever the way back stops
    rows = passes()
    for row, t in zip(rows, [0, 0.25, 0.5, 0.75, 1, 0.9, 0.6, 0.33, 0], strict=True):
        row |= {"t": t, "D": 3 * t - (row["stroke"] == BACK) * 0.2}
    assert hysteresis(rows)["D"].difference == pytest.approx(-0.2)


def test_figures_mark_a_transition() -> None:
    rows = passes()
    for row in rows:
        row |= {"C_target": 1.0, "C": 1.0, "C_predicted": 1.0}

    def marks(figure: Figure) -> list[list[float]]:
        dotted = [
            [line for line in axes.get_lines() if line.get_linestyle() == ":"]
            for axes in figure.axes
        ]
        return [[float(np.asarray(line.get_xdata())[0]) for line in lines] for lines in dotted]

    assert marks(control_figure(rows)) == [[], [], [], []]
    rows[3]["transition"] = "kink"
    figure = control_figure(rows)
    assert marks(figure) == 4 * [[0.75]]
    assert "kink" in [text.get_text() for text in figure.axes[0].texts]


# --- a real transition ---


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """There and back over a latent that switches off, and on again."""
    directory = tmp_path_factory.mktemp("sweep")
    report = {"on_transition": "continue", "there_and_back": True, "callbacks": [RunReport()]}
    return fit_exact(directory, STILL, **SWEEP, **report)


def crossings(rows: list[dict[str, Any]]) -> list[int]:
    """Rows at whose step the closed form has another number of active latents than before."""
    system = make_system(STILL)
    active = [system.active_latents(row["lambda"], row["gamma"], row["t"]) for row in rows]
    return [i for i in range(1, len(rows)) if active[i] != active[i - 1]]


@pytest.mark.slow
def test_a_transition_is_marked_where_it_is_and_nowhere_else(sweep: Run) -> None:
    rows = sweep.rows
    marked = [row["step"] for row in rows if row["transition"]]
    expected = crossings(rows)
    assert len(expected) == 2
    assert marked == expected
    for step in marked:
        a, b = sorted((rows[step - 1]["lambda"], rows[step]["lambda"]))
        assert a <= SWITCH <= b
    summary = json_of(sweep.directory / "summary.json")
    assert [found["step"] for found in summary["transitions"]] == marked
    assert [stroke["transitions"] for stroke in sweep.strokes[1:]] == [[marked[0]], [marked[1]]]


@pytest.mark.slow
def test_the_way_back_is_the_way_there_in_reverse(sweep: Run) -> None:
    rows = sweep.rows
    assert [row["t"] for row in rows] == pytest.approx(
        [i / 10 for i in range(11)] + [i / 10 for i in range(9, -1, -1)], abs=1e-12
    )
    assert [row["lambda"] for row in rows] == pytest.approx(
        [0.85 - 0.4 * row["t"] for row in rows], abs=1e-12
    )
    assert sweep.process.macro_steps == len(rows) - 1
    # a transition of second order has no hysteresis, and states are those of the closed form
    found = json_of(sweep.directory / "summary.json")["hysteresis"]
    assert found.keys() == {"R", "D", "C", "gamma"}
    assert max(abs(h["difference"]) for h in found.values()) < 2e-3
    system = make_system(STILL)
    for row in rows:
        state = system.state(row["lambda"], row["gamma"], row["t"])
        assert row["R"] == pytest.approx(state.R, abs=1e-4)
        assert row["C"] == pytest.approx(state.C, abs=1e-4)


@pytest.mark.slow
def test_a_run_that_shall_stop_at_a_transition_does(tmp_path: Path) -> None:
    run = fit_exact(tmp_path, STILL, **SWEEP, on_transition="stop", fails=True)
    assert isinstance(run.error, TransitionMet)
    assert run.error.exit_code == 3
    assert "on_transition: continue" in str(run.error)
    assert run.rows[-1]["transition"] == "kink"
    assert crossings(run.rows) == [run.rows[-1]["step"]]
    assert run.strokes[-1]["status"] == f"stopped: {run.error}"


def test_a_kick_is_small_and_the_same_for_the_same_seed() -> None:
    system = make_system(STILL)
    thetas = []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        model = make_linear_model(system, 1.0, 2.0)
        before = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
        kick(model, seed)
        thetas.append(torch.nn.utils.parameters_to_vector(model.parameters()).detach())
        moved = (thetas[-1] - before).norm() / before.norm()
        assert 3e-4 < moved < 3e-3
    assert torch.equal(thetas[0], thetas[1])
    assert not torch.equal(thetas[0], thetas[2])
