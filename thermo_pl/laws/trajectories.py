r"""What inference and generation of networks say on noise draws: R, D, C and log-ratios of p(z).

Sums are in float64 and memory is bounded. What is random is the noise of the encoder, with a
standard error; the particles are given. A representation of codes is summed over, without any
error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from thermo_pl.errors import require
from thermo_pl.estimate import Estimate
from thermo_pl.functionals import LOG_2PI, free_energy, gaussian_log_prob
from thermo_pl.laws.partition import BLOCK, marginal_of
from thermo_pl.networks import CategoricalPosterior, Networks, Posterior, Terms
from thermo_pl.particles import Batch, weighted_mean

Noise = Callable[[int, int, torch.Generator], Tensor]


class Trajectories(NamedTuple):
    """What inference and generation say of noise draws, three independent sets of them.

    Draws have the shape ``(samples, n)``, or ``(1, n)`` where they are exact expectations; float64.

    Attributes:
        first: R, D and C over the first set.
        system: log p(z)/q(z) over the second set, p(z) being the aggregate posterior.
        information: log e(z|x)/p(z) over the third set.
        third: R, D and C over the third set.
        weight: mass of each particle, shape ``(n,)``.
        generates: whether there is a decoder.
        labels: whether there is a classifier.
    """

    first: Terms
    system: Tensor
    information: Tensor
    third: Terms
    weight: Tensor
    generates: bool
    labels: bool


@torch.no_grad()
def sample_trajectories(
    model: Networks, batch: Batch, samples: int, generator: torch.Generator
) -> Trajectories:
    """Run inference and generation on three independent sets of noise draws.

    Args:
        model: the model.
        batch: the particles; p(z) is the mixture of the encoders of all of them.
        samples: draws of each set for each particle, at least 2; an encoder that is exact has a
            number of its own for R, D and C of the first set.
        generator: source of the noise, on the CPU.

    Returns:
        The draws.

    Raises:
        ConfigError: if the model has no marginal, or there are too few draws.
    """
    marginal = marginal_of(model)
    require(samples >= 2, "samples", samples, "2 or more, so that there is a standard error")
    noise = _fresh_noise(model)
    first, posterior, _ = _run(model, batch, model.noise, samples, generator)
    third, _, z_bath = _run(model, batch, noise, samples, generator)
    z_system = posterior.draw(noise(samples, len(batch.x), generator).double().cpu())
    log_q = marginal.log_prob(z_system.to(model.device, model.dtype))
    log_p = [aggregate_log_prob(posterior, batch.weight, z) for z in (z_system, z_bath)]
    # for codes the plain mean over draws becomes the expectation under e(z|x)
    system = posterior.weigh(log_p[0] - log_q.double().cpu())
    information = posterior.weigh(_log_encoder(posterior, z_bath) - log_p[1])
    if marginal.family is CategoricalPosterior:
        third, system, information = _exact(third), _mean(system), _mean(information)
    return Trajectories(
        _exact(first) if model.encoder.exact else first,
        system,
        information,
        third,
        batch.weight.double().cpu(),
        model.decoder is not None,
        model.classifier is not None,
    )


def energies(trajectories: Trajectories, lam: float, gam: float) -> dict[str, Estimate]:
    """R, D, C and J = R + λD + γC, with their errors over the first noise draws.

    Args:
        trajectories: the draws.
        lam: λ.
        gam: γ.

    Returns:
        By name; D or C is left out where the model does not have that part.
    """
    at = (torch.tensor(value, dtype=torch.float64) for value in (lam, gam))
    values = [*trajectories.first, free_energy(*trajectories.first, *at)]
    present = {"R": True, "D": trajectories.generates, "C": trajectories.labels, "J": True}
    return {
        name: mean_of(value, trajectories.weight)
        for (name, there), value in zip(present.items(), values, strict=True)
        if there
    }


def mean_of(draws: Tensor, weight: Tensor) -> Estimate:
    """The mean over draws and particles.

    Args:
        draws: one value for each draw and particle, float64, shape ``(samples, n)``, or ``(1, n)``
            where they are exact.
        weight: mass of each particle, shape ``(n,)``.

    Returns:
        The mean; its error is over the draws.
    """
    # The draws of a particle are independent and so are the particles', so each has a variance of
    # its own: far better known than the variance of the few means over all particles.
    value = float(weighted_mean(draws.mean(0), weight))
    if len(draws) == 1:
        return Estimate(value, 0.0)
    share = weight / weight.sum()
    return Estimate(value, math.sqrt(share.square() @ draws.var(0) / len(draws)))


def aggregate_log_prob(posterior: Posterior, weight: Tensor, z: Tensor) -> Tensor:
    r"""Log of the aggregate posterior, p(z) = Σ_j w_j e(z|x_j) / Σ_j w_j.

    Args:
        posterior: e(z|x_j) of n particles.
        weight: their masses, shape ``(n,)``.
        z: points, shape ``(..., k)``; for codes one-hot.

    Returns:
        Nats, float64 on the CPU, shape ``(...)``.
    """
    log_weight = weight.double().cpu().log()
    log_weight = log_weight - log_weight.logsumexp(0)
    z = z.double().cpu()
    if isinstance(posterior, CategoricalPosterior):
        log_code = F.log_softmax(posterior.logits.double().cpu(), -1)
        log_p = torch.logsumexp(log_weight[:, None] + log_code, 0)
        return (z * log_p).sum(-1)
    mean, log_var = (part.double().cpu() for part in posterior)
    # log e(z|x_j) = z·m/s² - ½ z²/s² + constant: one matrix product for all pairs
    precision = torch.exp(-log_var)
    slopes = torch.cat([mean * precision, -0.5 * precision], -1)
    constant = -0.5 * (mean.square() * precision + log_var + LOG_2PI).sum(-1) + log_weight
    points = torch.cat([z, z.square()], -1).flatten(0, -2)
    log_p = torch.cat([
        torch.logsumexp(rows @ slopes.T + constant, -1)
        for rows in torch.split(points, max(1, BLOCK // len(mean)))
    ])
    return log_p.reshape(z.shape[:-1])


def _fresh_noise(model: Networks) -> Noise:
    # True draws where z is Gaussian: log p(z) is no polynomial, which a cubature would need.
    if model.encoder.family is CategoricalPosterior:
        return model.noise
    k = model.encoder.latent_dim
    at = torch.zeros(0, device=model.device, dtype=model.dtype)
    return lambda samples, n, generator: torch.randn(samples, n, k, generator=generator).to(at)


def _run(
    model: Networks, batch: Batch, noise: Noise, samples: int, generator: torch.Generator
) -> tuple[Terms, Posterior, Tensor]:
    # R, D, C for each draw, the encoders and z, all in float64 on the CPU
    terms, posteriors, points = [], [], []
    # the sums and cubatures of exact encoders have up to twice as many points as z has entries
    draws = max(samples, 2 * model.encoder.latent_dim if model.encoder.exact else 0)
    for piece in _pieces(batch, draws):
        drawn = noise(samples, len(piece.x), generator)
        outputs = model(piece.x, drawn)
        terms.append(model.draws(outputs, piece.x, piece.y))
        posteriors.append(outputs.posterior)
        points.append(outputs.posterior.draw(drawn))
    family = type(posteriors[0])
    return (
        Terms(*(_joined(parts, 1) for parts in zip(*terms, strict=True))),
        family(*(_joined(parts, 0) for parts in zip(*posteriors, strict=True))),
        _joined(points, 1),
    )


def _pieces(batch: Batch, draws: int) -> Iterator[Batch]:
    rows = max(1, BLOCK // (draws * batch.x[0].numel()))
    yield from map(Batch, *(torch.split(part, rows) for part in batch))


def _joined(parts: tuple[Tensor, ...] | list[Tensor], dim: int) -> Tensor:
    return torch.cat([part.cpu().double() for part in parts], dim)


def _log_encoder(posterior: Posterior, z: Tensor) -> Tensor:
    # log e(z|x) at the draws of each particle, shape (samples, n)
    if isinstance(posterior, CategoricalPosterior):
        return (z * F.log_softmax(posterior.logits, -1)).sum(-1)
    return gaussian_log_prob(z, *posterior)


def _mean(draws: Tensor) -> Tensor:
    return draws.mean(0, keepdim=True)


def _exact(terms: Terms) -> Terms:
    # points of a sum or a cubature are no sample: only their mean means anything
    return Terms(*map(_mean, terms))
