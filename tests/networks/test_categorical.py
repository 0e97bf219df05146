"""A representation by codes: against sums over the codes one by one, and torch's distributions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import kl_divergence

from support.numbers import randn
from thermo_pl.errors import ConfigError
from thermo_pl.networks import (
    Categorical,
    CategoricalEncoder,
    CategoricalMarginal,
    CategoricalPosterior,
    LinearClassifier,
    MLPClassifier,
    MLPDecoder,
    MLPEncoder,
    Networks,
    StandardNormal,
    TableClassifier,
    TableDecoder,
)

CLOSE = {"rtol": 1e-12, "atol": 1e-12}  # float64
SHAPE = (1, 1, 5)
CODES, CLASSES = 3, 2
PIXELS = [
    [0.50, 0.25, 0.10, 0.10, 0.05],
    [0.10, 0.20, 0.45, 0.15, 0.10],
    [0.05, 0.10, 0.10, 0.25, 0.50],
]
LABELS = [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]
few = settings(max_examples=25, deadline=None)  # milliseconds each, on a machine that is shared


def tables(seed: int = 0, **changes: Any) -> Networks:
    """A free encoder and marginal, all else from tables."""
    parts: dict[str, Any] = {
        "encoder": CategoricalEncoder(SHAPE, CODES),
        "classifier": TableClassifier(CODES, CLASSES, LABELS),
        "decoder": TableDecoder(SHAPE, CODES, PIXELS),
        "marginal": CategoricalMarginal(CODES),
        "lam": 1.3,
        "gam": 2.0,
    }
    made = Networks(**(parts | changes)).double()
    for i, p in enumerate(made.parameters()):
        p.data = randn(*p.shape, seed=1000 * seed + i)
    return made


def letters(n: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    """One-hot images and soft labels."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.eye(5).double()[torch.randint(5, (n,), generator=generator)]
    return x.reshape(n, *SHAPE), (2 * randn(n, CLASSES, seed=seed)).softmax(-1)


def terms_of(made: Networks, x: Tensor, y: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return list(made.terms(made(x, made.noise(1, len(x))), x, y))


@few
@given(st.integers(0, 10_000))
def test_r_d_and_c_equal_sums_over_the_codes(seed: int) -> None:
    made = tables(seed)
    x, y = letters(seed=seed)
    rate, distortion, loss = terms_of(made, x, y)
    logits, prior = made.encoder(x).logits.detach(), made.marginal.logits.detach().softmax(-1)
    for i in range(len(x)):
        e = logits[i].softmax(-1).tolist()
        symbol = int(x[i].argmax())
        by_hand = [0.0, 0.0, 0.0]
        for z in range(CODES):
            by_hand[0] += e[z] * math.log(e[z] / prior[z])
            by_hand[1] -= e[z] * math.log(PIXELS[z][symbol])
            for c in range(CLASSES):
                by_hand[2] -= e[z] * y[i, c].item() * math.log(LABELS[z][c])
        found = [term[i].item() for term in (rate, distortion, loss)]
        assert found == pytest.approx(by_hand, rel=1e-11, abs=1e-12)


def test_networks_that_see_codes_are_summed_over_like_tables() -> None:
    made = tables(
        encoder=CategoricalEncoder(SHAPE, CODES, hidden=(4,)),
        decoder=MLPDecoder(SHAPE, CODES, hidden=(4,)),
        classifier=MLPClassifier(CODES, CLASSES, hidden=(4,)),
    )
    x, y = letters()
    _, distortion, loss = terms_of(made, x, y)
    share = made.encoder(x).logits.detach().softmax(-1)
    expected = [0.0, 0.0]
    for z in range(CODES):
        code = torch.eye(CODES).double()[z].expand(1, len(x), CODES)
        with torch.no_grad():
            expected[0] += share[:, z] * made.decoder.likelihood.nll(made.decoder(code), x)[0]
            expected[1] += share[:, z] * made.classifier.nll(made.classifier(code), y)[0]
    torch.testing.assert_close(distortion, expected[0], **CLOSE)
    torch.testing.assert_close(loss, expected[1], **CLOSE)


def test_predictions_are_sums_over_the_codes() -> None:
    made, (x, _) = tables(), letters()
    with torch.no_grad():
        found = made.predict(x)
        share = made.encoder(x).logits.softmax(-1)
    torch.testing.assert_close(found.z, share, **CLOSE)
    expected = share @ torch.tensor(LABELS, dtype=torch.float64)
    torch.testing.assert_close(found.probabilities, expected, **CLOSE)
    expected = torch.einsum("nz,zx->nx", share, torch.tensor(PIXELS, dtype=torch.float64))
    torch.testing.assert_close(found.reconstruction.flatten(1), expected, **CLOSE)


def test_tables_have_no_parameters_and_keep_their_precision() -> None:
    decoder, classifier = TableDecoder(SHAPE, CODES, PIXELS), TableClassifier(CODES, 2, LABELS)
    given_marginal = CategoricalMarginal(CODES, [0.2, 0.3, 0.5])
    code = torch.eye(CODES).double()[None]
    for part in (decoder, classifier, given_marginal):
        assert list(part.parameters()) == []
        assert part.state_dict() == {}  # data of the config, not weights
        part.float()
    found = decoder(code)[0].flatten(1).exp()
    torch.testing.assert_close(found, torch.tensor(PIXELS, dtype=torch.float64), **CLOSE)
    found = classifier(code)[0].exp()
    torch.testing.assert_close(found, torch.tensor(LABELS, dtype=torch.float64), **CLOSE)
    found = given_marginal.log_prob(code[0]).exp()
    torch.testing.assert_close(found, torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64), **CLOSE)
    assert decoder(code.float()).dtype == torch.float32
    assert isinstance(decoder.likelihood, Categorical)


def test_a_learned_marginal_starts_with_equal_probabilities_and_is_a_parameter() -> None:
    marginal = CategoricalMarginal(CODES)
    assert [p.numel() for p in marginal.parameters()] == [CODES]
    found = marginal.log_prob(torch.eye(CODES)).exp()
    torch.testing.assert_close(found, torch.full((CODES,), 1 / CODES))


@pytest.mark.parametrize("probabilities", [None, [0.2, 0.3, 0.5]])
def test_points_of_the_marginal_are_all_codes_with_their_weight(
    probabilities: list[float] | None,
) -> None:
    marginal = CategoricalMarginal(CODES, probabilities).double()
    z, log_weight = marginal.points(1000)
    assert torch.equal(z, torch.eye(CODES).double())
    torch.testing.assert_close(log_weight, marginal.log_prob(z), **CLOSE)
    assert log_weight.exp().sum().item() == pytest.approx(1, abs=1e-15)


def test_draws_of_the_marginal_have_its_frequencies() -> None:
    share = [0.2, 0.3, 0.5]
    n = 20_000
    z = CategoricalMarginal(CODES, share).sample(n, torch.Generator().manual_seed(0))
    assert z.shape == (n, CODES)
    assert torch.equal(z.sum(1), torch.ones(n).double())
    for found, p in zip(z.mean(0).tolist(), share, strict=True):
        # five standard errors
        assert abs(found - p) < 5 * math.sqrt(p * (1 - p) / n)
    again = CategoricalMarginal(CODES, share).sample(n, torch.Generator().manual_seed(0))
    assert torch.equal(z, again)


def test_the_encoder_draws_nothing() -> None:
    encoder = CategoricalEncoder(SHAPE, CODES)
    assert encoder.exact
    noise = encoder.noise(7, 4)
    assert noise.numel() == 0
    assert len(noise) == CODES  # one for each code, as many as there are values to average
    z = encoder(torch.rand(4, *SHAPE)).draw(noise)
    assert torch.equal(z, torch.eye(CODES)[:, None].expand(CODES, 4, CODES))


def test_without_a_hidden_layer_one_hot_images_have_a_table_of_their_own() -> None:
    encoder = CategoricalEncoder(SHAPE, CODES)
    wanted = randn(5, CODES, seed=1).softmax(-1)
    with torch.no_grad():
        encoder.double().net[0].weight.copy_(wanted.log().T)
        encoder.net[0].bias.zero_()
        found = encoder(torch.eye(5).double().reshape(5, *SHAPE)).logits.softmax(-1)
    torch.testing.assert_close(found, wanted, **CLOSE)


def test_weighing_takes_values_of_any_shape() -> None:
    posterior = CategoricalPosterior(randn(4, CODES, seed=0))
    values = randn(CODES, 4, 2, 3, seed=1)
    found = posterior.weigh(values).mean(0)
    expected = torch.einsum("nz,znab->nab", posterior.logits.softmax(-1), values)
    torch.testing.assert_close(found, expected, **CLOSE)


@few
@given(st.integers(0, 10_000))
def test_a_sure_encoder_has_a_finite_rate(seed: int) -> None:
    logits = 400 * randn(4, CODES, seed=seed)
    posterior = CategoricalPosterior(logits)
    prior = randn(CODES, seed=seed + 1).log_softmax(-1)
    rate = posterior.rate(prior)
    expected = kl_divergence(TorchCategorical(logits=logits), TorchCategorical(logits=prior))
    torch.testing.assert_close(rate, expected, rtol=1e-10, atol=1e-10)
    assert rate.isfinite().all()


ROWS = "allowed: entries > 0, each row summing to 1"
REFUSED: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: TableDecoder(SHAPE, CODES, PIXELS[:2]),
        "table: got 'rows of [5, 5] entries'; allowed: 3 rows of 5 entries",
    ),
    (
        lambda: TableClassifier(CODES, CLASSES, [*LABELS[:2], [1.0]]),
        "table: got 'rows of [2, 2, 1] entries'; allowed: 3 rows of 2 entries",
    ),
    *(
        (partial(TableClassifier, 2, 2, table), f"table: got {table}; {ROWS}")
        for table in ([[p, q], [0.5, 0.5]] for p, q in ((1.0, 0.0), (0.5, 0.6), (math.nan, 0.5)))
    ),
    (
        lambda: CategoricalMarginal(3, [0.5, 0.5]),
        "probabilities: got 'rows of [2] entries'; allowed: 1 rows of 3 entries",
    ),
    (lambda: CategoricalMarginal(2, [-0.5, 1.5]), f"probabilities: got [[-0.5, 1.5]]; {ROWS}"),
    (lambda: CategoricalMarginal(0), "latent_dim: got 0; allowed: a whole number > 0"),
    (
        lambda: tables(marginal=StandardNormal(CODES)),
        "marginal: got 'StandardNormal'; allowed: one of CategoricalPosterior, what "
        "CategoricalEncoder gives",
    ),
    (
        lambda: tables(
            encoder=MLPEncoder(SHAPE, CODES), classifier=LinearClassifier(CODES, CLASSES)
        ),
        "marginal: got 'CategoricalMarginal'; allowed: one of GaussianPosterior, what MLPEncoder",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_mistake_is_told_in_one_line(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        make()
    assert "\n" not in str(caught.value)
