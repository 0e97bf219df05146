"""Data whose equilibrium is known in closed form: see :mod:`thermo_pl.exact`."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from thermo_pl.datamodules.base import PathDataModule
from thermo_pl.datamodules.coupled import CoupledImages
from thermo_pl.datamodules.legs import DataPath
from thermo_pl.datamodules.sources import SPLITS
from thermo_pl.errors import require
from thermo_pl.exact.bures import (
    covariance_matrix,
    geodesic,
    power,
    transport_map,
    wasserstein2_squared,
)
from thermo_pl.exact.distributions import discrete_entropy
from thermo_pl.transport.cache import content_hash
from thermo_pl.transport.couplings import Coupling, identity_coupling


class GaussianDomains(PathDataModule):
    """Centred Gaussians that move along Bures geodesics, with linear labels y = Ax + noise.

    2d points ±√d S^½ e_i stand for each Gaussian: their second moments are exactly its own. The
    map T of optimal transport moves them, S(t) = G S G with G = (1-t)I + tT. With linear networks
    and Gaussian likelihoods R, D and C depend on second moments alone. So a mean over the points is
    the mean over the Gaussian, without sampling error. All splits are the same. A particle carries
    the mean Ax of its label; the classifier is told the label's noise.
    """

    def __init__(
        self,
        covariances: list[list[list[float]]],
        label_map: list[list[float]],
        label_noise: list[list[float]],
        train_batches: int = 100,
        num_workers: int = 0,
    ) -> None:
        """Check the matrices.

        Args:
            covariances: the covariance S of each waypoint, d rows of d numbers; a single one is a
                domain that does not move.
            label_map: A, m rows of d numbers.
            label_noise: covariance of the label around Ax, m rows of m numbers; the classifier is
                told its trace.
            train_batches: training batches in an epoch; each one is all of the points.
            num_workers: worker processes of each loader.

        Raises:
            ConfigError: if a covariance is not symmetric positive definite, or sizes do not match.
        """
        require(len(covariances) > 0, "covariances", covariances, "one or more matrices")
        n_legs = max(1, len(covariances) - 1)
        super().__init__(n_legs, None, train_batches, 512, num_workers, None)
        self._covariances = [
            _covariance(rows, f"covariances[{number}]") for number, rows in enumerate(covariances)
        ]
        sizes = [len(matrix) for matrix in self._covariances]
        require(len(set(sizes)) == 1, "covariances", f"sizes {sizes}", "matrices of one size")
        ok = len(label_map) > 0 and all(len(row) == sizes[0] for row in label_map)
        got = f"rows of {[len(row) for row in label_map]} numbers"
        require(ok, "label_map", got, f"rows of {sizes[0]} numbers")
        self._label_map = torch.tensor(label_map, dtype=torch.float64)
        self._label_noise = _covariance(label_noise, "label_noise")
        ok = len(label_noise) == len(label_map)
        got, allowed = f"{len(label_noise)} rows", f"{len(label_map)}, as label_map has"
        require(ok, "label_noise", got, allowed)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one point as an image."""
        return (1, 1, len(self._covariances[0]))

    @property
    def n_classes(self) -> int:
        """Size of a label vector."""
        return len(self._label_map)

    def build(self) -> DataPath:
        """Put the points on their geodesics.

        Returns:
            The path.
        """
        ends = list(pairwise(self._covariances)) or [(self._covariances[0], self._covariances[0])]
        legs = [self._leg(start, end) for start, end in ends]
        arrays = [matrix.numpy() for matrix in (*self._covariances, self._label_map)]
        closed = torch.equal(self._covariances[0], self._covariances[-1])
        return DataPath(dict.fromkeys(SPLITS, legs), [], content_hash("gaussians", arrays), closed)

    def data_entropy(self, labels: bool) -> float:
        """Differential entropy of the Gaussian, ½ log det 2πe S(t).

        Args:
            labels: whether it is that of (x, y), with ½ log det 2πe S_ε for y given x.

        Returns:
            Nats.
        """
        ends = (self._covariances * 2)[self.leg : self.leg + 2]
        parts = [geodesic(ends[0], ends[1], self.t)] + ([self._label_noise] if labels else [])
        unit = math.log(2 * math.pi * math.e)
        return sum(0.5 * (len(part) * unit + float(torch.logdet(part))) for part in parts)

    def _leg(self, start: Tensor, end: Tensor) -> CoupledImages:
        d = len(start)
        axes = d**0.5 * power(start, 0.5)
        x = torch.cat([axes, -axes])
        moved = x @ transport_map(start, end)
        return CoupledImages(
            x.reshape(-1, *self.image_shape),
            moved.reshape(-1, *self.image_shape),
            x @ self._label_map.T,
            moved @ self._label_map.T,
            identity_coupling(2 * d, float(wasserstein2_squared(start, end))),
        )


class FiniteAlphabet(PathDataModule):
    """Letters x with probabilities p(x) and p(y|x), as one-hot images; nothing moves with t.

    Every batch holds all letters with their probabilities, so that means are exact sums. All
    splits are the same.
    """

    def __init__(
        self,
        p_x: list[float],
        p_y_given_x: list[list[float]],
        train_batches: int = 100,
        num_workers: int = 0,
    ) -> None:
        """Check the distributions.

        Args:
            p_x: probability of each letter.
            p_y_given_x: for each letter the probabilities of its labels.
            train_batches: training batches in an epoch; each one is the whole alphabet.
            num_workers: worker processes of each loader.

        Raises:
            ConfigError: if these are no distributions, or their sizes do not match.
        """
        super().__init__(1, None, train_batches, 512, num_workers, None)
        sizes = {len(row) for row in p_y_given_x}
        ok = len(p_y_given_x) == len(p_x) > 0 and len(sizes) == 1 and min(sizes) > 1
        allowed = f"{len(p_x)} rows of one length, for 2 labels or more"
        require(ok, "p_y_given_x", p_y_given_x, allowed)
        self._p_x = torch.tensor(p_x, dtype=torch.float64)
        self._p_y_given_x = torch.tensor(p_y_given_x, dtype=torch.float64)
        for name, table in (("p_x", self._p_x), ("p_y_given_x", self._p_y_given_x)):
            sums = table.sum(-1)
            ok = bool((table >= 0).all()) and bool(((sums - 1).abs() < 1e-9).all())
            require(ok, name, table.tolist(), "numbers ≥ 0 that sum to 1")
        require(bool((self._p_x > 0).all()), "p_x", p_x, "numbers > 0: leave out the others")

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one letter as an image."""
        return (1, 1, len(self._p_x))

    @property
    def n_classes(self) -> int:
        """Number of labels."""
        return self._p_y_given_x.shape[1]

    def build(self) -> DataPath:
        """Couple every letter with itself.

        Returns:
            The path.
        """
        n = len(self._p_x)
        x = torch.eye(n, dtype=torch.float64).reshape(n, *self.image_shape)
        index = np.arange(n, dtype=np.int64)
        coupling = Coupling(index, index, self._p_x.numpy(), 0.0)
        leg = CoupledImages(x, x, self._p_y_given_x, self._p_y_given_x, coupling)
        arrays = [self._p_x.numpy(), self._p_y_given_x.numpy()]
        legs = [leg]
        return DataPath(dict.fromkeys(SPLITS, legs), [], content_hash("alphabet", arrays), True)

    def data_entropy(self, labels: bool) -> float:
        """Entropy of the letters.

        Args:
            labels: whether it is that of (x, y).

        Returns:
            Nats.
        """
        joint = self._p_x[:, None] * self._p_y_given_x
        return float(discrete_entropy(joint.flatten() if labels else self._p_x))


def _covariance(rows: list[list[float]], name: str) -> Tensor:
    widths = [len(row) for row in rows]
    require(len(set(widths)) == 1, name, f"rows of {widths} numbers", "rows of one length")
    return covariance_matrix(torch.tensor(rows, dtype=torch.float64), name)
