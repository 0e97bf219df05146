"""Linear-Gaussian parts, whose equilibrium is known in closed form (:mod:`thermo_pl.exact`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from thermo_pl.errors import require
from thermo_pl.functionals import gaussian_log_partition, gaussian_nll
from thermo_pl.networks.classifier import LinearClassifier
from thermo_pl.networks.encoder import Encoder
from thermo_pl.networks.posterior import GaussianPosterior


class LinearGaussianEncoder(Encoder):
    """A linear mean and a variance that is the same for all images, drawn by cubature.

    The draws are the 2k points ±√k e_i. Means over them are exact for whatever is at most cubic in
    z. D and C are, with a linear decoder and classifier and Gaussian likelihoods. With other parts
    they are an approximation.

    Source: the spherical cubature rule of degree 3; Stroud 1971, formula U_n 3-1.
    """

    exact = True

    def __init__(self, image_shape: Sequence[int], latent_dim: int) -> None:
        """Build the linear map, and start at unit variance.

        Args:
            image_shape: shape of one image, ``(channels, height, width)``.
            latent_dim: size of the representation.
        """
        super().__init__(image_shape, latent_dim)
        self.net = nn.Linear(math.prod(image_shape), latent_dim)
        self.log_var = nn.Parameter(torch.zeros(latent_dim))

    def forward(self, x: Tensor) -> GaussianPosterior:
        """Encode images.

        Args:
            x: shape ``(n, channels, height, width)``.

        Returns:
            The Gaussian e(z|x).
        """
        mean: Tensor = self.net(x.flatten(1))
        return GaussianPosterior(mean, self.log_var.expand_as(mean))

    def noise(self, samples: int, n: int, generator: torch.Generator | None = None) -> Tensor:
        """The points of the cubature.

        Args:
            samples: not needed.
            n: number of images.
            generator: not needed.

        Returns:
            Shape ``(2 latent_dim, n, latent_dim)``.
        """
        axes = math.sqrt(self.latent_dim) * torch.eye(self.latent_dim, dtype=torch.float64)
        points = torch.cat([axes, -axes])
        return points[:, None].expand(-1, n, -1)


class GaussianClassifier(LinearClassifier):
    """A linear prediction of label vectors, c(y|z) = N(Vz + b, variance).

    A particle carries the mean of p(y|x); the label's own spread around it is ``label_noise``.
    """

    categorical = False

    def __init__(
        self, latent_dim: int, classes: int, variance: float = 0.1, label_noise: float = 0.0
    ) -> None:
        """Build the layer.

        Args:
            latent_dim: size of the representation.
            classes: size of a label vector.
            variance: ρ², the variance of each entry.
            label_noise: trace of the covariance of p(y|x).
        """
        super().__init__(latent_dim, classes)
        ok = 0 < variance < math.inf
        require(ok, "variance", variance, "a finite number > 0")
        ok = 0 <= label_noise < math.inf
        require(ok, "label_noise", label_noise, "a finite number ≥ 0")
        self.variance = variance
        self.label_noise = label_noise
        self._log_variance = torch.tensor(math.log(variance), dtype=torch.float64)

    def nll(self, logits: Tensor, y: Tensor) -> Tensor:
        """Expected Gaussian NLL of a label, (m/2) log 2πρ² + (|y - Vz - b|² + label_noise)/2ρ².

        Args:
            logits: predictions, shape ``(samples, n, classes)``.
            y: means of p(y|x), shape ``(n, classes)``.

        Returns:
            Nats, shape ``(samples, n)``.
        """
        return gaussian_nll(logits, y, self._log_variance) + self.label_noise / (2 * self.variance)

    def log_partition(self, logits: Tensor, gam: Tensor) -> Tensor:
        """Log of ∫ c(y|z)^γ dy, which the second law needs.

        Args:
            logits: predictions, shape ``(m, classes)``.
            gam: γ, 0-dimensional.

        Returns:
            Nats, shape ``(m,)``; infinite at γ = 0.
        """
        return gaussian_log_partition(logits, self._log_variance, gam)
