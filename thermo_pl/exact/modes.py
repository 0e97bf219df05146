r"""Eigenvalues of a linear-Gaussian model: which latents carry something, and what F feels of them.

The equilibrium of such a model follows from the eigenpairs of M = λ M_λ + γ M_γ; see
:mod:`thermo_pl.exact.gaussian`. A latent i ≤ k is *active* if its eigenvalue ν_i exceeds one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Modes(NamedTuple):
    """M at one point of the surface, in its eigenbasis u_i, where M = diag(values).

    Attributes:
        values: the eigenvalues ν_i in descending order, shape ``(d,)``.
        active: which latents carry something, shape ``(d,)``.
        vectors: the columns v_i = L u_i with S = L Lᵀ, shape ``(d, d)``.
        pixels: M_λ, shape ``(d, d)``.
        labels: M_γ, shape ``(d, d)``.
        pixels_moving: derivative of M_λ in t, shape ``(d, d)``.
        labels_moving: derivative of M_γ in t, shape ``(d, d)``.
    """

    values: Tensor
    active: Tensor
    vectors: Tensor
    pixels: Tensor
    labels: Tensor
    pixels_moving: Tensor
    labels_moving: Tensor

    @property
    def left(self) -> Tensor:
        """g_i, the share of its variance that a latent leaves unexplained, shape ``(d,)``."""
        return torch.where(self.active, 1 / self.values, 1.0)


def active(values: Tensor, latent_dim: int) -> Tensor:
    """Which latents carry something: the first k, where the eigenvalue exceeds one.

    Args:
        values: eigenvalues in descending order, shape ``(d,)``.
        latent_dim: k.

    Returns:
        Shape ``(d,)``, boolean.
    """
    return (values > 1) & (torch.arange(len(values)) < latent_dim)


def curvature(modes: Modes) -> Tensor:
    """Γ_ij, the second divided differences of F in the eigenvalues of M.

    -1/(2ν_iν_j) for two active latents, 0 for two inactive ones, (1/ν_i - 1)/(2(ν_i - ν_j)) for
    an active i and an inactive j.

    Args:
        modes: the eigenbasis of M.

    Returns:
        Shape ``(d, d)``, symmetric.
    """
    active, inverse = modes.active, 1 / modes.values
    both = active[:, None] & active
    one = active[:, None] ^ active
    gap = modes.values[:, None] - modes.values
    mixed = 0.5 * (modes.left[:, None] - modes.left) / torch.where(one, gap, 1.0)
    return torch.where(both, -0.5 * inverse[:, None] * inverse, torch.where(one, mixed, 0.0))
