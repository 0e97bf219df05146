"""Transport between Gaussians: against POT and scipy's matrix square root."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import fractional_matrix_power, inv, sqrtm
from torch import Tensor

from thermo_pl.errors import ConfigError, DataError
from thermo_pl.exact.bures import (
    covariance_matrix,
    geodesic,
    power,
    transport_map,
    wasserstein2_squared,
)

# entries of order one, condition numbers below a hundred: 12 digits are left
CLOSE = {"rtol": 1e-12, "atol": 1e-12}

seeds, sizes = st.integers(0, 10_000), st.integers(1, 6)
parameters = st.floats(0, 1)
unhurried = settings(deadline=None, max_examples=50)  # the first call into scipy is slow


def covariance(d: int, seed: int) -> Tensor:
    """A random covariance with eigenvalues of order one, none below 0.1."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(d, 2 * d, generator=generator, dtype=torch.float64)
    return a @ a.T / (2 * d) + 0.1 * torch.eye(d)


@unhurried
@given(sizes, seeds)
def test_powers_are_those_of_scipy(d: int, seed: int) -> None:
    s = covariance(d, seed)
    torch.testing.assert_close(power(s, 0.5), torch.from_numpy(sqrtm(s.numpy())), **CLOSE)
    inverse_root = torch.from_numpy(inv(sqrtm(s.numpy())))
    torch.testing.assert_close(power(s, -0.5), inverse_root, **CLOSE)
    third = torch.from_numpy(fractional_matrix_power(s.numpy(), 1 / 3))
    torch.testing.assert_close(power(s, 1 / 3), third, rtol=1e-10, atol=1e-10)  # scipy's digits


@unhurried
@given(sizes, seeds)
def test_distance_and_map_are_those_of_pot_and_of_the_trace_formula(d: int, seed: int) -> None:
    s1, s2 = covariance(d, seed), covariance(d, seed + 1)
    m1, m2 = torch.linspace(-1, 2, d).double(), torch.linspace(3, 1, d).double()
    value = wasserstein2_squared(s1, s2, m1, m2)
    pot = ot.gaussian.bures_wasserstein_distance(m1, m2, s1, s2) ** 2
    torch.testing.assert_close(value, pot.squeeze(), **CLOSE)
    root = sqrtm(s1.numpy())
    trace = np.trace(s1.numpy() + s2.numpy() - 2 * sqrtm(root @ s2.numpy() @ root))
    without_means = wasserstein2_squared(s1, s2).item()
    assert without_means == pytest.approx(trace, rel=1e-11, abs=1e-11)
    assert value.item() == pytest.approx(without_means + (m1 - m2).square().sum().item())
    pot_map, shift = ot.gaussian.bures_wasserstein_mapping(m1, m2, s1, s2)
    ours = transport_map(s1, s2)
    torch.testing.assert_close(ours, pot_map, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close((m2 - ours @ m1)[None], shift.reshape(1, -1), rtol=1e-11, atol=1e-11)


@unhurried
@given(sizes, seeds)
def test_the_map_is_symmetric_positive_and_carries_one_to_the_other(d: int, seed: int) -> None:
    s1, s2 = covariance(d, seed), covariance(d, seed + 1)
    carry = transport_map(s1, s2)
    assert torch.equal(carry, carry.T)
    assert torch.linalg.eigvalsh(carry)[0] > 0
    torch.testing.assert_close(carry @ s1 @ carry, s2, **CLOSE)


def test_tiny_distances_keep_their_digits() -> None:
    s, h = covariance(5, 3), 1e-9
    # standard deviations 1 + h times as large: W2² = h² tr S, 10⁻¹⁸ of the traces in the formula;
    # the roots are known to 10⁻¹⁶, a ten-millionth of what is left of them
    value = wasserstein2_squared(s, (1 + h) ** 2 * s).item()
    assert value == pytest.approx(h**2 * s.trace().item(), rel=1e-5)
    # nothing but the rounding of the roots, squared
    assert 0 <= wasserstein2_squared(s, s).item() < 1e-28


@unhurried
@given(sizes, seeds, parameters)
def test_distances_grow_in_proportion_along_the_geodesic(d: int, seed: int, t: float) -> None:
    s1, s2 = covariance(d, seed), covariance(d, seed + 1)
    middle = geodesic(s1, s2, t)
    whole = wasserstein2_squared(s1, s2).sqrt().item()
    parts = [wasserstein2_squared(a, b).sqrt().item() for a, b in ((s1, middle), (middle, s2))]
    assert parts == pytest.approx([t * whole, (1 - t) * whole], rel=1e-12, abs=1e-12)


def test_float32_covariances_are_computed_in_float64() -> None:
    s1, s2 = covariance(3, 0), covariance(3, 1)
    value = wasserstein2_squared(s1.float(), s2.float())
    assert value.dtype == torch.float64
    torch.testing.assert_close(value, wasserstein2_squared(s1, s2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (torch.ones(2, 3), "shape (2, 3)"),
        (torch.ones(2), "square matrix"),
        (torch.tensor([[1.0, float("nan")], [0.0, 1.0]]), "all finite: False"),
        (torch.tensor([[1.0, 0.5], [0.0, 1.0]]), "(S + S.T) / 2"),
        (torch.tensor([[1.0, 2.0], [2.0, 1.0]]), "eigenvalues from -1 to 3"),
        (torch.tensor([[1.0, 1.0], [1.0, 1.0]]), "multiple of the identity"),
        (torch.zeros(2, 2), "positive eigenvalues only"),
    ],
)
def test_what_is_no_covariance_is_refused_by_name(matrix: Tensor, said: str) -> None:
    with pytest.raises(DataError, match=r"^data: ") as caught:
        covariance_matrix(matrix, "data")
    assert said in str(caught.value)
    good = torch.eye(len(matrix))
    for call in (wasserstein2_squared, transport_map, lambda a, b: geodesic(a, b, 0.5)):
        with pytest.raises(DataError):
            call(matrix, good)
        with pytest.raises(DataError):
            call(good, matrix)


def test_a_singular_matrix_is_a_covariance_only_where_that_is_said() -> None:
    singular = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    assert torch.equal(covariance_matrix(singular, "noise", singular=True), singular.double())
    covariance_matrix(torch.zeros(2, 2), "noise", singular=True)
    with pytest.raises(DataError, match="no negative eigenvalues"):
        covariance_matrix(-singular, "noise", singular=True)


def test_sizes_that_differ_and_times_outside_are_refused() -> None:
    s1, s2 = torch.eye(2), torch.eye(3)
    with pytest.raises(ConfigError, match=r"s2: got \(3, 3\); allowed: the shape of s1, \(2, 2\)"):
        transport_map(s1, s2)
    with pytest.raises(ConfigError, match="m2"):
        wasserstein2_squared(s1, s1, torch.zeros(2), torch.zeros(3))
    for t in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="t: got"):
            geodesic(s1, s1, t)
