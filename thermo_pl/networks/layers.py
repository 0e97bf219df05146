"""Pieces that several networks share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from thermo_pl.errors import require


def mlp(size_in: int, hidden: Sequence[int], size_out: int) -> nn.Sequential:
    """Linear layers with SiLU between them.

    SiLU because the linear response needs a second derivative, which ReLU hides in its kinks.

    Args:
        size_in: size of the input.
        hidden: widths of the hidden layers; may be empty.
        size_out: size of the output.

    Returns:
        The layers.
    """
    require(all(width > 0 for width in hidden), "hidden", list(hidden), "whole numbers > 0")
    sizes = [size_in, *hidden]
    layers: list[nn.Module] = []
    for before, after in zip(sizes, hidden, strict=False):
        layers += [nn.Linear(before, after), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], size_out))


def conv_sizes(image: Sequence[int], halvings: int) -> list[tuple[int, int]]:
    """Height and width after each strided 3x3 convolution, the image itself first.

    Args:
        image: height and width of the image.
        halvings: number of convolutions.

    Returns:
        ``halvings + 1`` pairs.
    """
    sizes = [(image[0], image[1])]
    for _ in range(halvings):
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes
