"""What the theorems on cycles presuppose, judged on the rows of one.

Each question is answered by reasons: one short sentence for each premise that is not shown to
hold. No reason means that the theorem applies. A premise counts as shown where it is met within
:data:`TOLERANCE`, or within the standard error of what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from thermo_pl.estimate import Estimate
from thermo_pl.laws.checks import Verdict, judge
from thermo_pl.laws.ledger import change, integral, known, legs_of
from thermo_pl.path.columns import Row

TOLERANCE = 0.05
"""Of the checks relative to the heat taken in, of a closure relative to the range of the control or
to the size of the term, of a held C relative to C*."""


def held_loss(rows: Sequence[Row]) -> float | None:
    """The C that a stroke holds on a leg.

    Args:
        rows: its rows there, the point it begins at first.

    Returns:
        C* in nats; None where C is not held at one value.
    """
    targets = {float(row["C_target"]) for row in rows[1:]}
    target = targets.pop() if len(targets) == 1 else math.nan
    return target if math.isfinite(target) else None


def error_of_gamma(row: Row) -> float:
    """What γ can be known to: δγ = δC/|C_γ|.

    Args:
        row: a row of the path.

    Returns:
        A standard error; nan where C_γ is not known or zero.
    """
    slope = row["C_gamma"]
    return abs(float(row["C_error"] / slope)) if slope else math.nan


def why_not_closed(
    strokes: Sequence[Sequence[Row]], closed: Row, gamma_error: float
) -> Iterator[str]:
    """What speaks against a closed cycle: λ, γ, R, D and C must return to where they began.

    Args:
        strokes: the rows of each stroke, the point it begins at included.
        closed: the end of the cycle on the probe that its start was measured on.
        gamma_error: standard error of the closure of γ.

    Yields:
        One sentence for each quantity that does not return.
    """
    first, last = strokes[0][0], strokes[-1][-1]
    rows = [row for stroke in strokes for row in stroke]
    gaps = {
        "lambda": Estimate(last["lambda"] - first["lambda"]),
        "gamma": Estimate(last["gamma"] - first["gamma"], gamma_error),
        **{name: change([first, closed], name) for name in "RDC"},
    }
    for name, gap in gaps.items():
        values = [float(row[name]) for row in rows]
        size = max(values) - min(values)
        if name in "RDC":
            size = max(size, abs(first[name]))
        if not judge(abs(gap.value), gap.error, TOLERANCE * size).shown:
            yield f"not closed: {name} {first[name]:.4g} → {first[name] + gap.value:.4g}"


def why_no_reservoir(stroke: Sequence[Row]) -> Iterator[str]:
    """What speaks against the C of a stroke that holds C: only then has its heat one temperature.

    Args:
        stroke: its rows, the point it begins at first.

    Yields:
        One sentence for each premise that fails; none for a stroke that does not hold C.
    """
    for rows in legs_of(stroke):
        target = held_loss(rows)
        if target is not None:
            name = rows[-1].get("stroke") or "a stroke"
            yield from (f"{name}: {reason}" for reason in _faults(rows, target))


def _faults(rows: Sequence[Row], target: float) -> Iterator[str]:
    allowed = TOLERANCE * target
    off = [row for row in rows if not _is_held(row, target, allowed, len(rows))]
    if off:
        worst = max(off, key=lambda row: abs(row["C"] - target))
        yield f"C is {worst['C']:.4g} where C* = {target:.4g} is to be held"
    rise = rows[-1]["gamma"] - rows[0]["gamma"]
    error = math.hypot(*(error_of_gamma(row) for row in (rows[0], rows[-1])))
    if judge(abs(rise), error, 0.0) is not Verdict.VIOLATED:
        yield f"Δγ = {rise:.3g} ± {error:.1g} is not known from 0"
    heat = integral(rows, "C", "gamma").value
    if heat * rise < 0:
        yield f"Q = {heat:.3g} where Δγ = {rise:.3g}: the sign is wrong"


def _is_held(row: Row, target: float, allowed: float, tried: int) -> bool:
    return judge(abs(row["C"] - target), known(row, "C_error"), allowed, tried).shown


def why_no_machine(taken: Estimate, given: Estimate) -> Iterator[str]:
    """What speaks against an efficiency: a machine takes heat in, and gives some off.

    Args:
        taken: the heat that is taken in, ≥ 0.
        given: the heat that is given off, ≥ 0.

    Yields:
        One sentence for each premise that fails.
    """
    if not taken.value > 0:
        yield "no heat is taken in"
    if not given.value > 0:
        yield "no heat is given off"
