"""The metric and the length of a step, against dense matrices and a system in closed form."""

from __future__ import annotations

import pytest
import torch
from torch.func import hessian, jacrev

from support.exact_runs import LABELS, MOVING, NOISE, make_linear_model, make_system
from thermo_pl.datamodules import GaussianDomains
from thermo_pl.response.linear import Response, ResponseSettings, linear_response
from thermo_pl.response.metric import length, metric
from thermo_pl.response.objective import Objective, Probe

AT = (1.2, 1.7, 0.0)


@pytest.fixture(scope="module")
def solved() -> tuple[Objective, Response]:
    """The exact system in equilibrium, and its response."""
    system = make_system(MOVING)
    torch.manual_seed(0)
    model = make_linear_model(system, AT[0], AT[1]).double()
    particles = GaussianDomains(MOVING, LABELS, NOISE).coupling("train").all()
    double = particles._replace(**{n: x.double() for n, x in particles._asdict().items()})
    objective = Objective(model, Probe(double, model.noise(1, len(double.weight))))
    settings = ResponseSettings(1e-9, "hessian", 1e-10, 500)
    return objective, linear_response(objective, AT[2], settings)


def test_metric_is_the_curvature_between_dense_responses(
    solved: tuple[Objective, Response],
) -> None:
    objective, response = solved
    time = torch.tensor(AT[2], dtype=torch.float64)

    def terms(theta: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return objective.means(theta, t)

    curvature = hessian(lambda v: objective.value(terms(v, time)))(objective.theta)
    slopes = jacrev(terms)(objective.theta, time)
    moving = jacrev(lambda t: jacrev(lambda v: objective.value(terms(v, t)))(objective.theta))(time)
    forces = -torch.stack([slopes[1], slopes[2], moving])
    expected = forces @ torch.linalg.pinv(curvature, hermitian=True, rtol=1e-9) @ forces.T
    found = metric(response)
    assert torch.equal(found, found.T)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    assert torch.linalg.eigvalsh(found).min() > -1e-9


def test_at_fixed_data_it_is_minus_the_hessian_of_the_free_energy(
    solved: tuple[Objective, Response],
) -> None:
    exact = make_system(MOVING).derivatives(*AT)
    found = metric(solved[1])
    torch.testing.assert_close(found[:2, :2], -exact[1:, :2], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.3, -0.5, 1.0)])
def test_half_the_square_of_the_length_is_what_a_jump_dissipates(
    solved: tuple[Objective, Response], direction: tuple[float, float, float]
) -> None:
    # J at the old θ and the new control, less F there: no metric and no response in it
    objective, response = solved
    system, size = make_system(MOVING), 1e-2
    step = [size * x for x in direction]
    lam, gam, t = (a + b for a, b in zip(AT, step, strict=True))
    means = objective.means(objective.theta, t)
    left = means[0] + lam * means[1] + gam * means[2] - system.state(lam, gam, t).F
    found = length(step, metric(response)) ** 2 / 2
    assert found == pytest.approx(left.item(), rel=5 * size)
    assert left.item() > 1e-6


def test_a_truncated_solve_has_no_imaginary_length() -> None:
    indefinite = torch.diag(torch.tensor([-1e-9, 1.0, 1.0], dtype=torch.float64))
    assert length((1.0, 0.0, 0.0), indefinite) == pytest.approx(0, abs=1e-300)
    assert length((3.0, 4.0, 0.0), torch.eye(3, dtype=torch.float64)) == pytest.approx(5)
