"""Examples as a frozen network sees them: vectors in place of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thermo_pl.checkpoints import load_weights
from thermo_pl.errors import DataError, require
from thermo_pl.networks.modules import made

CHUNK = 256
"""Examples that go through the network at once."""


class Features(nn.Module):
    """Put what a frozen network makes of an example in the place of the example.

    The network is any module, by the path of a class or a function that makes it, with its weights
    from a file; nothing is downloaded. Without a file its weights are random, drawn from ``seed``:
    a random projection, which must be asked for. It runs in evaluation mode and never learns.

    Example:
        >>> import torch
        >>> from thermo_pl.datamodules.features import Features
        >>> wide = {"in_features": 64, "out_features": 5}
        >>> features = Features("torch.nn.Linear", wide, seed=0, flatten=True)
        >>> features(torch.rand(7, 1, 8, 8)).shape
        torch.Size([7, 5])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        module: str,
        arguments: dict[str, Any] | None = None,
        weights: str | Path | None = None,
        seed: int | None = None,
        layer: str | None = None,
        size: tuple[int, int] | None = None,
        channels: int | None = None,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        flatten: bool = False,
    ) -> None:
        """Make the network and load its weights.

        Args:
            module: path of the class or function that makes it, such as
                ``torchvision.models.resnet18`` or ``timm.create_model``.
            arguments: what it is made with.
            weights: file with its ``state_dict``.
            seed: seed of random weights; without a file of weights only.
            layer: the submodule whose output is taken, such as ``avgpool``; that of the whole
                network if not given.
            size: height and width that images are enlarged or reduced to first.
            channels: how often grey images are repeated, such as 3.
            mean: what is taken from each channel then; one number for all, or one for each.
            std: what each channel is divided by.
            flatten: whether the network takes vectors.

        Raises:
            ConfigError: if there is no such module, layer or file, or the weights are not its own.
        """
        super().__init__()
        allowed = "a file of weights, or a seed for random ones, and not both"
        require((weights is None) != (seed is None), "weights", weights, allowed)
        require(min(std) > 0, "std", list(std), "numbers > 0")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed or 0)
            self._network = made(module, arguments)
        self._network.eval().requires_grad_(False)
        if weights is not None:
            allowed = f"this {type(self._network).__name__}, or its state_dict"
            load_weights(self._network, Path(weights).expanduser(), "weights", allowed)
        names = [name for name, _ in self._network.named_modules() if name]
        require(layer is None or layer in names, "layer", layer, f"null, {', '.join(names)}")
        self.layer, self.size, self.channels, self.flatten = layer, size, channels, flatten
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, images: Tensor) -> Tensor:
        """Run the network.

        Args:
            images: all examples of a split, shape ``(n, *image)``.

        Returns:
            Its output, or that of the layer, shape ``(n, features)``.
        """
        return torch.cat([self._seen(part) for part in torch.split(images, CHUNK)])

    def train(self, mode: bool = True) -> Features:
        """Stay in evaluation mode.

        Args:
            mode: not followed.

        Returns:
            The transform.
        """
        return super().train(False)

    def _seen(self, x: Tensor) -> Tensor:
        if self.channels is not None:
            x = x.expand(-1, self.channels, -1, -1)
        if self.size is not None:
            x = F.interpolate(x, size=self.size, mode="bilinear", antialias=True)
        shape = (-1, *[1] * (x.ndim - 2))
        x = (x - self.mean.reshape(shape)) / self.std.reshape(shape)
        kept: list[Tensor] = []
        if self.layer is not None:
            place = self._network.get_submodule(self.layer)
            hook = place.register_forward_hook(lambda module, given, out: kept.append(out))
        try:
            out = self._network(x.flatten(1) if self.flatten else x)
        except RuntimeError as error:
            raise DataError(
                f"Features: got examples of shape {tuple(x.shape[1:])}, which "
                f"{type(self._network).__name__} does not take ({' '.join(str(error).split())}); "
                "allowed: what it takes; set size, channels or flatten"
            ) from error
        finally:
            if self.layer is not None:
                hook.remove()
        features: Tensor = kept[0] if kept else out
        return features.flatten(1)
