"""Numbers of order one from a seed, and derivatives by differences."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in float64."""
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def eye(d: int) -> Tensor:
    """The unit matrix in float64."""
    return torch.eye(d, dtype=torch.float64)


def richardson(f: Callable[[float], Tensor], h: float = 0.02, levels: int = 4) -> Tensor:
    """Derivative at zero by central differences, extrapolated to an error of order h^(2 levels)."""
    row = [(f(h / 2**i) - f(-h / 2**i)) / (h / 2 ** (i - 1)) for i in range(levels)]
    for j in range(1, levels):
        row = [(4**j * fine - coarse) / (4**j - 1) for coarse, fine in pairwise(row)]
    return row[0]
