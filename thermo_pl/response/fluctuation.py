r"""The response as fluctuations: covariances under the encoder in place of a linear solve.

With q(z), d(x|z) and c(y|z) held still and the encoder free, the optimum is the Gibbs state
e*(z|x) ∝ q(z) exp(-λ d - γ c) with the costs d = -log d(x|z) and c = -Σ_y p(y|x) log c(y|z), for
each particle by itself, and F = -E_x log Σ_z q(z) exp(-λ d - γ c). Since
∂_a log e* = -(f_a - E_e f_a) with the forces f_λ = d, f_γ = c and f_t = λ ∂_td + γ ∂_tc,

    X_a = E_x E_e[∂_aX] - E_x Cov_e(X, f_a)  for the costs X in {d, c},
    R_a = E_x Cov_e(λd + γc, f_a),

where only t moves a cost by itself: ∂_td as x(t) moves and ∂_tc as the label p(y|x(t)) does. In
λ and γ these are D_λ = -E_x Var_e(d), C_λ = D_γ = -E_x Cov_e(d, c) and C_γ = -E_x Var_e(c).

It is cheap, and the response **only** of a model whose encoder can take any form while nothing else
is trained. A q, d or c that follows λ, γ and t adds a response of its own, of either sign and any
size, and an encoder of limited form has another one. So every other model is refused, unless an
estimate of unknown bias is asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, jacrev

from thermo_pl.errors import require
from thermo_pl.networks import CategoricalPosterior, Networks
from thermo_pl.particles import interpolate
from thermo_pl.response.objective import Probe, with_t_derivative
from thermo_pl.response.slopes import Slopes

AT_ONCE = 2**22
"""Pixels, over particles and draws, that are decoded at a time."""
LARGEST = 2**24
"""Entries that the derivative of a free table of codes has at most: 128 MiB."""


@dataclass(frozen=True)
class FluctuationResponse:
    """Slopes of R, D and C by the fluctuations of the encoder.

    Attributes:
        slopes: derivatives with respect to λ, γ and t.
        error: their standard errors over the noise draws, the particles being given; 0 where the
            codes are summed over. The bias is not in them.
        bias: why they are not the response of this model; empty where they are, exactly.
    """

    slopes: Slopes
    error: Slopes
    bias: str

    @property
    def exact(self) -> bool:
        """Whether they are the total derivatives along the surface of this model."""
        return not self.bias


def fluctuation_response(
    model: Networks, probe: Probe, t: float, biased: bool = False
) -> FluctuationResponse:
    """Derivatives along the surface by covariances under e*(z|x).

    With codes e* is formed from q, d and c, whatever the encoder is at the moment. With draws the
    model's own e(z|x) stands for it, which is best at equilibrium.

    Args:
        model: the model, at its λ and γ.
        probe: particles and noise, at least 3 draws where the encoder is drawn.
        t: domain coordinate.
        biased: give the estimate of a model whose other parts follow, or whose encoder is of
            limited form, too.

    Returns:
        The slopes, their errors, and whether they are exact.

    Raises:
        ConfigError: if the model has no e(z|x) that can be drawn or summed over, or too few draws
            of it; or if the result would be biased and that was not asked for.
    """
    coded = model.encoder.family is CategoricalPosterior
    ok = model.marginal is not None and (coded or not model.encoder.exact)
    allowed = "one that is drawn, or has codes"
    require(ok, "fluctuation_response: encoder", type(model.encoder).__name__, allowed)
    draws = len(probe.noise)
    require(coded or draws >= 3, "fluctuation_response: noise draws", draws, "3 or more")
    ranks = probe.shared.ranks
    require(ranks == 1, "fluctuation_response: ranks of the probe", ranks, "1: a whole probe")
    bias = _bias(model, probe, t)
    allowed = (
        "an encoder of codes that is free for each particle, nothing else trained; take "
        "linear_response, or biased=True for an estimate of unknown bias"
    )
    require(biased or not bias, "fluctuation_response", bias, allowed)
    mass = probe.particles.weight.double().sum()
    sums = [_sums(model, part, t, mass) for part in _parts(model, probe)]
    explicit, products = torch.stack(sums).sum(0)
    if coded:
        value = (explicit - products).mean(0)
        return FluctuationResponse(Slopes.of(value), Slopes.of(torch.zeros(3, 3)), bias)
    value = (explicit - draws / (draws - 1) * products).mean(0)
    # what leaving out one draw does (jackknife)
    influence = explicit - draws / (draws - 2) * products
    return FluctuationResponse(Slopes.of(value), Slopes.of(influence.std(0) / draws**0.5), bias)


def _bias(model: Networks, probe: Probe, t: float) -> str:
    # what makes covariances of e(z|x) something else than the response
    if model.encoder.family is not CategoricalPosterior:
        return "an encoder of a limited family"
    parts = {"marginal": model.marginal, "decoder": model.decoder, "classifier": model.classifier}
    for name, part in parts.items():
        if part is not None and any(p.requires_grad for p in part.parameters()):
            return f"a {name} that is trained"
    if not _free(model, interpolate(probe.particles, t).x):
        return "an encoder that is not free for each particle"
    return ""


def _free(model: Networks, x: Tensor) -> bool:
    # whether the log odds of all particles can be moved, each by itself: full rank
    encoder = model.encoder
    named = {n: p.detach().double() for n, p in encoder.named_parameters() if p.requires_grad}
    rows, columns = len(x) * (encoder.latent_dim - 1), sum(p.numel() for p in named.values())
    if not rows <= columns <= LARGEST / rows:
        return False  # larger than any table is

    def log_odds(parameters: dict[str, Tensor]) -> Tensor:
        logits: Tensor = functional_call(encoder, parameters, (x.double(),)).logits
        return (logits[:, 1:] - logits[:, :1]).flatten()

    slopes = jacrev(log_odds)(named)
    matrix = torch.cat([slope.flatten(1) for slope in slopes.values()], 1)
    return bool(torch.linalg.matrix_rank(matrix) == rows)


def _parts(model: Networks, probe: Probe) -> list[Probe]:
    n = len(probe.particles.weight)
    size = max(1, AT_ONCE // (len(probe.noise) * math.prod(model.encoder.image_shape)))
    return [probe.take(slice(start, start + size)) for start in range(0, n, size)]


@torch.no_grad()
def _sums(model: Networks, probe: Probe, t: float, mass: Tensor) -> Tensor:
    # For each draw or code, summed over the particles: what t does to R, D and C by itself, and
    # the products behind the covariances of (R, D, C) with the forces; shape (2, samples, 3, 3).
    # The plain mean over draws or codes is the expectation.
    axes = model.axes()
    posterior = model.encode(interpolate(probe.particles, t).x, axes)
    z = posterior.draw(probe.noise)

    def costs(s: Tensor) -> Tensor:
        # d and c at given z: the encoder does not see that t moves
        batch = interpolate(probe.particles, s)
        d = c = z.new_zeros(z.shape[:2])
        if model.decoder is not None:
            d = model.decoder.likelihood(model.decode(z, axes), batch.x)
        if model.classifier is not None:
            c = model.classifier.nll(model.classify(z, axes), batch.y)
        return torch.stack([d, c]).double()

    (d, c), (d_t, c_t) = with_t_derivative(costs, t)
    lam, gam = model.lam, model.gam
    energy, zero = lam * d + gam * c, torch.zeros_like(d)
    if isinstance(posterior, CategoricalPosterior) and model.marginal is not None:  # Gibbs state
        posterior = CategoricalPosterior((model.marginal.log_prob(z) - energy).T)
    share = probe.particles.weight.double() / mass
    # R + λD + γC = F has no covariance of its own: that of R is that of -(λd + γc)
    terms, forces = (
        rows - posterior.weigh(rows).mean(0)
        for rows in (
            torch.stack([-energy, d, c], -1),
            torch.stack([d, c, lam * d_t + gam * c_t], -1),
        )
    )
    products = posterior.weigh(terms[..., :, None] * forces[..., None, :])
    explicit = torch.zeros_like(products)
    explicit[..., 2] = posterior.weigh(torch.stack([zero, d_t, c_t], -1))
    return torch.einsum("asnij,n->asij", torch.stack([explicit, products]), share)
