"""Transforms of the examples of a waypoint.

Of torchvision only ``transforms.functional`` is used: importing ``transforms.v2`` would make short
class names in configs ambiguous, as it has a ``GaussianNoise``, too.
"""

from __future__ import annotations

import math
import zlib
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, functional

from thermo_pl.errors import DataError, require


class Learning(nn.Module):
    """Base of the transforms that learn from training examples, and then are the same for all."""

    def learn(self, examples: Tensor) -> None:
        """Learn.

        Args:
            examples: the training examples, shape ``(n, *image)``.
        """
        raise NotImplementedError


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


class GaussianNoise(nn.Module):
    """Add Gaussian noise, drawn once and for all, and clamp to the range of pixels.

    The draw depends on ``seed`` and on the examples given, on nothing else. So a split always gets
    the same noise; train, val and test get independent noise.
    """

    def __init__(
        self, std: float, seed: int = 0, limits: tuple[float, float] | None = (0.0, 1.0)
    ) -> None:
        """Fix the strength of the noise and its seed.

        Args:
            std: standard deviation of the noise, in units of the values.
            seed: seed of the draw.
            limits: what the sum is clamped to; None for a table or any values without bounds.

        Raises:
            ConfigError: if ``std`` or ``seed`` is negative, or the limits are no range.
        """
        super().__init__()
        ok = limits is None or limits[0] < limits[1]
        require(ok, "limits", limits, "two numbers, the lower first, or null")
        self.limits = limits
        require(0 <= std < float("inf"), "std", std, "a finite number from 0")
        require(seed >= 0, "seed", seed, "an integer from 0")
        self.std, self.seed = std, seed

    def forward(self, images: Tensor) -> Tensor:
        """Add the noise.

        Args:
            images: all examples of a split, shape ``(n, *image)``.

        Returns:
            The noisy examples, within the limits.

        Raises:
            DataError: if an example is outside the limits before there is any noise.
        """
        if self.limits is not None and not _within(images, self.limits):
            low, high = (float(end) for end in images.aminmax())
            raise DataError(
                f"GaussianNoise.limits: got {list(self.limits)} for values from {low:g} to "
                f"{high:g}; allowed: limits around them, or null to clamp nothing"
            )
        noise = _generator(self.seed, images).standard_normal(tuple(images.shape), np.float32)
        noisy = images + self.std * torch.from_numpy(noise).to(images)
        return noisy if self.limits is None else noisy.clamp(*self.limits)


class Occlusion(nn.Module):
    """Cover a rectangle of every image with static: uniform noise, drawn once and for all.

    The draw depends on ``seed`` and on the images given, as that of :class:`GaussianNoise`.
    """

    def __init__(
        self,
        rows: tuple[float, float] = (0.0, 1.0),
        columns: tuple[float, float] = (0.0, 1.0),
        contrast: float = 1.0,
        seed: int = 0,
    ) -> None:
        """Fix the rectangle and its static.

        Args:
            rows: where the rectangle begins and ends from the top, as shares of the height.
            columns: the same from the left, as shares of the width.
            contrast: width of the static around the middle grey; 0 is a plain grey.
            seed: seed of the draw.

        Raises:
            ConfigError: if a share or the contrast is not within [0, 1], or the seed is negative.
        """
        super().__init__()
        for name, (begin, end) in (("rows", rows), ("columns", columns)):
            ok = 0 <= begin < end <= 1
            require(ok, name, [begin, end], "two shares, 0 ≤ begin < end ≤ 1")
        require(0 <= contrast <= 1, "contrast", contrast, "a number from 0 to 1")
        require(seed >= 0, "seed", seed, "an integer from 0")
        self.rows, self.columns, self.contrast, self.seed = rows, columns, contrast, seed

    def forward(self, images: Tensor) -> Tensor:
        """Cover the rectangle.

        Args:
            images: all images of a split, shape ``(n, channels, height, width)``.

        Returns:
            The images, of the same shape.
        """
        _check_pictures(self, images)
        height, width = images.shape[-2:]
        top, bottom = (round(share * height) for share in self.rows)
        left, right = (round(share * width) for share in self.columns)
        covered = images.clone()
        hidden = covered[..., top:bottom, left:right]
        static = _generator(self.seed, images).random(tuple(hidden.shape), dtype=np.float32)
        hidden.copy_(0.5 + self.contrast * (torch.from_numpy(static) - 0.5))
        return covered


class Rotation(nn.Module):
    """Turn every image about its centre, counterclockwise; what comes in from outside is black.

    Of two angles, the first turns the first image of a split and the second the last one. In
    between the angle grows evenly, in the order of the data.
    """

    def __init__(self, degrees: float | tuple[float, float]) -> None:
        """Fix the angles.

        Args:
            degrees: the angle of all images, or those of the first and of the last one.

        Raises:
            ConfigError: if an angle is not finite.
        """
        super().__init__()
        ends = degrees if isinstance(degrees, tuple) else (degrees, degrees)
        ok = all(map(math.isfinite, ends))
        require(ok, "degrees", degrees, "a finite number, or two of them")
        self.ends = ends

    def forward(self, images: Tensor) -> Tensor:
        """Turn them, with bilinear interpolation.

        Args:
            images: all images of a split, shape ``(n, channels, height, width)``.

        Returns:
            The images, of the same shape.
        """
        _check_pictures(self, images)

        def turned(some: Tensor, angle: float) -> Tensor:
            bilinear = InterpolationMode.BILINEAR
            return torch.as_tensor(functional.rotate(some, angle, interpolation=bilinear))

        first, last = self.ends
        if first == last:
            return turned(images, first).clamp(0, 1)
        angles = np.linspace(first, last, len(images)).tolist()
        singly = [turned(image, angle) for image, angle in zip(images, angles, strict=True)]
        return torch.stack(singly).clamp(0, 1)


class Inversion(nn.Module):
    """Turn black into white and white into black."""

    def forward(self, images: Tensor) -> Tensor:
        """Invert them.

        Args:
            images: all images of a split, shape ``(n, channels, height, width)``.

        Returns:
            The images, of the same shape.
        """
        _check_pictures(self, images)
        return torch.as_tensor(functional.invert(images))


class Blur(nn.Module):
    """Blur every image with a Gaussian, cut off at three standard deviations."""

    def __init__(self, sigma: float) -> None:
        """Fix the width.

        Args:
            sigma: standard deviation in pixels.

        Raises:
            ConfigError: if ``sigma`` is not positive and finite.
        """
        super().__init__()
        require(0 < sigma < math.inf, "sigma", sigma, "a finite number > 0 (pixels)")
        self.sigma = sigma

    def forward(self, images: Tensor) -> Tensor:
        """Blur them; what lies outside is taken to mirror what lies inside.

        Args:
            images: all images of a split, shape ``(n, channels, height, width)``.

        Returns:
            The images, of the same shape.

        Raises:
            DataError: if the Gaussian is wider than the images.
        """
        _check_pictures(self, images)
        radius, side = math.ceil(3 * self.sigma), min(images.shape[-2:])
        if radius >= side:
            raise DataError(
                f"Blur.sigma: got {self.sigma:g} for images of {side} pixels; allowed: at "
                f"most {(side - 1) / 3:.3g}, a third of their size"
            )
        blurred = functional.gaussian_blur(images, 2 * [2 * radius + 1], 2 * [self.sigma])
        return torch.as_tensor(blurred).clamp(0, 1)


def _check_pictures(transform: nn.Module, images: Tensor) -> None:
    if images.ndim != 4 or not _within(images, (0.0, 1.0)):
        low, high = (float(end) for end in images.aminmax())
        raise DataError(
            f"{type(transform).__name__}: got examples of shape {tuple(images.shape[1:])} with "
            f"values from {low:g} to {high:g}; allowed: images (channels, height, width) with "
            "values in [0, 1]; let what rescales them come after it"
        )


def _within(images: Tensor, limits: tuple[float, float]) -> bool:
    return bool(((images >= limits[0]) & (images <= limits[1])).all())


def _generator(seed: int, images: Tensor) -> np.random.Generator:
    # the same split always gets the same noise, and different splits independent noise
    content = zlib.crc32(np.ascontiguousarray(images.cpu().numpy()).data)
    return np.random.default_rng([seed, content])
