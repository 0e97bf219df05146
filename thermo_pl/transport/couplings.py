"""Exact optimal couplings of two sets of images, checked, and kept on disk.

The displacement interpolation p(x(t)) of McCann [1]_ needs an optimal plan between its two ends;
a plan that is only nearly optimal (Sinkhorn, mini-batches) gives another path. All plans here are
vertices of the transport polytope, found by the network simplex of POT [2]_ in float64. Their
marginals and their optimality are checked every time, and a plan that fails is never returned.
Particles are index pairs with a mass, never copies of images.

Plans of many points are solved without a matrix of all their costs
(:mod:`thermo_pl.transport.column_generation`). Those that take seconds are solved in processes of
their own, as many at once as cores and memory allow. A plan that would take more memory than is
allowed is refused.

References:
    .. [1] R. J. McCann, "A convexity principle for interacting gases", Adv. Math. 128 (1997).
    .. [2] N. Bonneel et al., "Displacement interpolation using Lagrangian mass transport",
       ACM Trans. Graphics 30 (2011); R. Flamary et al., "POT: Python Optimal Transport",
       JMLR 22 (2021).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt

from thermo_pl.errors import DataError, TransportError, require
from thermo_pl.progress import advance
from thermo_pl.transport import column_generation, solver
from thermo_pl.transport.backends import BACKENDS, Backend, workers
from thermo_pl.transport.cache import ArrayCache, Arrays, content_hash

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# L1 error of a marginal that is still rounding. A plan that loses one particle of n is off by 1/n,
# which is 1.7e-5 for the 60,000 images of MNIST; summing n+m masses in float64 is off by at most
# (n+m)·2⁻⁵³, which is 1.3e-11 there. The bound lies between the two, far from both.
MARGINAL_BOUND = 1e-9
# Pairs of points in plans to be solved from which on processes of their own pay.
WORTH_PROCESSES = 4_000_000

Points = npt.NDArray[Any]


@dataclass(frozen=True)
class Transport:
    """What the computation of plans may take.

    Attributes:
        memory: GiB that all plans solved at the same time may take; a plan that needs more is
            refused.
        processes: how many plans may be solved at the same time; None for as many as there are
            cores, here or on the cluster.
        matching_points: images of a class by which its class-to-class W2² is estimated where it
            has more of them; the matching of classes is then approximate (the plans are not).
        backend: where plans are solved: ``loky``, in processes of this machine, or on the workers
            of ``dask`` or ``ray``.
    """

    memory: float = 3.0
    processes: int | None = None
    matching_points: int = 1000
    backend: Backend = "loky"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: if a value is not allowed.
        """
        ok = 0 < self.memory < float("inf")
        require(ok, "transport.memory", self.memory, "a finite number > 0 (GiB)")
        ok = self.processes is None or self.processes >= 1
        require(ok, "transport.processes", self.processes, "an integer from 1, or null")
        size = self.matching_points
        require(size >= 1, "transport.matching_points", size, "an integer from 1")
        ok = self.backend in BACKENDS
        require(ok, "transport.backend", self.backend, f"one of {', '.join(BACKENDS)}")


DEFAULTS = Transport()


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


def exact_coupling(
    x_a: npt.ArrayLike,
    x_b: npt.ArrayLike,
    cache: ArrayCache | None = None,
    settings: Transport = DEFAULTS,
) -> Coupling:
    """Optimal plan between two sets of points of equal masses, for squared distances.

    On all points of two domains it is the pooled plan of soft mode, blind to labels.

    Args:
        x_a: points, shape ``(n, *image)``.
        x_b: points, shape ``(m, *image)``.
        cache: where plans are kept; None computes without one.
        settings: what the computation may take.

    Returns:
        The coupling; its cost is W2².

    Raises:
        DataError: if a set is empty or not finite, if the points differ in size, or if the plan
            would take too much memory.
        TransportError: if the solver fails or a check of the plan does.
    """
    return exact_couplings([x_a], [x_b], [(0, 0)], cache, settings)[0]


def exact_couplings(
    sets_a: Sequence[npt.ArrayLike],
    sets_b: Sequence[npt.ArrayLike],
    which: Sequence[tuple[int, int]],
    cache: ArrayCache | None = None,
    settings: Transport = DEFAULTS,
) -> list[Coupling]:
    """Several plans as of :func:`exact_coupling`, at the same time where that pays.

    Each plan is kept as soon as it is solved, so an interrupted run goes on where it was.

    Args:
        sets_a: sets of points, each of shape ``(n, *image)``.
        sets_b: sets of points, each of shape ``(m, *image)``.
        which: the sets to couple, as indices into both.
        cache: where plans are kept; None computes without one.
        settings: what the computation may take.

    Returns:
        The couplings, in the order of ``which``.

    Raises:
        DataError: as of :func:`exact_coupling`.
        TransportError: as of :func:`exact_coupling`.
    """
    first = [flat_points(x, "first") for x in sets_a]
    second = [flat_points(x, "second") for x in sets_b]
    pairs = [check_alike(first[i], second[j]) for i, j in which]
    checks = [_marginal_check(*pair) for pair in pairs]
    known: dict[int, Arrays] = {}
    places: list[Path] = []
    if cache is not None:
        digests = [[content_hash("points", [x]) for x in sets] for sets in (first, second)]
        places = [cache.place("exact", digests[0][i], digests[1][j]) for i, j in which]
        for number, (place, check) in enumerate(zip(places, checks, strict=True)):
            if (arrays := cache.find(place, check)) is not None:
                known[number] = arrays
                advance(computed=False)
    for number, arrays in _solved(pairs, set(range(len(pairs))) - set(known), settings):
        checks[number](arrays)
        if cache is not None:
            cache.keep(places[number], arrays)
        known[number] = arrays
        advance(computed=True)
    return [_coupling(*pair, known[number]) for number, pair in enumerate(pairs)]


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
    a, b = check_alike(flat_points(x_a, "first"), flat_points(x_b, "second"))
    wa, wb = _weights(w_a, a), _weights(w_b, b)
    plan, _ = solver.solve(solver.squared_distances(a, b), wa, wb)
    rows, cols = np.nonzero(plan > 0)
    check_marginals(rows, cols, plan[rows, cols], wa, wb)
    return _coupling(a, b, {"rows": rows, "cols": cols, "mass": plan[rows, cols]}).cost


def _solved(
    points: Sequence[tuple[Points, Points]], wanted: set[int], settings: Transport
) -> Iterator[tuple[int, Arrays]]:
    # the plans of the wanted pairs, as they come; the dearest first, so that none is waited for
    size = {number: len(points[number][0]) * len(points[number][1]) for number in wanted}
    order = sorted(wanted, key=lambda number: -size[number])
    needs = [column_generation.memory(*points[number]) for number in order]
    for number, need in zip(order, needs, strict=True):
        if need > settings.memory:
            _refuse(*points[number], need, settings.memory)
    if sum(size.values()) >= WORTH_PROCESSES:
        with workers(settings.backend):
            at_once = min(settings.processes or joblib.effective_n_jobs(-1), len(order))
            while at_once > 1 and sum(sorted(needs)[-at_once:]) > settings.memory:
                at_once -= 1
            if at_once > 1 or settings.backend != "loky":
                work = joblib.delayed(column_generation.optimal_plan_in_worker)
                unordered = "generator_unordered"
                parallel = joblib.Parallel(at_once, return_as=unordered, pre_dispatch=at_once)
                yield from parallel(work(number, *points[number]) for number in order)
                return
    for number in order:
        yield number, column_generation.optimal_plan(*points[number])


def _refuse(a: Points, b: Points, need: float, limit: float) -> None:
    raise DataError(
        f"transport.memory: got {limit:g} GiB, where the exact plan of {len(a)} × {len(b)} "
        f"examples takes about {need:.3g}; allowed: at least that; or labels: matched, which "
        "solves class by class; or fewer examples, by per_class of the waypoints"
    )


def _marginal_check(a: Points, b: Points) -> Callable[[Arrays], None]:
    w_a, w_b = (solver.uniform(len(x)) for x in (a, b))
    return lambda plan: check_marginals(plan["rows"], plan["cols"], plan["mass"], w_a, w_b)


def _coupling(a: Points, b: Points, plan: Arrays) -> Coupling:
    # Summed over the pairs themselves: a plan read from disk cannot bring a wrong cost with it.
    rows, cols, mass = plan["rows"], plan["cols"], plan["mass"]
    cost = float(mass @ solver.pair_distances(a, b, rows, cols))
    return Coupling(rows.astype(np.int64), cols.astype(np.int64), mass, cost)


def flat_points(x: npt.ArrayLike, side: str) -> Points:
    """A set of points as rows.

    Args:
        x: points, shape ``(n, *image)``.
        side: what a message calls the set.

    Returns:
        Shape ``(n, d)``, in the precision they came in.

    Raises:
        DataError: if there is no point, or one that is not finite.
    """
    array = np.asarray(x)  # in its own precision: float32 images are half as much to keep
    if array.ndim == 0 or len(array) == 0:
        raise DataError(f"the {side} set of points is empty; give at least one point")
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):  # nan if any value is
        raise DataError(f"the {side} set of points has values that are not finite")
    return array.reshape(len(array), -1)


def check_alike(a: Points, b: Points) -> tuple[Points, Points]:
    """Make sure that the points of two sets can be compared.

    Args:
        a: points, shape ``(n, d)``.
        b: points, shape ``(m, d)``.

    Returns:
        Both.

    Raises:
        DataError: if they differ in size.
    """
    if a.shape[1] != b.shape[1]:
        raise DataError(f"points of {a.shape[1]} and of {b.shape[1]} values; both must be alike")
    return a, b


def _weights(w: npt.ArrayLike, x: Points) -> FloatArray:
    weights = np.asarray(w, dtype=np.float64)
    if weights.shape != (len(x),):
        raise DataError(f"masses of shape {weights.shape} for {len(x)} points; give one for each")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise DataError("masses must be finite and not negative, and not all zero")
    return np.asarray(weights / weights.sum())
