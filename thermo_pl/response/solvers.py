"""Krylov and dense solves on matrix-vector products. Every solve returns a result with a status."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from scipy.linalg import eigvalsh_tridiagonal
from torch import Tensor

from thermo_pl.errors import require

Matvec = Callable[[Tensor], Tensor]

ROUNDING = 1e-12
"""Beside the largest right-hand side, a smaller residual than this share of it is rounding."""
DENSE_LIMIT = 4096
"""Largest matrix that is written out: 128 MiB in float64."""
DENSE_ROWS = 256
"""Products that are taken at once to write a matrix out."""
DELAY = 5
"""Iterations over which it is seen what an energy still grows by."""


class Status(StrEnum):
    """How a solve ended; the value is a word for a table."""

    CONVERGED = "converged"
    MAX_ITERATIONS = "max_iterations"
    NEGATIVE_CURVATURE = "negative_curvature"
    SINGULAR = "singular"
    NON_FINITE = "non_finite"


REMEDY = {
    Status.CONVERGED: "nothing to do",
    Status.MAX_ITERATIONS: "allow more iterations, a larger tolerance or more damping",
    Status.NEGATIVE_CURVATURE: (
        "raise the damping, or take the Gauss-Newton curvature; with a mixture marginal, a learned "
        "pixel variance or a sum over codes even that can be indefinite"
    ),
    Status.SINGULAR: "raise the damping: the right-hand side has a part in the null space",
    Status.NON_FINITE: "lower the step size or the learning rate: the model has diverged",
}


@dataclass(frozen=True)
class Solution:
    """Result of a solve for several right-hand sides.

    Attributes:
        x: solutions, shape ``(rhs, p)``.
        status: the worst status of the right-hand sides.
        iterations: products with the matrix, all right-hand sides counting as one; rows of the
            matrix in a dense solve.
        residual: relative residual of each right-hand side, shape ``(rhs,)``. It is relative to
            the right-hand side, or to 1e-12/tolerance of the largest one if that is more: a
            right-hand side that is rounding beside the others counts as solved. Where the energy
            of a solution was asked for and settled first, the share by which it still grew.
        lowest: smallest Ritz value met, over all right-hand sides: from above, the smallest
            eigenvalue of the matrix that they can see; the smallest eigenvalue itself in a dense
            solve, nan where no product was taken. With a preconditioner P it is that of PA.
        products: products of the matrix with a single vector.
    """

    x: Tensor
    status: Status
    iterations: int
    residual: Tensor
    lowest: float = math.nan
    products: int = 0

    @property
    def message(self) -> str:
        """What happened and what to do, in one line."""
        worst = self.residual.max().item()
        return (
            f"{self.status} after {self.iterations} iterations, relative residual {worst:.1e}: "
            f"{REMEDY[self.status]}"
        )


def conjugate_gradient(
    matvec: Matvec,
    rhs: Tensor,
    tolerance: float,
    max_iterations: int,
    start: Tensor | None = None,
    preconditioner: Matvec | None = None,
    yardsticks: int = 0,
) -> Solution:
    """Conjugate gradients on a symmetric positive definite matrix, all columns together.

    Each right-hand side has its own coefficients. One that has converged, or has met a direction
    of negative curvature, stops at its last good iterate and costs no more products. From a zero
    start, null directions of the matrix do no harm, as long as the right-hand side has no part in
    them.

    The coefficients are those of a Lanczos process, whose Ritz values come out on the way. With a
    preconditioner P they are those of PA. The one of :func:`nystrom` is scaled to lie between 0
    and 1 and to be 1 where the sketch sees nothing, at the lower end: an eigenvalue of PA is then
    in units of A, the smallest of PA is at most that of A, and at least the damping if the sketch
    is one of the same matrix.

    A right-hand side b of which only the energy b·x is asked for stops earlier. The energy grows in
    each iteration, by the square of the step in the norm of A. Once it has grown by less than the
    tolerance, as a share, over the last few, it counts as known.

    Source: Hestenes & Stiefel 1952, their theorem 6:1 for the energy; the exit as in Nocedal &
    Wright 2006, algorithm 7.1; the Ritz values as in Golub & Van Loan 2013, section 11.3.5.

    Args:
        matvec: products with the matrix, ``(rhs, p) -> (rhs, p)``.
        rhs: right-hand sides, shape ``(rhs, p)``.
        tolerance: relative residual to reach.
        max_iterations: products to spend at most.
        start: where to start, shape ``(rhs, p)``; costs one product. Zero if not given.
        preconditioner: products with an approximate inverse, symmetric and positive definite.
        yardsticks: of how many right-hand sides, the last ones, only the energy is asked for.

    Returns:
        The solution and how it was reached.
    """
    scale = _scale(rhs, tolerance)
    x, residual, iterations = _begin(matvec, rhs, start, max_iterations)
    energy = _Energy(rhs, yardsticks)
    ahead = residual if preconditioner is None else preconditioner(residual)
    direction = ahead.clone()
    product_of_both = (residual * ahead).sum(1)
    negative = torch.zeros_like(product_of_both, dtype=torch.bool)
    lanczos = _Tridiagonal()
    above = beside = torch.zeros_like(product_of_both)
    products = iterations * len(rhs)
    while True:
        norm = residual.norm(dim=1)
        relative = torch.where(
            negative | ~norm.isfinite(),
            norm / scale,
            torch.minimum(norm / scale, energy.growth(x)),
        )
        active = ~negative & (relative > tolerance)
        if iterations >= max_iterations or not active.any() or not norm.isfinite().all():
            break
        product = torch.zeros_like(direction)
        product[active] = matvec(direction[active])
        iterations += 1
        products += int(active.sum())
        curvature = (direction * product).sum(1)
        inverse = curvature / product_of_both  # 1/α
        lanczos.append(above + inverse, beside, active)
        negative |= active & (curvature <= 0)
        active &= ~negative
        alpha = torch.where(active, product_of_both / curvature, 0.0)
        x += alpha[:, None] * direction
        residual -= alpha[:, None] * product
        energy.append(alpha * product_of_both)
        ahead = residual if preconditioner is None else preconditioner(residual)
        before, product_of_both = product_of_both, (residual * ahead).sum(1)
        beta = torch.where(active, product_of_both / before, 0.0)
        above, beside = beta * inverse, beta.sqrt() * inverse
        direction = torch.where(active[:, None], ahead + beta[:, None] * direction, direction)
    status = _status(relative, negative, tolerance)
    return Solution(x, status, iterations, relative, lanczos.lowest(), products)


def minres(
    matvec: Matvec,
    rhs: Tensor,
    tolerance: float,
    max_iterations: int,
    start: Tensor | None = None,
) -> Solution:
    """MINRES on a symmetric matrix that may be indefinite, all columns together.

    The residual never grows. Where the right-hand side has a part in the null space it ends at
    the smallest residual there is, and says that the matrix is singular.

    Source: Paige & Saunders 1975, in the form of Choi, Paige & Saunders 2011.

    Args:
        matvec: products with the matrix, ``(rhs, p) -> (rhs, p)``.
        rhs: right-hand sides, shape ``(rhs, p)``.
        tolerance: relative residual to reach.
        max_iterations: products to spend at most.
        start: where to start, shape ``(rhs, p)``; costs one product. Zero if not given.

    Returns:
        The solution and how it was reached.
    """
    scale = _scale(rhs, tolerance)
    limits = torch.finfo(rhs.dtype)
    x, v, iterations = _begin(matvec, rhs, start, max_iterations)
    norm = beta = v.norm(dim=1)
    v = v / beta.clamp_min(limits.tiny)[:, None]
    v_old, w, w_old = (torch.zeros_like(x) for _ in range(3))
    cosine, sine, delta_bar, epsilon, largest = (torch.zeros_like(beta) for _ in range(5))
    cosine -= 1
    stuck = torch.zeros_like(beta, dtype=torch.bool)
    lanczos = _Tridiagonal()
    while True:
        active = ~stuck & (norm > tolerance * scale)
        if iterations >= max_iterations or not active.any() or not norm.isfinite().all():
            break
        # Lanczos
        product = matvec(v) - beta[:, None] * v_old
        iterations += 1
        alpha = (v * product).sum(1)
        lanczos.append(alpha, beta, active)
        product -= alpha[:, None] * v
        largest = torch.maximum(largest, alpha.abs() + beta * (iterations > 1))
        beta = product.norm(dim=1)
        v_old, v = v, product / beta.clamp_min(limits.tiny)[:, None]
        # the rotations of the last column, and a new one
        epsilon_old, delta = epsilon, cosine * delta_bar + sine * alpha
        gamma_bar = sine * delta_bar - cosine * alpha
        epsilon, delta_bar = sine * beta, -cosine * beta
        gamma = torch.hypot(gamma_bar, beta).clamp_min(limits.tiny)
        # |A r| / |r| before this step: a residual in the null space cannot be made smaller
        slope = torch.hypot(gamma_bar, delta_bar)
        stuck |= active & (slope <= 100 * limits.eps * largest)
        active &= ~stuck
        cosine, sine = gamma_bar / gamma, beta / gamma
        w_new = v_old - epsilon_old[:, None] * w_old - delta[:, None] * w
        w_old, w = w, w_new / gamma[:, None]
        x += torch.where(active, cosine * norm, 0.0)[:, None] * w
        norm = torch.where(active, sine * norm, norm)
    relative = norm / scale
    status = _status(relative, stuck, tolerance, Status.SINGULAR)
    return Solution(x, status, iterations, relative, lanczos.lowest(), iterations * len(rhs))


def dense_solve(matvec: Matvec, rhs: Tensor, tolerance: float) -> Solution:
    """Write a small symmetric matrix out and solve through its eigenvalues, in float64.

    Null directions are left out: the solution is the shortest one. The matrix may be indefinite.

    Args:
        matvec: products with the matrix, ``(rhs, p) -> (rhs, p)``.
        rhs: right-hand sides, shape ``(rhs, p)``.
        tolerance: relative residual below which it counts as solved.

    Returns:
        The solution and how good it is.

    Raises:
        ConfigError: if the matrix is too large to be written out.
    """
    size = rhs.shape[1]
    allowed = f"at most {DENSE_LIMIT} parameters; take solver: conjugate_gradient"
    require(size <= DENSE_LIMIT, "solver: dense", f"{size} parameters", allowed)
    rows = torch.eye(size, dtype=rhs.dtype, device=rhs.device)
    matrix = torch.cat([matvec(some) for some in torch.split(rows, DENSE_ROWS)]).double()
    scale = _scale(rhs, tolerance)
    if not matrix.isfinite().all() or not rhs.isfinite().all():
        relative = torch.full_like(scale, torch.nan)
        return Solution(torch.zeros_like(rhs), Status.NON_FINITE, size, relative, math.nan, size)
    matrix = (matrix + matrix.T) / 2
    values, vectors = torch.linalg.eigh(matrix)
    # products in single precision know the eigenvalues only to its rounding
    null = values.abs() <= size * torch.finfo(rhs.dtype).eps * values.abs().max()
    inverse = torch.where(null, 0.0, 1 / values)
    x = (rhs.double() @ vectors * inverse) @ vectors.T
    relative = (rhs - x @ matrix).norm(dim=1).to(rhs.dtype) / scale
    singular = relative > tolerance
    status = _status(relative, singular, tolerance, Status.SINGULAR)
    return Solution(x.to(rhs.dtype), status, size, relative, float(values[0]), size)


def nystrom(matvec: Matvec, like: Tensor, rank: int, damping: float) -> Matvec:
    """Nyström preconditioner of A + damping: the large eigenvalues of A from a random sketch.

    With Y = AΩ the sketch is A ≈ Y (ΩᵀY)⁻¹ Yᵀ = B Bᵀ, and σ (B Bᵀ + σ)⁻¹ with σ = damping + the
    smallest eigenvalue of B Bᵀ is applied by the Woodbury formula. It may be that of an estimate
    of A, such as on fewer samples: only the number of iterations depends on how good it is.

    Source: Frangella, Tropp & Udell, "Randomized Nyström preconditioning", SIMAX 2023.

    Args:
        matvec: products with the positive semi-definite A, ``(rhs, p) -> (rhs, p)``.
        like: gives p, the dtype and the device.
        rank: columns of the sketch, products to spend.
        damping: what is added to A, > 0 unless A has full rank.

    Returns:
        Products with the preconditioner, symmetric and positive definite.
    """
    generator = torch.Generator().manual_seed(0)  # frozen, as all of a solve
    size, eps = like.shape[-1], torch.finfo(like.dtype).eps
    test = torch.randn(min(rank, size), size, generator=generator, dtype=like.dtype).to(like.device)
    sketch = matvec(test)
    core = (test @ sketch.T).double()
    values, vectors = torch.linalg.eigh((core + core.T) / 2)
    # rounding, and what an indefinite A brings, must not be inverted
    good = values > 10 * len(core) * eps * values[-1]
    if not good.any():
        return lambda rows: rows
    root = (vectors[:, good] / values[good].sqrt()).to(like.dtype)
    factor = root.T @ sketch
    gram = (factor @ factor.T).double()
    shift = damping + float(torch.linalg.eigvalsh(gram)[0].clamp_min(0))
    inner = torch.linalg.inv(gram + shift * torch.eye(len(gram)).to(gram)).to(like.dtype)

    def product(rows: Tensor) -> Tensor:
        rest: Tensor = rows - rows @ factor.T @ inner @ factor
        return rest

    return product


class _Energy:
    # b·x of some right-hand sides, and by what share it has grown over the last iterations

    def __init__(self, rhs: Tensor, yardsticks: int) -> None:
        self._rhs, self._gains = rhs, deque[Tensor](maxlen=DELAY)
        self._endless = torch.full_like(rhs[:, 0], math.inf)
        self._asked = torch.arange(len(rhs), device=rhs.device) >= len(rhs) - yardsticks

    def append(self, gain: Tensor) -> None:
        self._gains.append(gain)

    def growth(self, x: Tensor) -> Tensor:
        if len(self._gains) < DELAY:
            return self._endless
        size = (self._rhs * x).sum(1).abs().clamp_min(torch.finfo(x.dtype).tiny)
        grown = torch.stack(list(self._gains)).sum(0) / size
        return torch.where(self._asked, grown, self._endless)


class _Tridiagonal:
    # the Lanczos matrices of all right-hand sides, each as long as its own solve

    def __init__(self) -> None:
        self._diagonal: list[Tensor] = []
        self._beside: list[Tensor] = []

    def append(self, diagonal: Tensor, beside: Tensor, active: Tensor) -> None:
        self._diagonal.append(torch.where(active, diagonal, torch.nan))
        self._beside.append(beside)

    def lowest(self) -> float:
        if not self._diagonal:
            return math.nan
        columns = (torch.stack(part, 1).double().cpu() for part in (self._diagonal, self._beside))
        found = [_lowest(*pair) for pair in zip(*columns, strict=True)]
        return min((value for value in found if math.isfinite(value)), default=math.nan)


def _lowest(diagonal: Tensor, beside: Tensor) -> float:
    # an entry that is no number ends the matrix
    size = int(
        torch.cat([diagonal + beside, diagonal.new_tensor([torch.nan])]).isfinite().int().argmin()
    )
    if size == 0:
        return math.nan
    ends = eigvalsh_tridiagonal(diagonal[:size], beside[1:size], select="i", select_range=(0, 0))
    return float(ends[0])


def _scale(rhs: Tensor, tolerance: float) -> Tensor:
    # what a residual is relative to
    norm = rhs.norm(dim=1)
    floor = min(1.0, ROUNDING / tolerance) * norm.max()
    scale: Tensor = norm.clamp_min(floor.clamp_min(torch.finfo(rhs.dtype).tiny))
    return scale


def _begin(
    matvec: Matvec, rhs: Tensor, start: Tensor | None, max_iterations: int
) -> tuple[Tensor, Tensor, int]:
    # the first iterate, its residual, and the products spent
    if start is None or max_iterations == 0:
        return torch.zeros_like(rhs), rhs.clone(), 0
    return start.to(rhs).clone(), rhs - matvec(start.to(rhs)), 1


def _status(
    relative: Tensor,
    failed: Tensor,
    tolerance: float,
    failure: Status = Status.NEGATIVE_CURVATURE,
) -> Status:
    if not relative.isfinite().all():
        return Status.NON_FINITE
    if failed.any():
        return failure
    return Status.CONVERGED if (relative <= tolerance).all() else Status.MAX_ITERATIONS
