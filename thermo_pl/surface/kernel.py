"""Sums of kernels that take given values and gradients at nodes.

The kernel is Matérn's with ν = 5/2, whose functions have a continuous second derivative.

Source: Wendland, "Scattered Data Approximation", 2004, chapter 16 (Hermite-Birkhoff interpolation).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from thermo_pl.errors import DataError

Array = NDArray[np.float64]

WIDTHS = (2.0, 4.0, 8.0, 16.0, 32.0)
"""Widths that are tried, in distances between neighbours."""
NUGGET = 1e-10
"""What is added to the diagonal of the kernel matrix, as a share of it."""


def _pieces(x: Array, y: Array, width: float) -> tuple[Array, Array, Array, Array]:
    # the kernel and its first three derivatives in d = x - y
    d = x[:, None] - y[None]
    rate = math.sqrt(5) / width
    r = np.linalg.norm(d, axis=-1)
    fall, unit = np.exp(-rate * r), np.eye(x.shape[1])
    value = (1 + rate * r + (rate * r) ** 2 / 3) * fall
    first = -(rate**2) / 3 * ((1 + rate * r) * fall)[..., None] * d
    second = -(rate**2) / 3 * fall[..., None, None]
    outer = d[..., :, None] * d[..., None, :]
    second = second * ((1 + rate * r)[..., None, None] * unit - rate**2 * outer)
    turned = np.einsum("...k,ij->...ijk", d, unit)
    turned = turned + np.einsum("...k,ij->...ikj", d, unit) + np.einsum("...k,ij->...kij", d, unit)
    safe = np.where(r > 0, r, 1.0)
    triple = np.einsum("...i,...j,...k->...ijk", d, d, d) / safe[..., None, None, None]
    third = rate**4 / 3 * fall[..., None, None, None] * (turned - rate * triple)
    return value, first, second, third


def _matrix(x: Array, width: float) -> Array:
    # of F and its gradient at all nodes with each other, shape (n (1 + a), n (1 + a))
    n, a = x.shape
    value, first, second, _ = _pieces(x, x, width)
    whole = np.empty((n, 1 + a, n, 1 + a))
    whole[:, 0, :, 0] = value
    whole[:, 0, :, 1:] = -first
    whole[:, 1:, :, 0] = first.transpose(0, 2, 1)
    whole[:, 1:, :, 1:] = -second.transpose(0, 2, 1, 3)
    return whole.reshape(n * (1 + a), n * (1 + a))


def best_weights(x: Array, values: Array) -> tuple[float, Array]:
    """The width that tells each node best from all others, and the weights of the nodes.

    Args:
        x: the nodes, shape ``(n, a)``.
        values: a function and its gradient there, shape ``(n, 1 + a)``.

    Returns:
        The width, by the closed form of leaving one out, and weights, shape ``(n, 1 + a)``.

    Raises:
        DataError: if two nodes lie on each other.
    """
    n, size = values.shape
    found = []
    for width in WIDTHS:
        matrix = _matrix(x, width)
        matrix[np.diag_indices_from(matrix)] *= 1 + NUGGET
        try:
            factor = cho_factor(matrix)
        except np.linalg.LinAlgError:
            continue
        weights = cho_solve(factor, values.ravel()).reshape(n, size)
        inverse = cho_solve(factor, np.eye(n * size)).reshape(n, size, n, size)
        left = [np.linalg.solve(inverse[i, :, i], weights[i])[0] for i in range(n)]
        found.append((float(np.square(left).mean()), width, weights))
    if not found:
        raise DataError("surface: got nodes that lie on each other; allowed: different ones")
    _, width, weights = min(found, key=lambda one: one[0])
    return width, weights


def kernel_sum(x: Array, nodes: Array, weights: Array, width: float) -> tuple[Array, Array, Array]:
    """A sum of kernels and of their slopes.

    Args:
        x: where, shape ``(m, a)``.
        nodes: where the kernels sit, shape ``(n, a)``.
        weights: of each kernel and of its slopes, shape ``(n, 1 + a)``.
        width: of the kernels.

    Returns:
        The sum ``(m,)``, its gradient ``(m, a)`` and its Hessian ``(m, a, a)``.
    """
    value, first, second, third = _pieces(x, nodes, width)
    of_value, of_slope = weights[:, 0], weights[:, 1:]
    total = value @ of_value - np.einsum("mni,ni->m", first, of_slope)
    gradient = np.einsum("mni,n->mi", first, of_value) - np.einsum("mnij,nj->mi", second, of_slope)
    hessian = np.einsum("mnij,n->mij", second, of_value)
    hessian = hessian - np.einsum("mnijk,nk->mij", third, of_slope)
    return total, gradient, hessian
