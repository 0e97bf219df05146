"""From domains to legs: couplings of all splits, and the labels that particles carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from thermo_pl.datamodules.coupled import CoupledImages
from thermo_pl.datamodules.domains import Domain
from thermo_pl.datamodules.sources import SPLITS
from thermo_pl.errors import DataError
from thermo_pl.progress import stage
from thermo_pl.transport.cache import ArrayCache, content_hash
from thermo_pl.transport.couplings import (
    DEFAULTS,
    Coupling,
    Transport,
    exact_coupling,
    identity_coupling,
)
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
    orders: Sequence[Sequence[int]] | None = None,
    transport: Transport = DEFAULTS,
) -> DataPath:
    """Couple consecutive domains and settle the labels of their particles.

    In all label modes the labels of the target domains are used too.

    Args:
        domains: the domains; a single one is coupled with itself by the identity.
        labels: "matched", "ordered" or "soft".
        cache: where couplings are kept.
        orders: with "ordered" the classes of each domain in the order that they correspond in;
            sorted if not given.
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
            [_matched(leg, a, b, cache, transport) for leg, (a, b) in enumerate(pairwise(domains))]
            if labels == "matched"
            else _ordered(orders or [domain.classes for domain in domains])
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


def _matched(
    leg: int, a: Domain, b: Domain, cache: ArrayCache, transport: Transport
) -> dict[int, int]:
    found = _match(leg, a, b, cache, transport)
    names = [(a.name(one), b.name(other)) for one, other in found.items()]
    changed = [f"{one}→{other}" for one, other in names if one != other]
    if changed and {one for one, _ in names} == {other for _, other in names}:
        raise DataError(
            f"labels: got matched on leg {leg}, whose two domains have the same classes, and the "
            f"cheapest matching gives {len(changed)} of them another name ({', '.join(changed)}); "
            "allowed: ordered, by which each class stays what it is, or goes where the order of "
            "classes in the waypoints says; or soft"
        )
    return found


def _match(
    leg: int, a: Domain, b: Domain, cache: ArrayCache, transport: Transport
) -> dict[int, int]:
    # Held-out images must not choose their own labels: the matching of train holds for all splits.
    (x_a, y_a), (x_b, y_b) = (domain.splits["train"] for domain in (a, b))
    most = max(int(torch.unique(y, return_counts=True)[1].max()) for y in (y_a, y_b))
    size, count = transport.matching_points, len(a.classes) * len(b.classes)
    approximate = f", approximate: 2 samples of {size} examples of each" if most > size else ""
    with stage(f"matching of classes, leg {leg}{approximate}", 2 * count if approximate else count):
        return match_classes(
            x_a.numpy(),
            y_a.numpy(),
            x_b.numpy(),
            y_b.numpy(),
            a.classes,
            b.classes,
            cache,
            transport,
        )


def _ordered(orders: Sequence[Sequence[int]]) -> list[dict[int, int]]:
    # the first class of one domain goes with the first of the next, and so on
    sizes = [len(order) for order in orders]
    if len(set(sizes)) > 1:
        raise DataError(
            f"labels: got ordered, and waypoints of {sizes} classes; allowed: as many in each"
        )
    return [dict(zip(a, b, strict=True)) for a, b in pairwise(orders)]


def _carried_labels(
    domains: Sequence[Domain], matchings: Sequence[Mapping[int, int]]
) -> tuple[list[dict[int, int]], list[str]]:
    # The label index of each class of each domain, and names such as "0→5". Labels are the indices
    # of the first domain's sorted classes, carried along by the matchings.
    indices = [{label: index for index, label in enumerate(domains[0].classes)}]
    for matching in matchings:
        indices.append({b: indices[-1][a] for a, b in matching.items()})
    _check_returns(domains, indices)
    inverse = [
        {index: domain.name(label) for label, index in mapping.items()}
        for domain, mapping in zip(domains, indices, strict=True)
    ]
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
                    f"class {domain.name(label)} comes back with the label of class "
                    f"{domain.name(_class_of(indices[earlier], indices[number][label]))}; choose "
                    "waypoints whose matchings lead back, or declare the matching by the order of "
                    "the classes, with labels: ordered"
                )


def _class_of(mapping: Mapping[int, int], index: int) -> int:
    return next(label for label, value in mapping.items() if value == index)


def _union_labels(domains: Sequence[Domain]) -> tuple[list[dict[int, int]], list[str]]:
    # The label index of each class of each domain, among the sorted classes of all of them.
    # by name: the numbers of names are those of one source.
    names = [{label: domain.name(label) for label in domain.classes} for domain in domains]
    union = sorted({name for each in names for name in each.values()}, key=_numbers_first)
    index = {name: number for number, name in enumerate(union)}
    return [{k: index[name] for k, name in each.items()} for each in names], list(map(str, union))


def _numbers_first(name: int | str) -> tuple[bool, int, str]:
    return (False, name, "") if isinstance(name, int) else (True, 0, name)


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
        still = identity_coupling(len(labels[0]))
        if split == "train":
            still = _by_confidence(still, domains[0], domains[0])
        return [CoupledImages(parts[0].images, parts[0].images, labels[0], labels[0], still)]
    legs = []
    for leg in range(len(domains) - 1):
        (x_a, y_a), (x_b, y_b) = parts[leg], parts[leg + 1]
        label = f"coupling, leg {leg}, {split}, {len(x_a)} × {len(x_b)} examples"
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
        if split == "train":
            coupling = _by_confidence(coupling, domains[leg], domains[leg + 1])
        legs.append(CoupledImages(x_a, x_b, labels[leg], labels[leg + 1], coupling))
    return legs


def _by_confidence(plan: Coupling, a: Domain, b: Domain) -> Coupling:
    # A pair counts by the less sure of its two labels. The plan stays that of all images, and each
    # class of the source keeps its mass: no class counts for less because it is harder to tell.
    ends = [
        domain.confidence.numpy()[index]
        for domain, index in ((a, plan.rows), (b, plan.cols))
        if domain.confidence is not None
    ]
    if not ends:
        return plan
    mass = plan.mass * np.min(ends, axis=0)
    group = a.splits["train"].labels.numpy()[plan.rows]
    for label in np.unique(group):
        of_class = group == label
        mass[of_class] *= plan.mass[of_class].sum() / mass[of_class].sum()
    return Coupling(plan.rows, plan.cols, mass, plan.cost)


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
