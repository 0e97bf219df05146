"""Krylov solves on matrix-vector products. Every solve returns a result with a status."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

Matvec = Callable[[Tensor], Tensor]


class Status(StrEnum):
    """How a solve ended; the value is a word for a table."""

    CONVERGED = "converged"
    MAX_ITERATIONS = "max_iterations"
    NEGATIVE_CURVATURE = "negative_curvature"
    NON_FINITE = "non_finite"


REMEDY = {
    Status.CONVERGED: "nothing to do",
    Status.MAX_ITERATIONS: "allow more iterations, a larger tolerance or more damping",
    Status.NEGATIVE_CURVATURE: (
        "raise the damping; take the Gauss-Newton curvature, and a standard normal marginal: "
        "with a learned one even Gauss-Newton can be indefinite"
    ),
    Status.NON_FINITE: "lower the step size or the learning rate: the model has diverged",
}


@dataclass(frozen=True)
class Solution:
    """Result of a solve for several right-hand sides.

    Attributes:
        x: solutions, shape ``(rhs, p)``.
        status: the worst status of the right-hand sides.
        iterations: products with the matrix, all right-hand sides counting as one.
        residual: relative residual of each right-hand side, shape ``(rhs,)``.
    """

    x: Tensor
    status: Status
    iterations: int
    residual: Tensor

    @property
    def message(self) -> str:
        """What happened and what to do, in one line."""
        worst = self.residual.max().item()
        return (
            f"{self.status} after {self.iterations} iterations, relative residual {worst:.1e}: "
            f"{REMEDY[self.status]}"
        )


def conjugate_gradient(
    matvec: Matvec, rhs: Tensor, tolerance: float, max_iterations: int
) -> Solution:
    """Conjugate gradients on a symmetric positive definite matrix, all columns together.

    Each right-hand side has its own coefficients; they share the products, which is where the
    time goes. A right-hand side that has converged, or has met a direction of negative
    curvature, stops moving at its last good iterate. From a zero start, null directions of the
    matrix do no harm, as long as the right-hand side has no part in them.

    Source: Hestenes & Stiefel 1952; the exit as in Nocedal & Wright 2006, algorithm 7.1.

    Args:
        matvec: products with the matrix, ``(rhs, p) -> (rhs, p)``.
        rhs: right-hand sides, shape ``(rhs, p)``.
        tolerance: relative residual to reach.
        max_iterations: products to spend at most.

    Returns:
        The solution and how it was reached.
    """
    scale = rhs.norm(dim=1).clamp_min(torch.finfo(rhs.dtype).tiny)
    x = torch.zeros_like(rhs)
    residual = rhs.clone()
    direction = residual.clone()
    squared = residual.square().sum(1)
    negative = torch.zeros_like(squared, dtype=torch.bool)
    iterations = 0
    for iterations in range(max_iterations + 1):
        active = ~negative & (squared.sqrt() > tolerance * scale)
        if iterations == max_iterations or not active.any() or not squared.isfinite().all():
            break
        product = matvec(direction)
        curvature = (direction * product).sum(1)
        negative |= active & (curvature <= 0)
        active &= ~negative
        alpha = torch.where(active, squared / curvature, 0.0)
        x += alpha[:, None] * direction
        residual -= alpha[:, None] * product
        before, squared = squared, residual.square().sum(1)
        beta = torch.where(active, squared / before, 0.0)
        direction = torch.where(active[:, None], residual + beta[:, None] * direction, direction)
    relative = squared.sqrt() / scale
    return Solution(x, _status(relative, negative, tolerance), iterations, relative)


def _status(relative: Tensor, negative: Tensor, tolerance: float) -> Status:
    if not relative.isfinite().all():
        return Status.NON_FINITE
    if negative.any():
        return Status.NEGATIVE_CURVATURE
    return Status.CONVERGED if (relative <= tolerance).all() else Status.MAX_ITERATIONS
