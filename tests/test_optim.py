"""L-BFGS whose objective is moved between its steps."""

from __future__ import annotations

import torch
from torch import Tensor

from thermo_pl.optim import QuasiStaticLBFGS


def matrix() -> Tensor:
    """Positive definite, with eigenvalues from 0.1 to 10."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))[0]
    return basis * torch.logspace(-1, 1, 6, dtype=torch.float64) @ basis.T


def wrong_pairs(kind: type[torch.optim.LBFGS]) -> int:
    """Pairs (s, y) in the memory with y ≠ A s, after the minimum and θ were moved between steps."""
    a, theta = matrix(), torch.zeros(6, dtype=torch.float64, requires_grad=True)
    centre = torch.ones(6, dtype=torch.float64)
    optimizer = kind([theta], max_iter=4, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        gap = theta - centre
        value = 0.5 * gap @ a @ gap
        value.backward()
        return value

    for _ in range(3):
        optimizer.step(closure)
        centre += 1.0
        with torch.no_grad():
            theta += 0.3
    state = optimizer.state[theta]
    pairs = zip(state["old_stps"], state["old_dirs"], strict=True)
    return sum(not torch.allclose(y, a @ s, rtol=1e-6) for s, y in pairs)


def test_the_memory_holds_curvature_only() -> None:
    assert wrong_pairs(QuasiStaticLBFGS) == 0
    assert wrong_pairs(torch.optim.LBFGS) > 0  # what it is for


def test_it_follows_a_minimum_that_moves() -> None:
    a, theta = matrix(), torch.ones(6, dtype=torch.float64, requires_grad=True)
    centre = torch.zeros(6, dtype=torch.float64)
    optimizer = QuasiStaticLBFGS([theta], max_iter=40, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        gap = (theta - centre).detach()
        theta.grad = a @ gap
        return 0.5 * gap @ a @ gap

    for _ in range(3):
        centre += 1.0
        optimizer.step(closure)
        assert float(closure()) < 1e-8


def test_its_state_is_saved_and_taken_up_again() -> None:
    a, paths = matrix(), []
    for interrupted in (False, True):
        theta = torch.ones(6, dtype=torch.float64, requires_grad=True)
        optimizer = QuasiStaticLBFGS([theta], max_iter=3, line_search_fn="strong_wolfe")
        for step in range(3):
            if interrupted and step == 2:
                saved = optimizer.state_dict()
                optimizer = QuasiStaticLBFGS([theta], max_iter=3, line_search_fn="strong_wolfe")
                optimizer.load_state_dict(saved)

            def closure(theta: Tensor = theta) -> Tensor:
                theta.grad = (a @ theta).detach()
                return 0.5 * theta.detach() @ a @ theta.detach()

            optimizer.step(closure)
        paths.append(theta.detach().clone())
    assert torch.equal(*paths)
