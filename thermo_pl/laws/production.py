"""Entropy production of inference against generation, and its Pythagorean split.

Of finite alphabets exactly, of networks by noise draws; in nats.

Source: Ito, Oizumi & Amari, "Unified framework for the entropy production and the stochastic
interaction based on information geometry", 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_pl.errors import require
from thermo_pl.estimate import Estimate, add
from thermo_pl.exact.alphabet import rate_distortion_classification
from thermo_pl.exact.distributions import discrete_entropy, divergence, require_distribution
from thermo_pl.laws.checks import ROUNDING, Check, judge
from thermo_pl.laws.model_entropy import DataEntropy
from thermo_pl.laws.trajectories import Trajectories, mean_of


class EntropyProduction(NamedTuple):
    r"""Entropy production in nats and the two ways to take it apart.

    total = system + bath = work - free_energy_change, the first by the Pythagorean theorem, the
    second by the identification σ_tot = β[W - ΔF].

    Attributes:
        total: σ_tot = KL(p(s) ‖ q(s)) ≥ 0.
        system: σ_sys = KL(p(z) ‖ q(z)) ≥ 0, what a better marginal would save.
        bath: σ_bath = KL(p(s) ‖ q*(s)) ≥ 0, what is left with the best marginal.
        work: βW = -H, the entropy of the data with its sign changed: never positive.
        free_energy_change: βΔF = -(R + D), with labels -(R + D + C).
    """

    total: Tensor
    system: Tensor
    bath: Tensor
    work: Tensor
    free_energy_change: Tensor


def entropy_production(
    p_x: Tensor,
    encoder: Tensor,
    decoder: Tensor,
    marginal: Tensor,
    p_y_given_x: Tensor | None = None,
    classifier: Tensor | None = None,
) -> EntropyProduction:
    r"""Entropy production of a finite system at λ = γ = 1.

    Without labels every arrow is reversed: forward p(s) = e(z|x) p(x), backward
    q(s) = d(x|z) q(z), and with p(z) = Σ_x p(x) e(z|x)

    - σ_tot = KL(p(s) ‖ q(s)) = -H(x) + R + D,
    - σ_sys = KL(p(z) ‖ q(z)) = R - I(x;z),
    - σ_bath = E_p log [e(z|x) p(x) / (d(x|z) p(z))] = -H(x) + I(x;z) + D.

    On the backward manifold {d(x|z) q(z): d fixed, q free} the projection of p(s) is
    q* = d(x|z) p(z), and KL(p ‖ q) = KL(p ‖ q*) + KL(q* ‖ q) = σ_bath + σ_sys for any d.

    With labels, forward p(s) = e(z|x) p(y|x) p(x) and backward q(s) = d(x|z) c(y|z) q(z): y is
    reached from x on the way there and from z on the way back, so only part of the arrows turns
    and σ is that of a subsystem. The projection on {d c q: q free} is q* = d(x|z) c(y|z) p(z):

    - σ_tot = -H(x, y) + R + D + C,
    - σ_sys = KL(p(z) ‖ q(z)) = R - I(x;z), as without labels,
    - σ_bath = E_p log [e(z|x) p(x, y) / (d(x|z) c(y|z) p(z))] = -H(x, y) + I(x;z) + D + C.

    Each of total, system and bath is its own sum, so that their identities can be checked.

    Args:
        p_x: p(x), shape ``(x,)``. All arguments are float64 and may share leading batch axes.
        encoder: e(z|x), shape ``(x, z)``.
        decoder: d(x|z), shape ``(z, x)``.
        marginal: q(z), shape ``(z,)``.
        p_y_given_x: p(y|x), shape ``(x, y)``.
        classifier: c(y|z), shape ``(z, y)``; given with ``p_y_given_x`` or not at all.

    Returns:
        The entropy production; ∞ where the backward process cannot do what the forward one does.

    Raises:
        ConfigError: if an argument is no distribution or only one of the labels' is given.
    """
    both = (p_y_given_x is None) == (classifier is None)
    require(both, "p_y_given_x, classifier", "only one of them", "both or neither")
    # without labels: a single class, always right
    p_y = torch.ones_like(encoder[..., :1]) if p_y_given_x is None else p_y_given_x
    c = torch.ones_like(decoder[..., :1]) if classifier is None else classifier
    named = {"p_x": p_x, "encoder": encoder, "decoder": decoder, "marginal": marginal}
    for name, p in (named | {"p_y_given_x": p_y, "classifier": c}).items():
        require_distribution(name, p)

    data = p_x[..., None] * p_y  # p(x, y)
    aggregate = (p_x[..., None] * encoder).sum(-2)  # p(z)
    forward = encoder[..., None] * data[..., None, :]  # p(x, z, y)
    likelihood = decoder.mT[..., None] * c[..., None, :, :]  # d(x|z) c(y|z), (x, z, y)
    backward = likelihood * marginal[..., None, :, None]
    projection = likelihood * aggregate[..., None, :, None]
    rate, distortion, loss = rate_distortion_classification(p_x, p_y, encoder, decoder, c, marginal)
    return EntropyProduction(
        total=divergence(forward.flatten(-3), backward.flatten(-3)),
        system=divergence(aggregate, marginal),
        bath=divergence(forward.flatten(-3), projection.flatten(-3)),
        work=-discrete_entropy(data.flatten(-2)),
        free_energy_change=-(rate + distortion + loss),
    )


@dataclass(frozen=True)
class Production:
    """Entropy production of a network in nats: total = work - free_energy_change = system + bath.

    Attributes:
        total: σ_tot = KL(p(s) ‖ q(s)) = -H + R + D, with labels + C; from the first noise draws.
        system: σ_sys = KL(p(z) ‖ q(z)) = R - I(x;z), what a better marginal would save; from the
            second ones.
        bath: σ_bath = KL(p(s) ‖ q*(s)) = -H + I(x;z) + D, with labels + C; from the third ones.
        work: βW = -H.
        free_energy_change: βΔF = -(R + D), with labels -(R + D + C).
        discrepancy: total - system - bath, which the Pythagorean theorem says is zero. H is the
            same in total and bath and cancels, and so does its error.
    """

    total: Estimate
    system: Estimate
    bath: Estimate
    work: Estimate
    free_energy_change: Estimate
    discrepancy: Estimate


def production(trajectories: Trajectories, entropy: DataEntropy, labels: bool) -> Production:
    r"""Entropy production of a network, which is that of λ = 1 whatever the model's λ and γ.

    The whole system, without labels: forward p(s) = e(z|x) p(x), backward q(s) = d(x|z) q(z). With
    labels, forward e(z|x) p(y|x) p(x) and backward d(x|z) c(y|z) q(z): y is reached from x on the
    way there and from z on the way back, so this is the entropy production of a subsystem. For
    the split and its meaning see :func:`entropy_production`; here
    p(z) = Σ_j w_j e(z|x_j) is the aggregate posterior of the particles.

    **Grey images.** A Bernoulli decoder generates black and white images b, while the encoder is
    shown the grey image g whose levels are the probabilities of ink. So s = (g, b, z), and

    - forward p(s) = p(g) p(b|g) e(z|g), with p(g) = w_g and p(b|g) the binarisation,
    - backward q(s) = q(z) d(b|z) p(g|b), completed by the true p(g|b) = p(g) p(b|g) / p(b).

    Both are normalised, and in their ratio p(g) p(b|g) / p(g|b) = p(b), so that

    KL(p(s) ‖ q(s)) = E log [e(z|g)/q(z)] - E log d(b|z) + E log p(b) = R + D - H(b) ≥ 0

    with D the expected NLL of the binarised image and H(b) the entropy of the binarised mixture:
    the D of this library and the H of :func:`~thermo_pl.laws.model_entropy.data_entropy`. With
    labels b becomes (b, y), as y is drawn from g alone. The projection on {q free} is
    q*(s) = p(z) d(b|z) p(g|b), as before. The same holds with powers,
    q(s) = q(z) d^λ c^γ p(g|b, y) / Z: it is the second law.

    **Densities.** Where H is the entropy of a density of which the particles are a sample, I(x;z)
    of the particles is at most log n. Where R comes near it, σ_sys is too high and σ_bath too low
    by what I lacks, so that their errors are not known; σ_tot is not touched.

    Args:
        trajectories: the draws.
        entropy: H(x), with labels H(x, y).
        labels: whether it is that of the subsystem with labels.

    Returns:
        The entropy production. The errors of total and bath hold that of H.

    Raises:
        ConfigError: if the model has no decoder, or no classifier where there are labels.
    """
    require(trajectories.generates, "model", "no decoder", "one with a decoder")
    require(trajectories.labels or not labels, "labels", labels, "false: there is no classifier")
    (rate, *losses), (_, *third) = trajectories.first, trajectories.third
    used = 2 if labels else 1
    weight = trajectories.weight
    cost = mean_of(rate + sum(losses[:used]), weight)
    system = mean_of(trajectories.system, weight)
    bath = mean_of(trajectories.information + sum(third[:used]), weight)
    rest = bath - entropy
    split = 0.0 if entropy.of_particles else math.nan
    return Production(
        total=cost - entropy,
        system=replace(system, error=system.error + split),
        bath=replace(rest, error=rest.error + split),
        work=-entropy,
        free_energy_change=-cost,
        discrepancy=add(cost, -system, -bath),
    )


def production_checks(name: str, found: Production) -> list[Check]:
    """The laws of entropy production: no part of it is negative, and the parts make the total.

    Four laws are judged together, so each has the bound of the worst of four values.

    Args:
        name: the system, as its name is to be printed.
        found: its entropy production.

    Returns:
        The checks; one whose value is not known is left out.
    """
    scale = [abs(part.value) for part in (found.work, found.free_energy_change)]
    rounding = ROUNDING * sum(value for value in scale if math.isfinite(value))
    laws = {
        "σ_tot ≥ 0": found.total,
        "σ_sys ≥ 0": found.system,
        "σ_bath ≥ 0": found.bath,
        "σ_tot - σ_sys - σ_bath = 0": found.discrepancy,
    }
    checks = []
    for statement, part in laws.items():
        identity = part is found.discrepancy
        law = f"{'Pythagoras' if identity else statement}, {name}"
        value, error = part.value, part.error
        verdict = judge(abs(value) if identity else -value, error, rounding, len(laws))
        if math.isfinite(value):
            checks.append(Check(law, statement, value, error, rounding, verdict, 1))
    return checks
