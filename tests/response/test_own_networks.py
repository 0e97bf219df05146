"""Responses of networks of one's own against references that share none of their kernels."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, weight_norm

from support.small_networks import CLASSES, SHAPE, K, parts
from thermo_pl.networks import (
    ConvEncoder,
    Gaussian,
    LinearClassifier,
    MLPDecoder,
    MLPEncoder,
    ModuleEncoder,
    Networks,
    StandardNormal,
)
from thermo_pl.particles import Particles
from thermo_pl.response import Objective, Probe
from thermo_pl.response.curvature import gauss_newton, hessian
from thermo_pl.response.objective import flatten

T = 0.3
N = 5


def probe(shape: tuple[int, ...] = SHAPE) -> Probe:
    """Pairs, labels and noise in float64."""
    generator = torch.Generator().manual_seed(3)
    x, other = torch.rand(2, N, *shape, generator=generator, dtype=torch.float64)
    y = torch.eye(CLASSES, dtype=torch.float64)[torch.arange(N) % CLASSES]
    weight = torch.rand(N, generator=generator, dtype=torch.float64) + 0.5
    noise = torch.randn(3, N, K, generator=generator, dtype=torch.float64)
    return Probe(Particles(x, other, y, y, weight), noise)


def model(**changes: Any) -> Networks:
    torch.manual_seed(0)
    return Networks(**parts(**changes)).double()


def value(made: Networks, theta: Tensor, seen: Probe) -> Tensor:
    """J by its definition, the networks called as modules."""
    pieces, at = {}, 0
    for name, parameter in made.named_parameters():
        if parameter.requires_grad:
            pieces[name] = theta[at : at + parameter.numel()].reshape(parameter.shape)
            at += parameter.numel()
    p = seen.particles
    x, share = (1 - T) * p.source + T * p.target, p.weight / p.weight.sum()
    outputs = functional_call(made, pieces, (x, seen.noise))
    return made.objective(made.terms(outputs, x, p.source_label)) @ share


def slope(made: Networks, theta: Tensor, seen: Probe) -> Tensor:
    theta = theta.detach().requires_grad_()
    return torch.autograd.grad(value(made, theta, seen), theta)[0]


def differenced(made: Networks, seen: Probe, direction: Tensor) -> Tensor:
    """The Hessian along a direction by differences of gradients, fourth order."""
    theta = flatten(p for p in made.parameters() if p.requires_grad)

    def central(step: float) -> Tensor:
        ends = (slope(made, theta + sign * step * direction, seen) for sign in (1, -1))
        forward, back = ends
        return (forward - back) / (2 * step)

    return (4 * central(5e-4) - central(1e-3)) / 3


def with_norm(norm: Callable[[nn.Module], nn.Module]) -> Networks:
    """Encoder and heads with a normalised layer each."""
    encoder = MLPEncoder(SHAPE, K, (5,))
    encoder.net[0] = norm(encoder.net[0])
    decoder = MLPDecoder(SHAPE, K, (), Gaussian(0.3))
    decoder.net[0] = norm(decoder.net[0])
    classifier = LinearClassifier(K, CLASSES)
    classifier.net[0] = norm(classifier.net[0])
    return model(encoder=encoder, decoder=decoder, classifier=classifier)


def tied() -> Networks:
    """The last layer of the decoder is the first of the encoder."""
    encoder, decoder = MLPEncoder(SHAPE, K, (5,)), MLPDecoder(SHAPE, K, (5,))
    shared = encoder.net[0].weight

    class Transposed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = shared

        def forward(self, h: Tensor) -> Tensor:
            return h @ self.weight

    decoder.net[2] = Transposed()
    return model(encoder=encoder, decoder=decoder)


def spectral() -> Networks:
    layer = parametrizations.spectral_norm(nn.Linear(6, 5))
    net = nn.Sequential(nn.Flatten(), layer, nn.SiLU(), nn.Linear(5, 2 * K))
    return model(encoder=ModuleEncoder(SHAPE, K, net))


def frozen() -> Networks:
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 2 * K)
    )
    return model(encoder=ModuleEncoder(SHAPE, K, net, freeze=True))


class Tokens(nn.Module):
    """Three tokens of two pixels that attend to each other."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.lift, self.out = nn.Linear(2, 8), nn.Linear(24, 2 * K)
        self.layer = nn.TransformerEncoderLayer(
            8, 2, 16, dropout=0.0, batch_first=True, activation="gelu"
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.layer(self.lift(x.reshape(-1, 3, 2))).flatten(1))
        return out


class Recurrent(nn.Module):
    """The same tokens one after the other."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.layer, self.out = nn.LSTM(2, 5, batch_first=True), nn.Linear(5, 2 * K)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.layer(x.reshape(-1, 3, 2))[0][:, -1])
        return out


CASES: dict[str, Callable[[], Networks]] = {
    "weight norm": lambda: with_norm(parametrizations.weight_norm),
    "weight norm of each column": lambda: with_norm(
        lambda m: parametrizations.weight_norm(m, dim=1)
    ),
    "weight norm of the whole": lambda: with_norm(
        lambda m: parametrizations.weight_norm(m, dim=None)
    ),
    "weight norm in the old way": lambda: with_norm(weight_norm),
    # not by Householder's reflections, which jump where torch lets them start
    "orthogonal": lambda: with_norm(
        partial(parametrizations.orthogonal, orthogonal_map="matrix_exp")
    ),
    "spectral norm": spectral,
    "tied": tied,
    "attention": lambda: model(encoder=ModuleEncoder(SHAPE, K, Tokens())),
    "recurrent": lambda: model(encoder=ModuleEncoder(SHAPE, K, Recurrent())),
    "frozen batch norm and dropout": frozen,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated")
@pytest.mark.parametrize("case", CASES)
def test_the_hessian_is_that_of_differences_of_gradients(case: str) -> None:
    made, seen = CASES[case](), probe()
    objective = Objective(made, seen)
    assert objective.value(objective.means(objective.theta, T)).item() == pytest.approx(
        value(made, objective.theta, seen).item(), rel=1e-12
    )
    rows = torch.randn(2, len(objective.theta), dtype=torch.float64)
    expected = torch.stack([differenced(made, seen, row) for row in rows])
    found = hessian(objective, T)(rows)
    # fourth order in steps of 1e-3, and rounding of gradients over them
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_layout_in_memory_changes_nothing() -> None:
    shape = (2, 5, 4)
    made = model(
        encoder=ConvEncoder(shape, K, channels=(3, 4)),
        decoder=MLPDecoder(shape, K),
        classifier=LinearClassifier(K, CLASSES),
        marginal=StandardNormal(K),
    )
    other = deepcopy(made).to(memory_format=torch.channels_last)
    assert not other.encoder.net[0].weight.is_contiguous()
    plain, last = (Objective(one, probe(shape)) for one in (made, other))
    assert torch.equal(plain.theta, last.theta)
    rows = torch.randn(2, len(plain.theta), dtype=torch.float64)
    for product in (gauss_newton, hessian):
        torch.testing.assert_close(product(last, T)(rows), product(plain, T)(rows))
