"""L-BFGS whose objective is moved between its steps, and a learning rate that falls in each."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from thermo_pl.errors import ConfigError
from thermo_pl.optim import MacroStepCosine, QuasiStaticLBFGS

TORCHS = partial(torch.optim.LBFGS, line_search_fn="strong_wolfe")


def matrix() -> Tensor:
    """Positive definite, with eigenvalues from 0.1 to 10."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))[0]
    return basis * torch.logspace(-1, 1, 6, dtype=torch.float64) @ basis.T


def wrong_pairs(make: Callable[..., Any]) -> int:
    """Pairs (s, y) in the memory with y ≠ A s, after the minimum and θ were moved between steps."""
    a, theta = matrix(), torch.zeros(6, dtype=torch.float64, requires_grad=True)
    centre = torch.ones(6, dtype=torch.float64)
    optimizer = make([theta], max_iter=4)

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
    assert wrong_pairs(partial(QuasiStaticLBFGS, rounds=1)) == 0
    assert wrong_pairs(QuasiStaticLBFGS) == 0
    assert wrong_pairs(TORCHS) > 0  # what it is for


def test_it_takes_whole_steps_whatever_the_learning_rate_of_the_default_optimiser() -> None:
    # a config that changes the optimiser's class keeps the arguments that both classes have, and
    # Adam's lr of 0.001 as the first trial costs three more evaluations in each line search
    assert "lr" not in inspect.signature(QuasiStaticLBFGS).parameters
    made = QuasiStaticLBFGS([torch.zeros(2, requires_grad=True)])
    assert made.param_groups[0]["lr"] == 1


def rosenbrock(theta: Tensor) -> Tensor:
    """A curved valley in four dimensions, with its minimum 0 at 1."""
    return (100 * (theta[1:] - theta[:-1] ** 2) ** 2 + (1 - theta[:-1]) ** 2).sum()


def relaxed(**settings: Any) -> tuple[float, int]:
    """What a single step leaves of J, and the evaluations it took."""
    theta = torch.full((4,), -1.2, dtype=torch.float64, requires_grad=True)
    optimizer, asked = QuasiStaticLBFGS([theta], **settings), []

    def closure() -> Tensor:
        assert not any(torch.equal(theta, place) for place in asked)  # nothing is paid for twice
        asked.append(theta.detach().clone())
        optimizer.zero_grad()
        value = rosenbrock(theta)
        value.backward()
        return value

    before = optimizer.step(closure)
    start = rosenbrock(torch.full((4,), -1.2, dtype=torch.float64))
    assert before == pytest.approx(float(start), rel=1e-15)
    return float(rosenbrock(theta.detach())), len(asked)


def test_a_step_goes_on_as_long_as_a_round_gains_something() -> None:
    left, enough = relaxed(max_iter=4, gain=1e-9)
    assert left < 1e-9
    short, few = relaxed(max_iter=4, rounds=2, gain=1e-9)
    assert short > 1e-2
    assert few < enough / 3
    coarse, fewer = relaxed(max_iter=4, gain=1e-1)
    assert left < coarse
    assert fewer < enough


def test_it_follows_a_minimum_that_moves() -> None:
    a, theta = matrix(), torch.ones(6, dtype=torch.float64, requires_grad=True)
    centre = torch.zeros(6, dtype=torch.float64)
    optimizer = QuasiStaticLBFGS([theta])

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
        optimizer = QuasiStaticLBFGS([theta], max_iter=3, rounds=1)
        for step in range(3):
            if interrupted and step == 2:
                saved = optimizer.state_dict()
                optimizer = QuasiStaticLBFGS([theta], max_iter=3, rounds=1)
                optimizer.load_state_dict(saved)

            def closure(theta: Tensor = theta) -> Tensor:
                theta.grad = (a @ theta).detach()
                return 0.5 * theta.detach() @ a @ theta.detach()

            optimizer.step(closure)
        paths.append(theta.detach().clone())
    assert torch.equal(*paths)


@pytest.mark.parametrize(("name", "value"), [("rounds", 0), ("gain", -1.0)])
def test_settings_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}: got {value}"):
        QuasiStaticLBFGS([torch.zeros(2, requires_grad=True)], **{name: value})


def rates(make: Callable[..., Any], count: int) -> list[float]:
    """Learning rates of the steps after a scheduler was made."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler, found = make(optimizer), []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("eta_min", [0.0, 0.02])
def test_the_rate_falls_as_a_cosine_in_each_macro_step(eta_min: float) -> None:
    def told(optimizer: torch.optim.Optimizer) -> MacroStepCosine:
        scheduler = MacroStepCosine(optimizer, eta_min)
        scheduler.begin(7)
        return scheduler

    found = rates(told, 21)
    torchs = partial(torch.optim.lr_scheduler.CosineAnnealingWarmRestarts, T_0=7, eta_min=eta_min)
    assert found == rates(torchs, 21)  # to the last bit
    assert found == rates(partial(MacroStepCosine, eta_min=eta_min, steps=7), 21)
    for i, rate in enumerate(found):
        height = 0.5 * (1 + math.cos(math.pi * (i % 7) / 7))
        assert rate == pytest.approx(eta_min + (0.3 - eta_min) * height, rel=1e-12)


def test_a_macro_step_of_unknown_length_is_refused() -> None:
    with pytest.raises(ConfigError, match="steps: got None"):
        rates(MacroStepCosine, 1)
    with pytest.raises(ConfigError, match="steps: got 0"):
        rates(lambda optimizer: MacroStepCosine(optimizer).begin(0), 1)
