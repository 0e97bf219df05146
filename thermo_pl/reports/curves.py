"""What runs draw on the page of ``compare``: curves along their paths, with standard errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from thermo_pl.path.columns import Row


class Curve(NamedTuple):
    """What a run draws in a panel.

    Attributes:
        x: coordinates.
        y: values.
        error: standard errors of y; zero where there is no band.
    """

    x: list[float]
    y: list[float]
    error: list[float]


def loss_curve(path: Sequence[Row], coordinate: str) -> Curve:
    """C along the path, with its standard error.

    Args:
        path: rows of a run.
        coordinate: of :func:`coordinate`.

    Returns:
        The curve, in nats.
    """
    return Curve(
        _along(path, coordinate), [row["C"] for row in path], [row["C_error"] for row in path]
    )


def control_curve(path: Sequence[Row]) -> Curve:
    """C over γ.

    Args:
        path: rows of a run.

    Returns:
        The curve, in nats.
    """
    return Curve(
        [row["gamma"] for row in path],
        [row["C"] for row in path],
        [row["C_error"] for row in path],
    )


def dissipation_curve(path: Sequence[Row], coordinate: str) -> Curve:
    """What has been dissipated since the start of the path: the sum of the relaxations.

    Args:
        path: rows of a run.
        coordinate: of :func:`coordinate`.

    Returns:
        The curve, in nats. It ends at the ``dissipation`` of the run's summary, and is NaN for a
        path of an older version, which lacks the column.
    """
    steps = [row["relaxation"] for row in path[1:]]
    known = any(map(math.isfinite, steps))
    filled = [0.0 if math.isnan(step) else step for step in steps]
    total = list(accumulate(filled, initial=0.0)) if known else [math.nan] * len(path)
    return Curve(_along(path, coordinate), total, [0.0] * len(path))


def coordinate(paths: Sequence[Sequence[Row]]) -> str:
    """What the curves are drawn over.

    Args:
        paths: rows of the runs.

    Returns:
        ``t``, which is leg + t, if it goes forward in all of them. Else ``step``: the data of a
        surface stay where they are, and those of a cycle come back.
    """
    for path in paths:
        along = _along(path, "t")
        if len(along) > 1 and not (along == sorted(along) and along[0] < along[-1]):
            return "step"
    return "t"


def _along(path: Sequence[Row], coordinate: str) -> list[float]:
    if coordinate == "step":
        return [row["step"] - path[0]["step"] for row in path]
    return [row["leg"] + row["t"] for row in path]
