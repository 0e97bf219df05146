"""Entropies: against closed forms, enumeration of all images, quadrature; the second law."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from scipy.special import digamma, polygamma
from scipy.stats import entropy as scipy_entropy
from scipy.stats import multivariate_normal, norm
from torch import Tensor

import thermo_pl.laws.data_entropy
from support.numbers import generator, randn
from thermo_pl.errors import ConfigError, DataError
from thermo_pl.exact.alphabet import log_partition, rate_distortion_classification
from thermo_pl.exact.distributions import discrete_entropy, divergence
from thermo_pl.laws.data_entropy import (
    binarised_entropy,
    joint_knn_entropy,
    knn_entropy,
)

Masses = npt.NDArray[np.float64]
# 1/q of a subnormal q overflows in older releases of scipy
elements = st.just(0.0) | st.floats(1e-300, 1)
masses = arrays(float, 5, elements=elements).filter(lambda p: p.sum() > 1e-3)


@given(masses, masses)
@settings(deadline=None)  # the first call of torch is slow
def test_discrete_entropy_and_divergence_equal_scipy(p: Masses, q: Masses) -> None:
    p, q = p / p.sum(), q / q.sum()
    found = discrete_entropy(torch.tensor(p)).item()
    assert found == pytest.approx(scipy_entropy(p), abs=1e-13)
    assert -1e-15 <= found <= math.log(5) + 1e-13
    found = divergence(torch.tensor(p), torch.tensor(q)).item()
    assert found == pytest.approx(scipy_entropy(p, q), abs=1e-12)


def test_discrete_entropy_refuses_what_is_no_distribution() -> None:
    for wrong, match in (
        (torch.tensor([0.5, 0.6]).double(), "off by 1.0e-01"),
        (torch.tensor([1.5, -0.5]).double(), "got -0.5"),
        (torch.tensor([math.nan, 1.0]).double(), "nan"),
        (torch.tensor([0.5, 0.5]), "float32"),
    ):
        with pytest.raises(ConfigError, match=match):
            discrete_entropy(wrong)


IMAGES = torch.tensor(
    [
        [[0.1, 0.9, 0.5], [0.3, 0.7, 0.2]],
        [[0.0, 1.0, 0.5], [0.9, 0.1, 0.4]],
        [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]],
        [[0.6, 0.2, 0.0], [0.8, 1.0, 0.5]],
    ],
    dtype=torch.float64,
)
"""Grey images of 2×3 pixels, some black, some white."""
LABELS = torch.tensor([[0.5, 0.3, 0.2], [1, 0, 0], [0, 0, 1], [0.1, 0.8, 0.1]], dtype=torch.float64)
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 4.0], dtype=torch.float64)


def enumerated_entropy(labels: Tensor | None) -> float:
    """H(x, y) by a sum over all 64 black and white images and all classes."""
    labels = torch.ones(4, 1).double() if labels is None else labels
    total = 0.0
    for pixels in product((0, 1), repeat=6):
        ink = torch.tensor(pixels).reshape(2, 3)
        chance = torch.where(ink == 1, IMAGES, 1 - IMAGES).flatten(1).prod(1)
        for p in (WEIGHT / WEIGHT.sum() * chance) @ labels:
            total -= p.item() * math.log(p) if p > 0 else 0
    return total


@pytest.mark.parametrize("labels", [None, LABELS], ids=["x", "x,y"])
@pytest.mark.parametrize("block", [1, 2**22], ids=["row by row", "at once"])
def test_binarised_entropy_is_the_sum_over_all_images(
    labels: Tensor | None, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thermo_pl.laws.data_entropy, "BLOCK", block)
    found = binarised_entropy(IMAGES, labels, WEIGHT, generator(), 2000)
    exact = enumerated_entropy(labels)
    # four standard errors: a correct estimator fails for fewer than 1 in 10⁴ seeds
    assert abs(found.value - exact) < 4 * found.error
    assert found.error < 0.02  # so that the line above can fail


def test_the_standard_error_is_the_spread_of_the_estimates() -> None:
    found = [binarised_entropy(IMAGES, LABELS, WEIGHT, generator(seed), 10) for seed in range(400)]
    value, error = (
        torch.tensor([getattr(each, name) for each in found]) for name in ("value", "error")
    )
    # the variance of 400 numbers is known to 7 %, so the ratio to 14 % at four deviations
    spread = value.std().item() / error.square().mean().sqrt().item()
    assert spread == pytest.approx(1, abs=0.15)
    # and the estimate has no bias
    assert abs(value.mean() - enumerated_entropy(LABELS)) < 4 * value.std() / 20


def test_black_and_white_images_have_the_entropy_of_their_weights() -> None:
    one_hot = torch.eye(4).reshape(4, 2, 2)
    found = binarised_entropy(one_hot, None, WEIGHT, generator(), 2)
    assert found.value == pytest.approx(scipy_entropy(WEIGHT.numpy()), abs=1e-14)
    assert found.error == 0
    # labels add their own entropy to images that tell which they are
    found = binarised_entropy(one_hot, LABELS, WEIGHT, generator(), 2)
    inside = scipy_entropy(LABELS.numpy(), axis=1) @ WEIGHT.numpy() / WEIGHT.sum().item()
    assert found.value == pytest.approx(scipy_entropy(WEIGHT.numpy()) + inside, abs=1e-14)
    assert found.error == 0


def test_equal_images_are_one_image_with_mixed_labels() -> None:
    images = torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    found = binarised_entropy(images, None, torch.ones(3), generator(), 2)
    assert found.value == pytest.approx(scipy_entropy([2, 1]), abs=1e-14)
    found = binarised_entropy(images, labels, torch.ones(3), generator(), 2)
    assert found.value == pytest.approx(math.log(3), abs=1e-14)
    assert found.error == 0


def test_images_of_weight_zero_do_not_count() -> None:
    images = torch.cat([IMAGES, torch.rand(2, 2, 3, generator=generator()).double()])
    labels = torch.cat([LABELS, LABELS[:2]])
    weight = torch.cat([WEIGHT, torch.zeros(2)])
    found = binarised_entropy(images, labels, weight, generator(1), 50)
    assert found == binarised_entropy(IMAGES, LABELS, WEIGHT, generator(1), 50)


def test_single_precision_is_as_good() -> None:
    single = binarised_entropy(IMAGES.float(), LABELS.float(), WEIGHT.float(), generator(), 50)
    double = binarised_entropy(IMAGES, LABELS, WEIGHT, generator(), 50)
    assert single.value == pytest.approx(double.value, abs=1e-5)
    assert single.error == pytest.approx(double.error, abs=1e-5)


@pytest.mark.parametrize(
    ("images", "labels", "weight", "draws", "match"),
    [
        (IMAGES + 0.1, LABELS, WEIGHT, 2, "images"),
        (IMAGES * math.nan, LABELS, WEIGHT, 2, "images"),
        (IMAGES, LABELS[:3], WEIGHT, 2, r"labels: got \(3, 3\)"),
        (IMAGES, LABELS - 0.3, WEIGHT, 2, "labels"),
        (IMAGES, LABELS, WEIGHT[:3], 2, r"weight: got \(3,\)"),
        (IMAGES, LABELS, -WEIGHT, 2, "weight"),
        (IMAGES, LABELS, 0 * WEIGHT, 2, "weight"),
        (IMAGES, LABELS, WEIGHT, 1, "draws: got 1"),
    ],
)
def test_binarised_entropy_refuses_bad_input(
    images: Tensor, labels: Tensor, weight: Tensor, draws: int, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        binarised_entropy(images, labels, weight, generator(), draws)


def test_knn_entropy_is_its_formula_on_all_distances() -> None:
    x, k = randn(50, 2, 3), 4
    distance = cdist(x.flatten(1), x.flatten(1))
    distance.sort(1)
    volume = math.pi**3 / 6  # of the unit ball in six dimensions
    expected = sum(6 * math.log(row[k]) for row in distance) / 50
    expected += digamma(50) - digamma(k) + math.log(volume)
    assert knn_entropy(x, k) == pytest.approx(expected, abs=1e-12)


def knn_errors(n: int, dimension: int, k: int, repeats: int) -> Tensor:
    """Errors of the estimate for independent samples of a correlated Gaussian."""
    mixing = randn(dimension, dimension, seed=1) + 2 * torch.eye(dimension)
    exact = multivariate_normal(cov=(mixing @ mixing.T).numpy()).entropy()
    samples = (randn(n, dimension, seed=100 + seed) @ mixing.T for seed in range(repeats))
    return torch.tensor([knn_entropy(x, k) - exact for x in samples])


@pytest.mark.parametrize("dimension", [1, 2, 3, 4])
@pytest.mark.parametrize("k", [1, 3])
def test_knn_entropy_of_a_gaussian(dimension: int, k: int) -> None:
    errors = knn_errors(2000, dimension, k, 20)
    # four times the spread over samples, of which the bias takes no more than two
    assert errors.abs().max() < 4 * errors.std()
    # which itself is the spread of -log density and of the log volume to the neighbour, at least
    # as if points were independent
    independent = math.sqrt((dimension / 2 + polygamma(1, k)) / 2000)
    assert 0.5 * independent < errors.std() < 2 * independent


def test_joint_knn_entropy_of_a_gaussian_mixture_with_labels() -> None:
    n, share, deviation = 6000, 0.3, 2.5
    labels = (torch.rand(n, generator=generator()) < share).long()
    x = torch.where(labels == 1, deviation, 1.0)[:, None] * randn(n, 2) + labels[:, None]
    exact = scipy_entropy([share, 1 - share]) + 2 * norm.entropy()
    exact += share * 2 * math.log(deviation)
    value = joint_knn_entropy(x, labels, 3)
    # -log p(x, y) varies by 1 inside a class and between the classes by the difference of their
    # means squared, the log volumes by ψ'(3); twice that for neighbours that share volumes
    between = math.log(deviation**2 * (1 - share) / share)
    error = math.sqrt(2 * (1 + polygamma(1, 3) + share * (1 - share) * between**2) / n)
    assert abs(value - exact) < 4 * error
    assert error < 0.05
    # H(x, y) = H(x) + H(y|x) > H(x)
    assert value > knn_entropy(x, 3)


def test_joint_knn_entropy_of_one_class_is_that_of_the_points() -> None:
    x = randn(100, 3)
    assert joint_knn_entropy(x, torch.full((100,), 7), 2) == knn_entropy(x, 2)


def test_knn_entropy_refuses_what_has_no_density() -> None:
    x = randn(20, 2)
    with pytest.raises(DataError, match="2 points at distance zero"):
        knn_entropy(torch.cat([x, x[:1]]), 3)
    with pytest.raises(DataError, match="3 points for neighbour k=3"):
        knn_entropy(x[:3], 3)
    with pytest.raises(DataError, match="not finite"):
        knn_entropy(torch.cat([x, torch.tensor([[math.nan, 0]])]), 3)
    with pytest.raises(ConfigError, match="k: got 0"):
        knn_entropy(x, 0)
    with pytest.raises(DataError, match="1 points"):
        joint_knn_entropy(x, torch.tensor([0] * 19 + [1]), 3)
    for labels in (torch.zeros(20), torch.zeros(19).long(), torch.zeros(20, 1).long()):
        with pytest.raises(ConfigError, match="integer classes"):
            joint_knn_entropy(x, labels, 3)


def second_law(parts: list[Tensor], lam: Tensor, gam: Tensor) -> tuple[Tensor, Tensor]:
    """-H + J, and the same with log Z added, of p(x), p(y|x), e, d, c, q."""
    rate, distortion, loss = rate_distortion_classification(*parts)
    energy = rate + lam * distortion + gam * loss
    entropy = discrete_entropy((parts[0][..., None] * parts[1]).flatten(-2))
    bound = energy + log_partition(*parts[3:], lam, gam)
    return energy - entropy, bound - entropy


@pytest.mark.parametrize("letters", [(2, 2, 1), (3, 2, 4), (6, 3, 3), (8, 5, 5)])
def test_the_second_law_holds_at_any_model_of_1000_systems(letters: tuple[int, int, int]) -> None:
    # 250 of each size, at random θ, λ and γ log-uniform in [0.1, 10]
    x, y, z = letters
    source = generator(x)

    def distributions(*shape: int) -> Tensor:
        sharpness = 3 * torch.rand(250, *[1] * len(shape), generator=source)
        return (sharpness * torch.randn(250, *shape, generator=source)).double().softmax(-1)

    shapes = [(x,), (x, y), (x, z), (z, x), (z, y), (z,)]
    parts = [distributions(*shape) for shape in shapes]
    lam, gam = 10 ** (2 * torch.rand(2, 250, generator=source).double() - 1)
    without, full = second_law(parts, lam, gam)
    assert full.min() > -1e-12
    assert without.min() < -0.1  # what log Z is for
    # safe without it for λ, γ ≥ 1, where Z ≤ 1
    safe = (lam >= 1) & (gam >= 1)
    assert safe.sum() > 20
    assert without[safe].min() > -1e-12


def test_without_log_z_the_second_law_fails_where_nothing_depends_on_z() -> None:
    # X uniform on 4 letters, Y of chances 4/8, 3/8, 1/8, 0, independent of each other and of z;
    # decoder and classifier uniform; λ = γ = ½. By hand J = ½ log 16 and log Z = ½ log 16, and
    # H = log 4 + (½ log 2 + ⅜ log 8/3 + ⅛ log 8)
    quarter = torch.full((4,), 0.25).double()
    p_y = torch.tensor([4, 3, 1, 0]).double() / 8
    one = torch.ones(1).double()
    parts = [quarter, p_y.expand(4, 4), one.expand(4, 1), quarter[None], quarter[None], one]
    half = torch.tensor(0.5).double()
    without, full = second_law(parts, half, half)
    entropy = math.log(4) + math.log(2) / 2 + 3 / 8 * math.log(8 / 3) + math.log(8) / 8
    assert without.item() == pytest.approx(math.log(4) - entropy, abs=1e-14)
    assert full.item() == pytest.approx(2 * math.log(4) - entropy, abs=1e-14)
    # the numbers of the theory page
    assert without.item() == pytest.approx(-0.974, abs=5e-4)
    assert full.item() == pytest.approx(0.412, abs=5e-4)
