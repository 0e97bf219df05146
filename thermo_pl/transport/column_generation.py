"""One exact plan between two sets of points: dense where they are few, else by column generation.

Of the n·m pairs of two sets only n + m - 1 have mass in an optimal plan. Column generation solves
the plan on few pairs. Its potentials u, v give the reduced costs c_ij - u_i - v_j of all pairs,
which are computed row by row. The cheapest pairs are added, and the plan is solved again, until no
reduced cost is negative. By linear-programming duality the plan is then optimal among all plans. A
matrix of n × m costs is never held. Potentials of a plan between some of the points say where to
begin [1]_.

References:
    .. [1] B. Schmitzer, "A sparse multiscale algorithm for dense optimal transport",
       J. Math. Imaging Vis. 56 (2016); S. Gerber, M. Maggioni, "Multiscale strategies for
       computing optimal transport", JMLR 18 (2017).
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix

from thermo_pl.progress import within
from thermo_pl.transport.solver import (
    OPTIMALITY_BOUND,
    FloatArray,
    Potentials,
    check_gap,
    expanded,
    pair_distances,
    simplex,
    solve,
    squared_distances,
    uniform,
)

IntArray = npt.NDArray[np.int64]
Points = npt.NDArray[Any]
Plan = dict[str, npt.NDArray[Any]]

# Points of each set up to which all pairs are solved at once; of more, as many are the pilot.
PILOT = 1500
# Pairs that a round adds for each point: those of least reduced cost.
CHEAPEST = 10
# Rows whose costs are looked at together.
_BLOCK = 256
# Bytes for each pair of points in a dense solve, measured: the cost matrix and the plan in float64,
# and the arcs of the solver.
BYTES_DENSE = 40
# Bytes for each point in column generation, measured: the pairs that are added for it, and its
# column in a block of reduced costs.
_BYTES_PER_POINT = 8000


def memory(x_a: Points, x_b: Points) -> float:
    """What :func:`optimal_plan` takes beside the points themselves.

    Args:
        x_a: points, shape ``(n, d)``.
        x_b: points, shape ``(m, d)``.

    Returns:
        GiB, as measured.
    """
    n, m = len(x_a), len(x_b)
    if _few(n, m):
        return BYTES_DENSE * n * m / 2**30
    scaled = 8 * (x_a.size + x_b.size)
    return (BYTES_DENSE * PILOT**2 + scaled + _BYTES_PER_POINT * (n + m)) / 2**30


def optimal_plan(x_a: Points, x_b: Points) -> Plan:
    """Optimal plan between two sets of points of equal masses, for squared distances.

    Args:
        x_a: points, shape ``(n, d)``.
        x_b: points, shape ``(m, d)``.

    Returns:
        ``rows``, ``cols`` and ``mass`` of its pairs, in order of rows.

    Raises:
        TransportError: if the solver fails, or its plan is not optimal.

    Example:
        >>> import numpy as np
        >>> import thermo_pl as tp
        >>> x_a, x_b = np.array([[0.0], [1.0], [2.0]]), np.array([[2.1], [0.2], [1.3]])
        >>> plan = tp.optimal_plan(x_a, x_b)
        >>> x_b[plan["cols"]].ravel()  # the partners of x_a
        array([0.2, 1.3, 2.1])
    """
    n, m = len(x_a), len(x_b)
    found = _dense(x_a, x_b) if _few(n, m) else _generated(x_a, x_b)
    # A vertex of this polytope has masses that are multiples of 1/lcm(n, m) (it is a network flow
    # with integral supplies), so rounding to them takes out the solver's rounding and nothing else.
    unit = math.lcm(n, m)
    real = found.data > 0.5 / unit
    rows, cols, mass = found.row[real], found.col[real], np.rint(found.data[real] * unit) / unit
    order = np.lexsort((cols, rows))
    return {"rows": rows[order], "cols": cols[order], "mass": mass[order]}


def optimal_plan_in_worker(number: int, x_a: Points, x_b: Points) -> tuple[int, Plan]:
    """The same in a process of its own.

    Args:
        number: of the task, handed back.
        x_a: points, shape ``(n, d)``.
        x_b: points, shape ``(m, d)``.

    Returns:
        The number and the plan.
    """
    # POT loads torch if it is there, which takes seconds and 300 MB of each process
    os.environ["POT_BACKEND_DISABLE_PYTORCH"] = "1"
    return number, optimal_plan(x_a, x_b)


def _few(n: int, m: int) -> bool:
    return n * m <= PILOT**2


def _dense(x_a: Points, x_b: Points) -> coo_matrix:
    cost = squared_distances(x_a, x_b)
    return coo_matrix(solve(cost, uniform(len(x_a)), uniform(len(x_b)))[0])


def _generated(x_a: Points, x_b: Points) -> coo_matrix:
    a, b = _scaled(x_a, x_b)
    within(0.0, "a plan of some of them")
    potentials, rounds = _pilot(a, b), _Rounds()
    pairs, (cheapest, lowest) = _staircase(len(a), len(b)), _cheapest(a, b, potentials, rounds)
    while True:
        rounds.next(lowest)
        pairs = np.union1d(pairs, cheapest)
        cost = _costs(a, b, pairs)
        plan, potentials = simplex(cost, uniform(len(a)), uniform(len(b)))
        cheapest, lowest = _cheapest(a, b, potentials, rounds)
        if -lowest <= OPTIMALITY_BOUND / 2 * cost.max() or np.isin(cheapest, pairs).all():
            break
    reduced = cost.tocsr()[plan.row, plan.col] - potentials.u[plan.row] - potentials.v[plan.col]
    check_gap(float(plan.data @ np.ravel(reduced)), lowest, cost.max())
    return plan


def _scaled(x_a: Points, x_b: Points) -> tuple[FloatArray, FloatArray]:
    # from their middle, in units in which no two points are farther apart than one
    a, b = (np.asarray(x, dtype=np.float64) for x in (x_a, x_b))
    origin = a.mean(0)
    a, b = a - origin, b - origin
    diameter = 2 * math.sqrt(max(np.square(x).sum(1).max() for x in (a, b))) or 1.0
    return a / diameter, b / diameter


def _pilot(a: FloatArray, b: FloatArray) -> Potentials:
    # Potentials of the plan between some of the points, evenly from the order they are given in,
    # and what they imply for each of the others: u_i = min_j c_ij - v_j over those, and so v.
    some_a, some_b = (x[np.linspace(0, len(x) - 1, min(len(x), PILOT)).astype(int)] for x in (a, b))
    cost = squared_distances(some_a, some_b)
    _, (u, v) = solve(cost, uniform(len(some_a)), uniform(len(some_b)))
    return Potentials(_implied(a, some_b, v), _implied(b, some_a, u))


def _implied(x: FloatArray, others: FloatArray, potential: FloatArray) -> FloatArray:
    starts = range(0, len(x), _BLOCK)
    parts = [squared_distances(x[k : k + _BLOCK], others) - potential for k in starts]
    return np.concatenate([part.min(1) for part in parts])


def _staircase(n: int, m: int) -> IntArray:
    # pairs of one plan that has the right marginals, so that there is a plan on the pairs
    edges = np.union1d(np.arange(n) * m, np.arange(m) * n)
    return edges // m * m + edges // n


class _Rounds:
    # how far the search for pairs has come. The least reduced cost falls to what is allowed by
    # powers of ten, so that its logarithm tells; and a round counts as half of what is left

    def __init__(self) -> None:
        self._number, self._share = 0, 0.0
        self._first = self._off = math.nan

    def next(self, lowest: float) -> None:
        least = OPTIMALITY_BOUND / 2
        self._number += 1
        self._off = max(-lowest, least)
        if self._number == 1:
            self._first = max(self._off, 2 * least)
        share = math.log(self._first / self._off) / math.log(self._first / least)
        self._share = min(max(share, (1 + self._share) / 2), 1.0)
        self.priced(0.0)

    def priced(self, share: float) -> None:
        off = f", off by {self._off:.0e}" if self._number else ""
        done = self._share + (1 - self._share) / 2 * share
        within(done, f"round {self._number}: {share:.0%} priced{off}")


def _cheapest(
    a: FloatArray, b: FloatArray, potentials: Potentials, rounds: _Rounds
) -> tuple[IntArray, float]:
    # Of each row and of each column the pairs of least reduced cost, and the least of all or zero.
    # A pair is one number, row * m + column.
    n, m = len(a), len(b)
    of_row = np.square(a).sum(1) - potentials.u
    of_col = np.square(b).sum(1) - potentials.v
    pairs, lowest = [], 0.0
    best: FloatArray = np.empty((0, m))  # those of the columns, in the rows so far
    rows: IntArray = np.empty((0, m), dtype=np.int64)
    for start in range(0, n, _BLOCK):
        block = slice(start, start + _BLOCK)
        reduced = expanded(a[block], b, of_row[block], of_col)
        lowest = min(lowest, float(reduced.min()))
        cols = _least(reduced, axis=1)
        pairs.append(((start + np.arange(len(cols))[:, None]) * m + cols).ravel())
        new = _least(reduced, axis=0)
        best = np.concatenate([best, np.take_along_axis(reduced, new, 0)])
        rows = np.concatenate([rows, start + new])
        kept = _least(best, axis=0)
        best, rows = np.take_along_axis(best, kept, 0), np.take_along_axis(rows, kept, 0)
        rounds.priced(min((start + _BLOCK) / n, 1.0))
    pairs.append((rows * m + np.arange(m)).ravel())
    return np.concatenate(pairs), lowest


def _least(values: FloatArray, axis: int) -> IntArray:
    # where the CHEAPEST least values along an axis are
    count = min(CHEAPEST, values.shape[axis])
    return np.argpartition(values, count - 1, axis).take(range(count), axis)


def _costs(a: FloatArray, b: FloatArray, pairs: IntArray) -> coo_matrix:
    rows, cols = np.divmod(pairs, len(b))
    return coo_matrix((pair_distances(a, b, rows, cols), (rows, cols)), shape=(len(a), len(b)))
