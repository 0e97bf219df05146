"""Couplings against brute force, linear programming, closed forms and the geodesic identity."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linprog
from scipy.spatial.distance import cdist

from thermo_pl import transport
from thermo_pl.errors import DataError, TransportError
from thermo_pl.transport import solver

Measure = tuple[np.ndarray, np.ndarray]


def uniform(x: np.ndarray) -> Measure:
    return x, np.full(len(x), 1 / len(x))


def on_path(a: np.ndarray, b: np.ndarray, plan: np.ndarray, t: float) -> Measure:
    """The measure of (1-t) x_i + t x_j under a plan."""
    i, j = np.nonzero(plan > 1e-15)
    return (1 - t) * a[i] + t * b[j], plan[i, j] / plan[i, j].sum()


def dense(coupling: transport.Coupling, shape: tuple[int, int]) -> np.ndarray:
    plan = np.zeros(shape)
    plan[coupling.rows, coupling.cols] = coupling.mass
    return plan


def path_residuals(a: np.ndarray, b: np.ndarray, middle: Measure, t: float) -> np.ndarray:
    """How far a measure is from p_t, relative to W2(A,B): of the two distances and the barycentre.

    All distances come from solves of their own between A, B and the measure.
    """
    total = transport.wasserstein2(*uniform(a), *uniform(b))
    to_a = transport.wasserstein2(*uniform(a), *middle)
    to_b = transport.wasserstein2(*middle, *uniform(b))
    return np.array([
        np.sqrt(to_a / total) - t,
        np.sqrt(to_b / total) - (1 - t),
        ((1 - t) * to_a + t * to_b) / (t * (1 - t) * total) - 1,
    ])


@pytest.fixture(scope="module")
def domains(digits: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    x, y = digits
    return x[y < 5][:90], x[y >= 5][:70]


@pytest.mark.parametrize("t", [0.25, 0.5, 0.9])
def test_exact_plan_is_the_geodesic(domains: tuple[np.ndarray, np.ndarray], t: float) -> None:
    a, b = domains
    plan = dense(transport.exact_coupling(a, b), (len(a), len(b)))
    assert np.abs(path_residuals(a, b, on_path(a, b, plan, t), t)).max() <= 1e-9


@pytest.mark.parametrize("wrong", ["mixture", "independent"])
def test_the_geodesic_test_tells_wrong_paths(
    domains: tuple[np.ndarray, np.ndarray], wrong: str
) -> None:
    a, b = domains
    (_, w_a), (_, w_b) = uniform(a), uniform(b)
    if wrong == "mixture":
        middle = np.concatenate([a, b]), np.concatenate([w_a, w_b]) / 2
    else:
        middle = on_path(a, b, np.outer(w_a, w_b), 0.5)
    assert path_residuals(a, b, middle, 0.5)[2] > 1e-3  # an exact plan shows a millionth of it


@pytest.mark.parametrize("t", [0.3, 0.5])
def test_matched_plan_is_the_geodesic_of_every_class(
    digits: tuple[np.ndarray, np.ndarray], t: float
) -> None:
    x, y = digits
    in_a, in_b = np.isin(y, [0, 1]), np.isin(y, [5, 7])
    a, y_a, b, y_b = x[in_a][:80], y[in_a][:80], x[in_b][:60], y[in_b][:60]
    coupling = transport.matched_coupling(a, y_a, b, y_b, {0: 5, 1: 7})
    plan = dense(coupling, (len(a), len(b)))
    for class_a, class_b in ((0, 5), (1, 7)):
        i, j = y_a == class_a, y_b == class_b
        inner = plan[np.ix_(i, j)]
        assert inner.sum() == pytest.approx(0.5, abs=1e-12)
        residuals = path_residuals(a[i], b[j], on_path(a[i], b[j], inner, t), t)
        assert np.abs(residuals).max() <= 1e-9


def test_matched_plan_has_class_balanced_marginals(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    a, y_a = np.concatenate([x[y == 0][:30], x[y == 1][:10]]), np.repeat([0, 1], [30, 10])
    b, y_b = np.concatenate([x[y == 5][:8], x[y == 7][:21]]), np.repeat([5, 7], [8, 21])
    coupling = transport.matched_coupling(a, y_a, b, y_b, {0: 5, 1: 7})
    plan = dense(coupling, (40, 29))
    np.testing.assert_allclose(plan.sum(1), np.repeat([1 / 60, 1 / 20], [30, 10]), atol=1e-15)
    np.testing.assert_allclose(plan.sum(0), np.repeat([1 / 16, 1 / 42], [8, 21]), atol=1e-15)
    assert (plan[:30, 8:] == 0).all()
    assert (plan[30:, :8] == 0).all()
    assert coupling.cost == pytest.approx((plan * cdist(a, b, "sqeuclidean")).sum(), rel=1e-12)


def test_plan_is_index_pairs_with_exact_marginals(domains: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = domains
    coupling = transport.exact_coupling(a, b)
    assert coupling.rows.dtype == coupling.cols.dtype == np.int64
    assert len(coupling) < len(a) + len(b)  # a vertex has at most n + m - 1 pairs
    plan = dense(coupling, (len(a), len(b)))
    assert np.abs(plan.sum(1) - 1 / len(a)).sum() <= 1e-13
    assert np.abs(plan.sum(0) - 1 / len(b)).sum() <= 1e-13
    units = coupling.mass * 630  # lcm(90, 70)
    np.testing.assert_allclose(units, np.rint(units), atol=1e-9)


def test_shape_of_images_and_float32_do_not_matter(
    domains: tuple[np.ndarray, np.ndarray],
) -> None:
    a, b = (x.astype(np.float32) for x in domains)
    one = transport.exact_coupling(a, b)
    other = transport.exact_coupling(a.reshape(-1, 1, 8, 8), b.reshape(-1, 1, 8, 8))
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.mass, other.mass)
    assert one.cost == other.cost


def test_weighted_distance_against_linear_programming() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((8, 2)), rng.standard_normal((11, 2))
    w_a, w_b = rng.dirichlet(np.ones(8)), rng.dirichlet(np.ones(11))
    w_a[3] = 0
    w_a /= w_a.sum()
    rows, cols = np.kron(np.eye(8), np.ones(11)), np.kron(np.ones(8), np.eye(11))
    cost = cdist(a, b, "sqeuclidean").ravel()
    solved = linprog(cost, A_eq=np.vstack([rows, cols]), b_eq=np.concatenate([w_a, w_b]))
    assert transport.wasserstein2(a, w_a, b, w_b) == pytest.approx(solved.fun, rel=1e-8)
    assert transport.wasserstein2(a, 3 * w_a, b, w_b) == pytest.approx(solved.fun, rel=1e-8)


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.float64, st.integers(1, 12), elements=st.floats(-100, 100)),
    arrays(np.float64, st.integers(1, 12), elements=st.floats(-100, 100)),
)
def test_one_dimension_is_the_monotone_plan(a: np.ndarray, b: np.ndarray) -> None:
    # W2² = ∫ (F_a⁻¹ - F_b⁻¹)², a sum over the steps of both quantile functions.
    edges = np.unique(np.concatenate([np.arange(len(a) + 1) * len(b), np.arange(len(b)) * len(a)]))
    i, j = edges[:-1] // len(b), edges[:-1] // len(a)
    expected = np.diff(edges) / (len(a) * len(b)) @ np.square(np.sort(a)[i] - np.sort(b)[j])
    found = transport.exact_coupling(a[:, None], b[:, None]).cost
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_points_that_all_coincide() -> None:
    coupling = transport.exact_coupling(np.ones((4, 2)), np.ones((6, 2)))
    assert coupling.cost == 0
    assert coupling.mass.sum() == pytest.approx(1, abs=1e-15)


def broken_plans() -> dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], tuple]]:
    return {
        "a particle lost": lambda i, j, m: (i[1:], j[1:], m[1:]),
        "mass moved": lambda i, j, m: (i, j, m + np.array([1e-8, -1e-8, 0, 0])),
        "another row": lambda i, j, m: (np.array([1, 1, 2, 3]), j, m),
        "negative mass": lambda i, j, m: (
            np.append(i, [0, 0]),
            np.append(j, [1, 1]),
            np.append(m, [0.1, -0.1]),
        ),
        "not a number": lambda i, j, m: (i, j, np.array([0.25, 0.25, 0.25, np.nan])),
        "out of range": lambda i, j, m: (i, np.array([0, 1, 2, 4]), m),
        "negative index": lambda i, j, m: (i, np.array([0, 1, 2, -1]), m),
        "shapes": lambda i, j, m: (i, j, m[:3]),
        "empty": lambda i, j, m: (i[:0], j[:0], m[:0]),
    }


@pytest.mark.parametrize("name", broken_plans())
def test_check_marginals_refuses(name: str) -> None:
    index, mass = np.arange(4), np.full(4, 0.25)
    transport.check_marginals(index, index, mass, mass, mass)  # the sound plan passes
    with pytest.raises(TransportError):
        transport.check_marginals(*broken_plans()[name](index, index, mass), mass, mass)


def test_check_marginals_allows_rounding_only() -> None:
    index, mass = np.arange(4), np.full(4, 0.25)
    transport.check_marginals(index, index, mass + 1e-11, mass, mass)
    with pytest.raises(TransportError, match=r"off by .* in L1"):
        transport.check_marginals(index, index, mass + 1e-9, mass, mass)


def test_a_plan_that_is_not_optimal_is_refused(domains: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = domains
    cost = cdist(a, b, "sqeuclidean")
    w_a, w_b = uniform(a)[1], uniform(b)[1]
    plan, log = ot.emd(w_a, w_b, cost, log=True)
    solver.check_optimality(plan, cost, (log["u"], log["v"]))
    with pytest.raises(TransportError, match="more than the optimum"):
        solver.check_optimality(np.outer(w_a, w_b), cost, (log["u"], log["v"]))
    with pytest.raises(TransportError, match="more than the optimum"):
        solver.check_optimality(plan, cost, (log["u"] + np.eye(len(a))[0], log["v"]))


def test_a_solver_with_wrong_marginals_is_an_error(
    domains: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = ot.emd

    def lossy(*args: object, **kwargs: object) -> tuple[np.ndarray, dict[str, object]]:
        plan, log = honest(*args, **kwargs)
        plan[0] = 0  # a particle lost, and nothing said
        return plan, log

    monkeypatch.setattr(ot, "emd", lossy)
    with pytest.raises(TransportError, match="first marginal"):
        transport.exact_coupling(*domains)


def test_a_solver_with_a_plan_that_is_not_optimal_is_an_error(
    domains: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = ot.emd

    def lazy(w_a: np.ndarray, w_b: np.ndarray, *args: object, **kwargs: object) -> tuple:
        _, log = honest(w_a, w_b, *args, **kwargs)
        return np.outer(w_a, w_b), log  # sound marginals, a poor plan, and nothing said

    monkeypatch.setattr(ot, "emd", lazy)
    with pytest.raises(TransportError, match="more than the optimum"):
        transport.exact_coupling(*domains)


def test_matching_against_all_permutations() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([2, 4, 7, 9], 5)
    a, b = rng.standard_normal((2, 20, 3)) + 0.7 * rng.standard_normal((2, 4, 3)).repeat(5, axis=1)
    classes = [2, 4, 7, 9]

    def total(order: tuple[int, ...]) -> float:
        pairs = zip(classes, order, strict=True)
        return sum(
            transport.wasserstein2(*uniform(a[labels == p]), *uniform(b[labels == q]))
            for p, q in pairs
        )

    sums = {order: total(order) for order in itertools.permutations(classes)}
    best, second = sorted(sums, key=lambda order: sums[order])[:2]
    assert sums[second] - sums[best] > 1e-3  # the answer is unique
    found = transport.match_classes(a, labels, b, labels, classes, classes)
    assert found == dict(zip(classes, best, strict=True))


def test_errors_of_the_data() -> None:
    x, y = np.zeros((4, 2)), np.array([0, 0, 1, 1])
    with pytest.raises(DataError, match="cannot be matched with 1 classes"):
        transport.match_classes(x, y, x, y, [0, 1], [0])
    with pytest.raises(DataError, match="class 3 has no points in the second domain"):
        transport.match_classes(x, y, x, y, [0, 1], [0, 3])
    for matching in ({0: 0}, {0: 0, 1: 0}, {0: 0, 1: 1, 2: 2}):
        with pytest.raises(DataError, match="every class must be matched once"):
            transport.matched_coupling(x, y, x, y, matching)
    with pytest.raises(DataError, match="empty"):
        transport.exact_coupling(x[:0], x)
    with pytest.raises(DataError, match="not finite"):
        transport.exact_coupling(x, np.full((4, 2), np.nan))
    with pytest.raises(DataError, match="2 and of 1 values"):
        transport.exact_coupling(x, x[:, :1])
    with pytest.raises(DataError, match="labels of shape"):
        transport.match_classes(x, y[:3], x, y, [0, 1], [0, 1])
    for masses in (np.ones(3), -np.ones(4), np.zeros(4)):
        with pytest.raises(DataError, match="masses"):
            transport.wasserstein2(x, masses, x, np.ones(4))
