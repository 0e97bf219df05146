"""Whether a macro-step counts: what it holds is held after relaxation and correction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from thermo_pl.errors import ConstraintLost, require
from thermo_pl.laws.promise import promise
from thermo_pl.path.columns import Row


class Miss(NamedTuple):
    """What a process does not hold at the end of a macro-step.

    Attributes:
        quantity: its name.
        miss: what it misses its target by, relative; positive above the target.
        allowed: how large it may be.
    """

    quantity: str
    miss: float
    allowed: float


def worst(misses: Mapping[str, float], tolerance: float, error: float) -> Miss | None:
    """The worst of what is not held.

    Args:
        misses: what each quantity misses its target by, relative.
        tolerance: how large a miss may be.
        error: standard error of C, relative; it is allowed on top for C and S. λ and γ have none.

    Returns:
        The quantity that exceeds its allowance most, as a share of it; None where none does.
    """
    known = error if math.isfinite(error) else 0.0
    allowed = {name: tolerance + known * (name in {"C", "S"}) for name in misses}
    lost = [name for name, miss in misses.items() if not abs(miss) <= allowed[name]]
    if not lost:
        return None
    name = max(lost, key=lambda name: abs(misses[name]) / allowed[name])
    return Miss(name, misses[name], allowed[name])


def check_tolerance(tolerance: float) -> None:
    """Refuse a tolerance that is none.

    Args:
        tolerance: relative.
    """
    require(tolerance > 0, "tolerance", tolerance, "a number > 0; .inf promises nothing")


def told(miss: Miss, rounds: int) -> str:
    """Why a macro-step was taken back.

    Args:
        miss: what it missed.
        rounds: of relaxation and correction that were tried.

    Returns:
        A few words, for path.csv.
    """
    return f"after {rounds} rounds: {_missed(miss)}, allowed {miss.allowed:.2%}"


def lost(
    row: Row, miss: Miss, least: float, reach: tuple[float, float] | None = None
) -> ConstraintLost:
    """The end of a process that cannot hold what it must.

    Args:
        row: the last one, from where nothing led on.
        miss: what the last try missed.
        least: share of the process's own step below which none is tried.
        reach: least and largest C on the control probe that γ reaches where the last try ended.

    Returns:
        The error.
    """
    within = "" if reach is None else f" (gamma reaches C from {reach[0]:.4g} to {reach[1]:.4g})"
    return ConstraintLost(
        f"{miss.quantity}: got a macro-step from t = {row['t']:.4g}, lambda = {row['lambda']:.4g}, "
        f"gamma = {row['gamma']:.4g} after which {_missed(miss)}, as shorter ones do down to "
        f"{least:g} of it{within}; allowed: {miss.allowed:.2%} on the control probe; relax more, "
        "take a lower learning rate, a more exact response, a larger control probe or a smaller "
        "min_step, or widen the tolerance"
    )


def broken(rows: Sequence[Row], tolerance: float) -> ConstraintLost | None:
    """What to say at the end of a process that did not hold what it promised.

    Args:
        rows: its path.
        tolerance: what it promised.

    Returns:
        The error; None where the measuring probe says that it was held, or nothing was promised.
    """
    found = promise(rows, tolerance)
    if found.verdict != "not held":
        return None
    return ConstraintLost(
        f"{found.quantity}: got a miss of {found.miss:+.2%} ± {found.error:.2%} on the measuring "
        f"probe at step {found.step}, worst of {found.count}, while the control probe held it; "
        f"allowed: {found.allowed:.2%} and the error of the probe; take larger probes, or widen "
        "the tolerance"
    )


def _missed(miss: Miss) -> str:
    unit = "gamma C" if miss.quantity == "S" else "it"
    return f"{miss.quantity} misses its target by {miss.miss:+.2%} of {unit}"
