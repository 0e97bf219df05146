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
    """Rate estimated from draws: log e(z|x) - log q(z), whose mean over the draws is the rate.

    Args:
        z: draws from the encoder, shape ``(samples, n, k)``.
        mean: encoder mean, shape ``(n, k)``.
        log_var: encoder log variance, shape ``(n, k)``.
        log_marginal: log q(z), shape ``(samples, n)``.

    Returns:
        Nats, shape ``(samples, n)``.
    """
    return gaussian_log_prob(z, mean, log_var) - log_marginal


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


def gaussian_nll(mean: Tensor, x: Tensor, log_variance: Tensor) -> Tensor:
    """Negative log-likelihood under N(mean, variance), normaliser included.

    Args:
        mean: means, shape ``(samples, n, *shape)``.
        x: what was observed, shape ``(n, *shape)``.
        log_variance: log of the common variance of all entries, 0-dimensional, or of the variance
            of each, shape ``(*shape)``.

    Returns:
        Nats, shape ``(samples, n)``.
    """
    # one pass over the pixels and one back: each further temporary costs as much as the rest
    gaps = F.mse_loss(mean, x.expand_as(mean), reduction="none").flatten(2)
    if log_variance.ndim:
        each = log_variance.flatten().to(gaps)
        return 0.5 * (gaps @ torch.exp(-each) + gaps.shape[-1] * LOG_2PI + each.sum())
    square = gaps.sum(-1) * torch.exp(-log_variance)
    return 0.5 * (square + gaps.shape[-1] * (LOG_2PI + log_variance))


def categorical_nll(logits: Tensor, x: Tensor) -> Tensor:
    """Negative log-likelihood -Σ_i x_i log d_i of one symbol out of several.

    Args:
        logits: scores of the symbols, shape ``(samples, n, *image)``.
        x: one-hot symbols, or their probabilities, shape ``(n, *image)``.

    Returns:
        Nats, shape ``(samples, n)``.
    """
    return cross_entropy(logits.flatten(2), x.flatten(1))


def bernoulli_log_partition(logits: Tensor, power: Tensor) -> Tensor:
    """Log of Σ_x d(x|z)^power over all binary images, Σ_i log[p_i^power + (1-p_i)^power].

    Args:
        logits: log odds, shape ``(m, *image)``.
        power: λ, 0-dimensional.

    Returns:
        Nats, shape ``(m,)``.
    """
    ink, blank = power * F.logsigmoid(logits), power * F.logsigmoid(-logits)
    return torch.logaddexp(ink, blank).flatten(1).sum(-1)


def categorical_log_partition(logits: Tensor, power: Tensor) -> Tensor:
    """Log of Σ_i c_i^power over all symbols.

    Args:
        logits: scores, shape ``(m, symbols)``.
        power: λ or γ, 0-dimensional.

    Returns:
        Nats, shape ``(m,)``.
    """
    return torch.logsumexp(power * F.log_softmax(logits, -1), -1)


def gaussian_log_partition(mean: Tensor, log_variance: Tensor, power: Tensor) -> Tensor:
    """Log of ∫ N(x; mean, variance)^power dx, (d/2)[(1-power) log 2πσ² - log power].

    Args:
        mean: means, shape ``(m, *shape)`` with d entries each; they only count.
        log_variance: log of the common variance, 0-dimensional, or of the variance of each entry,
            shape ``(*shape)``, of which the geometric mean counts.
        power: λ or γ, 0-dimensional; the integral diverges at 0.

    Returns:
        Nats, shape ``(m,)``; infinite at power 0.
    """
    entries = mean[0].numel()
    log_mean = log_variance.mean()
    value = 0.5 * entries * ((1 - power) * (LOG_2PI + log_mean) - torch.log(power))
    return value.to(mean.dtype).expand(len(mean))


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Classification loss -Σ_y p(y|x) log c(y|z).

    Args:
        logits: class scores, shape ``(samples, n, classes)``.
        y: class probabilities p(y|x), shape ``(n, classes)``; they sum to one.

    Returns:
        Nats, shape ``(samples, n)``.
    """
    # log Σ exp less the mean score: half the passes over memory of a log softmax, in any layout
    top = logits.detach().amax(-1, keepdim=True)
    log_sum = (logits - top).exp().sum(-1).log() + top.squeeze(-1)
    return log_sum - (y * logits).sum(-1)


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
