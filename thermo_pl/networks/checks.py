"""What a module must be for physics: one smooth function of each example by itself.

R, D, C and their responses are of the function that is trained. A layer that draws at random, looks
at the other examples of the batch or acts otherwise in training is no such function.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from thermo_pl.errors import ConfigError, DataError
from thermo_pl.networks.decoder import Decoder

PRECISE = (torch.float32, torch.float64)


def check_parts(networks: nn.Module) -> None:
    """Refuse layers, in any part of a model, of which it is known that a process cannot take them.

    Args:
        networks: the model, in training mode.
    """
    for name, part in networks.named_children():
        check_network(part, name)


def check_values(decoder: Decoder | None, low: float, high: float) -> None:
    """Refuse examples with values for which the likelihood of a decoder is not defined.

    Args:
        decoder: the decoder; without one any values will do.
        low: the least value of a feature.
        high: the greatest.

    Raises:
        DataError: if one of them is outside the limits of the likelihood.
    """
    likelihood = None if decoder is None else decoder.likelihood
    if likelihood is None or likelihood.limits is None:
        return
    least, most = likelihood.limits
    if low < least or high > most:
        raise DataError(
            f"likelihood: got {type(likelihood).__name__} for values from {low:g} to {high:g}; "
            f"allowed: values from {least:g} to {most:g}, or {likelihood.advice}"
        )


def check_network(network: nn.Module, name: str) -> None:
    """Refuse layers of which it is known that a process cannot take them.

    Args:
        network: encoder, decoder, classifier or marginal, in the mode that it has in training.
        name: what it is called in errors.

    Raises:
        ConfigError: if there is such a layer, or a parameter is of low precision.
    """
    for place, layer in network.named_modules():
        if allowed := _instead(layer):
            _refuse(name, f"{type(layer).__name__}{place and f' ({place})'}", allowed)
    for place, parameter in network.named_parameters():
        if parameter.dtype not in PRECISE:
            allowed = (
                "float32 or float64, as a process takes differences of means; to train faster set "
                "trainer.precision: bf16-mixed"
            )
            _refuse(name, f"{place} of {parameter.dtype}", allowed)


def _instead(layer: nn.Module) -> str:
    # what to do in place of a layer; empty if there is nothing against it
    if isinstance(layer, _BatchNorm) and layer.running_mean is None:
        return (
            "GroupNorm or LayerNorm (group_norm: true of a ModuleEncoder): without running "
            "statistics what it makes of an example depends on the rest of the batch"
        )
    if isinstance(layer, _BatchNorm) and layer.training:
        return (
            "freeze: true (it keeps its running statistics: for trained weights) or group_norm: "
            "true of a ModuleEncoder, or GroupNorm: in training what it makes of an example "
            "depends on the rest of the batch"
        )
    if isinstance(layer, _InstanceNorm) and layer.track_running_stats:
        return "track_running_stats: false, as it otherwise acts differently in training"
    if layer.training and _drops(layer):
        return (
            "p = 0, or freeze: true of a ModuleEncoder: what is dropped at random changes from "
            "call to call, and there is no equilibrium to solve at"
        )
    compiled = hasattr(layer, "_orig_mod") or layer._compiled_call_impl is not None
    if compiled:
        return (
            "the module itself: a compiled one cannot be differentiated twice, as a response asks"
        )
    return ""


def _drops(layer: nn.Module) -> bool:
    if isinstance(layer, nn.modules.dropout._DropoutNd):
        return layer.p > 0
    if isinstance(layer, nn.RNNBase | nn.MultiheadAttention):
        return layer.dropout > 0
    return isinstance(layer, nn.RReLU)


def check_function(network: nn.Module, x: Tensor, name: str) -> Tensor:
    """Refuse a module that is no function of each example by itself, by trying it.

    Args:
        network: the module, in the mode that it has in training.
        x: some examples, shape ``(n, *shape)`` with n ≥ 2.
        name: what it is called in errors.

    Returns:
        What it makes of them.

    Raises:
        ConfigError: if it cannot take them, draws at random, or mixes examples.
    """
    kind = type(network).__name__
    with torch.no_grad(), torch.random.fork_rng(devices=[]), _buffers_kept(network):
        try:
            first, second, alone = network(x), network(x), network(x[:1])
        except (RuntimeError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            got = f"{kind}, which fails on shape {tuple(x.shape)} ({reason})"
            raise ConfigError(f"{name}: got {got}; allowed: one that takes it") from error
    if not isinstance(first, Tensor) or first.shape[:1] != x.shape[:1]:
        found = f"shape {tuple(first.shape)}" if isinstance(first, Tensor) else type(first).__name__
        _refuse(name, f"{kind}, which gives {found}", "one tensor, a row for each example")
    if not _close(first, second):
        got = f"{kind}, which gives two results for the same examples"
        _refuse(name, got, "one that draws nothing; or freeze: true, if it draws in training alone")
    if not _close(first[:1], alone):
        got = f"{kind}, which mixes the examples of a batch"
        _refuse(name, got, "one that looks at each example by itself")
    result: Tensor = first
    return result


def _refuse(name: str, got: str, allowed: str) -> None:
    raise ConfigError(f"{name}: got {got}; allowed: {allowed}")


@contextmanager
def _buffers_kept(network: nn.Module) -> Generator[None]:
    # a trial leaves nothing behind
    saved = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        yield
    finally:
        for buffer, value in saved:
            buffer.copy_(value)


def _close(a: Tensor, b: Tensor) -> bool:
    # far above rounding, far below what dropout or the statistics of a batch do
    return bool((a - b).abs().max() <= 1e-3 * a.abs().max() + 1e-6)
