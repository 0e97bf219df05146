"""The network simplex of POT on a dense or a sparse matrix of costs, with its answer checked.

Neither torch nor Lightning is needed here, so that a worker process that solves a plan loads none.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix

from thermo_pl.errors import TransportError

FloatArray = npt.NDArray[np.float64]

# How far the cost of a plan may lie above its optimum, in units of the largest distance.
OPTIMALITY_BOUND = 1e-9
# Pivots of the network simplex. 60,000 points need some millions; reaching this is a failure.
MAX_PIVOTS = 10**9
# Rows of the cost matrix, or pairs, that are looked at together, to keep temporaries small.
_BLOCK = 512


class Potentials(NamedTuple):
    """Dual potentials of a plan.

    Attributes:
        u: of the first points, shape ``(n,)``.
        v: of the second points, shape ``(m,)``.
    """

    u: FloatArray
    v: FloatArray


def solve(cost: FloatArray, w_a: FloatArray, w_b: FloatArray) -> tuple[FloatArray, Potentials]:
    """The plan of least cost.

    Args:
        cost: cost of each pair, shape ``(n, m)``; it is overwritten.
        w_a: masses, shape ``(n,)``, summing to one.
        w_b: masses, shape ``(m,)``, summing to one.

    Returns:
        Masses of the pairs, shape ``(n, m)``, and the potentials, in units of the costs.

    Raises:
        TransportError: if the solver gives up, or its plan is not optimal.
    """
    scale = float(cost.max()) or 1.0
    cost /= scale  # the solver compares costs with absolute tolerances
    plan, (u, v) = simplex(cost, w_a, w_b)
    check_optimality(plan, cost, (u, v))
    return np.asarray(plan, dtype=np.float64), Potentials(u * scale, v * scale)


def simplex(
    cost: FloatArray | coo_matrix, w_a: FloatArray, w_b: FloatArray
) -> tuple[Any, Potentials]:
    """What the solver says is the plan of least cost; nothing is checked.

    Args:
        cost: cost of each pair, at most about one, shape ``(n, m)``. Of a sparse matrix only the
            stored pairs may have mass, and some plan must be possible on them.
        w_a: masses, shape ``(n,)``, summing to one.
        w_b: masses, shape ``(m,)``, summing to one.

    Returns:
        Masses of the pairs, dense or sparse as the costs are, and the potentials.

    Raises:
        TransportError: if the solver gives up.
    """
    import ot  # here, after a worker has said that POT needs no torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # POT warns and goes on; what it warns of is raised below
        plan, log = ot.emd(w_a, w_b, cost, numItermax=MAX_PIVOTS, log=True)
    if log["warning"] is not None:
        raise TransportError(f"no optimal plan for {cost.shape} points: {log['warning']}")
    return plan, Potentials(log["u"], log["v"])


def check_optimality(
    plan: FloatArray, cost: FloatArray, potentials: tuple[FloatArray, FloatArray]
) -> None:
    """Make sure by duality that no other plan with the same marginals is cheaper.

    Args:
        plan: masses, shape ``(n, m)``, summing to one.
        cost: cost matrix, shape ``(n, m)``.
        potentials: dual potentials u, shape ``(n,)``, and v, shape ``(m,)``.

    Raises:
        TransportError: as of :func:`check_gap`.
    """
    u, v = potentials
    excess, lowest = 0.0, 0.0
    for start in range(0, len(cost), _BLOCK):
        block = slice(start, start + _BLOCK)
        reduced = cost[block] - u[block, None] - v
        excess += float((plan[block] * reduced).sum())
        lowest = min(lowest, float(reduced.min()))
    check_gap(excess, lowest, float(cost.max()))


def check_gap(excess: float, lowest: float, largest: float) -> None:
    """Make sure that a plan costs no more than the optimum.

    For any potentials u, v every plan of unit mass costs at least
    Σ w_a u + Σ w_b v + min_ij (c_ij - u_i - v_j). This bound certifies the plan, whatever the
    solver says of itself.

    Args:
        excess: Σ P_ij (c_ij - u_i - v_j) over the plan's pairs.
        lowest: min_ij (c_ij - u_i - v_j) over all pairs, or zero if that is positive.
        largest: the largest c_ij.

    Raises:
        TransportError: if the plan may cost more than the optimum by ``OPTIMALITY_BOUND`` times
            the largest cost.
    """
    bound = OPTIMALITY_BOUND * largest
    if not excess - lowest <= bound:
        raise TransportError(
            f"a transport plan may cost {excess - lowest:.3g} more than the optimum; allowed: "
            f"{bound:.3g}; the plan cannot be used, report this with the data"
        )


def squared_distances(x_a: npt.NDArray[Any], x_b: npt.NDArray[Any]) -> FloatArray:
    """Squared distances between two sets of points.

    |a|² - 2ab + |b|² is several times faster than summing squared differences. Taken from the mean
    of x_a it is off by rounding of the largest distance. Nothing finer is asked of the solver (see
    ``OPTIMALITY_BOUND``). Costs of plans are summed over their pairs afterwards.

    Args:
        x_a: points, shape ``(n, d)``.
        x_b: points, shape ``(m, d)``.

    Returns:
        Shape ``(n, m)``.
    """
    a, b = (np.asarray(x, dtype=np.float64) for x in (x_a, x_b))
    origin = a.mean(0)
    a, b = a - origin, b - origin
    distances = expanded(a, b, np.square(a).sum(1), np.square(b).sum(1))
    return np.maximum(distances, 0, out=distances)


def expanded(a: FloatArray, b: FloatArray, of_a: FloatArray, of_b: FloatArray) -> FloatArray:
    """What is one product of matrices and two sums: f_i + g_j - 2 a_i·b_j.

    Args:
        a: points, shape ``(n, d)``.
        b: points, shape ``(m, d)``.
        of_a: f, shape ``(n,)``; with |a|² and |b|² the result is the squared distance.
        of_b: g, shape ``(m,)``.

    Returns:
        Shape ``(n, m)``.
    """
    result: FloatArray = a @ b.T
    result *= -2
    result += of_a[:, None]
    result += of_b
    return result


def pair_distances(
    x_a: npt.NDArray[Any], x_b: npt.NDArray[Any], rows: npt.NDArray[Any], cols: npt.NDArray[Any]
) -> FloatArray:
    """Squared distances of some pairs, as sums of squared differences.

    Args:
        x_a: points, shape ``(n, d)``.
        x_b: points, shape ``(m, d)``.
        rows: index of the first point of each pair.
        cols: index of the second point of each pair.

    Returns:
        Shape ``(pairs,)``.
    """
    distances = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        k = slice(start, start + _BLOCK)
        difference = np.asarray(x_a[rows[k]], dtype=np.float64) - x_b[cols[k]]
        distances[k] = np.square(difference).sum(1)
    return distances


def uniform(n: int) -> FloatArray:
    """Equal masses.

    Args:
        n: number of points.

    Returns:
        1/n for each, shape ``(n,)``.
    """
    return np.full(n, 1 / n)
