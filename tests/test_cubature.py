"""The points of the cubatures against moments of the normal and Gauss-Hermite quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from thermo_pl.cubature import simplex, turned_cubature
from thermo_pl.errors import ConfigError


def moments(points: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and second moments over points of equal weight, the first axis."""
    return points.mean(0), torch.einsum("snj,snk->njk", points, points) / len(points)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(2, 9), st.integers(0, 1000))
def test_each_normal_has_its_moments(n: int, k: int, seed: int) -> None:
    points = turned_cubature(n, k, seed)
    assert points.shape == (4 * k, n, k)
    mean, second = moments(points)
    torch.testing.assert_close(mean, torch.zeros(n, k).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(second, torch.eye(k).double().expand(n, k, k), atol=1e-12, rtol=0)
    radii = points.square().sum(-1)
    fourth = radii.square().mean(0)
    torch.testing.assert_close(fourth, torch.full((n,), k * (k + 2.0)).double())
    third = torch.einsum("sni,snj,snk->nijk", points, points, points)
    assert third.abs().max() < 1e-10


def test_fourth_moments_of_a_coordinate_are_right_over_many_normals() -> None:
    values = turned_cubature(4000, 5, 3)[..., 0].pow(4).mean(0)
    error = values.std() / math.sqrt(len(values))
    assert abs(values.mean() - 3.0) < 4 * error
    assert error < 0.05  # enough of them to see a kurtosis that is wrong


def test_a_classification_loss_in_eight_dimensions_is_right_to_a_percent() -> None:
    # -log softmax of three logits that are linear in z, as C is: a function of two projections of
    # z, so that a Gauss-Hermite grid in the plane gives it
    draw = torch.Generator().manual_seed(1)
    weights = 0.8 * torch.randn(3, 8, generator=draw, dtype=torch.float64)
    plane = torch.linalg.qr((weights[1:] - weights[0]).T)[0]
    nodes, mass = np.polynomial.hermite_e.hermegauss(80)
    grid = torch.from_numpy(np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2))
    share = torch.from_numpy(np.outer(mass, mass).reshape(-1) / (2 * math.pi))

    def loss(z: Tensor) -> Tensor:
        return -torch.log_softmax(z @ weights.T, -1)[..., 0]

    exact = float(share @ loss(grid @ plane.T))
    values = loss(turned_cubature(4000, 8, 0)).mean(0)
    error = float(values.std() / math.sqrt(len(values)))
    assert abs(float(values.mean()) - exact) < 0.01 * exact
    draws = loss(torch.randn(32, 4000, 8, generator=draw).double()).mean(0)
    assert error < 0.25 * float(draws.std() / math.sqrt(4000))  # as many independent draws


def test_normals_differ_and_the_seed_decides() -> None:
    points = turned_cubature(3, 4, 0)
    assert not torch.allclose(points[:, 0], points[:, 1])
    assert not torch.allclose(points, turned_cubature(3, 4, 1))
    assert torch.equal(points, turned_cubature(3, 4, 0))


def test_one_dimension_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"latent_dim: got 1; allowed: 2 or more"):
        turned_cubature(3, 1, 0)


@pytest.mark.parametrize("k", [1, 2, 7])
def test_a_simplex_has_the_moments_of_a_normal(k: int) -> None:
    points = simplex(k)
    assert points.shape == (k + 1, k)
    torch.testing.assert_close(points.mean(0), torch.zeros(k).double(), atol=1e-14, rtol=0)
    torch.testing.assert_close(points.T @ points / (k + 1), torch.eye(k).double())
    edges = torch.pdist(points)
    torch.testing.assert_close(edges, edges[:1].expand_as(edges))
