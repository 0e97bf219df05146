"""Rate, distortion, classification loss: against hand-made numbers, distributions, quadrature."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import dblquad, quad
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


def test_rate_by_hand() -> None:
    # KL(N(1, 4) ‖ N(3, 2)) = ½[4/2 + 4/2 - 1 - log 2]
    arguments = (torch.tensor([[1.0]]), torch.tensor([[4.0]]).log())
    value = gaussian_rate(*arguments, torch.tensor([3.0]), torch.tensor([2.0]).log())
    assert value.shape == (1,)
    assert value.item() == pytest.approx(0.5 * (3 - math.log(2)), rel=1e-6)  # float32


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


def test_monte_carlo_rate_is_unbiased() -> None:
    mean, log_var = randn(3, 2), 0.3 * randn(3, 2, seed=1)
    to_mean, to_log_var = randn(2, seed=2), 0.3 * randn(2, seed=3)
    draws = 40_000
    z = sample_latent(mean, log_var, randn(draws, 3, 2, seed=4))
    log_marginal = gaussian_log_prob(z, to_mean, to_log_var)
    estimate = monte_carlo_rate(z, mean, log_var, log_marginal)
    error = estimate.std(0) / math.sqrt(draws)
    exact = gaussian_rate(mean, log_var, to_mean, to_log_var)
    # five standard errors: a correct estimator fails for fewer than 2 in 10⁶ seeds
    assert ((estimate.mean(0) - exact).abs() < 5 * error).all()
    assert error.max() < 0.02  # so that the line above can fail


def test_monte_carlo_rate_against_the_encoder_itself_is_zero_for_every_draw() -> None:
    mean, log_var = randn(3, 2), randn(3, 2, seed=1)
    z = sample_latent(mean, log_var, randn(2, 3, 2, seed=2))
    assert (monte_carlo_rate(z, mean, log_var, gaussian_log_prob(z, mean, log_var)) == 0).all()


BINARY = torch.tensor(list(product((0.0, 1.0), repeat=6)), dtype=torch.float64)
"""All binary images of 1×2×3 pixels, shape (64, 1, 2, 3)."""
BINARY = BINARY.reshape(-1, 1, 2, 3)


def test_bernoulli_by_hand() -> None:
    # log odds 0 and log 3 say p = 1/2 and 3/4
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 1, 1, 1, 2)
    x = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2)
    value = bernoulli_nll(logits, x)
    assert value.shape == (1, 1)
    assert value.item() == pytest.approx(math.log(2) + math.log(4), rel=1e-6)  # float32


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


@pytest.mark.parametrize("variance", [0.01, 0.5, 7.0])
def test_gaussian_nll_is_normalised(variance: float) -> None:
    mean = torch.tensor([0.3, -0.8], dtype=torch.float64)

    def density(*x: float) -> float:
        image = torch.tensor(x, dtype=torch.float64).reshape(1, 1, 1, -1)
        nll = gaussian_nll(mean[: len(x)].reshape(1, 1, 1, 1, -1), image, log(variance))
        return math.exp(-nll.item())

    # eight standard deviations: 1e-15 of the mass is outside; quadrature is asked for 1e-8
    low, high = ([m + s * 8 * math.sqrt(variance) for m in mean.tolist()] for s in (-1, 1))
    one = quad(density, low[0], high[0], epsabs=1e-8, epsrel=1e-8)[0]
    assert one == pytest.approx(1, abs=1e-7)
    # two pixels, to 1e-4: each costs a thousand calls
    two = dblquad(density, low[1], high[1], low[0], high[0], epsabs=1e-4, epsrel=1e-4)[0]
    assert two == pytest.approx(1, abs=1e-3)


def test_cross_entropy_by_hand() -> None:
    # scores log(1, 2, 5) say 1/8, 1/4, 5/8
    logits = torch.tensor([1.0, 2.0, 5.0]).log().reshape(1, 1, 3)
    y = torch.tensor([[0.5, 0.5, 0.0]])
    expected = 0.5 * math.log(8) + 0.5 * math.log(4)
    assert cross_entropy(logits, y).item() == pytest.approx(expected, rel=1e-6)  # float32


def test_cross_entropy_of_soft_and_hard_labels_equals_torch() -> None:
    logits, y = 3 * randn(2, 5, 4), randn(5, 4, seed=1).softmax(-1)
    guess, truth = Categorical(logits=logits), Categorical(probs=y)
    expected = kl_divergence(truth.expand((2, 5)), guess) + truth.entropy()
    torch.testing.assert_close(cross_entropy(logits, y), expected, **CLOSE)
    label = torch.tensor([0, 3, 1, 1, 2])
    hard = torch.nn.functional.one_hot(label, 4).double()
    torch.testing.assert_close(cross_entropy(logits, hard), -guess.log_prob(label), **CLOSE)


weights = st.lists(st.floats(1e-6, 1), min_size=3, max_size=3)


@given(weights, st.lists(st.floats(-30, 30), min_size=3, max_size=3))
def test_cross_entropy_is_at_least_the_entropy_of_the_label(
    masses: list[float], scores: list[float]
) -> None:
    y = torch.tensor([masses], dtype=torch.float64)
    y /= y.sum()
    entropy = Categorical(probs=y).entropy().item()
    logits = torch.tensor([[scores]], dtype=torch.float64)
    # torch's Categorical clamps probabilities at 2e-16 and normalises: rounding only
    assert cross_entropy(logits, y).item() >= entropy - 1e-12
    assert cross_entropy(y.log()[None], y).item() == pytest.approx(entropy, abs=1e-12)


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


def test_log_partition_of_a_distribution_is_zero_at_power_one() -> None:
    one = torch.tensor(1.0, dtype=torch.float64)
    logits = 3 * randn(4, 1, 2, 3)
    torch.testing.assert_close(bernoulli_log_partition(logits, one), torch.zeros(4).double())
    flat = logits.flatten(1)
    torch.testing.assert_close(categorical_log_partition(flat, one), torch.zeros(4).double())
    assert (gaussian_log_partition(logits, log(0.3), one) == 0).all()


def test_log_partition_at_power_zero_counts_what_there_is() -> None:
    zero = torch.tensor(0.0, dtype=torch.float64)
    logits = 3 * randn(4, 1, 2, 3)
    expected = torch.full((4,), 6 * math.log(2), dtype=torch.float64)  # 64 images
    torch.testing.assert_close(bernoulli_log_partition(logits, zero), expected, **CLOSE)
    expected = torch.full((4,), math.log(6), dtype=torch.float64)
    torch.testing.assert_close(categorical_log_partition(logits.flatten(1), zero), expected)
    assert (gaussian_log_partition(logits, log(0.3), zero) == math.inf).all()


def test_log_partitions_of_certain_pixels_stay_finite() -> None:
    logits = torch.tensor([[300.0, -300.0, 0.0]], dtype=torch.float64)
    power = torch.tensor(20.0, dtype=torch.float64)
    # two pixels that are certain add nothing, the third 2·2^-20
    expected = math.log(2) - 20 * math.log(2)
    assert bernoulli_log_partition(logits, power).item() == pytest.approx(expected, rel=1e-12)
    assert categorical_log_partition(logits, power).item() == pytest.approx(0, abs=1e-12)


VARIANCES = torch.tensor([4, 2.5, 1.6, 1, 0.6, 0.3], dtype=torch.float64)
NOISE_VARIANCE = 0.5
# R, D and F of the exact minimum, from the theory page (rounded there to six digits)
TABLE = {
    0.1: (0.0, 13.434190, 1.343419),
    0.5: (1.386294, 8.334190, 5.553389),
    1.0: (2.863750, 6.234190, 9.097939),
    2.0: (4.687778, 4.934190, 14.556158),
    10.0: (9.516092, 3.734190, 46.857989),
}


def sigma_points(variances: Tensor) -> Tensor:
    """Points ±√(k v_i) e_i: their mean of any quadratic is the Gaussian's, exactly."""
    axes = torch.diag((len(variances) * variances).sqrt())
    return torch.cat([axes, -axes])


def equilibrium(lam: float) -> tuple[list[Tensor], Tensor]:
    """The optimal linear encoder (map, log variance) and decoder at λ, and the data."""
    rotation = torch.linalg.qr(randn(6, 6))[0]
    x = sigma_points(VARIANCES) @ rotation.T
    scale = (VARIANCES - NOISE_VARIANCE / lam).clamp_min(0).sqrt()
    decoder = rotation * scale
    precision = lam * decoder.T @ decoder / NOISE_VARIANCE + torch.eye(6)
    encoder = torch.linalg.solve(precision, lam * decoder.T / NOISE_VARIANCE)
    log_var = -precision.diagonal().log()
    return [part.requires_grad_() for part in (encoder, log_var, decoder)], x


def rate_and_distortion(parts: list[Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """R and D of the linear model by the functionals, their expectations exact."""
    encoder, log_var, decoder = parts
    mean, log_var = x @ encoder.T, log_var.expand(len(x), -1)
    zero = torch.zeros(6, dtype=torch.float64)
    rate = gaussian_rate(mean, log_var, zero, zero).mean()
    noise = sigma_points(torch.ones(6).double())[:, None].expand(-1, len(x), -1)
    decoded = (sample_latent(mean, log_var, noise) @ decoder.T).reshape(-1, len(x), 1, 2, 3)
    image = x.reshape(-1, 1, 2, 3)
    return rate, gaussian_nll(decoded, image, log(NOISE_VARIANCE)).mean()


@pytest.mark.parametrize("lam", TABLE)
def test_linear_gaussian_vae_has_its_exact_equilibrium(lam: float) -> None:
    parts, x = equilibrium(lam)
    rate, distortion = rate_and_distortion(parts, x)
    zero = torch.tensor(0.0)
    value = free_energy(rate, distortion, zero, torch.tensor(lam).double(), zero)
    found = (rate.item(), distortion.item(), value.item())
    assert found == pytest.approx(TABLE[lam], rel=0, abs=1e-6)  # the table has six digits
    # it is an equilibrium: no first-order change of J
    slopes = torch.autograd.grad(value, parts)
    assert max(slope.abs().max().item() for slope in slopes) < 1e-12


@pytest.mark.parametrize("lam", [0.7, 2.0])  # away from λτ = σ², where a latent switches on
def test_linear_gaussian_equilibrium_obeys_the_first_law(lam: float) -> None:
    # central differences of the surface itself: dF/dλ = D and dR/dλ = -λ dD/dλ
    h = 1e-4
    up, down, here = (rate_and_distortion(*equilibrium(v)) for v in (lam + h, lam - h, lam))
    force = [(a - b).item() / (2 * h) for a, b in zip(up, down, strict=True)]
    energy = (up[0] + (lam + h) * up[1] - down[0] - (lam - h) * down[1]).item() / (2 * h)
    # the differences are of second order in h: third derivatives of order 10 times h²
    assert energy == pytest.approx(here[1].item(), abs=1e-6)
    assert force[0] == pytest.approx(-lam * force[1], abs=1e-6)
