"""From domains to legs: couplings of all splits, and the labels that particles carry."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from thermo_pl.datamodules.coupled import CoupledImages, at_rest
from thermo_pl.datamodules.domains import Domain
from thermo_pl.datamodules.sources import SPLITS
from thermo_pl.errors import DataError
from thermo_pl.progress import stage
from thermo_pl.transport.cache import ArrayCache, content_hash
from thermo_pl.transport.couplings import DEFAULTS, Transport, exact_coupling
from thermo_pl.transport.matching import match_classes, matched_coupling

LabelMode = Literal["matched", "ordered", "soft"]
LABEL_MODES: tuple[LabelMode, ...] = ("matched", "ordered", "soft")


@dataclass(frozen=True, eq=False)
class DataPath:
    """The legs of a path, ready to be drawn from.

    Attributes:
        legs: by split, the pairs of each leg.
        class_names: a name for each class index.
        fingerprint: hash of the domains and of the labels their particles carry.
        closed: whether the last domain is the first one.
    """

    legs: dict[str, list[CoupledImages]]
    class_names: list[str]
    fingerprint: str
    closed: bool


def build_path(
    domains: Sequence[Domain],
    labels: LabelMode,
    cache: ArrayCache,
    orders: Sequence[Sequence[int] | None] | None = None,
    transport: Transport = DEFAULTS,
) -> DataPath:
    """Couple consecutive domains and settle the labels of their particles.

    In all label modes the labels of the target domains are used too.

    Args:
        domains: the domains; a single one is coupled with itself by the identity.
        labels: "matched", "ordered" or "soft".
        cache: where couplings are kept.
        orders: with "ordered" the classes of each domain in the order that they correspond in;
            sorted where there is none.
        transport: what the computation of plans may take.

    Returns:
        The path.

    Raises:
        DataError: if the classes cannot be matched, or a path that returns to a domain brings a
            class back with another label.
        TransportError: if a coupling fails its checks.
    """
    matchings: list[dict[int, int]] | None = None
    if labels != "soft":
        matchings = (
            [_match(leg, a, b, cache, transport) for leg, (a, b) in enumerate(pairwise(domains))]
            if labels == "matched"
            else _ordered(domains, orders or [None] * len(domains))
        )
        indices, names = _carried_labels(domains, matchings)
    else:
        indices, names = _union_labels(domains)
    legs = {
        split: _legs(domains, split, matchings, indices, len(names), cache, transport)
        for split in SPLITS
    }
    closed = domains[0].fingerprint == domains[-1].fingerprint
    return DataPath(legs, names, _fingerprint(domains, labels, indices), closed)


def _match(
    leg: int, a: Domain, b: Domain, cache: ArrayCache, transport: Transport
) -> dict[int, int]:
    # Held-out images must not choose their own labels: the matching of train holds for all splits.
    (x_a, y_a), (x_b, y_b) = (domain.splits["train"] for domain in (a, b))
    most = max(int(np.unique_counts(labels.numpy()).counts.max()) for labels in (y_a, y_b))
    size, count = transport.matching_points, len(a.classes) * len(b.classes)
    approximate = f", approximate: 2 samples of {size} images of each" if most > size else ""
    with stage(f"matching of classes, leg {leg}{approximate}", 2 * count if approximate else count):
        found = match_classes(
            x_a.numpy(),
            y_a.numpy(),
            x_b.numpy(),
            y_b.numpy(),
            a.classes,
            b.classes,
            cache,
            transport,
        )
    renamed = [f"{x}→{y}" for x, y in found.items() if x != y]
    if renamed and a.classes == b.classes:
        warnings.warn(
            f"labels: matched gives classes another name on leg {leg}, although its domains have "
            f"the same ones: {', '.join(renamed)}. Accuracies count the new name as right. With "
            "labels: ordered every class keeps its name; labels: soft looks at no label",
            stacklevel=2,
        )
    return found


def _ordered(
    domains: Sequence[Domain], orders: Sequence[Sequence[int] | None]
) -> list[dict[int, int]]:
    # the first class of one domain goes with the first of the next, and so on
    lists = [order or domain.classes for domain, order in zip(domains, orders, strict=True)]
    sizes = [len(order) for order in lists]
    if len(set(sizes)) > 1:
        raise DataError(
            f"labels: got ordered, and waypoints of {sizes} classes; allowed: as many in each"
        )
    return [dict(zip(a, b, strict=True)) for a, b in pairwise(lists)]


def _carried_labels(
    domains: Sequence[Domain], matchings: Sequence[Mapping[int, int]]
) -> tuple[list[dict[int, int]], list[str]]:
    # The label index of each class of each domain, and names such as "0→5". Labels are the indices
    # of the first domain's sorted classes, carried along by the matchings.
    indices = [{label: index for index, label in enumerate(domains[0].classes)}]
    for matching in matchings:
        indices.append({b: indices[-1][a] for a, b in matching.items()})
    _check_returns(domains, indices)
    inverse = [{index: label for label, index in mapping.items()} for mapping in indices]
    names = ["→".join(str(names[index]) for names in inverse) for index in range(len(indices[0]))]
    return indices, names


def _check_returns(domains: Sequence[Domain], indices: Sequence[Mapping[int, int]]) -> None:
    first: dict[str, int] = {}
    for number, domain in enumerate(domains):
        earlier = first.setdefault(domain.fingerprint, number)
        for label in domain.classes:
            if indices[number][label] != indices[earlier][label]:
                raise DataError(
                    f"waypoints[{number}] is the same domain as waypoints[{earlier}], but its "
                    f"class {label} comes back with the label of class "
                    f"{_class_of(indices[earlier], indices[number][label])}; choose waypoints "
                    "whose matchings lead back, or declare the matching by the order of the "
                    "classes, with labels: ordered"
                )


def _class_of(mapping: Mapping[int, int], index: int) -> int:
    return next(label for label, value in mapping.items() if value == index)


def _union_labels(domains: Sequence[Domain]) -> tuple[list[dict[int, int]], list[str]]:
    # The label index of each class of each domain, among the sorted classes of all of them.
    union = sorted({label for domain in domains for label in domain.classes})
    mapping = {label: index for index, label in enumerate(union)}
    return [mapping] * len(domains), [str(label) for label in union]


def _legs(
    domains: Sequence[Domain],
    split: str,
    matchings: Sequence[Mapping[int, int]] | None,
    indices: Sequence[Mapping[int, int]],
    n_classes: int,
    cache: ArrayCache,
    transport: Transport,
) -> list[CoupledImages]:
    parts = [domain.splits[split] for domain in domains]
    labels = [
        one_hot(_relabelled(part.labels, mapping), n_classes).to(torch.float32)
        for part, mapping in zip(parts, indices, strict=True)
    ]
    if len(domains) == 1:
        (x, _), (y,) = parts[0], labels
        return [at_rest(x, y)]
    legs = []
    for leg in range(len(domains) - 1):
        (x_a, y_a), (x_b, y_b) = parts[leg], parts[leg + 1]
        label = f"coupling, leg {leg}, {split}, {len(x_a)} × {len(x_b)} images"
        with stage(label, 1 if matchings is None else len(matchings[leg])):
            coupling = (
                exact_coupling(x_a.numpy(), x_b.numpy(), cache, transport)
                if matchings is None
                else matched_coupling(
                    x_a.numpy(),
                    y_a.numpy(),
                    x_b.numpy(),
                    y_b.numpy(),
                    matchings[leg],
                    cache,
                    transport,
                )
            )
        legs.append(CoupledImages(x_a, x_b, labels[leg], labels[leg + 1], coupling))
    return legs


def _relabelled(labels: Tensor, mapping: Mapping[int, int]) -> Tensor:
    classes = sorted(mapping)
    table = torch.tensor([mapping[label] for label in classes])
    return table[torch.searchsorted(torch.tensor(classes), labels)]


def _fingerprint(
    domains: Sequence[Domain], labels: str, indices: Sequence[Mapping[int, int]]
) -> str:
    # Of the domains and labels, not of the plans: among plans of equal cost the solver may choose
    # otherwise on another machine, and the state of the path would still mean the same.
    text = f"path {labels} {[domain.fingerprint for domain in domains]}"
    tables = [np.array(sorted(mapping.items()), dtype=np.int64) for mapping in indices]
    return content_hash(text, tables)
