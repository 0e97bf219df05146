"""Exact optimal couplings of two sets of images, checked, and kept on disk.

The displacement interpolation p(x(t)) of McCann [1]_ needs an optimal plan between its two ends;
a plan that is only nearly optimal (Sinkhorn, mini-batches) gives another path. All plans here are
vertices of the transport polytope, found by the network simplex of POT [2]_ in float64. Their
marginals and their optimality are checked every time, and a plan that fails is never returned.
Particles are index pairs with a mass, never copies of images.

A plan between n and m points takes about 6·8·n·m bytes while it is being solved (measured): 1.4 GB
for 5,421 × 5,421 points.

References:
    .. [1] R. J. McCann, "A convexity principle for interacting gases", Adv. Math. 128 (1997).
    .. [2] N. Bonneel et al., "Displacement interpolation using Lagrangian mass transport",
       ACM Trans. Graphics 30 (2011); R. Flamary et al., "POT: Python Optimal Transport",
       JMLR 22 (2021).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import ot
from scipy.optimize import linear_sum_assignment

from thermo_pl.datamodules.cache import ArrayCache, Arrays
from thermo_pl.errors import DataError, TransportError
from thermo_pl.progress import advance

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# L1 error of a marginal that is still rounding. A plan that loses one particle of n is off by 1/n,
# which is 1.7e-5 for the 60,000 images of MNIST; summing n+m masses in float64 is off by at most
# (n+m)·2⁻⁵³, which is 1.3e-11 there. The bound lies between the two, far from both.
MARGINAL_BOUND = 1e-9
# How far the cost of a plan may lie above its optimum, in units of the largest distance.
OPTIMALITY_BOUND = 1e-9
# Pivots of the network simplex. 60,000 points need some millions; reaching this is a failure.
MAX_PIVOTS = 10**9
# Rows of the cost matrix that are looked at together, to keep temporaries small.
_BLOCK = 512


@dataclass(frozen=True, eq=False)
class Coupling:
    """A plan between two sets of points, as index pairs.

    Attributes:
        rows: index of the point x_a of each pair, int64, shape ``(pairs,)``.
        cols: index of the point x_b of each pair, int64, shape ``(pairs,)``.
        mass: mass of each pair, float64, positive, sums to one.
        cost: Σ mass·|x_a - x_b|², squared distances summed over pixels; for an optimal plan the
            squared Wasserstein distance W2².
    """

    rows: IntArray
    cols: IntArray
    mass: FloatArray
    cost: float

    def __len__(self) -> int:
        """The number of pairs.

        Returns:
            That number.
        """
        return len(self.rows)


def identity_coupling(n: int, cost: float = 0.0) -> Coupling:
    """Every point coupled with its own partner, with equal mass.

    Args:
        n: number of points on each side.
        cost: W2² of the plan, as the caller knows it.

    Returns:
        The coupling.
    """
    index = np.arange(n, dtype=np.int64)
    return Coupling(index, index, np.full(n, 1 / n), cost)


def check_marginals(
    rows: npt.NDArray[Any],
    cols: npt.NDArray[Any],
    mass: npt.NDArray[Any],
    w_a: FloatArray,
    w_b: FloatArray,
) -> None:
    """Make sure that a plan has the marginals it must have.

    Args:
        rows: index of the first point of each pair.
        cols: index of the second point of each pair.
        mass: mass of each pair.
        w_a: mass that each first point must have.
        w_b: mass that each second point must have.

    Raises:
        TransportError: if an index is out of range, a mass is not positive and finite, or a
            marginal is off by more than ``MARGINAL_BOUND`` in L1.
    """
    if not (rows.ndim == 1 and rows.shape == cols.shape == mass.shape):
        shapes = f"{rows.shape}, {cols.shape}, {mass.shape}"
        raise TransportError(f"rows, cols and mass of a coupling have the shapes {shapes}")
    if not (np.isfinite(mass).all() and (mass > 0).all()):
        raise TransportError("a coupling has masses that are not positive and finite")
    for side, index, weight in (("first", rows, w_a), ("second", cols, w_b)):
        if len(index) and not (index.min() >= 0 and index.max() < len(weight)):
            raise TransportError(f"a coupling points outside its {len(weight)} {side} points")
        marginal = np.bincount(index, weights=mass, minlength=len(weight))
        error = float(np.abs(marginal - weight).sum())
        if not error <= MARGINAL_BOUND:
            raise TransportError(
                f"the {side} marginal of a coupling is off by {error:.3g} in L1; allowed: "
                f"{MARGINAL_BOUND:g}; the plan cannot be used, report this with the data"
            )


def check_optimality(
    plan: FloatArray, cost: FloatArray, potentials: tuple[FloatArray, FloatArray]
) -> None:
    """Make sure by duality that no other plan with the same marginals is cheaper.

    For any potentials u, v every plan of unit mass costs at least
    Σ w_a u + Σ w_b v + min_ij (c_ij - u_i - v_j), so that bound certifies the plan whatever the
    solver says of itself.

    Args:
        plan: masses, shape ``(n, m)``, summing to one.
        cost: cost matrix, shape ``(n, m)``.
        potentials: dual potentials u, shape ``(n,)``, and v, shape ``(m,)``.

    Raises:
        TransportError: if the plan may cost more than the optimum by ``OPTIMALITY_BOUND`` times
            the largest entry of the cost matrix.
    """
    u, v = potentials
    excess, slack = 0.0, 0.0
    for start in range(0, len(cost), _BLOCK):
        block = slice(start, start + _BLOCK)
        reduced = cost[block] - u[block, None] - v
        excess += float((plan[block] * reduced).sum())
        slack = min(slack, float(reduced.min()))
    bound = OPTIMALITY_BOUND * float(cost.max())
    if not excess - slack <= bound:
        raise TransportError(
            f"a transport plan may cost {excess - slack:.3g} more than the optimum; allowed: "
            f"{bound:.3g}; the plan cannot be used, report this with the data"
        )


def exact_coupling(
    x_a: npt.ArrayLike, x_b: npt.ArrayLike, cache: ArrayCache | None = None
) -> Coupling:
    """Optimal plan between two sets of points of equal masses, for squared distances.

    On all points of two domains it is the pooled plan of soft mode, blind to labels.

    Args:
        x_a: points, shape ``(n, *image)``.
        x_b: points, shape ``(m, *image)``.
        cache: where plans are kept; None computes without one.

    Returns:
        The coupling; its cost is W2².

    Raises:
        DataError: if a set is empty or not finite, or if the points differ in size.
        TransportError: if the solver fails or a check of the plan does.
    """
    a, b = _points(x_a, x_b)
    w_a, w_b = _uniform(len(a)), _uniform(len(b))
    computed = False

    def compute() -> Arrays:
        nonlocal computed
        computed = True
        return _uniform_plan(a, b)

    def check(arrays: Arrays) -> None:
        check_marginals(arrays["rows"], arrays["cols"], arrays["mass"], w_a, w_b)

    arrays = _fetch(cache, "exact", [a, b], compute, check)
    check(arrays)
    advance(computed)
    return _coupling(a, b, arrays["rows"], arrays["cols"], arrays["mass"])


def class_costs(
    x_a: npt.ArrayLike,
    y_a: npt.ArrayLike,
    x_b: npt.ArrayLike,
    y_b: npt.ArrayLike,
    classes_a: Sequence[int],
    classes_b: Sequence[int],
    cache: ArrayCache | None = None,
) -> FloatArray:
    """W2² of every class of one domain to every class of another, by exact plans.

    With a cache each of the plans is kept too, so an interrupted run goes on where it was, and
    :func:`matched_coupling` on the same data finds its plans there.

    Args:
        x_a: points, shape ``(n, *image)``.
        y_a: classes of x_a, shape ``(n,)``.
        x_b: points, shape ``(m, *image)``.
        y_b: classes of x_b, shape ``(m,)``. The labels of the target domain are used.
        classes_a: classes that label the rows.
        classes_b: classes that label the columns.
        cache: where plans and the result are kept; None computes without one.

    Returns:
        Squared distances, shape ``(len(classes_a), len(classes_b))``.
    """
    a, b = _points(x_a, x_b)
    la, lb = _labels(y_a, a), _labels(y_b, b)
    ca, cb = np.asarray(classes_a, np.int64), np.asarray(classes_b, np.int64)

    def compute() -> Arrays:
        groups_a = [a[_members(la, c, "first")] for c in classes_a]
        groups_b = [b[_members(lb, c, "second")] for c in classes_b]
        costs = [[exact_coupling(p, q, cache).cost for q in groups_b] for p in groups_a]
        return {"costs": np.array(costs, dtype=np.float64)}

    def check(arrays: Arrays) -> None:
        costs = arrays["costs"]
        if costs.shape != (len(ca), len(cb)) or not (np.isfinite(costs) & (costs >= 0)).all():
            raise ValueError("not a matrix of squared distances of these classes")

    return _fetch(cache, "class-costs", [a, la, b, lb, ca, cb], compute, check)["costs"]


def match_classes(
    x_a: npt.ArrayLike,
    y_a: npt.ArrayLike,
    x_b: npt.ArrayLike,
    y_b: npt.ArrayLike,
    classes_a: Sequence[int],
    classes_b: Sequence[int],
    cache: ArrayCache | None = None,
) -> dict[int, int]:
    """Match the classes of two domains one to one, at the least sum of W2² between them.

    Args:
        x_a: points, shape ``(n, *image)``.
        y_a: classes of x_a, shape ``(n,)``.
        x_b: points, shape ``(m, *image)``.
        y_b: classes of x_b, shape ``(m,)``. The labels of the target domain are used.
        classes_a: classes of the first domain.
        classes_b: classes of the second domain, as many.
        cache: where plans and costs are kept; None computes without one.

    Returns:
        The class of the second domain for each class of the first.

    Raises:
        DataError: if the domains differ in the number of classes, or a class has no points.
    """
    if len(classes_a) != len(classes_b):
        raise DataError(
            f"{len(classes_a)} classes {list(classes_a)} cannot be matched with {len(classes_b)} "
            f"classes {list(classes_b)}; choose as many of both, or labels: soft"
        )
    costs = class_costs(x_a, y_a, x_b, y_b, classes_a, classes_b, cache)
    rows, cols = linear_sum_assignment(costs)
    return {int(classes_a[i]): int(classes_b[j]) for i, j in zip(rows, cols, strict=True)}


def matched_coupling(
    x_a: npt.ArrayLike,
    y_a: npt.ArrayLike,
    x_b: npt.ArrayLike,
    y_b: npt.ArrayLike,
    matching: Mapping[int, int],
    cache: ArrayCache | None = None,
) -> Coupling:
    """Exact plans inside each pair of matched classes, put together.

    Every pair of classes carries the mass 1/K, whatever the numbers of its points: the domains of
    a matched coupling are class-balanced at both ends. This is a declared choice; without it the
    classes of the two domains could not carry the same mass.

    Args:
        x_a: points, shape ``(n, *image)``.
        y_a: classes of x_a, shape ``(n,)``.
        x_b: points, shape ``(m, *image)``.
        y_b: classes of x_b, shape ``(m,)``. The labels of the target domain are used.
        matching: the class of x_b for each class of x_a, one to one.
        cache: where the plans are kept; None computes without one.

    Returns:
        The coupling, class by class; its cost is the mean over the class pairs of their W2².

    Raises:
        DataError: if the matching is not one to one between exactly the classes that occur.
    """
    a, b = _points(x_a, x_b)
    la, lb = _labels(y_a, a), _labels(y_b, b)
    _check_matching(matching, la, lb)
    w_a, w_b = np.empty(len(a)), np.empty(len(b))
    parts = []
    for class_a, class_b in matching.items():
        i, j = np.flatnonzero(la == class_a), np.flatnonzero(lb == class_b)
        w_a[i], w_b[j] = 1 / (len(matching) * len(i)), 1 / (len(matching) * len(j))
        plan = exact_coupling(a[i], b[j], cache)
        parts.append((i[plan.rows], j[plan.cols], plan.mass / len(matching)))
    rows, cols, mass = (np.concatenate(column) for column in zip(*parts, strict=True))
    check_marginals(rows, cols, mass, w_a, w_b)
    return _coupling(a, b, rows, cols, mass)


def wasserstein2(
    x_a: npt.ArrayLike, w_a: npt.ArrayLike, x_b: npt.ArrayLike, w_b: npt.ArrayLike
) -> float:
    """Exact squared Wasserstein distance W2² of two weighted sets of points.

    Args:
        x_a: points, shape ``(n, *image)``.
        w_a: their masses, shape ``(n,)``, scaled to sum to one.
        x_b: points, shape ``(m, *image)``.
        w_b: their masses, shape ``(m,)``, scaled to sum to one.

    Returns:
        W2², squared distances summed over pixels.

    Raises:
        DataError: if points or masses are not what they must be.
        TransportError: if the solver fails or a check of the plan does.
    """
    a, b = _points(x_a, x_b)
    wa, wb = _weights(w_a, a), _weights(w_b, b)
    plan = _solve(_squared_distances(a, b), wa, wb)
    rows, cols = np.nonzero(plan > 0)
    check_marginals(rows, cols, plan[rows, cols], wa, wb)
    return _coupling(a, b, rows, cols, plan[rows, cols]).cost


def _fetch(
    cache: ArrayCache | None,
    kind: str,
    inputs: Sequence[npt.NDArray[Any]],
    compute: Callable[[], Arrays],
    check: Callable[[Arrays], None],
) -> Arrays:
    return compute() if cache is None else cache.fetch(kind, inputs, compute, check)


def _uniform_plan(a: FloatArray, b: FloatArray) -> Arrays:
    plan = _solve(_squared_distances(a, b), _uniform(len(a)), _uniform(len(b)))
    # A vertex of this polytope has masses that are multiples of 1/lcm(n, m) (it is a network flow
    # with integral supplies), so rounding to them takes out the solver's rounding and nothing else.
    unit = math.lcm(*plan.shape)
    rows, cols = np.nonzero(plan * unit > 0.5)
    return {"rows": rows, "cols": cols, "mass": np.rint(plan[rows, cols] * unit) / unit}


def _solve(cost: FloatArray, w_a: FloatArray, w_b: FloatArray) -> FloatArray:
    # The solver compares costs with absolute tolerances, hence the scale.
    scaled = cost / (float(cost.max()) or 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # POT warns and goes on; what it warns of is raised below
        plan, log = ot.emd(w_a, w_b, scaled, numItermax=MAX_PIVOTS, log=True)
    if log["warning"] is not None:
        raise TransportError(f"no optimal plan for {cost.shape} points: {log['warning']}")
    check_optimality(plan, scaled, (log["u"], log["v"]))
    return np.asarray(plan, dtype=np.float64)


def _coupling(
    a: FloatArray, b: FloatArray, rows: IntArray, cols: IntArray, mass: FloatArray
) -> Coupling:
    # Summed over the pairs themselves: a plan read from disk cannot bring a wrong cost with it.
    squares = [
        np.square(a[rows[k : k + _BLOCK]] - b[cols[k : k + _BLOCK]]).sum(1)
        for k in range(0, len(rows), _BLOCK)
    ]
    cost = float(mass @ np.concatenate(squares))
    return Coupling(rows.astype(np.int64), cols.astype(np.int64), mass, cost)


def _squared_distances(a: FloatArray, b: FloatArray) -> FloatArray:
    # |a|² - 2ab + |b|² is several times faster than summing squared differences. Taken from the
    # mean of a it is off by rounding of the largest distance, and nothing finer is asked of the
    # solver (see OPTIMALITY_BOUND); costs of plans are summed over their pairs afterwards.
    origin = a.mean(0)
    a, b = a - origin, b - origin
    distances = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * (a @ b.T)
    return np.asarray(np.maximum(distances, 0, out=distances), dtype=np.float64)


def _uniform(n: int) -> FloatArray:
    return np.full(n, 1 / n)


def _points(x_a: npt.ArrayLike, x_b: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    sets = []
    for side, x in (("first", x_a), ("second", x_b)):
        array = np.asarray(x, dtype=np.float64)
        if array.ndim == 0 or len(array) == 0:
            raise DataError(f"the {side} set of points is empty; give at least one point")
        if not np.isfinite(array).all():
            raise DataError(f"the {side} set of points has values that are not finite")
        sets.append(array.reshape(len(array), -1))
    a, b = sets
    if a.shape[1] != b.shape[1]:
        raise DataError(f"points of {a.shape[1]} and of {b.shape[1]} values; both must be alike")
    return a, b


def _labels(y: npt.ArrayLike, x: FloatArray) -> IntArray:
    labels = np.asarray(y, dtype=np.int64)
    if labels.shape != (len(x),):
        raise DataError(f"labels of shape {labels.shape} for {len(x)} points; give one for each")
    return labels


def _weights(w: npt.ArrayLike, x: FloatArray) -> FloatArray:
    weights = np.asarray(w, dtype=np.float64)
    if weights.shape != (len(x),):
        raise DataError(f"masses of shape {weights.shape} for {len(x)} points; give one for each")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise DataError("masses must be finite and not negative, and not all zero")
    return np.asarray(weights / weights.sum())


def _members(labels: IntArray, label: int, side: str) -> IntArray:
    members = np.flatnonzero(labels == label)
    if len(members) == 0:
        raise DataError(f"class {label} has no points in the {side} domain; leave it out")
    return members


def _check_matching(matching: Mapping[int, int], la: IntArray, lb: IntArray) -> None:
    for side, classes, labels in (
        ("first", list(matching.keys()), la),
        ("second", list(matching.values()), lb),
    ):
        present = np.unique(labels).tolist()
        if sorted(classes) != present:
            raise DataError(
                f"the matching {dict(matching)} names the classes {sorted(classes)} of the {side} "
                f"domain, which has {present}; every class must be matched once"
            )
