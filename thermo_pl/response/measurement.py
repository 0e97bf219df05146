"""R, D, C and J measured on a frozen probe, with their errors, and the work between two states.

All of it keeps the noise draws apart: as the probe stays the same along a path, the noise of a
difference is that of the draws' differences (common random numbers), and far smaller than the
noise of its ends. Expectations over few draws (R and D, which need the decoder) and over many (C,
which does not, and has a heavy tail) are kept side by side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thermo_pl.estimate import Estimate
from thermo_pl.networks import DiagonalGaussian, Networks, StandardNormal
from thermo_pl.particles import ALONE, Batch, Reduction, interpolate, weighted_mean
from thermo_pl.response.objective import Objective, Probe, with_t_derivative

NOTHING = torch.zeros(1, dtype=torch.float64)
"""The mean over draws of a term that is not there."""

DRAWS_AT_ONCE = 64
"""Noise draws on which C is taken at a time."""
PARTICLES_AT_ONCE = 256
"""Particles that are run at a time: a convolution on 8,192 takes five times as long for each."""
DECODED = 8
"""Noise draws that are decoded: D needs fewer than C."""
ENOUGH = 65_536
"""Decoded images beyond which more noise draws are not worth their time."""
WHOLE = 4 * ENOUGH
"""Decoded images beyond which one point of a rotation of the cubature stands for all of them."""


@dataclass(frozen=True)
class Measurement:
    """A state on the surface as measured on a probe.

    Attributes:
        rate: R in nats.
        distortion: D.
        classification: C.
        lam: λ.
        gam: γ.
        t: domain coordinate.
    """

    rate: Estimate
    distortion: Estimate
    classification: Estimate
    lam: float
    gam: float
    t: float

    @property
    def free_energy(self) -> Estimate:
        """J = R + λD + γC; F at equilibrium."""
        return self.rate + self.lam * self.distortion + self.gam * self.classification

    @property
    def finite(self) -> bool:
        """Whether R, D and C are finite numbers."""
        return all(
            math.isfinite(x.value) for x in (self.rate, self.distortion, self.classification)
        )


def measure(model: Networks, probe: Probe, t: float, decoded: int) -> Measurement:
    """Measure a model on a probe.

    Args:
        model: the model, at its λ and γ.
        probe: particles and noise.
        t: domain coordinate.
        decoded: noise draws that R and D are taken on, unless they are exact; C is taken on all
            of them.

    Returns:
        The measurement.
    """
    few = Objective(model, _decoded(model, probe, decoded))
    with torch.no_grad():
        rate, distortion, _ = probe.shared.sum(_draws(few, few.theta, t))
    return Measurement(
        Estimate.of_draws(_collapsed(model, few.probe, rate), NOTHING),
        Estimate.of_draws(_collapsed(model, few.probe, distortion), NOTHING),
        Estimate.of_draws(NOTHING, classification_draws(model, probe, t)),
        float(model.lam),
        float(model.gam),
        t,
    )


@torch.no_grad()
def distortion(model: Networks, probe: Probe, t: float, decoded: int) -> float:
    """D on some noise draws of a probe.

    Args:
        model: the model.
        probe: particles and noise.
        t: domain coordinate.
        decoded: noise draws to take it on, unless it is exact.

    Returns:
        Nats.
    """
    few = Objective(model, _decoded(model, probe, decoded))
    return float(probe.shared.sum(_draws(few, few.theta, t))[1].mean())


def data_force(model: Networks, probe: Probe, t: float, decoded: int) -> Estimate:
    """∂_tJ at fixed θ, λ, γ; on the surface this is ∂_tF (envelope theorem).

    Args:
        model: the model, at its λ and γ.
        probe: particles and noise.
        t: domain coordinate.
        decoded: noise draws to take it on, unless it is exact.

    Returns:
        Nats per unit of t.
    """
    objective = Objective(model, _decoded(model, probe, decoded))
    with torch.no_grad():
        slopes = with_t_derivative(lambda s: _draws(objective, objective.theta, s), t)[1]
    forces = objective.weights.cpu() @ probe.shared.sum(slopes)
    return Estimate.of_draws(_collapsed(model, objective.probe, forces), NOTHING)


def first_law(
    before: Measurement, after: Measurement, force_before: Estimate, force_after: Estimate
) -> Estimate:
    """ΔR + λΔD + γΔC - ∫∂_tF dt with its error; see ``path.first_law_residual``.

    Args:
        before: the state at the start of the step.
        after: the state at its end, on the same probe.
        force_before: ∂_tF at the start.
        force_after: ∂_tF at the end.

    Returns:
        Nats.
    """
    lam, gam = (before.lam + after.lam) / 2, (before.gam + after.gam) / 2
    control = (
        (after.rate - before.rate)
        + lam * (after.distortion - before.distortion)
        + gam * (after.classification - before.classification)
    )
    return control - (after.t - before.t) / 2 * (force_before + force_after)


@torch.no_grad()
def classification_draws(model: Networks, probe: Probe, t: float) -> Tensor:
    """C for each independent draw, without running the decoder; many draws are cheap this way.

    Args:
        model: the model; without a classifier C is 0.
        probe: particles and noise.
        t: domain coordinate.

    Returns:
        Nats, float64, shape ``(samples / probe.points,)``; their mean is C.
    """
    if model.classifier is None:
        return NOTHING
    # in pieces that fit the cache: a third faster, and memory does not grow with the draws
    size = len(probe.noise) if model.encoder.exact else DRAWS_AT_ONCE
    axes = model.axes()
    total = torch.zeros(len(probe.noise), dtype=torch.float64)
    for start in range(0, len(probe.particles.weight), PARTICLES_AT_ONCE):
        part = probe.take(slice(start, start + PARTICLES_AT_ONCE))
        batch = interpolate(part.particles, t)
        posterior = model.encode(batch.x, axes)
        sums = []
        for noise in torch.split(part.noise, size):
            logits = model.logits(posterior, noise, axes)
            loss = posterior.weigh(model.classifier.nll(logits, batch.y))
            sums.append(loss @ batch.weight)
        total += torch.cat(sums).double().cpu()
    return _collapsed(model, probe, probe.shared.sum(total) / float(probe.mass))


@torch.no_grad()
def accuracy(model: Networks, batch: Batch, shared: Reduction = ALONE) -> float:
    """Share of the mass that is classified right at the encoder's mean.

    Args:
        model: the model, with a classifier of classes.
        batch: samples.
        shared: adds up over the ranks, of which each has some of the samples.

    Returns:
        A number in [0, 1].
    """
    parts = torch.split(batch.x.to(model.device, model.dtype), PARTICLES_AT_ONCE)
    named = torch.cat([model.predict(x).probabilities.argmax(-1) for x in parts])
    right = (named.to(batch.y.device) == batch.y.argmax(-1)).to(batch.weight)
    return float(shared.sum((right * batch.weight).sum()) / shared.sum(batch.weight.sum()))


@torch.no_grad()
def latents_in_use(model: Networks, probe: Probe, t: float) -> float:
    """Axes of z, or codes, that tell the particles apart.

    Args:
        model: the model.
        probe: particles; its noise is not used.
        t: domain coordinate.

    Returns:
        The number, see :meth:`thermo_pl.networks.GaussianPosterior.in_use`.
    """
    batch = interpolate(probe.particles, t)
    axes = model.axes()
    parts = [model.encode(x, axes) for x in torch.split(batch.x, PARTICLES_AT_ONCE)]
    whole = type(parts[0])(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
    return whole.in_use(batch.weight, probe.shared)


@torch.no_grad()
def latent_rates(model: Networks, batch: Batch) -> list[float]:
    """The rate of each axis of z, relative to the marginal; they add up to R.

    Args:
        model: the model.
        batch: samples.

    Returns:
        Nats, one for each axis, the largest first; nothing where z is not Gaussian, or its rate is
        no sum over the axes.
    """
    marginal, axes, rates = model.marginal, model.axes(), []
    if not isinstance(marginal, StandardNormal | DiagonalGaussian):
        return []
    own = dict(marginal.named_parameters())
    for x in torch.split(batch.x.to(model.device, model.dtype), PARTICLES_AT_ONCE):
        posterior: Any = model.encode(x, axes)
        relative = marginal.whiten(posterior, own)
        spread = relative.log_var.exp() - relative.log_var - 1
        rates.append(0.5 * (relative.mean.square() + spread))
    mean = weighted_mean(torch.cat(rates).T, batch.weight.to(model.device, model.dtype))
    return sorted((float(rate) for rate in mean), reverse=True)


def few_draws(probe: Probe, count: int) -> Probe:
    """The probe with its first independent noise draws only.

    Args:
        probe: particles and noise.
        count: draws to keep; the points of a rotation of the cubature are one.

    Returns:
        The smaller probe. Where two whole rotations are too much to decode, it has the first point
        of each rotation: as the rotation is random, that is an independent normal draw.
    """
    few = probe.noise[: count * probe.points]
    if _whole(probe):
        return probe._replace(noise=few)
    return probe._replace(noise=few[:: probe.points], points=1)


def draws_to_decode(probe: Probe) -> int:
    """How many of a probe's noise draws R and D are best taken on.

    Args:
        probe: particles and noise.

    Returns:
        8, and fewer for a probe of many particles, but two, so that an error is known.
    """
    points = probe.points if _whole(probe) else 1
    return max(2, min(DECODED, ENOUGH // (points * probe.size)))


def _whole(probe: Probe) -> bool:
    # whether two rotations of a cubature can be decoded with all their points
    return 2 * probe.points * probe.size <= WHOLE or probe.points == 1


def _decoded(model: Networks, probe: Probe, count: int) -> Probe:
    # of an exact encoder none is left out: without some of them nothing is exact
    return probe if model.encoder.exact else few_draws(probe, count)


def _draws(objective: Objective, theta: Tensor, t: float | Tensor) -> Tensor:
    # R, D and C for each noise draw, shape (3, samples); of a shared probe the part of this rank
    sums = []
    for part in objective.parts(PARTICLES_AT_ONCE):
        batch = interpolate(part.probe.particles, t)
        terms = objective.model.draws(part.outputs(theta, t), batch.x, batch.y)
        sums.append(((torch.stack(terms) * batch.weight).sum(-1) / part.mass).double().cpu())
    return torch.stack(sums).sum(0)


def _collapsed(model: Networks, probe: Probe, draws: Tensor) -> Tensor:
    # the points of a cubature are no sample: only their mean means anything
    points = draws.shape[-1] if model.encoder.exact else probe.points
    return draws.reshape(*draws.shape[:-1], -1, points).mean(-1)
