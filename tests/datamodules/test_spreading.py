"""Labels over a graph: against dense linear algebra, and as domains and particles have them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from thermo_pl.datamodules import Digits, InterpolatedDataModule, Waypoint
from thermo_pl.datamodules.domains import check_waypoints, load_domains
from thermo_pl.datamodules.spreading import (
    LEAK,
    NEIGHBOURS,
    neighbour_weights,
    potentials,
    spread_labels,
)
from thermo_pl.errors import ConfigError, DataError

FEW = Waypoint([5, 6, 7, 8, 9], per_class=3, choice=1, labels="spread")


def two_moons(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of two bows that lie in each other, and the bow of each."""
    rng = np.random.default_rng(0)
    angle, bow = np.pi * rng.random(n), np.arange(n) % 2
    x = np.where(bow, 1 - np.cos(angle), np.cos(angle))
    y = np.where(bow, 0.5 - np.sin(angle), np.sin(angle))
    return np.stack([x, y], 1) + 0.04 * rng.standard_normal((n, 2)), bow


def test_potentials_are_those_of_dense_linear_algebra() -> None:
    points, bow = two_moons(60)
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    near = np.argsort(distance, axis=1)[:, 1 : NEIGHBOURS + 1]
    dense = np.zeros_like(distance)
    for i, others in enumerate(near):
        dense[i, others] = np.exp(-4 * (distance[i, others] / distance[i, others].max()) ** 2)
    dense += dense.T
    weights = neighbour_weights(points)
    np.testing.assert_allclose(weights.toarray(), dense, rtol=1e-12, atol=1e-15)
    source = np.zeros((60, 2))
    source[[0, 1, 2], bow[[0, 1, 2]]] = 1
    source[[0, 1, 2]] -= source[[0, 1, 2]].mean(0)
    degrees = np.diag(dense.sum(1))
    expected = np.linalg.solve((1 + LEAK) * degrees - dense, source)
    np.testing.assert_allclose(potentials(weights, source), expected, rtol=1e-5, atol=1e-9)
    # without the leak: the solution of the singular system that has no mean in the degrees
    free = np.linalg.pinv(degrees - dense) @ source
    free -= (dense.sum(1) @ free) / dense.sum()
    np.testing.assert_allclose(potentials(weights, source), free, atol=1e-3 * np.abs(free).max())


def test_labels_follow_the_shape_of_the_data_and_not_their_distance() -> None:
    points, bow = two_moons(400)
    given = np.array([0, 1])
    spread, sure = spread_labels(points, given, np.array([7, 4])[bow[given]])
    assert (spread == np.array([7, 4])[bow]).all()
    nearest = np.linalg.norm(points[:, None] - points[given], axis=-1).argmin(1)
    assert (nearest != bow).mean() > 0.1
    assert sure.min() > 0
    assert (sure[given] == 1).all()


def test_a_part_of_the_graph_has_the_labels_within_it() -> None:
    rng = np.random.default_rng(0)
    far = np.concatenate([50 * k + rng.standard_normal((20, 3)) for k in range(4)])
    spread, sure = spread_labels(far, np.array([0, 25, 26, 45]), np.array([0, 1, 1, 2]))
    assert spread.tolist() == [0] * 20 + [1] * 20 + [2] * 20 + spread.tolist()[60:]
    assert (sure[:60] > 0).all()
    assert (sure[60:] == 0).all()  # no label reaches them


def test_a_waypoint_keeps_all_images_and_the_labels_that_are_given() -> None:
    full, few, spread = load_domains([
        Waypoint(FEW.classes),
        Waypoint(FEW.classes, per_class=3, choice=1),
        FEW,
    ])
    assert torch.equal(spread.splits["train"].images, full.splits["train"].images)
    for split in ("val", "test"):
        assert torch.equal(spread.splits[split].labels, full.splits[split].labels)
    assert spread.confidence is not None
    kept = {image.numpy().tobytes() for image in few.splits["train"].images}
    given = [image.numpy().tobytes() in kept for image in full.splits["train"].images]
    right = spread.splits["train"].labels == full.splits["train"].labels
    assert right[given].all()
    assert (spread.confidence[given] == 1).all()
    assert sum(given) == 15
    # what is sure is right more often
    assert right.double().mean() > 0.93
    assert right[spread.confidence == 1].double().mean() > right.double().mean()
    assert (spread.confidence == 1).double().mean() > 0.9
    assert len({full.fingerprint, few.fingerprint, spread.fingerprint}) == 3


def test_particles_count_by_confidence_and_classes_keep_their_mass(
    datamodule: Callable[..., InterpolatedDataModule],
) -> None:
    data = datamodule(Waypoint([0, 1, 2, 3, 4]), FEW)
    leg = data.coupling("train", 0)
    particles = leg.all()
    per_class = torch.einsum("n,nk->k", leg.mass, particles.source_label.double())
    torch.testing.assert_close(per_class, torch.full((5,), 0.2, dtype=torch.float64))
    assert torch.equal(particles.source_label, particles.target_label)
    # an image of the target has its confidence as its mass, up to a factor for its class; at rest,
    # too
    (domain,) = load_domains([FEW])
    assert domain.confidence is not None
    sure, first = domain.confidence, domain.splits["train"].labels == 5
    moving = torch.zeros_like(sure).index_add_(0, leg._cols, leg.mass)
    for mass in (moving, datamodule(FEW).coupling("train", 0).mass):
        ratio = mass[first] / sure[first]
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    # held-out images count alike
    held, labels = data.coupling("test", 0), domain.splits["test"].labels
    mass = torch.zeros(len(labels), dtype=torch.float64).index_add_(0, held._cols, held.mass)
    torch.testing.assert_close(5 * mass, 1 / torch.bincount(labels)[labels].double())


def test_what_spreading_needs() -> None:
    with pytest.raises(ConfigError, match=r"waypoints\[0\].labels: got 'spread'; .* per_class"):
        check_waypoints([Waypoint([5, 6], labels="spread")])
    with pytest.raises(ConfigError, match=r"labels: got 'poisson'; allowed: given, spread"):
        check_waypoints([Waypoint([5, 6], per_class=1, labels="poisson")])  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"labels: got spread, and labels of the class .6. alone"):
        load_domains([Waypoint([6], Digits(), per_class=1, labels="spread")])
    with pytest.raises(DataError, match="labels: got spread, and 10 examples; allowed: more than"):
        spread_labels(np.zeros((10, 2)), np.array([0, 1]), np.array([0, 1]))
