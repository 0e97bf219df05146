"""Measured values held against a law: one rule, a verdict, a table.

A law is an equality (its value is zero) or an inequality (its value is at least zero), and one rule
judges both, :func:`judge`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thermo_pl.errors import require
from thermo_pl.text import WIDTH, aligned, number, wrapped

Array = NDArray[np.float64]

ROUNDING = 1e-6
"""Share of |J| by which rounding may move an energy: ten times the precision of float32."""


class Verdict(StrEnum):
    """How a law stands."""

    HOLDS = "holds"
    WITHIN_ERROR = "within error"
    VIOLATED = "violated"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not applicable"

    @property
    def shown(self) -> bool:
        """Whether the law, or the premise of another one, is shown to hold as far as is known."""
        return self in {Verdict.HOLDS, Verdict.WITHIN_ERROR}


@dataclass(frozen=True)
class Check:
    """What a law comes to on the rows at hand.

    Attributes:
        law: its name.
        statement: its formula, in one line.
        value: what should be zero, or at least zero; the statement says its meaning and the unit
            is that of the formula, nats or none.
        error: standard error of the value; 0 where no noise enters, nan where it is not known.
        tolerance: how far the value may be off without noise, in the unit of the value.
        verdict: see :func:`judge`.
        count: how many steps, rows, pairs, rectangles or loops went in.
        reason: why the law is not applicable; empty where it is.
    """

    law: str
    statement: str
    value: float
    error: float
    tolerance: float
    verdict: Verdict
    count: int
    reason: str = ""


def allowed_errors(tried: int) -> float:
    """Standard errors that a value may be off by before it is called violated.

    Two for one value. The worst of many is off by more by chance alone: for the worst of n it is
    the bound z with Φ(z)ⁿ = Φ(2), which n independent values all keep as often as one keeps 2, and
    dependent ones more often (Šidák's correction).

    Args:
        tried: n, of how many values this is the worst.

    Returns:
        z, at least 2.
    """
    require(tried >= 1, "tried", tried, "a whole number ≥ 1")
    normal = NormalDist()
    return max(2.0, normal.inv_cdf(normal.cdf(2) ** (1 / tried)))


def judge(excess: float, error: float, tolerance: float, tried: int = 1) -> Verdict:
    """The one rule by which every law is judged.

    - holds: excess ≤ tolerance;
    - within error: tolerance < excess ≤ tolerance + z · error;
    - violated: excess > tolerance + z · error;
    - unknown: excess > tolerance and the error is nan, or the excess is nan.

    So nothing is violated within its own error bar, nor where that bar is not known.

    Args:
        excess: |value| of an equality, -value of an inequality.
        error: standard error of the value; 0 where no noise enters, nan where it is not known.
        tolerance: what is allowed without noise.
        tried: n where the value is the worst of n; z is :func:`allowed_errors` of it.

    Returns:
        The verdict.

    Raises:
        ConfigError: if the tolerance or the error is negative, or ``tried`` is below 1.
    """
    require(tolerance >= 0, "tolerance", tolerance, "a number ≥ 0")
    require(not error < 0, "error", error, "a standard error ≥ 0, or nan where it is not known")
    bar = allowed_errors(tried) * error
    if excess <= tolerance:
        return Verdict.HOLDS
    if math.isnan(excess) or math.isnan(bar):
        return Verdict.UNKNOWN
    return Verdict.WITHIN_ERROR if excess <= tolerance + bar else Verdict.VIOLATED


def equality(
    law: str,
    statement: str,
    values: ArrayLike,
    errors: ArrayLike,
    tolerance: float,
    count: int | None = None,
) -> Check:
    """A law that says value = 0; of several magnitudes the check gives the median.

    Args:
        law: its name.
        statement: its formula.
        values: what should be zero, shape ``()`` or ``(n,)``.
        errors: standard errors, broadcastable to the values; 0 where no noise enters, nan where
            one is not known. The median of the errors is that of a typical value.
        tolerance: allowed |value| without noise.
        count: how many measurements went in; n by default.

    Returns:
        The check, by the rule of :func:`judge`; value and error are nan where n is 0.
    """
    value, error = _arrays(values, errors)
    middle, noise = (float(np.median(part)) if len(part) else math.nan for part in (value, error))
    verdict = judge(abs(middle), noise, tolerance)
    number = len(value) if count is None else count
    return Check(law, statement, middle, noise, float(tolerance), verdict, number)


def inequality(
    law: str,
    statement: str,
    values: ArrayLike,
    errors: ArrayLike,
    tolerance: float,
    count: int | None = None,
) -> Check:
    """A law that says value ≥ 0; of several values, that all of them are.

    Of several values the check gives the worst: the lowest violated one; where there is none, the
    lowest of those that cannot be judged; where there is none either, the lowest.

    Args:
        law: its name.
        statement: its formula.
        values: what should be at least zero, shape ``()`` or ``(n,)``.
        errors: standard errors, broadcastable to the values.
        tolerance: allowed -value without noise.
        count: how many measurements went in; n by default.

    Returns:
        The check, by the rule of :func:`judge` with n tried; value and error are nan where n is 0.
    """
    value, error = _arrays(values, errors)
    tried = len(value)
    if tried:
        violated = value < -tolerance - allowed_errors(tried) * error  # false where error is nan
        unknown = (value < -tolerance) & np.isnan(error)
        among = next((kind for kind in (violated, unknown) if kind.any()), np.full(tried, True))
        value, error = value[among], error[among]
    k = int(np.argmin(value)) if tried else 0
    lowest, noise = (float(part[k]) if tried else math.nan for part in (value, error))
    verdict = judge(-lowest, noise, tolerance, max(tried, 1))
    number = tried if count is None else count
    return Check(law, statement, lowest, noise, float(tolerance), verdict, number)


def with_premises(check: Check, missing: Sequence[str]) -> Check:
    """A check of a law that has premises: where one is not met, the law says nothing.

    Args:
        check: the law, judged as if its premises were met.
        missing: a sentence for each premise that is not met.

    Returns:
        The check itself if nothing is missing; else one that is not applicable, with the reasons.
    """
    if not missing:
        return check
    return replace(check, verdict=Verdict.NOT_APPLICABLE, reason="; ".join(missing))


def table(checks: Sequence[Check]) -> str:
    """The checks as aligned plain text, at most 100 columns wide.

    Args:
        checks: any checks.

    Returns:
        A header and one line for each check, and below them why some are not applicable.
    """
    header = ("law", "value", "tolerance", "verdict", "n")
    reasons = dict.fromkeys(check.reason for check in checks if check.reason)
    notes = [wrapped(f"not applicable: {why}") for why in reasons]
    return "\n".join([aligned([header, *map(_cells, checks)], "<<<<>", WIDTH), *notes])


def _cells(check: Check) -> tuple[str, str, str, str, str]:
    value = number(check.value, check.error, ".3g", ".2g")
    return check.law, value, f"{check.tolerance:.2g}", check.verdict, str(check.count)


def _arrays(values: ArrayLike, errors: ArrayLike) -> tuple[Array, Array]:
    value = np.atleast_1d(np.asarray(values, float))
    return value, np.broadcast_to(np.asarray(errors, float), value.shape)
