"""log Z, H and the entropy production of networks: against sums over all images and quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Categorical as Choice
from torch.distributions import (
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from support.numbers import generator, randn
from thermo_pl.datamodules.exact import FiniteAlphabet, GaussianDomains
from thermo_pl.errors import ConfigError
from thermo_pl.estimate import Estimate
from thermo_pl.exact import alphabet
from thermo_pl.exact.distributions import discrete_entropy
from thermo_pl.laws import model_entropy, partition, trajectories
from thermo_pl.laws.checks import Verdict
from thermo_pl.laws.data_entropy import joint_knn_entropy, knn_entropy
from thermo_pl.laws.model_entropy import DataEntropy, data_entropy
from thermo_pl.laws.partition import log_partition
from thermo_pl.laws.production import (
    Production,
    entropy_production,
    production,
    production_checks,
)
from thermo_pl.laws.second_law import second_law, second_law_without_log_z
from thermo_pl.laws.trajectories import aggregate_log_prob, energies, sample_trajectories
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks import (
    Bernoulli,
    Categorical,
    CategoricalEncoder,
    CategoricalMarginal,
    CategoricalPosterior,
    DiagonalGaussian,
    Gaussian,
    GaussianClassifier,
    GaussianMixture,
    GaussianPosterior,
    IdentityEncoder,
    Likelihood,
    LinearClassifier,
    LinearGaussianEncoder,
    MLPDecoder,
    MLPEncoder,
    StandardNormal,
    TableClassifier,
    TableDecoder,
)
from thermo_pl.particles import Batch, interpolate

SHAPE = [1, 2, 3]
BINARY = torch.tensor(list(product((0.0, 1.0), repeat=6))).double().reshape(-1, *SHAPE)
"""All 64 images of 2×3 black or white pixels."""

SEEDS = 300
# Of 300 values with honest errors, the mean is within 4/√300 errors of the truth and the spread
# within 4/√600 of the error, for all but about 1 in 10⁴ choices of the seeds.
MEAN_BAND, SPREAD_BAND = 4 / math.sqrt(SEEDS), 4 / math.sqrt(2 * SEEDS)


def shaken(model: FreeEnergyModel, seed: int = 0, scale: float = 1.0) -> FreeEnergyModel:
    """The model in float64 with all parameters drawn afresh, far from where training starts."""
    model = model.double()
    for number, parameter in enumerate(model.parameters()):
        parameter.data = scale * randn(*parameter.shape, seed=1000 * seed + number)
    return model


def pixel_model(**arguments: Any) -> FreeEnergyModel:
    """2×3 binary pixels, two latents, three classes; all parts are nonlinear or off-centre."""
    parts: dict[str, Any] = {
        "encoder": MLPEncoder(SHAPE, 2, []),
        "decoder": MLPDecoder(SHAPE, 2, [4]),
        "classifier": LinearClassifier(2, 3),
        "marginal": DiagonalGaussian(2),
        "lam": 1.7,
        "gam": 0.6,
    }
    return shaken(FreeEnergyModel(**(parts | arguments)), scale=0.6)


def pixel_batch() -> Batch:
    """Four grey images with soft labels and unequal masses."""
    x = torch.sigmoid(2 * randn(4, *SHAPE, seed=7))
    x[0, 0, 0, 0], x[1, 0, 1, 1] = 0, 1
    y = (2 * randn(4, 3, seed=8)).softmax(-1)
    return Batch(x, y, torch.tensor([1.0, 2.0, 0.5, 1.5]).double())


class Grid(NamedTuple):
    """Points of the plane with the area that each stands for."""

    z: Tensor
    log_area: float

    @classmethod
    def make(cls, half: float = 14.0, step: float = 0.16) -> Grid:
        """A square grid; for smooth functions that vanish at its edge sums are exact."""
        axis = torch.arange(-half, half, step, dtype=torch.float64)
        return cls(torch.cartesian_prod(axis, axis), 2 * math.log(step))


class Densities(NamedTuple):
    """What the networks of a pixel model say on a grid, read off torch's own distributions."""

    encoder: Tensor  # log e(z|x_j), (n, m)
    marginal: Tensor  # log q(z), (m,)
    decoder: Tensor  # log d(b|z), (m, 64)
    classifier: Tensor  # log c(y|z), (m, 3)

    @classmethod
    @torch.no_grad()
    def of(cls, model: Any, batch: Batch, z: Tensor) -> Densities:
        mean, log_var = model.encoder(batch.x)
        encoder = Independent(Normal(mean[:, None], (0.5 * log_var).exp()[:, None]), 1)
        q = model.marginal
        marginal = Independent(Normal(q.mean, (0.5 * q.log_var).exp()), 1)
        ink = torch.sigmoid(model.decoder(z[None])[0]).flatten(1)
        images = BINARY.flatten(1)
        decoder = torch.xlogy(images, ink[:, None]) + torch.xlogy(1 - images, 1 - ink[:, None])
        classifier = model.classifier(z[None])[0].softmax(-1).log()
        return cls(encoder.log_prob(z), marginal.log_prob(z), decoder.sum(-1), classifier)


def data_table(batch: Batch) -> tuple[Tensor, Tensor]:
    """p(g) and p(b, y|g) for each grey image, binary image and label, (n,) and (n, 64, 3)."""
    grey = batch.x.flatten(1)[:, None]
    chance = torch.where(BINARY.flatten(1) == 1, grey, 1 - grey).prod(-1)
    return batch.weight / batch.weight.sum(), chance[:, :, None] * batch.y[:, None]


def brute_force(model: Any, batch: Batch, labels: bool) -> dict[str, float]:
    """KL divergences of p(g, b, y, z) and q(g, b, y, z), by sums over all of it.

    The backward process ends with the true p(g|b, y).
    """
    grid = Grid.make()
    at = Densities.of(model, batch, grid.z)
    for density in (*at.encoder, at.marginal):  # the grid is fine enough and wide enough
        assert (density + grid.log_area).logsumexp(0).abs() < 1e-9
    p_g, table = data_table(batch)
    table = table if labels else table.sum(-1, keepdim=True)
    p_by = (p_g[:, None, None] * table).sum(0)
    log_likelihood = at.decoder[:, :, None] + (at.classifier[:, None] if labels else 0)
    log_aggregate = (p_g[:, None] * at.encoder.exp()).sum(0).log()
    total = bath = 0.0
    for g in range(len(p_g)):
        forward_data = p_g[g] * table[g]
        given = forward_data / p_by  # p(g|b, y)
        z_mass = (at.encoder[g] + grid.log_area).exp()
        log_forward = forward_data.log() + at.encoder[g][:, None, None]
        for marginal in (at.marginal, log_aggregate):
            log_backward = marginal[:, None, None] + log_likelihood + given.log()
            mass = z_mass[:, None, None] * forward_data
            gap = torch.where(mass > 0, mass * (log_forward - log_backward), 0.0).sum().item()
            if marginal is at.marginal:
                total += gap
            else:
                bath += gap
    aggregate_mass = (log_aggregate + grid.log_area).exp()
    system = (aggregate_mass * (log_aggregate - at.marginal)).sum().item()
    return {
        "total": total,
        "system": system,
        "bath": bath,
        "entropy": discrete_entropy(p_by.flatten()).item(),
    }


def log_z_by_sums(model: Any, lam: float, gam: float) -> float:
    """By its definition, log ∫ q(z) (Σ_b d^λ)(Σ_y c^γ) dz over all binary images and a grid."""
    grid = Grid.make()
    at = Densities.of(model, pixel_batch(), grid.z)
    over_x, over_y = (lam * at.decoder).exp().sum(-1), (gam * at.classifier).exp().sum(-1)
    return ((at.marginal + grid.log_area).exp() * over_x * over_y).sum().log().item()


def assert_honest(found: list[list[Estimate]], expected: list[float]) -> None:
    """One row for each seed: no bias, and a spread as large as the errors say.

    The spread is held against the root mean square of the errors and not value by value: a single
    error of few draws is itself uncertain, and goes with its value where the draws are skewed.
    """
    value, error = (
        torch.tensor([[getattr(m, k) for m in row] for row in found]).double()
        for k in ("value", "error")
    )
    size = error.square().mean(0).sqrt()
    bias = (value.mean(0) - torch.tensor(expected)) / size
    assert (bias.abs() < MEAN_BAND).all(), bias
    ratio = value.std(0) / size
    assert ((ratio - 1).abs() < SPREAD_BAND).all(), ratio


def assert_close(found: Estimate, expected: float, largest_error: float) -> None:
    """Within five standard errors, and these small enough that a mistake would be seen."""
    assert 0 < found.error < largest_error
    assert abs(found.value - expected) < 5 * found.error


# the whole alphabet: codes, tables, everything exact


def alphabet_system(seed: int = 0) -> tuple[FreeEnergyModel, FiniteAlphabet, dict[str, Tensor]]:
    """Five letters, two labels, three codes, and its distributions as tables."""
    generator(seed)
    p_x, p_y = randn(5, seed=seed).softmax(0), randn(5, 2, seed=seed + 1).softmax(-1)
    d, c = randn(3, 5, seed=seed + 2).softmax(-1), randn(3, 2, seed=seed + 3).softmax(-1)
    model = FreeEnergyModel(
        CategoricalEncoder([1, 1, 5], 3),
        decoder=TableDecoder([1, 1, 5], 3, d.tolist()),
        classifier=TableClassifier(3, 2, c.tolist()),
        marginal=CategoricalMarginal(3),
        lam=0.7,
        gam=1.8,
    )
    model = shaken(model, seed)
    data = FiniteAlphabet(p_x.tolist(), p_y.tolist())
    with torch.no_grad():
        letters: Any = model.encoder(torch.eye(5).double().reshape(5, 1, 1, 5))
        q: Any = model.marginal
        tables = {"p_x": p_x, "p_y": p_y, "e": letters.logits.softmax(-1), "d": d, "c": c}
        return model, data, tables | {"q": q.logits.softmax(-1)}


def batch_of(data: Any) -> Batch:
    return Batch(*(part.double() for part in interpolate(data.coupling("val").all(), data.t)))


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("seed", [0, 10])
def test_a_finite_alphabet_is_that_of_the_exact_sums(seed: int, labels: bool) -> None:
    model, data, t = alphabet_system(seed)
    batch = batch_of(data)
    entropy = data_entropy(model, batch, labels, generator(), data.data_entropy(labels))
    found = production(sample_trajectories(model, batch, 2, generator()), entropy, labels)
    more = (t["p_y"], t["c"]) if labels else ()
    expected = entropy_production(t["p_x"], t["e"], t["d"], t["q"], *more)
    for name in expected._fields:
        measured = getattr(found, name)
        assert measured.value == pytest.approx(getattr(expected, name).item(), abs=1e-12)
        assert measured.error == 0
    assert abs(found.discrepancy.value) < 1e-12
    assert found.discrepancy.error == 0


@given(st.integers(0, 500), st.floats(0, 3), st.floats(0, 3))
@settings(deadline=None, max_examples=25)
def test_the_second_law_of_a_finite_alphabet(seed: int, lam: float, gam: float) -> None:
    model, data, t = alphabet_system(seed)
    model.lam.fill_(lam)
    model.gam.fill_(gam)
    batch = batch_of(data)
    log_z = log_partition(model, 2, generator())
    expected = alphabet.log_partition(t["d"], t["c"], t["q"], lam, gam).item()
    assert log_z.value == pytest.approx(expected, abs=1e-12)
    assert log_z.error == 0
    found = energies(sample_trajectories(model, batch, 2, generator()), lam, gam)
    parts = alphabet.rate_distortion_classification(
        t["p_x"], t["p_y"], t["e"], t["d"], t["c"], t["q"]
    )
    rate, distortion, loss = (part.item() for part in parts)
    wanted = {"R": rate, "D": distortion, "C": loss, "J": rate + lam * distortion + gam * loss}
    assert {name: part.value for name, part in found.items()} == pytest.approx(wanted, abs=1e-12)
    assert all(part.error == 0 for part in found.values())
    # KL(p ‖ q/Z) by the sum over all letters, labels and codes
    p = t["p_x"][:, None, None] * t["p_y"][:, :, None] * t["e"][:, None]
    q = (t["d"] ** lam).T[:, None] * (t["c"] ** gam).T[None] * t["q"]
    check = second_law(Estimate(data.data_entropy(labels=True)), found["J"], log_z)
    assert check.value == pytest.approx((p * (p * q.sum() / q).log()).sum().item(), abs=1e-11)
    assert check.verdict is Verdict.HOLDS


def test_a_sum_in_blocks_is_the_whole_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data, _ = alphabet_system()
    batch = batch_of(data)

    def everything() -> list[Tensor]:
        drawn = sample_trajectories(model, batch, 2, generator())
        log_z = torch.tensor(log_partition(model, 2, generator()).value)
        return [*drawn.first, drawn.system, drawn.information, *drawn.third, log_z]

    whole = everything()
    for module in (partition, trajectories):
        monkeypatch.setattr(module, "BLOCK", 1)
    torch.testing.assert_close(everything(), whole, rtol=0, atol=1e-13)


def test_the_entropy_of_symbols_is_exact_also_where_the_data_do_not_know_it() -> None:
    model, data, t = alphabet_system()
    for labels, table in ((False, t["p_x"]), (True, t["p_x"][:, None] * t["p_y"])):
        found = data_entropy(model, batch_of(data), labels, generator())
        assert found.value == pytest.approx(discrete_entropy(table.flatten()).item(), abs=1e-13)
        assert (found.error, found.of_particles) == (0, True)
    # probabilities of symbols instead of symbols: two particles that mix to p = (5/8, 3/8)
    x = torch.tensor([[0.5, 0.5], [0.75, 0.25]]).double().reshape(2, 1, 1, 2)
    mixed = Batch(x, torch.tensor([[1.0, 0], [1, 0]]).double(), torch.ones(2).double())
    value = data_entropy(model, mixed, True, generator()).value
    assert value == pytest.approx(-5 / 8 * math.log(5 / 8) - 3 / 8 * math.log(3 / 8), abs=1e-13)


# log Z


@pytest.mark.parametrize("likelihood", [Bernoulli, Gaussian, Categorical])
@pytest.mark.parametrize("marginal", [StandardNormal, DiagonalGaussian, GaussianMixture])
def test_z_is_one_where_both_powers_are(likelihood: Any, marginal: Any) -> None:
    model = FreeEnergyModel(
        MLPEncoder(SHAPE, 2, []),
        decoder=MLPDecoder(SHAPE, 2, [4], likelihood()),
        classifier=LinearClassifier(2, 3),
        marginal=marginal(2),
    )
    found = log_partition(shaken(model), 100, generator())
    assert abs(found.value) < 1e-12
    assert found.error == 0
    single = log_partition(model.float(), 100, generator())
    assert abs(single.value) < 1e-12  # sums are in double precision all the same


@pytest.mark.parametrize("part", ["decoder", "classifier"])
def test_a_part_that_is_missing_adds_nothing_to_log_z(part: str) -> None:
    whole = pixel_model()
    without: dict[str, Any] = {part: None, {"decoder": "lam", "classifier": "gam"}[part]: 0.0}
    model = pixel_model(**without)
    model.load_state_dict(whole.state_dict(), strict=False)
    # the power of one of the normalised parts is one: its sum is one
    at = {"decoder": (1.0, 0.6), "classifier": (1.7, 1.0)}[part]
    expected = log_z_by_sums(whole, *at)
    assert abs(expected) > 0.1
    assert_close(log_partition(model, 40_000, generator()), expected, 0.02)


def test_the_error_of_log_z_is_honest() -> None:
    model = pixel_model()
    expected = log_z_by_sums(model, 1.7, 0.6)
    found = [[log_partition(model, 4000, generator(seed))] for seed in range(SEEDS)]
    assert_honest(found, [expected])


def test_few_draws_that_carry_log_z_are_no_error_bar() -> None:
    model = pixel_model(lam=60.0)
    found = log_partition(model, 1000, generator())
    assert math.isfinite(found.value)
    assert math.isnan(found.error)


@pytest.mark.parametrize("lam", [0.5, 2.0])
def test_log_z_of_gaussian_pixels_is_a_closed_form(lam: float) -> None:
    model = pixel_model(
        decoder=MLPDecoder(SHAPE, 2, [4], Gaussian(0.3)), classifier=None, gam=0.0, lam=lam
    )
    # ∫ N(x; m, s²)^λ dx for each of the 6 pixels, whatever m
    expected = 6 * (
        -lam / 2 * math.log(2 * math.pi * 0.3) + 0.5 * math.log(2 * math.pi * 0.3 / lam)
    )
    found = log_partition(model, 50, generator())
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.error == 0


def test_log_z_of_a_density_without_a_bound_is_infinite() -> None:
    model = pixel_model(decoder=MLPDecoder(SHAPE, 2, [4], Gaussian(0.3)), lam=0.0)
    assert log_partition(model, 50, generator()) == Estimate(math.inf, 0.0)


def test_the_short_second_law_fails_for_a_gaussian_and_log_z_mends_it() -> None:
    # x ~ N(0, 1) and σ² = 0.01 at λ = 2 and its equilibrium: W² = 1 - σ²/λ, and the encoder is
    # the posterior of N(Wz, σ²/λ), so that KL(p ‖ q/Z) = 0; the theory page has -1.037
    variance, lam = 0.01, 2.0
    weight = math.sqrt(1 - variance / lam)
    decoder = MLPDecoder([1, 1, 1], 1, [], Gaussian(variance))
    encoder = LinearGaussianEncoder([1, 1, 1], 1)
    model = FreeEnergyModel(encoder, None, decoder, StandardNormal(1), lam, 0.0).double()
    decoder.net[0].weight.data.fill_(weight)
    decoder.net[0].bias.data.zero_()
    encoder.net.weight.data.fill_(weight)
    encoder.net.bias.data.zero_()
    encoder.log_var.data.fill_(math.log(variance / lam))
    data = GaussianDomains([[[1.0]]], [[1.0]], [[1.0]])
    batch = batch_of(data)
    entropy = data_entropy(model, batch, False, generator(), data.data_entropy(labels=False))
    energy = energies(sample_trajectories(model, batch, 2, generator()), lam, 0.0)["J"]
    log_z = log_partition(model, 2, generator())
    short = second_law_without_log_z(entropy, energy, log_z)
    assert short.value == pytest.approx(0.5 * math.log(4 * math.pi * variance), abs=1e-12)
    assert short.value == pytest.approx(-1.037, abs=5e-4)
    assert log_z.value == pytest.approx(-short.value, abs=1e-9)
    assert short.verdict is Verdict.NOT_APPLICABLE  # Z > 1: J may be below H
    assert "log Z = 1.04" in short.reason
    below = second_law_without_log_z(entropy, energy, Estimate(-0.1, 0.0))
    assert below.verdict is Verdict.VIOLATED
    assert "Z ≤ 1" in below.law
    whole = second_law(entropy, energy, log_z)
    assert abs(whole.value) < 1e-12
    assert whole.verdict is Verdict.HOLDS


# linear-Gaussian networks: divergences of joint Gaussians


def joint_normal(blocks: list[list[Tensor]], mean: Tensor) -> MultivariateNormal:
    return MultivariateNormal(mean, torch.cat([torch.cat(row, -1) for row in blocks]))


def gaussian_system() -> tuple[Any, GaussianDomains]:
    """Three pixels, two label entries, two latents; no part is at its optimum."""
    data = GaussianDomains(
        [[[4.0, 0.6, 0.2], [0.6, 2.5, -0.3], [0.2, -0.3, 1.6]]],
        [[1.0, 0.3, -0.2], [0.1, -0.8, 0.4]],
        [[0.2, 0.05], [0.05, 0.1]],
    )
    model = FreeEnergyModel(
        LinearGaussianEncoder([1, 1, 3], 2),
        decoder=MLPDecoder([1, 1, 3], 2, [], Gaussian(0.5)),
        classifier=GaussianClassifier(2, 2, 0.3, label_noise=0.3),
        marginal=DiagonalGaussian(2),
    )
    return shaken(model, scale=0.7), data


@pytest.mark.parametrize("labels", [False, True])
def test_linear_gaussian_networks_have_the_divergence_of_joint_gaussians(labels: bool) -> None:
    model, data = gaussian_system()
    s, a, noise = data._covariances[0], data._label_map, data._label_noise
    w, v, u = model.decoder.net[0], model.classifier.net[0], model.encoder.net
    d, c, e = w.weight.detach(), v.weight.detach(), u.weight.detach()
    s_z, q = model.encoder.log_var.exp().diag(), model.marginal.log_var.exp().diag()
    forward = [
        [s, s @ a.T, s @ e.T],
        [a @ s, a @ s @ a.T + noise, a @ s @ e.T],
        [e @ s, e @ s @ a.T, e @ s @ e.T + s_z.detach()],
    ]
    q = q.detach()
    backward = [
        [d @ q @ d.T + 0.5 * torch.eye(3).double(), d @ q @ c.T, d @ q],
        [c @ q @ d.T, c @ q @ c.T + 0.3 * torch.eye(2).double(), c @ q],
        [q @ d.T, q @ c.T, q],
    ]
    m = model.marginal.mean.detach()
    means = [
        torch.cat([torch.zeros(5).double(), u.bias.detach()]),
        torch.cat([d @ m + w.bias.detach(), c @ m + v.bias.detach(), m]),
    ]
    if not labels:
        keep = torch.tensor([0, 1, 2, 5, 6])
        means = [mean[keep] for mean in means]
        forward, backward = ([[row[0], row[2]] for row in b[::2]] for b in (forward, backward))
    expected = kl_divergence(joint_normal(forward, means[0]), joint_normal(backward, means[1]))
    batch = batch_of(data)
    entropy = data_entropy(model, batch, labels, generator(), data.data_entropy(labels))
    found = production(sample_trajectories(model, batch, 500, generator()), entropy, labels)
    assert found.total.value == pytest.approx(expected.item(), abs=1e-10)
    assert found.total.error == 0
    # means over the points are exact, the aggregate of their encoders is not that of a Gaussian
    assert math.isnan(found.system.error)
    assert math.isnan(found.bath.error)
    assert abs(found.discrepancy.value) < 5 * found.discrepancy.error < 1


# small networks on a few grey images: every binary image, every z


@pytest.mark.parametrize("labels", [False, True])
def test_a_small_bernoulli_vae_equals_the_sum_over_all_it_can_do(labels: bool) -> None:
    model, batch = pixel_model(), pixel_batch()
    expected = brute_force(model, batch, labels)
    # brute force obeys the theorem itself
    assert expected["total"] == pytest.approx(expected["system"] + expected["bath"], abs=1e-9)
    assert min(expected["system"], expected["bath"]) > 0.05
    entropy = data_entropy(model, batch, labels, generator())
    assert_close(entropy, expected["entropy"], 0.2)
    exact = DataEntropy(
        expected["entropy"], 0.0, symbol=entropy.symbol, method="", of_particles=True
    )
    found = production(sample_trajectories(model, batch, 5000, generator(1)), exact, labels)
    for name in ("total", "system", "bath"):
        assert_close(getattr(found, name), expected[name], 0.03)
    assert_close(found.discrepancy, 0, 0.05)
    assert found.work == Estimate(-expected["entropy"], 0.0)
    assert found.total.value == found.work.value - found.free_energy_change.value


def test_the_errors_of_entropy_production_are_honest() -> None:
    model, batch = pixel_model(), pixel_batch()
    expected = brute_force(model, batch, labels=True)
    exact = DataEntropy(expected["entropy"], 0.0, symbol="H(x, y)", method="", of_particles=True)
    found = []
    for seed in range(SEEDS):
        got = production(sample_trajectories(model, batch, 8, generator(seed)), exact, labels=True)
        found.append([got.total, got.system, got.bath, got.discrepancy])
    assert_honest(found, [*(expected[name] for name in ("total", "system", "bath")), 0.0])


def test_the_three_sets_of_noise_are_independent() -> None:
    # else the Pythagorean discrepancy would be no news: log p(z) would cancel draw by draw
    drawn = sample_trajectories(pixel_model(), pixel_batch(), 5000, generator())
    parts = (sum(drawn.first), drawn.system, drawn.information + drawn.third.distortion)
    centred = torch.stack([(part - part.mean(0)).flatten() for part in parts])
    correlation = torch.corrcoef(centred) - torch.eye(3)
    assert correlation.abs().max() < 4 / math.sqrt(centred.shape[1])


def test_the_errors_of_the_energies_are_honest() -> None:
    # the rate of a mixture is a mean over draws, too
    model, batch = pixel_model(marginal=GaussianMixture(2, 3)), pixel_batch()
    many = energies(sample_trajectories(model, batch, 40_000, generator(99)), 1.7, 0.6)
    found = [
        list(energies(sample_trajectories(model, batch, 8, generator(seed)), 1.7, 0.6).values())
        for seed in range(SEEDS)
    ]
    # the reference's own error is 1/70 of theirs, and their mean's band 1/4
    assert_honest(found, [part.value for part in many.values()])


# σ_sys in closed form


def test_the_aggregate_posterior_is_torchs_mixture() -> None:
    mean, log_var, weight = randn(7, 3), randn(7, 3, seed=1), torch.rand(7).double()
    weight[2] = 0
    z = 3 * randn(4, 5, 3, seed=2)
    parts = Independent(Normal(mean, (0.5 * log_var).exp()), 1)
    expected = MixtureSameFamily(Choice(weight), parts).log_prob(z)
    found = aggregate_log_prob(GaussianPosterior(mean, log_var), weight, z)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_aggregate_of_sharp_encoders_keeps_its_digits() -> None:
    # standard deviation 0.001 at distance 5: terms of 10⁸ cancel to a few nats
    mean = 5 * randn(6, 2)
    posterior = GaussianPosterior(mean, torch.full((6, 2), math.log(1e-6)).double())
    z = mean + 1e-3 * randn(6, 2, seed=1)
    parts = Independent(Normal(mean, torch.full_like(mean, 1e-3)), 1)
    expected = MixtureSameFamily(Choice(torch.ones(6).double()), parts).log_prob(z)
    found = aggregate_log_prob(posterior, torch.ones(6), z)
    largest = (mean.square() / 1e-6).sum(-1).max().item()
    # ½m²/s² + ½z²/s² - zm/s²: the terms add up to twice m²/s² in magnitude, and each goes through
    # some eight roundings of half an ulp
    torch.testing.assert_close(found, expected, rtol=0, atol=2 * largest * 8 * 1.1e-16)


def test_the_aggregate_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    posterior, z = GaussianPosterior(randn(7, 3), randn(7, 3, seed=1)), randn(4, 5, 3, seed=2)
    whole = aggregate_log_prob(posterior, torch.ones(7), z)
    monkeypatch.setattr(trajectories, "BLOCK", 14)
    torch.testing.assert_close(
        aggregate_log_prob(posterior, torch.ones(7), z), whole, rtol=0, atol=1e-13
    )


def test_the_aggregate_of_codes_is_their_mean() -> None:
    logits, weight = randn(4, 3), torch.tensor([1.0, 0.0, 2.0, 3.0]).double()
    found = aggregate_log_prob(CategoricalPosterior(logits), weight, torch.eye(3).double())
    torch.testing.assert_close(found.exp(), weight @ logits.softmax(-1) / 6, rtol=0, atol=1e-14)


# H of the data


def density_model(**arguments: Any) -> FreeEnergyModel:
    return pixel_model(decoder=MLPDecoder(SHAPE, 2, [], Gaussian(0.3)), **arguments)


def points(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images of a density, and the numbers of their classes."""
    return randn(n, *SHAPE, seed=seed), torch.arange(n) % 3


def one_hot(label: Tensor) -> Tensor:
    return nn.functional.one_hot(label, 3).double()


def test_what_the_data_know_wins() -> None:
    found = data_entropy(pixel_model(), pixel_batch(), True, generator(), known=3.25)
    # the particles may be a sample of something larger
    assert found == DataEntropy(
        3.25, 0.0, symbol="H(x, y)", method="known exactly", of_particles=False
    )
    model, data, _ = alphabet_system()
    known = data.data_entropy(labels=True)
    assert data_entropy(model, batch_of(data), True, generator(), known).of_particles
    assert not data_entropy(model, batch_of(data), True, generator(), known + 0.1).of_particles


def test_a_step_over_the_edge_by_rounding_is_no_grey_level_outside() -> None:
    model, batch = pixel_model(), pixel_batch()
    batch.x[1, 0, 1, 1] = 1 + 1e-7
    expected = data_entropy(model, pixel_batch(), False, generator())
    assert data_entropy(model, batch, False, generator()) == expected
    batch.x[1, 0, 1, 1] = 1.01
    with pytest.raises(ConfigError, match="grey level"):
        data_entropy(model, batch, False, generator())


def test_a_density_is_estimated_by_neighbours_with_no_error_known() -> None:
    x, label = points(300)
    batch = Batch(x, one_hot(label), torch.ones(300))
    found = data_entropy(density_model(), batch, False, generator())
    assert found.value == knn_entropy(x, 3)
    assert math.isnan(found.error)
    assert "Kozachenko-Leonenko" in found.method
    assert not found.of_particles
    labelled = data_entropy(density_model(), batch, True, generator())
    assert labelled.value == pytest.approx(joint_knn_entropy(x, label, 3), abs=1e-12)
    # a standard normal in six dimensions: the bias at n = 300 is within a nat
    assert found.value == pytest.approx(3 * math.log(2 * math.pi * math.e), abs=1)


def test_soft_labels_of_a_density_add_their_own_entropy() -> None:
    x, _ = points(200)
    y, weight = (2 * randn(200, 3, seed=5)).softmax(-1), torch.rand(200).double()
    y = y.float().double()  # single precision sums to one within 1e-7 only
    found = data_entropy(density_model(), Batch(x, y, weight), True, generator())
    surprise = -(y * y.log()).sum(-1)
    expected = knn_entropy(x, 3) + (weight * surprise).sum().item() / weight.sum().item()
    assert found.value == pytest.approx(expected, abs=1e-6)


def test_particles_at_one_place_count_once_in_a_density() -> None:
    x, label = points(150)
    twice = torch.cat([torch.arange(150), torch.arange(40)])
    batch = Batch(x[twice], one_hot(label[twice]), torch.ones(190))
    for labels, expected in ((False, knn_entropy(x, 3)), (True, joint_knn_entropy(x, label, 3))):
        found = data_entropy(density_model(), batch, labels, generator())
        assert found.value == pytest.approx(expected, abs=1e-12)


class Odd(Bernoulli):
    """A likelihood that nothing is known of."""


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: pixel_model(classifier=GaussianClassifier(2, 3)), "labels are vectors"),
        (lambda: pixel_model(decoder=MLPDecoder(SHAPE, 2, [4], Odd())), "Odd"),
        (density_model, "got 1 points"),
    ],
    ids=["vectors", "own likelihood", "a class of one point"],
)
def test_an_entropy_that_cannot_be_told_says_why(
    model: Callable[[], FreeEnergyModel], reason: str
) -> None:
    x, _ = points(4)
    x = torch.sigmoid(x)
    batch = Batch(x, one_hot(torch.tensor([0, 1, 1, 2])), torch.ones(4))
    found = data_entropy(model(), batch, True, generator())
    assert math.isnan(found.value)
    assert math.isnan(found.error)
    assert found.method.startswith("not known: ")
    assert reason in found.method


def test_without_a_decoder_only_labels_have_an_entropy() -> None:
    model, batch = pixel_model(decoder=None, lam=0.0), pixel_batch()
    batch = batch._replace(y=batch.y.float().double())  # sums to one within 1e-7 only
    share = batch.weight / batch.weight.sum()
    expected = sum(-p * math.log(p) for p in (share @ batch.y).tolist())
    # what the data know is that of (x, y), which is another one
    found = data_entropy(model, batch, True, generator(), known=12.0)
    assert (found.symbol, found.error) == ("H(y)", 0)
    assert found.value == pytest.approx(expected, abs=1e-6)
    energy = energies(sample_trajectories(model, batch, 500, generator()), 0.0, 0.6)
    assert list(energy) == ["R", "C", "J"]
    log_z = log_partition(model, 20_000, generator())
    assert -found.value + energy["J"].value + log_z.value > 0
    with pytest.raises(ConfigError, match="no decoder"):
        data_entropy(model, batch, False, generator())


# verdicts and refusals


def made_up(total: float, system: float, bath: float, error: float = 0.01) -> Production:
    work, gap = Estimate(-5.0, 0.0), Estimate(total - system - bath, error)
    parts = [Estimate(value, error) for value in (total, system, bath)]
    return Production(*parts, work, Estimate(-5.0 - total, 0.0), gap)


def test_each_law_of_entropy_production_has_its_verdict() -> None:
    names = ["σ_tot ≥ 0", "σ_sys ≥ 0", "σ_bath ≥ 0", "Pythagoras"]
    found = production_checks("toy", made_up(1.0, 0.4, 0.6))
    assert [check.law for check in found] == [f"{name}, toy" for name in names]
    assert {check.verdict for check in found} == {Verdict.HOLDS}
    negative = production_checks("toy", made_up(1.0, -0.2, 1.2))
    assert [c.law for c in negative if c.verdict is Verdict.VIOLATED] == ["σ_sys ≥ 0, toy"]
    for gap in (0.5, -0.5):
        apart = production_checks("toy", made_up(1.0 + gap, 0.4, 0.6))
        assert [c.law for c in apart if c.verdict is Verdict.VIOLATED] == ["Pythagoras, toy"]
    # two and a half errors are nothing among four laws, three are
    near, far = (production_checks("toy", made_up(1.0 + e, 0.4, 0.6))[-1] for e in (0.025, 0.03))
    assert (near.verdict, far.verdict) == (Verdict.WITHIN_ERROR, Verdict.VIOLATED)


def test_an_unknown_entropy_leaves_the_laws_that_do_without_it() -> None:
    drawn = sample_trajectories(pixel_model(), pixel_batch(), 50, generator())
    unknown = DataEntropy(math.nan, math.nan, symbol="H(x)", method="", of_particles=True)
    checks = production_checks("toy", production(drawn, unknown, labels=False))
    assert [check.law for check in checks] == ["σ_sys ≥ 0, toy", "Pythagoras, toy"]


def test_a_part_of_unknown_error_is_never_called_violated() -> None:
    drawn = sample_trajectories(pixel_model(), pixel_batch(), 50, generator())
    density = DataEntropy(100.0, 0.0, symbol="H(x)", method="", of_particles=False)
    checks = {c.statement: c for c in production_checks("toy", production(drawn, density, False))}
    assert checks["σ_tot ≥ 0"].verdict is Verdict.VIOLATED  # H was made up, so it must be
    assert checks["σ_bath ≥ 0"].verdict is Verdict.UNKNOWN


def test_a_deterministic_encoder_is_refused() -> None:
    model = FreeEnergyModel(IdentityEncoder(SHAPE), LinearClassifier(6, 3), lam=0.0)
    for call in (
        lambda: log_partition(model, 10, generator()),
        lambda: sample_trajectories(model, pixel_batch(), 10, generator()),
    ):
        with pytest.raises(ConfigError, match="deterministic"):
            call()


def test_one_draw_has_no_error_and_is_refused() -> None:
    for call in (
        lambda: log_partition(pixel_model(), 1, generator()),
        lambda: sample_trajectories(pixel_model(), pixel_batch(), 1, generator()),
    ):
        with pytest.raises(ConfigError, match="samples: got 1"):
            call()


def test_a_missing_part_has_no_entropy_production() -> None:
    entropy = DataEntropy(0.0, 0.0, symbol="H(x)", method="", of_particles=True)
    for model, labels, name in (
        (pixel_model(decoder=None, lam=0.0), False, "decoder"),
        (pixel_model(classifier=None, gam=0.0), True, "classifier"),
    ):
        drawn = sample_trajectories(model, pixel_batch(), 2, generator())
        with pytest.raises(ConfigError, match=name):
            production(drawn, entropy, labels)


def test_every_likelihood_of_the_library_has_an_entropy() -> None:
    shipped = {Bernoulli, Categorical, Gaussian}
    assert {*model_entropy.ESTIMATES} == {type(None), *shipped}
    assert all(issubclass(kind, Likelihood) for kind in shipped)
