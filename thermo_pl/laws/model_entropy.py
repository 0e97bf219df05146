"""H of the data that a model is measured on, of the kind that goes with its likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from thermo_pl.errors import DataError, require
from thermo_pl.estimate import Estimate
from thermo_pl.exact.distributions import discrete_entropy
from thermo_pl.laws.checks import ROUNDING
from thermo_pl.laws.data_entropy import (
    binarised_entropy,
    joint_knn_entropy,
    knn_entropy,
)
from thermo_pl.networks import Bernoulli, Categorical, Gaussian, Networks
from thermo_pl.particles import Batch

NEIGHBOUR = 3
"""Which neighbour the entropy of a density is estimated by."""

Found = tuple[Estimate, str]


@dataclass(frozen=True, kw_only=True)
class DataEntropy(Estimate):
    """Entropy of the data that a model is measured on, in nats; nan where it is not known.

    Attributes:
        symbol: what it is the entropy of, such as "H(x, y)".
        method: what it is and how it was found, in words.
        of_particles: whether the particles at hand are the whole distribution, and not a sample
            of it. Only then is the mixture of their encoders the p(z) that belongs to it.
    """

    symbol: str
    method: str
    of_particles: bool


def data_entropy(
    model: Networks,
    batch: Batch,
    labels: bool,
    generator: torch.Generator,
    known: float | None = None,
) -> DataEntropy:
    r"""H of the data, of the kind that goes with the model's likelihood.

    - Bernoulli pixels: :func:`~thermo_pl.laws.data_entropy.binarised_entropy`, the entropy of the
      mixture of the binarised images, which is what D is a cross-entropy of.
    - One symbol out of several: that of Σ_j w_j p_j(x) p_j(y), exactly.
    - Gaussian pixels: the estimate of Kozachenko and Leonenko for a density, which is biased, with
      no error known; particles at the same place count once, and masses do not count. Labels that
      are certain enter through the entropy inside each class, others as H(x) + E H(p(y|x)).
    - No decoder: only labels are generated, so it is H(y), exactly.

    Args:
        model: the model.
        batch: the particles.
        labels: whether it is that of (x, y); without a decoder it must be.
        generator: source of Monte Carlo draws, on the CPU.
        known: the value, if the data know it; it wins.

    Returns:
        The entropy; nan, with the reason in its method, where it cannot be told.

    Raises:
        ConfigError: if there is neither a decoder nor labels, or a grey level is not in [0, 1].
    """
    require(
        labels or model.decoder is not None,
        "labels",
        labels,
        "true, as the model has no decoder: it generates labels only",
    )
    symbol = "H(y)" if model.decoder is None else "H(x, y)" if labels else "H(x)"
    likelihood = None if model.decoder is None else model.decoder.likelihood
    batch = Batch(*(part.double().cpu() for part in batch))
    if known is not None and model.decoder is not None:
        # the particles are the whole distribution if they have its entropy
        whole = isinstance(likelihood, Categorical) and math.isclose(
            _symbols(batch, labels, generator)[0].value, known, rel_tol=ROUNDING
        )
        return DataEntropy(known, symbol=symbol, method="known exactly", of_particles=whole)
    found = Estimate(math.nan, math.nan)
    if labels and model.classifier is not None and not model.classifier.categorical:
        method = "not known: the labels are vectors"
    elif (estimate := ESTIMATES.get(type(likelihood))) is None:
        method = f"not known: no estimate goes with {type(likelihood).__name__} pixels"
    else:
        try:
            found, method = estimate(batch, labels, generator)
        except DataError as reason:
            method = f"not known: {reason}"
    whole = not isinstance(likelihood, Gaussian)
    return DataEntropy(found.value, found.error, symbol=symbol, method=method, of_particles=whole)


def _labels_alone(batch: Batch, labels: bool, generator: torch.Generator) -> Found:
    found = discrete_entropy(_share(batch) @ _labels(batch))
    return Estimate(float(found)), "labels alone, exact"


def _symbols(batch: Batch, labels: bool, generator: torch.Generator) -> Found:
    y = _labels(batch) if labels else torch.ones(len(batch.y), 1).double()
    joint = (batch.weight[:, None] * batch.x.flatten(1)).T @ y
    found = discrete_entropy(joint.flatten() / joint.sum())
    return Estimate(float(found)), "symbols, exact"


def _binarised(batch: Batch, labels: bool, generator: torch.Generator) -> Found:
    grey = batch.x.clamp(0, 1)
    # interpolation in single precision may step over the edge, but no further
    grey = torch.where((grey - batch.x).abs() < 1e-6, grey, batch.x)
    # as many draws as take a second or so; the noise is small beside that of the encoder
    draws = int(min(64, max(2, 1e10 // (2 * len(grey) * grey.numel()))))
    y = _labels(batch) if labels else None
    found = binarised_entropy(grey, y, batch.weight, generator, draws)
    return found, "binarised images, Monte Carlo"


def _density(batch: Batch, labels: bool, generator: torch.Generator) -> Found:
    x, y = batch.x.flatten(1), _labels(batch)
    certain = bool(((y == 0) | (y == 1)).all())
    if labels and certain:
        rows = torch.unique(torch.cat([x, y], -1), dim=0)
        x, y = torch.split(rows, [x.shape[1], y.shape[1]], -1)
        value = joint_knn_entropy(x, y.argmax(-1), NEIGHBOUR)
    else:
        value = knn_entropy(torch.unique(x, dim=0), NEIGHBOUR)
        value += float(_share(batch) @ discrete_entropy(y)) if labels else 0.0
    method = f"density by neighbour {NEIGHBOUR} (Kozachenko-Leonenko), biased"
    return Estimate(value, math.nan), method


def _share(batch: Batch) -> Tensor:
    return batch.weight / batch.weight.sum()


def _labels(batch: Batch) -> Tensor:
    # single precision sums to one within 1e-7
    return batch.y / batch.y.sum(-1, keepdim=True)


ESTIMATES: dict[type, Callable[[Batch, bool, torch.Generator], Found]] = {
    type(None): _labels_alone,
    Bernoulli: _binarised,
    Categorical: _symbols,
    Gaussian: _density,
}
"""How H is found for each likelihood, from a batch in float64: the estimate and the method."""
