"""Transforms of the examples of a waypoint.

Of torchvision only ``transforms.functional`` is used: importing ``transforms.v2`` would make short
class names in configs ambiguous, as it has a ``GaussianNoise``, too.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, functional

from thermo_pl.errors import DataError, require


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
        noise = generator_of(self.seed, images).standard_normal(tuple(images.shape), np.float32)
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
        static = generator_of(self.seed, images).random(tuple(hidden.shape), dtype=np.float32)
        hidden.copy_(0.5 + self.contrast * (torch.from_numpy(static) - 0.5))
        return covered


class Rotation(nn.Module):
    """Turn every image about its centre, counterclockwise; what comes in from outside is black.

    Of two angles, the first turns the first image of a split and the second the last one. In
    between the angle grows evenly, in the order of the data.
    """

    def __init__(self, degrees: float | tuple[float, float], spline: bool = False) -> None:
        """Fix the angles.

        Args:
            degrees: the angle of all images, or those of the first and of the last one.
            spline: interpolate by cubic splines, and not bilinearly.

        Raises:
            ConfigError: if an angle is not finite.
        """
        super().__init__()
        ends = degrees if isinstance(degrees, tuple) else (degrees, degrees)
        ok = all(map(math.isfinite, ends))
        require(ok, "degrees", degrees, "a finite number, or two of them")
        self.ends, self.spline = ends, spline

    def forward(self, images: Tensor) -> Tensor:
        """Turn them.

        Args:
            images: all images of a split, shape ``(n, channels, height, width)``.

        Returns:
            The images, of the same shape.
        """
        _check_pictures(self, images)

        def turned(some: Tensor, angle: float) -> Tensor:
            if self.spline:
                found = ndimage.rotate(some.numpy(), angle, axes=(-1, -2), reshape=False, order=3)
                return torch.from_numpy(found)
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


class Binarise(nn.Module):
    """Make every pixel black or white, once and for all: white with its grey value as probability.

    The draw depends on ``seed`` and on the images given, on nothing else; so a split is always the
    same. That is the statically binarised MNIST of the literature, drawn anew.

    Source: Salakhutdinov & Murray, "On the quantitative analysis of deep belief networks", 2008.
    """

    def __init__(self, seed: int = 0) -> None:
        """Fix the seed.

        Args:
            seed: of the draw.

        Raises:
            ConfigError: if it is negative.
        """
        super().__init__()
        require(seed >= 0, "seed", seed, "an integer from 0")
        self.seed = seed

    def forward(self, images: Tensor) -> Tensor:
        """Draw.

        Args:
            images: all images of a split, shape ``(n, channels, height, width)``.

        Returns:
            Zeros and ones, of the same shape.
        """
        _check_pictures(self, images)
        drawn = generator_of(self.seed, images).random(tuple(images.shape), np.float32)
        return (torch.from_numpy(drawn).to(images) < images).to(images)


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


class Colour(nn.Module):
    """Print grey images in colour: what is white in them as ink, what is black as paper."""

    def __init__(
        self,
        ink: tuple[float, float, float] = (1.0, 1.0, 1.0),
        paper: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        """Choose the colours.

        Args:
            ink: red, green and blue of the ink, in [0, 1].
            paper: those of the paper.

        Raises:
            ConfigError: if a colour is outside [0, 1].
        """
        super().__init__()
        for name, colour in (("ink", ink), ("paper", paper)):
            ok = all(0 <= part <= 1 for part in colour)
            require(ok, name, list(colour), "red, green and blue, each from 0 to 1")
        self.ink, self.paper = ink, paper

    def forward(self, images: Tensor) -> Tensor:
        """Print them.

        Args:
            images: all images of a split, shape ``(n, 1, height, width)``.

        Returns:
            Shape ``(n, 3, height, width)``.

        Raises:
            DataError: if the images have colours already.
        """
        _check_pictures(self, images)
        if images.shape[1] != 1:
            raise DataError(
                f"Colour: got images of {images.shape[1]} channels; allowed: one, grey images"
            )
        ink, paper = (images.new_tensor(c).reshape(3, 1, 1) for c in (self.ink, self.paper))
        return paper + (ink - paper) * images


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


def generator_of(seed: int, images: Tensor) -> np.random.Generator:
    """A source of noise: the same for the same split, independent for different ones.

    Args:
        seed: of all noise of a transform.
        images: the examples of the split.

    Returns:
        The generator.
    """
    content = zlib.crc32(np.ascontiguousarray(images.cpu().numpy()).data)
    return np.random.default_rng([seed, content])
