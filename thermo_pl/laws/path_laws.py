"""The laws of learning as checks on a measured path: rows of path.csv in, verdicts out.

A row in which a column that a law needs is missing or NaN does not count for this law, and a law
for which no row counts gives no check; :mod:`thermo_pl.laws.checks` judges. Energies are in nats.
All standard errors are those of path.csv: over the noise draws of the measuring probe, which the
steps share, so the error of a sum of steps is bounded by the sum of their errors, and that is what
is given here.

Source: Gao & Chaudhari, "A Free-Energy Principle for Representation Learning", ICML 2020, for the
first law; F is a minimum of functions linear in (λ, γ), and the others follow from that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from thermo_pl.laws.checks import ROUNDING, Array, Check, equality, inequality, judge
from thermo_pl.laws.steps import Numbers, by_data, finite, loops, numbers, rectangles, steps_of
from thermo_pl.path.columns import Row
from thermo_pl.path.segments import first_law_residual, relative_first_law_residual, step_size

TOLERANCE = 0.05
"""Relative tolerance of equalities that finite steps and finite relaxation meet only nearly."""
SOLVER_TOLERANCE = 0.01
"""Relative tolerance of the responses: the default residual at which their solves stop."""
IDENTITY = 1e-5
"""Relative tolerance of identities between works: they are differences of float32 energies."""


def first_law(rows: Sequence[Row], tolerance: float = TOLERANCE) -> list[Check]:
    r"""First law: dR + λ dD + γ dC = ∂_tJ dt on the equilibrium surface.

    The residual ΔR + λΔD + γΔC - ∫∂_tJ dt of a step, by the trapezoidal rule, equals ∇_θJ·Δθ (the
    mean of the gradients at its ends) to the third order in the step, for any θ. So what is left
    over is the distance of the rows from equilibrium, the irreversibility of the path, and not
    arithmetic. It is negative where J falls while θ moves.

    Two checks. The median over the steps of |residual| / (|ΔR| + λ|ΔD| + γ|ΔC|), with the error of
    a median step, which more steps do not shrink. And the sum of the residuals in nats, signs
    kept, with the sum of the errors as its error and the same share of the summed sizes allowed.

    Args:
        rows: the path.
        tolerance: allowed residual as a share of the size of the step.

    Returns:
        Two checks, or none without a step.
    """
    energies = ("R", "D", "C", "J_t")
    known = [(s.before, s.after) for s in steps_of(rows) if s.knows(energies, energies)]
    steps = [step for step in known if step_size(*step) > 0]  # of no step there is no share
    left = [first_law_residual(*step) for step in steps]
    relative = [relative_first_law_residual(step) for step in steps]
    size = [step_size(*step) for step in steps]
    error = [after["first_law_error"] for _, after in steps]
    allowed, residual = tolerance * sum(size), "ΔR + λΔD + γΔC - ∫∂ₜJ dt"
    name, statement = "first law, median step", f"|{residual}| / (|ΔR| + λ|ΔD| + γ|ΔC|) = 0"
    return _counted(
        equality(name, statement, relative, _share(error, size), tolerance),
        equality("first law, sum", f"Σ({residual}) = 0", sum(left), sum(error), allowed, len(left)),
    )


def stepwise_work(rows: Sequence[Row], tolerance: float = IDENTITY) -> list[Check]:
    r"""Work of a step at fixed data: J_{k+1}(θ_k) - J_k(θ_k) = D_k Δλ + C_k Δγ.

    Exact for any θ, as J is linear in λ and γ and both sides are measured on the same draws. Steps
    with corrections do not count: a correction by δγ after the relaxation does its work with the C
    of that moment. Nor do those in which θ was driven meanwhile (``protocol: shortcut``): half of
    their work is done with the D and C at the end of the drive.

    Args:
        rows: the path; steps on which t moves do not count.
        tolerance: allowed difference as a share of |D_k Δλ| + |C_k Δγ|.

    Returns:
        The worst step, or nothing without a step.
    """
    gaps = []
    for step in steps_of(rows):
        corrected = step.after["corrections"] > 0
        driven = finite(step.after, "drive_work") and step.after["drive_work"] != 0
        fixed_data = bool(step.moved) and "t" not in step.moved
        if fixed_data and not corrected and not driven and step.knows(("D", "C"), ("work",)):
            by_lam = step.before["D"] * step.change("lambda")
            by_gam = step.before["C"] * step.change("gamma")
            gap = abs(step.after["work"] - by_lam - by_gam)
            gaps.append(float(_share(gap, abs(by_lam) + abs(by_gam))))
    name = "work at fixed data, worst step"
    statement = "|J(k+1, θk) - J(k, θk) - Dk Δλ - Ck Δγ| / (|Dk Δλ| + |Ck Δγ|) = 0"
    return _counted(equality(name, statement, max(gaps, default=0), 0, tolerance, len(gaps)))


def dissipation(rows: Sequence[Row]) -> list[Check]:
    r"""Second law, step by step: J_{k+1}(θ_k) - J_{k+1}(θ_{k+1}) ≥ 0.

    At fixed (λ, γ, t) J cannot rise while θ relaxes; what it falls by is dissipated. The sum over
    the path is the total dissipation in nats.

    Args:
        rows: the path.

    Returns:
        The worst step and the sum, or nothing where no relaxation was measured.
    """
    path = numbers(rows)
    steps = [row for row in path if finite(row, "relaxation")]
    value = [row["relaxation"] for row in steps]
    error = [row["relaxation_error"] for row in steps]
    fall, rounding = "J(k+1, θk) - J(k+1, θk+1)", _rounding(path)
    total = sum(value), sum(error), rounding, len(value)
    return _counted(
        inequality("second law, worst step", f"{fall} ≥ 0", value, error, rounding),
        inequality("second law, total dissipation", f"Σ({fall}) ≥ 0", *total),
    )


def closed_loops(rows: Sequence[Row], tolerance: float = IDENTITY) -> list[Check]:
    r"""Closed loops in (λ, γ, t) on one leg, each from a row to the next one at the same place.

    As J_{k+1} - J_k = work - relaxation, ∮ work = ∮ relaxation + ΔJ: an identity of the
    bookkeeping. Where J returns to within its error, no work can be gained: ∮ work ≥ 0 (Kelvin).
    The errors of J at both ends count into the error of that work, as J returns only within them.

    Args:
        rows: the path.
        tolerance: allowed gap of the identity as a share of ∮ |work| + ∮ |relaxation|.

    Returns:
        The worst loop of the identity and of the inequality; nothing where no loop closes.
    """
    path = numbers(rows)
    rounding = _rounding(path)
    gaps, works, errors = [], [], []
    for i, j in loops(path):
        first, last, inner = path[i], path[j], path[i + 1 : j + 1]
        flows = [(row["work"], row["relaxation"], row["work_error"]) for row in inner]
        work, relaxation, error = np.array(flows).T
        change, noise = last["J"] - first["J"], first["J_error"] + last["J_error"]
        gap = abs(work.sum() - relaxation.sum() - change)
        # particles of another leg are others, and so is J
        if math.isnan(gap) or any(row["leg"] != first["leg"] for row in inner):
            continue
        gaps.append(float(_share(gap, np.abs(work).sum() + np.abs(relaxation).sum())))
        if judge(abs(change), noise, rounding).shown:
            works.append(work.sum())
            errors.append(error.sum() + noise)
    name = "closed loop, bookkeeping"
    statement = "|∮ work - ∮ relaxation - ΔJ| / (∮ |work| + ∮ |relaxation|) = 0"
    kelvin = "closed loop, work", "∮ work ≥ 0 where J returns"
    return _counted(
        equality(name, statement, max(gaps, default=0), 0, tolerance, len(gaps)),
        inequality(*kelvin, works, errors, rounding),
    )


def envelope(rows: Sequence[Row], tolerance: float = TOLERANCE) -> list[Check]:
    r"""Envelope theorem at fixed data: D = (∂F/∂λ)_γ and C = (∂F/∂γ)_λ.

    Over a step on which one of λ, γ moves alone, ΔF is the integral of its force, by the
    trapezoidal rule. With J = R + λD + γC the difference is the residual of the first law of that
    step, and so has its error.

    Args:
        rows: the path; F is J of the rows.
        tolerance: allowed difference as a share of the integral.

    Returns:
        One check for each of λ and γ that moves alone somewhere: the median over such steps.
    """
    checks = []
    for control, symbol, force in (("lambda", "λ", "D"), ("gamma", "γ", "C")):
        names = ("J", force)
        steps = [s for s in steps_of(rows) if s.moved == {control} and s.knows(names, names)]
        integral = np.array([step.mean(force) * step.change(control) for step in steps])
        gap = np.abs(np.array([step.change("J") for step in steps]) - integral)
        error = [step.after["first_law_error"] for step in steps]
        size, statement = np.abs(integral), f"|ΔF - ∫{force} d{symbol}| / |∫{force} d{symbol}| = 0"
        values = _share(gap, size), _share(error, size)
        checks.append(equality(f"envelope, {force} = ∂F/∂{symbol}", statement, *values, tolerance))
    return _counted(*checks)


def maxwell_measured(rows: Sequence[Row], tolerance: float = TOLERANCE) -> list[Check]:
    r"""Maxwell relation (∂C/∂λ)_γ = (∂D/∂γ)_λ, from measurements at fixed (leg, t).

    Rows on a grid in (λ, γ) form rectangles of neighbours. In each one ΔC/Δλ, the mean over its
    two γ, and ΔD/Δγ, the mean over its two λ, are central differences for the middle, of second
    order in the sides; their difference is taken relative to their mean magnitude. Of a place
    visited again the last row counts.

    The errors of the corners are added in quadrature, which is too much where the draws are the
    same, and those of the two slopes in full, as D and C share their draws.

    Args:
        rows: the path.
        tolerance: allowed relative difference.

    Returns:
        The median over the rectangles, or nothing without a rectangle.
    """
    values, errors = [], []
    names = ("C", "D", "C_error", "D_error")
    for corners, lam, gam in rectangles(numbers(rows)):
        shaped = np.array([[[row[name] for name in names] for row in pair] for pair in corners])
        loss, distortion, loss_error, distortion_error = np.moveaxis(shaped, -1, 0)
        by_lam = (loss[1] - loss[0]).mean() / lam
        by_gam = (distortion[:, 1] - distortion[:, 0]).mean() / gam
        noise = np.linalg.norm(loss_error) / lam + np.linalg.norm(distortion_error) / gam
        size = (abs(by_lam) + abs(by_gam)) / 2
        if size == 0:  # nothing depends on anything: there is no relation to check
            continue
        values.append(float(_share(abs(by_lam - by_gam), size)))
        errors.append(float(_share(noise / 2, size)))
    statement = "|ΔC/Δλ - ΔD/Δγ| / mean magnitude = 0"
    return _counted(equality("Maxwell, measured", statement, values, errors, tolerance))


def maxwell_response(rows: Sequence[Row], tolerance: float = SOLVER_TOLERANCE) -> list[Check]:
    r"""Maxwell relation C_λ = D_γ between the responses of each row.

    Both are -∇C·A⁻¹∇D with the same symmetric A, solved separately: this checks the solve, not the
    physics.

    Args:
        rows: the path; rows in which both are zero (there is no classifier) do not count.
        tolerance: allowed difference relative to their mean magnitude.

    Returns:
        The median over the rows, or nothing without a response.
    """
    found = [
        (r["C_lambda"], r["D_gamma"]) for r in numbers(rows) if finite(r, "C_lambda", "D_gamma")
    ]
    gaps = [abs(a - b) / ((abs(a) + abs(b)) / 2) for a, b in found if a or b]
    statement = "|C_λ - D_γ| / mean magnitude = 0 (checks the solve)"
    return _counted(equality("Maxwell, response", statement, gaps, 0, tolerance))


def concavity_response(rows: Sequence[Row], tolerance: float = SOLVER_TOLERANCE) -> list[Check]:
    r"""Concavity of F from the responses: D_λ = ∂²F/∂λ² ≤ 0 and C_γ = ∂²F/∂γ² ≤ 0.

    With a positive definite A, as the Gauss-Newton matrix is, the signs belong to the solve, and
    the check is one of the solver; with the Hessian they say that θ is at a minimum.

    Args:
        rows: the path.
        tolerance: allowed value of the wrong sign, as a share of the largest magnitude.

    Returns:
        The worst row for each of the two, or nothing without a response.
    """
    checks = []
    for name, symbol in (("D_lambda", "D_λ"), ("C_gamma", "C_γ")):
        values = np.array([-row[name] for row in numbers(rows) if finite(row, name)])
        allowed, law = tolerance * np.abs(values).max(initial=0), f"concavity, {symbol} ≤ 0"
        if not values.any():  # without the network whose loss it is: no slope at all
            continue
        checks.append(inequality(law, f"-{symbol} ≥ 0 in every row", values, 0, allowed))
    return _counted(*checks)


def concavity_measured(rows: Sequence[Row]) -> list[Check]:
    r"""Two-point test of concavity: (w₂-w₁)·(Φ₂-Φ₁) ≤ 0 with w = (λ, γ) and Φ = (D, C).

    Holds for the optima at any two points of the same (leg, t): each is no better than the other
    at the other's own weights. All pairs of rows are tried, however far apart.

    Args:
        rows: the path.

    Returns:
        The worst pair, or nothing where no (leg, t) has two different points.
    """
    path = numbers(rows)
    values, errors = [], []
    for group in by_data(path):
        for (place, a), (other, b) in combinations(group, 2):
            if place != other:
                lam, gam = b["lambda"] - a["lambda"], b["gamma"] - a["gamma"]
                values.append(-lam * (b["D"] - a["D"]) - gam * (b["C"] - a["C"]))
                # D and C share their draws: their errors are not independent
                distortion, loss = (math.hypot(a[n], b[n]) for n in ("D_error", "C_error"))
                errors.append(abs(lam) * distortion + abs(gam) * loss)
    statement = "-(Δλ ΔD + Δγ ΔC) ≥ 0 for every pair"
    name = "concavity, worst pair"
    return _counted(inequality(name, statement, values, errors, _rounding(path)))


def check_path(
    rows: Sequence[Row],
    tolerance: float = TOLERANCE,
    solver_tolerance: float = SOLVER_TOLERANCE,
) -> list[Check]:
    """All laws that the rows of a path can be held against.

    Args:
        rows: rows of path.csv; a missing column, None or nan is a value that is not known.
        tolerance: relative tolerance of the first law, the envelope and the Maxwell relation.
        solver_tolerance: relative tolerance of the checks of the responses.

    Returns:
        The checks; a law for which no row counts is left out.

    Raises:
        ConfigError: if a row does not say where it stands.
    """
    return [
        *first_law(rows, tolerance),
        *stepwise_work(rows),
        *dissipation(rows),
        *closed_loops(rows),
        *envelope(rows, tolerance),
        *maxwell_measured(rows, tolerance),
        *maxwell_response(rows, solver_tolerance),
        *concavity_response(rows, solver_tolerance),
        *concavity_measured(rows),
    ]


def _counted(*checks: Check) -> list[Check]:
    return [check for check in checks if check.count]


def _share(value: ArrayLike, size: ArrayLike) -> Array:
    # value / size; nothing of nothing is no share at all
    top, bottom = np.asarray(value, float), np.asarray(size, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((top == 0) & (bottom == 0), 0.0, top / bottom)


def _rounding(path: Sequence[Numbers]) -> float:
    # what rounding may do to a difference of energies on this path
    return ROUNDING * max((abs(row["J"]) for row in path if finite(row, "J")), default=1.0)
