"""The points of the cubatures against moments of the normal."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from thermo_pl.networks.cubature import turned_cubature


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 1000), st.integers(1, 2))
def test_odd_moments_of_each_normal_vanish(n: int, k: int, seed: int, count: int) -> None:
    points = turned_cubature(n, k, seed, count)
    assert points.shape == (4 * k * count, n, k)
    assert points.mean(0).abs().max() < 1e-12
    third = torch.einsum("sni,snj,snk->nijk", points, points, points) / len(points)
    assert third.abs().max() < 1e-10


def test_each_sphere_is_turned_without_distortion() -> None:
    points = turned_cubature(3, 4, 0)
    for inner in (points[:8], points[8:]):
        gram = torch.einsum("snk,rnk->nsr", inner, inner)
        radius = inner.norm(dim=-1)[0]
        # k orthogonal axes of equal length, and their opposites
        axes = torch.eye(4).double()
        expected = torch.cat([torch.cat([axes, -axes], 1), torch.cat([-axes, axes], 1)])
        torch.testing.assert_close(gram, expected * radius.square()[:, None, None])


@pytest.mark.parametrize("k", [1, 2, 5])
def test_even_moments_are_right_over_many_normals(k: int) -> None:
    points = turned_cubature(4000, k, 3)
    values = {
        1.0: points[..., 0].square(),
        3.0: points[..., 0].pow(4),
        15.0: points[..., 0].pow(6),
    }
    for expected, draws in values.items():
        means = draws.mean(0)
        error = float(means.std()) / math.sqrt(4000)
        assert abs(float(means.mean()) - expected) < 4 * error
    radii = points.norm(dim=-1)[[0, 2 * k]].flatten()
    # as spread out as a stratified sample: its distribution is that of |z| to a few in 4000
    assert kstest(radii.numpy(), "chi", (k,)).statistic < 2 / 4000


def test_normals_differ_and_the_seed_decides() -> None:
    points = turned_cubature(3, 4, 0)
    assert not torch.allclose(points[:, 0], points[:, 1])
    assert not torch.allclose(points, turned_cubature(3, 4, 1))
    assert torch.equal(points, turned_cubature(3, 4, 0))
