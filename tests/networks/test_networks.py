"""Encoders, decoders, classifiers and marginals."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from thermo_pl.errors import ConfigError
from thermo_pl.functionals import sample_latent
from thermo_pl.networks import (
    Bernoulli,
    ConvDecoder,
    ConvEncoder,
    Decoder,
    DiagonalGaussian,
    Encoder,
    Gaussian,
    GaussianMixture,
    GaussianPosterior,
    IdentityEncoder,
    LinearClassifier,
    Marginal,
    MLPClassifier,
    MLPDecoder,
    MLPEncoder,
    Networks,
    StandardNormal,
)
from thermo_pl.networks import Categorical as CategoricalPixels
from thermo_pl.networks.layers import Axes, Whitening

VECTORS = [(5,), (2, 3), (1, 2, 3, 4)]
SHAPES = [(1, 8, 8), (1, 7, 9), (3, 5, 4), (2, 1, 3), (1, 1, 1)]
CLOSE = {"rtol": 1e-12, "atol": 1e-12}  # float64


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "make",
    [
        lambda s: MLPEncoder(s, 3),
        lambda s: MLPEncoder(s, 3, hidden=()),
        lambda s: MLPEncoder(s, 3, hidden=(4, 5)),
        lambda s: ConvEncoder(s, 3, channels=(2,)),
        lambda s: ConvEncoder(s, 3, channels=(2, 3, 4)),
    ],
    ids=["mlp", "linear", "deep", "conv", "conv3"],
)
def test_encoders_give_a_mean_and_a_log_variance(
    make: Callable[[tuple[int, ...]], Encoder], shape: tuple[int, ...]
) -> None:
    encoder = make(shape)
    mean, log_var = encoder(torch.rand(6, *shape))
    assert mean.shape == log_var.shape == (6, 3)
    assert not torch.equal(mean, log_var)
    assert (encoder.image_shape, encoder.latent_dim, encoder.deterministic) == (shape, 3, False)


@pytest.mark.parametrize("shape", VECTORS, ids=str)
def test_perceptrons_take_examples_of_any_shape(shape: tuple[int, ...]) -> None:
    x = torch.rand(6, *shape)
    assert MLPEncoder(shape, 3)(x).mean.shape == (6, 3)
    assert MLPDecoder(shape, 3)(torch.randn(2, 6, 3)).shape == (2, 6, *shape)
    assert torch.equal(IdentityEncoder(shape)(x).mean, x.reshape(6, -1))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "make",
    [
        lambda s: MLPDecoder(s, 3),
        lambda s: MLPDecoder(s, 3, hidden=()),
        lambda s: ConvDecoder(s, 3, channels=(2,)),
        lambda s: ConvDecoder(s, 3, channels=(4, 3, 2)),
    ],
    ids=["mlp", "linear", "conv", "conv3"],
)
def test_decoders_give_one_image_for_each_draw(
    make: Callable[[tuple[int, ...]], Decoder], shape: tuple[int, ...]
) -> None:
    decoder, z = make(shape), torch.randn(2, 5, 3)
    decoded = decoder(z)
    assert decoded.shape == (2, 5, *shape)
    # draws and samples are not mixed up; batched products differ by rounding in float32
    torch.testing.assert_close(decoder(z[1:, 3:4])[0, 0], decoded[1, 3], rtol=1e-5, atol=1e-5)
    assert decoder.likelihood.nll(decoded, torch.rand(5, *shape)).shape == (2, 5)


@pytest.mark.parametrize("make", [MLPClassifier, LinearClassifier])
def test_classifiers_score_each_draw(make: Callable[[int, int], MLPClassifier]) -> None:
    classifier, z = make(3, 7), torch.randn(2, 5, 3)
    scores = classifier(z)
    assert scores.shape == (2, 5, 7)
    torch.testing.assert_close(classifier(z[1:, 3:4])[0, 0], scores[1, 3], rtol=1e-5, atol=1e-5)
    assert (classifier.latent_dim, classifier.classes) == (3, 7)


def test_draws_of_an_affine_function_are_the_function_of_the_draws() -> None:
    mean, log_var = torch.randn(2, 5, 4, dtype=torch.float64)
    posterior, layer = GaussianPosterior(mean, log_var), nn.Linear(4, 3).double()
    noise = torch.randn(7, 5, 4, dtype=torch.float64)
    found = posterior.draw_affine(layer.weight, layer.bias, noise)
    torch.testing.assert_close(found, layer(posterior.draw(noise)))
    assert found.shape == (7, 5, 3)


def test_a_classifier_with_a_forward_of_its_own_is_not_taken_for_its_layer() -> None:
    class Cooled(LinearClassifier):
        def forward(self, z: Tensor) -> Tensor:
            return super().forward(z) / 2

    assert LinearClassifier(2, 3).layer is not None
    assert Cooled(2, 3).layer is None
    assert MLPClassifier(2, 3, hidden=(4,)).layer is None


def test_a_decoder_with_a_forward_of_its_own_is_not_taken_for_its_layer() -> None:
    class Bent(MLPDecoder):
        def forward(self, z: Tensor) -> Tensor:
            return super().forward(z).sigmoid()

    assert MLPDecoder((1, 2, 2), 2, ()).layer is not None
    assert Bent((1, 2, 2), 2, ()).layer is None
    assert MLPDecoder((1, 2, 2), 2, (3,)).layer is None


class Laplace(Gaussian):
    """Another loss, by overriding the Gaussian's."""

    def nll(self, decoded: Tensor, x: Tensor) -> Tensor:
        return (decoded - x).abs().flatten(2).sum(-1)


def test_a_likelihood_with_a_loss_of_its_own_is_not_taken_for_quadratic() -> None:
    decoder = MLPDecoder((5,), 2, (), Laplace())
    posterior, z = GaussianPosterior(torch.zeros(4, 2), torch.zeros(4, 2)), torch.randn(3, 4, 2)
    decoded, scatter = decoder.of_posterior(posterior, z, Axes(None))
    assert scatter is None
    torch.testing.assert_close(decoded, decoder(z))


@pytest.mark.parametrize("base", [StandardNormal, DiagonalGaussian])
def test_a_rate_of_its_own_gets_draws_where_everything_else_has_a_closed_form(
    base: type[Marginal],
) -> None:
    def drawn(self: Marginal, posterior: GaussianPosterior, z: Tensor) -> Tensor:
        del self, posterior
        return z.square().sum(-1)

    own = type("Own", (base,), {"forward": drawn})
    parts = MLPEncoder((5,), 2, ()), LinearClassifier(2, 3), MLPDecoder((5,), 2, (), Gaussian())
    made = Networks(*parts, own(2), lam=1.0, gam=1.0)
    x, noise = torch.randn(4, 5), torch.randn(3, 4, 2)
    mean, log_var = made.encoder(x)
    rate = (mean + torch.exp(log_var / 2) * noise).square().sum(-1).mean(0)
    torch.testing.assert_close(made.terms(made(x, noise), x, torch.eye(3)[[0, 1, 2, 0]]).rate, rate)


@pytest.mark.parametrize("where", ["network", "layer", "sequence"])
def test_hooks_on_linear_heads_are_not_passed_by(where: str) -> None:
    posterior, noise = GaussianPosterior(*torch.randn(2, 4, 2)), torch.randn(3, 4, 2)
    classifier, decoder = LinearClassifier(2, 3), MLPDecoder((5,), 2, (), Gaussian())
    for head in (classifier, decoder):
        module = {"network": head, "layer": head.net[0], "sequence": head.net}[where]
        module.register_forward_hook(lambda module, given, out: out / 3)
    z = posterior.draw(noise)
    logits = classifier.of_posterior(posterior, noise, Axes(None))
    torch.testing.assert_close(
        logits, classifier(z) if where != "network" else classifier.net(z) / 3
    )
    decoded, scatter = decoder.of_posterior(posterior, z, Axes(None))
    assert scatter is None
    torch.testing.assert_close(decoded, decoder.net[0](z) / (1 if where == "layer" else 3))


def test_whitening_is_the_inverse_root_of_the_covariance() -> None:
    whitening = Whitening(3).double()
    x = torch.randn(50, 3, dtype=torch.float64)
    assert torch.equal(whitening(x), x)  # nothing until it has seen data
    root = torch.randn(3, 3, dtype=torch.float64)
    covariance, mean = root @ root.T, torch.randn(3, dtype=torch.float64)
    whitening.learn(mean, covariance)
    ridge = covariance + 0.1 * covariance.trace() / 3 * torch.eye(3, dtype=torch.float64)
    expected = np.linalg.inv(sqrtm(ridge.numpy()).real)
    torch.testing.assert_close(whitening.matrix, torch.from_numpy(expected))
    torch.testing.assert_close(whitening(mean[None]), torch.zeros(1, 3, dtype=torch.float64))
    assert whitening.state_dict()["learned"]


def test_networks_are_smooth_enough_for_a_second_derivative() -> None:
    networks = [
        MLPEncoder((1, 3, 3), 2, hidden=(8,)),
        ConvEncoder((1, 3, 3), 2, channels=(4,)),
        MLPDecoder((1, 3, 3), 2, hidden=(8,)),
        ConvDecoder((1, 3, 3), 2, channels=(4,)),
        MLPClassifier(2, 3, hidden=(8,)),
    ]
    for network in networks:
        assert not any(isinstance(layer, nn.ReLU) for layer in network.modules())
        at = torch.randn((1, 1, 3, 3) if isinstance(network, Encoder) else (1, 1, 2)).double()
        network.double()

        def total(x: Tensor, network: nn.Module = network) -> Tensor:
            out = network(x)
            return (out[0] if isinstance(out, tuple) else out).sum()

        second = torch.autograd.functional.hessian(total, at)
        assert second.abs().max() > 1e-6, network  # ReLU networks have exactly zero


def test_identity_encoder_is_the_image_whatever_the_noise() -> None:
    encoder, x = IdentityEncoder((2, 2, 3)), torch.randn(4, 2, 2, 3)
    mean, log_var = encoder(x)
    z = sample_latent(mean, log_var, 1e6 * torch.randn(3, 4, 12))
    assert torch.equal(z, x.reshape(1, 4, 12).expand(3, -1, -1))
    assert encoder.deterministic
    assert encoder.latent_dim == 12
    assert list(encoder.parameters()) == []


def normals(mean: Tensor, log_var: Tensor) -> Independent:
    return Independent(Normal(mean, torch.exp(0.5 * log_var)), 1)


def encoded(n: int = 4, k: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, log variance and two draws."""
    mean, log_var = torch.randn(2, n, k, dtype=torch.float64)
    return mean, log_var, sample_latent(mean, log_var, torch.randn(2, n, k, dtype=torch.float64))


def randomised(marginal: Marginal) -> Marginal:
    """The marginal away from where it starts, in float64."""
    marginal.double()
    for parameter in marginal.parameters():
        nn.init.normal_(parameter)
    return marginal


@pytest.mark.parametrize("make", [StandardNormal, DiagonalGaussian, GaussianMixture])
def test_marginals_give_one_rate_for_each_image(make: type[Marginal]) -> None:
    marginal = randomised(make(3))
    mean, log_var, z = encoded()
    draws = 2 if make is GaussianMixture else 1  # the others are analytic
    assert marginal(GaussianPosterior(mean, log_var), z).shape == (draws, 4)
    assert marginal.log_prob(z).shape == (2, 4)
    assert marginal.latent_dim == 3


def test_gaussian_marginals_equal_torch() -> None:
    mean, log_var, z = encoded()
    learned = randomised(DiagonalGaussian(3))
    cases = [
        (StandardNormal(3), Independent(Normal(torch.zeros(3).double(), 1.0), 1)),
        (learned, normals(learned.mean.detach(), learned.log_var.detach())),
    ]
    for marginal, reference in cases:
        torch.testing.assert_close(marginal.log_prob(z).detach(), reference.log_prob(z), **CLOSE)
        rate = marginal(GaussianPosterior(mean, log_var), z).detach()[0]
        torch.testing.assert_close(rate, kl_divergence(normals(mean, log_var), reference), **CLOSE)


def test_a_learned_gaussian_starts_at_the_standard_normal() -> None:
    mean, log_var, z = encoded()
    rates = [
        m.double()(GaussianPosterior(mean, log_var), z)
        for m in (StandardNormal(3), DiagonalGaussian(3))
    ]
    assert torch.equal(*rates)


def test_mixture_density_equals_torch() -> None:
    marginal = randomised(GaussianMixture(3, components=5))
    weights = Categorical(logits=marginal.logits)
    reference = MixtureSameFamily(weights, normals(marginal.mean, marginal.log_var))
    z = torch.randn(2, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(marginal.log_prob(z), reference.log_prob(z), **CLOSE)


def test_likelihoods_have_the_mean_of_their_distribution() -> None:
    decoded = torch.tensor([0.0, math.log(3)])
    torch.testing.assert_close(Bernoulli().mean(decoded), torch.tensor([0.5, 0.75]))
    assert torch.equal(Gaussian().mean(decoded), decoded)
    symbols = CategoricalPixels().mean(decoded.reshape(1, 1, 1, 2)).flatten()
    torch.testing.assert_close(symbols, torch.tensor([0.25, 0.75]))
    assert isinstance(MLPDecoder((1, 2, 2), 3).likelihood, Bernoulli)
    likelihood = Gaussian(0.2)
    assert ConvDecoder((1, 2, 2), 3, likelihood=likelihood).likelihood is likelihood


MARGINALS: list[Callable[[], Marginal]] = [
    lambda: StandardNormal(2),
    lambda: DiagonalGaussian(2),
    lambda: GaussianMixture(2, components=3),
]


def density_on_a_grid(marginal: Marginal) -> tuple[Tensor, Tensor]:
    """Points of the plane, and the mass q has there."""
    axis = torch.linspace(-9, 9, 181, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        return z, marginal.log_prob(z).exp() * 0.1**2


@pytest.mark.parametrize("make", MARGINALS)
def test_draws_of_a_marginal_have_the_moments_of_its_density(make: Callable[[], Marginal]) -> None:
    marginal = make().double()
    with torch.no_grad():
        for parameter in marginal.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape))
    grid, mass = density_on_a_grid(marginal)
    assert mass.sum().item() == pytest.approx(1, abs=1e-6)  # nothing of it is off the grid
    n = 40_000
    z = marginal.sample(n, torch.Generator().manual_seed(1)).detach()
    assert z.shape == (n, 2)
    for values, on_grid in ((z, grid), (z.square(), grid.square()), (z.prod(1), grid.prod(1))):
        error = values.double().std(0) / math.sqrt(n)
        # five standard errors
        assert ((values.mean(0) - mass @ on_grid).abs() < 5 * error).all()
        assert error.max() < 0.05  # so that the line above can fail


@pytest.mark.parametrize("make", MARGINALS)
def test_draws_of_a_marginal_depend_on_the_generator_alone(make: Callable[[], Marginal]) -> None:
    marginal = make()
    a, b, c = (marginal.sample(5, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    torch.manual_seed(0)
    assert torch.equal(marginal.sample(5), a)  # the global generator, if none is given


@pytest.mark.parametrize("make", MARGINALS)
def test_points_of_a_marginal_are_draws_of_equal_weight(make: Callable[[], Marginal]) -> None:
    marginal = make().double()
    z, log_weight = marginal.points(7, torch.Generator().manual_seed(0))
    assert torch.equal(z, marginal.sample(7, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(log_weight.exp(), torch.full((7,), 1 / 7, dtype=z.dtype))


@pytest.mark.parametrize("learned", [False, True])
def test_a_pixel_variance_is_a_parameter_only_if_it_is_learned(learned: bool) -> None:
    likelihood = Gaussian(0.2, learned=learned)
    assert [p.numel() for p in likelihood.parameters()] == ([1] if learned else [])
    assert likelihood.log_variance.ndim == 0
    assert likelihood.log_variance.item() == pytest.approx(math.log(0.2), rel=1e-6)  # float32


def test_a_fixed_pixel_variance_is_not_rounded_with_the_networks() -> None:
    likelihood = Gaussian(0.2).float().double()
    assert likelihood.log_variance.item() == math.log(0.2)


VARIANCES = [0.1, 0.5, 2.0, 7.0]
EACH: dict[str, Callable[[], Gaussian]] = {
    "fixed": lambda: Gaussian(VARIANCES),
    "learned": lambda: Gaussian(VARIANCES, learned=True),
    "learned from one": lambda: Gaussian(0.7, learned=True, per_feature=True),
}


@pytest.mark.parametrize("case", EACH)
def test_a_variance_for_each_feature_is_that_of_torchs_normal(case: str) -> None:
    likelihood = MLPDecoder((2, 2), 3, (), EACH[case]()).double().likelihood
    assert [p.shape for p in likelihood.parameters()] == (case != "fixed") * [(2, 2)]
    variance = [0.7] * 4 if case == "learned from one" else VARIANCES
    scale = torch.tensor(variance, dtype=torch.float64).sqrt().reshape(2, 2)
    torch.testing.assert_close(likelihood.log_variance.detach(), 2 * scale.log(), atol=1e-7, rtol=0)
    mean, x = torch.randn(2, 5, 2, 2, dtype=torch.float64)
    exact = torch.exp(0.5 * likelihood.log_variance.detach().double())
    expected = -Independent(Normal(mean, exact), 2).log_prob(x)
    torch.testing.assert_close(likelihood.nll(mean[None], x).detach()[0], expected, **CLOSE)
    # ∫ N^λ = Π (2πσ²)^((1-λ)/2) λ^(-1/2)
    lam = torch.tensor(0.3, dtype=torch.float64)
    log_z = 0.35 * (2 * math.pi * exact**2).log().sum() - 2 * lam.log()
    found = likelihood.log_partition(mean, lam).detach()
    torch.testing.assert_close(found, log_z.expand(5), **CLOSE)


POWERS = [0.5, 1.0, 2.0]


@pytest.mark.parametrize("power", POWERS)
def test_the_log_partition_of_a_classifier_is_a_sum_over_its_classes(power: float) -> None:
    classifier, logits = LinearClassifier(3, 4), torch.randn(5, 4, dtype=torch.float64)
    labels = torch.eye(4).double()
    expected = torch.stack([
        -power * classifier.nll(logits[None], y.expand(5, 4))[0] for y in labels
    ])
    found = classifier.log_partition(logits, torch.tensor(power, dtype=torch.float64))
    torch.testing.assert_close(found, expected.logsumexp(0), **CLOSE)


SHAPE = (1, 4, 4)
REFUSED = [
    (lambda: ConvEncoder((13,), 2), "image_shape: got [13]; allowed: three positive sizes"),
    (lambda: ConvDecoder((4, 4), 2), "image_shape: got [4, 4]; allowed: three positive sizes"),
    (lambda: MLPEncoder((1, 0, 4), 2), "image_shape: got [1, 0, 4]; allowed: one or more positive"),
    (lambda: MLPDecoder((), 2), "image_shape: got []; allowed: one or more positive sizes"),
    (lambda: IdentityEncoder((1, -1, -1)), "image_shape: got [1, -1, -1]; allowed: one or more"),
    (lambda: MLPEncoder(SHAPE, 0), "latent_dim: got 0; allowed: a whole number > 0"),
    (lambda: ConvDecoder(SHAPE, -1), "latent_dim: got -1; allowed: a whole number > 0"),
    (lambda: MLPClassifier(0, 3), "latent_dim: got 0; allowed: a whole number > 0"),
    (lambda: StandardNormal(0), "latent_dim: got 0; allowed: a whole number > 0"),
    (lambda: MLPEncoder(SHAPE, 2, hidden=[8, 0]), "hidden: got [8, 0]; allowed: whole numbers > 0"),
    (lambda: ConvEncoder(SHAPE, 2, channels=[]), "channels: got []; allowed: one or more"),
    (lambda: ConvDecoder(SHAPE, 2, channels=[]), "channels: got []; allowed: one or more"),
    (lambda: ConvEncoder(SHAPE, 2, channels=(4, 0)), "channels: got [4, 0]; allowed: one or more"),
    (lambda: ConvDecoder(SHAPE, 2, channels=(-1,)), "channels: got [-1]; allowed: one or more"),
    (lambda: LinearClassifier(2, 1), "classes: got 1; allowed: a whole number > 1"),
    (lambda: GaussianMixture(2, components=0), "components: got 0; allowed: a whole number > 0"),
    (lambda: Gaussian(0.0), "variance: got 0.0; allowed: a finite number > 0"),
    (lambda: Gaussian(math.inf), "variance: got inf; allowed: a finite number > 0"),
    (lambda: Gaussian(math.nan), "variance: got nan; allowed: a finite number > 0"),
    (lambda: Gaussian([0.1, 0.0]), "variance: got [0.1, 0.0]; allowed: a finite number > 0, or"),
    (lambda: Gaussian(per_feature=True), "per_feature: got True; allowed: false, or true with"),
    (lambda: MLPDecoder((3,), 2, (), Gaussian([1.0, 2.0])), "variance: got 2; allowed: 3 of them"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_mistake_is_told_in_one_line(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        make()
    assert "\n" not in str(caught.value)
