"""Rate, distortion, classification loss: against hand-made numbers, distributions, quadrature."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Independent, Normal, kl_divergence

from support.numbers import randn
from thermo_pl.functionals import (
    bernoulli_log_partition,
    bernoulli_nll,
    categorical_log_partition,
    categorical_nll,
    cross_entropy,
    free_energy,
    gaussian_log_partition,
    gaussian_log_prob,
    gaussian_nll,
    gaussian_rate,
    monte_carlo_rate,
    sample_latent,
)

# float64 has 16 digits; sums of a few hundred terms of order one keep 12 of them
CLOSE = {"rtol": 1e-12, "atol": 1e-12}

numbers = st.floats(-5, 5)
pairs = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4)


def normal(mean: Tensor, log_var: Tensor) -> Independent:
    """A diagonal Gaussian of torch."""
    return Independent(Normal(mean, torch.exp(0.5 * log_var)), 1)


def log(value: float) -> Tensor:
    """The logarithm as a float64 tensor."""
    return torch.tensor(math.log(value), dtype=torch.float64)


def test_a_latent_draw_is_the_mean_plus_the_standard_deviation_times_the_noise() -> None:
    mean = torch.tensor([[1.0, -2.0]])
    log_var = torch.tensor([[0.0, math.log(4)]])  # standard deviations 1 and 2
    noise = torch.tensor([[[0.5, 0.5]], [[-1.0, 3.0]]])
    z = sample_latent(mean, log_var, noise)
    torch.testing.assert_close(z, torch.tensor([[[1.5, -1.0]], [[0.0, 4.0]]]))


def test_log_density_by_hand_and_by_torch() -> None:
    # N(z=3; mean 1, variance 4): -½(4/4 + log 4 + log 2π)
    by_hand = -0.5 * (1 + math.log(4) + math.log(2 * math.pi))
    value = gaussian_log_prob(torch.tensor([3.0]), torch.tensor([1.0]), torch.tensor([4.0]).log())
    assert value.item() == pytest.approx(by_hand, rel=1e-6)  # float32
    z, mean, log_var = randn(7, 3, 4), randn(3, 4, seed=1), randn(3, 4, seed=2)
    expected = normal(mean, log_var).log_prob(z)
    torch.testing.assert_close(gaussian_log_prob(z, mean, log_var), expected, **CLOSE)


@given(pairs, pairs, st.integers(0, 3))
def test_rate_is_the_divergence_never_negative_and_zero_only_at_equality(
    encoder: list[tuple[float, float]], marginal: list[tuple[float, float]], seed: int
) -> None:
    k = min(len(encoder), len(marginal))
    mean, log_var = torch.tensor(encoder[:k], dtype=torch.float64).T
    to_mean, to_log_var = torch.tensor(marginal[:k], dtype=torch.float64).T
    rate = gaussian_rate(mean[None], log_var[None], to_mean, to_log_var)[0]
    expected = kl_divergence(normal(mean, log_var), normal(to_mean, to_log_var))
    # the terms reach e^10; they cancel where the two are close
    torch.testing.assert_close(rate, expected, rtol=1e-11, atol=1e-11)
    assert rate >= -1e-14  # exp(r) - 1 - r near r = 0 loses what rounding takes
    apart = (mean - to_mean).abs().max() > 1e-3 or (log_var - to_log_var).abs().max() > 1e-3
    # the smallest rate at such a distance: ½·1e-6·e^-5, or ¼·1e-6
    assert not apart or rate > 1e-9
    assert gaussian_rate(mean[None], log_var[None], mean, log_var).item() == 0


def test_monte_carlo_rate_against_the_encoder_itself_is_zero_for_every_draw() -> None:
    mean, log_var = randn(3, 2), randn(3, 2, seed=1)
    z = sample_latent(mean, log_var, randn(2, 3, 2, seed=2))
    assert (monte_carlo_rate(z, mean, log_var, gaussian_log_prob(z, mean, log_var)) == 0).all()


BINARY = torch.tensor(list(product((0.0, 1.0), repeat=6)), dtype=torch.float64)
"""All binary images of 1×2×3 pixels, shape (64, 1, 2, 3)."""
BINARY = BINARY.reshape(-1, 1, 2, 3)


@given(st.integers(0, 10_000))
def test_bernoulli_is_normalised_over_all_images(seed: int) -> None:
    logits = 3 * randn(2, 1, 1, 2, 3, seed=seed)
    nll = bernoulli_nll(logits, BINARY)
    assert nll.shape == (2, 64)
    torch.testing.assert_close(torch.exp(-nll).sum(1), torch.ones(2).double(), **CLOSE)


def test_bernoulli_of_grey_levels_is_the_mean_over_binarised_images() -> None:
    logits, grey = 2 * randn(3, 2, 1, 2, 3), torch.sigmoid(randn(2, 1, 2, 3, seed=1))
    grey[0, 0, 0, 0], grey[1, 0, 1, 2] = 0, 1
    value = bernoulli_nll(logits, grey)
    for s, n in product(range(3), range(2)):
        # chance of each of the 64 images when every pixel is thrown by itself
        chance = torch.where(BINARY == 1, grey[n], 1 - grey[n]).flatten(1).prod(1)
        nll = -Bernoulli(logits=logits[s, n]).log_prob(BINARY).flatten(1).sum(1)
        torch.testing.assert_close(value[s, n], chance @ nll, **CLOSE)


def test_bernoulli_of_certain_pixels_stays_finite() -> None:
    logits = torch.tensor([200.0, -200.0, 200.0, -200.0]).reshape(1, 1, 1, 2, 2)
    x = torch.tensor([0.0, 1.0, 1.0, 0.0]).reshape(1, 1, 2, 2)
    assert bernoulli_nll(logits, x).item() == 400


def test_likelihoods_carry_a_derivative_of_the_image() -> None:
    decoded, x = randn(2, 3, 1, 2, 2), torch.rand(3, 1, 2, 2).double().requires_grad_()
    (slope,) = torch.autograd.grad(bernoulli_nll(decoded, x).mean(0).sum(), x)
    torch.testing.assert_close(slope, -decoded.mean(0), **CLOSE)
    (slope,) = torch.autograd.grad(gaussian_nll(decoded, x, log(0.5)).mean(0).sum(), x)
    torch.testing.assert_close(slope, ((x - decoded) / 0.5).mean(0).detach(), **CLOSE)


def test_gaussian_nll_equals_torch() -> None:
    mean, x = randn(3, 4, 2, 2, 3), randn(4, 2, 2, 3, seed=1)
    expected = -Normal(mean, math.sqrt(0.3)).log_prob(x).flatten(2).sum(-1)
    torch.testing.assert_close(gaussian_nll(mean, x, log(0.3)), expected, **CLOSE)


def test_cross_entropy_of_soft_and_hard_labels_equals_torch() -> None:
    logits, y = 3 * randn(2, 5, 4), randn(5, 4, seed=1).softmax(-1)
    guess, truth = Categorical(logits=logits), Categorical(probs=y)
    expected = kl_divergence(truth.expand((2, 5)), guess) + truth.entropy()
    torch.testing.assert_close(cross_entropy(logits, y), expected, **CLOSE)
    label = torch.tensor([0, 3, 1, 1, 2])
    hard = torch.nn.functional.one_hot(label, 4).double()
    torch.testing.assert_close(cross_entropy(logits, hard), -guess.log_prob(label), **CLOSE)


def test_free_energy_is_linear_in_its_terms_and_keeps_their_dtype() -> None:
    lam, gam = (torch.tensor(v, dtype=torch.float64) for v in (0.5, 4.0))
    rate, distortion, loss = torch.tensor([[1.0, 2.0], [10.0, 20.0], [0.25, 0.5]])
    value = free_energy(rate, distortion, loss, lam, gam)
    assert value.tolist() == [1 + 5 + 1, 2 + 10 + 2]
    assert value.dtype == torch.float32


def test_the_nll_of_a_symbol_equals_torch() -> None:
    scores, x = 2 * randn(3, 4, 1, 2, 3), torch.eye(6).double()[[0, 5, 2, 2]].reshape(4, 1, 2, 3)
    guess = Categorical(logits=scores.flatten(2))
    expected = -guess.log_prob(torch.tensor([0, 5, 2, 2]))
    torch.testing.assert_close(categorical_nll(scores, x), expected, **CLOSE)
    chances = randn(4, 1, 2, 3, seed=1).flatten(1).softmax(-1)
    truth = Categorical(probs=chances)
    expected = kl_divergence(truth.expand((3, 4)), guess) + truth.entropy()
    found = categorical_nll(scores, chances.reshape(4, 1, 2, 3))
    torch.testing.assert_close(found, expected, **CLOSE)


powers = st.floats(0, 8)


@given(st.integers(0, 10_000), powers)
def test_log_partition_of_binary_images_is_a_sum_over_all_of_them(seed: int, power: float) -> None:
    logits = 3 * randn(2, 1, 2, 3, seed=seed)
    log_d = -bernoulli_nll(logits[:, None], BINARY)  # of each of the 64 images
    expected = torch.logsumexp(power * log_d, 1)
    found = bernoulli_log_partition(logits, torch.tensor(power, dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@given(st.integers(0, 10_000), powers)
def test_log_partition_of_symbols_is_a_sum_over_them(seed: int, power: float) -> None:
    logits = 3 * randn(3, 5, seed=seed)
    chances = logits.softmax(-1).tolist()
    expected = [math.log(sum(p**power for p in row)) for row in chances]
    found = categorical_log_partition(logits, torch.tensor(power, dtype=torch.float64))
    assert found.tolist() == pytest.approx(expected, rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("power", [0.05, 0.5, 2.0, 10.0])
@pytest.mark.parametrize("variance", [0.01, 7.0])
def test_log_partition_of_a_gaussian_is_an_integral(power: float, variance: float) -> None:
    mean, deviation = 0.3, math.sqrt(variance / power)
    density = Normal(torch.tensor(mean, dtype=torch.float64), math.sqrt(variance))

    def weight(x: float) -> float:
        return math.exp(power * density.log_prob(torch.tensor(x, dtype=torch.float64)).item())

    # eight standard deviations of the power: 1e-15 of the integral is outside
    integral = quad(weight, mean - 8 * deviation, mean + 8 * deviation, epsabs=0, epsrel=1e-10)[0]
    arguments = log(variance), torch.tensor(power, dtype=torch.float64)
    one = gaussian_log_partition(torch.full((1, 1, 1, 1), mean).double(), *arguments)
    assert one.item() == pytest.approx(math.log(integral), abs=1e-9)
    # pixels are independent, and do not depend on their means
    several = gaussian_log_partition(randn(4, 1, 2, 3), *arguments)
    assert several.tolist() == pytest.approx(4 * [6 * math.log(integral)], abs=6e-9)


def test_log_partition_of_a_gaussian_is_zero_at_power_one_and_infinite_at_zero() -> None:
    mean, powers = randn(4, 1, 2, 3), torch.tensor([1.0, 0.0], dtype=torch.float64)
    one, zero = (gaussian_log_partition(mean, log(0.3), power) for power in powers)
    assert (one == 0).all()
    assert (zero == math.inf).all()


def test_log_partitions_of_certain_pixels_stay_finite() -> None:
    logits = torch.tensor([[300.0, -300.0, 0.0]], dtype=torch.float64)
    power = torch.tensor(20.0, dtype=torch.float64)
    # two pixels that are certain add nothing, the third 2·2^-20
    expected = math.log(2) - 20 * math.log(2)
    assert bernoulli_log_partition(logits, power).item() == pytest.approx(expected, rel=1e-12)
    assert categorical_log_partition(logits, power).item() == pytest.approx(0, abs=1e-12)


# R, D and F of the exact minimum, from the theory page (rounded there to six digits)
