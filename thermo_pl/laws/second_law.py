r"""The second law and the entropy production of networks: log Z, H of the data, σ and its split.

Pure functions on a model and a batch, in nats; sums are in float64 and memory is bounded. What is
random is the noise of the encoder and the draws from q(z), each with a standard error; the
particles are given. A representation of codes is summed over, without any error.

Sources: Gao & Chaudhari, "A Free-Energy Principle for Representation Learning", ICML 2020, for the
second law; Ito, Oizumi & Amari, "Unified framework for the entropy production and the stochastic
interaction based on information geometry", 2020, for the entropy production.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from thermo_pl.errors import ConfigError, DataError, require
from thermo_pl.exact.distributions import discrete_entropy
from thermo_pl.functionals import LOG_2PI, free_energy, gaussian_log_prob
from thermo_pl.laws.checks import Check, judge
from thermo_pl.laws.data_entropy import binarised_entropy, joint_knn_entropy, knn_entropy
from thermo_pl.laws.path_laws import ROUNDING, second_law, second_law_without_log_z
from thermo_pl.module import FreeEnergyModel, Terms
from thermo_pl.networks import (
    Bernoulli,
    Categorical,
    CategoricalPosterior,
    Gaussian,
    Marginal,
    Posterior,
)
from thermo_pl.particles import Batch, weighted_mean

BLOCK = 2**22
"""Numbers in a block of work: 32 MiB in float64, and what the layers of a network add to it."""

LARGEST_ERROR = 0.05
"""The largest error of log Z that is believed: 1/error², here 400, is the number of draws that
carry the mean, and the error of fewer comes out too small as well."""

NEIGHBOUR = 3
"""Which neighbour the entropy of a density is estimated by."""

Noise = Callable[[int, int, torch.Generator], Tensor]
Estimate = tuple[float, float, str]


@dataclass(frozen=True)
class Measured:
    """A number with its standard error.

    Attributes:
        value: nats.
        error: its standard error; 0 where it is exact, nan where it is not known.
    """

    value: float
    error: float


@dataclass(frozen=True)
class DataEntropy:
    """Entropy of the data that a model is measured on.

    Attributes:
        symbol: what it is the entropy of, such as "H(x, y)".
        value: nats; nan where it is not known.
        error: standard error; 0 where it is exact, nan where it is not known.
        method: what it is and how it was found, in words.
        of_particles: whether the particles at hand are the whole distribution, and not a sample
            of it. Only then is the mixture of their encoders the p(z) that belongs to it.
    """

    symbol: str
    value: float
    error: float
    method: str
    of_particles: bool


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

    total: Measured
    system: Measured
    bath: Measured
    work: Measured
    free_energy_change: Measured
    discrepancy: Measured


@torch.no_grad()
def log_partition(model: FreeEnergyModel, samples: int, generator: torch.Generator) -> Measured:
    r"""Log Z(λ, γ) = log ∫ q(z) (∫ d(x|z)^λ dx) (Σ_y c(y|z)^γ) dz, at the model's λ and γ.

    The integrals over x and y are closed forms; that over z is a mean over draws from q(z), or
    the sum over all codes. The error is that of the logarithm of this mean to first order (the
    delta method). Far from λ = γ = 1 few of the draws carry the mean, and the value comes out too
    low by an unknown amount: above :data:`LARGEST_ERROR` the error is nan. A part that the model
    does not have contributes nothing.

    Args:
        model: the model.
        samples: draws from q(z), at least 2.
        generator: source of the draws, on the CPU.

    Returns:
        Nats; infinite where an integral diverges (λ = 0 with Gaussian pixels, γ = 0 with label
        vectors).

    Raises:
        ConfigError: if the model has no marginal, or there are too few draws.
    """
    marginal = _marginal(model)
    require(samples >= 2, "samples", samples, "2 or more, so that there is a standard error")
    z, log_weight = marginal.points(samples, generator)
    z = z.to(model.device, cast(torch.dtype, model.dtype))
    size = math.prod(model.encoder.image_shape) if model.decoder else model.encoder.latent_dim
    blocks = torch.split(z, max(1, BLOCK // size))
    log_z = torch.cat([_log_integrals(model, block) for block in blocks])
    # single precision weights sum to one within 1e-7
    log_weight = log_weight.double().cpu().log_softmax(0)
    value = torch.logsumexp(log_z + log_weight, 0)
    if marginal.family is CategoricalPosterior or not value.isfinite():
        return Measured(float(value), 0.0)
    error = float((log_z - value).exp().std()) / math.sqrt(samples)
    if error < 1e-12:  # all draws say the same but for rounding: Z does not depend on z
        error = 0.0
    return Measured(float(value), error if error <= LARGEST_ERROR else math.nan)


def data_entropy(
    model: FreeEnergyModel,
    batch: Batch,
    labels: bool,
    generator: torch.Generator,
    known: float | None = None,
) -> DataEntropy:
    r"""H of the data, of the kind that goes with the model's likelihood.

    - Bernoulli pixels: :func:`~thermo_pl.laws.data_entropy.binarised_entropy`, the entropy of the
      mixture of the binarised images, which is what D is a cross-entropy of.
    - One symbol out of several: that of Σ_j w_j p_j(x) p_j(y), exactly.
    - Gaussian pixels: the estimate of Kozachenko and Leonenko for a density, which is biased, with
      no error known; particles at the same place count once, and masses do not count. Labels that
      are certain enter through the entropy inside each class, others as H(x) + E H(p(y|x)).
    - No decoder: only labels are generated, so it is H(y), exactly.

    Args:
        model: the model.
        batch: the particles.
        labels: whether it is that of (x, y); without a decoder it must be.
        generator: source of Monte Carlo draws, on the CPU.
        known: the value, if the data know it; it wins.

    Returns:
        The entropy; nan, with the reason in its method, where it cannot be told.

    Raises:
        ConfigError: if there is neither a decoder nor labels, or a grey level is not in [0, 1].
    """
    require(
        labels or model.decoder is not None,
        "labels",
        labels,
        "true, as the model has no decoder: it generates labels only",
    )
    symbol = "H(y)" if model.decoder is None else "H(x, y)" if labels else "H(x)"
    likelihood = None if model.decoder is None else model.decoder.likelihood
    batch = Batch(*(part.double().cpu() for part in batch))
    if known is not None and model.decoder is not None:
        # the particles are the whole distribution if they have its entropy
        whole = isinstance(likelihood, Categorical) and math.isclose(
            _symbols(batch, labels, generator)[0], known, rel_tol=ROUNDING
        )
        return DataEntropy(symbol, known, 0.0, "known exactly", whole)
    value = error = math.nan
    if labels and model.classifier is not None and not model.classifier.categorical:
        method = "not known: the labels are vectors"
    elif (estimate := ESTIMATES.get(type(likelihood))) is None:
        method = f"not known: no estimate goes with {type(likelihood).__name__} pixels"
    else:
        try:
            value, error, method = estimate(batch, labels, generator)
        except DataError as reason:
            method = f"not known: {reason}"
    return DataEntropy(symbol, value, error, method, not isinstance(likelihood, Gaussian))


@torch.no_grad()
def sample_trajectories(
    model: FreeEnergyModel, batch: Batch, samples: int, generator: torch.Generator
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
    marginal = _marginal(model)
    require(samples >= 2, "samples", samples, "2 or more, so that there is a standard error")
    noise = _fresh_noise(model)
    first, posterior, _ = _run(model, batch, model.noise, samples, generator)
    third, _, z_bath = _run(model, batch, noise, samples, generator)
    z_system = posterior.draw(noise(samples, len(batch.x), generator).double().cpu())
    log_q = marginal.log_prob(z_system.to(model.device, cast(torch.dtype, model.dtype)))
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


def energies(trajectories: Trajectories, lam: float, gam: float) -> dict[str, Measured]:
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
        name: _measured(value, trajectories.weight)
        for (name, there), value in zip(present.items(), values, strict=True)
        if there
    }


def production(trajectories: Trajectories, entropy: DataEntropy, labels: bool) -> Production:
    r"""Entropy production of a network, which is that of λ = 1 whatever the model's λ and γ.

    The whole system, without labels: forward p(s) = e(z|x) p(x), backward q(s) = d(x|z) q(z). With
    labels, forward e(z|x) p(y|x) p(x) and backward d(x|z) c(y|z) q(z): y is reached from x on the
    way there and from z on the way back, so this is the entropy production of a subsystem. For
    the split and its meaning see :func:`thermo_pl.laws.production.entropy_production`; here
    p(z) = Σ_j w_j e(z|x_j) is the aggregate posterior of the particles.

    **Grey images.** A Bernoulli decoder generates black and white images b, while the encoder is
    shown the grey image g whose levels are the probabilities of ink. So s = (g, b, z), and

    - forward p(s) = p(g) p(b|g) e(z|g), with p(g) = w_g and p(b|g) the binarisation,
    - backward q(s) = q(z) d(b|z) p(g|b), completed by the true p(g|b) = p(g) p(b|g) / p(b).

    Both are normalised, and in their ratio p(g) p(b|g) / p(g|b) = p(b), so that

    KL(p(s) ‖ q(s)) = E log [e(z|g)/q(z)] - E log d(b|z) + E log p(b) = R + D - H(b) ≥ 0

    with D the expected NLL of the binarised image and H(b) the entropy of the binarised mixture:
    the D of this library and the H of :func:`data_entropy`. With labels b becomes (b, y), as y is
    drawn from g alone. The projection on {q free} is q*(s) = p(z) d(b|z) p(g|b), as before. The
    same holds with powers, q(s) = q(z) d^λ c^γ p(g|b, y) / Z: it is the second law.

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
    cost = _measured(rate + sum(losses[:used]), weight)
    system = _measured(trajectories.system, weight)
    bath = _measured(trajectories.information + sum(third[:used]), weight)
    split = 0.0 if entropy.of_particles else math.nan
    return Production(
        total=Measured(cost.value - entropy.value, math.hypot(cost.error, entropy.error)),
        system=Measured(system.value, system.error + split),
        bath=Measured(bath.value - entropy.value, math.hypot(bath.error, entropy.error) + split),
        work=Measured(-entropy.value, entropy.error),
        free_energy_change=Measured(-cost.value, cost.error),
        discrepancy=Measured(
            cost.value - system.value - bath.value,
            math.hypot(cost.error, system.error, bath.error),
        ),
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


def _marginal(model: FreeEnergyModel) -> Marginal:
    if model.marginal is None:
        raise ConfigError(
            "encoder: got a deterministic one, so that there is no q(z), no rate and no log Z; "
            "allowed: an encoder with noise and a marginal"
        )
    return model.marginal


def _log_integrals(model: FreeEnergyModel, z: Tensor) -> Tensor:
    # log of (∫ d(x|z)^λ dx)(Σ_y c(y|z)^γ) for each z, float64
    value, axes = z.new_zeros(len(z), dtype=torch.float64), model.axes()
    if model.decoder is not None:
        decoded = model.decode(z[None], axes)[0].double()
        value = value + model.decoder.likelihood.log_partition(decoded, model.lam)
    if model.classifier is not None:
        logits = model.classify(z[None], axes)[0].double()
        value = value + model.classifier.log_partition(logits, model.gam)
    return value.cpu()


def _labels_alone(batch: Batch, labels: bool, generator: torch.Generator) -> Estimate:
    return float(discrete_entropy(_share(batch) @ _labels(batch))), 0.0, "labels alone, exact"


def _symbols(batch: Batch, labels: bool, generator: torch.Generator) -> Estimate:
    y = _labels(batch) if labels else torch.ones(len(batch.y), 1).double()
    joint = (batch.weight[:, None] * batch.x.flatten(1)).T @ y
    return float(discrete_entropy(joint.flatten() / joint.sum())), 0.0, "symbols, exact"


def _binarised(batch: Batch, labels: bool, generator: torch.Generator) -> Estimate:
    grey = batch.x.clamp(0, 1)
    # interpolation in single precision may step over the edge, but no further
    grey = torch.where((grey - batch.x).abs() < 1e-6, grey, batch.x)
    # as many draws as take a second or so; the noise is small beside that of the encoder
    draws = int(min(64, max(2, 1e10 // (2 * len(grey) * grey.numel()))))
    y = _labels(batch) if labels else None
    value, error = binarised_entropy(grey, y, batch.weight, generator, draws)
    return value, error, "binarised images, Monte Carlo"


def _density(batch: Batch, labels: bool, generator: torch.Generator) -> Estimate:
    x, y = batch.x.flatten(1), _labels(batch)
    certain = bool(((y == 0) | (y == 1)).all())
    if labels and certain:
        rows = torch.unique(torch.cat([x, y], -1), dim=0)
        x, y = torch.split(rows, [x.shape[1], y.shape[1]], -1)
        value = joint_knn_entropy(x, y.argmax(-1), NEIGHBOUR)
    else:
        value = knn_entropy(torch.unique(x, dim=0), NEIGHBOUR)
        value += float(_share(batch) @ discrete_entropy(y)) if labels else 0.0
    return value, math.nan, f"density by neighbour {NEIGHBOUR} (Kozachenko-Leonenko), biased"


def _share(batch: Batch) -> Tensor:
    return batch.weight / batch.weight.sum()


def _labels(batch: Batch) -> Tensor:
    # single precision sums to one within 1e-7
    return batch.y / batch.y.sum(-1, keepdim=True)


ESTIMATES: dict[type, Callable[[Batch, bool, torch.Generator], Estimate]] = {
    type(None): _labels_alone,
    Bernoulli: _binarised,
    Categorical: _symbols,
    Gaussian: _density,
}
"""How H is found for each likelihood, from a batch in float64: value, error and method."""


def _fresh_noise(model: FreeEnergyModel) -> Noise:
    # True draws where z is Gaussian: log p(z) is no polynomial, which a cubature would need.
    if model.encoder.family is CategoricalPosterior:
        return model.noise
    k = model.encoder.latent_dim
    at = torch.zeros(0, device=model.device, dtype=cast(torch.dtype, model.dtype))
    return lambda samples, n, generator: torch.randn(samples, n, k, generator=generator).to(at)


def _run(
    model: FreeEnergyModel, batch: Batch, noise: Noise, samples: int, generator: torch.Generator
) -> tuple[Terms, Posterior, Tensor]:
    # R, D, C for each draw, the encoders and z, all in float64 on the CPU
    terms, posteriors, points = [], [], []
    # the sums and cubatures of exact encoders have up to twice as many points as z has entries
    draws = max(samples, 2 * model.encoder.latent_dim if model.encoder.exact else 0)
    for piece in _pieces(batch, draws):
        outputs = model(piece.x, noise(samples, len(piece.x), generator))
        terms.append(model.draws(outputs, piece.x, piece.y))
        posteriors.append(outputs.posterior)
        points.append(outputs.z)
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


def _measured(draws: Tensor, weight: Tensor) -> Measured:
    # The draws of a particle are independent and so are the particles', so each has a variance of
    # its own: far better known than the variance of the few means over all particles.
    value = float(weighted_mean(draws.mean(0), weight))
    if len(draws) == 1:
        return Measured(value, 0.0)
    share = weight / weight.sum()
    return Measured(value, math.sqrt(share.square() @ draws.var(0) / len(draws)))


def second_law_checks(entropy: DataEntropy, energy: Measured, log_z: Measured) -> list[Check]:
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
    known = entropy.value, entropy.error, energy.value, energy.error, log_z.value, log_z.error
    short = second_law_without_log_z(*known)
    return [second_law(*known), short] if math.isfinite(log_z.value) else [short]
