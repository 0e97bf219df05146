"""Small networks on images of six pixels, and what torch's distributions say of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, Normal
from torch.nn.functional import one_hot

from thermo_pl.networks import DiagonalGaussian, MLPClassifier, MLPDecoder, MLPEncoder, Networks
from thermo_pl.particles import Batch

SHAPE, K, CLASSES = (1, 2, 3), 2, 3
# float32 sums of a few terms of order one
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def parts(**changes: Any) -> dict[str, Any]:
    """All four networks at λ = 0.7 and γ = 3, with changes."""
    whole = {
        "encoder": MLPEncoder(SHAPE, K, hidden=(5,)),
        "classifier": MLPClassifier(K, CLASSES, hidden=(5,)),
        "decoder": MLPDecoder(SHAPE, K, hidden=(5,)),
        "marginal": DiagonalGaussian(K),
        "lam": 0.7,
        "gam": 3.0,
    }
    return whole | changes


def batch(n: int = 6, weight: Tensor | None = None) -> Batch:
    """Binary images, hard labels and uneven weights."""
    y = one_hot(torch.arange(n) % CLASSES, CLASSES).float()
    weight = torch.rand(n) + 0.1 if weight is None else weight
    return Batch(torch.bernoulli(torch.full((n, *SHAPE), 0.5)), y, weight)


def encoding(made: Networks, x: Tensor) -> Independent:
    """e(z|x) as torch sees it."""
    mean, log_var = made.encoder(x)
    return Independent(Normal(mean, torch.exp(0.5 * log_var)), 1)
