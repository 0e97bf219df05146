"""The solvers against dense linear algebra in float64, and scipy."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import minres as scipy_minres
from torch import Tensor

from support.numbers import randn
from thermo_pl.errors import ConfigError
from thermo_pl.response.solvers import (
    DENSE_LIMIT,
    REMEDY,
    Solution,
    Status,
    conjugate_gradient,
    dense_solve,
    minres,
    nystrom,
)


def with_eigenvalues(values: list[float], seed: int = 0) -> tuple[Tensor, Tensor]:
    """A symmetric matrix with these eigenvalues, and its eigenvectors in columns."""
    vectors = torch.linalg.qr(randn(len(values), len(values), seed=seed))[0]
    diagonal = torch.tensor(values, dtype=torch.float64)
    return vectors * diagonal @ vectors.T, vectors


class Counted:
    """Products with a dense symmetric matrix, counted."""

    def __init__(self, matrix: Tensor) -> None:
        """Start at zero."""
        self.matrix, self.calls, self.rows = matrix, 0, 0

    def __call__(self, rows: Tensor) -> Tensor:
        self.calls += 1
        self.rows += len(rows)
        return rows @ self.matrix


def true_residual(matrix: Tensor, x: Tensor, rhs: Tensor) -> Tensor:
    return (rhs - x @ matrix).norm(dim=1) / rhs.norm(dim=1)


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 4))
def test_solves_positive_definite_systems(seed: int, p: int, count: int) -> None:
    root = randn(p, p, seed=seed)
    matrix = root @ root.T + 0.5 * torch.eye(p)
    rhs = randn(count, p, seed=seed + 1)
    product = Counted(matrix)
    solution = conjugate_gradient(product, rhs, 1e-10, 20 * p)
    assert solution.status is Status.CONVERGED
    assert solution.x.shape == (count, p)
    assert solution.residual.shape == (count,)
    # a residual of 1e-10 is an error of at most 1e-10 times the largest eigenvalue over ½
    exact = torch.linalg.solve(matrix, rhs.T).T
    bound = 1e-10 * rhs.norm(dim=1) / 0.5
    # the recurrence of the residual drifts from the true one by rounding: a factor of two
    assert ((solution.x - exact).norm(dim=1) <= 2 * bound).all()
    assert (true_residual(matrix, solution.x, rhs) <= 2e-10).all()
    # all right-hand sides share the products, and none is spent on a zero start
    assert product.calls == solution.iterations


def test_each_iterate_is_the_best_of_its_krylov_space() -> None:
    matrix, _ = with_eigenvalues([0.3, 0.5, 1, 2, 3, 5, 8, 13])
    rhs = randn(2, 8, seed=1)
    for k in range(1, 6):
        solution = conjugate_gradient(Counted(matrix), rhs, 1e-14, k)
        for row, b in zip(solution.x, rhs, strict=True):
            powers = [torch.linalg.matrix_power(matrix, i) @ b for i in range(k)]
            basis = torch.linalg.qr(torch.stack(powers, 1))[0]
            best = basis @ torch.linalg.solve(basis.T @ matrix @ basis, basis.T @ b)
            # the power basis has a condition number of about 1e5 for k = 5
            torch.testing.assert_close(row, best, rtol=1e-9, atol=1e-9)


def test_right_hand_sides_stop_each_at_its_own_time() -> None:
    matrix, vectors = with_eigenvalues([1.0, 2, 3, 4, 5, 6, 7, 8])
    rhs = torch.stack([torch.zeros(8).double(), vectors[:, 2], randn(8, seed=1)])
    once = conjugate_gradient(Counted(matrix), rhs, 1e-12, 1)
    # zero needs nothing, an eigenvector one step
    assert once.x[0].abs().max() == 0
    torch.testing.assert_close(once.x[1], vectors[:, 2] / 3, rtol=1e-12, atol=1e-12)
    solution = conjugate_gradient(Counted(matrix), rhs, 1e-12, 100)
    assert solution.status is Status.CONVERGED
    assert solution.iterations == 8
    assert torch.equal(solution.x[:2], once.x[:2])  # they have not moved since
    assert solution.residual[0] == 0


@pytest.mark.parametrize("start", [False, True], ids=["from zero", "from a guess"])
def test_a_yardstick_stops_where_its_energy_is_known(start: bool) -> None:
    # eigenvalues as of the digits at a damping of 0.01; each adds as much to the energy
    values = torch.logspace(-2, 1.3, 300).tolist()
    matrix, vectors = with_eigenvalues(values)
    rhs = torch.stack([randn(300, seed=1), vectors @ torch.tensor(values).double().sqrt()])
    exact = torch.linalg.solve(matrix, rhs.T).T
    guess = torch.stack([exact[0], torch.zeros(300)]) if start else None
    plain = conjugate_gradient(Counted(matrix), rhs[1:], 0.02, 1000)
    product = Counted(matrix)
    found = conjugate_gradient(product, rhs, 0.02, 1000, guess, yardsticks=1)
    assert found.status is Status.CONVERGED
    energy, known = (float(rhs[1] @ x) for x in (exact[1], found.x[1]))
    # from below, and the growth of the last iterations says by about how much
    assert 0.9 * energy < known < energy
    assert found.residual[1] <= 0.02 < true_residual(matrix, found.x, rhs)[1]
    assert found.residual[0] <= 0.02  # the others are solved as ever
    if start:
        assert product.calls < 0.7 * plain.iterations


def test_scale_of_a_right_hand_side_does_not_matter() -> None:
    matrix, _ = with_eigenvalues([1.0, 2, 3, 4, 5])
    b = randn(1, 5, seed=1)
    for scale in (1e-20, 1e-2, 1e20):
        scaled = conjugate_gradient(Counted(matrix), scale * torch.cat([b, 0.3 * b]), 1e-10, 100)
        plain = conjugate_gradient(Counted(matrix), b, 1e-10, 100)
        for row, factor in zip(scaled.x, (scale, 0.3 * scale), strict=True):
            torch.testing.assert_close(row / factor, plain.x[0], rtol=1e-12, atol=1e-12)


def test_negative_curvature_is_told_and_spoils_nobody_else() -> None:
    matrix = torch.diag(torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64))
    rhs = torch.tensor([[1.0, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=torch.float64)
    solution = conjugate_gradient(Counted(matrix), rhs, 1e-10, 100)
    assert solution.status is Status.NEGATIVE_CURVATURE
    exact = torch.tensor([1, 0.5, 0], dtype=torch.float64)
    torch.testing.assert_close(solution.x[0], exact, rtol=1e-9, atol=1e-9)
    assert solution.x[1].abs().max() == 0  # no good step was ever made
    assert solution.x.isfinite().all()
    # the residual is that of the last good iterate
    found = true_residual(matrix, solution.x, rhs)
    torch.testing.assert_close(solution.residual, found, rtol=1e-9, atol=1e-12)
    assert REMEDY[Status.NEGATIVE_CURVATURE] in solution.message


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_indefinite_matrices_are_never_called_solved_wrongly(seed: int) -> None:
    matrix, _ = with_eigenvalues([-2.0, -0.5, 0.5, 1.0, 3.0, 4.0], seed=seed)
    rhs = randn(2, 6, seed=seed + 1)
    solution = conjugate_gradient(Counted(matrix), rhs, 1e-8, 100)
    # a random right-hand side has a part along every eigenvector: the sixth step finds out
    assert solution.status is Status.NEGATIVE_CURVATURE
    assert solution.iterations < 20  # and then there is nothing left to do
    # near-breakdown steps are long, and cost digits
    found = true_residual(matrix, solution.x, rhs)
    torch.testing.assert_close(solution.residual, found, rtol=1e-6, atol=1e-9)


def nan_matrix(rows: Tensor) -> Tensor:
    return rows * math.nan


@pytest.mark.parametrize("solve", [conjugate_gradient, minres])
def test_products_are_counted_and_solved_systems_ask_for_none(
    solve: Callable[..., Solution],
) -> None:
    matrix, vectors = with_eigenvalues([1.0, 2.0, 3.0, 5.0, 8.0])
    easy, hard = vectors[:, 0], vectors.sum(1)  # one direction, and all five
    product = Counted(matrix)
    solution = solve(product, torch.stack([easy, hard]), 1e-10, 50)
    assert solution.status == Status.CONVERGED
    assert solution.products == product.rows
    if solve is conjugate_gradient:
        assert product.rows == 1 + 5


@pytest.mark.parametrize("limit", [0, 1, 4])
def test_the_limit_of_iterations_holds(limit: int) -> None:
    matrix, _ = with_eigenvalues([0.1, 0.5, 1, 2, 5, 10, 20, 50])
    rhs = randn(3, 8, seed=1)
    product = Counted(matrix)
    solution = conjugate_gradient(product, rhs, 1e-10, limit)
    assert solution.status is Status.MAX_ITERATIONS
    assert solution.iterations == product.calls == limit
    found = true_residual(matrix, solution.x, rhs)
    torch.testing.assert_close(solution.residual, found, rtol=1e-10, atol=1e-12)
    words = f"max_iterations after {limit} iterations, relative residual {found.max().item():.1e}"
    assert solution.message.startswith(words)
    assert solution.message.endswith(REMEDY[Status.MAX_ITERATIONS])


def test_the_last_allowed_iteration_may_converge() -> None:
    matrix, _ = with_eigenvalues([1.0, 2, 3])
    solution = conjugate_gradient(Counted(matrix), randn(2, 3, seed=1), 1e-9, 3)
    assert (solution.status, solution.iterations) == (Status.CONVERGED, 3)


def test_null_directions_do_no_harm() -> None:
    matrix, vectors = with_eigenvalues([0.0, 0.0, 0.0, 1, 2, 4, 8])
    rhs = randn(3, 4, seed=1) @ vectors[:, 3:].T  # no part along the null directions
    solution = conjugate_gradient(Counted(matrix), rhs, 1e-9, 100)
    assert solution.status is Status.CONVERGED
    expected = rhs @ torch.linalg.pinv(matrix, hermitian=True)
    # error ≤ residual over the smallest eigenvalue that is not zero, which is 1
    torch.testing.assert_close(solution.x, expected, rtol=0, atol=1e-8)
    assert (solution.x @ vectors[:, :3]).abs().max() < 1e-12  # of minimum norm


def test_a_part_in_the_null_space_is_not_called_solved() -> None:
    matrix = torch.diag(torch.tensor([0.0, 1.0], dtype=torch.float64))
    solution = conjugate_gradient(Counted(matrix), torch.ones(1, 2).double(), 1e-9, 100)
    assert solution.status is Status.NEGATIVE_CURVATURE
    assert solution.x.isfinite().all()


def test_single_precision_reaches_what_it_can() -> None:
    matrix, _ = with_eigenvalues([1.0, 2, 3, 4, 5, 6])
    rhs = randn(2, 6, seed=1)
    solution = conjugate_gradient(Counted(matrix.float()), rhs.float(), 1e-5, 100)
    assert solution.status is Status.CONVERGED
    assert solution.x.dtype == torch.float32
    assert (true_residual(matrix, solution.x.double(), rhs) < 2e-5).all()


# -- rounding, warm start -----------------------------------------------------------------------


@pytest.mark.parametrize("solve", [conjugate_gradient, minres])
def test_a_right_hand_side_that_is_rounding_ends_nothing(solve: Callable[..., Solution]) -> None:
    matrix, vectors = with_eigenvalues([0.0, 0.0, 1.0, 2, 4, 8])
    rhs = randn(2, 4, seed=1) @ vectors[:, 2:].T
    rounding = 1e-13 * randn(1, 6, seed=2)  # mostly in the null space: nothing could solve it
    solution = solve(Counted(matrix), torch.cat([rhs, rounding]), 1e-8, 100)
    assert solution.status is Status.CONVERGED
    assert solution.residual.max() <= 1e-8
    assert solution.x[2].abs().max() == 0
    expected = rhs @ torch.linalg.pinv(matrix, hermitian=True)
    torch.testing.assert_close(solution.x[:2], expected, rtol=0, atol=1e-7)
    # beside nothing larger it is a right-hand side like any other, and has no solution
    alone = solve(Counted(matrix), rounding, 1e-8, 100)
    assert alone.status in {Status.NEGATIVE_CURVATURE, Status.SINGULAR}


@pytest.mark.parametrize("solve", [conjugate_gradient, minres])
def test_a_warm_start_saves_iterations(solve: Callable[..., Solution]) -> None:
    matrix, _ = with_eigenvalues(torch.logspace(-1, 2, 60).tolist())
    rhs = randn(3, 60, seed=1)
    product = Counted(matrix)
    cold = solve(product, rhs, 1e-6, 100)
    assert cold.iterations == product.calls
    near = cold.x * (1 + 1e-5 * randn(3, 60, seed=2))
    product = Counted(matrix)
    warm = solve(product, rhs, 1e-6, 100, near)
    assert warm.status is cold.status is Status.CONVERGED
    assert warm.iterations == product.calls < cold.iterations
    assert (true_residual(matrix, warm.x, rhs) <= 2e-6).all()
    at_the_solution = solve(Counted(matrix), rhs, 1e-4, 100, cold.x)
    assert at_the_solution.iterations == 1  # what it costs to see that
    assert torch.equal(at_the_solution.x, cold.x)


# -- MINRES -------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 4))
def test_minres_solves_indefinite_systems(seed: int, p: int, count: int) -> None:
    signs = torch.where(torch.arange(p) % 2 == 0, 1.0, -1.0).double()
    values = signs * (0.5 + 4 * randn(p, seed=seed).abs())
    matrix, _ = with_eigenvalues(values.tolist(), seed)
    rhs = randn(count, p, seed=seed + 1)
    product = Counted(matrix)
    solution = minres(product, rhs, 1e-9, 20 * p)
    assert solution.status is Status.CONVERGED
    exact = torch.linalg.solve(matrix, rhs.T).T
    bound = 1e-9 * rhs.norm(dim=1) / 0.5
    assert ((solution.x - exact).norm(dim=1) <= 2 * bound).all()
    assert product.calls == solution.iterations


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7])
def test_minres_steps_are_those_of_scipy(steps: int) -> None:
    matrix, _ = with_eigenvalues([-3.0, -1, -0.2, 0.4, 1, 2, 5, 9])
    rhs = randn(2, 8, seed=1)
    solution = minres(Counted(matrix), rhs, 1e-10, steps)
    assert solution.status is Status.MAX_ITERATIONS
    for row, b in zip(solution.x, rhs, strict=True):
        expected, _ = scipy_minres(matrix.numpy(), b.numpy(), rtol=1e-30, maxiter=steps)
        torch.testing.assert_close(row, torch.as_tensor(expected), rtol=1e-9, atol=1e-10)
    found = true_residual(matrix, solution.x, rhs)
    torch.testing.assert_close(solution.residual, found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("solve", [minres, lambda a, b, tol, _: dense_solve(a, b, tol)])
def test_a_part_in_the_null_space_is_called_singular(solve: Callable[..., Solution]) -> None:
    matrix, vectors = with_eigenvalues([0.0, -2.0, 1, 3, 5])
    part = 0.5 * vectors[:, 0]
    rhs = torch.stack([randn(4, seed=1) @ vectors[:, 1:].T, part + vectors[:, 2]])
    solution = solve(Counted(matrix), rhs, 1e-9, 100)
    assert solution.status is Status.SINGULAR
    assert solution.residual[0] <= 1e-9
    # the smallest residual there is
    assert solution.residual[1].item() == pytest.approx(0.5 / rhs[1].norm().item(), rel=1e-6)
    expected = rhs[0] @ torch.linalg.pinv(matrix, hermitian=True)
    torch.testing.assert_close(solution.x[0], expected, rtol=1e-7, atol=1e-7)
    assert REMEDY[Status.SINGULAR] in solution.message


# -- all of them --------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_all_solvers_agree(seed: int) -> None:
    values = (0.2 + randn(15, seed=seed).abs() * 5).tolist()
    matrix, _ = with_eigenvalues(values, seed)
    rhs = randn(3, 15, seed=seed + 1)
    preconditioner = nystrom(Counted(matrix - 0.1 * torch.eye(15)), rhs, 5, 0.1)
    product = Counted(matrix)
    solutions = [
        conjugate_gradient(product, rhs, 1e-11, 300),
        conjugate_gradient(product, rhs, 1e-11, 300, None, preconditioner),
        minres(product, rhs, 1e-11, 300),
        dense_solve(product, rhs, 1e-11),
    ]
    exact = torch.linalg.solve(matrix, rhs.T).T
    for solution in solutions:
        assert solution.status is Status.CONVERGED
        assert "nothing to do" in solution.message
        # a residual of 1e-11 over the smallest eigenvalue
        assert ((solution.x - exact).norm(dim=1) <= 2e-11 * rhs.norm(dim=1) / 0.2).all()


def test_a_matrix_that_is_too_large_is_not_written_out() -> None:
    with pytest.raises(ConfigError) as caught:
        dense_solve(Counted(torch.eye(2)), torch.ones(1, DENSE_LIMIT + 1), 1e-2)
    message = str(caught.value)
    assert message.startswith("solver: dense: got '4097 parameters'; allowed: at most 4096")
    assert "\n" not in message


@pytest.mark.parametrize(
    "solve", [conjugate_gradient, minres, lambda a, b, tol, _: dense_solve(a, b, tol)]
)
@pytest.mark.parametrize("where", ["rhs", "infinite rhs", "matrix"])
def test_what_is_not_finite_is_told(solve: Callable[..., Solution], where: str) -> None:
    matrix, _ = with_eigenvalues([1.0, 2, 3])
    rhs = randn(2, 3, seed=1)
    if where.endswith("rhs"):
        rhs[1, 0] = math.nan if where == "rhs" else math.inf
    solution = solve(nan_matrix if where == "matrix" else Counted(matrix), rhs, 1e-10, 100)
    assert solution.status is Status.NON_FINITE
    assert REMEDY[Status.NON_FINITE] in solution.message
    if solve is conjugate_gradient:
        assert solution.iterations <= 1


# -- the preconditioner -------------------------------------------------------------------------


def test_the_preconditioner_inverts_what_its_rank_covers() -> None:
    # of rank 4 by construction: the sketch sees all of it
    factor = randn(4, 10, seed=1)
    matrix, damping = factor.T @ factor, 0.3
    inverse = nystrom(Counted(matrix), matrix, 6, damping)(torch.eye(10).double())
    assert (inverse - inverse.T).abs().max() < 1e-12
    exact = torch.linalg.inv(matrix + damping * torch.eye(10))
    # up to a factor, as it does not matter: fix it in a null direction
    null = torch.linalg.svd(factor)[2][-1]
    ratio = (null @ inverse @ null) / (null @ exact @ null)
    gap = (inverse / ratio - exact).abs().max().item()
    # the factor is σ = damping + the smallest eigenvalue of the sketch, in place of the damping
    values, vectors = torch.linalg.eigh(matrix)
    sigma = damping + values[6]
    known = (vectors * (sigma / (values + sigma))) @ vectors.T
    torch.testing.assert_close(inverse, known, rtol=1e-8, atol=1e-10)
    assert gap < 1 / damping


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 30), st.floats(1e-6, 10))
def test_the_preconditioner_is_positive_definite(seed: int, rank: int, damping: float) -> None:
    spectrum = 10 ** (2 * randn(20, seed=seed))
    matrix, _ = with_eigenvalues(spectrum.tolist(), seed)
    inverse = nystrom(Counted(matrix), matrix, rank, damping)(torch.eye(20).double())
    assert (inverse - inverse.T).abs().max() < 1e-9
    values = torch.linalg.eigvalsh((inverse + inverse.T) / 2)
    # σ/(λ+σ), which does not go below that of the largest eigenvalue with σ ≥ damping
    assert values[0] > 0.5 * damping / (spectrum.max() + damping) - 1e-12
    assert values[-1] < 1 + 1e-9


def test_a_matrix_of_zeros_needs_no_preconditioner() -> None:
    rows = randn(2, 5)
    assert torch.equal(nystrom(Counted(torch.zeros(5, 5).double()), rows, 3, 1.0)(rows), rows)


def test_the_preconditioner_saves_iterations_and_nothing_else() -> None:
    spectrum = [1e4, 3e3, 1e3, 300.0, 100, 30, *torch.linspace(0, 1, 60).tolist()]
    matrix, _ = with_eigenvalues(spectrum)
    damped = Counted(matrix + 0.5 * torch.eye(len(spectrum)))
    rhs = randn(3, len(spectrum), seed=1)
    plain = conjugate_gradient(damped, rhs, 1e-8, 500)
    inverse = nystrom(Counted(matrix), rhs, 10, 0.5)
    solution = conjugate_gradient(damped, rhs, 1e-8, 500, None, inverse)
    assert solution.status is plain.status is Status.CONVERGED
    assert solution.iterations < 0.75 * plain.iterations
    torch.testing.assert_close(solution.x, plain.x, rtol=0, atol=1e-6)
    assert (true_residual(damped.matrix, solution.x, rhs) <= 2e-8).all()


# -- the smallest Ritz value --------------------------------------------------------------------


def krylov(matrix: Tensor, b: Tensor, k: int) -> Tensor:
    """Orthonormal basis of b, Ab, ..., in columns."""
    basis = b[:, None] / b.norm()
    while basis.shape[1] < k:
        ahead = matrix @ basis[:, -1]
        for _ in range(2):
            ahead = ahead - basis @ (basis.T @ ahead)
        basis = torch.cat([basis, ahead[:, None] / ahead.norm()], 1)
    return basis


@pytest.mark.parametrize("solver", [conjugate_gradient, minres])
def test_the_ritz_value_is_that_of_the_krylov_space(solver: Callable[..., Solution]) -> None:
    matrix, _ = with_eigenvalues([0.3, 0.5, 1, 2, 3, 5, 8, 13])
    rhs = randn(2, 8, seed=1)
    for k in range(1, 9):
        solution = solver(Counted(matrix), rhs, 1e-14, k)
        bases = [krylov(matrix, b, k) for b in rhs]
        expected = min(torch.linalg.eigvalsh(q.T @ matrix @ q)[0].item() for q in bases)
        assert solution.lowest == pytest.approx(expected, rel=1e-9)
    assert solution.lowest == pytest.approx(0.3, rel=1e-9)


@pytest.mark.parametrize("lowest", [-0.7, 0.02])
def test_minres_and_a_dense_solve_tell_the_smallest_eigenvalue(lowest: float) -> None:
    matrix, _ = with_eigenvalues([lowest, 0.5, 1, 2, 3, 5, 8, 13])
    rhs = randn(3, 8, seed=1)
    solution = minres(Counted(matrix), rhs, 1e-12, 100)
    assert solution.status is Status.CONVERGED
    assert solution.lowest == pytest.approx(lowest, rel=1e-8)
    assert dense_solve(Counted(matrix), rhs, 1e-10).lowest == pytest.approx(lowest, rel=1e-9)


def test_the_ritz_value_ends_with_each_solve_and_sees_what_its_side_sees() -> None:
    matrix, vectors = with_eigenvalues([1.0, 2, 3, 4, 5, 6, 7, 8])
    # an eigenvector, zero, and a side without any part in the lowest eigenvector
    rhs = torch.stack([vectors[:, 2], torch.zeros(8).double(), vectors[:, 1:].sum(1)])
    for solver in (conjugate_gradient, minres):
        assert solver(Counted(matrix), rhs[:1], 1e-10, 100).lowest == pytest.approx(3, rel=1e-12)
        assert math.isnan(solver(Counted(matrix), rhs[1:2], 1e-10, 100).lowest)
        assert solver(Counted(matrix), rhs, 1e-10, 100).lowest == pytest.approx(2, rel=1e-8)
        assert math.isnan(solver(Counted(matrix), rhs, 1e-10, 0).lowest)


def test_negative_curvature_has_a_ritz_value_that_is_not_positive() -> None:
    matrix, _ = with_eigenvalues([-0.5, 1, 2, 3, 4, 5])
    rhs = randn(1, 6, seed=1)
    solution = conjugate_gradient(Counted(matrix), rhs, 1e-10, 100)
    assert solution.status is Status.NEGATIVE_CURVATURE
    basis = krylov(matrix, rhs[0], solution.iterations)
    expected = torch.linalg.eigvalsh(basis.T @ matrix @ basis)[0].item()
    assert expected <= 0
    assert solution.lowest == pytest.approx(expected, rel=1e-9)


def test_with_a_preconditioner_the_ritz_value_is_that_of_both_together() -> None:
    values = [0.0, 0.1, 0.3, 0.7, 1, 2, 30, 100, 300, 1000]
    matrix, _ = with_eigenvalues(values)
    damping, identity = 0.05, torch.eye(10, dtype=torch.float64)
    damped = matrix + damping * identity
    inverse = nystrom(Counted(matrix), identity, 4, damping)
    rhs = randn(2, 10, seed=1)
    solution = conjugate_gradient(Counted(damped), rhs, 1e-13, 100, None, inverse)
    both = torch.linalg.eigvals(inverse(identity) @ damped).real.min().item()
    assert solution.lowest == pytest.approx(both, rel=1e-6)
    # in units of the matrix
    lowest = torch.linalg.eigvalsh(damped)[0].item()
    assert damping * (1 - 1e-9) <= solution.lowest <= lowest * (1 + 1e-9)
