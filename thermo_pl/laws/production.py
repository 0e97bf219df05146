"""Entropy production of inference against generation, and its Pythagorean split.

Pure functions on finite alphabets, in nats. Source: Ito, Oizumi & Amari, "Unified framework for
the entropy production and the stochastic interaction based on information geometry", 2020.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from thermo_pl.errors import require
from thermo_pl.exact.alphabet import rate_distortion_classification
from thermo_pl.exact.distributions import discrete_entropy, divergence, require_distribution


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
