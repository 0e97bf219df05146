"""Networks of one's own: any module as encoder, decoder or classifier."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm

from thermo_pl.checkpoints import load_weights
from thermo_pl.errors import ConfigError, located, require
from thermo_pl.networks.checks import check_function, check_network
from thermo_pl.networks.classifier import Classifier
from thermo_pl.networks.decoder import Decoder
from thermo_pl.networks.encoder import Encoder
from thermo_pl.networks.likelihood import Likelihood
from thermo_pl.networks.posterior import GaussianPosterior


class Wrapped(nn.Module):
    """A module that may be kept in evaluation mode, in training too.

    Attributes:
        module: the module.
        frozen: whether it stays in evaluation mode; its parameters are trained all the same.
    """

    def __init__(
        self,
        module: str | nn.Module,
        arguments: dict[str, Any] | None,
        weights: str | Path | None,
        freeze: bool,
        group_norm: bool,
    ) -> None:
        """Make the module.

        Args:
            module: path of the class or function that makes it, or the module.
            arguments: what it is made with.
            weights: file with its ``state_dict``, loaded before anything is replaced.
            freeze: keep it in evaluation mode.
            group_norm: put GroupNorm in the place of every BatchNorm.
        """
        super().__init__()
        self.module = made(module, arguments)
        self.frozen = freeze
        if weights is not None:
            allowed = f"this {type(self.module).__name__}, or its state_dict"
            load_weights(self.module, Path(weights).expanduser(), "weights", allowed)
        self.module = _replaced(self.module, group_norm)
        self.train()

    def forward(self, x: Tensor) -> Tensor:
        """Call the module.

        Args:
            x: examples, shape ``(n, *shape)``.

        Returns:
            A row of numbers for each, shape ``(n, m)``.
        """
        out: Tensor = self.module(x)
        return out.flatten(1)

    def train(self, mode: bool = True) -> Self:
        """Go into training or evaluation mode, if it is not frozen.

        Args:
            mode: whether into training mode.

        Returns:
            Itself.
        """
        return super().train(mode and not self.frozen)


class ModuleEncoder(Encoder):
    """Any module as encoder: of each example it gives the means and the log variances of z.

    What it is made of must be one function of each example by itself. Layers that are not are
    refused by name, with two ways out: ``freeze`` keeps BatchNorm and Dropout in evaluation mode
    throughout (the running statistics stay as they are, so give it trained ``weights``), and
    ``group_norm`` replaces each BatchNorm by a GroupNorm.

    Example:
        >>> import torch
        >>> from thermo_pl.networks import ModuleEncoder
        >>> arguments = {"num_classes": 2 * 4}
        >>> encoder = ModuleEncoder(
        ...     [3, 32, 32], 4, "torchvision.models.resnet18", arguments, group_norm=True
        ... )
        >>> encoder(torch.rand(2, 3, 32, 32)).mean.shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        module: str | nn.Module,
        arguments: dict[str, Any] | None = None,
        weights: str | Path | None = None,
        freeze: bool = False,
        group_norm: bool = False,
    ) -> None:
        """Make the module and try it.

        Args:
            image_shape: shape of one example.
            latent_dim: size of the representation; the module gives twice as many numbers.
            module: path of the class or function that makes it, such as
                ``torchvision.models.resnet18``; or the module itself.
            arguments: what it is made with.
            weights: file with its ``state_dict``.
            freeze: keep it in evaluation mode, in training too. Its parameters are trained all the
                same.
            group_norm: put GroupNorm in the place of every BatchNorm.

        Raises:
            ConfigError: if it cannot be made, or is not what an encoder must be.
        """
        super().__init__(image_shape, latent_dim)
        self.net = Wrapped(module, arguments, weights, freeze, group_norm)
        allowed = f"{2 * latent_dim}, latent_dim means and as many log variances"
        _check(self.net, self.image_shape, 2 * latent_dim, allowed)

    def forward(self, x: Tensor) -> GaussianPosterior:
        """Encode examples.

        Args:
            x: shape ``(n, *image)``.

        Returns:
            The Gaussian e(z|x).
        """
        mean, log_var = self.net(x).chunk(2, -1)
        return GaussianPosterior(mean, log_var)


class ModuleDecoder(Decoder):
    """Any module as decoder: of each z it gives as many numbers as an example has."""

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        module: str | nn.Module,
        arguments: dict[str, Any] | None = None,
        weights: str | Path | None = None,
        freeze: bool = False,
        group_norm: bool = False,
        likelihood: Likelihood | None = None,
    ) -> None:
        """Make the module and try it; more of it is in :class:`ModuleEncoder`.

        Args:
            image_shape: shape of one example.
            latent_dim: size of the representation, which the module takes.
            module: path of the class or function that makes it; or the module itself.
            arguments: what it is made with.
            weights: file with its ``state_dict``.
            freeze: keep it in evaluation mode, in training too.
            group_norm: put GroupNorm in the place of every BatchNorm.
            likelihood: what the output says about a feature; Bernoulli if not given.

        Raises:
            ConfigError: if it cannot be made, or is not what a decoder must be.
        """
        super().__init__(image_shape, latent_dim, likelihood)
        self.net = Wrapped(module, arguments, weights, freeze, group_norm)
        size = math.prod(image_shape)
        _check(self.net, (latent_dim,), size, f"{size}, the numbers of an example")

    def forward(self, z: Tensor) -> Tensor:
        """Decode latent samples.

        Args:
            z: shape ``(samples, n, latent_dim)``.

        Returns:
            Parameters of d(x|z), shape ``(samples, n, *image)``.
        """
        decoded: Tensor = self.net(z.flatten(0, 1))
        return decoded.reshape(*z.shape[:-1], *self.image_shape)


class ModuleClassifier(Classifier):
    """Any module as classifier: of each z it gives a score for each class."""

    def __init__(
        self,
        latent_dim: int,
        classes: int,
        module: str | nn.Module,
        arguments: dict[str, Any] | None = None,
        weights: str | Path | None = None,
        freeze: bool = False,
        group_norm: bool = False,
    ) -> None:
        """Make the module and try it; more of it is in :class:`ModuleEncoder`.

        Args:
            latent_dim: size of the representation, which the module takes.
            classes: number of classes, and of the scores that it gives.
            module: path of the class or function that makes it; or the module itself.
            arguments: what it is made with.
            weights: file with its ``state_dict``.
            freeze: keep it in evaluation mode, in training too.
            group_norm: put GroupNorm in the place of every BatchNorm.

        Raises:
            ConfigError: if it cannot be made, or is not what a classifier must be.
        """
        super().__init__(latent_dim, classes)
        self.net = Wrapped(module, arguments, weights, freeze, group_norm)
        _check(self.net, (latent_dim,), classes, f"{classes}, a score for each class")

    def forward(self, z: Tensor) -> Tensor:
        """Score the classes.

        Args:
            z: shape ``(samples, n, latent_dim)``.

        Returns:
            Logits, shape ``(samples, n, classes)``.
        """
        logits: Tensor = self.net(z.flatten(0, 1))
        return logits.reshape(*z.shape[:-1], self.classes)


def made(module: str | nn.Module, arguments: dict[str, Any] | None) -> nn.Module:
    """A module, or what a path and arguments make.

    Args:
        module: path of the class or function that makes it; or the module itself.
        arguments: what it is made with.

    Returns:
        The module.

    Raises:
        ConfigError: if there is no such class or function, or it makes no module.
    """
    if isinstance(module, nn.Module):
        require(not arguments, "arguments", arguments, "null, as the module is made already")
        return module
    make = _located(module)
    try:
        network = make(**(arguments or {}))
    except (TypeError, ValueError, RuntimeError) as error:
        got = f"{module} with {arguments or {}} ({' '.join(str(error).split())[:200]})"
        raise ConfigError(f"module: got {got}; allowed: what it takes") from error
    require(isinstance(network, nn.Module), "module", module, "what makes a torch.nn.Module")
    return cast(nn.Module, network)


def _located(path: str) -> Callable[..., Any]:
    allowed = "the path of an importable class or function, such as torchvision.models.resnet18"
    found = located(path, "module", allowed)
    require(callable(found), "module", path, "the path of a class or function")
    return cast(Callable[..., Any], found)


def _check(net: Wrapped, shape: tuple[int, ...], size: int, allowed: str) -> None:
    check_network(net.module, "module")
    parameter = next(net.parameters(), torch.empty(0))
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0)).to(parameter)
    found = check_function(net.module, x, "module")[0].numel()
    if found != size:
        raise ConfigError(f"module: got {found} numbers for each example; allowed: {allowed}")


def _replaced(network: nn.Module, group_norm: bool) -> nn.Module:
    # spectral norm estimates the largest singular value by a step at each call in training: what
    # the module computes would change while θ stays
    if group_norm and isinstance(network, _BatchNorm):
        return _group_norm(network)
    if isinstance(network, _SpectralNorm):
        return ExactSpectralNorm(getattr(network, "dim", 0))
    for name, child in network.named_children():
        setattr(network, name, _replaced(child, group_norm))
    return network


def _group_norm(norm: nn.Module) -> nn.Module:
    # groups of at most 16 channels; scale and shift are kept
    channels: int = cast(Any, norm).num_features
    groups = next(g for g in range(math.ceil(channels / 16), channels + 1) if channels % g == 0)
    made = nn.GroupNorm(groups, channels, cast(Any, norm).eps, cast(Any, norm).affine)
    made.load_state_dict(dict(norm.named_parameters()))
    return made


class ExactSpectralNorm(nn.Module):
    """A weight over its largest singular value, as a function of the weight alone."""

    def __init__(self, dim: int = 0) -> None:
        """Keep the dimension.

        Args:
            dim: the dimension of the outputs; the others are taken together.
        """
        super().__init__()
        self.dim = dim

    def forward(self, weight: Tensor) -> Tensor:
        """Normalise.

        Args:
            weight: any number of dimensions.

        Returns:
            The weight, of the same shape.
        """
        matrix = weight.movedim(self.dim, 0).flatten(1) if weight.ndim > 1 else weight[None]
        largest: Tensor = torch.linalg.svdvals(matrix)[0]
        return weight / largest
