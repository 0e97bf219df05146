"""Measurements on a probe: against densities of torch, differences, and the spread over draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Independent, Normal, kl_divergence

from support.exact_runs import LABELS, NOISE, STILL, make_linear_model, make_system
from support.numbers import randn
from thermo_pl.datamodules import GaussianDomains
from thermo_pl.estimate import Estimate
from thermo_pl.networks import (
    CategoricalEncoder,
    CategoricalMarginal,
    CategoricalPosterior,
    DiagonalGaussian,
    GaussianClassifier,
    GaussianMixture,
    LinearGaussianEncoder,
    MLPClassifier,
    MLPDecoder,
    MLPEncoder,
    Networks,
    StandardNormal,
)
from thermo_pl.networks.cubature import turned_cubature
from thermo_pl.particles import Batch, Particles
from thermo_pl.path.segments import first_law_residual
from thermo_pl.response import measurement
from thermo_pl.response.measurement import (
    NOTHING,
    classification_draws,
    data_force,
    draws_to_decode,
    few_draws,
    first_law,
    latent_rates,
    latents_in_use,
    measure,
)
from thermo_pl.response.objective import Probe

SHAPE, CLASSES, K, N = (1, 1, 3), 3, 2, 6
LAM, GAM, T = 1.3, 2.0, 0.4
CLOSE = {"rel": 1e-12, "abs": 1e-12}  # float64 sums of a few hundred terms


def particles(seed: int = 0) -> Particles:
    """Grey images that move, soft labels that change, uneven weights."""
    images = [(2 * randn(N, *SHAPE, seed=seed + end)).sigmoid() for end in (0, 1)]
    labels = [(3 * randn(N, CLASSES, seed=seed + end)).softmax(-1) for end in (2, 3)]
    return Particles(*images, *labels, randn(N, seed=seed + 4).exp())


def model(seed: int = 0, **changes: Any) -> Networks:
    """All parts, with parameters drawn at random."""
    parts: dict[str, Any] = {
        "encoder": MLPEncoder(SHAPE, K, hidden=(3,)),
        "classifier": MLPClassifier(K, CLASSES, hidden=(3,)),
        "decoder": MLPDecoder(SHAPE, K, hidden=(3,)),
        "marginal": StandardNormal(K),
        "lam": LAM,
        "gam": GAM,
    }
    made = Networks(**(parts | changes)).double()
    generator = torch.Generator().manual_seed(seed)
    for p in made.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64)
    return made


def probe_of(samples: int, seed: int = 9) -> Probe:
    return Probe(particles(), randn(samples, N, K, seed=seed))


class Draws(NamedTuple):
    """R, D and C of each noise draw."""

    rate: Tensor
    distortion: Tensor
    classification: Tensor

    def free_energy(self) -> Tensor:
        return self.rate + LAM * self.distortion + GAM * self.classification


@torch.no_grad()
def by_hand(made: Networks, probe: Probe, t: float) -> Draws:
    """The same numbers from the distributions of torch, particle by particle."""
    p = probe.particles
    total = [torch.zeros(len(probe.noise), dtype=torch.float64) for _ in Draws._fields]
    for i, share in enumerate((p.weight / p.weight.sum()).tolist()):
        x = (1 - t) * p.source[i] + t * p.target[i]
        y = (1 - t) * p.source_label[i] + t * p.target_label[i]
        mean, log_var = (part[0] for part in made.encoder(x[None]))
        code = Independent(Normal(mean, (0.5 * log_var).exp()), 1)
        z = mean + (0.5 * log_var).exp() * probe.noise[:, i]
        prior = Independent(Normal(torch.zeros_like(mean), 1.0), 1)
        picture = Bernoulli(logits=made.decoder(z[:, None])[:, 0], validate_args=False)
        label = Categorical(logits=made.classifier(z[:, None])[:, 0])
        loss = -sum(y[c] * label.log_prob(torch.tensor(c)) for c in range(CLASSES))
        total[0] += share * kl_divergence(code, prior)
        total[1] += -share * picture.log_prob(x).flatten(1).sum(1)
        total[2] += share * loss
    return Draws(*total)


def standard_error(draws: Tensor) -> float:
    return float(np.std(draws.numpy(), ddof=1) / math.sqrt(len(draws)))


@pytest.mark.parametrize(("samples", "decoded"), [(5, 5), (12, 4)])
def test_r_d_c_and_j_are_weighted_means_over_particles_and_draws(
    samples: int, decoded: int
) -> None:
    made, probe = model(), probe_of(samples)
    found, draws = measure(made, probe, T, decoded), by_hand(made, probe, T)
    rate, distortion = draws.rate[:decoded].mean(), draws.distortion[:decoded].mean()
    loss = draws.classification.mean()  # on all draws: it needs no decoder
    assert found.rate.value == pytest.approx(rate.item(), **CLOSE)
    assert found.distortion.value == pytest.approx(distortion.item(), **CLOSE)
    assert found.classification.value == pytest.approx(loss.item(), **CLOSE)
    energy = (rate + LAM * distortion + GAM * loss).item()
    assert found.free_energy.value == pytest.approx(energy, **CLOSE)
    assert (found.lam, found.gam, found.t) == (LAM, GAM, T)
    assert found.finite


@pytest.mark.parametrize("size", [1, 3])
def test_parts_of_a_large_probe_are_added_up(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made, probe = model(), probe_of(6)
    assert size < N
    force = data_force(made, probe, T, 6)
    monkeypatch.setattr(measurement, "PARTICLES_AT_ONCE", size)
    found, draws = measure(made, probe, T, 6), by_hand(made, probe, T)
    for part, expected in zip((found.rate, found.distortion), draws[:2], strict=True):
        torch.testing.assert_close(part.draws.few, expected, rtol=1e-12, atol=1e-12)
    loss = classification_draws(made, probe, T)
    torch.testing.assert_close(loss, draws.classification, rtol=1e-12, atol=1e-12)
    again = data_force(made, probe, T, 6)
    torch.testing.assert_close(again.draws.few, force.draws.few, rtol=1e-12, atol=1e-12)


def test_fewer_draws_of_a_large_probe_are_decoded() -> None:
    def count(particles: int) -> int:
        weight, image = torch.ones(particles), torch.empty(particles, 0)
        return draws_to_decode(Probe(Particles(image, image, image, image, weight), image))

    assert [count(n) for n in (1, 4096, 8192, 16_384, 54_000, 10**6)] == [8, 8, 8, 4, 2, 2]


@pytest.mark.parametrize(("n", "decoded"), [(16_384, 2 * 8), (16_385, 3)])
def test_single_points_of_rotations_are_independent_normal_draws(n: int, decoded: int) -> None:
    # two whole rotations of 8 points are 262,144 images to decode for n = 16,384, too many beyond
    weight, image = torch.ones(n), torch.empty(n, 0)
    probe = Probe(Particles(image, image, image, image, weight), turned_cubature(n, 2, 0, 4), 8)
    few = few_draws(probe, draws_to_decode(probe))
    assert (len(few.noise), few.points) == (decoded, 8 if decoded == 16 else 1)
    if few.points == 1:
        assert all(kstest(draw.flatten(), "norm").pvalue > 1e-3 for draw in few.noise)
        assert torch.corrcoef(few.noise.flatten(1)).triu(1).abs().max() < 5 / math.sqrt(2 * n)


def test_standard_errors_are_those_of_the_spread_over_draws() -> None:
    made, probe = model(4), probe_of(7)
    found, draws = measure(made, probe, T, 7), by_hand(made, probe, T)
    assert found.rate.error == pytest.approx(0, abs=1e-15)  # the rate is analytic
    for name in ("distortion", "classification"):
        error = standard_error(getattr(draws, name))
        assert error > 1e-3
        assert getattr(found, name).error == pytest.approx(error, rel=1e-10)
    # D and C are measured on the same draws: their errors do not add up as independent ones
    energy = standard_error(draws.free_energy())
    apart = math.hypot(LAM * found.distortion.error, GAM * found.classification.error)
    assert found.free_energy.error == pytest.approx(energy, rel=1e-10)
    assert abs(apart / energy - 1) > 0.02


def test_a_rate_without_closed_form_has_an_error_of_its_own() -> None:
    torch.manual_seed(0)
    made, probe = model(marginal=GaussianMixture(K, 3)), probe_of(6)
    found = measure(made, probe, T, 6)
    p = probe.particles
    with torch.no_grad():
        x = (1 - T) * p.source + T * p.target
        mean, log_var = made.encoder(x)
        z = mean + (0.5 * log_var).exp() * probe.noise
        code = Independent(Normal(mean, (0.5 * log_var).exp()), 1)
        draws = (code.log_prob(z) - made.marginal.log_prob(z)) @ p.weight / p.weight.sum()
    assert found.rate.value == pytest.approx(draws.mean().item(), **CLOSE)
    assert found.rate.error == pytest.approx(standard_error(draws), rel=1e-10)


@pytest.mark.parametrize("decoded", [32, 16])
def test_the_error_of_a_difference_is_honest(decoded: int) -> None:
    # D and C of these two models go against each other from draw to draw: were they taken for
    # independent, the error would be more than twice too large, or a third
    draws, groups = 32, 3000
    probe = probe_of(draws * groups)
    pair = [measure(model(seed), probe, T, draws * groups).free_energy for seed in (4, 5)]
    all_draws = pair[0] - pair[1]
    few, many = (part.split(draws) for part in (all_draws.draws.few, all_draws.draws.many))
    small = [Estimate.of_draws(a[:decoded], b) for a, b in zip(few, many, strict=True)]
    z = np.array([(part.value - all_draws.value) / part.error for part in small])
    # the spread of z is that of Student's t, for normal draws: √(ν/(ν-2)) is 1.03 for 31 degrees
    # of freedom and 1.07 for 15. Over 3,000 groups it is known to 1.5%; 5% are for other tails.
    student = math.sqrt((decoded - 1) / (decoded - 3))
    assert z.std() == pytest.approx(student, rel=0.05)
    assert abs(z.mean()) < 0.1
    # and common draws are worth having
    apart = math.hypot(*(part.error for part in pair))
    assert all_draws.error < apart


def slope_in_t(made: Networks, probe: Probe) -> Tensor:
    """∂_tJ of each draw by differences, extrapolated: of fourth order in 1e-3."""

    def central(h: float) -> Tensor:
        up, down = (by_hand(made, probe, T + sign * h).free_energy() for sign in (1, -1))
        return (up - down) / (2 * h)

    return (4 * central(5e-4) - central(1e-3)) / 3


def test_the_force_of_the_data_is_the_explicit_derivative_of_j() -> None:
    made, probe = model(), probe_of(9)
    force = data_force(made, probe, T, 4)
    draws = slope_in_t(made, few_draws(probe, 4))
    # rounding of the differences: 1e-15 over 1e-3
    assert force.value == pytest.approx(draws.mean().item(), rel=1e-8)
    assert force.error == pytest.approx(standard_error(draws), rel=1e-8)
    assert abs(force.value) > 0.01


def states(samples: int, decoded: int) -> tuple[list[Any], list[Estimate], list[Draws]]:
    """Two states of two models at other places, as measured on one probe, and by hand."""
    probe = probe_of(samples)
    made = [model(0), model(1)]
    measured = [
        replace(measure(m, probe, t, decoded), lam=lam, gam=gam)
        for m, (lam, gam, t) in zip(made, ((1.0, 3.0, 0.2), (1.4, 2.5, 0.5)), strict=True)
    ]
    forces = [data_force(m, probe, s.t, decoded) for m, s in zip(made, measured, strict=True)]
    return measured, forces, [by_hand(m, probe, s.t) for m, s in zip(made, measured, strict=True)]


def row(state: Any, force: Estimate) -> dict[str, float]:
    return {
        "R": state.rate.value,
        "D": state.distortion.value,
        "C": state.classification.value,
        "J_t": force.value,
        "lambda": state.lam,
        "gamma": state.gam,
        "t": state.t,
    }


def test_the_first_law_is_that_of_the_rows() -> None:
    measured, forces, _ = states(12, 4)
    residual = first_law(*measured, *forces)
    rows = [row(state, force) for state, force in zip(measured, forces, strict=True)]
    assert residual.value == pytest.approx(first_law_residual(*rows), **CLOSE)
    assert abs(residual.value) > 0.1


def test_the_error_of_the_first_law_is_that_of_its_draws() -> None:
    measured, forces, (before, after) = states(6, 6)
    lam, gam, dt = 1.2, 2.75, 0.3
    change = Draws(*(b - a for a, b in zip(before, after, strict=True)))
    draws = change.rate + lam * change.distortion + gam * change.classification
    draws = draws - dt / 2 * (forces[0].draws.few + forces[1].draws.few)
    assert first_law(*measured, *forces).error == pytest.approx(standard_error(draws), rel=1e-10)


LINEAR: dict[str, Callable[[], Networks]] = {
    "cubature": lambda: model(
        encoder=LinearGaussianEncoder(SHAPE, K),
        classifier=GaussianClassifier(K, CLASSES),
        decoder=MLPDecoder(SHAPE, K, hidden=()),
    ),
    "codes": lambda: model(encoder=CategoricalEncoder(SHAPE, K), marginal=CategoricalMarginal(K)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_what_is_exact_has_no_error_and_uses_all_points(name: str) -> None:
    made = LINEAR[name]()
    probe = Probe(particles(), made.noise(1, N))
    found, force = measure(made, probe, T, 8), data_force(made, probe, T, 8)
    parts = (found.rate, found.distortion, found.classification, found.free_energy, force)
    assert [part.error for part in parts] == [0] * 5
    assert all(abs(part.value) > 1e-3 for part in parts)
    assert first_law(found, replace(found, lam=2.0, t=0.7), force, force).error == 0
    # however few draws are decoded
    assert len(probe.noise) > 1
    few, again = measure(made, probe, T, 1), data_force(made, probe, T, 1)
    for one, other in zip(parts, (few.rate, few.distortion, *parts[2:4], again), strict=True):
        assert one.value == pytest.approx(other.value, **CLOSE)


def test_the_classification_loss_needs_no_decoder() -> None:
    made, probe = model(), probe_of(7)
    expected = by_hand(made, probe, T).classification
    without = model(decoder=None, lam=0.0)
    without.encoder, without.classifier = made.encoder, made.classifier
    for each in (made, without):
        found = classification_draws(each, probe, T)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(classification_draws(model(classifier=None, gam=0.0), probe, T), NOTHING)


@pytest.mark.parametrize("part", ["rate", "distortion", "classification"])
def test_a_number_that_is_not_finite_is_seen(part: str) -> None:
    found = measure(model(), probe_of(3), T, 3)
    bad = Estimate.of_draws(torch.tensor([1.0, math.nan]), NOTHING)
    assert not replace(found, **{part: bad}).finite


@pytest.mark.parametrize("lam", [0.3, 0.5, 0.7, 1.0])
def test_the_latents_in_use_are_those_that_the_closed_form_calls_active(lam: float) -> None:
    # the third axis carries no label, and is on where λ > 0.625
    system = make_system(STILL)
    networks = make_linear_model(system, lam, 2.0).double()
    data = GaussianDomains(STILL, LABELS, NOISE).coupling("train").all()
    probe = Probe(data, networks.noise(1, len(data.weight)))
    expected = system.active_latents(lam, 2.0)
    assert expected == (3 if lam > 0.625 else 2)
    assert latents_in_use(networks, probe, 0.0) == expected


def test_codes_in_use_are_counted_by_their_entropy() -> None:
    # frequencies 1/2, 1/4, 1/4: an entropy of 1.5 log 2
    posterior = CategoricalPosterior(torch.tensor([[9.0, 0, 0, 0], [0, 9, 9, 0]]).double() * 99)
    assert posterior.in_use(torch.tensor([2.0, 2.0]).double()) == pytest.approx(2**1.5)
    assert posterior.in_use(torch.tensor([1.0, 0.0]).double()) == pytest.approx(1)


@pytest.mark.parametrize("marginal", [StandardNormal(3), DiagonalGaussian(3)])
def test_rates_of_the_axes_add_up_to_the_rate(marginal: Any) -> None:
    torch.manual_seed(3)
    encoder, decoder = MLPEncoder((1, 2, 2), 3), MLPDecoder((1, 2, 2), 3)
    model = Networks(encoder, decoder=decoder, marginal=marginal, lam=1.0, gam=0.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    x, weight = torch.rand(400, 1, 2, 2), torch.rand(400)
    batch = Batch(x, torch.zeros(400, 2), weight)
    rates = latent_rates(model, batch)
    terms = model.terms(model(x, model.noise(1, 400)), x, batch.y)
    expected = float((terms.rate * weight).sum() / weight.sum())
    assert sum(rates) == pytest.approx(expected, rel=1e-5)
    assert rates == sorted(rates, reverse=True)


def test_rates_of_the_axes_are_not_known_of_a_mixture() -> None:
    model = Networks(MLPEncoder((4,), 2), marginal=GaussianMixture(2), lam=0.0, gam=0.0)
    batch = Batch(torch.rand(5, 4), torch.zeros(5, 2), torch.ones(5))
    assert latent_rates(model, batch) == []
