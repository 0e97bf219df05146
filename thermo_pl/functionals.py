"""Rate, distortion, classification loss and free energy: per-sample tensors in, nats out.

Pure functions on tensors; nothing here knows of a network or of Lightning. A latent sample
carries a leading axis of ``samples`` noise draws, which the caller averages.

Source: Gao & Chaudhari, "A Free-Energy Principle for Representation Learning", ICML 2020.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LOG_2PI = math.log(2 * math.pi)


def sample_latent(mean: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    """Reparametrised draws z = mean + exp(log_var / 2) noise.

    Args:
        mean: encoder mean, shape ``(n, k)``.
        log_var: encoder log variance, shape ``(n, k)``.
        noise: standard normal draws, shape ``(samples, n, k)``.

    Returns:
        Shape ``(samples, n, k)``.
    """
    return mean + torch.exp(0.5 * log_var) * noise


def gaussian_log_prob(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Log density of a diagonal Gaussian, summed over the last axis.

    Args:
        z: points, shape ``(..., k)``.
        mean: broadcastable to ``z``.
        log_var: broadcastable to ``z``.

    Returns:
        Nats, shape ``(...)``.
    """
    return -0.5 * ((z - mean).square() * torch.exp(-log_var) + log_var + LOG_2PI).sum(-1)


def gaussian_rate(
    mean: Tensor, log_var: Tensor, marginal_mean: Tensor, marginal_log_var: Tensor
) -> Tensor:
    r"""Rate of a diagonal Gaussian encoder against a diagonal Gaussian marginal.

    KL(N(m, s²) ‖ N(a, b²)) = ½ Σ [ (m-a)²/b² + s²/b² - 1 - log s²/b² ].

    Args:
        mean: encoder mean, shape ``(n, k)``.
        log_var: encoder log variance, shape ``(n, k)``.
        marginal_mean: shape ``(k,)``.
        marginal_log_var: shape ``(k,)``.

    Returns:
        Nats, shape ``(n,)``.
    """
    ratio = log_var - marginal_log_var
    shift = (mean - marginal_mean).square() * torch.exp(-marginal_log_var)
    return 0.5 * (shift + torch.exp(ratio) - 1 - ratio).sum(-1)


def monte_carlo_rate(z: Tensor, mean: Tensor, log_var: Tensor, log_marginal: Tensor) -> Tensor:
    """Rate estimated from draws: the mean over samples of log e(z|x) - log q(z).

    Args:
        z: draws from the encoder, shape ``(samples, n, k)``.
        mean: encoder mean, shape ``(n, k)``.
        log_var: encoder log variance, shape ``(n, k)``.
        log_marginal: log q(z), shape ``(samples, n)``.

    Returns:
        Nats, shape ``(n,)``.
    """
    return (gaussian_log_prob(z, mean, log_var) - log_marginal).mean(0)


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """Negative log-likelihood of binary pixels, -Σ [x log p + (1-x) log(1-p)].

    A grey level x in [0, 1] is read as the probability of an ink pixel: the value is then the
    expected NLL of the binarised image, which is normalised.

    Args:
        logits: log odds, shape ``(samples, n, *image)``.
        x: images in [0, 1], shape ``(n, *image)``.

    Returns:
        Nats, shape ``(samples, n)``.
    """
    # softplus(l) - x l is the binary cross-entropy, written so that x may carry a derivative
    return (F.softplus(logits) - x * logits).flatten(2).sum(-1)


def gaussian_nll(mean: Tensor, x: Tensor, variance: float) -> Tensor:
    """Negative log-likelihood of pixels under N(mean, variance), normaliser included.

    Args:
        mean: decoded means, shape ``(samples, n, *image)``.
        x: images, shape ``(n, *image)``.
        variance: fixed variance of a pixel.

    Returns:
        Nats, shape ``(samples, n)``.
    """
    normaliser = LOG_2PI + math.log(variance)
    return 0.5 * ((x - mean).square() / variance + normaliser).flatten(2).sum(-1)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Classification loss -Σ_y p(y|x) log c(y|z).

    Args:
        logits: class scores, shape ``(samples, n, classes)``.
        y: class probabilities p(y|x), shape ``(n, classes)``.

    Returns:
        Nats, shape ``(samples, n)``.
    """
    return -(y * F.log_softmax(logits, -1)).sum(-1)


def free_energy(
    rate: Tensor, distortion: Tensor, classification: Tensor, lam: Tensor, gam: Tensor
) -> Tensor:
    """The objective J = R + λ D + γ C; its minimum over θ is the free energy F(λ, γ).

    Args:
        rate: R, nats.
        distortion: D, nats.
        classification: C, nats.
        lam: λ.
        gam: γ.

    Returns:
        J in nats, of the shape of its terms.
    """
    return rate + lam * distortion + gam * classification
