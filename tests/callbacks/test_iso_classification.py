"""Iso-classification on real digits: requirements, contracts, probes, legs, targets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.process_runs import (
    SHAPE,
    Run,
    differ_throughout,
    equal_probes,
    fit,
    ids,
    json_of,
    make_model,
    make_process,
    recorded_probes,
)
from thermo_pl.callbacks import Equilibration, Probes, ProcessProgress, RunReport
from thermo_pl.errors import ConfigError, InfeasibleTarget
from thermo_pl.networks import LinearClassifier, MLPDecoder, MLPEncoder, StandardNormal
from thermo_pl.path.columns import COLUMNS
from thermo_pl.response.solvers import Status

Data = Callable[..., Any]
STEPS = 5
BATCHES = 40


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Run:
    """A process from a real equilibrium to the other domain, with a report."""
    process = make_process(
        steps=STEPS, k=0.7, equilibration=Equilibration(stationarity=0.5, max_epochs=40)
    )
    callbacks = ProcessProgress(), RunReport()
    directory = tmp_path_factory.mktemp("whole")
    model = make_model(
        encoder=MLPEncoder(SHAPE, 4, [16]),
        classifier=LinearClassifier(4, 2),
        decoder=MLPDecoder(SHAPE, 4, [16]),
        marginal=StandardNormal(4),
        scheduler=partial(torch.optim.lr_scheduler.CosineAnnealingWarmRestarts, T_0=BATCHES),
    )
    source = data(train_batches=BATCHES, batch_size=128)
    return fit(directory, source, *callbacks, process=process, model=model)


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Run:
    """The same without the restoring term: γ goes where requirement (1) alone sends it."""
    return fit(tmp_path_factory.mktemp("free"), data(), process=make_process(restoring=False))


@pytest.fixture(scope="module")
def unpredicted(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Run:
    return fit(tmp_path_factory.mktemp("plain"), data(), process=make_process(predictor=False))


@pytest.fixture(scope="module")
def legs(tmp_path_factory: pytest.TempPathFactory, data: Data) -> tuple[Run, Any]:
    """Three waypoints; both probes of one size, so that equal streams would give equal draws."""
    process = make_process(
        probes=Probes(256, 2, True, 256, 2, 256, 2),
        equilibration=Equilibration(stationarity=0.6, max_epochs=40),
    )
    directory = tmp_path_factory.mktemp("legs")
    with recorded_probes() as probes:
        run = fit(directory, data((0, 1), (5, 6), (2, 3), train_batches=16), process=process)
    return run, probes


# --- what a run leaves behind ---


def test_path_has_the_columns_of_the_schema_and_a_value_in_each(whole: Run) -> None:
    header = (whole.directory / "path.csv").read_text().splitlines()[0].split(",")
    assert header == list(COLUMNS)
    # no transition was met, no step was taken back, S is not held, and there is no Retention
    empty = {"transition", "rejection", "S_target", "kept_C", "kept_accuracy"}
    for row in whole.rows[1:]:
        assert {name for name in COLUMNS if row[name] is None} == empty


def test_one_row_per_macro_step_after_that_of_the_equilibration(whole: Run) -> None:
    rows = whole.rows
    assert [row["stroke"] for row in rows] == ["equilibration"] + STEPS * ["iso_classification"]
    assert [row["step"] for row in rows] == list(range(STEPS + 1))
    assert {row["cycle"] for row in rows} == {row["leg"] for row in rows} == {0}
    # nothing was known before the first response, and there was no row before
    assert rows[0]["C_predicted"] is None
    assert rows[0]["first_law_residual"] is None


def test_requirement_3_lambda_and_t_go_at_constant_rates(whole: Run) -> None:
    t = np.array([row["t"] for row in whole.rows])
    np.testing.assert_allclose(t, np.arange(STEPS + 1) / STEPS, rtol=0, atol=1e-15)
    assert t[-1] == 1
    lam = [row["lambda"] for row in whole.rows]
    np.testing.assert_allclose(lam, 1.0 + 0.7 * t, rtol=0, atol=1e-14)


def test_c_is_held_where_the_equilibrium_had_it(whole: Run) -> None:
    first, *others = whole.rows
    assert {row["C_target"] for row in whole.rows} == {first["C"]}
    assert max(abs(row["C_control"] / first["C_control"] - 1) for row in others) < 0.05
    # an uncontrolled model loses C altogether on the way, as does an unrelaxed one
    assert max(abs(row["C_predicted"] / first["C"] - 1) for row in others) < 0.5


def test_model_and_data_end_where_the_path_does(whole: Run) -> None:
    last = whole.rows[-1]
    assert (float(whole.model.lam), float(whole.model.gam)) == (last["lambda"], last["gamma"])
    assert (whole.data.leg, whole.data.t) == (0, 1.0)
    assert whole.process.state.phase == "done"


def test_numbers_are_plausible(whole: Run) -> None:
    for row in whole.rows:
        assert row["J"] == pytest.approx(
            row["R"] + row["lambda"] * row["D"] + row["gamma"] * row["C"], rel=1e-5
        )
        assert min(row["R"], row["C"], row["gamma"], row["C_error"], row["val_C"]) > 0
        assert row["C_gamma"] < 0  # F is concave
        assert row["D_lambda"] < 0
        # Maxwell: the solves are truncated at a relative residual of 1%
        assert row["C_lambda"] == pytest.approx(row["D_gamma"], rel=0.05, abs=1e-3)
        assert row["solver_status"] == Status.CONVERGED
        assert 0 < row["solver_iterations"] <= 50
        assert 0 <= row["val_accuracy"] <= 1
    # the gradients of 40 batches of 128, and of the probe of 256 solved on: a product for each of
    # four right-hand sides at most in each iteration, and for one of them at least
    step = whole.rows[-1]
    solved, rest = divmod(step["gradients"] - BATCHES * 128, 256)
    assert rest == 0
    assert step["solver_iterations"] <= solved - 8 <= 4 * step["solver_iterations"]


def test_equilibration_csv(whole: Run) -> None:
    lines = (whole.directory / "equilibration.csv").read_text().splitlines()
    header, *checks = [line.split(",") for line in lines]
    assert header == [
        "epoch",
        "stationarity",
        "R",
        "D",
        "C",
        "J",
        "fall",
        "allowed",
        "learning_rate",
    ]
    energies = [float(check[5]) for check in checks]
    falls = [(before - after) / 5 for before, after in pairwise(energies)]
    assert [float(check[6]) for check in checks[1:]] == pytest.approx(falls)
    assert [int(check[0]) for check in checks] == [5 * (i + 1) for i in range(len(checks))]
    assert len(checks) >= 2
    last = [float(check[1]) for check in checks[-2:]]
    assert sum(last) / 2 <= 0.5
    assert checks[-1][4] == str(whole.rows[0]["C"])
    # it stopped at the first pair of checks that allowed it
    earlier = [float(check[1]) for check in checks[:-1]]
    assert all(a + b > 1.0 for a, b in pairwise(earlier))


def test_summary_and_table(whole: Run) -> None:
    summary = json_of(whole.directory / "summary.json")
    rows = whole.rows
    misses = [abs(row["C"] / row["C_target"] - 1) for row in rows[1:]]
    assert summary["drift_max"] == pytest.approx(max(misses), rel=1e-12)
    assert summary["drift_mean"] == pytest.approx(np.mean(misses), rel=1e-12)
    assert summary["steps"] == STEPS
    assert summary["ending"] == "done"
    assert summary["lambda"] == [rows[0]["lambda"], rows[-1]["lambda"]]
    assert summary["gamma"] == [rows[0]["gamma"], rows[-1]["gamma"]]
    assert summary["accuracy"]["A"][0] > 0.9
    assert summary["accuracy"]["B"][1] > 0.8
    lines = dict(line.split("  ", 1) for line in whole.out.splitlines() if "  " in line.strip())
    assert f"max {max(misses):.2%}" in lines["drift |C/C*-1|"]
    assert lines["lambda"].strip() == "1 → 1.7"
    assert lines["process"].strip().startswith(f"done, {STEPS} steps")
    assert lines["files"].strip() == str(whole.directory)


def test_parameters_are_edited_never_replaced(whole: Run) -> None:
    held = ids(whole.trainer)
    assert held == whole.before.parameters
    assert held == [id(p) for p in whole.model.parameters()]
    # and the optimiser still moves them
    snaps = whole.after.batches
    assert not torch.equal(snaps[-3]["theta"], snaps[-2]["theta"])


# --- requirement 1 ---


def planned_by_hand(
    row: dict[str, Any], steps: int, k: float, target: float | None = None
) -> float:
    # θ̇ is eliminated: C_λ k + C_γ γ̇ + C_t ṫ = 0, with (C* - C)/C_γ on top
    dt = 1 / steps
    step = -(k * dt * row["C_lambda"] + dt * row["C_t"]) / row["C_gamma"]
    if target is not None:
        step += (target - row["C_control"]) / row["C_gamma"]
    return float(step)


def test_requirement_1_with_the_restoring_term(whole: Run) -> None:
    plans = [snap["planned"] for snap in whole.after.epoch_end if snap["rows"]][:STEPS]
    free_steps = 0
    for row, (lam, gam, t) in zip(whole.rows[:-1], plans, strict=True):
        assert (lam, t) == (pytest.approx(0.7 / STEPS), pytest.approx(1 / STEPS))
        expected = planned_by_hand(row, STEPS, 0.7, whole.rows[0]["C_control"])
        if -row["gamma"] / 2 < expected < row["gamma"]:
            free_steps += 1
            assert gam == pytest.approx(expected, rel=1e-9)
        else:  # at most a factor of two
            assert gam in {-row["gamma"] / 2, row["gamma"]}
    assert free_steps >= 3


def test_requirement_1_alone(free: Run) -> None:
    for a, b in pairwise(free.rows):
        expected = planned_by_hand(a, 3, 1.0)
        expected = min(max(expected, -a["gamma"] / 2), a["gamma"])
        assert b["gamma"] - a["gamma"] == pytest.approx(expected, rel=1e-9)
    changes = [abs(b["gamma"] / a["gamma"] - 1) for a, b in pairwise(free.rows)]
    assert max(changes) > 0.01


def test_the_restoring_term_matters(free: Run, whole: Run) -> None:
    drift = max(abs(row["C"] / row["C_target"] - 1) for row in free.rows)
    assert drift > 0.1


# --- the predictor ---


def motions(run: Run) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    pairs = zip(run.before.epoch_start, run.after.epoch_start, strict=True)
    return [pair for pair in pairs if pair[0]["phase"] == "process"]


def test_the_predictor_moves_theta_by_amounts_times_directions(whole: Run) -> None:
    moves = motions(whole)
    assert len(moves) == STEPS
    for before, after in moves:
        amounts = torch.tensor(before["planned"], dtype=before["theta"].dtype)
        expected = before["theta"] + amounts @ before["directions"]
        assert torch.equal(after["theta"], expected)
        assert not torch.equal(after["theta"], before["theta"])
        for name, moved in zip(("lam", "gam", "t"), before["planned"], strict=True):
            assert after[name] == pytest.approx(before[name] + moved, rel=1e-15)


def test_without_the_predictor_theta_stays(unpredicted: Run) -> None:
    moves = motions(unpredicted)
    assert len(moves) == 3
    for before, after in moves:
        assert torch.equal(after["theta"], before["theta"])
        assert (after["lam"], after["t"]) > (before["lam"], before["t"])
    # nor does the corrector move it: what the last batch left is what is measured
    for batch, end in zip(
        unpredicted.after.batches[7::8], unpredicted.after.epoch_end, strict=True
    ):
        assert torch.equal(batch["theta"], end["theta"])


def test_without_the_predictor_a_miss_is_taken_out_once(unpredicted: Run) -> None:
    # C cannot answer while θ stays: a correction, and then the next plan, would count it twice
    rows, starts = unpredicted.rows, unpredicted.after.epoch_start[-3:]
    assert {row["corrections"] for row in rows} == {0}
    misses = []
    for a, b, start in zip(rows, rows[1:], starts, strict=False):
        misses.append(rows[0]["C_control"] - a["C_control"])
        moved = a["C_lambda"] * (b["lambda"] - a["lambda"]) + a["C_t"] * (b["t"] - a["t"])
        step = (misses[-1] - moved) / a["C_gamma"]
        once = min(max(step, -a["gamma"] / 2), a["gamma"])
        assert start["gam"] - a["gamma"] == pytest.approx(once)
        assert b["gamma"] == start["gam"]
    assert max(map(abs, misses)) > 0.01 * rows[0]["C_control"]


def test_equilibration_moves_nothing(whole: Run) -> None:
    for before, after in zip(whole.before.epoch_start, whole.after.epoch_start, strict=True):
        if before["phase"] == "equilibration":
            assert torch.equal(after["theta"], before["theta"])
            assert (after["lam"], after["gam"], after["t"]) == (1.0, 5.0, 0.0)


def test_relaxation_is_at_fixed_control(whole: Run) -> None:
    # between the predictor and the corrector nothing but θ moves
    by_epoch = [
        whole.after.batches[i : i + BATCHES] for i in range(0, len(whole.after.batches), BATCHES)
    ]
    for start, batches in zip(whole.after.epoch_start, by_epoch, strict=True):
        for batch in batches[:-1]:
            for name in ("lam", "gam", "t", "leg"):
                assert batch[name] == start[name]


# --- the probes ---


def test_measuring_probe_stays_on_a_leg_and_no_solve_sees_it(legs: tuple[Run, Any]) -> None:
    _, (measuring, solving, witness) = legs
    kinds = [measuring[0]]
    for probe in measuring:
        if not equal_probes(probe, kinds[-1]):
            kinds.append(probe)
    assert len(kinds) == 2  # one for each leg
    assert differ_throughout(*kinds)
    for measured in kinds:
        for probe in solving + witness:
            assert measured.noise.shape == probe.noise.shape
            assert differ_throughout(measured, probe)
    for a, b in zip(solving, witness, strict=True):
        assert differ_throughout(a, b)


def test_solving_probe_is_drawn_anew_at_each_solve(legs: tuple[Run, Any]) -> None:
    _, (_, solving, witness) = legs
    assert len(solving) > 5
    for probes in (solving, witness):
        for i, a in enumerate(probes):
            assert all(differ_throughout(a, b) for b in probes[:i])


def test_without_redraw_the_solving_probe_stays(tmp_path: Path, data: Data) -> None:
    process = make_process(probes=Probes(256, 2, False, 256, 2, 256, 2))
    with recorded_probes() as (measuring, solving, witness):
        fit(tmp_path, data(), process=process)
    assert len(solving) == 5
    assert all(equal_probes(probe, solving[0]) for probe in solving)
    assert all(equal_probes(probe, witness[0]) for probe in witness)
    assert differ_throughout(solving[0], witness[0])
    assert differ_throughout(solving[0], measuring[0])


# --- legs ---


def test_two_legs(legs: tuple[Run, Any]) -> None:
    run, _ = legs
    rows = run.rows
    where = [(row["leg"], round(row["t"], 6)) for row in rows]
    third = round(1 / 3, 6), round(2 / 3, 6)
    one = [(0, 0.0), (0, third[0]), (0, third[1]), (0, 1.0)]
    assert where == one + [(1, t) for _, t in one]
    assert run.process.macro_steps == len(rows) - 1
    lam = [row["lambda"] for row in rows]
    np.testing.assert_allclose(lam, [1, 4 / 3, 5 / 3, 2, 2, 7 / 3, 8 / 3, 3], rtol=1e-14)
    empty = [i for i, row in enumerate(rows) if row["first_law_residual"] is None]
    assert empty == [0, 4]
    assert (run.data.leg, run.data.t) == (1, 1.0)
    assert [stroke["status"] for stroke in run.strokes] == ["done", "done"]


def test_c_is_held_on_both_legs(legs: tuple[Run, Any]) -> None:
    run, _ = legs
    target = run.rows[0]["C"]
    assert {row["C_target"] for row in run.rows} == {target}
    held = run.rows[0]["C_control"]
    assert max(abs(row["C_control"] / held - 1) for row in run.rows) < 0.05


@pytest.mark.slow
def test_a_static_domain(tmp_path: Path, data: Data) -> None:
    run = fit(tmp_path, data((0, 1)), process=make_process(steps=2))
    assert [row["t"] for row in run.rows] == [0, 0.5, 1]
    assert max(abs(row["C_t"]) for row in run.rows) < 1e-6
    assert [row["lambda"] for row in run.rows] == [1, 1.5, 2]
    assert max(abs(row["C"] / row["C_target"] - 1) for row in run.rows) < 0.05


# --- a target of one's own ---


@pytest.mark.parametrize("target", [0.2, 0.45])
def test_approach(tmp_path: Path, data: Data, target: float) -> None:
    process = make_process(c_target=target, steps=2, k=0.2)
    run = fit(tmp_path, data((0, 1)), process=process)
    names = [row["stroke"] for row in run.rows]
    approach = [row for row in run.rows if row["stroke"] == "approach"]
    assert names == ["equilibration"] + len(approach) * ["approach"] + 2 * ["iso_classification"]
    assert 1 <= len(approach) <= 40
    assert {(row["lambda"], row["t"]) for row in approach} == {(1.0, 0.0)}
    assert abs(run.rows[0]["C_control"] / target - 1) > 0.005
    assert abs(approach[-1]["C_control"] / target - 1) <= 0.005
    assert all(abs(row["C_control"] / target - 1) > 0.005 for row in approach[:-1])
    assert {row["C_target"] for row in run.rows} == {target}
    assert max(abs(row["C_control"] / target - 1) for row in run.rows[-2:]) < 0.05
    strokes = [(stroke["stroke"], stroke["status"]) for stroke in run.strokes]
    done = ["equilibration", "approach", "iso_classification"]
    assert strokes == [(name, "done") for name in done]


@pytest.mark.parametrize(("target", "side"), [(1e-7, "below what"), (20.0, "no classifier")])
def test_a_target_out_of_reach_stops_the_run(
    tmp_path: Path, data: Data, target: float, side: str
) -> None:
    process = make_process(c_target=target)
    run = fit(tmp_path, data(train_batches=2), RunReport(), process=process, fails=True)
    assert isinstance(run.error, InfeasibleTarget)
    assert "\n" not in str(run.error)
    assert side in str(run.error)
    assert len(run.rows) <= 1 + 40
    assert {row["t"] for row in run.rows} == {0.0}
    assert run.strokes[-1]["status"] == f"stopped: {run.error}"
    gamma = run.rows[-1]["gamma"]
    assert gamma > 20 if target < 1 else gamma <= 5


def test_an_approach_that_takes_too_long(tmp_path: Path, data: Data) -> None:
    process = make_process(c_target=0.2, approach_steps=1, approach_tolerance=1e-9)
    run = fit(tmp_path, data(), process=process, fails=True)
    assert isinstance(run.error, InfeasibleTarget)
    assert "c_target: got 0.2" in str(run.error)
    assert "after 1 steps" in str(run.error)
    assert [row["stroke"] for row in run.rows] == ["equilibration", "approach"]


# --- what cannot be begun ---


@pytest.mark.parametrize(
    ("process", "model", "parts"),
    [
        ({"k": -2.0}, {}, ["k: got -2.0", "at least -1"]),
        ({}, {"gam": 0.0}, ["gam: got 0.0", "> 0"]),
        ({}, {"gam": 0.0, "classifier": None}, ["classifier"]),
    ],
    ids=["k", "gam", "classifier"],
)
def test_what_cannot_be_held_is_refused_at_once(
    tmp_path: Path, data: Data, process: dict[str, Any], model: dict[str, Any], parts: list[str]
) -> None:
    arguments = {"model": make_model(**model), "process": make_process(**process)}
    run = fit(tmp_path, data(), **arguments, fails=True)
    assert isinstance(run.error, ConfigError)
    assert run.error.exit_code == 2
    assert "\n" not in str(run.error)
    for part in parts:
        assert part in str(run.error)
    assert run.trainer.global_step == 0


@pytest.mark.slow
def test_k_may_take_lambda_to_zero(tmp_path: Path, data: Data) -> None:
    run = fit(tmp_path, data(), process=make_process(k=-1.0, steps=3))
    assert run.rows[-1]["lambda"] == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"k": float("nan")}, ["k: got nan"]),
        ({"steps": 0}, ["steps: got 0"]),
        ({"c_target": 0.0}, ["c_target: got 0.0"]),
        ({"c_target": float("inf")}, ["c_target: got inf"]),
        ({"gamma_range": (1.0, 1.0)}, ["gamma_range: got [1.0, 1.0]"]),
        ({"gamma_range": (0.0, 1.0)}, ["gamma_range: got [0.0, 1.0]"]),
        ({"approach_tolerance": 0.0}, ["approach_tolerance: got 0.0"]),
        ({"approach_steps": 0}, ["approach_steps: got 0"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_arguments(arguments: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        make_process(**arguments)
    assert all(part in str(caught.value) for part in parts)
