"""The balance of the first law on surfaces known in closed form, and the strokes of a path."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from support.exact_runs import MOVING, make_system
from thermo_pl.path.columns import Row
from thermo_pl.path.segments import (
    drift,
    first_law_residual,
    relative_first_law_residual,
    stroke_paths,
)

Array = NDArray[np.float64]
EXACT = make_system(MOVING)


def point(lam: float, gam: float, t: float, surface: Any, **others: Any) -> Row:
    """A row at an exact equilibrium."""
    rate, distortion, loss, slope = surface(lam, gam, t)
    row = {"lambda": lam, "gamma": gam, "t": t, "leg": 0}
    return row | {"R": rate, "D": distortion, "C": loss, "J_t": slope} | others


def gaussian(lam: float, gam: float, t: float) -> tuple[float, float, float, float]:
    """R, D, C and ∂_tF of a linear-Gaussian model whose data move, all latents active."""
    here = EXACT.state(lam, gam, t)
    return here.R, here.D, here.C, EXACT.forces(lam, gam, t)[2].item()


def residual(surface: Any, start: Array, step: Array) -> float:
    """What is left of the first law over one step in (λ, γ, t)."""
    return first_law_residual(point(*start, surface), point(*(start + step), surface))


@pytest.mark.parametrize(
    "step",
    [(0.4, 0, 0), (0, 0.4, 0), (0, 0, 0.4), (0.4, -0.3, 0), (0.3, 0.2, 0.4)],
    ids=["λ", "γ", "t", "λγ", "all"],
)
def test_residual_of_exact_equilibria_is_of_third_order(step: tuple[float, ...]) -> None:
    start, whole = np.array([1.0, 1.0, 0.2]), np.array(step)
    sizes = [residual(gaussian, start, whole / 2**k) for k in range(2, 7)]
    assert abs(sizes[0]) > 1e-9  # far above rounding, or the ratios would say nothing
    ratios = [before / after for before, after in pairwise(sizes)]
    # 8 (1 + O(h)): from the third halving on within a tenth, and closer each time
    assert abs(ratios[-1] - 8) < 0.4
    assert abs(ratios[-1] - 8) < abs(ratios[0] - 8)


def test_one_gaussian_channel_by_hand() -> None:
    # d = 1, σ² = ½, τ = 2, λ from 1 to 2: R = ½ log 4λ, D = const + 1/(2λ)
    before = {"lambda": 1, "gamma": 0, "t": 0, "leg": 0, "R": 0.5 * math.log(4), "D": 0.5}
    after = {"lambda": 2, "gamma": 0, "t": 0, "leg": 0, "R": 0.5 * math.log(8), "D": 0.25}
    rest = {"C": 0.0, "J_t": 0.0}
    expected = 0.5 * math.log(2) - 1.5 * 0.25
    assert first_law_residual(before | rest, after | rest) == pytest.approx(expected, abs=1e-15)


number = st.floats(-3, 3)


@given(st.lists(number, min_size=10, max_size=10), st.lists(number, min_size=6, max_size=6))
def test_residual_of_a_quadratic_free_energy_is_zero(form: list[float], ends: list[float]) -> None:
    # the trapezoidal rule is exact where the forces are linear in (λ, γ, t)
    upper = np.zeros((3, 3))
    upper[np.triu_indices(3)] = form[:6]
    hessian, slope, origin = upper + upper.T, np.array(form[6:9]), form[9]

    def quadratic(lam: float, gam: float, t: float) -> tuple[float, ...]:
        at = np.array([lam, gam, t])
        force = hessian @ at + slope
        energy = origin + slope @ at + 0.5 * at @ hessian @ at
        return (energy - lam * force[0] - gam * force[1], *force)

    start, end = np.array(ends[:3]), np.array(ends[3:])
    # energies reach 3·9·9 = 243: 1e-12 is a few units of rounding there
    assert abs(residual(quadratic, start, end - start)) <= 1e-12


def test_the_data_term_is_not_optional() -> None:
    def without(lam: float, gam: float, t: float) -> tuple[float, ...]:
        return (*gaussian(lam, gam, t)[:3], 0.0)

    start, step = np.array([1.0, 1.0, 0.2]), np.array([0.0, 0.0, 0.05])
    left = residual(without, start, step)
    # what is missing is ∫∂_tF dt = ½ Δ log det S, to the third order of the rule
    before, after = (EXACT.covariance(t).logdet().item() for t in (0.2, 0.25))
    assert left == pytest.approx((after - before) / 2, abs=1e-5)
    assert abs(left) > 100 * abs(residual(gaussian, start, step))


def test_residual_of_a_loop_is_the_dissipation() -> None:
    # a hysteresis loop: no equilibrium, and the residuals say how much was lost
    corner = {"leg": 0, "t": 0.0, "J_t": 0.0, "gamma": 0.0, "C": 0.0}
    # (λ, R, D): up with D late, down with D late
    path = [(1, 2.0, 3.0), (2, 2.0, 3.0), (2, 3.2, 2.5), (1, 3.2, 2.5), (1, 2.6, 3.0)]
    rows = [corner | {"lambda": lam, "R": r, "D": d} for lam, r, d in path]
    each = [first_law_residual(a, b) for a, b in pairwise(rows)]
    # moving λ alone costs nothing here; relaxing at fixed λ changes J = R + λD by the residual
    assert each == pytest.approx([0, 0.2, 0, -0.1])


def test_relative_residual_by_hand() -> None:
    rest = {"t": 0.0, "J_t": 0.0, "gamma": 2.0, "lambda": 1.0}
    rows = [
        rest | {"leg": 0, "R": 1.0, "D": 5.0, "C": 1.0},
        rest | {"leg": 0, "R": 2.0, "D": 4.5, "C": 1.0},  # residual ½ of 1 + ½
        rest | {"leg": 0, "R": 2.0, "D": 4.5, "C": 1.0},  # nothing of nothing: 0
        rest | {"leg": 1, "R": 9.0, "D": 9.0, "C": 9.0},  # another leg: not a step
        rest | {"leg": 1, "R": 9.0, "D": 9.0, "C": 8.5},  # residual -1 of 1
    ]
    assert relative_first_law_residual(rows) == pytest.approx(1 / 3)  # median of 0, ⅓, 1
    assert relative_first_law_residual(rows[:2]) == pytest.approx(1 / 3)
    assert math.isnan(relative_first_law_residual(rows[:1]))
    assert math.isnan(relative_first_law_residual([]))
    assert math.isnan(relative_first_law_residual(rows[2:4]))


def test_drift_by_hand() -> None:
    nan = float("nan")
    rows = [(0.9, nan), (0.5, 0.5), (0.51, 0.5), (0.46, 0.5)]
    largest, mean = drift([{"C_held": c, "C_target": target} for c, target in rows])
    assert (largest, mean) == pytest.approx((0.08, 0.1 / 3))
    assert all(math.isnan(v) for v in drift([{"C_held": 0.9, "C_target": nan}]))
    assert all(math.isnan(v) for v in drift([]))


def test_a_stroke_begins_where_the_one_before_it_ended_on_its_leg_and_in_its_cycle() -> None:
    places = [
        (0, "equilibration", 0),
        (0, "hot", 0),
        (0, "hot", 0),
        (0, "cold", 1),  # settles on another leg
        (0, "cold", 1),
        (0, "still", 1),
        (1, "hot", 1),  # set back to the start
        (1, "hot", 1),
    ]
    rows = [
        {"step": step, "cycle": cycle, "stroke": name, "leg": leg}
        for step, (cycle, name, leg) in enumerate(places)
    ]
    found = stroke_paths(rows)
    assert [(s.cycle, s.name) for s in found] == list(dict.fromkeys(p[:2] for p in places))
    steps = [[row["step"] for row in s.members] for s in found]
    assert steps == [[0], [1, 2], [3, 4], [5], [6, 7]]
    steps = [[row["step"] for row in s.path] for s in found]
    assert steps == [[0], [0, 1, 2], [3, 4], [4, 5], [6, 7]]
    assert stroke_paths([]) == []
