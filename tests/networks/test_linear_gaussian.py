"""Linear-Gaussian parts: the cubature against moments and quadrature, losses against torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from support.numbers import randn
from thermo_pl.errors import ConfigError
from thermo_pl.networks import (
    Gaussian,
    GaussianClassifier,
    GaussianPosterior,
    LinearGaussianEncoder,
    MLPDecoder,
    Networks,
    StandardNormal,
)

CLOSE = {"rtol": 1e-12, "atol": 1e-12}  # float64
SHAPE = (1, 1, 4)
few = settings(max_examples=25, deadline=None)  # milliseconds each, on a machine that is shared


def randomised(module: nn.Module, seed: int = 0) -> Any:
    """The module in float64, all parameters drawn anew."""
    module.double()
    for i, p in enumerate(module.parameters()):
        p.data = randn(*p.shape, seed=1000 * seed + i)
    return module


def hermite(mean: Tensor, std: Tensor, nodes: int = 3) -> tuple[Tensor, Tensor]:
    """Points and weights of a Gauss-Hermite grid, exact to degree 2 nodes - 1 in each variable."""
    at, weight = np.polynomial.hermite_e.hermegauss(nodes)
    grid = torch.tensor(list(product(at, repeat=len(mean))), dtype=torch.float64)
    share = torch.tensor(list(product(weight / weight.sum(), repeat=len(mean)))).double().prod(1)
    return mean + std * grid, share


def draws(encoder: LinearGaussianEncoder, x: Tensor) -> tuple[GaussianPosterior, Tensor]:
    posterior = encoder(x)
    return posterior, posterior.draw(encoder.noise(1, len(x)).to(x.dtype))


@few
@given(st.integers(1, 4), st.integers(0, 10_000))
def test_the_cubature_is_exact_for_every_cubic_monomial(k: int, seed: int) -> None:
    encoder, x = randomised(LinearGaussianEncoder(SHAPE, k), seed), randn(3, *SHAPE, seed=seed)
    with torch.no_grad():
        posterior, z = draws(encoder, x)
        std = (0.5 * posterior.log_var).exp()
        grids = [hermite(*ends) for ends in zip(posterior.mean, std, strict=True)]
    assert z.shape == (2 * k, 3, k)
    for degree in range(4):
        for which in combinations_with_replacement(range(k), degree):
            found = z[..., list(which)].prod(-1).mean(0)
            for i, (at, weight) in enumerate(grids):
                expected = weight @ at[:, list(which)].prod(-1)
                scale = at.abs().max() ** degree
                assert abs(found[i] - expected) <= 1e-12 * scale, which


def test_the_points_depend_on_neither_the_number_of_draws_nor_chance() -> None:
    encoder = LinearGaussianEncoder(SHAPE, 3)
    noise = [encoder.noise(s, 5, torch.Generator().manual_seed(s)) for s in (1, 7)]
    assert torch.equal(*noise)
    assert noise[0].shape == (6, 5, 3)
    # exact to the last digit, also where the networks are in float32
    assert noise[0].dtype == torch.float64
    assert encoder.exact


def test_the_encoder_is_linear_with_one_variance_for_all_images() -> None:
    encoder = randomised(LinearGaussianEncoder(SHAPE, 3))
    a, b = randn(2, 5, *SHAPE, seed=1)
    zero = encoder(torch.zeros_like(a))
    mean = 2 * encoder(a).mean - encoder(b).mean
    torch.testing.assert_close(encoder(2 * a - b).mean, mean, **CLOSE)
    for posterior in (encoder(a), zero):
        assert torch.equal(posterior.log_var, encoder.log_var.expand(5, 3))
    assert torch.equal(LinearGaussianEncoder(SHAPE, 3).log_var, torch.zeros(3))


VARIANCE, PIXEL_VARIANCE, NOISE = 0.3, 0.2, 0.7


def linear_model(k: int, seed: int = 0, **changes: Any) -> Networks:
    parts: dict[str, Any] = {
        "encoder": LinearGaussianEncoder(SHAPE, k),
        "classifier": GaussianClassifier(k, 2, VARIANCE, NOISE),
        "decoder": MLPDecoder(SHAPE, k, hidden=(), likelihood=Gaussian(PIXEL_VARIANCE)),
        "marginal": StandardNormal(k),
        "lam": 1.3,
        "gam": 2.0,
    }
    made: Networks = randomised(Networks(**(parts | changes)), seed)
    return made


@few
@given(st.integers(1, 5), st.integers(0, 10_000))
def test_r_d_and_c_equal_their_closed_forms(k: int, seed: int) -> None:
    made = linear_model(k, seed)
    x, y = randn(6, *SHAPE, seed=seed + 1), randn(6, 2, seed=seed + 2)
    with torch.no_grad():
        terms = made.terms(made(x, made.noise(1, 6)), x, y)
        mean, log_var = made.encoder(x)
        variance = log_var.exp()

        def expected(linear: nn.Linear, target: Tensor, noise: float, spread: float) -> Tensor:
            # E|target - Wz - b|² = |target - Wm - b|² + Σ_j |W_j|² v_j
            w, bias = linear.weight, linear.bias
            square = (target - mean @ w.T - bias).square().sum(1)
            square = square + variance @ w.square().sum(0) + spread
            entries = target.shape[1]
            return 0.5 * entries * math.log(2 * math.pi * noise) + square / (2 * noise)

        pixels = expected(made.decoder.net[-1], x.flatten(1), PIXEL_VARIANCE, 0.0)
        labels = expected(made.classifier.net[-1], y, VARIANCE, NOISE)
    torch.testing.assert_close(terms.distortion, pixels, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(terms.classification, labels, rtol=1e-11, atol=1e-11)
    code = Independent(Normal(mean, variance.sqrt()), 1)
    prior = Independent(Normal(torch.zeros_like(mean), 1.0), 1)
    torch.testing.assert_close(terms.rate, kl_divergence(code, prior), rtol=1e-11, atol=1e-11)


def test_the_label_loss_is_the_expectation_over_the_labels_own_noise() -> None:
    # y ~ N(ȳ, S) with a full covariance S; the loss is quadratic in y, so the grid is exact
    root = randn(2, 2, seed=3)
    noise = root @ root.T
    classifier = GaussianClassifier(3, 2, VARIANCE, noise.trace().item())
    mean, guess = randn(5, 2, seed=4), randn(4, 5, 2, seed=5)
    grid, weight = hermite(torch.zeros(2), torch.ones(2))
    found = classifier.nll(guess, mean)
    assert found.shape == (4, 5)
    for s, i in product(range(4), range(5)):
        likelihood = MultivariateNormal(guess[s, i], VARIANCE * torch.eye(2).double())
        expected = -weight @ likelihood.log_prob(mean[i] + grid @ root.T)
        assert found[s, i].item() == pytest.approx(expected.item(), rel=1e-12)


def test_without_label_noise_the_loss_is_a_plain_density() -> None:
    classifier = GaussianClassifier(3, 2, VARIANCE)
    y, guess = randn(5, 2, seed=4), randn(4, 5, 2, seed=5)
    expected = -Independent(Normal(guess, math.sqrt(VARIANCE)), 1).log_prob(y)
    torch.testing.assert_close(classifier.nll(guess, y), expected, **CLOSE)
    assert not classifier.categorical


def test_the_classifier_is_linear_and_its_constants_are_no_parameters() -> None:
    classifier = GaussianClassifier(3, 2, VARIANCE, NOISE)
    assert sum(p.numel() for p in classifier.parameters()) == 3 * 2 + 2
    # they are data: a cast of the networks must not round them
    y, guess = randn(5, 2, seed=4), randn(4, 5, 2, seed=5)
    before = classifier.nll(guess, y)
    assert torch.equal(classifier.float().double().nll(guess, y), before)


def test_predictions_are_the_expected_labels_and_images() -> None:
    made, x = linear_model(3), randn(5, *SHAPE, seed=1)
    with torch.no_grad():
        found = made.predict(x)
        mean = made.encoder(x).mean
        torch.testing.assert_close(found.z, mean, **CLOSE)
        torch.testing.assert_close(found.probabilities, made.classifier(mean), **CLOSE)
        torch.testing.assert_close(found.reconstruction, made.decoder(mean), **CLOSE)
    assert not made.classifies


def test_a_posterior_of_equal_weights_leaves_values_as_they_are() -> None:
    posterior = GaussianPosterior(randn(5, 3, seed=0), randn(5, 3, seed=1))
    values = randn(2, 5, 7, seed=2)
    assert torch.equal(posterior.weigh(values), values)
    assert torch.equal(posterior.centre, posterior.mean)
    noise = randn(2, 5, 3, seed=3)
    expected = posterior.mean + (0.5 * posterior.log_var).exp() * noise
    torch.testing.assert_close(posterior.draw(noise), expected, **CLOSE)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: GaussianClassifier(2, 2, 0.0), "variance: got 0.0; allowed: a finite number > 0"),
    (lambda: GaussianClassifier(2, 2, math.nan), "variance: got nan; allowed: a finite number"),
    (lambda: GaussianClassifier(2, 2, 0.1, -1.0), "label_noise: got -1.0; allowed: a finite"),
    (lambda: GaussianClassifier(2, 2, 0.1, math.nan), "label_noise: got nan; allowed: a finite"),
    (lambda: LinearGaussianEncoder(SHAPE, 0), "latent_dim: got 0; allowed: a whole number > 0"),
    (lambda: LinearGaussianEncoder((), 2), "image_shape: got []; allowed: one or more"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_mistake_is_told_in_one_line(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        make()
    assert "\n" not in str(caught.value)
