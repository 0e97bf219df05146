"""Networks of one's own: what is taken, what is replaced, and what is refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from support.small_networks import CLASSES, SHAPE, K, parts
from thermo_pl.errors import ConfigError
from thermo_pl.networks import (
    Gaussian,
    ModuleClassifier,
    ModuleDecoder,
    ModuleEncoder,
    Networks,
)

RESNET: dict[str, Any] = {
    "image_shape": [3, 16, 16],
    "latent_dim": 2,
    "module": "torchvision.models.resnet18",
    "arguments": {"num_classes": 4},
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def encoder(*layers: nn.Module, **arguments: Any) -> ModuleEncoder:
    """The layers between six pixels and two latents."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), *layers, nn.Linear(8, 2 * K))
    return ModuleEncoder(SHAPE, K, net, **arguments)


def test_all_three_networks_may_be_modules() -> None:
    mlp = {"in_channels": 2, "hidden_channels": [5, 6]}
    made = Networks(
        **parts(
            encoder=encoder(nn.SiLU()),
            decoder=ModuleDecoder(SHAPE, K, "torchvision.ops.MLP", mlp, likelihood=Gaussian(0.3)),
            classifier=ModuleClassifier(K, CLASSES, nn.Linear(K, CLASSES)),
        )
    )
    x, noise = torch.rand(4, *SHAPE), torch.randn(3, 4, K)
    outputs = made(x, noise)
    mean, log_var = made.encoder.net.module(x).chunk(2, -1)
    z = mean + torch.exp(0.5 * log_var) * noise
    torch.testing.assert_close(outputs.z, z)
    torch.testing.assert_close(outputs.logits, made.classifier.net.module(z))
    torch.testing.assert_close(
        outputs.decoded.flatten(2), torch.stack([made.decoder.net.module(one) for one in z])
    )


def test_a_frozen_resnet_is_that_in_evaluation_mode_and_is_trained(tmp_path: Path) -> None:
    trained = torchvision.models.resnet18(num_classes=4)
    trained(torch.rand(8, 3, 16, 16))  # statistics of its own
    torch.save(trained.state_dict(), tmp_path / "resnet.pt")
    made = ModuleEncoder(**RESNET, weights=tmp_path / "resnet.pt", freeze=True).train()
    x = torch.rand(5, 3, 16, 16)
    mean, log_var = made(x)
    torch.testing.assert_close(torch.cat([mean, log_var], -1), trained.eval()(x))
    assert all(parameter.requires_grad for parameter in made.parameters())
    statistics = [buffer.clone() for buffer in made.buffers()]
    made(x)
    for before, after in zip(statistics, made.buffers(), strict=True):
        assert torch.equal(before, after)


def test_group_norm_in_place_of_batch_norm_looks_at_each_example_by_itself() -> None:
    made = ModuleEncoder(**RESNET, group_norm=True).train()
    norms = [layer for layer in made.modules() if isinstance(layer, nn.GroupNorm)]
    plain = torchvision.models.resnet18(num_classes=4).modules()
    assert len(norms) == sum(isinstance(layer, nn.BatchNorm2d) for layer in plain) == 20
    assert {norm.num_channels // norm.num_groups for norm in norms} == {16}
    x = torch.rand(5, 3, 16, 16)
    torch.testing.assert_close(made(x).mean[:2], made(x[:2]).mean, atol=1e-5, rtol=1e-4)


def test_spectral_norm_is_exact_and_nothing_but_a_function_of_the_weight() -> None:
    normed = parametrizations.spectral_norm(nn.Linear(8, 8))
    weight = normed.parametrizations.weight.original
    made = encoder(normed).train()
    made(torch.rand(3, *SHAPE))
    torch.testing.assert_close(normed.weight, weight / torch.linalg.matrix_norm(weight, 2))
    assert list(made.buffers()) == []
    kernel = parametrizations.spectral_norm(nn.Conv2d(2, 3, 2))
    image = nn.Sequential(kernel, nn.Flatten(), nn.Linear(3 * 3 * 3, 2))
    original = kernel.parametrizations.weight.original
    ModuleEncoder((2, 4, 4), 1, image)
    size = torch.linalg.matrix_norm(original.reshape(3, -1), 2)
    torch.testing.assert_close(kernel.weight, original / size)


class Mean(nn.Module):
    """Takes the mean of the batch away."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Noise(nn.Module):
    """Adds noise."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class Brain(nn.Module):
    """A module in bfloat16 inside."""

    def __init__(self) -> None:
        """Make the layer."""
        super().__init__()
        self.layer = nn.Linear(8, 8).bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.bfloat16()).float()


class Compiled(nn.Linear):
    """A layer that is compiled in place."""

    def __init__(self) -> None:
        """Mark it as compiled."""
        super().__init__(8, 8)
        self._compiled_call_impl = super().forward


EVERYWHERE: list[tuple[Callable[[], nn.Module], str]] = [
    (lambda: nn.BatchNorm1d(8), "BatchNorm1d ({}); allowed: freeze: true"),
    (
        lambda: nn.BatchNorm1d(8, track_running_stats=False),
        "BatchNorm1d ({}); allowed: GroupNorm or LayerNorm",
    ),
    (lambda: nn.Dropout(0.1), "Dropout ({}); allowed: p = 0, or freeze: true"),
    (lambda: nn.RReLU(), "RReLU ({}); allowed: p = 0, or freeze: true"),
    (Brain, "{}.layer.weight of torch.bfloat16; allowed: float32 or float64"),
    (Compiled, "Compiled ({}); allowed: the module itself: a compiled one cannot"),
]


@pytest.mark.parametrize(
    ("make", "message"), EVERYWHERE, ids=[message for _, message in EVERYWHERE]
)
def test_what_a_process_cannot_take_is_refused_by_name(
    make: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message.format("2"))) as caught:
        encoder(make())
    assert "\n" not in str(caught.value)
    # and in a network that somebody wrote without a wrapper
    plain = parts()
    plain["encoder"].net[1] = make()
    with pytest.raises(ConfigError, match=re.escape(message.format("net.1"))):
        Networks(**plain)


ALONE: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: encoder(Mean()),
        "Sequential, which mixes the examples of a batch; allowed: one",
    ),
    (lambda: encoder(Noise()), "which gives two results for the same examples; allowed: one"),
    (lambda: encoder(nn.BatchNorm1d(8, track_running_stats=False), freeze=True), "GroupNorm or La"),
    (lambda: encoder(nn.LSTM(8, 8)), "module: got Sequential, which fails on shape (3, 1, 2, 3)"),
    (
        lambda: ModuleEncoder(SHAPE, K, nn.Flatten()),
        "module: got 6 numbers for each example; allowed: 4, latent_dim means and as many log",
    ),
    (lambda: ModuleDecoder(SHAPE, K, nn.Linear(2, 5)), "allowed: 6, the numbers of an example"),
    (lambda: ModuleClassifier(K, 3, nn.Linear(2, 5)), "allowed: 3, a score for each class"),
    (lambda: ModuleClassifier(K, 3, "torch.nn.Linnear"), "allowed: the path of an importable"),
    (lambda: ModuleClassifier(K, 3, "torch.nn.Linear", {"a": 1}), "module: got torch.nn.Linear w"),
    (lambda: ModuleClassifier(K, 3, nn.Linear(2, 3), {"a": 1}), "arguments: got {'a': 1}; allowed"),
    (lambda: ModuleClassifier(K, 3, "builtins.dict"), "module: got 'builtins.dict'; allowed: what"),
]


@pytest.mark.parametrize(("make", "message"), ALONE, ids=[message for _, message in ALONE])
def test_a_module_that_is_no_such_function_is_refused(
    make: Callable[[], Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_trial_leaves_nothing_behind() -> None:
    norm = nn.InstanceNorm1d(4, track_running_stats=False)
    state = torch.get_rng_state()
    made = encoder(nn.Unflatten(1, (4, 2)), norm, nn.Flatten(), nn.BatchNorm1d(8), freeze=True)
    assert torch.equal(torch.get_rng_state(), state) is False  # weights were drawn
    batch_norm = made.net.module[5]
    assert batch_norm.num_batches_tracked == 0
    assert torch.equal(batch_norm.running_mean, torch.zeros(8))
    with pytest.raises(ConfigError, match="track_running_stats: false"):
        encoder(
            nn.Unflatten(1, (4, 2)), nn.InstanceNorm1d(4, track_running_stats=True), nn.Flatten()
        )
