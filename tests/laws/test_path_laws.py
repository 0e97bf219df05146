"""The laws on surfaces known in closed form, and violations planted in them.

Two systems. ``gaussian``: a linear-Gaussian model with all latents active, in closed form.
``Springs``: R, D and C quadratic in an explicit θ, so that a row can be taken at any θ, and work
and relaxation are evaluations of J.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from support.exact_runs import MOVING, make_system
from thermo_pl.errors import ConfigError
from thermo_pl.estimate import Estimate
from thermo_pl.files import read_csv, write_csv
from thermo_pl.laws import path_laws, second_law
from thermo_pl.laws.checks import Check, Verdict, allowed_errors, equality, inequality, judge, table
from thermo_pl.laws.path_laws import check_path
from thermo_pl.path.columns import Row
from thermo_pl.path.segments import first_law_residual

Array = NDArray[np.float64]
Point = tuple[float, float, float]

NAN = float("nan")
HOLDS, WITHIN_ERROR, VIOLATED, UNKNOWN, NOT_APPLICABLE = Verdict
SEVERITY = [HOLDS, WITHIN_ERROR, UNKNOWN, VIOLATED]
ERRORS = ("C_error", "D_error", "J_error", "first_law_error", "work_error", "relaxation_error")

EXACT = make_system(MOVING)


def gaussian(lam: float, gam: float, t: float, **others: Any) -> Row:
    """A row at the equilibrium of a linear-Gaussian model whose data move, all latents active."""
    here = EXACT.state(lam, gam, t)
    _, d, c = EXACT.derivatives(lam, gam, t).tolist()
    responses = {"D_lambda": d[0], "D_gamma": d[1], "C_lambda": c[0], "C_gamma": c[1]}
    place = {"leg": 0, "t": t, "lambda": lam, "gamma": gam}
    slope = {"J": here.F, "J_t": EXACT.forces(lam, gam, t)[2].item()}
    return place | here._asdict() | slope | responses | dict.fromkeys(ERRORS, 0.0) | others


def line(start: Point, end: Point, steps: int) -> list[Point]:
    """Points (λ, γ, t) evenly along a straight line, both ends included."""
    return [tuple(point) for point in np.linspace(start, end, steps + 1).tolist()]


def grid(lams: Iterable[float], gams: Iterable[float], t: float = 0.3) -> list[Row]:
    """Equilibria on a grid, row by row and there and back: every step moves one of λ and γ."""
    gams = list(gams)
    rows = []
    for number, lam in enumerate(lams):
        for gam in gams if number % 2 == 0 else gams[::-1]:
            rows.append(gaussian(lam, gam, t))
    return rows


class Springs:
    """R = ½|θ|², D = ½|θ-d(t)|² + 1, C = ½ (θ-c)ᵀK(θ-c) + 0.1."""

    stiffness = np.array([[2.0, 0.7], [0.7, 0.5]])
    label = np.array([0.5, -1.5])

    def data(self, t: float) -> Array:
        return np.array([1 + math.sin(2 * t), math.exp(t)])

    def data_slope(self, t: float) -> Array:
        return np.array([2 * math.cos(2 * t), math.exp(t)])

    def energies(self, theta: Array, t: float) -> Array:
        """R, D and C."""
        x, y = theta - self.data(t), theta - self.label
        return np.array([theta @ theta, x @ x + 2, y @ self.stiffness @ y + 0.2]) / 2

    def value(self, theta: Array, at: Point) -> float:
        """J."""
        return float(np.array([1, *at[:2]]) @ self.energies(theta, at[2]))

    def gradient(self, theta: Array, at: Point) -> Array:
        """∇_θJ."""
        lam, gam, t = at
        pull = self.stiffness @ (theta - self.label)
        return np.asarray(theta + lam * (theta - self.data(t)) + gam * pull)

    def hessian(self, at: Point) -> Array:
        """∇²_θJ."""
        return np.asarray((1 + at[0]) * np.eye(2) + at[1] * self.stiffness)

    def optimum(self, at: Point) -> Array:
        """The θ that minimises J."""
        return np.asarray(-np.linalg.solve(self.hessian(at), self.gradient(np.zeros(2), at)))

    def row(self, theta: Array, at: Point) -> Row:
        """What is measured at θ."""
        lam, gam, t = at
        rate, distortion, loss = self.energies(theta, t)
        slope = -lam * (theta - self.data(t)) @ self.data_slope(t)
        place = {"leg": 0, "t": t, "lambda": lam, "gamma": gam, "J_t": slope}
        energies = {"R": rate, "D": distortion, "C": loss, "J": self.value(theta, at)}
        unknown = {"work": NAN, "relaxation": NAN}
        return place | energies | unknown | dict.fromkeys(ERRORS, 0.0)

    def path(self, thetas: Sequence[Array], points: Sequence[Point]) -> list[Row]:
        """Rows with their work and relaxation."""
        rows = [self.row(theta, at) for theta, at in zip(thetas, points, strict=True)]
        for k, row in enumerate(rows[1:]):
            moved = self.value(thetas[k], points[k + 1])
            row["work"], row["relaxation"] = moved - rows[k]["J"], moved - row["J"]
        return rows

    def relax(self, points: Sequence[Point], share: float = 1.0) -> list[Row]:
        """The path of a θ that goes that share of its way to the optimum after each move."""
        theta = self.optimum(points[0])
        thetas = [theta]
        for at in points[1:]:
            theta = theta + share * (self.optimum(at) - theta)
            thetas.append(theta)
        return self.path(thetas, points)


SPRINGS = Springs()


def named(checks: Sequence[Check]) -> dict[str, Check]:
    found = {check.law: check for check in checks}
    assert len(found) == len(checks)
    return found


def changed(rows: Sequence[Row], **values: Any) -> list[Row]:
    return [row | values for row in rows]


# the rule


@pytest.mark.parametrize(
    ("excess", "error", "tolerance", "verdict"),
    [
        (-3, 0, 0, HOLDS),
        (0, 0, 0, HOLDS),
        (1, 0, 1, HOLDS),
        (1.1, 0, 1, VIOLATED),
        (1.1, 0.05, 1, WITHIN_ERROR),
        (1.1, 0.04, 1, VIOLATED),
        (1, NAN, 1, HOLDS),
        (1.1, NAN, 1, UNKNOWN),
        (NAN, 0, 1, UNKNOWN),
        (math.inf, 5, 1, VIOLATED),
    ],
)
def test_the_rule_by_hand(excess: float, error: float, tolerance: float, verdict: Verdict) -> None:
    assert judge(excess, error, tolerance) == verdict


amount = st.floats(0, 1e6)


@given(st.floats(-1e6, 1e6), amount, amount, amount, st.integers(1, 10_000))
def test_nothing_is_violated_within_its_error_and_more_error_never_accuses(
    excess: float, error: float, tolerance: float, more: float, tried: int
) -> None:
    verdict = judge(excess, error, tolerance, tried)
    if verdict == VIOLATED:
        assert excess > tolerance + 2 * error
        assert judge(excess, error, tolerance) == VIOLATED  # trying more only forgives
    if tried == 1:
        expected = excess > tolerance + 2 * error
        assert (verdict == VIOLATED) == expected
    assert (verdict == HOLDS) == (excess <= tolerance)
    for error_bar, allowed in ((error + more, tolerance), (error, tolerance + more)):
        again = judge(excess, error_bar, allowed, tried)
        assert SEVERITY.index(again) <= SEVERITY.index(verdict)
    assert judge(excess, NAN, tolerance, tried) in {HOLDS, UNKNOWN}


@pytest.mark.parametrize("arguments", [(1, 1, -1e-9), (1, -1e-9, 1), (1, 1, NAN), (1, 1, 1, 0)])
def test_a_bar_that_is_none_is_refused(arguments: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"^(tolerance|error|tried): got .*; allowed: "):
        judge(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("tried", [1, 2, 40, 10_000])
def test_the_worst_of_many_has_the_chance_of_one(tried: int) -> None:
    # scipy's normal distribution, by the logarithm of the chance
    assert tried * norm.logcdf(allowed_errors(tried)) == pytest.approx(norm.logcdf(2), rel=1e-9)


number = st.floats(-10, 10)
error_bar = st.one_of(st.floats(0, 5), st.just(NAN))


@given(st.lists(st.tuples(number, error_bar), min_size=1, max_size=8), st.floats(0, 5))
def test_of_several_values_the_worst_is_given(
    measured: list[tuple[float, float]], tolerance: float
) -> None:
    values, errors = zip(*measured, strict=True)
    check = inequality("law", "value ≥ 0", values, errors, tolerance)
    each = [judge(-value, error, tolerance, len(measured)) for value, error in measured]
    assert check.verdict == max(each, key=SEVERITY.index)
    assert check.count == len(measured)
    of_that_kind = [v for v, verdict in zip(values, each, strict=True) if verdict == check.verdict]
    assert check.value == min(of_that_kind)
    assert any(check.value == v and check.error in {e, check.error} for v, e in measured)


def test_of_several_magnitudes_the_median_is_given() -> None:
    check = equality("law", "value = 0", [0.3, 0.1, 9], [0.2, 0.1, 7], 0.05)
    assert (check.value, check.error, check.count) == (0.3, 0.2, 3)
    assert check.verdict == WITHIN_ERROR
    assert equality("law", "value = 0", -0.3, 0.1, 0.05).verdict == VIOLATED


# first law

ENDS = (1.0, 1.0, 0.1), (1.5, 0.6, 0.9)
OPPOSITE = (0.5, 4.0, 0.1), (4.0, 0.5, 0.5)
"""From mostly C to mostly D: θ has far to go."""


def test_first_law_residual_is_the_gradient_along_the_step() -> None:
    # from anywhere to anywhere: what is left over is ∇J·Δθ, to the third order
    theta, direction = np.array([0.3, -0.8]), np.array([0.7, 0.4])
    start, move = np.array([1.0, 2.0, 0.2]), np.array([0.3, -0.5, 0.4])
    gaps = []
    for h in (0.2, 0.1, 0.05, 0.025):
        thetas = [theta, theta + h * direction]
        points = [tuple(start), tuple(start + h * move)]
        gradients = [SPRINGS.gradient(*pair) for pair in zip(thetas, points, strict=True)]
        expected = (gradients[0] + gradients[1]) / 2 @ (thetas[1] - thetas[0])
        rows = SPRINGS.path(thetas, points)
        assert abs(expected) > 0.5 * h  # far from equilibrium
        gaps.append(path_laws.first_law(rows)[1].value - expected)
    assert abs(gaps[-1]) > 1e-9
    ratios = [a / b for a, b in pairwise(gaps)]
    assert abs(ratios[-1] - 8) < 0.4


def test_first_law_of_a_lagging_path_is_violated_beyond_its_error_only() -> None:
    lagging = SPRINGS.relax(line(*OPPOSITE, 20), share=0.2)
    median, total = path_laws.first_law(lagging)
    assert (median.verdict, total.verdict) == (VIOLATED, VIOLATED)
    residuals = [first_law_residual(a, b) for a, b in pairwise(lagging)]
    assert total.value == pytest.approx(sum(residuals), rel=1e-12)
    assert total.value < 0  # relaxation dissipates
    sizes = [
        abs(b["R"] - a["R"])
        + a["lambda"] * abs(b["D"] - a["D"])
        + a["gamma"] * abs(b["C"] - a["C"])
        for a, b in pairwise(lagging)
    ]
    assert total.tolerance == pytest.approx(0.05 * sum(sizes), rel=1e-12)
    shares = [abs(r) / size for r, size in zip(residuals, sizes, strict=True)]
    assert median.value == pytest.approx(np.median(shares), rel=1e-12)
    noisy = [
        row | {"first_law_error": abs(r)} for row, r in zip(lagging, [0.0, *residuals], strict=True)
    ]
    median, total = path_laws.first_law(noisy)
    assert (median.verdict, total.verdict) == (WITHIN_ERROR, WITHIN_ERROR)
    assert median.error == pytest.approx(median.value, rel=1e-12)
    assert total.error == pytest.approx(-total.value, rel=1e-12)
    median, total = path_laws.first_law(changed(lagging, first_law_error=NAN))
    assert (median.verdict, total.verdict) == (UNKNOWN, UNKNOWN)


# work and relaxation

coordinate = st.floats(-3, 3)
weight = st.integers(1, 100).map(lambda tenths: tenths / 10)
anywhere = st.tuples(coordinate, coordinate, weight, weight)


@given(st.lists(anywhere, min_size=2, max_size=6), st.floats(0, 1))
def test_work_at_fixed_data_is_exact_at_any_parameters(
    states: list[tuple[float, ...]], t: float
) -> None:
    thetas = [np.array(state[:2]) for state in states]
    rows = SPRINGS.path(thetas, [(state[2], state[3], t) for state in states])
    moving = [a[2:] != b[2:] for a, b in pairwise(states)]
    found = path_laws.stepwise_work(rows)
    assert [check.count for check in found] == ([sum(moving)] if any(moving) else [])
    for check in found:
        assert check.verdict == HOLDS


def test_work_that_is_not_what_the_forces_say_is_found() -> None:
    rows = SPRINGS.relax(line((1.0, 1.0, 0.5), (2.0, 0.5, 0.5), 10))
    (check,) = path_laws.stepwise_work(rows)
    assert (check.verdict, check.count) == (HOLDS, 10)
    assert check.value < 1e-13  # float64 here
    rows[4]["work"] *= 1.001
    (check,) = path_laws.stepwise_work(rows)
    assert check.verdict == VIOLATED
    # |work| against |D Δλ| + |C Δγ|
    size = rows[3]["D"] * 0.1 + rows[3]["C"] * 0.05
    assert check.value == pytest.approx(abs(rows[4]["work"]) * (1 - 1 / 1.001) / size, rel=1e-6)


def test_work_of_moving_data_is_not_held_against_the_forces() -> None:
    rows = SPRINGS.relax(line((1.0, 1.0, 0.1), (2.0, 0.5, 0.5), 10))
    assert path_laws.stepwise_work(rows) == []
    # a step at fixed data among them counts
    rows = SPRINGS.relax([(1.0, 1.0, 0.1), (1.5, 1.0, 0.2), (2.0, 1.0, 0.2), (2.0, 1.0, 0.2)])
    assert [check.count for check in path_laws.stepwise_work(rows)] == [1]


def test_total_dissipation_is_half_the_squared_length_over_the_steps() -> None:
    # θ relaxes fully after each of N steps: Σ relaxation → ½ ∫ θ*'ᵀ ∇²J θ*' ds / N
    ends = (1.0, 1.0, 0.1), (2.0, 3.0, 0.9)
    velocity = np.subtract(ends[1], ends[0])
    total, fine = 0.0, 2000
    for k in range(fine):  # the midpoint rule, θ*' by central differences
        at = np.array(ends[0]) + (k + 0.5) / fine * velocity
        back, forth = (SPRINGS.optimum(tuple(at + s * 1e-5 * velocity)) for s in (-1, 1))
        speed = (forth - back) / 2e-5
        total += float(speed @ SPRINGS.hessian(tuple(at)) @ speed) / (2 * fine)
    products = []
    for steps in (50, 100, 200):
        worst, dissipated = path_laws.dissipation(SPRINGS.relax(line(*ends, steps)))
        assert (worst.verdict, dissipated.verdict) == (HOLDS, HOLDS)
        assert worst.count == dissipated.count == steps
        products.append(dissipated.value * steps)
    misses = [abs(p / total - 1) for p in products]
    # of first order in 1/N
    assert misses[-1] < 0.02
    assert misses[0] / misses[-1] == pytest.approx(4, abs=0.5)


def test_a_step_that_raises_the_free_energy_is_found_beyond_its_error_only() -> None:
    rows = SPRINGS.relax(line((1.0, 1.0, 0.1), (2.0, 3.0, 0.9), 10))
    rows[7]["relaxation"] = -0.02
    worst, total = path_laws.dissipation(rows)
    assert (worst.value, worst.error, worst.verdict) == (-0.02, 0, VIOLATED)
    assert total.verdict == HOLDS
    assert worst.count == total.count == 10
    assert total.value == pytest.approx(sum(row["relaxation"] for row in rows[1:]), rel=1e-12)
    worst, total = path_laws.dissipation(changed(rows, relaxation_error=0.01))
    assert (worst.value, worst.error, worst.verdict) == (-0.02, 0.01, WITHIN_ERROR)
    assert total.error == pytest.approx(0.1)  # the steps share their draws: errors add up
    assert path_laws.dissipation(changed(rows, relaxation_error=0.005))[0].verdict == VIOLATED
    assert path_laws.dissipation(changed(rows, relaxation_error=NAN))[0].verdict == UNKNOWN
    backward = [row | {"relaxation": -row["relaxation"]} for row in rows]
    assert path_laws.dissipation(backward)[1].verdict == VIOLATED


# closed loops


def there_and_back(share: float = 1.0) -> list[Row]:
    """Around a rectangle in (λ, γ) and at last a move of the data; 0.1 + 0.2 is not 0.3."""
    corners = [(0.3, 1.0), (1.3, 1.0), (1.3, 2.0), (0.3, 2.0), (0.1 + 0.2, 1.0)]
    sides = [np.linspace(a, b, 6)[1:].tolist() for a, b in pairwise(corners)]
    walk = [(lam, gam, 0.2) for lam, gam in [corners[0], *(p for side in sides for p in side)]]
    return SPRINGS.relax([*walk, (0.3, 1.0, 0.4)], share)


def test_a_closed_loop_is_found_and_keeps_its_books() -> None:
    rows = there_and_back()
    books, work = path_laws.closed_loops(rows)
    assert (books.count, books.verdict, work.count, work.verdict) == (1, HOLDS, 1, HOLDS)
    assert books.value < 1e-13
    assert work.value == pytest.approx(sum(row["work"] for row in rows[1:21]), rel=1e-12)
    # J returns: all work is dissipated
    assert work.value == pytest.approx(sum(row["relaxation"] for row in rows[1:21]), rel=1e-12)
    rows[9]["work"] += 0.01
    assert path_laws.closed_loops(rows)[0].verdict == VIOLATED


def test_each_return_closes_a_loop_with_the_visit_before() -> None:
    lams = [1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 2.0]
    rows = SPRINGS.relax([(lam, 1.0, 0.2) for lam in lams])
    books, work = path_laws.closed_loops(rows)
    # 2·3·3·2, 1···1 and 2·1·2; resting at 3 is no loop
    assert books.count == work.count == 3
    sums = [sum(row["work"] for row in rows[i + 1 : j + 1]) for i, j in ((1, 4), (0, 5), (4, 6))]
    assert work.value == pytest.approx(min(sums), rel=1e-12)


def test_work_gained_from_a_loop_is_found_beyond_its_error_only() -> None:
    # a machine that cannot be: every step gives back what it should cost
    rows = there_and_back()
    gained = sum(row["work"] for row in rows[1:21])
    for row in rows[1:]:
        row["work"] -= 2 * gained / 20
        row["relaxation"] -= 2 * gained / 20
    books, work = path_laws.closed_loops(rows)
    assert (books.verdict, work.verdict) == (HOLDS, VIOLATED)
    assert work.value == pytest.approx(-gained, rel=1e-9)
    covered = changed(rows, work_error=gained / 20 * 0.6)
    assert path_laws.closed_loops(covered)[1].verdict == WITHIN_ERROR
    covered = changed(rows, J_error=0.3 * gained)  # J returns only within this
    assert path_laws.closed_loops(covered)[1].verdict == WITHIN_ERROR
    assert path_laws.closed_loops(changed(rows, work_error=NAN))[1].verdict == UNKNOWN


def test_a_loop_in_which_the_free_energy_does_not_return_may_give_work() -> None:
    # the model is far from equilibrium at the start and improves on the way
    points = [(1.0, 1.0, 0.2), (1.5, 1.0, 0.2), (1.0, 1.0, 0.2)]
    thetas = [np.array([3.0, 3.0]), SPRINGS.optimum(points[1]), SPRINGS.optimum(points[2])]
    rows = SPRINGS.path(thetas, points)
    assert rows[1]["work"] + rows[2]["work"] > 0
    assert [check.law for check in path_laws.closed_loops(rows)] == ["closed loop, bookkeeping"]
    # downhill first: work is gained, at the cost of J
    points = [points[1], points[0], points[1]]
    rows = SPRINGS.path([np.array([3.0, 3.0]), *map(SPRINGS.optimum, points[1:])], points)
    assert rows[1]["work"] + rows[2]["work"] < 0
    assert [check.verdict for check in path_laws.closed_loops(rows)] == [HOLDS]


def test_a_loop_through_another_leg_does_not_count() -> None:
    rows = there_and_back()
    for row in rows[5:12]:
        row["leg"] = 1  # measured on other particles: J there does not go on from J before
    assert path_laws.closed_loops(rows) == []
    for k in (5, 12):
        rows[k] |= {"work": NAN, "relaxation": NAN}
    assert path_laws.closed_loops(rows) == []


# envelope


def test_wrong_forces_are_found_beyond_their_error_only() -> None:
    rows = grid(np.linspace(1, 1.4, 5), np.linspace(0.5, 0.9, 5))
    assert {check.verdict for check in path_laws.envelope(rows)} == {HOLDS}
    for name, kind, control in (("D", 0, "lambda"), ("C", 1, "gamma")):
        # the force is off by 20 % of its mean; J is left as it is
        off = 0.2 * np.mean([row[name] for row in rows])
        wrong = [row | {name: row[name] + off} for row in rows]
        check = path_laws.envelope(wrong)[kind]
        assert (check.verdict, path_laws.envelope(wrong)[1 - kind].verdict) == (VIOLATED, HOLDS)
        step = rows[5]["lambda"] - rows[0]["lambda"] if control == "lambda" else 0.1
        noisy = changed(wrong, first_law_error=abs(off) * step)
        assert path_laws.envelope(noisy)[kind].verdict == WITHIN_ERROR
        unknown = changed(wrong, first_law_error=NAN)
        assert path_laws.envelope(unknown)[kind].verdict == UNKNOWN


def test_the_envelope_gap_is_the_first_law_residual_of_the_step() -> None:
    # off equilibrium: ΔJ - ∫D dλ = ΔR + λΔD + γΔC, so the error is that of the residual
    points: list[Point] = [(1.0, 1.0, 0.2), (1.4, 1.0, 0.2)]
    rows = SPRINGS.path([np.array([0.3, -0.8]), np.array([0.5, 0.1])], points)
    (check,) = path_laws.envelope(rows)
    integral = (rows[0]["D"] + rows[1]["D"]) / 2 * 0.4
    expected = abs(first_law_residual(*rows) / integral)
    assert check.value == pytest.approx(expected, rel=1e-12)
    (check,) = path_laws.envelope(changed(rows, first_law_error=0.03))
    assert check.error == pytest.approx(0.03 / abs(integral), rel=1e-12)


def test_the_envelope_is_taken_where_one_control_moves_alone() -> None:
    assert path_laws.envelope([gaussian(*point) for point in line(*ENDS, 5)]) == []
    moves = [(1, 1, 0.1), (1.1, 1, 0.1), (1.1, 1, 0.1), (1.2, 1.1, 0.1), (1.3, 1.1, 0.2)]
    rows = [gaussian(*move) for move in moves]
    assert [(c.law, c.count) for c in path_laws.envelope(rows)] == [("envelope, D = ∂F/∂λ", 1)]


# Maxwell


def test_measured_cross_derivatives_by_hand() -> None:
    place = {"leg": 0, "t": 0.0}
    corners = {(1, 2): (10, 7), (3, 2): (4, 5), (1, 6): (8, 3), (3, 6): (0, 2)}
    names = "lambda", "gamma", "D", "C"
    rows = [place | dict(zip(names, at + found, strict=True)) for at, found in corners.items()]
    # ΔC/Δλ: (-2/2 - 1/2) / 2 = -3/4; ΔD/Δγ: (-2/4 - 4/4) / 2 = -3/4
    (check,) = path_laws.maxwell_measured(rows)
    assert (check.value, check.verdict, check.count) == (0, HOLDS, 1)
    rows[0] |= {"C": 9}  # now -5/4
    errors = {"C_error": 0.1, "D_error": 0.2}
    (check,) = path_laws.maxwell_measured(changed(rows, **errors))
    assert check.value == pytest.approx(0.5 / 1)
    # two standard errors of four corners, halved, over Δλ = 2 and Δγ = 4; the two added
    assert check.error == pytest.approx(0.1 / 2 + 0.2 / 4)
    assert check.verdict == VIOLATED
    assert path_laws.maxwell_measured(rows)[0].verdict == UNKNOWN


def test_cross_derivatives_that_disagree_are_found_beyond_their_error_only() -> None:
    rows = grid(np.linspace(1, 1.4, 4), np.linspace(0.5, 0.8, 4))
    slope = np.mean([row["C_lambda"] for row in rows])
    # C falls 20 % faster with λ than D does with γ
    wrong = [row | {"C": row["C"] + 0.2 * slope * row["lambda"]} for row in rows]
    (check,) = path_laws.maxwell_measured(wrong)
    assert check.verdict == VIOLATED
    assert check.value == pytest.approx(0.2 / 1.1, rel=0.2)
    noise = 0.2 * abs(slope) * 0.4 / 3  # of C, in one corner
    assert path_laws.maxwell_measured(changed(wrong, C_error=noise))[0].verdict == WITHIN_ERROR
    assert path_laws.maxwell_measured(changed(wrong, C_error=noise / 4))[0].verdict == VIOLATED


def test_rectangles_need_four_corners_at_the_same_data_and_the_last_visit_counts() -> None:
    rows = grid([1.0, 1.1, 1.2], [0.5, 0.6, 0.7])
    assert [check.count for check in path_laws.maxwell_measured(rows)] == [4]
    assert [check.count for check in path_laws.maxwell_measured(rows[:4] + rows[5:])] == []
    assert [check.count for check in path_laws.maxwell_measured(rows[1:])] == [3]
    other = [gaussian(row["lambda"], row["gamma"], 0.7) for row in rows]
    assert [check.count for check in path_laws.maxwell_measured([*rows, *other])] == [8]
    assert path_laws.maxwell_measured([*rows[:3], *other[3:6]]) == []
    stale = [row | {"C": 99.0} for row in rows]
    assert path_laws.maxwell_measured([*stale, *rows]) == path_laws.maxwell_measured(rows)


def test_responses_are_held_against_each_other() -> None:
    rows = grid(np.linspace(1, 2, 4), np.linspace(0.5, 2, 4))
    (check,) = path_laws.maxwell_response(rows)
    assert (check.verdict, check.count) == (HOLDS, 16)
    assert check.value < 1e-12
    wrong = [row | {"C_lambda": 1.05 * row["D_gamma"]} for row in rows]
    (check,) = path_laws.maxwell_response(wrong)
    assert check.verdict == VIOLATED
    assert check.value == pytest.approx(0.05 / 1.025, rel=1e-9)
    swapped = [row | {"C_lambda": -row["C_lambda"]} for row in rows]
    assert path_laws.maxwell_response(swapped)[0].value == pytest.approx(2)
    assert path_laws.maxwell_response(changed(rows, C_lambda=0.0, D_gamma=0.0)) == []


# concavity


def test_responses_have_the_signs_of_a_concave_free_energy() -> None:
    rows = grid(np.linspace(1, 2, 3), np.linspace(0.5, 2, 3))
    found = path_laws.concavity_response(rows)
    assert [(check.verdict, check.count) for check in found] == [(HOLDS, 9), (HOLDS, 9)]
    slopes = "D_lambda", "C_gamma"
    assert [check.value for check in found] == [-max(row[name] for row in rows) for name in slopes]
    for kind, name in enumerate(slopes):
        wrong = [dict(row) for row in rows]
        wrong[5][name] *= -1
        found = path_laws.concavity_response(wrong)
        assert (found[kind].verdict, found[1 - kind].verdict) == (VIOLATED, HOLDS)
        assert found[kind].value == -wrong[5][name]
        wrong[5][name] = 1e-3 * max(abs(row[name]) for row in rows)  # what the solver leaves
        assert path_laws.concavity_response(wrong)[kind].verdict == HOLDS


@given(st.lists(st.tuples(weight, weight), min_size=2, max_size=6, unique=True), st.floats(0, 1))
def test_any_two_optima_pass_the_two_point_test(
    points: list[tuple[float, float]], t: float
) -> None:
    rows = [SPRINGS.row(SPRINGS.optimum((*p, t)), (*p, t)) for p in points]
    for check in path_laws.concavity_measured(rows):
        assert check.verdict == HOLDS


def test_the_two_point_test_takes_every_pair_at_the_same_data() -> None:
    points = [(1.0, 1.0, 0.2), (2.0, 1.5, 0.2), (1.5, 4.0, 0.2), (1.0, 1.0, 0.7), (3.0, 1.0, 0.7)]
    rows = [gaussian(*point) for point in points]
    (check,) = path_laws.concavity_measured([*rows, rows[0]])
    expected = []
    for (p, a), (q, b) in combinations(zip(points, rows, strict=True), 2):
        if p[2] == q[2]:
            force = np.array([b["D"] - a["D"], b["C"] - a["C"]])
            expected.append(-(np.array(q[:2]) - np.array(p[:2])) @ force)
    # the row visited twice forms a pair with each of the two others at its data, not with itself
    assert check.count == len(expected) + 2 == 6
    assert check.value == pytest.approx(min(expected), rel=1e-12)
    assert path_laws.concavity_measured([rows[0], rows[0], rows[3]]) == []


def test_forces_that_rise_are_found_beyond_their_error_only() -> None:
    place = {"leg": 0, "t": 0.0, "J": 1.0}
    ends = [(1.0, 2.0, 5.0, 3.0), (1.5, 4.0, 5.2, 2.99)]
    rows = [place | dict(zip(("lambda", "gamma", "D", "C"), end, strict=True)) for end in ends]
    # -(0.5·0.2 - 2·0.01) = -0.08
    exact = changed(rows, D_error=0.0, C_error=0.0)
    (check,) = path_laws.concavity_measured(exact)
    assert check.value == pytest.approx(-0.08)
    assert check.verdict == VIOLATED
    noisy = [rows[0] | {"D_error": 0.03, "C_error": 0.003}]
    noisy += [rows[1] | {"D_error": 0.04, "C_error": 0.004}]
    (check,) = path_laws.concavity_measured(noisy)
    assert check.error == pytest.approx(0.5 * 0.05 + 2 * 0.005)
    assert check.verdict == VIOLATED
    noisy[0]["D_error"] = 0.1
    assert path_laws.concavity_measured(noisy)[0].verdict == WITHIN_ERROR
    assert path_laws.concavity_measured(rows)[0].verdict == UNKNOWN


# second law


def test_second_law_has_the_errors_of_its_terms() -> None:
    def law(*errors: float) -> Check:
        values = (10.0, 9.0, 0.5)
        return second_law.second_law(*map(Estimate, values, errors))

    check = law(0.2, 0.3, 0.6)
    assert (check.value, check.error) == pytest.approx((-0.5, 0.7))
    assert check.verdict == WITHIN_ERROR
    assert law(0.02, 0.03, 0.06).verdict == VIOLATED
    assert law(NAN, 0.3, 0.6).verdict == UNKNOWN
    known = Estimate(10.0, 0.3), Estimate(9.0, 0.4), Estimate(0.1, 0.1)
    short = second_law.second_law_without_log_z(*known)
    assert (short.value, short.error) == pytest.approx((-1, 0.5))
    assert short.verdict == WITHIN_ERROR


def test_a_law_of_slopes_says_nothing_where_nothing_has_a_slope() -> None:
    # without a classifier C is zero everywhere: there is no relation to hold
    still = [row | {"C": 0.0, "C_error": 0.0, "D": 1.0} for row in grid(SIDE, SIDE)]
    still = [row | dict.fromkeys(("C_gamma", "C_lambda", "D_gamma"), 0.0) for row in still]
    assert path_laws.maxwell_measured(still) == []
    assert path_laws.maxwell_response(still) == []
    assert [check.law for check in path_laws.concavity_response(still)] == ["concavity, D_λ ≤ 0"]


def test_a_step_on_which_nothing_changes_is_no_step_of_the_first_law() -> None:
    rows = grid(SIDE, SIDE)
    (median, whole), (same, total) = (
        path_laws.first_law(rows),
        path_laws.first_law([*rows, rows[-1]]),
    )
    assert (same.value, same.count) == (median.value, median.count)
    assert (total.value, total.count) == (whole.value, whole.count)
    assert path_laws.first_law([rows[0], rows[0]]) == []


# the whole path

SIDE = np.linspace(1, 1.2, 5).tolist()


def test_a_path_of_exact_equilibria_passes_every_law() -> None:
    scan = [(row["lambda"], row["gamma"], row["t"]) for row in grid(SIDE, SIDE)]
    rows = SPRINGS.relax([*scan, scan[0], *line(scan[0], (1.2, 1.1, 0.5), 4)[1:]])
    for row in rows:  # responses of the springs: -∇X·A⁻¹∇Y
        at = row["lambda"], row["gamma"], row["t"]
        theta = SPRINGS.optimum(at)
        by_lam = theta - SPRINGS.data(at[2])
        by_gam = SPRINGS.stiffness @ (theta - SPRINGS.label)
        inverse = np.linalg.inv(SPRINGS.hessian(at))
        row |= {"D_lambda": -by_lam @ inverse @ by_lam, "D_gamma": -by_lam @ inverse @ by_gam}
        row |= {"C_lambda": -by_gam @ inverse @ by_lam, "C_gamma": -by_gam @ inverse @ by_gam}
    found = named(check_path(rows))
    assert {name: check.verdict for name, check in found.items()} == dict.fromkeys(
        [
            "first law, median step",
            "first law, sum",
            "work at fixed data, worst step",
            "second law, worst step",
            "second law, total dissipation",
            "closed loop, bookkeeping",
            "closed loop, work",
            "envelope, D = ∂F/∂λ",
            "envelope, C = ∂F/∂γ",
            "Maxwell, measured",
            "Maxwell, response",
            "concavity, D_λ ≤ 0",
            "concavity, C_γ ≤ 0",
            "concavity, worst pair",
        ],
        HOLDS,
    )
    counts = {name: check.count for name, check in found.items()}
    assert counts["first law, sum"] == 29
    assert counts["work at fixed data, worst step"] == 25
    assert counts["closed loop, work"] == 1
    assert counts["envelope, D = ∂F/∂λ"] == 4
    assert counts["envelope, C = ∂F/∂γ"] == 20
    assert counts["Maxwell, measured"] == 16
    assert counts["concavity, worst pair"] == 26 * 25 // 2 - 1


def test_tolerances_reach_the_laws() -> None:
    rows = SPRINGS.relax(line(*OPPOSITE, 20), share=0.2)
    assert named(check_path(rows))["first law, median step"].verdict == VIOLATED
    assert named(check_path(rows, tolerance=10.0))["first law, median step"].verdict == HOLDS
    # forces and responses that disagree by a few percent to a few tens of percent
    rows = [
        row | {"D": row["D"] + 2, "C": row["C"] - 0.1 * row["lambda"]} for row in grid(SIDE, SIDE)
    ]
    rows = changed(rows, C_lambda=1.05, D_gamma=1.0, D_lambda=-1.0, C_gamma=-1.0)
    rows[3] |= {"D_lambda": 0.05, "C_gamma": 0.05}
    measured = "envelope, D = ∂F/∂λ", "Maxwell, measured"
    solved = "Maxwell, response", "concavity, D_λ ≤ 0", "concavity, C_γ ≤ 0"
    for names, tolerances in ((measured, {"tolerance": 10.0}), (solved, {"solver_tolerance": 0.1})):
        strict, loose = named(check_path(rows)), named(check_path(rows, **tolerances))
        assert {strict[name].verdict for name in names} == {VIOLATED}
        assert {loose[name].verdict for name in names} == {HOLDS}


def test_a_path_read_back_from_its_file_says_the_same(tmp_path: Path) -> None:
    rows = there_and_back()
    write_csv(tmp_path / "path.csv", rows, list(rows[0]))
    again = read_csv(tmp_path / "path.csv")
    assert again[0]["work"] is None  # nan was written as an empty cell
    assert check_path(again) == check_path(rows)
    assert len(check_path(rows)) == 10


def test_rows_without_a_value_do_not_count() -> None:
    rows = there_and_back()
    whole = named(check_path(rows))
    holes = [dict(row) for row in rows]
    holes[3] |= {"R": NAN, "relaxation": None}
    del holes[8]["work"]
    found = named(check_path(holes))
    lost = {name: check.count - found[name].count for name, check in whole.items() if name in found}
    assert lost["first law, sum"] == 2
    assert lost["second law, worst step"] == 1
    assert lost["work at fixed data, worst step"] == 1
    assert lost["concavity, worst pair"] == 0
    assert set(whole) - set(found) == {"closed loop, bookkeeping", "closed loop, work"}


def test_steps_between_legs_do_not_count() -> None:
    first = [gaussian(*point) for point in line(*ENDS, 4)]
    second = [gaussian(*point, leg=1) for point in line(*ENDS, 3)]
    median, _ = path_laws.first_law([*first, *second])
    assert median.count == 4 + 3
    assert path_laws.concavity_measured([first[0], second[-1] | {"t": first[0]["t"]}]) == []
    apart = [gaussian(1.0, 1.0, 0.3), gaussian(1.1, 1.0, 0.3, leg=1)]
    assert path_laws.first_law(apart) == path_laws.envelope(apart) == []


def test_no_rows_give_no_checks_and_a_row_without_a_place_is_refused() -> None:
    assert check_path([]) == []
    row = gaussian(1.0, 1.0, 0.3)
    names = [check.law for check in check_path([row])]
    assert names == ["Maxwell, response", "concavity, D_λ ≤ 0", "concavity, C_γ ≤ 0"]
    for lost in ({"gamma": NAN}, {"gamma": None}):
        with pytest.raises(ConfigError, match=r"^row 1: got 'no gamma'; allowed: rows of path.csv"):
            check_path([row, row | lost])
    del row["leg"]
    with pytest.raises(ConfigError, match=r"^row 0: got 'no leg'"):
        check_path([row])


def test_the_table_is_aligned_and_narrow() -> None:
    checks = [
        Check("first law", "…", -0.0123456, 0.00456, 0.05, HOLDS, 40),
        Check("x" * 200, "…", -1.23456e-105, 1.23456e-105, 1.23456e-105, WITHIN_ERROR, 1_000_000),
        Check("Maxwell", "…", 0.000861, 0.0, 0.01, VIOLATED, 7),
        Check("second law", "…", 1.5, NAN, 1e-6, UNKNOWN, 1),
    ]
    lines = table(checks).split("\n")
    assert len(lines) == 5
    assert max(map(len, lines)) <= 100
    start = lines[0].index("verdict")
    shown = [text[start : start + 12].strip() for text in lines[1:]]
    assert shown == ["holds", "within error", "violated", "unknown"]
    value = lines[0].index("value")
    shown = [text[value:].split("  ")[0] for text in lines[1:]]
    assert shown == ["-0.0123 ± 0.0046", "-1.23e-105 ± 1.2e-105", "0.000861", "1.5 ± ?"]
    assert [text.split()[-1] for text in lines] == ["n", "40", "1000000", "7", "1"]
    assert table([]).split() == ["law", "value", "tolerance", "verdict", "n"]
