"""Waypoints of a path, and the domains (fixed sets of particles) they stand for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from thermo_pl.datamodules.digits import Digits
from thermo_pl.datamodules.sources import SPLITS, ImageSource, Split
from thermo_pl.errors import DataError, require
from thermo_pl.transport.cache import content_hash


@dataclass
class Waypoint:
    """A domain that the path passes through.

    Attributes:
        classes: classes that belong to the domain; None for all of the source.
        source: where the images come from; None for :class:`Digits` as it is by default.
        transform: applied once to all images of each split, before classes are selected. It must
            give the same result every time, so that the particles are fixed: a random one draws
            from a seed of its own, as :class:`GaussianNoise` does.
        per_class: images of each class that the train split keeps, or one number for each of
            ``classes``, null for all of that class; all of them if not given. The other splits are
            left as they are.
        choice: seed of the random choice of these images. Of a class, the same images are kept in
            all waypoints of the same source and ``choice``.

    Example:
        >>> import thermo_pl as tp
        >>> from thermo_pl.datamodules import Inversion
        >>> plain = tp.Waypoint([0, 1], per_class=20)
        >>> inverted = tp.Waypoint([0, 1], transform=Inversion(), per_class=20)
        >>> data = tp.InterpolatedDataModule([plain, inverted, plain])
        >>> data.n_legs, data.closed, len(data.coupling("train"))
        (2, True, 40)
    """

    classes: list[int] | None = None
    source: ImageSource | None = None
    transform: nn.Module | None = None
    per_class: int | list[int | None] | None = None
    choice: int = 0


@dataclass(frozen=True, eq=False)
class Domain:
    """The images of a waypoint.

    Attributes:
        splits: images and labels by split.
        classes: the classes, sorted.
        fingerprint: hash of the content; domains with the same content have the same one.
    """

    splits: dict[str, Split]
    classes: tuple[int, ...]
    fingerprint: str

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image: channels, height, width."""
        return tuple(self.splits["train"].images.shape[1:])


def check_waypoints(waypoints: list[Waypoint]) -> None:
    """Check what can be checked before anything is loaded.

    Args:
        waypoints: the waypoints as configured.

    Raises:
        ConfigError: if there are none, classes are empty or named twice, or no image is left.
    """
    require(len(waypoints) >= 1, "waypoints", waypoints, "a list of one or more waypoints")
    for number, waypoint in enumerate(waypoints):
        classes = waypoint.classes
        require(
            classes is None or (len(classes) >= 1 and len(set(classes)) == len(classes)),
            f"waypoints[{number}].classes",
            classes,
            "null for all, or one or more classes, each named once",
        )
        _check_choice(waypoint, f"waypoints[{number}]")


def _check_choice(waypoint: Waypoint, name: str) -> None:
    some, classes = waypoint.per_class, waypoint.classes
    listed = isinstance(some, list)
    numbers = some if isinstance(some, list) else [some]
    ok = all(number is None or number >= 1 for number in numbers)
    allowed = "an integer from 1, null for all, or a list of these with one for each of classes"
    fits = not listed or (classes is not None and len(numbers) == len(classes))
    require(ok and fits, f"{name}.per_class", some, allowed)
    require(waypoint.choice >= 0, f"{name}.choice", waypoint.choice, "an integer from 0")


def load_domains(waypoints: Iterable[Waypoint]) -> list[Domain]:
    """Load the domains of a path. Waypoints with the same content share one domain.

    Args:
        waypoints: the waypoints.

    Returns:
        One domain per waypoint.

    Raises:
        DataError: if the images are not what they must be, a class is missing or waypoints
            differ in the shape of their images.
    """
    known: dict[str, Domain] = {}
    domains: list[Domain] = []
    for number, waypoint in enumerate(waypoints):
        domain = _load_domain(waypoint, f"waypoints[{number}]")
        domains.append(known.setdefault(domain.fingerprint, domain))
        if domain.image_shape != domains[0].image_shape:
            raise DataError(
                f"waypoints[{number}]: got images of shape {domain.image_shape}; allowed: "
                f"{domains[0].image_shape} as in waypoints[0]; add a transform that makes them so"
            )
    return domains


def _load_domain(waypoint: Waypoint, name: str) -> Domain:
    source = Digits() if waypoint.source is None else waypoint.source
    name = f"{name} ({type(source).__name__})"
    loaded = source.load()
    if set(loaded) != set(SPLITS):
        raise DataError(f"{name}: got the splits {sorted(loaded)}; allowed: {', '.join(SPLITS)}")
    splits = {split: _transformed(loaded[split], waypoint.transform, name) for split in SPLITS}
    for split in SPLITS:
        check_split(splits[split], f"{name}, {split} split")
    present = torch.unique(torch.cat([part.labels for part in splits.values()])).tolist()
    classes = sorted(present if waypoint.classes is None else waypoint.classes)
    if unknown := sorted(set(classes) - set(present)):
        raise DataError(f"{name}: got the classes {unknown}; allowed: {present}")
    splits = {key: _selected(splits[key], classes, f"{name}, {key} split") for key in SPLITS}
    if waypoint.per_class is not None:
        splits["train"] = _fewer(splits["train"], _kept(waypoint, classes), waypoint.choice)
    arrays = [tensor.numpy() for part in splits.values() for tensor in part]
    return Domain(splits, tuple(classes), content_hash("domain", arrays))


def _transformed(split: Split, transform: nn.Module | None, name: str) -> Split:
    if transform is None:
        return split
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        first, second = transform(split.images.clone()), transform(split.images.clone())
    name = f"{name}: transform {type(transform).__name__}"
    if not isinstance(first, Tensor):
        raise DataError(f"{name} gave a {type(first).__name__}; it must give a tensor of images")
    if not torch.equal(first, second):
        raise DataError(
            f"{name} gave two results for the same images; give it a fixed seed of its own, "
            "so that the particles are fixed"
        )
    return Split(first, split.labels)


def check_split(split: Split, name: str) -> None:
    """Refuse images and labels that are not what the networks take.

    Args:
        split: images and labels.
        name: what they are called in errors.

    Raises:
        DataError: if types, shapes or values are not those of a :class:`Split`.
    """
    images, labels = split
    if images.dtype != torch.float32 or images.ndim != 4:
        raise DataError(
            f"{name}: got images of {images.dtype} and shape {tuple(images.shape)}; "
            "allowed: torch.float32 of shape (n, channels, height, width)"
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{name}: got labels of {labels.dtype} and shape {tuple(labels.shape)}; "
            f"allowed: torch.int64 of shape ({len(images)},)"
        )
    if len(images) == 0:
        raise DataError(f"{name}: got no images; give it at least one of each class")
    low, high = (float(end) for end in images.aminmax())  # nan if any value is
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DataError(f"{name}: got images with values that are not finite; allowed: [0, 1]")
    if low < 0 or high > 1:
        raise DataError(f"{name}: got values from {low:g} to {high:g}; allowed: [0, 1]; rescale")


def _selected(split: Split, classes: list[int], name: str) -> Split:
    for label in classes:
        if not (split.labels == label).any():
            raise DataError(
                f"{name}: class {label} has no images; leave it out of classes or split otherwise"
            )
    chosen = torch.isin(split.labels, torch.tensor(classes))
    return Split(split.images[chosen].contiguous(), split.labels[chosen].contiguous())


def _kept(waypoint: Waypoint, classes: list[int]) -> dict[int, int | None]:
    if isinstance(waypoint.per_class, list):
        return dict(zip(waypoint.classes or [], waypoint.per_class, strict=True))
    return dict.fromkeys(classes, waypoint.per_class)


def _fewer(split: Split, kept: dict[int, int | None], choice: int) -> Split:
    chosen = []
    for label, number in kept.items():
        index = np.flatnonzero(split.labels == label)
        # a stream for each class, so that it does not matter which other classes there are
        stream = [choice, label] if label >= 0 else [choice, -label, 1]
        chosen.append(np.random.default_rng(stream).permutation(index)[:number])
    all_of_them = torch.from_numpy(np.sort(np.concatenate(chosen)))
    return Split(split.images[all_of_them], split.labels[all_of_them])
