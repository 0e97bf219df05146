"""The damping of the response against relaxations, by gradient descent and by Adam itself."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import hessian as dense_hessian
from torch.func import jacrev

from support.numbers import randn
from thermo_pl.errors import ConfigError
from thermo_pl.networks import (
    Gaussian,
    LinearClassifier,
    MLPDecoder,
    MLPEncoder,
    Networks,
    StandardNormal,
)
from thermo_pl.networks.cubature import turned_cubature
from thermo_pl.particles import Particles
from thermo_pl.response.damping import SLOWEST, damping_effect, relaxation_damping
from thermo_pl.response.linear import ResponseSettings, ResponseSystem, linear_response
from thermo_pl.response.objective import Objective, Probe

SHAPE, CLASSES, T = (1, 1, 3), 3, 0.4
EXACT = {"curvature": "hessian", "solver": "minres", "tolerance": 1e-10, "max_iterations": 2000}


def objective() -> Objective:
    """A small model of all parts on a probe of moving images."""
    torch.manual_seed(0)
    model = Networks(
        MLPEncoder(SHAPE, 2, hidden=()),
        LinearClassifier(2, CLASSES),
        MLPDecoder(SHAPE, 2, hidden=(), likelihood=Gaussian(0.05)),
        StandardNormal(2),
        lam=1.5,
        gam=3.0,
    ).double()
    n = 24
    label = nn.functional.one_hot(torch.arange(n) % CLASSES, CLASSES).double()
    images = [
        (label @ (2 * randn(CLASSES, 3, seed=s)) + randn(n, 3, seed=9 + s)).sigmoid()
        for s in (1, 2)
    ]
    particles = Particles(*(x.reshape(n, *SHAPE) for x in images), label, label, torch.ones(n))
    particles = Particles(*(part.double() for part in particles))
    # a few independent draws, frozen, can be learned by heart: then there is no equilibrium
    return Objective(model, Probe(particles, turned_cubature(n, 2, seed=3), points=8))


def loss(made: Objective) -> Tensor:
    """J with a graph to the parameters of the model."""
    return made.value(made.means(list(made.named.values()), T))


@cache
def relaxed() -> Objective:
    """The model near equilibrium; the tests must leave it as it is."""
    made = objective()
    optimizer = torch.optim.LBFGS(
        made.model.parameters(), max_iter=400, line_search_fn="strong_wolfe", history_size=30,
        tolerance_grad=1e-9, tolerance_change=0,
    )  # fmt: skip

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(made)
        value.backward()
        return value

    optimizer.step(closure)
    return Objective(made.model, made.probe)


def shifts(time: float, inverse: Tensor | float) -> Tensor:
    """Change of (R, D, C) per λ when dθ/dτ = -∇J/inverse runs for a time after a step of λ."""
    made = relaxed()
    matrix = dense_hessian(lambda theta: made.value(made.means(theta, T)))(made.theta)
    slopes = jacrev(lambda theta: made.means(theta, T))(made.theta)
    shift, steps = torch.zeros_like(made.theta), 20_000
    for _ in range(steps):  # to first order in the step of λ
        shift = shift - time / steps * (matrix @ shift + slopes[1]) / inverse
    return slopes @ shift


def test_a_damping_is_a_relaxation_time() -> None:
    made = relaxed()
    assert made.means(made.theta, T)[0] > 0.5
    optimizer, distortion = torch.optim.SGD(made.model.parameters(), lr=0.1), []
    for time in (0.05, 5.0):
        damping = relaxation_damping(made.model, optimizer, time)
        assert (damping == 1 / time).all()
        settings = ResponseSettings("auto", **EXACT)
        found = linear_response(made, T, settings, damping=damping).slopes.D.lam
        # 1/(a + 1/τ) is less than (1 - e^{-aτ})/a, by at most 30 %, where aτ = 1.8
        expected = shifts(time, 1.0)[1].item()
        assert 0.7 <= found / expected <= 1
        distortion.append(expected)
    assert distortion[0] > 0.8 * distortion[1]  # both negative, and far enough apart


def test_with_a_metric_too() -> None:
    made, time = relaxed(), 0.2
    inverse = randn(len(made.theta), seed=4).exp()
    settings = ResponseSettings("auto", **EXACT)
    found = linear_response(made, T, settings, damping=inverse / time).slopes.D.lam
    assert 0.7 <= found / shifts(time, inverse)[1].item() <= 1


def test_momentum_makes_the_steps_longer() -> None:
    model = objective().model
    for arguments, gain in (
        ({"momentum": 0.9}, 10),
        ({"momentum": 0.9, "dampening": 0.9}, 1),
        ({"momentum": 0.5, "nesterov": True}, 2),
    ):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, **arguments)
        found = relaxation_damping(model, optimizer, 3.0)
        torch.testing.assert_close(found, torch.full_like(found, 1 / (3 * gain)))


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("amsgrad", [False, True])
def test_the_damping_of_adam_is_its_root_of_v(kind: Any, amsgrad: bool) -> None:
    made = objective()
    parameters = list(made.model.parameters())
    optimizer = kind(parameters, lr=1e-3, betas=(0.9, 0.99), eps=1e-6, amsgrad=amsgrad)
    v, steps = [torch.zeros(())], 7
    for step in range(steps):
        optimizer.zero_grad()
        (loss(made) * 0.1**step).backward()  # so that v falls
        slope = nn.utils.parameters_to_vector([p.grad for p in parameters])
        v.append(0.99 * v[-1] + 0.01 * slope.square())
        optimizer.step()
    root = ((torch.stack(v[1:]).amax(0) if amsgrad else v[-1]) / (1 - 0.99**steps)).sqrt()
    floor = SLOWEST * root.mean()
    assert (root < floor).any()  # some are as slow as that
    expected = (torch.maximum(root, floor) + 1e-6) / 4.0
    torch.testing.assert_close(relaxation_damping(made.model, optimizer, 4.0), expected)


def test_optimisers_of_which_nothing_is_known_are_refused() -> None:
    model = objective().model
    parameters = list(model.parameters())
    several = [{"params": parameters[:1], "lr": 0.1}, {"params": parameters[1:]}]
    for optimizer, message in (
        (
            torch.optim.LBFGS(parameters),
            r"optimizer: got 'LBFGS'; allowed: SGD, Adam, AdamW; or take a",
        ),
        (torch.optim.Adam(parameters), r"before its first step; allowed: one after some steps"),
        (torch.optim.SGD(several, lr=0.2), r"optimizer.lr: got \[0.1, 0.2\]; allowed: one for all"),
    ):
        with pytest.raises(ConfigError, match=message):
            relaxation_damping(model, optimizer, 1.0)
    with pytest.raises(ConfigError, match=r"time: got 0.0; allowed: a number > 0"):
        relaxation_damping(model, torch.optim.SGD(parameters, lr=0.1), 0.0)


def test_the_effect_of_the_damping_is_that_of_two_solves() -> None:
    made = relaxed()
    exact = linear_response(made, T, ResponseSettings(0, **EXACT)).slopes.tensor()
    gaps = []
    for mu in (2e-5, 1e-5):
        single, double = (
            linear_response(made, T, ResponseSettings(m, **EXACT)).slopes.tensor()
            for m in (mu, 2 * mu)
        )
        found = damping_effect(made, T, ResponseSettings(mu, **EXACT))
        close = {"rtol": 1e-6, "atol": 1e-8}
        torch.testing.assert_close(found.single.slopes.tensor(), single, **close)
        torch.testing.assert_close(found.double.slopes.tensor(), double, **close)
        for got, expected in (
            (found.effect, double - single),
            (found.extrapolated, 2 * single - double),
        ):
            torch.testing.assert_close(got.tensor(), expected, rtol=0, atol=1e-6)
        gaps.append((found.extrapolated.tensor() - exact)[:, 0].norm().item())
        assert gaps[-1] < 0.3 * (single - exact)[:, 0].norm()
    # what is left is of second order
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.25)


def test_the_second_solve_starts_from_the_first() -> None:
    made, settings = relaxed(), ResponseSettings(0.05, **EXACT)
    cold = ResponseSystem(made, T, settings, None).response().solution.iterations
    effect = damping_effect(made, T, settings)
    assert effect.single.solution.iterations <= cold
    with pytest.raises(ConfigError, match="damping: got 0; allowed: more than 0"):
        damping_effect(made, T, ResponseSettings(0, **EXACT))
