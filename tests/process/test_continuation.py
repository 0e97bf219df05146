"""The engine without a trainer, on a system whose equilibrium is known in closed form."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from support.exact_process import GAM, LAM, K, Process, make_process
from support.exact_runs import MOVING, make_system
from support.small_networks import SHAPE, parts
from support.small_networks import K as LATENT
from thermo_pl.errors import ConfigError, DataError, InfeasibleTarget, ProcessStopped
from thermo_pl.networks import Gaussian, MLPClassifier, MLPDecoder, Networks
from thermo_pl.path.columns import COLUMNS
from thermo_pl.process import (
    AdaptiveSteps,
    IsoClassificationRule,
    Probes,
    Relaxation,
    Relaxed,
    Result,
    State,
    System,
    TensorPairs,
    TensorPath,
)
from thermo_pl.process.probing import ProbeSource
from thermo_pl.process.state import from_plain, to_plain

TIGHT = 1e-4


def run(process: Process, relax: Any, state: State[Any] | None = None) -> list[Result[Any]]:
    return list(process.run(state or process.start(), relax))


def rows_of(results: list[Result[Any]]) -> list[dict[str, Any]]:
    return [{k: repr(v) for k, v in result.row.items() if k != "seconds"} for result in results]  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def whole() -> list[Result[Any]]:
    return run(*make_process())


def test_the_path_is_that_of_the_closed_form(whole: list[Result[Any]]) -> None:
    system, rows = make_system(MOVING), whole[-1].state.rows
    held = system.state(LAM, GAM, 0.0).C
    times = [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [row["t"] for row in rows] == times
    assert [row["lambda"] for row in rows] == pytest.approx([LAM + K * t for t in times])
    # the corrector stops at a thousandth of C*, along the exact slopes of γ
    assert [row["C"] for row in rows] == pytest.approx([held] * 5, rel=1e-3)
    exact = system.iso_classification(held, LAM, K, times).tolist()
    assert [row["gamma"] for row in rows] == pytest.approx(exact, rel=5e-3)
    assert max(exact) / min(exact) > 1.05  # a constant γ would not do
    for row in rows:
        slope = system.derivatives(row["lambda"], row["gamma"], row["t"])[2].tolist()
        found = [row["C_lambda"], row["C_gamma"], row["C_t"]]
        assert found == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_every_result_has_a_row_of_all_columns(whole: list[Result[Any]]) -> None:
    assert [result.row for result in whole] == whole[-1].state.rows
    assert all(set(result.row or {}) == set(COLUMNS) for result in whole)
    assert [result.state.phase for result in whole] == ["process"] * 4 + ["done"]
    assert whole[-1].state.proposal is None


def test_a_rule_that_is_asked_twice_gives_the_same_answer() -> None:
    process, relax = make_process()
    for result in process.run(process.start(), relax):
        here, course = process.here(result.state), result.state.course
        first, second = (process.rule.propose(course, here) for _ in range(2))
        assert first == second == result.state.proposal
        if first is None:
            continue
        judged = [process.rule.judge(course, first, 0.1) for _ in range(2)]
        assert judged[0] == judged[1]
        moved = here.point._replace(C=1.01 * here.point.C)
        corrections = [process.rule.correct(course, here.point, moved) for _ in range(2)]
        assert corrections[0] == corrections[1]
        assert corrections[0].gam > 0  # C too high: more γ


def test_a_step_that_is_begun_twice_is_the_same_step() -> None:
    process, relax = make_process()
    state = next(process.run(process.start(), relax)).state
    before = process.system.snapshot()
    steps = []
    for _ in range(2):
        steps.append(process.begin(state))
        process.system.restore(before)
    assert steps[0].predicted == steps[1].predicted
    assert steps[0].work == steps[1].work
    assert steps[0].proposal == steps[1].proposal


@pytest.mark.parametrize("cut", [1, 3])
def test_a_state_that_was_saved_goes_on_to_the_same_rows(
    whole: list[Result[Any]], cut: int
) -> None:
    process, relax = make_process()
    results = process.run(process.start(), relax)
    taken = [next(results) for _ in range(cut)]
    saved = io.BytesIO()
    torch.save(to_plain(taken[-1].state), saved)
    place, theta = process.system.data, process.system.networks.state_dict()
    again, relax = make_process()
    again.system.networks.load_state_dict(theta)
    again.system.data.move_to(place.leg, place.t)
    saved.seek(0)
    state = from_plain(torch.load(saved, weights_only=True), again.rule.course)
    assert rows_of(taken) + rows_of(run(again, relax, state)) == rows_of(whole)


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(DataError, match=r"^checkpoint: got a process with memory, pace; allowed"):
        from_plain({"memory": {}, "pace": (0.1, 0.1)}, IsoClassificationRule.course)


def until_it_stops(process: Process, relax: Any) -> tuple[list[Result[Any]], str]:
    """The results up to the one that fails, and what is said."""
    results: list[Result[Any]] = []
    running = process.run(process.start(), relax)
    with pytest.raises(ProcessStopped) as stopped:
        results.extend(running)
    return results, f"{type(stopped.value).__name__} {stopped.value}"


def test_what_was_measured_is_there_when_the_process_must_stop() -> None:
    # the closed form takes γ from 2 to 1.65
    results, said = until_it_stops(*make_process(gamma_range=(1.8, 10.0)))
    assert re.match(r"InfeasibleTarget gamma: got 1\.7.*; allowed: 1\.8 to 10;", said)
    times = [result.row["t"] for result in results if result.row]
    assert times[:3] == [0.0, 0.25, 0.5]
    assert len(times) > 3  # a quarter of the path is too long a step from here
    assert max(times) < 0.75
    assert isinstance(results[-1].failure, InfeasibleTarget)
    assert results[-1].state.rows[-1] == results[-1].row


def test_an_equilibrium_that_is_not_reached_says_how_far_it_is() -> None:
    process, _ = make_process()
    with torch.no_grad():
        for parameter in process.system.networks.parameters():
            parameter.mul_(1.01)
    results, said = until_it_stops(process, lambda part, parts: Relaxed())
    assert re.match(r"NotEquilibrated equilibration: got a stationarity of .* after 4 epochs", said)
    assert [len(result.state.checks) for result in results] == [4]
    assert results[0].row is not None


def test_a_rejected_step_is_tried_shorter_from_the_same_place() -> None:
    rows = run(*make_process(steps=AdaptiveSteps(tolerance=TIGHT, max_step=0.5)))[-1].state.rows
    assert sum(row["rejected"] for row in rows) > 0
    assert max(row["predictor_miss"] for row in rows[1:]) <= TIGHT
    assert rows[-1]["t"] == 1


def tensors() -> TensorPairs:
    torch.manual_seed(0)
    y = torch.eye(2).repeat(10, 1)
    x = torch.rand(20, 1, 2, 3)
    return TensorPairs(x, x.flip(-1), y)


def test_pairs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"pairs: got \(2, 3\), \(2, 4\) and labels \(2, 2\)"):
        TensorPairs(torch.zeros(2, 3), torch.zeros(2, 4), torch.eye(2))
    with pytest.raises(DataError, match="a row of labels for each"):
        TensorPairs(torch.zeros(3, 3), torch.zeros(3, 3), torch.eye(2))


def test_values_that_the_likelihood_does_not_know_are_refused() -> None:
    networks, pairs = Networks(**parts()), tensors()
    ProbeSource(Probes()).drawn("solving", 0, networks, TensorPath(pairs), 0)
    wide = TensorPairs(pairs.all().source, 3 * pairs.all().target - 1, torch.eye(2).repeat(10, 1))
    message = r"likelihood: got Bernoulli for values from -.* to .*; allowed: values from 0 to 1,"
    with pytest.raises(DataError, match=message):
        ProbeSource(Probes()).drawn("solving", 0, networks, TensorPath(wide), 0)
    gaussian = MLPDecoder(SHAPE, LATENT, likelihood=Gaussian())
    for other in ({"decoder": gaussian}, {"decoder": None, "lam": 0.0}):
        ProbeSource(Probes()).drawn("solving", 0, Networks(**parts(**other)), TensorPath(wide), 0)


def test_a_path_of_tensors_knows_its_place() -> None:
    path = TensorPath(tensors())
    path.move_to(0, 0.25)
    assert (path.leg, path.t) == (0, 0.25)
    assert path.coupling("train").draw(7).weight.tolist() == [1.0] * 7
    for refused in (lambda: path.move_to(1, 0.0), lambda: path.move_to(0, 1.5)):
        with pytest.raises(ConfigError):
            refused()
    with pytest.raises(ConfigError, match="split: got 'val'; allowed: train"):
        path.coupling("val")


def test_relaxation_takes_its_share_of_the_batches_and_counts_them() -> None:
    networks = Networks(**parts(classifier=MLPClassifier(2, 2), samples=3))
    system = System(networks, TensorPath(tensors()))
    with pytest.raises(ConfigError, match=r"optimizer: got None; allowed: System\("):
        Relaxation(system)(0, 1)
    optimizer = torch.optim.SGD(networks.parameters(), lr=0.25)
    relax = Relaxation(replace(system, optimizer=optimizer), batches=7, batch_size=4)
    took = [relax(part, 3) for part in range(3)]
    assert [part.time for part in took] == [0.5, 0.5, 0.75]
    assert sum(part.gradients for part in took) == 7 * 4 * 3
