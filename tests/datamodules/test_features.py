"""Examples as a frozen network sees them, and images in colour."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.transforms import functional

from thermo_pl.datamodules import Colour, Digits, Features, Standardise, Waypoint
from thermo_pl.datamodules.domains import load_domains
from thermo_pl.errors import ConfigError, DataError

RESNET: dict[str, Any] = {"module": "torchvision.models.resnet18", "channels": 3, "size": (32, 32)}


@pytest.fixture(scope="module")
def digits() -> Tensor:
    return Digits().load()["val"].images[:5]


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, nn.Module]:
    """A file of the weights of a network, and the network."""
    torch.manual_seed(1)
    network = torchvision.models.resnet18(num_classes=7).eval()
    torch.save(network.state_dict(), tmp_path / "resnet.pt")
    return tmp_path / "resnet.pt", network


def test_features_are_those_of_the_network_in_the_file(
    digits: Tensor, weights: tuple[Path, nn.Module]
) -> None:
    file, network = weights
    made = Features(
        **RESNET, arguments={"num_classes": 7}, weights=file, mean=[0.4, 0.5, 0.6], std=[0.2]
    )
    made.train()  # as Lightning would
    large = functional.resize(digits.repeat(1, 3, 1, 1), [32, 32], antialias=True)
    seen = functional.normalize(large, [0.4, 0.5, 0.6], [0.2] * 3)
    with torch.no_grad():
        torch.testing.assert_close(made(digits), network(seen))
        pooled = nn.Sequential(*list(network.children())[:-1])(seen).flatten(1)
    at_layer = Features(
        **RESNET,
        arguments={"num_classes": 7},
        weights=file,
        layer="avgpool",
        mean=[0.4, 0.5, 0.6],
        std=[0.2],
    )
    torch.testing.assert_close(at_layer(digits), pooled)


def test_random_weights_depend_on_their_seed_alone(digits: Tensor) -> None:
    state = torch.get_rng_state()
    one, same, other = (Features(**RESNET, seed=seed)(digits) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)


def test_transforms_follow_each_other() -> None:
    line = {"in_features": 64, "out_features": 6}
    features = Features("torch.nn.Linear", line, seed=0, flatten=True)
    alone, both = load_domains([
        Waypoint(transform=features),
        Waypoint(transform=[features, Standardise()]),
    ])
    train = alone.splits["train"].images
    assert alone.image_shape == (6,)
    expected = (train - train.mean(0)) / train.std(0, correction=0)
    torch.testing.assert_close(both.splits["train"].images, expected, atol=1e-5, rtol=0)


REFUSED: list[tuple[Callable[[Path], nn.Module], str]] = [
    (lambda file: Features("torch.nn.Linear"), "weights: got None; allowed: a file of weights"),
    (
        lambda file: Features(**RESNET, weights=file, seed=0),
        "a file of weights, or a seed",
    ),
    (
        lambda file: Features(**RESNET, weights=file),
        "resnet.pt'; allowed: a checkpoint of this",
    ),
    (
        lambda file: Features(**RESNET, weights="no.pt"),
        "weights: got 'no.pt'; allowed: an exis",
    ),
    (
        lambda file: Features("torch.nn.Linnear", seed=0),
        "path of an importable class or function",
    ),
    (
        lambda file: Features("torch.nn.Linear", {"in": 1}, seed=0),
        "got torch.nn.Linear with {'in'",
    ),
    (lambda file: Features("math.sqrt", seed=0), "module: got math.sqrt with {}"),
    (
        lambda file: Features(**RESNET, seed=0, layer="pool"),
        "layer: got 'pool'; allowed: null, con",
    ),
    (lambda file: Colour(ink=(2, 0, 0)), "ink: got [2, 0, 0]; allowed: red, green and blue"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_mistake_is_told_in_one_line(
    make: Callable[[Path], nn.Module], message: str, weights: tuple[Path, nn.Module]
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        make(weights[0])
    assert "\n" not in str(caught.value)


def test_examples_that_the_network_does_not_take_are_refused(digits: Tensor) -> None:
    with pytest.raises(DataError, match=r"shape \(1, 8, 8\), which ResNet does not take .*"):
        Features("torchvision.models.resnet18", seed=0)(digits)


def test_colours_by_hand(digits: Tensor) -> None:
    printed = Colour(ink=(1.0, 0.5, 0.0), paper=(0.0, 0.25, 1.0))(digits)
    torch.testing.assert_close(printed[:, 0], digits[:, 0])
    torch.testing.assert_close(printed[:, 1], 0.25 + 0.25 * digits[:, 0])
    torch.testing.assert_close(printed[:, 2], 1 - digits[:, 0])
    with pytest.raises(DataError, match="got images of 3 channels; allowed: one"):
        Colour()(printed)
