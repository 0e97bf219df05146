r"""The linear VAE at its optimum, from the eigenvalues of the data's covariance alone.

Encoder N(U x, diag), decoder N(W z, σ² I), marginal N(0, I), k latents, no labels. The minimum of
R + λ D is that of probabilistic PCA; σ² may be given or learned.

Source: Tipping & Bishop, "Probabilistic principal component analysis", 1999; Lucas et al.,
"Don't blame the ELBO!", 2019 (that there are no other minima).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_pl.errors import ConfigError, require
from thermo_pl.exact.modes import active
from thermo_pl.functionals import LOG_2PI


class VAEState(NamedTuple):
    """The minimum of R + λ D: rate, distortion, free energy in nats, number of active latents."""

    R: float
    D: float
    F: float
    active: int


def vae_state(variances: Tensor, lam: float, pixel_variance: float, latent_dim: int) -> VAEState:
    """Equilibrium of the linear VAE, from the eigenvalues τ of the data's covariance.

    Active are the latents i ≤ k with τ_i > σ²/λ. R = Σ_active ½ log(λτ_i/σ²) and
    D = (d/2) log 2πσ² + [n σ²/λ + Σ_inactive τ_i]/(2σ²), n the number of active latents.

    Args:
        variances: τ in any order, shape ``(d,)``.
        lam: λ > 0.
        pixel_variance: σ².
        latent_dim: k.

    Returns:
        R, D, F in nats and the number of active latents.

    Raises:
        ConfigError: if an argument is not allowed.
    """
    tau = _descending(variances)
    _require_vae(lam, latent_dim)
    require(pixel_variance > 0, "pixel_variance", pixel_variance, "a positive number")
    ratio = lam * tau / pixel_variance
    on = active(ratio, latent_dim)
    rate = 0.5 * ratio[on].log().sum()
    left = torch.where(on, pixel_variance / lam, tau).sum()
    log_norm = 0.5 * len(tau) * (LOG_2PI + math.log(pixel_variance))
    distortion = log_norm + left / (2 * pixel_variance)
    free_energy = rate + lam * distortion
    return VAEState(rate.item(), distortion.item(), free_energy.item(), int(on.sum()))


def learned_pixel_variance(variances: Tensor, lam: float, latent_dim: int) -> float:
    r"""The σ² that minimises the free energy of the linear VAE.

    σ² = Σ_inactive τ_i / (d - n/λ). F is convex in log σ²,

      2 ∂F/∂log σ² = λd - Σ_{i≤k} min(1, λτ_i/σ²) - Σ_{i>k} λτ_i/σ²,

    so that one n is consistent with itself and it is the global minimum: latent i ≤ k is active
    if F still rises at σ² = λτ_i. As σ² → 0 the slope tends to λd - rank if k ≥ rank, and to -∞
    otherwise. So if k ≥ rank, where no direction is left to the noise, there is a minimum only if
    λd < rank.

    Args:
        variances: eigenvalues τ of the data's covariance in any order, shape ``(d,)``.
        lam: λ > 0.
        latent_dim: k.

    Returns:
        σ², in squared units of x.

    Raises:
        ConfigError: if an argument is not allowed, or if no single σ² minimises F.
    """
    tau = _descending(variances)
    _require_vae(lam, latent_dim)
    d, rank = len(tau), int((tau > len(tau) * torch.finfo(torch.float64).eps * tau[0]).sum())
    if latent_dim >= rank and lam * d >= rank:
        raise ConfigError(
            f"latent_dim: got {latent_dim} for data of rank {rank} in {d} dimensions at lam={lam}; "
            f"the free energy has no minimum in the pixel variance (it falls, or stays level, "
            f"towards zero); take fewer latents than the rank, lam < {rank / d:.6g}, or a fixed "
            "pixel variance"
        )
    candidates = tau[: min(latent_dim, rank)]
    ratio = tau[:, None] / candidates  # λτ_j/σ² at σ² = λτ_i
    ratio[:latent_dim].clamp_(max=1)
    count = int((lam * d > ratio.sum(0)).sum())
    return (tau[count:].sum() / (d - count / lam)).item()


def _descending(variances: Tensor) -> Tensor:
    tau = variances.double().sort(descending=True).values
    ok = tau.ndim == 1 and len(tau) > 0 and bool(tau.isfinite().all() and (tau >= 0).all())
    require(ok, "variances", variances.tolist(), "a list of numbers, none negative")
    return tau


def _require_vae(lam: float, latent_dim: int) -> None:
    require(0 < lam < math.inf, "lam", lam, "a positive number")
    require(latent_dim >= 1, "latent_dim", latent_dim, "at least 1")
