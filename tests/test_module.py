"""The objective, its special cases, and what the module refuses, logs, saves and predicts."""

from __future__ import annotations

import math
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Independent, Normal, kl_divergence
from torch.nn.functional import one_hot
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassCalibrationError

from thermo_pl.datamodules import InterpolatedDataModule, Waypoint
from thermo_pl.errors import ConfigError, NonFinite
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks import (
    ConvEncoder,
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
    StandardNormal,
)
from thermo_pl.networks.cubature import turned_cubature
from thermo_pl.optim import MacroStepCosine
from thermo_pl.particles import Batch

SHAPE, K, CLASSES = (1, 2, 3), 2, 3
# float32 sums of a few terms of order one
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def model(**changes: Any) -> FreeEnergyModel:
    """A model of all four parts on images of six pixels."""
    parts: dict[str, Any] = {
        "encoder": MLPEncoder(SHAPE, K, hidden=(5,)),
        "classifier": MLPClassifier(K, CLASSES, hidden=(5,)),
        "decoder": MLPDecoder(SHAPE, K, hidden=(5,)),
        "marginal": DiagonalGaussian(K),
        "lam": 0.7,
        "gam": 3.0,
    }
    return FreeEnergyModel(**(parts | changes))


def batch(n: int = 6, weight: Tensor | None = None) -> Batch:
    """Binary images, hard labels and uneven weights."""
    y = one_hot(torch.arange(n) % CLASSES, CLASSES).float()
    weight = torch.rand(n) + 0.1 if weight is None else weight
    return Batch(torch.bernoulli(torch.full((n, *SHAPE), 0.5)), y, weight)


def fixed_noise(
    made: FreeEnergyModel, n: int, monkeypatch: pytest.MonkeyPatch, samples: int | None = None
) -> Tensor:
    """Make the model's noise known, and return it; ``samples`` draws, or those of training."""
    noise = made.noise(made.samples if samples is None else samples, n)

    def known(samples: int, count: int, generator: torch.Generator | None = None) -> Tensor:
        assert samples == len(noise)
        return noise[:, :count]

    monkeypatch.setattr(made, "noise", known)
    return noise


def trainer(root: Path, **changes: Any) -> pl.Trainer:
    """A trainer that leaves nothing behind and says nothing."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu", "devices": 1}
    return pl.Trainer(default_root_dir=root, **(quiet | {"max_epochs": 1} | changes))


def loader(*batches: Batch) -> DataLoader[Batch]:
    return DataLoader(list(batches), batch_size=None)  # type: ignore[arg-type]


def encoding(made: FreeEnergyModel, x: Tensor) -> Independent:
    """e(z|x) as torch sees it."""
    mean, log_var = made.encoder(x)
    return Independent(Normal(mean, torch.exp(0.5 * log_var)), 1)


# -- the objective ------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 3])
def test_training_step_is_the_weighted_mean_of_hand_assembled_terms(
    samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, data = model(samples=samples), batch()
    with torch.no_grad():
        made.marginal.mean.copy_(torch.tensor([0.3, -0.4]))
        made.marginal.log_var.copy_(torch.tensor([0.2, -0.1]))
    noise = fixed_noise(made, 6, monkeypatch)
    assert noise.shape == (samples, 6, K)
    e, m = encoding(made, data.x), made.marginal
    z = e.mean + e.stddev * noise
    rate = kl_divergence(e, Independent(Normal(m.mean, torch.exp(0.5 * m.log_var)), 1))
    decoded = Bernoulli(logits=made.decoder(z))
    distortion = -decoded.log_prob(data.x.expand(samples, -1, -1, -1, -1)).flatten(2).sum(-1)
    loss = -Categorical(logits=made.classifier(z)).log_prob(data.y.argmax(-1))
    each = rate + 0.7 * distortion.mean(0) + 3.0 * loss.mean(0)
    expected = (each * data.weight).sum() / data.weight.sum()
    value = made.training_step(data, 0)
    torch.testing.assert_close(value, expected, **CLOSE)
    assert value.dtype == torch.float32
    assert value.shape == ()


def test_a_mixture_marginal_takes_its_rate_from_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    made, data = model(marginal=GaussianMixture(K, 4), lam=0.0, gam=0.0, samples=5), batch()
    noise = fixed_noise(made, 6, monkeypatch)
    e = encoding(made, data.x)
    z = e.mean + e.stddev * noise
    rate = (e.log_prob(z) - made.marginal.log_prob(z)).mean(0)
    expected = (rate * data.weight).sum() / data.weight.sum()
    torch.testing.assert_close(made.training_step(data, 0), expected, **CLOSE)


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
    optimised = {id(p) for p in made.configure_optimizers().param_groups[0]["params"]}
    assert optimised == {id(p) for p in made.parameters()}


def test_many_small_steps_of_lambda_add_up() -> None:
    made = model(lam=1.0)
    for _ in range(1000):
        made.lam += 1e-9
    assert made.lam.item() == pytest.approx(1 + 1e-6, rel=0, abs=1e-13)  # float32 would not move


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_lambda_and_gamma_stay_exact_when_the_model_is_cast(dtype: torch.dtype) -> None:
    made = model(lam=0.1, gam=1e-3).to(dtype)
    assert made.lam.dtype == torch.float64
    assert made.lam.item() == pytest.approx(0.1, rel=1e-15)
    assert made.gam.dtype == torch.float64
    assert made.gam.item() == pytest.approx(1e-3, rel=1e-15)
    assert {p.dtype for p in made.parameters()} == {dtype}
    loss = made.training_step(Batch(*(part.to(dtype) for part in batch())), 0)
    assert loss.dtype == dtype  # and they do not lift J to float64


def test_the_objective_is_linear_in_lambda_and_gamma(monkeypatch: pytest.MonkeyPatch) -> None:
    # the stepwise work: J at new (λ, γ) minus J at the old, same θ, is D Δλ + C Δγ
    made, data = model().double(), batch()
    data = Batch(*(part.double() for part in data))
    noise = fixed_noise(made, 6, monkeypatch)
    _, distortion, loss = made.terms(made(data.x, noise), data.x, data.y)
    before = made.training_step(data, 0)
    made.lam += 0.25
    made.gam -= 0.5
    work = ((0.25 * distortion - 0.5 * loss) * data.weight).sum() / data.weight.sum()
    torch.testing.assert_close(made.training_step(data, 0) - before, work, rtol=0, atol=1e-12)


def test_a_cubature_makes_j_a_function_of_the_parameters() -> None:
    made, data = model(cubature_seed=2).double(), batch()
    data = Batch(*(part.double() for part in data))
    first, again = (made.training_step(data, k) for k in range(2))
    assert torch.equal(first, again)
    fresh = model().double()
    fresh.load_state_dict(made.state_dict())
    assert not torch.equal(fresh.training_step(data, 0), fresh.training_step(data, 1))
    points = made.training_noise(6)
    assert made.training_draws == len(points)
    assert (points.shape, points.dtype) == ((4 * K, 6, K), torch.float64)
    torch.testing.assert_close(points, turned_cubature(6, K, 2))


@pytest.mark.parametrize("encoder", [IdentityEncoder(SHAPE), LinearGaussianEncoder(SHAPE, K)])
def test_a_cubature_is_refused_where_nothing_is_drawn(encoder: Encoder) -> None:
    deterministic = encoder.deterministic
    size = encoder.latent_dim
    parts: dict[str, Any] = {
        "classifier": LinearClassifier(size, CLASSES),
        "marginal": None if deterministic else DiagonalGaussian(size),
    }
    with pytest.raises(ConfigError, match=r"cubature_seed: got 0; allowed: null: this encoder"):
        FreeEnergyModel(encoder, lam=0.0, cubature_seed=0, **parts)


def test_a_cubature_asks_for_full_batches(tmp_path: Path) -> None:
    data = InterpolatedDataModule([Waypoint([0, 1])], batch_size=8, cache_dir=tmp_path)
    made = FreeEnergyModel(
        MLPEncoder((1, 8, 8), K, (5,)),
        LinearClassifier(K, 2),
        marginal=DiagonalGaussian(K),
        lam=0.0,
        cubature_seed=0,
    )
    with pytest.raises(ConfigError, match=r"batch_size: got 8; allowed: null: with a cubature"):
        trainer(tmp_path).fit(made, datamodule=data)


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
        FreeEnergyModel(IdentityEncoder(SHAPE), LinearClassifier(6, CLASSES), lam=0.0, turning=True)


def test_an_encoder_that_whitens_is_shown_the_training_images(tmp_path: Path) -> None:
    data = InterpolatedDataModule([Waypoint([0, 1]), Waypoint([2, 3])], cache_dir=tmp_path)
    made = FreeEnergyModel(
        MLPEncoder((1, 8, 8), K, (), whiten=True),
        LinearClassifier(K, 2),
        marginal=DiagonalGaussian(K),
        lam=0.0,
        optimizer=partial(torch.optim.SGD, lr=0.0),
    )
    quick = {"limit_train_batches": 1, "limit_val_batches": 0}
    trainer(tmp_path, **quick).fit(made, datamodule=data)
    pairs = data.coupling("train").all()
    whitening = made.encoder.whitening
    ends = [whitening(end.flatten(1)) for end in (pairs.source, pairs.target)]
    weight = (pairs.weight / pairs.weight.sum())[:, None]
    mean = sum((weight * end).sum(0) for end in ends) / 2
    square = sum((weight * end).T @ end for end in ends) / 2
    torch.testing.assert_close(mean, torch.zeros(64), rtol=0, atol=1e-4)
    spread = torch.linalg.eigvalsh(square)  # v/(v + ρ): 1 but for what hardly varies
    assert float(spread.max()) < 1
    assert float(spread[-20:].min()) > 0.5
    # what was learned stays, on other data, too
    state = made.state_dict()
    other = InterpolatedDataModule([Waypoint([5, 6])], cache_dir=tmp_path)
    trainer(tmp_path, **quick).fit(made, datamodule=other)
    for name in ("mean", "matrix"):
        kept = f"encoder.whitening.{name}"
        assert torch.equal(made.state_dict()[kept], state[kept])


def test_whitening_asks_for_data_with_moments(tmp_path: Path) -> None:
    made = FreeEnergyModel(
        MLPEncoder(SHAPE, K, (), whiten=True), marginal=DiagonalGaussian(K), lam=0.0, gam=0.0
    )
    with pytest.raises(ConfigError, match=r"encoder.whiten: got True; allowed: data on a path"):
        trainer(tmp_path).fit(made, loader(batch()))


@pytest.mark.parametrize("learned", [False, True])
def test_distortion_of_a_linear_decoder_and_gaussian_pixels_is_exact(learned: bool) -> None:
    made = model(decoder=MLPDecoder(SHAPE, K, (), Gaussian(0.3, learned))).double()
    data = Batch(*(part.double() for part in batch()))
    mean, log_var = made.encoder(data.x)
    weight, bias = made.decoder.net[0].weight, made.decoder.net[0].bias
    # E|x - Wz - b|² = |x - Wm - b|² + Σ_k s_k² |w_k|²
    square = (data.x.flatten(1) - mean @ weight.T - bias).square().sum(1)
    square = square + log_var.exp() @ weight.square().sum(0)
    pixels = math.prod(SHAPE)
    expected = square / 0.6 + pixels / 2 * math.log(2 * math.pi * 0.3)
    for samples in (1, 3):
        outputs = made(data.x, made.noise(samples, 6))
        draws = made.draws(outputs, data.x, data.y)
        assert draws.distortion.shape == (samples, 6)
        torch.testing.assert_close(draws.distortion, expected.expand(samples, 6))
        torch.testing.assert_close(made.terms(outputs, data.x, data.y).distortion, expected)


def test_the_expected_image_of_a_linear_decoder_is_that_at_the_mean() -> None:
    made = model(decoder=MLPDecoder(SHAPE, K, (), Gaussian(0.3)))
    x = batch().x
    with torch.no_grad():
        torch.testing.assert_close(
            made.predict(x).reconstruction, made.decoder(made.encoder(x).mean[None])[0]
        )


def test_noise_is_reproducible_and_of_the_type_of_the_model() -> None:
    made = model().double()
    first, again = (made.noise(4, 5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert (first.shape, first.dtype) == ((4, 5, K), torch.float64)
    state = torch.get_rng_state()
    made.noise(4, 5, torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), state)  # the global stream is left alone
    assert not torch.equal(made.noise(4, 5), made.noise(4, 5))


# -- special cases ------------------------------------------------------------------------------


def negative_elbo(made: FreeEnergyModel, x: Tensor, noise: Tensor, beta: float = 1) -> Tensor:
    """Of each image, by torch's distributions."""
    e = encoding(made, x)
    decoded = made.decoder(e.mean + e.stddev * noise)
    reconstruction = Independent(Bernoulli(logits=decoded), 3).log_prob(x)
    prior = Independent(Normal(torch.zeros(K), torch.ones(K)), 1)
    return beta * kl_divergence(e, prior) - reconstruction.mean(0)


def test_vae_is_minus_the_elbo(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model(classifier=None, marginal=StandardNormal(K), lam=1.0, gam=0.0, samples=2)
    data = batch(weight=torch.ones(6))
    noise = fixed_noise(made, 6, monkeypatch)
    expected = negative_elbo(made, data.x, noise).mean()
    torch.testing.assert_close(made.training_step(data, 0), expected, **CLOSE)


@pytest.mark.parametrize("beta", [0.25, 4.0])
def test_beta_vae_is_lambda_over_one(beta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    made = model(classifier=None, marginal=StandardNormal(K), lam=1 / beta, gam=0.0)
    data = batch(weight=torch.ones(6))
    noise = fixed_noise(made, 6, monkeypatch)
    expected = negative_elbo(made, data.x, noise, beta).mean()
    torch.testing.assert_close(beta * made.training_step(data, 0), expected, **CLOSE)


def test_variational_information_bottleneck_needs_no_decoder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    beta = 0.2  # of Alemi et al. 2017: cross entropy + β R
    parts = {"decoder": None, "marginal": StandardNormal(K), "lam": 0.0, "gam": 1 / beta}
    made, data = model(**parts), batch(weight=torch.ones(6))
    noise = fixed_noise(made, 6, monkeypatch)
    e = encoding(made, data.x)
    scores = made.classifier(e.mean + e.stddev * noise)
    loss = -Categorical(logits=scores).log_prob(data.y.argmax(-1)).mean()
    rate = kl_divergence(e, Independent(Normal(torch.zeros(K), torch.ones(K)), 1)).mean()
    torch.testing.assert_close(beta * made.training_step(data, 0), loss + beta * rate, **CLOSE)
    assert made.predict(data.x).reconstruction.numel() == 0


def test_linear_gaussian_vae_is_an_equilibrium_of_the_module() -> None:
    # two pixels of variance 2 and 0.9, σ² = ½, λ = 1: R = ½ log(2/½) + ½ log(0.9/½)
    variances, noise_variance = torch.tensor([2.0, 0.9], dtype=torch.float64), 0.5
    made = FreeEnergyModel(
        MLPEncoder((1, 1, 2), 2, hidden=()),
        decoder=MLPDecoder((1, 1, 2), 2, hidden=(), likelihood=Gaussian(noise_variance)),
        marginal=StandardNormal(2),
        gam=0.0,
        samples=4,
    ).double()
    scale = (variances - noise_variance).sqrt()
    precision = scale.square() / noise_variance + 1
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
        made.encoder.net[0].weight[:2] = torch.diag(scale / noise_variance / precision)
        made.encoder.net[0].bias[2:] = -precision.log()
        made.decoder.net[0].weight[:] = torch.diag(scale)
    # images and noise ±√2 e_i and so on: exact for quadratics
    axes = torch.diag((2 * variances).sqrt())
    x = torch.cat([axes, -axes]).reshape(4, 1, 1, 2)
    axes = math.sqrt(2) * torch.eye(2, dtype=torch.float64)
    noise = torch.cat([axes, -axes])[:, None].expand(4, 4, 2)
    rate, distortion, _ = made.terms(made(x, noise), x, x.new_zeros(4, 0))
    expected_rate = 0.5 * (variances / noise_variance).log().sum().item()
    assert rate.mean().item() == pytest.approx(expected_rate, rel=1e-12)
    expected = math.log(2 * math.pi * noise_variance) + 2 * noise_variance / (2 * noise_variance)
    assert distortion.mean().item() == pytest.approx(expected, rel=1e-12)
    (rate + distortion).mean().backward()
    assert max(p.grad.abs().max().item() for p in made.parameters()) < 1e-12


def test_logistic_regression(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(80, 3))
    # labels thrown at random from true chances: not separable, so the optimum is finite
    scores = x @ np.array([[1.0, -0.5, 0.0], [0.2, 0.4, -1.0], [0.0, 1.0, 0.3]])
    y = np.array([generator.choice(3, p=np.exp(s) / np.exp(s).sum()) for s in scores])
    parts = (IdentityEncoder((1, 1, 3)), LinearClassifier(3, 3))
    lbfgs = partial(torch.optim.LBFGS, max_iter=200, line_search_fn="strong_wolfe")
    made = FreeEnergyModel(*parts, lam=0, gam=1, optimizer=lbfgs).double()
    images, labels = torch.tensor(x).reshape(-1, 1, 1, 3), one_hot(torch.tensor(y), 3).double()
    data = Batch(images, labels, torch.ones(80, dtype=torch.float64))
    trainer(tmp_path, max_epochs=2).fit(made, loader(data))
    with torch.no_grad():
        found = made.training_step(data, 0).item()
        probabilities = made.predict(images).probabilities.numpy()
    reference = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(x, y)
    expected = reference.predict_proba(x)
    assert found == pytest.approx(log_loss(y, expected), abs=1e-4)
    # the loss is flat to second order: 1e-4 of it is 1e-2 of a probability at worst
    np.testing.assert_allclose(probabilities, expected, atol=1e-2)
    rate, distortion, _ = made.terms(made(images, made.noise(1, 80)), images, labels)
    assert rate.abs().max() == distortion.abs().max() == 0


# -- weights ------------------------------------------------------------------------------------


def gradients(made: FreeEnergyModel, data: Batch) -> list[Tensor]:
    made.zero_grad()
    made.training_step(data, 0).backward()
    return [p.grad.clone() for p in made.parameters() if p.grad is not None]


def test_whole_weights_are_repetitions(monkeypatch: pytest.MonkeyPatch) -> None:
    made, data = model(), batch(weight=torch.tensor([3.0, 1, 0, 2, 0, 1]))
    noise = fixed_noise(made, 6, monkeypatch)
    weighted = made.training_step(data, 0), gradients(made, data)
    index = torch.tensor([0, 0, 0, 1, 3, 3, 5])
    monkeypatch.setattr(made, "noise", lambda samples, count: noise[:, index])
    repeated = Batch(data.x[index], data.y[index], torch.ones(7))
    torch.testing.assert_close(weighted[0], made.training_step(repeated, 0), **CLOSE)
    torch.testing.assert_close(weighted[1], gradients(made, repeated), **CLOSE)


def test_samples_without_weight_have_no_influence(monkeypatch: pytest.MonkeyPatch) -> None:
    made, data = model(), batch(weight=torch.tensor([1.0, 0, 2, 0, 1, 1]))
    fixed_noise(made, 6, monkeypatch)
    other = Batch(data.x.clone(), data.y.clone(), data.weight)
    other.x[1], other.x[3], other.y[3] = 1 - data.x[1], 0.3, torch.tensor([0.2, 0.5, 0.3])
    assert torch.equal(made.training_step(data, 0), made.training_step(other, 0))
    # sums may be taken in another order, zero times a number is zero all the same
    torch.testing.assert_close(gradients(made, data), gradients(made, other), **CLOSE)
    moved = Batch(other.x, other.y, torch.ones(6))
    assert not torch.allclose(made.training_step(data, 0), made.training_step(moved, 0))


def test_the_scale_of_the_weights_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    made, data = model(), batch()
    fixed_noise(made, 6, monkeypatch)
    scaled = data._replace(weight=1e-3 * data.weight)
    torch.testing.assert_close(made.training_step(data, 0), made.training_step(scaled, 0), **CLOSE)


# -- refusals -----------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"lam": -0.1}, "lam: got -0.1; allowed: a finite number ≥ 0"),
    ({"lam": math.nan}, "lam: got nan; allowed: a finite number ≥ 0"),
    ({"lam": math.inf}, "lam: got inf; allowed: a finite number ≥ 0"),
    ({"gam": -1.0}, "gam: got -1.0; allowed: a finite number ≥ 0"),
    ({"gam": math.inf}, "gam: got inf; allowed: a finite number ≥ 0"),
    ({"samples": 0}, "samples: got 0; allowed: a whole number > 0"),
    ({"eval_samples": 0}, "eval_samples: got 0; allowed: a whole number > 0"),
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
    (
        {"initial_weights": "not/there.ckpt"},
        "initial_weights: got 'not/there.ckpt'; allowed: an existing checkpoint file",
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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((1, 4, 4), r"encoder.image_shape: got \[1, 2, 3\]; allowed: \[1, 4, 4\]"),
        (4, "classifier.classes: got 3; allowed: 4"),
    ],
)
def test_data_of_another_shape_are_refused(data: Any, message: str) -> None:
    made = model()
    shape, classes = (data, CLASSES) if isinstance(data, tuple) else (SHAPE, data)
    made._trainer = SimpleNamespace(
        datamodule=SimpleNamespace(image_shape=shape, n_classes=classes)
    )
    with pytest.raises(ConfigError, match=message):
        made.setup("fit")
    made._trainer = SimpleNamespace(
        datamodule=SimpleNamespace(image_shape=list(SHAPE), n_classes=CLASSES)
    )
    made.setup("fit")


def test_a_loss_that_is_not_finite_stops_training() -> None:
    data = batch()
    data.x[0, 0, 0, 0] = math.nan
    with pytest.raises(NonFinite, match="J: got nan in training; allowed: a finite number"):
        model().training_step(data, 0)


# -- checkpoints --------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of a run that started at (0.7, 3) and was moved to (0.9, 2)."""
    made, path = model(), tmp_path / "run.ckpt"
    runner = trainer(tmp_path)
    runner.fit(made, loader(batch()))
    made.lam.fill_(0.9)
    made.gam.fill_(2.0)
    runner.save_checkpoint(path)
    return path


def theta(made: FreeEnergyModel) -> list[Tensor]:
    return [p.detach().clone() for p in made.parameters()]


def test_going_on_restores_lambda_and_gamma(checkpoint: Path, tmp_path: Path) -> None:
    made = model()
    before = theta(made)
    runner = trainer(tmp_path, max_epochs=1)  # that one epoch is done already
    runner.fit(made, loader(batch()), ckpt_path=checkpoint, weights_only=False)
    assert (made.lam.item(), made.gam.item()) == (0.9, 2.0)
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(saved[k], v) for k, v in made.state_dict().items())
    assert not all(map(torch.equal, before, theta(made)))


@pytest.mark.parametrize(("name", "value"), [("lam", 0.5), ("lam", 0.9), ("gam", 2.0)])
def test_a_checkpoint_never_overrules_the_config(
    checkpoint: Path, tmp_path: Path, name: str, value: float
) -> None:
    made = model(**{name: value})
    message = rf"{name}: got {value} with a checkpoint .*started at .*model.initial_weights"
    with pytest.raises(ConfigError, match=message):
        trainer(tmp_path, max_epochs=2).fit(
            made, loader(batch()), ckpt_path=checkpoint, weights_only=False
        )
    assert getattr(made, name).item() == value


def test_initial_weights_are_the_parameters_alone(checkpoint: Path) -> None:
    made = model(lam=0.1, gam=0.2, initial_weights=checkpoint)
    assert (made.lam.item(), made.gam.item()) == (0.1, 0.2)
    assert made.start == {"lam": 0.1, "gam": 0.2}
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(saved[name], p) for name, p in made.named_parameters())
    assert not torch.equal(model().encoder.net[0].weight, made.encoder.net[0].weight)


def test_initial_weights_of_other_networks_are_refused_in_one_line(checkpoint: Path) -> None:
    message = (
        r"^initial_weights: got '.*run.ckpt'; allowed: a checkpoint of the same networks \(.+\)$"
    )
    for encoder in (MLPEncoder(SHAPE, K, hidden=(6,)), ConvEncoder(SHAPE, K)):
        with pytest.raises(ConfigError, match=message) as caught:
            model(encoder=encoder, initial_weights=str(checkpoint))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kind",
    [
        "text",
        "empty",
        "list",
        "other",
    ],
)
def test_initial_weights_that_are_no_checkpoint_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.ckpt"
    if kind == "text":
        path.write_text("λ = 1")
    elif kind == "empty":
        path.touch()
    else:
        torch.save([1] if kind == "list" else {"weights": torch.zeros(3)}, path)
    message = "^initial_weights: got '.*weights.ckpt'; allowed: a checkpoint of the same networks"
    with pytest.raises(ConfigError, match=message) as caught:
        model(initial_weights=path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_does_not_say_where_it_started_is_refused(
    checkpoint: Path, tmp_path: Path
) -> None:
    content = torch.load(checkpoint, weights_only=False)
    assert content.pop("thermo_start") == {"lam": 0.7, "gam": 3.0}
    torch.save(content, checkpoint)
    message = "^ckpt_path: got a checkpoint that does not say where its run started; allowed: one"
    with pytest.raises(ConfigError, match=message):
        trainer(tmp_path, max_epochs=2).fit(
            model(), loader(batch()), ckpt_path=checkpoint, weights_only=False
        )


# -- prediction and metrics ---------------------------------------------------------------------


def test_predictions_are_those_of_the_mean_and_repeat_exactly() -> None:
    made, data = model(samples=3), batch()
    first, again = made.predict(data.x), made.predict_step(data, 0)
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


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_logged_values_are_weighted_means_over_all_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    # the draws are those of evaluation, not those of training
    made, first, second = model(samples=1, eval_samples=2), batch(6), batch(4)
    noise = fixed_noise(made, 6, monkeypatch, samples=2)
    run = getattr(trainer(tmp_path), stage)
    (logged,) = run(made, loader(first, second), verbose=False)
    prefix = {"validate": "val/", "test": "test/"}[stage]
    terms, p = [], []
    with torch.no_grad():
        for part in (first, second):
            outputs = made(part.x, noise[:, : len(part.x)])
            (mean, log_var), z = outputs.posterior, outputs.z
            zero = torch.zeros(1)
            rate = kl_divergence(
                Independent(Normal(mean, torch.exp(0.5 * log_var)), 1),
                Independent(Normal(torch.zeros(K), torch.ones(K)), 1),
            )
            decoded = Bernoulli(logits=made.decoder(z))
            distortion = -decoded.log_prob(part.x.expand(2, -1, -1, -1, -1)).flatten(2).sum(-1)
            loss = -Categorical(logits=made.classifier(z)).log_prob(part.y.argmax(-1))
            terms.append(torch.stack([rate + zero, distortion.mean(0), loss.mean(0)]))
            p.append(made.classifier(mean[None])[0].softmax(-1))
    weight = torch.cat([first.weight, second.weight])
    label = torch.cat([first.y, second.y]).argmax(-1)
    share, probabilities = weight / weight.sum(), torch.cat(p)
    r, d, c = (torch.cat(terms, 1) @ share).tolist()
    expected = {"R": r, "D": d, "C": c, "J": r + 0.7 * d + 3 * c}
    right = (probabilities.argmax(-1) == label).float()
    expected["accuracy"] = (right @ share).item()
    # the calibration error bin by bin
    top = probabilities.max(-1).values
    bins = torch.bucketize(top, torch.linspace(0, 1, 16))
    gaps = [((right - top) * share)[bins == b].sum().abs() for b in bins.unique()]
    expected["calibration"] = sum(gaps).item()
    assert logged == pytest.approx({prefix + k: v for k, v in expected.items()}, rel=1e-5)
    unweighted = MulticlassCalibrationError(CLASSES, n_bins=15)(probabilities, label).item()
    assert abs(unweighted - expected["calibration"]) > 1e-3  # the weights were not for nothing


@pytest.mark.parametrize("stage", ["validation", "test"])
def test_evaluations_repeat_their_draws_and_leave_the_global_stream_alone(stage: str) -> None:
    made, data = model(samples=1, eval_samples=5), batch(weight=torch.ones(6))
    step = getattr(made, f"{stage}_step")
    metrics = {"validation": made.val_metrics, "test": made.test_metrics}[stage]

    def evaluate(batch_idx: int) -> dict[str, float]:
        metrics.reset()
        with torch.no_grad():
            step(data, batch_idx)
        return {name[-1]: value.item() for name, value in metrics.compute().items()}

    state = torch.get_rng_state()
    first, other, again = evaluate(2), evaluate(3), evaluate(2)
    assert torch.equal(torch.get_rng_state(), state)
    assert first == again
    assert first["D"] != other["D"]
    draws = torch.randn(5, 6, K, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        terms = made.terms(made(data.x, draws), data.x, data.y)
    for name, value in zip("RDC", terms, strict=True):
        assert first[name] == pytest.approx(value.mean().item(), rel=1e-5)  # float32
    # training draws from the global stream: no two steps see the same noise
    assert made.training_step(data, 2).item() != made.training_step(data, 2).item()


def test_training_means_are_logged_and_start_afresh_each_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = partial(torch.optim.SGD, lr=0.0)  # θ stays, so that epochs are alike
    made, data = model(optimizer=frozen), batch()
    fixed_noise(made, 6, monkeypatch)
    with torch.no_grad():
        expected = made.training_step(data, 0).item()
    made.train_metrics.reset()
    runner = trainer(tmp_path, max_epochs=2)
    runner.fit(made, loader(data))
    logged = runner.callback_metrics
    assert logged["train/J"].item() == pytest.approx(expected, rel=1e-5)
    assert set(logged) == {"train/R", "train/D", "train/C", "train/J"}
    # a metric that is not reset would remember the old λ
    made.lam.fill_(0.0)
    made.gam.fill_(0.0)
    runner = trainer(tmp_path)
    runner.fit(made, loader(data))
    logged = runner.callback_metrics
    assert logged["train/J"].item() == pytest.approx(logged["train/R"].item(), rel=1e-6)


def test_models_without_a_classifier_log_no_accuracy(tmp_path: Path) -> None:
    made = model(classifier=None, gam=0.0)
    (logged,) = trainer(tmp_path).validate(made, loader(batch()), verbose=False)
    assert set(logged) == {"val/R", "val/D", "val/C", "val/J"}
    assert logged["val/C"] == 0


def test_a_validation_loss_that_is_not_finite_is_not_hidden(tmp_path: Path) -> None:
    data = batch()
    data.x[0, 0, 0, 0] = math.nan
    (logged,) = trainer(tmp_path).validate(model(), loader(data), verbose=False)
    for name in "RDCJ":  # one image went through all networks
        assert math.isnan(logged[f"val/{name}"])


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_scheduler_counts_what_it_is_told(tmp_path: Path, interval: Any) -> None:
    halving = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    sgd = partial(torch.optim.SGD, lr=0.08)
    made = model(optimizer=sgd, scheduler=halving, scheduler_interval=interval)
    runner = trainer(tmp_path, max_epochs=2)
    runner.fit(made, loader(batch(), batch(), batch()))
    (optimizer,) = runner.optimizers
    times = {"epoch": 2, "step": 6}[interval]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.08 * 0.5**times)


class Rates(pl.Callback):
    """The learning rate of each batch."""

    def __init__(self) -> None:
        """None yet."""
        self.seen: list[float] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize("together", [1, 2])
def test_a_macro_step_has_as_many_steps_as_its_epoch(tmp_path: Path, together: int) -> None:
    def fitted(**arguments: Any) -> list[float]:
        made = model(optimizer=partial(torch.optim.SGD, lr=0.08), **arguments)
        watch = Rates()
        runner = trainer(
            tmp_path, max_epochs=3, callbacks=[watch], accumulate_grad_batches=together
        )
        runner.fit(made, loader(*[batch()] * 4))
        return watch.seen

    torchs = partial(torch.optim.lr_scheduler.CosineAnnealingWarmRestarts, T_0=4 // together)
    expected = fitted(scheduler=torchs, scheduler_interval="step")
    assert fitted(scheduler=MacroStepCosine) == expected
    assert len(set(expected)) == 4 // together


def test_a_macro_step_is_not_counted_in_epochs(tmp_path: Path) -> None:
    made = model(scheduler=MacroStepCosine, scheduler_interval="epoch")
    with pytest.raises(ConfigError, match="scheduler_interval: got 'epoch'"):
        trainer(tmp_path, max_epochs=1).fit(made, loader(batch()))


def test_training_lowers_the_objective(tmp_path: Path) -> None:
    made, data = model(optimizer=partial(torch.optim.Adam, lr=0.02), samples=20), batch()
    with torch.no_grad():
        before = made.training_step(data, 0).item()
    made.train_metrics.reset()
    trainer(tmp_path, max_epochs=60).fit(made, loader(data))
    with torch.no_grad():
        after = made.training_step(data, 0).item()
    # J starts near 0.7·6·log 2 + 3·log 3 = 6.2; a nat is far above the noise of 20 draws
    assert after < before - 1
