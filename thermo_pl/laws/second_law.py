"""The second law of a model on its data: -H + J + log Z ≥ 0, at any θ, λ and γ.

Source: Gao & Chaudhari, "A Free-Energy Principle for Representation Learning", ICML 2020.
"""

from __future__ import annotations

import math

from thermo_pl.estimate import Estimate, add
from thermo_pl.laws.checks import ROUNDING, Check, inequality, judge, with_premises


def second_law(entropy: Estimate, free_energy: Estimate, log_z: Estimate) -> Check:
    """Second law: KL(p(s) ‖ q(s)/Z) = -H + J + log Z ≥ 0, at any θ, λ and γ.

    Args:
        entropy: H of the data, nats.
        free_energy: J in nats.
        log_z: log Z = log ∫ q(z) (∫ d(x|z)^λ dx) (Σ_y c(y|z)^γ) dz at the same λ and γ.

    Returns:
        The check; the three errors count as independent.
    """
    rounding = ROUNDING * (abs(entropy.value) + abs(free_energy.value) + abs(log_z.value))
    found = add(-entropy, free_energy, log_z)
    law, statement = "second law, -H + J + log Z", "-H + J + log Z ≥ 0"
    return inequality(law, statement, found.value, found.error, rounding, 1)


def second_law_without_log_z(entropy: Estimate, free_energy: Estimate, log_z: Estimate) -> Check:
    """The short form of the second law, J ≥ H: a law only where Z ≤ 1.

    Z = 1 at λ = γ = 1, and Z ≤ 1 for discrete x with λ, γ ≥ 1. Elsewhere J may well be below H,
    while :func:`second_law` still holds: there the short form is not applicable.

    Args:
        entropy: H of the data, nats.
        free_energy: J in nats.
        log_z: log Z at the same λ and γ; inf where Z is infinite.

    Returns:
        The check; the errors of H and J count as independent.
    """
    rounding = ROUNDING * (abs(entropy.value) + abs(free_energy.value))
    found = free_energy - entropy
    check = inequality("J ≥ H (where Z ≤ 1)", "J - H ≥ 0", found.value, found.error, rounding, 1)
    known = judge(log_z.value, log_z.error, rounding).shown
    reason = f"log Z = {log_z.value:.3g}, and J ≥ H asks for Z ≤ 1"
    return with_premises(check, [] if known else [reason])


def second_law_checks(entropy: Estimate, energy: Estimate, log_z: Estimate) -> list[Check]:
    """The second law with log Z, and the short form without it.

    Args:
        entropy: H of the data.
        energy: J of the model on them.
        log_z: log Z of the model.

    Returns:
        The checks that can be made: none where H or J is not known, and the short one alone, which
        is not applicable there, where log Z is infinite.
    """
    if not math.isfinite(entropy.value + energy.value):
        return []
    short = second_law_without_log_z(entropy, energy, log_z)
    whole = [second_law(entropy, energy, log_z)] if math.isfinite(log_z.value) else []
    return [*whole, short]
