"""Gaussian and finite domains: against POT, scipy's matrix roots and torch's entropies."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import ot
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from torch import Tensor
from torch.distributions import Categorical, MultivariateNormal

from support.trainers import trainer
from thermo_pl.datamodules import FiniteAlphabet, GaussianDomains
from thermo_pl.errors import ConfigError, DataError
from thermo_pl.particles import Batch, interpolate

Matrix = NDArray[np.float64]
TIMES = [0.0, 0.3, 1.0]
D, M = 3, 2
LABEL_MAP = np.array([[1.0, 0.3, -0.2], [0.1, -0.8, 0.4]])
LABEL_NOISE = np.array([[0.125, 0.02], [0.02, 0.2]])
few = settings(max_examples=15, deadline=None)  # milliseconds each, on a machine that is shared


def covariance(seed: int, d: int = D) -> Matrix:
    """A random covariance with eigenvalues of order one, none below 0.2."""
    a = np.random.default_rng(seed).standard_normal((d, 2 * d))
    return a @ a.T / (2 * d) + 0.2 * np.eye(d)


def gaussians(*seeds: int, **changes: Any) -> GaussianDomains:
    arguments: dict[str, Any] = {
        "covariances": [covariance(seed).tolist() for seed in seeds],
        "label_map": LABEL_MAP.tolist(),
        "label_noise": LABEL_NOISE.tolist(),
    }
    return GaussianDomains(**(arguments | changes))


def batch_at(data: Any, split: str, t: float) -> Batch:
    return interpolate(data.coupling(split).all(), t)


def second_moment(batch: Batch) -> Matrix:
    x, share = batch.x.flatten(1), batch.weight / batch.weight.sum()
    moment: Matrix = (x.T @ (share[:, None] * x)).numpy()
    return moment


def bures_geodesic(a: Matrix, b: Matrix, t: float) -> Matrix:
    """The covariance at t by scipy's matrix roots, in the form of McCann's barycentre.

    With C = (a b)^½, whose square is the product, S_t = (1-t)² a + t² b + t(1-t)(C + Cᵀ).
    """
    cross = np.real(sqrtm(a @ b))
    result: Matrix = (1 - t) ** 2 * a + t**2 * b + t * (1 - t) * (cross + cross.T)
    return result


@few
@given(st.integers(0, 10_000), st.sampled_from(TIMES))
def test_points_have_the_second_moments_of_the_geodesic(seed: int, t: float) -> None:
    data = gaussians(seed, seed + 1)
    expected = bures_geodesic(covariance(seed), covariance(seed + 1), t)
    for split in ("train", "val", "test"):
        batch = batch_at(data, split, t)
        assert second_moment(batch) == pytest.approx(expected, rel=0, abs=1e-11)
        # and the mean, and with it all odd moments, is zero
        assert batch.x.mean(0).abs().max() < 1e-13


@few
@given(st.integers(0, 10_000))
def test_the_pairs_are_an_optimal_plan(seed: int) -> None:
    coupling = gaussians(seed, seed + 1).coupling("train")
    pairs = coupling.all()
    source, target = (part.flatten(1).numpy() for part in (pairs.source, pairs.target))
    cost = ot.dist(source, target)
    uniform = np.full(len(source), 1 / len(source))
    best = float((ot.emd(uniform, uniform, cost) * cost).sum())
    paired = float((coupling.mass.numpy() * np.diag(cost)).sum())
    zero = np.zeros(D)
    ends = covariance(seed), covariance(seed + 1)
    between = ot.gaussian.bures_wasserstein_distance(zero, zero, *ends) ** 2
    assert paired == pytest.approx(best, rel=1e-10)
    assert paired == pytest.approx(between, rel=1e-10)
    assert coupling.cost == pytest.approx(between, rel=1e-10)


@pytest.mark.parametrize("t", TIMES)
def test_labels_follow_the_points(t: float) -> None:
    batch = batch_at(gaussians(1, 2), "train", t)
    expected = batch.x.flatten(1).numpy() @ LABEL_MAP.T
    assert batch.y.numpy() == pytest.approx(expected, rel=0, abs=1e-13)
    assert np.abs(expected).max() > 0.1


def test_several_legs_follow_each_other() -> None:
    data = gaussians(1, 2, 3)
    assert data.n_legs == 2
    data.setup("fit")
    for leg, ends in enumerate(((1, 2), (2, 3))):
        data.move_to(leg, 0.3)
        expected = bures_geodesic(covariance(ends[0]), covariance(ends[1]), 0.3)
        assert second_moment(batch_at(data, "train", 0.3)) == pytest.approx(expected, abs=1e-11)
        assert data.data_entropy(labels=False) == pytest.approx(entropy(expected), rel=1e-12)
    with pytest.raises(ConfigError, match="leg: got 2; allowed: an integer from 0 to 1"):
        data.move_to(2, 0.0)


def test_a_single_gaussian_does_not_move() -> None:
    data = gaussians(1)
    assert data.n_legs == 1
    pairs = data.coupling("train").all()
    # the transport map of a covariance to itself is the unit matrix up to rounding
    torch.testing.assert_close(pairs.source, pairs.target, rtol=0, atol=1e-13)
    assert data.coupling("train").cost == pytest.approx(0, abs=1e-25)
    data.move_to(0, 0.7)
    assert data.data_entropy(labels=False) == pytest.approx(entropy(covariance(1)), rel=1e-12)


def entropy(matrix: Matrix) -> float:
    normal = MultivariateNormal(torch.zeros(len(matrix)).double(), torch.tensor(matrix))
    return float(normal.entropy())


@pytest.mark.parametrize("t", TIMES)
def test_the_entropy_of_gaussians_is_that_of_torch(t: float) -> None:
    data = gaussians(1, 2)
    data.move_to(0, t)
    here = bures_geodesic(covariance(1), covariance(2), t)
    assert data.data_entropy(labels=False) == pytest.approx(entropy(here), rel=1e-11)
    # of (x, y) from the joint covariance, which knows nothing of the chain rule
    cross = here @ LABEL_MAP.T
    joint = np.block([[here, cross], [cross.T, LABEL_MAP @ cross + LABEL_NOISE]])
    assert data.data_entropy(labels=True) == pytest.approx(entropy(joint), rel=1e-11)


def test_sizes_of_gaussians() -> None:
    data = gaussians(1, 2)
    assert (data.image_shape, data.n_classes, data.class_names) == ((1, 1, D), M, [])
    pairs = data.coupling("train").all()
    assert pairs.source.shape == (2 * D, 1, 1, D)
    assert pairs.source_label.shape == (2 * D, M)
    assert pairs.source.dtype == torch.float64
    assert torch.equal(pairs.weight, torch.ones(2 * D).double())


def test_every_training_batch_is_all_of_the_points() -> None:
    data = gaussians(1, 2, train_batches=3)
    data.move_to(0, 0.3)
    batches = list(data.train_dataloader())
    assert len(batches) == 3
    for particles in batches:
        batch = data.on_after_batch_transfer(particles, 0)
        assert torch.equal(batch.x, batch_at(data, "train", 0.3).x)
    for loader in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        (particles,) = loader
        assert torch.equal(particles.source, batches[0].source)


def test_the_fingerprint_tells_paths_apart() -> None:
    def path(*seeds: int, **changes: Any) -> Any:
        data = gaussians(*seeds, **changes)
        data.setup("fit")
        return data.state_dict()["path"]

    assert path(1, 2) == path(1, 2)
    others = [path(2, 1), path(1), path(1, 2, label_map=(2 * LABEL_MAP).tolist())]
    assert len({path(1, 2), *others}) == 4


# --- finite alphabets ---

P_X = [0.3, 0.15, 0.2, 0.1, 0.25]
P_Y_GIVEN_X = [[0.95, 0.05], [0.7, 0.3], [0.4, 0.6], [0.3, 0.7], [0.0, 1.0]]


def test_gaussians_are_closed_if_they_end_where_they_began() -> None:
    assert gaussians(1).closed
    assert gaussians(1, 2, 1).closed
    assert not gaussians(1, 2).closed
    assert not gaussians(1, 2, 3).closed


def alphabet(**changes: Any) -> FiniteAlphabet:
    return FiniteAlphabet(**({"p_x": P_X, "p_y_given_x": P_Y_GIVEN_X} | changes))


def test_every_batch_is_the_whole_alphabet_with_its_probabilities() -> None:
    data = alphabet(train_batches=2)
    data.setup("fit")
    train = list(data.train_dataloader())
    assert len(train) == 2
    for particles in (*train, *data.val_dataloader(), *data.test_dataloader()):
        batch = data.on_after_batch_transfer(particles, 0)
        assert torch.equal(batch.x.flatten(1), torch.eye(5).double())
        assert torch.equal(batch.y, torch.tensor(P_Y_GIVEN_X, dtype=torch.float64))
        share = batch.weight / batch.weight.sum()
        assert share.tolist() == pytest.approx(P_X, rel=1e-14)
    assert (data.image_shape, data.n_classes, data.class_names) == ((1, 1, 5), 2, [])


@pytest.mark.parametrize("t", TIMES)
def test_letters_do_not_move(t: float) -> None:
    data = alphabet()
    start, here = batch_at(data, "train", 0.0), batch_at(data, "train", t)
    assert torch.equal(start.x, here.x)
    assert torch.equal(start.y, here.y)
    assert data.coupling("train").cost == 0


def test_the_entropy_of_the_alphabet_is_that_of_torch() -> None:
    data = alphabet()
    p_x = torch.tensor(P_X, dtype=torch.float64)
    rows = torch.tensor(P_Y_GIVEN_X, dtype=torch.float64)
    # torch clamps the zero at 2e-16, which is -log of it less than 1e-14
    letters = Categorical(probs=p_x).entropy().item()
    labels = (p_x @ Categorical(probs=rows).entropy()).item()
    assert data.data_entropy(labels=False) == pytest.approx(letters, rel=1e-12)
    assert data.data_entropy(labels=True) == pytest.approx(letters + labels, rel=1e-12)


@few
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6), st.integers(0, 1000))
def test_any_distribution_is_a_domain(masses: list[float], seed: int) -> None:
    p_x = (np.array(masses) / sum(masses)).tolist()
    rows = np.random.default_rng(seed).dirichlet(np.ones(3), len(p_x)).tolist()
    batch = batch_at(FiniteAlphabet(p_x, rows), "train", 0.5)
    assert (batch.weight / batch.weight.sum()).tolist() == pytest.approx(p_x, rel=1e-12)
    assert batch.y.tolist() == rows


def test_draws_of_letters_have_their_frequencies() -> None:
    n = 20_000
    drawn = alphabet().draw("train", n, torch.Generator().manual_seed(0))
    assert torch.equal(drawn.weight, torch.ones(n).double())
    for found, p in zip(drawn.source.flatten(1).mean(0).tolist(), P_X, strict=True):
        assert abs(found - p) < 5 * math.sqrt(p * (1 - p) / n)  # five standard errors


# --- both ---

MADE: list[Callable[[], Any]] = [lambda: gaussians(1, 2), alphabet]


@pytest.mark.parametrize("make", MADE, ids=["Gaussian", "finite"])
def test_the_place_on_the_path_is_saved(make: Callable[[], Any]) -> None:
    data, again = make(), make()
    data.setup("fit")
    data.move_to(0, 0.4)
    again.load_state_dict(data.state_dict())
    again.setup("fit")
    assert (again.leg, again.t) == (0, 0.4)
    other = gaussians(5, 6) if isinstance(data, GaussianDomains) else alphabet(p_x=P_X[::-1])
    other.load_state_dict(data.state_dict())
    with pytest.raises(DataError, match="saved on another path"):
        other.setup("fit")


class Wide(pl.LightningModule):
    """Keeps the batches that a trainer in float64 hands to a model."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[Tensor] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen.append(batch.x.clone())
        return self.weight**2

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_trainer_passes_all_digits_on(tmp_path: Any) -> None:
    data, model = gaussians(1, 2, train_batches=1), Wide()
    data.move_to(0, 0.3)
    trainer(tmp_path, precision="64-true").fit(model, datamodule=data)
    assert torch.equal(model.seen[0], batch_at(data, "train", 0.3).x)


EYE = np.eye(D).tolist()
# what is given in place of one argument, and what is said after its name
GAUSSIAN: list[tuple[str, Any, str]] = [
    ("covariances", [], ": got []; allowed: one or more matrices"),
    ("covariances", [EYE, [[1.0]]], ": got 'sizes [3, 1]'; allowed: matrices of one size"),
    ("covariances", [[[1.0, 2.0]]], "[0]: got shape (1, 2)"),
    ("covariances", [[[1.0, 2.0], [3.0]]], "[0]: got 'rows of [2, 1] numbers'; allowed: rows of"),
    ("covariances", [[]], "[0]: got 'rows of [] numbers'; allowed"),
    ("covariances", [EYE, (-np.eye(D)).tolist()], "[1]: eigenvalues from -1 to -1"),
    ("covariances", [[[1.0, 0.5], [0.0, 1.0]]], "[0]: differs from its transpose by 0.5"),
    ("label_noise", [[1.0], [0.0, 1.0]], ": got 'rows of [1, 2] numbers'; allowed: rows of one"),
    ("label_noise", [[1.0]], ": got '1 rows'; allowed: 2, as label_map has"),
    ("label_noise", [[1.0, 0], [0, -1.0]], ": eigenvalues from -1"),
    ("label_map", [], ": got 'rows of [] numbers'; allowed: rows of 3"),
    ("label_map", [[1.0, 2.0]], ": got 'rows of [2] numbers'; allowed: rows of 3 numbers"),
    ("train_batches", 0, ": got 0; allowed: an integer from 1"),
]
HALF = [[0.5, 0.5], [0.5, 0.5]]
ALPHABET: list[tuple[list[float], Any, str]] = [
    ([0.5, 0.5], P_Y_GIVEN_X, "p_y_given_x: got"),
    ([], [], "p_y_given_x: got []"),
    ([1.0], [[1.0]], "p_y_given_x: got [[1.0]]; allowed: 1 rows"),
    ([0.5, 0.6], HALF, "p_x: got [0.5, 0.6]; allowed: numbers ≥ 0 that sum to 1"),
    ([0.0, 1.0], HALF, "p_x: got [0.0, 1.0]; allowed: numbers > 0: leave out the others"),
    ([1.0], [[1.5, -0.5]], "p_y_given_x: got [[1.5, -0.5]]; allowed: numbers ≥ 0 that sum to 1"),
    ([0.5, 0.5], [[0.5, 0.5], [1.0]], "p_y_given_x: got [[0.5, 0.5], [1.0]]; allowed: 2 rows of"),
]
REFUSED: list[tuple[Callable[[], Any], str]] = [
    *((partial(gaussians, 1, **{name: value}), name + said) for name, value, said in GAUSSIAN),
    *((partial(FiniteAlphabet, p_x, p_y), said) for p_x, p_y, said in ALPHABET),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_mistake_is_told_in_one_line(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=re.escape(message)) as caught:
        make()
    assert "\n" not in str(caught.value)
