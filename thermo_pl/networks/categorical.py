"""A representation with K codes, summed over exactly, and tables for the other parts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thermo_pl.errors import require
from thermo_pl.functionals import categorical_log_partition, categorical_nll
from thermo_pl.networks.classifier import Classifier
from thermo_pl.networks.decoder import Decoder
from thermo_pl.networks.encoder import Encoder
from thermo_pl.networks.layers import mlp
from thermo_pl.networks.likelihood import Likelihood
from thermo_pl.networks.marginal import Marginal, draw_indices
from thermo_pl.networks.posterior import CategoricalPosterior


class CategoricalEncoder(Encoder):
    """Log odds of K codes from a multilayer perceptron; z is one-hot.

    On one-hot images without a hidden layer it is a free table e(z|x).
    """

    exact = True
    family = CategoricalPosterior

    def __init__(
        self, image_shape: Sequence[int], latent_dim: int, hidden: Sequence[int] = ()
    ) -> None:
        """Build the layers.

        Args:
            image_shape: shape of one image, ``(channels, height, width)``.
            latent_dim: number K of codes.
            hidden: widths of the hidden layers.
        """
        super().__init__(image_shape, latent_dim)
        self.net = mlp(math.prod(image_shape), hidden, latent_dim)

    def forward(self, x: Tensor) -> CategoricalPosterior:
        """Encode images.

        Args:
            x: shape ``(n, channels, height, width)``.

        Returns:
            The distribution over the codes.
        """
        return CategoricalPosterior(self.net(x.flatten(1)))

    def noise(self, samples: int, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Nothing: all codes are summed over.

        Args:
            samples: not needed.
            n: number of images.
            generator: not needed.

        Returns:
            Shape ``(K, n, 0)``.
        """
        return torch.zeros(self.latent_dim, n, 0)


class CategoricalMarginal(Marginal):
    """A distribution over K codes, learned or given."""

    family = CategoricalPosterior

    def __init__(self, latent_dim: int, probabilities: Sequence[float] | None = None) -> None:
        """Start with equal probabilities, or keep the given ones.

        Args:
            latent_dim: number K of codes.
            probabilities: q(z), then not learned.
        """
        super().__init__(latent_dim)
        if probabilities is None:
            self.logits: Tensor = nn.Parameter(torch.zeros(latent_dim))
        else:
            self.logits = _log_table("probabilities", [probabilities], (1, latent_dim))[0]

    def log_prob(self, z: Tensor) -> Tensor:
        """Log probability of one-hot codes.

        Args:
            z: shape ``(..., K)``.

        Returns:
            Nats, shape ``(...)``.
        """
        return (z * F.log_softmax(self.logits.to(z), -1)).sum(-1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws of one-hot codes.

        Args:
            n: how many.
            generator: a generator on the CPU; the global one if not given.

        Returns:
            Shape ``(n, K)``.
        """
        which = draw_indices(self.logits, n, generator)
        return F.one_hot(which, self.latent_dim).to(self.logits)

    def points(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """All codes with their log probabilities: sums are exact.

        Args:
            n: not needed.
            generator: not needed.

        Returns:
            One-hot z, shape ``(K, K)``, and log q(z), shape ``(K,)``.
        """
        codes = torch.eye(self.latent_dim, dtype=self.logits.dtype, device=self.logits.device)
        return codes, F.log_softmax(self.logits, -1)

    def forward(self, posterior: CategoricalPosterior, z: Tensor) -> Tensor:
        """Exact rate.

        Args:
            posterior: e(z|x).
            z: not needed.

        Returns:
            Nats, shape ``(1, n)``.
        """
        return posterior.rate(F.log_softmax(self.logits.to(z), -1))[None]


class Categorical(Likelihood):
    """One symbol out of several; an image is one-hot, or gives the probabilities of the symbols."""

    limits = (0.0, 1.0)
    advice = "one-hot examples, as FiniteAlphabet gives them"

    def nll(self, decoded: Tensor, x: Tensor) -> Tensor:
        """Cross-entropy, see :func:`thermo_pl.functionals.categorical_nll`.

        Args:
            decoded: scores of the symbols, shape ``(samples, n, *image)``.
            x: images that sum to one, shape ``(n, *image)``.

        Returns:
            Nats, shape ``(samples, n)``.
        """
        return categorical_nll(decoded, x)

    def log_partition(self, decoded: Tensor, lam: Tensor) -> Tensor:
        """A sum over the symbols, see :func:`thermo_pl.functionals.categorical_log_partition`.

        Args:
            decoded: scores of the symbols, shape ``(m, *image)``.
            lam: λ, 0-dimensional.

        Returns:
            Nats, shape ``(m,)``.
        """
        return categorical_log_partition(decoded.flatten(1), lam)

    def mean(self, decoded: Tensor) -> Tensor:
        """Probabilities of the symbols.

        Args:
            decoded: scores, shape ``(..., *image)`` with a three-dimensional image.

        Returns:
            Images that sum to one, of the same shape.
        """
        return decoded.flatten(-3).softmax(-1).reshape(decoded.shape)


class TableDecoder(Decoder):
    """d(x|z) from a table that is not learned, over the symbols of a one-hot image."""

    def __init__(
        self, image_shape: Sequence[int], latent_dim: int, table: Sequence[Sequence[float]]
    ) -> None:
        """Keep the table.

        Args:
            image_shape: shape of one image, ``(channels, height, width)``.
            latent_dim: number K of codes.
            table: d(x|z), K rows that sum to one, with an entry for each symbol.
        """
        super().__init__(image_shape, latent_dim, Categorical())
        self._logits = _log_table("table", table, (latent_dim, math.prod(image_shape)))

    def forward(self, z: Tensor) -> Tensor:
        """Look codes up.

        Args:
            z: one-hot codes, shape ``(samples, n, latent_dim)``.

        Returns:
            Log probabilities of the symbols, shape ``(samples, n, *image)``.
        """
        return (z @ self._logits.to(z)).reshape(*z.shape[:-1], *self.image_shape)


class TableClassifier(Classifier):
    """c(y|z) from a table that is not learned."""

    def __init__(self, latent_dim: int, classes: int, table: Sequence[Sequence[float]]) -> None:
        """Keep the table.

        Args:
            latent_dim: number K of codes.
            classes: number of classes.
            table: c(y|z), K rows that sum to one, with an entry for each class.
        """
        super().__init__(latent_dim, classes)
        self._logits = _log_table("table", table, (latent_dim, classes))

    def forward(self, z: Tensor) -> Tensor:
        """Look codes up.

        Args:
            z: one-hot codes, shape ``(samples, n, latent_dim)``.

        Returns:
            Log probabilities of the classes, shape ``(samples, n, classes)``.
        """
        return z @ self._logits.to(z)


def _log_table(name: str, rows: Sequence[Sequence[float]], shape: tuple[int, int]) -> Tensor:
    # Log probabilities of a table, which must be positive: a zero would make an infinite loss.
    # In float64 and no buffer, as it is data: a cast of the networks does not round it.
    ok = len(rows) == shape[0] and all(len(row) == shape[1] for row in rows)
    got = [len(row) for row in rows]
    require(ok, name, f"rows of {got} entries", f"{shape[0]} rows of {shape[1]} entries")
    table = torch.tensor(rows, dtype=torch.float64)
    ok = bool((table > 0).all()) and bool(((table.sum(-1) - 1).abs() < 1e-9).all())
    require(ok, name, rows, "entries > 0, each row summing to 1")
    return table.log()
