"""Waypoints of a path, and the domains (fixed sets of particles) they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from thermo_pl.datamodules.digits import Digits
from thermo_pl.datamodules.scales import Learning
from thermo_pl.datamodules.sources import SPLITS, ImageSource, IntArray, Split
from thermo_pl.datamodules.spreading import spread_labels
from thermo_pl.errors import DataError, require
from thermo_pl.transport.cache import content_hash


@dataclass
class Waypoint:
    """A domain that the path passes through.

    Attributes:
        classes: classes that belong to the domain, by number or name; None for all of the source.
        source: where the images come from; None for :class:`Digits` as it is by default.
        transform: applied once to all examples of each split, before classes are selected; several
            one after the other. It must give the same result every time, so that the particles are
            fixed: a random one draws from a seed of its own, as :class:`GaussianNoise` does. One
            that learns, as :class:`Standardise` does, learns from the train split.
        per_class: images of each class that the train split keeps, or one number for each of
            ``classes``, null for all of that class; all of them if not given. The other splits are
            left as they are.
        choice: seed of the random choice of these images. Of a class, the same images are kept in
            all waypoints of the same source and ``choice``.
        labels: ``given`` takes the labels of the source. ``spread`` keeps all training images, and
            ``per_class`` says how many of them have labels: the others get theirs over a graph of
            near neighbours, see :mod:`thermo_pl.datamodules.spreading`, and count by how sure these
            are. That they belong to the classes of the waypoint is known. Labels of the other
            splits are those of the source.

    Example:
        >>> import thermo_pl as tp
        >>> from thermo_pl.datamodules import Inversion
        >>> plain = tp.Waypoint([0, 1], per_class=20)
        >>> inverted = tp.Waypoint([0, 1], transform=Inversion(), per_class=20)
        >>> data = tp.InterpolatedDataModule([plain, inverted, plain], labels="ordered")
        >>> data.n_legs, data.closed, len(data.coupling("train"))
        (2, True, 40)
    """

    classes: list[int | str] | None = None
    source: ImageSource | None = None
    transform: nn.Module | list[nn.Module] | None = None
    per_class: int | list[int | None] | None = None
    choice: int = 0
    labels: Literal["given", "spread"] = "given"


@dataclass(frozen=True, eq=False)
class Domain:
    """The images of a waypoint.

    Attributes:
        splits: images and labels by split.
        classes: the classes, sorted.
        fingerprint: hash of the content; domains with the same content have the same one.
        names: what the classes 0, 1, … are called; empty where a number is its own name.
        confidence: of the labels of the train split, shape ``(n,)``, up to 1; None where all are
            given.
    """

    splits: dict[str, Split]
    classes: tuple[int, ...]
    fingerprint: str
    names: tuple[str, ...] = ()
    confidence: Tensor | None = None

    def name(self, label: int) -> int | str:
        """What a class is called.

        Args:
            label: the class.

        Returns:
            Its name; the number itself if it has none.
        """
        return self.names[label] if self.names else label

    def numbered(self, classes: Sequence[int | str] | None) -> list[int]:
        """Classes as a config names them, in its order.

        Args:
            classes: numbers or names; None for all, sorted.

        Returns:
            Their numbers.
        """
        known = {label: self.name(label) for label in self.classes}
        return list(self.classes) if classes is None else _numbered(classes, known, "classes")

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one example, such as (channels, height, width)."""
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
    known = waypoint.labels in {"given", "spread"}
    require(known, f"{name}.labels", waypoint.labels, "given, spread")
    told = waypoint.labels == "given" or some is not None
    allowed = "given, or spread with per_class, which says how many images have labels"
    require(told, f"{name}.labels", waypoint.labels, allowed)


def load_domains(
    waypoints: Iterable[Waypoint], transform: nn.Module | list[nn.Module] | None = None
) -> list[Domain]:
    """Load the domains of a path. Waypoints with the same content share one domain.

    Args:
        waypoints: the waypoints.
        transform: applied to all of them after their own; what it learns, it learns from the train
            split of the first one.

    Returns:
        One domain per waypoint.

    Raises:
        DataError: if the examples are not what they must be, a class is missing, all examples are
            the same, or waypoints differ in the shape of their examples.
    """
    known: dict[str, Domain] = {}
    domains: list[Domain] = []
    for number, waypoint in enumerate(waypoints):
        domain = _load_domain(waypoint, f"waypoints[{number}]")
        if transform is not None:
            splits = _transformed(domain.splits, transform, "data", learn=number == 0)
            domain = _domain(splits, domain.classes, domain.names, domain.confidence)
        domains.append(known.setdefault(domain.fingerprint, domain))
        images = domain.splits["train"].images
        if len(domain.classes) > 1 and bool((images == images[0]).all()):
            raise DataError(
                f"waypoints[{number}]: got {len(images)} training examples of "
                f"{len(domain.classes)} classes that are all the same; allowed: examples that "
                "differ; look at the source and its transform"
            )
        if domain.image_shape != domains[0].image_shape:
            raise DataError(
                f"waypoints[{number}]: got examples of shape {domain.image_shape}; allowed: "
                f"{domains[0].image_shape} as in waypoints[0]; add a transform that makes them so"
            )
    return domains


def _load_domain(waypoint: Waypoint, name: str) -> Domain:
    source = Digits() if waypoint.source is None else waypoint.source
    name = f"{name} ({type(source).__name__})"
    loaded = source.load()
    if set(loaded) != set(SPLITS):
        raise DataError(f"{name}: got the splits {sorted(loaded)}; allowed: {', '.join(SPLITS)}")
    splits, names = loaded, source.names
    if waypoint.transform is not None:
        splits = _transformed(loaded, waypoint.transform, name, learn=True)
    for split in SPLITS:
        check_split(splits[split], f"{name}, {split} split")
    present = torch.unique(torch.cat([part.labels for part in splits.values()])).tolist()
    if names and (present[0] < 0 or present[-1] >= len(names)):
        raise DataError(
            f"{name}: got {len(names)} names for labels from {present[0]} to {present[-1]}; "
            "allowed: a name for each of 0, 1, …, or none at all"
        )
    known = {label: names[label] if names else label for label in present}
    chosen = present if waypoint.classes is None else _numbered(waypoint.classes, known, name)
    classes = sorted(chosen)
    splits = {key: _selected(splits[key], classes, f"{name}, {key} split") for key in SPLITS}
    confidence = None
    if waypoint.per_class is not None:
        images, labels = train = splits["train"]
        few = _chosen(train, _kept(waypoint, chosen), waypoint.choice)
        if waypoint.labels == "spread":
            points = images.flatten(1).double().numpy()
            spread, sure = spread_labels(points, few, labels.numpy()[few])
            splits["train"] = Split(images, torch.from_numpy(spread))
            confidence = torch.from_numpy(sure)
        else:
            splits["train"] = Split(images[few], labels[few])
    return _domain(splits, tuple(classes), names, confidence)


def _numbered(classes: Sequence[int | str], known: dict[int, int | str], name: str) -> list[int]:
    # a class with a name is also called by its number
    numbers = {str(label): label for label in known}
    numbers |= {str(called): label for label, called in known.items()}
    if unknown := [label for label in classes if str(label) not in numbers]:
        unknown = sorted(unknown, key=str)
        raise DataError(f"{name}: got the classes {unknown}; allowed: {list(known.values())}")
    return [numbers[str(label)] for label in classes]


def _domain(
    splits: dict[str, Split],
    classes: tuple[int, ...],
    names: tuple[str, ...],
    confidence: Tensor | None,
) -> Domain:
    arrays = [tensor.numpy() for part in splits.values() for tensor in (part.images, part.labels)]
    if confidence is not None:
        arrays.append(confidence.numpy())
    text = f"domain {names}" if names else "domain"
    return Domain(splits, classes, content_hash(text, arrays), names, confidence)


def _transformed(
    splits: dict[str, Split], transform: nn.Module | list[nn.Module], name: str, learn: bool
) -> dict[str, Split]:
    if isinstance(transform, list):
        for one in transform:
            splits = _transformed(splits, one, name, learn)
        return splits
    if learn and any(isinstance(part, Learning) for part in transform.modules()):
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            _learnt(transform, splits["train"].images.clone())
    return {key: _applied(transform, split, name) for key, split in splits.items()}


def _learnt(transform: nn.Module, examples: Tensor) -> Tensor:
    # in a sequence each part learns from what the parts before it make of the examples
    if isinstance(transform, nn.Sequential):
        for part in transform:
            examples = _learnt(part, examples)
        return examples
    if isinstance(transform, Learning):
        transform.learn(examples)
    result: Tensor = transform(examples)
    return result


def _applied(transform: nn.Module, split: Split, name: str) -> Split:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        first, second = transform(split.images.clone()), transform(split.images.clone())
    name = f"{name}: transform {type(transform).__name__}"
    if not isinstance(first, Tensor):
        raise DataError(f"{name} gave a {type(first).__name__}; it must give a tensor of examples")
    if not torch.equal(first, second):
        raise DataError(
            f"{name} gave two results for the same examples; give it a fixed seed of its own, "
            "so that the particles are fixed"
        )
    return split._replace(images=first)


def check_split(split: Split, name: str) -> None:
    """Refuse examples and labels that are not what the networks take.

    Args:
        split: examples and labels.
        name: what they are called in errors.

    Raises:
        DataError: if types, shapes or values are not those of a :class:`Split`.
    """
    images, labels = split
    if images.dtype != torch.float32 or images.ndim < 2:
        raise DataError(
            f"{name}: got examples of {images.dtype} and shape {tuple(images.shape)}; allowed: "
            "torch.float32 of shape (n, columns), (n, channels, height, width) or any other"
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{name}: got labels of {labels.dtype} and shape {tuple(labels.shape)}; "
            f"allowed: torch.int64 of shape ({len(images)},)"
        )
    if len(images) == 0:
        raise DataError(f"{name}: got no examples; give it at least one of each class")
    if not torch.isfinite(images).all():
        where = (~torch.isfinite(images)).nonzero()[0].tolist()
        raise DataError(
            f"{name}: got the value {float(images[tuple(where)])} in example {where[0]} at "
            f"{where[1:]}; allowed: finite numbers; leave the example out, or fill the gap"
        )


def _selected(split: Split, classes: list[int], name: str) -> Split:
    for label in classes:
        if not (split.labels == label).any():
            raise DataError(
                f"{name}: class {label} has no examples; leave it out of classes or split otherwise"
            )
    chosen = torch.isin(split.labels, torch.tensor(classes))
    images, labels = split.images[chosen].contiguous(), split.labels[chosen].contiguous()
    return Split(images, labels)


def _kept(waypoint: Waypoint, classes: Sequence[int]) -> dict[int, int | None]:
    if isinstance(waypoint.per_class, list):
        return dict(zip(classes, waypoint.per_class, strict=True))
    return dict.fromkeys(classes, waypoint.per_class)


def _chosen(split: Split, kept: dict[int, int | None], choice: int) -> IntArray:
    chosen = []
    for label, number in kept.items():
        index = np.flatnonzero(split.labels == label)
        # a stream for each class, so that it does not matter which other classes there are
        rng = np.random.default_rng([choice, *([label] if label >= 0 else [-label, 1])])
        chosen.append(rng.permutation(index)[:number])
    return np.sort(np.concatenate(chosen))
