"""Strokes against the exact surface: gradients, motions, refusals, and the closing of a cycle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import root

from support.carnot_system import CHANGES, LEGS, course, defect, point, slope
from thermo_pl.errors import ConfigError, SolverBreakdown
from thermo_pl.process.rule import Point
from thermo_pl.process.strokes import QUANTITIES, RETURN, Stroke, closing_step, motion, spread
from thermo_pl.response.slopes import Gradient, Slopes

Array = NDArray[np.float64]
SYSTEM = LEGS[1]
PLACES = [(1.2, 1.7, 0.3), (2.0, 2.4, 0.0), (1.0, 1.5, 1.0), (0.7, 3.0, 0.6)]
PAIRS = list(combinations(QUANTITIES, 2))

TIGHT = (1e-12, 1e-12)
"""Of a closure: with so little allowed the step is Newton's."""


def quantity(name: str, place: Sequence[float]) -> float:
    """Its definition, on the exact surface."""
    here = SYSTEM.state(*place)
    lam, gam, _ = place
    return {"lam": lam, "gam": gam, "C": here.C, "S": here.R - here.F}[name]


# --- values and gradients ---


@pytest.mark.parametrize("place", PLACES)
def test_s_is_rate_less_free_energy(place: tuple[float, ...]) -> None:
    here = point(SYSTEM, *place)
    for name in QUANTITIES:
        assert here.value(name) == pytest.approx(quantity(name, place), rel=1e-13)


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("place", [(1.2, 1.7, 0.3), (0.7, 3.0, 0.6)])
def test_gradients_are_slopes_along_the_surface(place: tuple[float, ...], name: str) -> None:
    expected = [slope(lambda at: quantity(name, at), place, axis) for axis in range(3)]
    found = point(SYSTEM, *place).gradient(name)
    assert found == pytest.approx(expected, rel=0, abs=1e-7)
    if name in "CS":
        assert np.abs(found).min() > 1e-3  # all three count


# --- the step ---


def exact_end(place: Sequence[float], targets: dict[str, float], dt: float) -> Array:
    """(λ, γ) at which the quantities have their targets, by a root on the surface."""
    lam, gam, t = place

    def misses(control: Array) -> list[float]:
        return [quantity(name, [*control, t + dt]) - targets[name] for name in targets]

    found = root(misses, [lam, gam], tol=1e-14)
    assert np.abs(misses(found.x)).max() < 1e-12
    return np.asarray(found.x)


def missed(pair: tuple[str, str], size: float) -> float:
    """How far the end of a step is from where it should be."""
    place, changes = (1.2, 1.7, 0.3), {"lam": 0.3, "gam": 0.4, "C": -0.05, "S": 0.2}
    start = point(SYSTEM, *place)
    targets = {name: start.value(name) + size * changes[name] for name in pair}
    step = motion(start, targets, 0.4 * size)
    return float(np.abs(exact_end(place, targets, 0.4 * size) - place[:2] - step).max())


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_step_is_right_to_second_order(pair: tuple[str, str]) -> None:
    sizes = [missed(pair, 0.4 / 2**k) for k in range(4)]
    if pair == ("lam", "gam"):
        assert max(sizes) < 1e-12  # nothing to linearise
        return
    assert sizes[-1] > 1e-6  # far above the root's error
    assert [a / b for a, b in pairwise(sizes)][-1] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_what_is_on_its_target_stays_where_it_is(pair: tuple[str, str]) -> None:
    # {gam, S} among them: at a fixed domain an adiabat does not move
    start = point(SYSTEM, 1.2, 1.7, 0.3)
    targets = {name: start.value(name) for name in pair}
    assert motion(start, targets, 0.0) == (0.0, 0.0)


def point_with(by_distortion: Sequence[float], by_loss: Sequence[float]) -> Point:
    """λ = 1, γ = 2, D = 3, C = 1; what R does plays no part."""
    unknown = Gradient(math.nan, math.nan, math.nan)
    return Point(1.0, 2.0, 3.0, 1.0, Slopes(unknown, Gradient(*by_distortion), Gradient(*by_loss)))


def vanishing(excess: float) -> Point:
    """λ = 1, γ = 2, D = 3 and D + λ D_λ + γ C_λ = 3 - 1 - 2 + excess."""
    return point_with([-1.0 + excess, -1.0, 0.4], [-1.0, -0.5, 0.2])


@pytest.mark.parametrize("excess", [0.0, 1e-9, -1e-9])
def test_an_adiabat_whose_denominator_vanishes_breaks_down(excess: float) -> None:
    here = vanishing(excess)
    with pytest.raises(SolverBreakdown, match=r"denominator .* of the adiabat vanishes"):
        motion(here, {"gam": 2.0, "S": here.value("S")}, 0.1)


def test_an_adiabat_whose_denominator_is_small_does_not() -> None:
    # λ D_t + γ C_t = 0.8, so that dλ = -0.08 / 1e-3
    here = vanishing(1e-3)
    step = motion(here, {"gam": 2.0, "S": here.value("S")}, 0.1)
    assert step == (pytest.approx(-80, rel=1e-9), 0.0)


@pytest.mark.parametrize(
    ("pair", "slopes"),
    [
        (("lam", "C"), [[-1.0, -1.0, 0.4], [-1.0, 0.0, 0.2]]),  # C does not feel γ
        (("gam", "C"), [[-1.0, -1.0, 0.4], [0.0, -0.5, 0.2]]),  # C does not feel λ
        (("lam", "S"), [[-1.0, 0.0, 0.4], [-1.0, -0.5, 0.2]]),  # C + λ D_γ + γ C_γ = 1 + 0 - 1
        (("C", "S"), [[-1.0, 0.0, 0.4], [-0.5, -0.25, 0.2]]),  # ∇S = -(1, ½) is twice ∇C
    ],
)
def test_conditions_that_do_not_fix_a_motion_break_down(
    pair: tuple[str, str], slopes: list[list[float]]
) -> None:
    here = point_with(*slopes)
    with pytest.raises(SolverBreakdown, match=r"conditions on .* and .* that do not fix"):
        motion(here, {name: here.value(name) for name in pair}, 0.1)


# --- a stroke's own checks ---


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_any_two_changes_make_a_stroke(pair: tuple[str, str]) -> None:
    changes = dict(zip(pair, (0.5, 0.0), strict=True))
    stroke = Stroke("any", **changes)  # type: ignore[arg-type]
    assert stroke.changes == changes
    assert (stroke.steps, stroke.moves, stroke.adjust, stroke.clock) == (10, True, None, None)


@given(st.dictionaries(st.sampled_from(QUANTITIES), st.floats(-2, 2), max_size=4))
def test_one_change_is_too_few_and_three_are_too_many(changes: dict[str, float]) -> None:
    if len(changes) == 2:
        return
    with pytest.raises(ConfigError, match=r"exactly two of lam, gam, C and S"):
        Stroke("any", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, r"name: got ''"),
        ({"steps": 0}, r"a\.steps: got 0"),
        ({"lam": math.nan}, r"a\.lam: got nan; allowed: a finite number, or return"),
        ({"lam": math.inf}, r"a\.lam: got inf"),
        ({"lam": None, "S": RETURN}, r"a\.S: got '?return'?; allowed: a number"),
        ({"adjust": "gam"}, r"a\.adjust: got 'gam'"),  # not one of its changes
        ({"lam": RETURN, "adjust": "lam"}, r"a\.adjust: got 'lam'"),  # no number to adjust
        ({"adjust": "t"}, r"a\.adjust: got 't'"),
        ({"clock": 0.0}, r"a\.clock: got 0"),
        ({"clock": -1.0}, r"a\.clock: got -1"),
        ({"clock": math.inf}, r"a\.clock: got inf"),
        ({"clock": math.nan}, r"a\.clock: got nan"),
        ({"lam": 0.0, "moves": False}, r"a\.moves: got False; .* nothing would move"),
    ],
    ids=str,
)
def test_a_stroke_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Stroke(**({"name": "a", "lam": 0.5, "C": 0.0} | arguments))


def test_strokes_at_a_standing_control_need_moving_data_only() -> None:
    assert Stroke("domain", lam=0, gam=0).moves
    assert Stroke("back", lam=RETURN, gam=0, moves=False).changes == {"lam": "return", "gam": 0}


# --- closing ---


def carnot_strokes(k_hot: float, k_cold: float) -> list[Stroke]:
    return [
        Stroke("hot", lam=k_hot, C=0.0, adjust="lam"),
        Stroke("cooling", gam=0.0, S=0.0),
        Stroke("cold", lam=k_cold, C=0.0, adjust="lam"),
        Stroke("heating", gam=0.0, S=0.0),
    ]


def corners(k_hot: float, k_cold: float) -> list[tuple[Point, Point]]:
    found = []
    for system, columns in zip(LEGS, course(k_hot, k_cold, 2), strict=True):
        first, *_, last = zip(*columns, strict=True)
        found.append((point(system, *first), point(system, *last)))
    return found


@pytest.mark.parametrize("changes", [CHANGES, (0.8, -1.3)])
def test_the_step_of_closing_has_the_derivative_of_the_exact_closure(
    changes: tuple[float, float],
) -> None:
    columns = [slope_of_defect(changes, axis) for axis in (0, 1)]
    derivative = np.stack(columns, axis=1)
    strokes, ends = carnot_strokes(*changes), corners(*changes)
    # the steps for the defects (ε, 0) and (0, ε) are the columns of minus the inverse, times ε
    small = 1e-3
    steps = [closing_step(strokes, ends, miss, TIGHT) for miss in ((small, 0.0), (0.0, small))]
    found = -small * np.linalg.inv(np.array(steps).T)
    assert found == pytest.approx(derivative, rel=1e-6)
    assert np.abs(derivative).min() > 0.01  # every entry is seen


def slope_of_defect(changes: tuple[float, float], axis: int, h: float = 1e-4) -> Array:
    """Central difference of the closure, (λ, γ) at the end, by one of the changes."""
    step = h * np.eye(2)[axis]
    ahead, behind = (np.array(defect(*(changes + sign * step))) for sign in (1, -1))
    return np.asarray((ahead - behind) / (2 * h))


def test_newtons_method_closes_the_cycle_to_the_last_digits() -> None:
    changes = np.array([0.7, -0.9])
    misses = [max(map(abs, defect(*changes)))]
    while misses[-1] > 1e-12 and len(misses) < 8:
        now = tuple(changes.tolist())
        changes += closing_step(carnot_strokes(*now), corners(*now), defect(*now), TIGHT)
        misses.append(max(map(abs, defect(*changes))))
    assert misses[0] > 0.1
    assert misses[-1] <= 1e-12
    assert changes == pytest.approx(CHANGES, rel=0, abs=1e-11)
    # quadratic: each miss is some constant times the square of the one before
    constants = [b / a**2 for a, b in pairwise(misses) if b > 1e-10]
    assert len(constants) >= 3
    assert max(constants) < 10 * min(constants), misses


def test_a_far_step_of_closing_is_shortened() -> None:
    strokes, ends = carnot_strokes(*CHANGES), corners(*CHANGES)
    near, far = (
        np.array(closing_step(strokes, ends, (scale, -scale), TIGHT)) for scale in (1e-3, 10.0)
    )
    # along the same direction, until some corner would move by half
    assert far / np.linalg.norm(far) == pytest.approx(near / np.linalg.norm(near), rel=1e-9)
    assert np.linalg.norm(far) < 1e4 * np.linalg.norm(near)
    assert abs(far[0] / ends[0][1].lam) <= 0.5 * (1 + 1e-9)


def test_closing_balances_the_defect_against_the_changes() -> None:
    strokes, ends = carnot_strokes(*CHANGES), corners(*CHANGES)
    miss, allowed = np.array([0.01, -0.02]), np.array([0.03, 0.1])
    step = np.array(closing_step(strokes, ends, (0.01, -0.02), (0.03, 0.1)))
    slope = np.stack([slope_of_defect(CHANGES, axis) for axis in (0, 1)], axis=1)
    sizes = 0.1 * np.array([ends[0][1].lam, ends[2][1].lam])
    # the gradient of |(miss + slope step)/allowed|² + |step/sizes|² vanishes
    parts = slope.T @ ((miss + slope @ step) / allowed**2), step / sizes**2
    assert parts[0] == pytest.approx(-parts[1], rel=1e-5)
    assert np.abs(miss + slope @ step).max() > 1e-3  # Newton's step would leave nothing


def test_a_stroke_that_returns_forgets_where_it_began() -> None:
    first, last = corners(*CHANGES)[0]
    strokes = [
        Stroke("a", lam=0.5, C=0.0, adjust="lam"),
        Stroke("b", gam=RETURN, lam=0.1),
        Stroke("c", lam=0.0, gam=0.2, adjust="gam"),
    ]
    # λ at the end is λ_0 + k_a + 0.1, γ is γ_0 + k_c, whatever γ did on the first stroke
    step = closing_step(strokes, [(first, last)] * 3, (0.3, -0.2), TIGHT)
    assert step == pytest.approx([-0.3, 0.2], rel=1e-12)


def test_changes_on_which_the_closure_does_not_depend_break_down() -> None:
    # the last stroke returns γ: no change before it moves γ at the end
    strokes = [
        Stroke("a", lam=0.5, C=0.0, adjust="lam"),
        Stroke("b", lam=-0.3, C=0.0, adjust="lam"),
        Stroke("c", lam=0.0, gam=RETURN),
    ]
    ends = [corners(*CHANGES)[0]] * 3
    with pytest.raises(SolverBreakdown, match="closing: got two changes"):
        closing_step(strokes, ends, (0.1, 0.1), TIGHT)


def test_a_corner_at_which_an_adiabat_breaks_down_stops_the_closing() -> None:
    strokes, ends = carnot_strokes(*CHANGES), corners(*CHANGES)
    ends[1] = ends[1][0], vanishing(0.0)
    with pytest.raises(SolverBreakdown, match=r"denominator .* of the adiabat vanishes"):
        closing_step(strokes, ends, (0.1, 0.1), TIGHT)


# --- the grid of a stroke ---


@pytest.mark.parametrize(
    ("ease", "first"),
    [(0, []), (1, [1 / 16]), (2, [1 / 16, 1 / 8]), (3, [4**-2, 4 ** (-5 / 3), 4 ** (-4 / 3)])],
)
def test_a_stroke_goes_along_its_grid_and_may_begin_with_short_steps(
    ease: int, first: list[float]
) -> None:
    stroke, found = Stroke("any", 4, lam=0.5, C=0.0, ease=ease), [0.0]
    while found[-1] < 1:
        found.append(stroke.node_after(found[-1]))
    assert found == pytest.approx([0.0, *first, 0.25, 0.5, 0.75, 1.0], rel=1e-12)


# --- steps spread over strokes ---


@given(
    st.lists(st.floats(1e-3, 10.0), min_size=2, max_size=3),
    st.integers(5, 9),
    st.sampled_from([1, 3, 5]),
)
def test_spread_steps_give_off_less_than_any_others(
    sizes: list[float], count: int, order: int
) -> None:
    # c of c/nᵖ, and what a pass in some steps has measured of it
    def lost(steps: Sequence[int]) -> list[float]:
        return [c / n**order for c, n in zip(sizes, steps, strict=True)]

    before = [1] * (len(sizes) - 1) + [count - len(sizes) + 1]
    found = spread(before, lost(before), order)
    others = [n for n in product(range(1, count), repeat=len(sizes)) if sum(n) == count]
    assert sum(found) == count
    assert sum(lost(found)) == pytest.approx(min(sum(lost(n)) for n in others), rel=1e-9)
