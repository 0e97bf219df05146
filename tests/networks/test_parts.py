"""The networks as one module: J and its terms, special cases, weights, refusals, predictions."""

from __future__ import annotations

import doctest
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Independent, Normal, kl_divergence
from torch.nn.functional import one_hot

from support.meeting import on_ranks
from support.small_networks import CLASSES, CLOSE, SHAPE, K, batch, encoding, parts
from thermo_pl.errors import ConfigError, NonFinite
from thermo_pl.networks import (
    DiagonalGaussian,
    Encoder,
    Gaussian,
    GaussianMixture,
    IdentityEncoder,
    LinearClassifier,
    LinearGaussianEncoder,
    MLPClassifier,
    MLPDecoder,
    MLPEncoder,
    Networks,
    StandardNormal,
)
from thermo_pl.networks import parts as parts_module
from thermo_pl.networks.cubature import turned_cubature
from thermo_pl.networks.training import training_loss
from thermo_pl.particles import Batch, Reduction


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def model(**changes: Any) -> Networks:
    return Networks(**parts(**changes))


def value(made: Networks, data: Batch, noise: Tensor) -> Tensor:
    """J of a batch at given draws."""
    terms = made.terms(made(data.x, noise), data.x, data.y)
    return made.objective(terms) @ data.weight / data.weight.sum()


# -- the objective ------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 3])
def test_the_objective_is_the_weighted_mean_of_hand_assembled_terms(samples: int) -> None:
    made, data = model(), batch()
    with torch.no_grad():
        made.marginal.mean.copy_(torch.tensor([0.3, -0.4]))
        made.marginal.log_var.copy_(torch.tensor([0.2, -0.1]))
    noise = made.noise(samples, 6)
    e, m = encoding(made, data.x), made.marginal
    z = e.mean + e.stddev * noise
    rate = kl_divergence(e, Independent(Normal(m.mean, torch.exp(0.5 * m.log_var)), 1))
    decoded = Bernoulli(logits=made.decoder(z))
    distortion = -decoded.log_prob(data.x.expand(samples, -1, -1, -1, -1)).flatten(2).sum(-1)
    loss = -Categorical(logits=made.classifier(z)).log_prob(data.y.argmax(-1))
    each = rate + 0.7 * distortion.mean(0) + 3.0 * loss.mean(0)
    expected = (each * data.weight).sum() / data.weight.sum()
    torch.testing.assert_close(value(made, data, noise), expected, **CLOSE)


def test_a_mixture_marginal_takes_its_rate_from_the_draws() -> None:
    made, data = model(marginal=GaussianMixture(K, 4), lam=0.0, gam=0.0), batch()
    noise = made.noise(5, 6)
    e = encoding(made, data.x)
    z = e.mean + e.stddev * noise
    rate = (e.log_prob(z) - made.marginal.log_prob(z)).mean(0)
    expected = (rate * data.weight).sum() / data.weight.sum()
    torch.testing.assert_close(value(made, data, noise), expected, **CLOSE)


def test_terms_depend_on_the_marginal_through_the_joint_output() -> None:
    # the curvature differentiates J in the joint output: the marginal's parameters are part of it
    made, data = model(), batch()
    outputs = made(data.x, made.noise(1, 6))
    moved = outputs._replace(direct={k: v + 1 for k, v in outputs.direct.items()})
    before, after = (made.terms(o, data.x, data.y).rate for o in (outputs, moved))
    mean, log_var = outputs.posterior
    # towards N(1, e) per axis, by hand
    expected = 0.5 * (((mean - 1) ** 2 + log_var.exp()) / math.e - log_var).sum(-1)
    torch.testing.assert_close(after, expected, **CLOSE)
    assert not torch.allclose(before, after)


def test_lambda_and_gamma_are_state_not_parameters() -> None:
    made = model(lam=0.1, gam=1e-3)
    state = made.state_dict()
    for name, value in (("lam", 0.1), ("gam", 1e-3)):
        assert state[name].dtype == torch.float64
        assert state[name].shape == ()
        assert state[name].item() == value  # exact: a float32 could not hold it
        assert name not in dict(made.named_parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_lambda_and_gamma_stay_exact_when_the_model_is_cast(dtype: torch.dtype) -> None:
    made = model(lam=0.1, gam=1e-3).to(dtype)
    assert made.lam.dtype == torch.float64
    assert made.lam.item() == pytest.approx(0.1, rel=1e-15)
    assert made.gam.dtype == torch.float64
    assert made.gam.item() == pytest.approx(1e-3, rel=1e-15)
    assert {p.dtype for p in made.parameters()} == {dtype}
    assert made.dtype == dtype
    assert made.noise(1, 6).dtype == dtype
    data = Batch(*(part.to(dtype) for part in batch()))
    assert value(made, data, made.noise(1, 6)).dtype == dtype  # they do not lift J to float64


def test_a_cubature_stands_in_for_the_draws_of_training() -> None:
    made = model(cubature_seed=2, samples=3).double()
    points = made.training_noise(6)
    assert torch.equal(points, made.training_noise(6))
    assert made.training_draws == len(points)
    assert (points.shape, points.dtype) == ((3 * 4 * K, 6, K), torch.float64)
    torch.testing.assert_close(points, turned_cubature(6, K, 2, 3))
    assert made.training_noise(4).shape == (3 * 4 * K, 4, K)  # as many as there are images
    drawn = model(samples=3)
    assert not torch.equal(drawn.training_noise(6), drawn.training_noise(6))
    assert drawn.training_draws == len(drawn.training_noise(6)) == 3


@pytest.mark.parametrize("cubature", [None, 0])
def test_ranks_share_out_j_and_its_gradient(cubature: int | None) -> None:
    data, drawn = Batch(*(part.double() for part in batch(7))), torch.randn(1, 7, K).double()

    def found(shared: Reduction, broken: int = -1) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        made = Networks(**parts(), cubature_seed=cubature).double()
        if cubature is None:  # threads share the stream that it would be drawn from
            made.training_noise = lambda n: drawn[:, :n]
        here = Batch(*(part[shared.share].clone() for part in data))
        if shared.rank == broken:
            here.x[0] = torch.nan
        loss, _ = training_loss(made, here, shared)
        loss.backward()
        return loss.detach(), torch.cat([p.grad.flatten() for p in made.parameters()])

    loss, gradient = found(Reduction())
    shares = on_ranks(3, found)
    # a line search compares J: it is the same number on all ranks; their gradients are averaged
    assert all(torch.equal(share[0], shares[0][0]) for share in shares)
    torch.testing.assert_close(shares[0][0], loss, rtol=1e-12, atol=0.0)
    mean = torch.stack([share[1] for share in shares]).mean(0)
    torch.testing.assert_close(mean, gradient, rtol=1e-10, atol=1e-12)

    def told(shared: Reduction) -> bool:
        with pytest.raises(NonFinite, match="J: got nan"):
            found(shared, broken=1)
        return True

    assert on_ranks(3, told) == [True] * 3


@pytest.mark.parametrize("encoder", [IdentityEncoder(SHAPE), LinearGaussianEncoder(SHAPE, K)])
def test_a_cubature_is_refused_where_nothing_is_drawn(encoder: Encoder) -> None:
    size = encoder.latent_dim
    marginal = None if encoder.deterministic else DiagonalGaussian(size)
    classifier = LinearClassifier(size, CLASSES)
    with pytest.raises(ConfigError, match=r"cubature_seed: got 0; allowed: null: this encoder"):
        Networks(encoder, classifier, None, marginal, lam=0.0, cubature_seed=0)


@pytest.mark.parametrize("hidden", [(), (5,)], ids=["linear", "deep"])
def test_turning_the_axes_is_a_reparametrisation(hidden: tuple[int, ...]) -> None:
    turned, straight = (
        model(
            encoder=MLPEncoder(SHAPE, K, hidden),
            classifier=MLPClassifier(K, CLASSES, hidden),
            decoder=MLPDecoder(SHAPE, K, hidden, Gaussian(0.3)),
            turning=turning,
        ).double()
        for turning in (True, False)
    )
    data = Batch(*(part.double() for part in batch()))
    noise = torch.randn(3, 6, K, dtype=torch.float64)
    straight.load_state_dict(turned.state_dict(), strict=False)
    here = [made.terms(made(data.x, noise), data.x, data.y) for made in (straight, turned)]
    for one, other in zip(*here, strict=True):
        torch.testing.assert_close(one, other)  # it starts with the axes as they are

    with torch.no_grad():
        turned.frame.angles.fill_(0.4)
        a = torch.tensor(0.4, dtype=torch.float64)  # U = exp [[0, -a], [a, 0]]
        u = torch.stack([torch.stack([a.cos(), -a.sin()]), torch.stack([a.sin(), a.cos()])])
        torch.testing.assert_close(turned.frame(), u)
        last = straight.encoder.net[-1]  # mean Uᵀ; the log variances stay
        last.weight[:K], last.bias[:K] = u.T @ last.weight[:K], last.bias[:K] @ u
        for net in (straight.decoder.net, straight.classifier.net):
            net[0].weight.copy_(net[0].weight @ u)
    there = [made.terms(made(data.x, noise), data.x, data.y) for made in (straight, turned)]
    for one, other in zip(*there, strict=True):
        torch.testing.assert_close(one, other)
    assert not torch.allclose(there[0].classification, here[0].classification)
    torch.testing.assert_close(straight.predict(data.x).z, turned.predict(data.x).z)
    torch.testing.assert_close(
        straight.predict(data.x).reconstruction, turned.predict(data.x).reconstruction
    )


def test_turning_is_refused_where_there_are_no_axes() -> None:
    with pytest.raises(ConfigError, match=r"turning: got True; allowed: false: this encoder"):
        Networks(IdentityEncoder(SHAPE), LinearClassifier(6, CLASSES), lam=0.0, turning=True)


EACH = [0.1, 0.2, 0.3, 0.5, 0.8, 1.3]


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("variance", [[0.3], EACH], ids=["one", "each"])
def test_distortion_of_a_linear_decoder_and_gaussian_pixels_is_exact(
    variance: list[float], learned: bool
) -> None:
    likelihood = Gaussian(variance[0] if len(variance) == 1 else variance, learned)
    made = model(decoder=MLPDecoder(SHAPE, K, (), likelihood)).double()
    data = Batch(*(part.double() for part in batch()))
    mean, log_var = made.encoder(data.x)
    weight, bias = made.decoder.net[0].weight, made.decoder.net[0].bias
    # E(x - Wz - b)_i² = (x - Wm - b)_i² + Σ_k s_k² w_ik²
    square = (data.x.flatten(1) - mean @ weight.T - bias).square()
    square = square + log_var.exp() @ weight.square().T
    exact = (
        torch.tensor(variance).double()
        if not learned
        else torch.tensor(variance).log().double().exp()
    )
    expected = (0.5 * square / exact + 0.5 * (2 * math.pi * exact).log()).sum(1)
    for samples in (1, 3):
        outputs = made(data.x, made.noise(samples, 6))
        draws = made.draws(outputs, data.x, data.y)
        assert draws.distortion.shape == (samples, 6)
        torch.testing.assert_close(draws.distortion, expected.expand(samples, 6))
        torch.testing.assert_close(made.terms(outputs, data.x, data.y).distortion, expected)


def test_noise_is_reproducible_and_of_the_type_of_the_model() -> None:
    made = model().double()
    first, again = (made.noise(4, 5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert (first.shape, first.dtype) == ((4, 5, K), torch.float64)
    state = torch.get_rng_state()
    made.noise(4, 5, torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), state)  # the global stream is left alone
    assert not torch.equal(made.noise(4, 5), made.noise(4, 5))


def test_the_example_runs() -> None:
    found = doctest.testmod(parts_module)
    assert (found.attempted > 0, found.failed) == (True, 0)


# -- special cases ------------------------------------------------------------------------------


def negative_elbo(made: Networks, x: Tensor, noise: Tensor, beta: float) -> Tensor:
    """Of each image, by torch's distributions."""
    e = encoding(made, x)
    decoded = made.decoder(e.mean + e.stddev * noise)
    reconstruction = Independent(Bernoulli(logits=decoded), 3).log_prob(x)
    prior = Independent(Normal(torch.zeros(K), torch.ones(K)), 1)
    return beta * kl_divergence(e, prior) - reconstruction.mean(0)


@pytest.mark.parametrize("beta", [1.0, 0.25, 4.0])
def test_beta_vae_is_lambda_over_one_and_a_vae_minus_the_elbo(beta: float) -> None:
    made = model(classifier=None, marginal=StandardNormal(K), lam=1 / beta, gam=0.0)
    data = batch(weight=torch.ones(6))
    noise = made.noise(1, 6)
    expected = negative_elbo(made, data.x, noise, beta).mean()
    torch.testing.assert_close(beta * value(made, data, noise), expected, **CLOSE)


def test_variational_information_bottleneck_needs_no_decoder() -> None:
    beta = 0.2  # of Alemi et al. 2017: cross entropy + β R
    made = model(decoder=None, marginal=StandardNormal(K), lam=0.0, gam=1 / beta)
    data = batch(weight=torch.ones(6))
    noise = made.noise(1, 6)
    e = encoding(made, data.x)
    scores = made.classifier(e.mean + e.stddev * noise)
    loss = -Categorical(logits=scores).log_prob(data.y.argmax(-1)).mean()
    rate = kl_divergence(e, Independent(Normal(torch.zeros(K), torch.ones(K)), 1)).mean()
    torch.testing.assert_close(beta * value(made, data, noise), loss + beta * rate, **CLOSE)
    assert made.predict(data.x).reconstruction.numel() == 0


def test_logistic_regression() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(80, 3))
    # labels thrown at random from true chances: not separable, so the optimum is finite
    scores = x @ np.array([[1.0, -0.5, 0.0], [0.2, 0.4, -1.0], [0.0, 1.0, 0.3]])
    y = np.array([generator.choice(3, p=np.exp(s) / np.exp(s).sum()) for s in scores])
    made = Networks(IdentityEncoder((1, 1, 3)), LinearClassifier(3, 3), lam=0, gam=1).double()
    images, labels = torch.tensor(x).reshape(-1, 1, 1, 3), one_hot(torch.tensor(y), 3).double()
    data = Batch(images, labels, torch.ones(80, dtype=torch.float64))
    noise = made.noise(1, 80)
    lbfgs = torch.optim.LBFGS(made.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> float:
        lbfgs.zero_grad()
        loss = value(made, data, noise)
        loss.backward()
        return loss.item()

    lbfgs.step(closure)
    with torch.no_grad():
        found = value(made, data, noise).item()
        probabilities = made.predict(images).probabilities.numpy()
    reference = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(x, y)
    expected = reference.predict_proba(x)
    assert found == pytest.approx(log_loss(y, expected), abs=1e-4)
    # the loss is flat to second order: 1e-4 of it is 1e-2 of a probability at worst
    np.testing.assert_allclose(probabilities, expected, atol=1e-2)
    rate, distortion, _ = made.terms(made(images, noise), images, labels)
    assert rate.abs().max() == distortion.abs().max() == 0


# -- weights ------------------------------------------------------------------------------------


def gradients(made: Networks, data: Batch, noise: Tensor) -> list[Tensor]:
    made.zero_grad()
    value(made, data, noise).backward()
    return [p.grad.clone() for p in made.parameters() if p.grad is not None]


def test_whole_weights_are_repetitions() -> None:
    made, data = model(), batch(weight=torch.tensor([3.0, 1, 0, 2, 0, 1]))
    noise = made.noise(1, 6)
    weighted = value(made, data, noise), gradients(made, data, noise)
    index = torch.tensor([0, 0, 0, 1, 3, 3, 5])
    repeated = Batch(data.x[index], data.y[index], torch.ones(7))
    again = value(made, repeated, noise[:, index]), gradients(made, repeated, noise[:, index])
    torch.testing.assert_close(weighted, again, **CLOSE)


# -- refusals -----------------------------------------------------------------------------------


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"lam": -0.1}, "lam: got -0.1; allowed: a finite number ≥ 0"),
    ({"lam": math.nan}, "lam: got nan; allowed: a finite number ≥ 0"),
    ({"lam": math.inf}, "lam: got inf; allowed: a finite number ≥ 0"),
    ({"gam": -1.0}, "gam: got -1.0; allowed: a finite number ≥ 0"),
    ({"gam": math.inf}, "gam: got inf; allowed: a finite number ≥ 0"),
    ({"samples": 0}, "samples: got 0; allowed: a whole number > 0"),
    ({"decoder": None}, "lam: got 0.7; allowed: 0, as the model has no decoder"),
    ({"classifier": None}, "gam: got 3.0; allowed: 0, as the model has no classifier"),
    ({"marginal": None}, "marginal: got None; allowed: a Marginal: this encoder has a rate"),
    (
        {"encoder": IdentityEncoder(SHAPE)},
        "marginal: got DiagonalGaussian(); allowed: none: this encoder has no rate",
    ),
    (
        {"decoder": MLPDecoder(SHAPE, 3)},
        "decoder.latent_dim: got 3; allowed: 2, the size of the encoder's representation",
    ),
    (
        {"classifier": MLPClassifier(4, CLASSES)},
        "classifier.latent_dim: got 4; allowed: 2, the size of the encoder's representation",
    ),
    (
        {"marginal": StandardNormal(5)},
        "marginal.latent_dim: got 5; allowed: 2, the size of the encoder's representation",
    ),
    (
        {"decoder": MLPDecoder((1, 3, 2), K)},
        "decoder.image_shape: got [1, 3, 2]; allowed: [1, 2, 3], the shape that the encoder takes",
    ),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[text for _, text in REFUSED])
def test_what_does_not_fit_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        model(**changes)
    assert "\n" not in str(caught.value)


def test_an_image_shape_given_as_a_list_fits_a_tuple() -> None:
    made = model(encoder=MLPEncoder([1, 2, 3], K), decoder=MLPDecoder((1, 2, 3), K))
    assert made.encoder.image_shape == made.decoder.image_shape == SHAPE


# -- prediction ---------------------------------------------------------------------------------


def test_predictions_are_those_of_the_mean_and_repeat_exactly() -> None:
    made, data = model(), batch()
    first, again = made.predict(data.x), made.predict(data.x)
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
    mean = made.encoder(data.x)[0]
    assert torch.equal(first.z, mean)
    torch.testing.assert_close(first.probabilities.sum(-1), torch.ones(6), rtol=0, atol=1e-6)
    assert first.probabilities.shape == (6, CLASSES)
    expected = Categorical(logits=made.classifier(mean[None])[0]).probs
    torch.testing.assert_close(first.probabilities, expected, **CLOSE)
    ink = Bernoulli(logits=made.decoder(mean[None])[0]).mean
    torch.testing.assert_close(first.reconstruction, ink, **CLOSE)
    bare = model(classifier=None, gam=0.0).predict(data.x)
    assert bare.probabilities.numel() == 0
