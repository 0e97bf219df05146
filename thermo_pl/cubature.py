"""Points at which expectations under a Gaussian are taken, in place of independent draws."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from scipy.linalg import helmert
from torch import Tensor

from thermo_pl.errors import require


def turned_cubature(n: int, k: int, seed: int, count: int = 1) -> Tensor:
    """Points of equal weight for n standard normals in k dimensions, turned at random for each.

    Each normal has the points ±r e_1 … ±r e_k on two spheres, r² = k ± √(2k), each sphere turned by
    a random rotation of its own. Means over the points of one normal are exact for polynomials of
    degree 3, so for D with a linear decoder and Gaussian pixels, and for |z|⁴; what is left of the
    error of higher moments has no bias and averages out over the n.

    Source: spherical-radial rules with random rotations, Genz & Monahan, "Stochastic integration
    rules for infinite regions", SIAM J. Sci. Comput. 19 (1998); two radii in place of theirs, as
    E|z|² = k and E|z|⁴ = k(k+2) ask for with equal weights.

    Args:
        n: how many normals.
        k: dimensions, 2 or more.
        seed: of the rotations.
        count: independent ones for each normal.

    Returns:
        Float64, shape ``(4k count, n, k)``; the 4k points of one rotation follow each other.

    Raises:
        ConfigError: if k < 2, where the inner radius would be imaginary.
    """
    require(k >= 2, "latent_dim", k, "2 or more, for a cubature on two spheres")
    generator = torch.Generator().manual_seed(seed)
    points = []
    for square in count * (k - math.sqrt(2 * k), k + math.sqrt(2 * k)):
        axes = math.sqrt(square) * _rotations(n, k, generator)
        points += [axes, -axes]
    return torch.cat(points, 1).transpose(0, 1).contiguous()


def _rotations(n: int, k: int, generator: torch.Generator) -> Tensor:
    # uniform over the orthogonal group: signs of the diagonal of R made positive (Mezzadri 2007)
    drawn = torch.randn(n, k, k, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(drawn)
    turned: Tensor = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None]
    return turned


@lru_cache(maxsize=8)
def simplex(k: int) -> Tensor:
    """The fewest points of equal weight with mean zero and unit covariance: a regular simplex.

    Means over them are exact for quadratic functions of a standard normal.

    Args:
        k: dimensions.

    Returns:
        Float64, shape ``(k + 1, k)``; shared between calls, not to be written to.
    """
    return math.sqrt(k + 1) * torch.from_numpy(helmert(k + 1).T.copy())
