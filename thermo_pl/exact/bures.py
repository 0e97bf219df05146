"""Optimal transport between Gaussians: distance, map and geodesic of their covariances.

Covariances are float64 tensors of shape ``(d, d)``, symmetric positive definite; the distances
are those of N(m1, S1) and N(m2, S2) for the squared Euclidean cost.

Source: Dowson & Landau, "The Fréchet distance between multivariate normal distributions", 1982
(the distance); Takatsu, "Wasserstein geometry of Gaussian measures", 2011 (map and geodesic).
"""

from __future__ import annotations

import torch
from torch import Tensor

from thermo_pl.errors import DataError, require

SYMMETRY = 1e-10
"""Largest asymmetry that is still taken for rounding, relative to the largest entry."""


def covariance_matrix(matrix: Tensor, name: str, *, singular: bool = False) -> Tensor:
    """The matrix in float64, made exactly symmetric, after a check that it is a covariance.

    Args:
        matrix: shape ``(d, d)``.
        name: what a message calls it.
        singular: whether directions without variance are allowed.

    Returns:
        Shape ``(d, d)``, float64.

    Raises:
        DataError: if it is not a finite symmetric matrix, or not positive (semi)definite.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.isfinite().all():
        got = f"shape {tuple(matrix.shape)}, all finite: {bool(matrix.isfinite().all())}"
        raise DataError(f"{name}: got {got}; a covariance is a finite square matrix")
    matrix = matrix.double()
    asymmetry = (matrix - matrix.T).abs().max()
    if asymmetry > SYMMETRY * matrix.abs().max():
        raise DataError(
            f"{name}: differs from its transpose by {asymmetry:.3g}; a covariance is symmetric; "
            "pass (S + S.T) / 2 if that is meant"
        )
    matrix = (matrix + matrix.T) / 2
    values = torch.linalg.eigvalsh(matrix)
    # eigenvalues are known to this much
    rounding = len(values) * torch.finfo(torch.float64).eps * values.abs().max()
    if values[0] < -rounding if singular else values[0] <= rounding:
        kind = "no negative eigenvalues" if singular else "positive eigenvalues only"
        raise DataError(
            f"{name}: eigenvalues from {values[0]:.3g} to {values[-1]:.3g}; a covariance has "
            f"{kind}; use more samples than dimensions, or add a small multiple of the identity"
        )
    return matrix


def power(matrix: Tensor, exponent: float) -> Tensor:
    """A real power of a symmetric positive definite matrix, by its eigenvectors.

    Args:
        matrix: shape ``(d, d)``, symmetric positive definite.
        exponent: 0.5 for the square root, -0.5 for its inverse.

    Returns:
        Shape ``(d, d)``, symmetric.

    Raises:
        DataError: if the matrix is not symmetric positive definite.
    """
    return _power(covariance_matrix(matrix, "matrix"), exponent)


# The same for a matrix that is known to be good; what rounding made negative counts as zero.
def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    result: Tensor = (vectors * values.clamp_min(0) ** exponent) @ vectors.T
    return result


def wasserstein2_squared(
    s1: Tensor, s2: Tensor, m1: Tensor | None = None, m2: Tensor | None = None
) -> Tensor:
    """Squared 2-Wasserstein distance between N(m1, S1) and N(m2, S2).

    |m1-m2|² + tr(S1 + S2 - 2 (S1^½ S2 S1^½)^½), computed as |m1-m2|² + min over rotations O of
    ‖S1^½ - S2^½ O‖², the same number without the cancellation at small distances.

    Args:
        s1: shape ``(d, d)``.
        s2: shape ``(d, d)``.
        m1: shape ``(d,)``; the origin if left out.
        m2: shape ``(d,)``; the origin if left out.

    Returns:
        A scalar, never negative, in squared units of x.

    Raises:
        DataError: if a covariance is not symmetric positive definite.
        ConfigError: if the sizes differ.
    """
    s1, s2 = _pair(s1, s2)
    origin = torch.zeros(len(s1), dtype=torch.float64)
    m1, m2 = origin if m1 is None else m1.double(), origin if m2 is None else m2.double()
    for name, mean in (("m1", m1), ("m2", m2)):
        require(mean.shape == origin.shape, name, tuple(mean.shape), f"shape {tuple(origin.shape)}")
    root1, root2 = _power(s1, 0.5), _power(s2, 0.5)
    left, _, right = torch.linalg.svd(root2 @ root1)  # the best rotation: orthogonal Procrustes
    moved: Tensor = root1 - root2 @ left @ right
    return (m1 - m2).square().sum() + moved.square().sum()


def transport_map(s1: Tensor, s2: Tensor) -> Tensor:
    """The optimal map x → T x that carries N(0, S1) to N(0, S2).

    T = S1^-½ (S1^½ S2 S1^½)^½ S1^-½: the only symmetric positive definite T with T S1 T = S2.

    Args:
        s1: shape ``(d, d)``.
        s2: shape ``(d, d)``.

    Returns:
        T, shape ``(d, d)``.

    Raises:
        DataError: if a covariance is not symmetric positive definite.
        ConfigError: if the sizes differ.
    """
    s1, s2 = _pair(s1, s2)
    root, inverse = _power(s1, 0.5), _power(s1, -0.5)
    carried = inverse @ _power(root @ s2 @ root, 0.5) @ inverse
    return (carried + carried.T) / 2


def geodesic(s1: Tensor, s2: Tensor, t: float) -> Tensor:
    """Covariance of the displacement interpolation between N(0, S1) and N(0, S2).

    S_t = G S1 G with G = (1-t) I + t T, T the optimal map: W2(S1, S_t) = t W2(S1, S2).

    Args:
        s1: shape ``(d, d)``, at t = 0.
        s2: shape ``(d, d)``, at t = 1.
        t: between 0 and 1.

    Returns:
        Shape ``(d, d)``, symmetric positive definite.

    Raises:
        DataError: if a covariance is not symmetric positive definite.
        ConfigError: if the sizes differ, or t is not between 0 and 1.
    """
    require(0 <= t <= 1, "t", t, "a number from 0 to 1")
    mover = (1 - t) * torch.eye(len(s1), dtype=torch.float64) + t * transport_map(s1, s2)
    moved = mover @ s1.double() @ mover
    return (moved + moved.T) / 2


def _pair(s1: Tensor, s2: Tensor) -> tuple[Tensor, Tensor]:
    s1, s2 = covariance_matrix(s1, "s1"), covariance_matrix(s2, "s2")
    require(s1.shape == s2.shape, "s2", tuple(s2.shape), f"the shape of s1, {tuple(s1.shape)}")
    return s1, s2
