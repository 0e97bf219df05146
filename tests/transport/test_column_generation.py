"""Plans by column generation against an assignment solver, the dense simplex and brute duality."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment, linprog
from scipy.spatial.distance import cdist

from thermo_pl.errors import TransportError
from thermo_pl.transport import column_generation, solver
from thermo_pl.transport.column_generation import Plan

Domains = tuple[np.ndarray, np.ndarray]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Column generation on small sets, in several blocks and rounds."""
    monkeypatch.setattr(column_generation, "PILOT", 4)
    monkeypatch.setattr(column_generation, "CHEAPEST", 3)
    monkeypatch.setattr(column_generation, "_BLOCK", 7)


@pytest.fixture
def digits_in_two(digits: Domains) -> Domains:
    x, y = digits
    return x[y < 5][:300].astype(np.float32), x[y >= 5][:270].astype(np.float32)


def price(plan: Plan, a: np.ndarray, b: np.ndarray) -> float:
    return float(plan["mass"] @ cdist(a, b, "sqeuclidean")[plan["rows"], plan["cols"]])


def marginals(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = (np.bincount(plan[side], plan["mass"]) for side in ("rows", "cols"))
    return rows, cols


def test_as_many_points_against_an_assignment(digits_in_two: Domains) -> None:
    a, b = digits_in_two
    a = a[:270]
    cost = cdist(a, b, "sqeuclidean")
    best = cost[linear_sum_assignment(cost)].mean()
    plan = column_generation.optimal_plan(a, b)
    assert price(plan, a, b) == pytest.approx(best, rel=1e-12)
    assert len(plan["rows"]) == 270
    np.testing.assert_allclose(marginals(plan), np.full((2, 270), 1 / 270), rtol=1e-14)


def test_a_long_plan_says_how_far_it_is(
    digits_in_two: Domains, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[float, str]] = []
    monkeypatch.setattr(column_generation, "within", lambda *said: told.append(said))
    column_generation.optimal_plan(*digits_in_two)
    shares, notes = zip(*told, strict=True)
    assert list(shares) == sorted(shares)
    assert shares[0] == 0
    assert 0 < shares[-1] <= 1
    assert notes[0] == "a plan of some of them"
    assert notes[1] == "round 0: 2% priced"
    rounds = [int(note.split()[1][:-1]) for note in notes[1:]]
    assert rounds == sorted(rounds)
    assert rounds[-1] >= 2
    assert sum("100% priced" in note for note in notes) == rounds[-1] + 1  # each is priced whole


def test_other_numbers_of_points_against_the_dense_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((200, 5)), rng.standard_normal((170, 5)) + 1
    plan = column_generation.optimal_plan(a, b)
    monkeypatch.setattr(column_generation, "PILOT", 1000)
    dense = column_generation.optimal_plan(a, b)
    assert price(plan, a, b) == pytest.approx(price(dense, a, b), rel=1e-12)
    np.testing.assert_array_equal(plan["rows"], dense["rows"])  # such points have but one
    np.testing.assert_array_equal(plan["cols"], dense["cols"])
    np.testing.assert_array_equal(plan["mass"], dense["mass"])


points = st.tuples(st.integers(5, 30), st.integers(5, 30), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(
        *(
            arrays(np.float64, (n, shape[2]), elements=st.integers(-3, 3).map(float))
            for n in shape[:2]
        )
    )
)


# on a small lattice, where points coincide and many plans are optimal
@settings(max_examples=60, deadline=None)
@given(points)
def test_any_points_against_linear_programming(sets: Domains) -> None:
    a, b = sets
    cost = cdist(a, b, "sqeuclidean")
    n, m = cost.shape
    sums = np.concatenate([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    masses = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    best = linprog(cost.ravel(), A_eq=sums, b_eq=masses).fun
    plan = column_generation.optimal_plan(a, b)
    assert price(plan, a, b) == pytest.approx(best, rel=1e-9, abs=1e-12)
    for found, mass in zip(marginals(plan), (1 / n, 1 / m), strict=True):
        np.testing.assert_allclose(found, mass, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_neither_scale_nor_place_matters(digits_in_two: Domains, scale: float) -> None:
    a, b = digits_in_two
    plan = column_generation.optimal_plan(a, b)
    moved = column_generation.optimal_plan(*(scale * (x.astype(np.float64) + 100) for x in (a, b)))
    assert price(plan, a, b) == pytest.approx(price(moved, a, b), rel=1e-11)


def test_a_plan_that_misses_pairs_is_refused(
    digits_in_two: Domains, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = column_generation._cheapest

    def blind(*arguments: object) -> tuple[np.ndarray, float]:
        return np.empty(0, dtype=np.int64), honest(*arguments)[1]

    monkeypatch.setattr(column_generation, "_cheapest", blind)
    with pytest.raises(TransportError, match="more than the optimum"):
        column_generation.optimal_plan(*digits_in_two)


def test_a_simplex_that_gives_up_is_an_error(
    digits_in_two: Domains, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solver, "MAX_PIVOTS", 3)
    with pytest.raises(TransportError, match="numItermax"):
        column_generation.optimal_plan(*digits_in_two)
