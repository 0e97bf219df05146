"""Which class of one domain goes with which of another, and plans inside each pair of them.

The labels of the target domain are used. Classes are matched one to one at the least sum of
squared Wasserstein distances between them, by an exact assignment.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from thermo_pl.errors import DataError
from thermo_pl.transport.cache import ArrayCache
from thermo_pl.transport.couplings import (
    DEFAULTS,
    Coupling,
    FloatArray,
    IntArray,
    Points,
    Transport,
    check_alike,
    check_marginals,
    exact_couplings,
    flat_points,
)


def match_classes(
    x_a: npt.ArrayLike,
    y_a: npt.ArrayLike,
    x_b: npt.ArrayLike,
    y_b: npt.ArrayLike,
    classes_a: Sequence[int],
    classes_b: Sequence[int],
    cache: ArrayCache | None = None,
    settings: Transport = DEFAULTS,
) -> dict[int, int]:
    """Match the classes of two domains one to one, at the least sum of W2² between them.

    Where a class has more than ``settings.matching_points`` points the matching is approximate: it
    is that of the mean costs between two random samples of each class, of so many points. Where
    the two samples, each for itself, give another matching, a warning says so.

    Args:
        x_a: points, shape ``(n, *image)``.
        y_a: classes of x_a, shape ``(n,)``.
        x_b: points, shape ``(m, *image)``.
        y_b: classes of x_b, shape ``(m,)``. The labels of the target domain are used.
        classes_a: classes of the first domain.
        classes_b: classes of the second domain, as many.
        cache: where plans are kept; None computes without one.
        settings: what the computation may take.

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
    a, b = check_alike(flat_points(x_a, "first"), flat_points(x_b, "second"))
    groups_a = _groups(a, y_a, classes_a, "first")
    groups_b = _groups(b, y_b, classes_b, "second")
    size = settings.matching_points
    if max(map(len, groups_a + groups_b)) <= size:
        return _assignment(_costs(groups_a, groups_b, cache, settings), classes_a, classes_b)
    halves = [
        _costs(_sampled(groups_a, size, half), _sampled(groups_b, size, half), cache, settings)
        for half in range(2)
    ]
    one, other = (_assignment(costs, classes_a, classes_b) for costs in halves)
    if one != other:
        warnings.warn(
            f"the matching of classes is not certain: two samples of {size} examples of each class "
            f"give {one} and {other}; raise transport.matching_points, or declare it with labels: "
            "ordered",
            stacklevel=2,
        )
    return _assignment((halves[0] + halves[1]) / 2, classes_a, classes_b)


def matched_coupling(
    x_a: npt.ArrayLike,
    y_a: npt.ArrayLike,
    x_b: npt.ArrayLike,
    y_b: npt.ArrayLike,
    matching: Mapping[int, int],
    cache: ArrayCache | None = None,
    settings: Transport = DEFAULTS,
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
        settings: what the computation may take.

    Returns:
        The coupling, class by class; its cost is the mean over the class pairs of their W2².

    Raises:
        DataError: if the matching is not one to one between exactly the classes that occur.
    """
    a, b = check_alike(flat_points(x_a, "first"), flat_points(x_b, "second"))
    la, lb = _labels(y_a, a), _labels(y_b, b)
    _check_matching(matching, la, lb)
    w_a, w_b = np.empty(len(a)), np.empty(len(b))
    index = [
        (np.flatnonzero(la == class_a), np.flatnonzero(lb == class_b))
        for class_a, class_b in matching.items()
    ]
    sets_a, sets_b = [a[i] for i, _ in index], [b[j] for _, j in index]
    same = [(k, k) for k in range(len(index))]
    plans = exact_couplings(sets_a, sets_b, same, cache, settings)
    parts = []
    for (i, j), plan in zip(index, plans, strict=True):
        w_a[i], w_b[j] = 1 / (len(plans) * len(i)), 1 / (len(plans) * len(j))
        parts.append((i[plan.rows], j[plan.cols], plan.mass / len(plans)))
    rows, cols, mass = (np.concatenate(column) for column in zip(*parts, strict=True))
    check_marginals(rows, cols, mass, w_a, w_b)
    return Coupling(rows, cols, mass, float(np.mean([plan.cost for plan in plans])))


def _groups(x: Points, y: npt.ArrayLike, classes: Sequence[int], side: str) -> list[Points]:
    labels = _labels(y, x)
    return [x[_members(labels, label, side)] for label in classes]


def _sampled(groups: Sequence[Points], size: int, half: int) -> list[Points]:
    # the first or the last points in a random order: of a class of twice the size, other ones
    rng = np.random.default_rng(0)
    chosen = [rng.permutation(len(group)) for group in groups]
    parts = [index[-size:] if half else index[:size] for index in chosen]
    return [group[index] for group, index in zip(groups, parts, strict=True)]


def _costs(
    groups_a: Sequence[Points],
    groups_b: Sequence[Points],
    cache: ArrayCache | None,
    settings: Transport,
) -> FloatArray:
    which = [(i, j) for i in range(len(groups_a)) for j in range(len(groups_b))]
    plans = exact_couplings(groups_a, groups_b, which, cache, settings)
    return np.array([plan.cost for plan in plans]).reshape(len(groups_a), len(groups_b))


def _assignment(
    costs: FloatArray, classes_a: Sequence[int], classes_b: Sequence[int]
) -> dict[int, int]:
    rows, cols = linear_sum_assignment(costs)
    return {int(classes_a[i]): int(classes_b[j]) for i, j in zip(rows, cols, strict=True)}


def _labels(y: npt.ArrayLike, x: Points) -> IntArray:
    labels = np.asarray(y, dtype=np.int64)
    if labels.shape != (len(x),):
        raise DataError(f"labels of shape {labels.shape} for {len(x)} points; give one for each")
    return labels


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
