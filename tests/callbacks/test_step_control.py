"""Step controllers by themselves, and in processes: rejected tries leave nothing behind."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.exact_runs import MOVING, fit_exact
from support.process_runs import (
    Run,
    fit,
    json_of,
    last_checkpoint,
    make_process,
    same_model,
    same_path,
)
from thermo_pl.callbacks import (
    AdaptiveSteps,
    ConstantSteps,
    EqualLengthSteps,
    Equilibration,
    IsoClassification,
    RunReport,
    StepControl,
)
from thermo_pl.errors import ConfigError, DataError
from thermo_pl.files import write_csv
from thermo_pl.path.columns import COLUMNS
from thermo_pl.process.step_control import Pace, Place, StepTooSmall, lengths_of_legs

Data = Callable[..., Any]


# --- controllers by themselves ---


def drive(
    control: StepControl, error: Callable[[float, float], float], speed: float = 1.0
) -> tuple[list[float], list[float], int]:
    """Nodes, the errors of the accepted steps and the number of rejections on one leg."""
    s, pace, nodes, errors, rejected = 0.0, Pace(), [0.0], [], 0
    while s < 1:
        following = control.propose(Place(0, s, speed), pace)
        assert s < following <= 1
        accepted, pace = control.judge(following - s, error(s, following - s), pace)
        if accepted:
            errors.append(error(s, following - s))
            s = following
            nodes.append(s)
        else:
            rejected += 1
        assert len(nodes) + rejected < 5000
    return nodes, errors, rejected


@given(steps=st.integers(1, 200))
def test_constant_steps_are_a_regular_grid(steps: int) -> None:
    control = ConstantSteps(steps)
    nodes, _, rejected = drive(control, lambda s, h: math.nan)
    assert nodes == [i / steps for i in range(steps + 1)]
    assert rejected == 0
    for i, s in enumerate(nodes[:-1]):
        assert control.remaining(Place(0, s, 1.0), Pace()) == steps - i


@settings(deadline=None)
@given(
    scale=st.floats(0.01, 1e4),
    wave=st.floats(0, 0.9),
    tolerance=st.floats(1e-3, 0.1),
    order=st.sampled_from([1, 2, 3]),
)
def test_adaptive_steps_never_accept_more_than_the_tolerance(
    scale: float, wave: float, tolerance: float, order: int
) -> None:
    def error(s: float, h: float) -> float:
        return scale * (1 + wave * math.sin(20 * s)) * h**order

    control = AdaptiveSteps(tolerance, min_step=1e-9, max_step=0.2)
    # the first few steps find the scale; more would not end the test in time
    size = (tolerance / scale) ** (1 / order)
    if size < 1e-3:
        return
    nodes, errors, rejected = drive(control, error)
    assert max(errors) <= tolerance
    assert max(np.diff(nodes)) <= 0.2 + 1e-12
    assert nodes[-1] == 1
    assert rejected <= len(nodes)


def test_adaptive_steps_settle_at_the_step_of_the_tolerance() -> None:
    # e = 50 h²: the largest step within 0.02 is 0.02, of which the controller aims at a share
    nodes, errors, rejected = drive(AdaptiveSteps(0.02, 1e-4, 0.1), lambda s, h: 50 * h * h)
    middle = np.diff(nodes)[5:-3]
    assert np.all((middle > 0.7 * 0.02) & (middle <= 0.02))
    assert rejected <= 4
    assert len(errors) < 2 / 0.02


def test_adaptive_steps_follow_a_narrow_place() -> None:
    # near s = 0.5 the error is 10^4 times that elsewhere
    def error(s: float, h: float) -> float:
        return (1 + 1e4 * math.exp(-(((s + h / 2 - 0.5) / 0.02) ** 2))) * h * h

    nodes, errors, rejected = drive(AdaptiveSteps(0.01, 1e-5, 0.1), error)
    sizes = np.diff(nodes)
    near = np.abs(np.array(nodes[:-1]) - 0.5) < 0.01
    assert sizes[near].max() < 0.1 * sizes[~near].max()
    assert rejected > 0
    assert max(errors) <= 0.01


def test_no_tiny_step_is_left_at_the_end_of_a_leg() -> None:
    nodes, _, _ = drive(AdaptiveSteps(0.5, 1e-3, 0.3), lambda s, h: 0.0)
    assert min(np.diff(nodes)) >= 0.15 - 1e-12


def test_the_cut_at_the_end_of_a_leg_does_not_slow_the_next_one() -> None:
    control = AdaptiveSteps(0.02, 1e-3, 0.1)
    _, pace = control.judge(0.001, 0.01, Pace(0.08, 0.01))
    assert pace.size >= 0.08


@pytest.mark.parametrize("error", [0.021, math.inf, math.nan])
def test_a_smallest_step_that_misses_ends_the_run(error: float) -> None:
    control = AdaptiveSteps(0.02, 1e-3, 0.1)
    accepted, pace = control.judge(1.1e-3, error, Pace())
    assert not accepted
    assert pace.size == pytest.approx(1e-3, rel=1e-12)
    with pytest.raises(StepTooSmall, match=r"steps: got .* at least 0\.001") as caught:
        control.judge(1e-3, error, pace)
    assert caught.value.exit_code == 3


@given(length=st.floats(0.01, 0.5), tilt=st.floats(-0.9, 0.9))
@settings(deadline=None)
def test_steps_by_length_are_of_equal_length_where_the_speed_is_known(
    length: float, tilt: float
) -> None:
    # speed 1 + tilt·s; a step misjudges its length by the change of the speed within it
    control = EqualLengthSteps(length)
    s, lengths = 0.0, []
    while s < 1:
        following = control.propose(Place(0, s, 1 + tilt * s), Pace())
        lengths.append((following - s) * (1 + tilt * (s + following) / 2))
        s = following
    # but for the ends of the leg, where the number of steps is rounded
    inner = lengths[: len(lengths) // 2]
    assert all(abs(x / length - 1) < 0.5 for x in inner if len(lengths) > 3)
    assert abs(sum(lengths) - (1 + tilt / 2)) < 1e-9


def pilot_of(tmp_path: Path) -> Path:
    """A run whose length lies mostly at the end: ℓ(t) = t³ in ten steps, on two legs."""
    blank: dict[str, Any] = dict.fromkeys(COLUMNS, 0.0)
    rows = []
    for leg in (0, 1):
        for i in range(11):
            made = blank | {"stroke": "iso_classification", "leg": leg, "t": i / 10}
            rows.append(made | {"length": ((i / 10) ** 3 - ((i - 1) / 10) ** 3) if i else 0.0})
    path = tmp_path / "path.csv"
    write_csv(path, rows, COLUMNS)
    return path


def test_steps_laid_out_on_a_pilot(tmp_path: Path) -> None:
    control = EqualLengthSteps(count=5, pilot=pilot_of(tmp_path))
    nodes, _, _ = drive(control, lambda s, h: 0.0)
    grid = np.linspace(0, 1, 11)
    np.testing.assert_allclose(nodes, np.interp(np.arange(6) / 5, grid**3, grid), atol=1e-12)
    for i, s in enumerate(nodes[:-1]):
        assert control.remaining(Place(1, s, 1.0), Pace()) == 5 - i


def test_the_way_back_visits_the_same_places(tmp_path: Path) -> None:
    control = EqualLengthSteps(count=5, pilot=pilot_of(tmp_path))
    there, _, _ = drive(control, lambda s, h: 0.0)
    s, back = 0.0, [1.0]
    while s < 1:
        s = control.propose(Place(0, s, 1.0, back=True), Pace())
        back.append(1 - s)
    np.testing.assert_allclose(back[::-1], there, atol=1e-12)


def test_a_pilot_of_other_legs_or_without_lengths_is_refused(tmp_path: Path) -> None:
    control = EqualLengthSteps(count=5, pilot=pilot_of(tmp_path))
    with pytest.raises(DataError, match="without leg 2"):
        control.propose(Place(2, 0.0, 1.0), Pace())
    empty = tmp_path / "empty.csv"
    write_csv(empty, [dict.fromkeys(COLUMNS, 0.0)], COLUMNS)
    with pytest.raises(DataError, match="without lengths"):
        EqualLengthSteps(count=5, pilot=empty)
    assert lengths_of_legs([]) == {}


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: AdaptiveSteps(tolerance=0.0), "tolerance: got 0.0"),
        (lambda: AdaptiveSteps(min_step=0.2, max_step=0.1), "min_step: got 0.2"),
        (lambda: AdaptiveSteps(max_step=2.0), "max_step: got 2.0"),
        (lambda: EqualLengthSteps(), "either length, or count and pilot"),
        (lambda: EqualLengthSteps(length=0.1, count=3), "either length, or count and pilot"),
        (lambda: EqualLengthSteps(length=-0.1), "length: got -0.1"),
        (lambda: ConstantSteps(0), "steps: got 0"),
        (lambda: IsoClassification(k=0.1, steps="often"), "steps: got 'often'; allowed: auto, "),  # type: ignore[arg-type]
    ],
)
def test_what_a_controller_refuses(make: Callable[[], object], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert part in str(caught.value)


# --- in a process ---


class Scripted(StepControl):
    """Goes to given places, and takes every step."""

    def __init__(self, nodes: list[float]) -> None:
        """Keep the places."""
        self.nodes = nodes

    def propose(self, place: Place, pace: Pace) -> float:
        return min(node for node in self.nodes if node > place.s)

    def remaining(self, place: Place, pace: Pace) -> int:
        return sum(node > place.s for node in self.nodes)


class Wary(AdaptiveSteps):
    """Steps of a third of the leg are too long for it, whatever they miss by."""

    def __init__(self) -> None:
        """Begin with a try of the whole leg."""
        super().__init__(tolerance=0.02, min_step=1e-3, max_step=1.0)

    def judge(self, size: float, error: float, pace: Pace) -> tuple[bool, Pace]:
        return super().judge(size, math.inf if size > 1 / 3 else error, pace)


@pytest.fixture(scope="module")
def adaptive(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Run:
    """A run whose first tries are too long."""
    directory = tmp_path_factory.mktemp("adaptive")
    callbacks = RunReport(), last_checkpoint(directory)
    return fit(directory, data(), *callbacks, process=make_process(steps=Wary()))


def test_a_process_takes_adaptive_steps(adaptive: Run) -> None:
    moving = [row for row in adaptive.rows if row["stroke"] == "iso_classification"]
    assert sum(row["rejected"] for row in moving) > 0
    assert max(row["predictor_miss"] for row in moving) <= 0.02
    assert moving[-1]["t"] == 1
    assert moving[-1]["lambda"] == pytest.approx(2.0, abs=1e-14)
    assert max(np.diff([0.0, *(row["t"] for row in moving)])) <= 1 / 3
    summary = json_of(adaptive.directory / "summary.json")
    assert summary["rejected"] == sum(row["rejected"] for row in moving)


def test_nothing_of_a_rejected_try_leaks_into_the_result(
    adaptive: Run, tmp_path: Path, data: Data
) -> None:
    # the same steps, taken at once
    nodes = [row["t"] for row in adaptive.rows if row["stroke"] == "iso_classification"]
    plain = fit(tmp_path, data(), process=make_process(steps=Scripted(nodes)))
    # a place that is reached as t + (s - t) may round by one bit: the script goes where it went
    assert [row["t"] for row in plain.rows] == [row["t"] for row in adaptive.rows]
    rows = [row | {"rejected": 0, "rejection": None} for row in adaptive.rows]
    assert same_path(rows, plain.rows) == []
    assert same_model(adaptive.model, plain.model) == []
    states = [run.trainer.optimizers[0].state_dict()["state"] for run in (adaptive, plain)]
    for index, state in states[1].items():
        for name, value in state.items():
            assert torch.equal(states[0][index][name], value)


def test_adaptive_steps_resume_exactly(adaptive: Run, tmp_path: Path, data: Data) -> None:
    def process() -> Any:
        return make_process(steps=Wary())

    cut = fit(
        tmp_path / "cut", data(), last_checkpoint(tmp_path / "cut"), process=process(), max_epochs=4
    )
    assert cut.process.ending.startswith("cut off")
    checkpoint = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    rest = fit(tmp_path / "rest", data(), process=process(), ckpt_path=checkpoint)
    assert same_path(rest.rows, adaptive.rows) == []
    assert same_model(rest.model, adaptive.model) == []


def test_a_process_whose_steps_get_too_small_stops_with_its_reason(
    tmp_path: Path, data: Data
) -> None:
    steps = AdaptiveSteps(tolerance=1e-9, min_step=0.05, max_step=0.5)
    run = fit(tmp_path, data(), process=make_process(steps=steps), fails=True)
    assert isinstance(run.error, StepTooSmall)
    assert run.strokes[-1]["status"] == f"stopped: {run.error}"
    assert len(run.rows) == 1


def test_a_number_stands_for_constant_steps() -> None:
    for steps in (3, ConstantSteps(3)):
        found = make_process(steps=steps).rule.steps
        assert (type(found), vars(found)) == (ConstantSteps, {"steps": 3})


# --- thermodynamic length on a system in closed form ---


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Data that move, in equal steps of t; λ falls, so that the length lies late."""
    return fit_exact(tmp_path_factory.mktemp("constant"), MOVING, lam=3.0, k=-2.2, steps=16, **DEEP)


DEEP: dict[str, Any] = {"equilibration": Equilibration(1e-8, max_epochs=20, check_every=1)}


@pytest.mark.slow
def test_each_step_dissipates_half_the_square_of_its_length(exact: Run) -> None:
    for row in exact.rows[1:]:
        # equal up to the next order in the step, which the change of the metric shows
        bound = abs(row["length_change"]) / row["length"] + 0.02
        assert row["relaxation"] == pytest.approx(row["length"] ** 2 / 2, rel=bound), row["step"]


@pytest.mark.slow
def test_steps_of_equal_length_dissipate_less(exact: Run, tmp_path: Path) -> None:
    steps = EqualLengthSteps(count=16, pilot=exact.directory / "path.csv")
    equal = fit_exact(tmp_path, MOVING, lam=3.0, k=-2.2, steps=steps, **DEEP)
    assert len(equal.rows) == len(exact.rows)
    lengths = np.array([row["length"] for row in equal.rows[1:]])
    spread = [np.std([row["length"] for row in run.rows[1:]]) for run in (exact, equal)]
    assert spread[1] < 0.2 * spread[0]
    given_off = [sum(row["relaxation"] for row in run.rows[1:]) for run in (exact, equal)]
    assert given_off[1] < given_off[0]
    assert given_off[1] == pytest.approx(lengths.sum() ** 2 / 32, rel=0.05)
