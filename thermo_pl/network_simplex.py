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
# Rows of the cost matrix that are looked at together, to keep temporaries small.
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
    plan, (u, v) = _emd(cost, w_a, w_b)
    check_optimality(plan, cost, (u, v))
    return np.asarray(plan, dtype=np.float64), Potentials(u * scale, v * scale)


def solve_sparse(
    cost: coo_matrix, w_a: FloatArray, w_b: FloatArray
) -> tuple[coo_matrix, Potentials]:
    """The plan of least cost among those with mass on the stored pairs alone.

    Args:
        cost: cost of each pair that may have mass, at most about one, shape ``(n, m)``; some plan
            must be possible on these pairs.
        w_a: masses, shape ``(n,)``, summing to one.
        w_b: masses, shape ``(m,)``, summing to one.

    Returns:
        Masses of the pairs, shape ``(n, m)``, and the potentials; nothing says whether another
        pair would make a better plan.

    Raises:
        TransportError: if the solver gives up.
    """
    return _emd(cost, w_a, w_b)


def _emd(cost: Any, w_a: FloatArray, w_b: FloatArray) -> tuple[Any, Potentials]:
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
    Σ w_a u + Σ w_b v + min_ij (c_ij - u_i - v_j), so that bound certifies the plan whatever the
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
    of x_a it is off by rounding of the largest distance, and nothing finer is asked of the solver
    (see ``OPTIMALITY_BOUND``); costs of plans are summed over their pairs afterwards.

    Args:
        x_a: points, shape ``(n, d)``.
        x_b: points, shape ``(m, d)``.

    Returns:
        Shape ``(n, m)``.
    """
    a, b = (np.asarray(x, dtype=np.float64) for x in (x_a, x_b))
    origin = a.mean(0)
    a, b = a - origin, b - origin
    distances: FloatArray = a @ b.T
    distances *= -2
    distances += np.square(a).sum(1)[:, None]
    distances += np.square(b).sum(1)
    return np.maximum(distances, 0, out=distances)
