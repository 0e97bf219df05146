"""A macro-step counts only if it holds what it must; one that is taken back leaves no trace."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy.optimize import brentq
from torch.optim.lr_scheduler import ExponentialLR

from support.exact_process import GAM, LAM, K, Process, make_process
from support.exact_runs import MOVING, make_system
from thermo_pl.errors import ConfigError, ConstraintLost, InfeasibleTarget
from thermo_pl.process import (
    ConstantSteps,
    Continuation,
    Equilibrium,
    IsoClassificationRule,
    Point,
    Relaxed,
    Result,
    Route,
    State,
    Stroke,
    StrokeRule,
    from_plain,
    seed_relaxation,
    to_plain,
)
from thermo_pl.process.acceptance import Miss
from thermo_pl.process.iso_classification import IsoCourse
from thermo_pl.process.moves import secant
from thermo_pl.process.state import Motion
from thermo_pl.process.stroke_rule import StrokeCourse
from thermo_pl.response import Gradient, Slopes

ONLY_COUNTED = {"seconds", "gradients", "rejected", "rejection"}


def point(**values: float) -> Point:
    return Point(**({"lam": 1.0, "gam": 2.0, "D": 3.0, "C": 0.5, "slopes": None} | values))


@pytest.mark.parametrize(
    ("loss", "error", "missed"),
    [(0.5049, 0.0, None), (0.4949, 0.0, -0.0102), (0.515, 0.021, None), (math.nan, 0.1, math.nan)],
)
def test_c_is_held_within_the_tolerance_and_the_error(
    loss: float, error: float, missed: float | None
) -> None:
    rule = IsoClassificationRule(0.5)
    course = IsoCourse("iso_classification", control_target=0.5)
    found = rule.accept(course, point(C=loss), error)
    assert (None if found is None else found.miss) == (
        None if missed is None else pytest.approx(missed, nan_ok=True)
    )
    assert rule.accept(replace(course, stroke="approach"), point(C=9.0), 0.0) is None


@pytest.mark.parametrize(
    "off", [{"predictor": False}, {"restoring": False}, {"tolerance": math.inf}]
)
def test_a_control_experiment_promises_nothing(off: Any) -> None:
    rule = IsoClassificationRule(0.5, **off)
    assert math.isinf(rule.promise)
    assert rule.accept(IsoCourse("iso_classification", control_target=0.5), point(C=9.0), 0) is None


def test_strokes_answer_for_both_of_their_quantities() -> None:
    rule = StrokeRule[StrokeCourse]((Stroke("adiabat", 2, gam=0.0, S=0.0),))
    anchor = {"lam": 1.0, "gam": 2.0, "C": 0.5, "S": -4.0}
    course = StrokeCourse("adiabat", u=0.5, anchor=anchor)
    assert rule.accept(course, point(), 0.0) is None
    # S = -(λD + γC) against γC = 1
    assert rule.accept(course, point(D=3.02), 0.0) == Miss("S", pytest.approx(-0.02), 0.01)
    assert rule.accept(course, point(D=3.02), 0.02) is None
    # λD + γC is kept; λ and γ are known without an error
    found = rule.accept(course, point(gam=2.05, D=2.95), 0.02)
    assert found == Miss("gam", pytest.approx(0.05 / 2.05), 0.01)
    assert rule.accept(replace(course, anchor={}), point(D=9.0), 0.0) is None


@pytest.mark.parametrize(
    ("place", "share", "end"), [(0, 0.5, 0.125), (0.125, 1, 0.25), (0.375, 1, 0.5)]
)
def test_a_share_of_a_step_is_a_share_of_the_way_to_the_next_node(
    place: float, share: float, end: float
) -> None:
    nothing = Gradient(0.0, 0.0, 0.0)
    slopes = Slopes(nothing, Gradient(-1.0, 0.2, 0.3), Gradient(0.02, -0.05, 0.24))
    route, rows = Route(n_legs=1, closed=False, static=False), [{"C": 0.5, "D": 3.0}]
    rows[0] |= {"lambda": 1.0, "gamma": 2.0}
    here = Equilibrium(point(slopes=slopes), 0, place, route, None, torch.zeros(0), rows, share)
    iso = IsoClassificationRule(0.5, steps=ConstantSteps(4))
    strokes = StrokeRule[StrokeCourse]((Stroke("hot", 4, lam=0.5, C=0.0),))
    courses = IsoCourse("iso_classification", 0, 0.5, 0.5), StrokeCourse("hot", u=place)
    for rule, course in zip((iso, strokes), courses, strict=True):
        found = rule.propose(course, here)  # type: ignore[arg-type]
        assert found is not None
        assert place + found.motion.t == pytest.approx(end, abs=1e-12)


def test_steps_are_corrected_more_closely_than_they_are_accepted() -> None:
    with pytest.raises(ConfigError, match=r"correct_above: got 0\.1; allowed: .* = 0\.01"):
        StrokeRule[StrokeCourse]((Stroke("adiabat", gam=0.0, S=0.0),), correct_above=0.1)


def test_a_newton_step_that_overshoots_is_bracketed() -> None:
    # C off by a γ that is too high, and its slope in γ taken for a third of what it is
    process, relax = make_process()
    state = next(process.run(process.start(), relax)).state
    step = process.begin(state)
    assert step.known is not None
    slopes = step.known.steering
    flat = slopes.C._replace(gam=slopes.C.gam / 3)
    known = replace(step.known, steering=slopes._replace(C=flat))
    process.system.networks.gam *= 1.3
    relax(0, 1)
    left = process._moves.correct(replace(step, known=known))
    assert abs(miss_of(process, state)) > 0.01  # Newton's method diverges
    process._moves.hold(left)
    assert abs(miss_of(process, state)) <= 0.01


def miss_of(process: Process, state: State[Any]) -> float:
    assert state.course is not None
    return process._measuring.loss("control").value / state.course.control_target - 1


class Spoiling:
    """Relaxes with noise of the global stream by an optimiser that remembers; long steps fail."""

    def __init__(self, steps: int, longest: float, rounds: int = 99) -> None:
        """Make a process; the first rounds of a step that is too long spoil C."""
        process, self.exact = make_process(steps=ConstantSteps(steps))
        parameters = list(process.system.networks.parameters())
        optimizer = torch.optim.SGD(parameters, lr=1e-6, momentum=0.9)
        schedulers = (ExponentialLR(optimizer, 0.9),)
        system = replace(process.system, optimizer=optimizer, schedulers=schedulers)
        self.process: Process = Continuation(system, process.rule, process.settings, 0)
        self.longest, self.rounds, self.home, self.spoilt = longest, rounds, 0.0, 0

    def __call__(self, part: int, parts: int) -> Relaxed:
        self.exact(part, parts)
        system = self.process.system
        assert system.optimizer is not None
        for parameter in system.networks.parameters():
            parameter.grad = torch.randn_like(parameter)
        system.optimizer.step()
        system.schedulers[0].step()
        if system.data.t - self.home > self.longest and self.spoilt < self.rounds:
            self.spoilt += 1
            with torch.no_grad():
                for parameter in system.networks.classifier.parameters():  # type: ignore[union-attr]
                    parameter.mul_(0.6)
        return Relaxed(gradients=1)

    def run(self, state: State[Any] | None = None) -> list[Result[Any]]:
        results = []
        for result in self.process.run(state or self.process.start(), self):
            results.append(result)
            assert result.row is not None
            self.home, self.spoilt = result.row["t"], 0
        return results


def kept(results: list[Result[Any]], but: set[str] = ONLY_COUNTED) -> list[dict[str, str]]:
    """Rows without what counts the tries; as texts, in which nan is nan."""
    rows = [result.row for result in results if result.row is not None]
    return [{k: repr(v) for k, v in row.items() if k not in but} for row in rows]


def left_behind(tried: Spoiling) -> list[torch.Tensor]:
    """θ, λ, γ, what the optimiser and its scheduler remember, and the next random number."""
    system = tried.process.system
    assert system.optimizer is not None
    momenta = [
        state["momentum_buffer"] for state in system.optimizer.state_dict()["state"].values()
    ]
    networks = system.networks
    rate = torch.tensor(system.schedulers[0].get_last_lr())
    return [*networks.state_dict().values(), *momenta, rate, torch.rand(1)]


@pytest.fixture(scope="module")
def tried() -> tuple[list[Result[Any]], list[torch.Tensor]]:
    """A run whose first step is too long, and what it leaves behind."""
    spoiling = Spoiling(1, longest=0.6)
    return spoiling.run(), left_behind(spoiling)


def test_a_step_that_is_taken_back_and_halved_leaves_no_trace(tried: Any) -> None:
    at_once = Spoiling(2, longest=0.6)
    plain = at_once.run()
    assert [result.row["t"] for result in tried[0]] == [0, 0.5, 1]
    assert kept(tried[0]) == kept(plain)
    for a, b in zip(tried[1], left_behind(at_once), strict=True):
        assert torch.equal(a, b)
    rows = tried[0][-1].state.rows
    assert [row["rejected"] for row in rows] == [0, 1, 0]
    reason = r"after 4 rounds: C misses its target by [+-]\d+\.\d\d% of it, allowed 1\.00%"
    assert re.fullmatch(reason, rows[1]["rejection"])
    assert (rows[0]["rejection"], rows[2]["rejection"]) == ("", "")
    # what the try took is counted
    cost = [[row["gradients"] for row in results[-1].state.rows] for results in (tried[0], plain)]
    assert cost[0][1] > cost[1][1]
    assert (cost[0][0], cost[0][2]) == (cost[1][0], cost[1][2])


def test_another_round_of_relaxation_and_correction_comes_before_a_shorter_step() -> None:
    rows = Spoiling(1, longest=0.6, rounds=1).run()[-1].state.rows
    assert [(row["t"], row["rejected"]) for row in rows] == [(0, 0), (1, 0)]
    assert rows[1]["C_control"] == pytest.approx(rows[0]["C_control"], rel=0.01)


def test_a_state_in_the_middle_of_a_macro_step_goes_on_to_the_same(tried: Any) -> None:
    cut = Spoiling(1, longest=0.6)
    state = cut.process.start()
    while state.step is None or state.step.rounds < 3:
        seed_relaxation(state)
        step = cut.process.begin(state)
        state = cut.process.end(cut.process.correct(step, cut(0, 1))).state
    saved = io.BytesIO()
    torch.save((to_plain(state), cut.process.system.networks.state_dict()), saved)
    saved.seek(0)
    plain, theta = torch.load(saved, weights_only=True)
    resumed = Spoiling(1, longest=0.6)
    resumed.process.system.networks.load_state_dict(theta)
    rows = [
        kept(results, {"seconds"})
        for results in (resumed.run(from_plain(plain, IsoCourse)), tried[0])
    ]
    assert rows[0] == rows[1][1:]


def test_a_constraint_that_no_step_holds_ends_the_process_where_it_last_held() -> None:
    tried = Spoiling(1, longest=0.6)
    first = next(tried.process.run(tried.process.start(), tried))
    before, tried.longest = tried.process.system.snapshot(), 0.0
    results = []
    said = (
        r"^C: got a macro-step from t = 0, lambda = 1, gamma = 2 after which C misses its target "
    )
    with pytest.raises(
        ConstraintLost,
        match=said + r".* down to 0\.0625 of it \(gamma reaches C from .*\); allowed: 1\.00%",
    ) as e:
        results.extend(tried.process.run(first.state, tried))
    assert e.value.exit_code == 3
    system = tried.process.system
    assert (float(system.networks.lam), float(system.networks.gam)) == (LAM, GAM)
    assert (system.data.leg, system.data.t) == (0, 0.0)
    for parameter, value in zip(system.networks.parameters(), before.parameters, strict=True):
        assert torch.equal(parameter, value)


class Shifted(IsoClassificationRule):
    """Steers the control probe to one C*, and promises another one."""

    def begin(self, here: Equilibrium) -> IsoCourse:
        course = super().begin(here)
        return replace(course, target=1.05 * course.target)


def test_a_run_that_the_measuring_probe_contradicts_is_not_done() -> None:
    process, relax = make_process()
    rule = Shifted(0.5, steps=ConstantSteps(1))
    process = Continuation(process.system, rule, process.settings, 0)
    results = []
    said = r"^C: got a miss of -4\.\d\d% ± 0\.00% on the measuring probe at step 1, worst of 1"
    with pytest.raises(ConstraintLost, match=said):
        results.extend(process.run(process.start(), relax))
    assert [result.row["t"] for result in results if result.row] == [0.0, 1.0]


def test_a_gamma_out_of_its_range_is_a_step_too_long() -> None:
    # γ falls along the path; a whole step of a half leads below the range, shorter ones do not yet
    exact, least = make_system(MOVING), 1.75
    process, relax = make_process(steps=ConstantSteps(2), gamma_range=(least, 9.0))
    rows = []
    with pytest.raises(InfeasibleTarget, match=r"gamma: got .*; allowed: 1\.75 to 9"):
        rows.extend(result.row for result in process.run(process.start(), relax))
    target = float(exact.state(LAM, GAM, 0.0).C)

    def root(t: float) -> float:
        found = brentq(lambda gam: float(exact.state(LAM + K * t, gam, t).C) - target, 0.5, 9.0)
        return float(found)

    last = rows[-1]
    assert last is not None
    shortest = last["t"] + process.settings.min_step / 2
    assert 0 < last["t"] < 1
    assert last["gamma"] >= least
    assert root(shortest) < 1.01 * least  # the linear response knows the root to a hundredth
    assert root(last["t"]) == pytest.approx(last["gamma"], rel=0.02)


@pytest.mark.parametrize("true", [0.4, 0.9, 1.7])
def test_the_second_correction_lands_where_the_slope_is_not_the_responses(true: float) -> None:
    # C - C* = true γ along a straight line, and the response says 1
    miss = 3.0
    newton = Motion(gam=-miss)
    after = miss + true * newton.gam
    asked = Motion(gam=-after)
    step = secant(asked, newton, newton)
    assert after + true * step.gam == pytest.approx(0.0, abs=1e-12)


def test_newtons_step_is_kept_where_a_secant_tells_nothing() -> None:
    asked = Motion(gam=2.0)
    assert secant(asked, Motion(), Motion()) == asked  # the first one
    assert secant(asked, Motion(gam=1.9), Motion(gam=1.9)) == asked  # the miss has grown
    # a slope of a hundredth: by the secant it would be 99 times as far
    assert secant(Motion(gam=1.98), asked, asked).gam == pytest.approx(4 * 2.0)
    both = Motion(lam=1.0, gam=2.0)
    assert secant(both, Motion(3.0, 4.0), Motion(3.0, 4.0)) == both
