r"""log Z of networks: what normalises q(z) d(x|z)^λ c(y|z)^γ."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from thermo_pl.errors import ConfigError, require
from thermo_pl.estimate import Estimate
from thermo_pl.networks import CategoricalPosterior, Marginal, Networks

BLOCK = 2**22
"""Numbers in a block of work: 32 MiB in float64, and what the layers of a network add to it."""

LARGEST_ERROR = 0.05
"""The largest error of log Z that is believed: 1/error², here 400, is the number of draws that
carry the mean, and the error of fewer comes out too small as well."""


@torch.no_grad()
def log_partition(model: Networks, samples: int, generator: torch.Generator) -> Estimate:
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
    marginal = marginal_of(model)
    require(samples >= 2, "samples", samples, "2 or more, so that there is a standard error")
    z, log_weight = marginal.points(samples, generator)
    z = z.to(model.device, model.dtype)
    size = math.prod(model.encoder.image_shape) if model.decoder else model.encoder.latent_dim
    blocks = torch.split(z, max(1, BLOCK // size))
    log_z = torch.cat([_log_integrals(model, block) for block in blocks])
    # single precision weights sum to one within 1e-7
    log_weight = log_weight.double().cpu().log_softmax(0)
    value = torch.logsumexp(log_z + log_weight, 0)
    if marginal.family is CategoricalPosterior or not value.isfinite():
        return Estimate(float(value), 0.0)
    error = float((log_z - value).exp().std()) / math.sqrt(samples)
    if error < 1e-12:  # all draws say the same but for rounding: Z does not depend on z
        error = 0.0
    return Estimate(float(value), error if error <= LARGEST_ERROR else math.nan)


def marginal_of(model: Networks) -> Marginal:
    """The marginal of a model that must have one.

    Args:
        model: the model.

    Returns:
        q(z).

    Raises:
        ConfigError: if there is none.
    """
    if model.marginal is None:
        raise ConfigError(
            "encoder: got a deterministic one, so that there is no q(z), no rate and no log Z; "
            "allowed: an encoder with noise and a marginal"
        )
    return model.marginal


def _log_integrals(model: Networks, z: Tensor) -> Tensor:
    # log of (∫ d(x|z)^λ dx)(Σ_y c(y|z)^γ) for each z, float64
    value, axes = z.new_zeros(len(z), dtype=torch.float64), model.axes()
    if model.decoder is not None:
        decoded = model.decode(z[None], axes)[0].double()
        value = value + model.decoder.likelihood.log_partition(decoded, model.lam)
    if model.classifier is not None:
        logits = model.classify(z[None], axes)[0].double()
        value = value + model.classifier.log_partition(logits, model.gam)
    return value.cpu()
