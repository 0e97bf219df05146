"""Transforms that learn the scale of the features from training examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from thermo_pl.datamodules.transforms import generator_of
from thermo_pl.errors import require


class Learning(nn.Module, ABC):
    """Base of the transforms that learn from training examples, and then are the same for all."""

    @abstractmethod
    def learn(self, examples: Tensor) -> None:
        """Learn.

        Args:
            examples: the training examples, shape ``(n, *image)``.
        """


class Standardise(Learning):
    """Take the mean away and divide by the standard deviation, both of training examples.

    As the transform of a waypoint it learns from that domain, so that all domains get the same mean
    and scale. As the transform of the DataModule it learns from the first domain, and is the same
    for all: what one unit means does not change on the way.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, per: Literal["feature", "channel"] = "feature") -> None:
        """Say what has a mean and a deviation of its own.

        Args:
            per: "feature" for each number of an example, such as each column of a table; "channel"
                for each channel of images. What is constant keeps its scale.

        Raises:
            ConfigError: if it is none of the two.
        """
        super().__init__()
        require(per in {"feature", "channel"}, "per", per, "feature, channel")
        self.per = per
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def learn(self, examples: Tensor) -> None:
        """Learn mean and standard deviation.

        Args:
            examples: the training examples, shape ``(n, *image)``.
        """
        over = [0] if self.per == "feature" else [i for i in range(examples.ndim) if i != 1]
        exact = examples.double()
        mean = exact.mean(over, keepdim=True)
        scale = (exact - mean).square().mean(over, keepdim=True).sqrt()
        # a constant is not quite its mean in floating point
        still = scale <= 1e-6 * exact.abs().amax(over, keepdim=True)
        self.mean, self.scale = mean[0].float(), scale.where(~still, 1.0)[0].float()

    def forward(self, images: Tensor) -> Tensor:
        """Standardise.

        Args:
            images: all examples of a split, shape ``(n, *image)``.

        Returns:
            The examples, of the same shape.
        """
        return (images - self.mean) / self.scale


class Drift(Learning):
    """What another instrument makes of the same measurements: gains, offsets and noise.

    Feature j becomes m_j + (1 + a_j) (x_j - m_j) + s_j (b_j + e), m_j and s_j being its mean and
    standard deviation in training. The gain a_j and the offset b_j are drawn once for each feature,
    the noise e once for each number. All depend on ``seed`` and on the examples, on nothing else.
    """

    def __init__(
        self, gain: float = 0.1, offset: float = 0.3, noise: float = 0.1, seed: int = 0
    ) -> None:
        """Fix how far the instruments differ.

        Args:
            gain: standard deviation of the relative gains a_j.
            offset: standard deviation of the offsets b_j, in units of that of the feature.
            noise: standard deviation of the noise e, likewise.
            seed: seed of the draws.

        Raises:
            ConfigError: if a number is negative or not finite.
        """
        super().__init__()
        for name, value in (("gain", gain), ("offset", offset), ("noise", noise)):
            require(0 <= value < float("inf"), name, value, "a finite number from 0")
        require(seed >= 0, "seed", seed, "an integer from 0")
        self.gain, self.offset, self.noise, self.seed = gain, offset, noise, seed
        self._scale = Standardise()

    def learn(self, examples: Tensor) -> None:
        """Learn mean and standard deviation of the features.

        Args:
            examples: the training examples, shape ``(n, *image)``.
        """
        self._scale.learn(examples)

    def forward(self, images: Tensor) -> Tensor:
        """Measure with the other instrument.

        Args:
            images: all examples of a split, shape ``(n, *image)``.

        Returns:
            The examples, of the same shape.
        """
        of_instrument = np.random.default_rng(self.seed)
        shape = tuple(images.shape[1:])
        gain, offset = (torch.from_numpy(of_instrument.standard_normal(shape)) for _ in range(2))
        noise = generator_of(self.seed, images).standard_normal(tuple(images.shape))
        seen = self._scale(images).double()
        seen = seen * (1 + self.gain * gain) + self.offset * offset
        seen = seen + self.noise * torch.from_numpy(noise)
        measured: Tensor = self._scale.mean + self._scale.scale * seen
        return measured.to(images.dtype)
