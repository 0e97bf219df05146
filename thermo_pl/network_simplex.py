"""One exact transport plan: the network simplex of POT, with its answer checked.

Apart from the couplings that are made of such plans, so that a worker process that solves one loads
neither torch nor Lightning.
"""

from __future__ import annotations

import math
import os
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from thermo_pl.errors import TransportError

FloatArray = npt.NDArray[np.float64]
Plan = dict[str, npt.NDArray[Any]]

# How far the cost of a plan may lie above its optimum, in units of the largest distance.
OPTIMALITY_BOUND = 1e-9
# Pivots of the network simplex. 60,000 points need some millions; reaching this is a failure.
MAX_PIVOTS = 10**9
# Bytes for each pair of points while a plan is being solved, measured: the cost matrix and the plan
# in float64, and the arcs of the solver.
BYTES_PER_PAIR = 40
# Rows of the cost matrix that are looked at together, to keep temporaries small.
_BLOCK = 512


def optimal_plan(x_a: npt.NDArray[Any], x_b: npt.NDArray[Any]) -> Plan:
    """Optimal plan between two sets of points of equal masses, for squared distances.

    Args:
        x_a: points, shape ``(n, d)``.
        x_b: points, shape ``(m, d)``.

    Returns:
        ``rows``, ``cols`` and ``mass`` of its pairs.

    Raises:
        TransportError: if the solver fails, or its plan is not optimal.
    """
    n, m = len(x_a), len(x_b)
    plan = solve(squared_distances(x_a, x_b), np.full(n, 1 / n), np.full(m, 1 / m))
    # A vertex of this polytope has masses that are multiples of 1/lcm(n, m) (it is a network flow
    # with integral supplies), so rounding to them takes out the solver's rounding and nothing else.
    unit = math.lcm(n, m)
    rows, cols = np.nonzero(plan > 0.5 / unit)
    return {"rows": rows, "cols": cols, "mass": np.rint(plan[rows, cols] * unit) / unit}


def optimal_plan_in_worker(
    number: int, x_a: npt.NDArray[Any], x_b: npt.NDArray[Any]
) -> tuple[int, Plan]:
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


def solve(cost: FloatArray, w_a: FloatArray, w_b: FloatArray) -> FloatArray:
    """The plan of least cost.

    Args:
        cost: cost of each pair, shape ``(n, m)``; it is overwritten.
        w_a: masses, shape ``(n,)``, summing to one.
        w_b: masses, shape ``(m,)``, summing to one.

    Returns:
        Masses of the pairs, shape ``(n, m)``.

    Raises:
        TransportError: if the solver gives up, or its plan is not optimal.
    """
    import ot  # here, after a worker has said that POT needs no torch

    cost /= float(cost.max()) or 1.0  # the solver compares costs with absolute tolerances
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # POT warns and goes on; what it warns of is raised below
        plan, log = ot.emd(w_a, w_b, cost, numItermax=MAX_PIVOTS, log=True)
    if log["warning"] is not None:
        raise TransportError(f"no optimal plan for {cost.shape} points: {log['warning']}")
    check_optimality(plan, cost, (log["u"], log["v"]))
    return np.asarray(plan, dtype=np.float64)


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
