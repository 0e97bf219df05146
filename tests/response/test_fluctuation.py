"""Covariances under the encoder against exact surfaces, dense sums and linear solves."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from support.numbers import randn
from thermo_pl.errors import ConfigError
from thermo_pl.exact.alphabet import Alphabet
from thermo_pl.networks import (
    CategoricalEncoder,
    CategoricalMarginal,
    IdentityEncoder,
    LinearClassifier,
    LinearGaussianEncoder,
    MLPClassifier,
    MLPDecoder,
    MLPEncoder,
    Networks,
    StandardNormal,
    TableClassifier,
    TableDecoder,
)
from thermo_pl.particles import Particles
from thermo_pl.response.fluctuation import fluctuation_response
from thermo_pl.response.linear import ResponseSettings, linear_response
from thermo_pl.response.objective import Objective, Probe

LETTERS, LABELS, CODES = 4, 3, 3
SHAPE = (1, 1, LETTERS)
LAM, GAM, T = 1.3, 2.0, 0.4


def distributions(rows: int, n: int, seed: int) -> Tensor:
    return (1.5 * randn(rows, n, seed=seed)).softmax(-1)


def system(seed: int, free: tuple[str, ...] = ()) -> Alphabet:
    return Alphabet(
        distributions(1, LETTERS, seed)[0],
        distributions(LETTERS, LABELS, seed + 1),
        distributions(CODES, LETTERS, seed + 2),
        distributions(CODES, LABELS, seed + 3),
        distributions(1, CODES, seed + 4)[0],
        frozenset(free),
    )


def network(a: Alphabet, lam: float = LAM, gam: float = GAM, **parts: Any) -> Networks:
    """The system as tables, with an encoder anywhere but at its optimum."""
    made: dict[str, Any] = {
        "encoder": CategoricalEncoder(SHAPE, CODES),
        "classifier": TableClassifier(CODES, LABELS, a.classifier.tolist()),
        "decoder": TableDecoder(SHAPE, CODES, a.decoder.tolist()),
        "marginal": CategoricalMarginal(CODES, a.marginal.tolist()),
    }
    torch.manual_seed(0)
    return Networks(**(made | parts), lam=lam, gam=gam).double()


def letters(a: Alphabet) -> Probe:
    """All letters with their probabilities; nothing moves."""
    x = torch.eye(LETTERS, dtype=torch.float64).reshape(LETTERS, *SHAPE)
    particles = Particles(x, x, a.p_y_given_x, a.p_y_given_x, a.p_x)
    return Probe(particles, torch.zeros(CODES, LETTERS, 0, dtype=torch.float64))


def moving(a: Alphabet) -> Probe:
    """Mixtures of letters that move, with labels that change."""
    ends = [distributions(LETTERS, LETTERS, seed).reshape(-1, *SHAPE) for seed in (50, 51)]
    labels = [distributions(LETTERS, LABELS, seed) for seed in (52, 53)]
    return letters(a)._replace(particles=Particles(*ends, *labels, 3 * a.p_x))


@pytest.mark.parametrize("seed", [0, 7, 170])
@pytest.mark.parametrize(("lam", "gam"), [(1.3, 2.0), (0.0, 3.0), (2.0, 0.0)])
def test_with_a_free_encoder_and_nothing_else_they_are_the_exact_derivatives(
    seed: int, lam: float, gam: float
) -> None:
    a = system(seed)
    found = fluctuation_response(network(a, lam, gam), letters(a), T)
    assert found.exact
    assert (found.error.tensor() == 0).all()
    exact = a.derivatives(lam, gam)
    assert (found.slopes.tensor()[:, :2] - exact).abs().max() <= 1e-12
    assert exact[1:].abs().max() > 1e-2
    assert all(slope.t == 0 for slope in found.slopes)  # nothing moves


def test_they_are_the_response_that_a_solve_finds() -> None:
    a = system(170)
    probe, made = moving(a), network(a)
    p = probe.particles
    x = ((1 - T) * p.source + T * p.target).flatten(1)
    y = (1 - T) * p.source_label + T * p.target_label
    logits = a.marginal.log() + LAM * x @ a.decoder.log().T + GAM * y @ a.classifier.log().T
    with torch.no_grad():  # the table at its optimum
        made.encoder.net[0].weight.copy_(torch.linalg.solve(x, logits).T)
        made.encoder.net[0].bias.zero_()
    settings = ResponseSettings(0, "hessian", 1e-12, 1000)
    solved = linear_response(Objective(made, probe), T, settings)
    assert solved.stationarity < 1e-20
    found = fluctuation_response(made, probe, T)
    torch.testing.assert_close(solved.slopes.tensor(), found.slopes.tensor(), rtol=0, atol=1e-9)


def test_a_marginal_that_follows_is_refused_and_marked() -> None:
    a = system(170, ("marginal",))
    state = a.equilibrium(LAM, GAM)
    made = network(a, marginal=CategoricalMarginal(CODES))
    with torch.no_grad():
        made.marginal.logits.copy_(state.marginal.log())
    with pytest.raises(ConfigError, match=r"a marginal that is trained.*take linear_response, or"):
        fluctuation_response(made, letters(a), T)
    found = fluctuation_response(made, letters(a), T, biased=True)
    assert not found.exact
    assert found.bias == "a marginal that is trained"
    # as if the marginal stood still
    still = replace(a, marginal=state.marginal, free=frozenset())
    slopes = found.slopes.tensor()[:, :2]
    torch.testing.assert_close(slopes, still.derivatives(LAM, GAM), rtol=0, atol=1e-12)
    # and far off
    gap = (slopes - a.derivatives(LAM, GAM)).abs()
    assert gap.max() > 0.3
    made.marginal.requires_grad_(False)
    assert fluctuation_response(made, letters(a), T).exact


def gaussian(n: int, samples: int, seed: int = 0, **parts: Any) -> tuple[Networks, Probe]:
    """A network with a drawn representation, and a probe of moving images and labels."""
    torch.manual_seed(1)
    made: dict[str, Any] = {
        "encoder": MLPEncoder(SHAPE, 2, hidden=(3,)),
        "classifier": MLPClassifier(2, LABELS, hidden=(3,)),
        "decoder": MLPDecoder(SHAPE, 2, hidden=(3,)),
        "marginal": StandardNormal(2),
    }
    model = Networks(**(made | parts), lam=LAM, gam=GAM).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2)
    images = [randn(n, *SHAPE, seed=s).sigmoid() for s in (2, 3)]
    labels = [distributions(n, LABELS, s) for s in (4, 5)]
    particles = Particles(*images, *labels, randn(n, seed=6).exp())
    return model, Probe(particles, randn(samples, n, 2, seed=100 + seed))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"encoder": CategoricalEncoder(SHAPE, CODES, hidden=(1,))}, "not free for each particle"),
        ({"classifier": LinearClassifier(CODES, LABELS)}, "a classifier that is trained"),
        ({"decoder": MLPDecoder(SHAPE, CODES)}, "a decoder that is trained"),
    ],
)
def test_other_models_are_refused(parts: dict[str, Any], reason: str) -> None:
    a = system(0)
    with pytest.raises(ConfigError, match=reason):
        fluctuation_response(network(a, **parts), letters(a), T)


def test_an_encoder_is_not_free_where_two_particles_are_alike() -> None:
    a = system(0)
    probe = letters(a)
    x = probe.particles.source.clone()
    x[1] = x[0]  # one image with two labels
    alike = probe._replace(particles=probe.particles._replace(source=x, target=x))
    with pytest.raises(ConfigError, match="not free for each particle"):
        fluctuation_response(network(a), alike, T)


def test_without_draws_there_are_no_covariances() -> None:
    model, probe = gaussian(4, 2)
    with pytest.raises(ConfigError, match="got 'an encoder of a limited family'"):
        fluctuation_response(model, gaussian(4, 3)[1], T)
    with pytest.raises(ConfigError, match="noise draws: got 2; allowed: 3 or more"):
        fluctuation_response(model, probe, T, biased=True)
    for encoder, marginal, k in (
        (IdentityEncoder(SHAPE), None, 4),
        (LinearGaussianEncoder(SHAPE, 2), StandardNormal(2), 2),
    ):
        parts = {"classifier": LinearClassifier(k, LABELS), "decoder": MLPDecoder(SHAPE, k)}
        model, _ = gaussian(4, 4, encoder=encoder, marginal=marginal, **parts)
        with pytest.raises(ConfigError, match=f"encoder: got '{type(encoder).__name__}'"):
            fluctuation_response(model, probe, T, biased=True)


def test_with_draws_they_are_sample_covariances() -> None:
    model, probe = gaussian(5, 7)
    found = fluctuation_response(model, probe, T, biased=True)
    p = probe.particles
    h, costs = 1e-5, []
    z = model.encoder((1 - T) * p.source + T * p.target).draw(probe.noise)
    for t in (T, T + h, T - h):
        x, y = (1 - t) * p.source + t * p.target, (1 - t) * p.source_label + t * p.target_label
        d = model.decoder.likelihood(model.decoder(z), x)
        costs.append(torch.stack([d, model.classifier.nll(model.classifier(z), y)]).detach())
    # both costs are linear in t, as Bernoulli and cross-entropy are
    (d, c), (d_t, c_t) = costs[0], (costs[1] - costs[2]) / (2 * h)
    share = (p.weight / p.weight.sum()).numpy()
    expected = np.zeros((3, 3))
    for i, weight in enumerate(share):
        forces = [d[:, i], c[:, i], LAM * d_t[:, i] + GAM * c_t[:, i]]
        terms = [-LAM * d[:, i] - GAM * c[:, i], d[:, i], c[:, i]]
        expected -= weight * np.cov(torch.stack(terms + forces).numpy())[:3, 3:]
        expected[1:, 2] += weight * np.array([d_t[:, i].mean(), c_t[:, i].mean()])
    np.testing.assert_allclose(found.slopes, expected, atol=1e-8)
    assert not found.exact


def test_parts_of_a_probe_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    model, probe = gaussian(5, 7)
    whole = fluctuation_response(model, probe, T, biased=True)
    monkeypatch.setattr("thermo_pl.response.fluctuation.AT_ONCE", 2 * 7 * LETTERS)
    parts = fluctuation_response(model, probe, T, biased=True)
    for name in ("slopes", "error"):
        one, other = (getattr(found, name).tensor() for found in (whole, parts))
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_the_error_is_the_spread_over_draws_and_falls_with_their_root() -> None:
    model, errors, means = gaussian(12, 4)[0], {}, {}
    for samples, runs in ((8, 80), (72, 20)):
        found = [
            fluctuation_response(model, gaussian(12, samples, seed=s)[1], T, biased=True)
            for s in range(runs)
        ]
        values = torch.stack([each.slopes.tensor() for each in found])
        errors[samples] = (
            torch.stack([each.error.tensor() for each in found]).square().mean(0).sqrt()
        )
        means[samples] = values.mean(0)
        # the spread of n runs is known to 1/√2n, 8 or 16 %, and the jackknife of few draws is
        # somewhat too large
        ratio = errors[samples] / values.std(0)
        assert (ratio > 0.6).all()
        assert (ratio < 1.7).all()
    # unbiased: the mean of many small runs is that of a few large ones
    assert ((means[8] - means[72]).abs() < 5 * errors[8] / math.sqrt(80)).all()
    scaling = errors[8] / errors[72]
    assert (scaling > 0.8 * 3).all()
    assert (scaling < 1.5 * 3).all()
