"""Sources, transforms and waypoints: what is accepted, what is refused, and how it is said."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from thermo_pl.datamodules import (
    Binarise,
    Blur,
    Digits,
    GaussianNoise,
    ImageSource,
    Inversion,
    Occlusion,
    Rotation,
    Split,
    Waypoint,
)
from thermo_pl.datamodules.domains import Domain, check_waypoints, load_domains
from thermo_pl.errors import ConfigError, DataError

ToyMaker = Callable[..., ImageSource]


def rows(split: Split) -> set[bytes]:
    """Images together with their labels, as a set."""
    return {
        image.numpy().tobytes() + bytes([label])
        for image, label in zip(split.images, split.labels.tolist(), strict=True)
    }


def test_digits_are_split_completely_and_disjointly() -> None:
    splits = Digits().load()
    assert list(splits) == ["train", "val", "test"]
    assert sum(len(split.labels) for split in splits.values()) == 1797
    # No two of the 1,797 images are the same, so disjoint index sets are disjoint sets of images.
    sets = [rows(split) for split in splits.values()]
    assert len(set.union(*sets)) == sum(map(len, sets)) == 1797
    for split in splits.values():
        assert split.images.dtype == torch.float32
        assert split.images.shape[1:] == (1, 8, 8)
        assert split.labels.dtype == torch.int64
        assert split.images.min() == 0
        assert split.images.max() == 1


@pytest.mark.parametrize(("val", "test"), [(0.15, 0.2), (0.3, 0.5), (0.01, 0.01)])
def test_digits_fractions_hold_in_every_class(val: float, test: float) -> None:
    splits = Digits(val=val, test=test).load()
    totals = torch.stack([torch.bincount(split.labels, minlength=10) for split in splits.values()])
    for row, fraction in zip(totals, (1 - val - test, val, test), strict=True):
        # Two stratified cuts, each rounds a class by less than one, the whole by less than two.
        assert ((row - fraction * totals.sum(0)).abs() <= 2).all()
        assert abs(row.sum() - fraction * 1797) <= 2


def test_digits_split_depends_on_its_seed_alone() -> None:
    torch.manual_seed(1)
    one = Digits(split_seed=4).load()
    torch.manual_seed(2)
    same, other = Digits(split_seed=4).load(), Digits(split_seed=5).load()
    for name, split in one.items():
        assert torch.equal(split.images, same[name].images)
        assert torch.equal(split.labels, same[name].labels)
        assert rows(split) != rows(other[name])


@pytest.mark.parametrize(
    "arguments",
    [{"val": 0.0}, {"test": 1.0}, {"val": 0.5, "test": 0.5}, {"split_seed": -1}, {"test": -0.1}],
)
def test_digits_arguments(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"got .*; allowed: "):
        Digits(**arguments)


def test_noise_is_fixed_and_independent_between_splits() -> None:
    images = torch.full((400, 1, 8, 8), 0.5)
    noise = GaussianNoise(std=0.1, seed=3)
    first = noise(images)
    torch.manual_seed(0)
    assert torch.equal(first, noise(images))
    assert torch.equal(first, GaussianNoise(0.1, 3)(images))
    assert not torch.equal(first, GaussianNoise(0.1, 4)(images))
    drawn = (first - images).flatten()
    # 25,600 draws: five standard errors of the standard deviation and of a correlation.
    assert abs(drawn.std() - 0.1) < 5 * 0.1 / (2 * 25_600) ** 0.5
    other = (noise(images + 0.01) - images - 0.01).flatten()
    assert abs(torch.corrcoef(torch.stack([drawn, other]))[0, 1]) < 5 / 25_600**0.5


def test_noise_is_clamped() -> None:
    images = Digits().load()["val"].images
    noisy = GaussianNoise(0.5)(images)
    assert noisy.dtype == torch.float32
    assert noisy.min() == 0
    assert noisy.max() == 1
    assert torch.equal(GaussianNoise(0.0)(images), images)
    with pytest.raises(ConfigError, match="std: got -1"):
        GaussianNoise(-1)
    with pytest.raises(ConfigError, match="seed: got -1"):
        GaussianNoise(0.1, seed=-1)


def test_noise_on_values_without_bounds_is_not_clamped() -> None:
    rows = 100 * torch.eye(3)
    noisy = GaussianNoise(0.5, limits=None)(rows)
    drawn = np.random.default_rng([0, zlib.crc32(rows.numpy().data)]).standard_normal((3, 3), "f")
    torch.testing.assert_close(noisy, rows + 0.5 * torch.from_numpy(drawn))
    with pytest.raises(ConfigError, match=r"limits: got \(1, 0\); allowed: two numbers"):
        GaussianNoise(0.1, limits=(1, 0))


def test_examples_of_any_shape_and_range_are_a_domain() -> None:
    scale, flat = Scale(-3.0), nn.Flatten()
    scaled, flattened = load_domains([Waypoint(transform=scale)] * 2)[0], None
    (flattened,) = load_domains([Waypoint(transform=flat)])
    assert (scaled.image_shape, flattened.image_shape) == ((1, 8, 8), (64,))
    assert scaled.splits["train"].images.min() == -3


def test_occlusion_covers_all_images_and_channels() -> None:
    images = random_images(5, 3, 8, 6)
    kept = images.clone()
    inner = Occlusion(rows=(0.25, 0.75), columns=(0.5, 1.0), contrast=0.0)(images)
    assert torch.equal(images, kept)  # what was given is left as it was
    kept[:, :, 2:6, 3:] = 0.5
    assert torch.equal(inner, kept)
    upper = Occlusion(rows=(0.0, 0.5), contrast=0.0)(images)
    assert set(upper[:, :, :4].flatten().tolist()) == {0.5}
    assert torch.equal(upper[:, :, 4:], images[:, :, 4:])
    left = Occlusion(columns=(0.0, 1 / 3), contrast=0.0)(images)
    assert set(left[..., :2].flatten().tolist()) == {0.5}
    assert torch.equal(left[..., 2:], images[..., 2:])
    assert set(Occlusion(contrast=0.0)(images).flatten().tolist()) == {0.5}
    assert upper.shape == images.shape
    assert upper.dtype == images.dtype


def test_static_is_uniform_and_drawn_once_and_for_all() -> None:
    images = random_images(500, 1, 8, 6)
    state = torch.get_rng_state()
    full = Occlusion(rows=(0.0, 0.5))(images)[:, :, :4]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(full, Occlusion(rows=(0.0, 0.5))(images)[:, :, :4])
    # mean and variance of a uniform number, within five standard errors
    n = full.numel()
    assert abs(float(full.mean()) - 1 / 2) < 5 / (12 * n) ** 0.5
    assert abs(float(full.var()) - 1 / 12) < 5 / (180 * n) ** 0.5
    assert 0 <= float(full.min()) < 0.01
    assert 0.99 < float(full.max()) <= 1
    half = Occlusion(rows=(0.0, 0.5), contrast=0.5)(images)[:, :, :4]
    assert torch.allclose(half, 0.5 + (full - 0.5) / 2)
    other = Occlusion(rows=(0.0, 0.5), seed=1)(images)[:, :, :4]
    assert abs(float(((full - 0.5) * (other - 0.5)).mean())) < 5 / 12 / n**0.5
    # another split has noise of its own
    assert not torch.equal(Occlusion(rows=(0.0, 0.5))(images[1:])[:, :, :4], full[1:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": (0.5, 0.5)}, r"rows: got \[0\.5, 0\.5\]; allowed: two shares"),
        ({"rows": (0.6, 0.5)}, r"rows: got"),
        ({"columns": (-0.1, 0.5)}, r"columns: got"),
        ({"columns": (0.5, 1.1)}, r"columns: got"),
        ({"rows": (float("nan"), 1.0)}, r"rows: got"),
        ({"contrast": 1.5}, r"contrast: got 1\.5; allowed: a number from 0 to 1"),
        ({"contrast": -0.5}, r"contrast: got"),
        ({"contrast": float("nan")}, r"contrast: got"),
        ({"seed": -1}, r"seed: got -1; allowed: an integer from 0"),
    ],
    ids=str,
)
def test_occlusion_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Occlusion(**arguments)


def random_images(n: int, channels: int, height: int, width: int) -> Tensor:
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(0))


def test_rotation_by_right_angles_is_exact() -> None:
    images = random_images(5, 3, 8, 8)
    for quarter in range(-3, 4):
        turned = Rotation(90.0 * quarter)(images)
        torch.testing.assert_close(turned, torch.rot90(images, quarter, (-2, -1)))


def test_rotation_against_scipy() -> None:
    # what lies on the rim comes in part from outside, where the two differ
    images = Digits().load()["val"].images[:20]
    images = torch.nn.functional.pad(images, (4, 4, 4, 4))
    turned = ndimage.rotate(images.numpy(), -30, axes=(-1, -2), reshape=False, order=1)
    found = Rotation(-30.0)(images)
    np.testing.assert_allclose(found, turned, atol=1e-5)
    assert found.min() >= 0
    assert found.max() <= 1


def test_a_spline_turns_what_is_smooth_nearly_exactly() -> None:
    y, x = torch.meshgrid(*2 * [torch.arange(28.0) - 13.5], indexing="ij")

    def blob(radius: float, degrees: float) -> Tensor:  # counterclockwise from the right
        a = math.radians(degrees)
        away = (x - radius * math.cos(a)) ** 2 + (y + radius * math.sin(a)) ** 2
        return torch.exp(-away / 8)[None, None]

    errors = [
        (Rotation(37.0, spline=spline)(blob(6, 10)) - blob(6, 47)).abs().max()
        for spline in (True, False)
    ]
    assert errors[0] < 2e-3
    assert errors[1] > 10 * errors[0]


def test_angles_grow_in_the_order_of_the_data() -> None:
    images = random_images(4, 1, 6, 6)
    turned = Rotation((0.0, 90.0))(images)
    for image, angle, expected in zip(images, (0.0, 30.0, 60.0, 90.0), turned, strict=True):
        torch.testing.assert_close(Rotation(angle)(image[None])[0], expected)
    torch.testing.assert_close(turned[3], torch.rot90(images[3], 1, (-2, -1)))
    torch.testing.assert_close(turned[0], images[0])


def test_inversion() -> None:
    images = random_images(5, 3, 8, 6)
    torch.testing.assert_close(Inversion()(images), 1 - images)


def test_binarised_pixels_are_white_as_often_as_they_are_grey() -> None:
    grey = torch.tensor([0.0, 0.2, 0.7, 1.0])
    images = grey.reshape(1, 1, 2, 2).expand(40_000, 1, 2, 2)
    drawn = Binarise(seed=1)(images)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    found = drawn.mean(0).flatten()
    assert found[[0, 3]].tolist() == [0.0, 1.0]
    np.testing.assert_allclose(found, grey, atol=4 * 0.5 / 200)  # four standard errors
    assert torch.equal(drawn, Binarise(seed=1)(images))
    assert not torch.equal(drawn, Binarise(seed=2)(images))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.7])
def test_blur_against_scipy(sigma: float) -> None:
    images = random_images(3, 2, 12, 9)
    radius = int(np.ceil(3 * sigma))
    expected = ndimage.gaussian_filter(
        images.numpy(), (0, 0, sigma, sigma), mode="mirror", radius=(0, 0, radius, radius)
    )
    np.testing.assert_allclose(Blur(sigma)(images), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rotation(float("nan")), r"degrees: got nan; allowed: a finite number"),
        (lambda: Rotation((0.0, float("inf"))), r"degrees: got \(0\.0, inf\)"),
        (lambda: Blur(0.0), r"sigma: got 0\.0; allowed: a finite number > 0"),
        (lambda: Blur(-1.0), r"sigma: got"),
    ],
)
def test_other_transforms_refuse(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_blur_wider_than_the_images_is_refused() -> None:
    with pytest.raises(DataError, match=r"got 3 for images of 8 pixels; allowed: at most 2\.33"):
        load_domains([Waypoint(transform=Blur(3.0))])


def test_waypoint_selects_classes_and_transforms_the_whole_split() -> None:
    noise = GaussianNoise(0.2, seed=1)
    full, part = load_domains([Waypoint(transform=noise), Waypoint([7, 2], transform=noise)])
    assert full.classes == tuple(range(10))
    assert part.classes == (2, 7)
    for name, split in part.splits.items():
        whole = full.splits[name]
        chosen = (whole.labels == 2) | (whole.labels == 7)
        assert torch.equal(split.labels, whole.labels[chosen])
        assert torch.equal(split.images, whole.images[chosen])


def test_equal_waypoints_share_one_domain() -> None:
    noise = GaussianNoise(0.2)
    domains = load_domains([
        Waypoint([1, 2]),
        Waypoint([1, 2], transform=noise),
        Waypoint([2, 1], source=Digits()),
        Waypoint([1, 2], source=Digits(split_seed=1)),
    ])
    assert domains[2] is domains[0]
    assert len({domain.fingerprint for domain in domains}) == 3


class Scale(nn.Module):
    """Multiply the images."""

    def __init__(self, factor: float) -> None:
        """Keep the factor."""
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return images * self.factor


def test_a_random_transform_is_refused_and_leaves_torch_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with pytest.raises(DataError, match=r"waypoints\[1\].*Dropout gave two results"):
        load_domains([Waypoint(), Waypoint(transform=nn.Dropout(0.5))])
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (Scale(float("inf")), "gave two results|finite numbers"),
        (nn.Flatten(0), r"shape \(\d+,\); allowed: torch.float32 of shape \(n, columns\)"),
        (
            nn.Sequential(Scale(2.0), Inversion()),
            r"Inversion: got examples .* from 0 to 2; allowed",
        ),
        (nn.Sequential(nn.Flatten(), Rotation(9.0)), r"Rotation: got examples of shape \(64,\)"),
        (
            nn.Sequential(Scale(2.0), GaussianNoise(0.1)),
            r"limits: got \[0\.0, 1\.0\] for values from 0 to 2; allowed: limits around them",
        ),
    ],
)
def test_images_after_the_transform_are_checked(transform: nn.Module, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_domains([Waypoint(transform=transform)])


def test_examples_that_are_all_the_same_are_refused() -> None:
    # nothing can be told apart: C would stay at the entropy of the labels, and look held
    black = Occlusion(contrast=0.0)
    with pytest.raises(DataError, match=r"waypoints\[1\]: got \d+ training examples of 2 classes"):
        load_domains([Waypoint([0, 1]), Waypoint([0, 1], transform=black)])
    assert load_domains([Waypoint([0], transform=black)])  # of one class there is nothing to tell


def test_class_errors(toys: ToyMaker) -> None:
    with pytest.raises(DataError, match=r"waypoints\[0\] \(Digits\): got the classes \[10, 11\]"):
        load_domains([Waypoint([0, 11, 10])])
    source = toys({0: [0.1], 1: [0.2]}, val={0: [0.1]})
    with pytest.raises(DataError, match="val split: class 1 has no examples"):
        load_domains([Waypoint(source=source)])
    assert load_domains([Waypoint([0], source=source)])[0].classes == (0,)


def test_fewer_images_of_each_class_for_training_alone() -> None:
    full, few, same = load_domains([
        Waypoint([3, 5]),
        Waypoint([3, 5], per_class=7),
        Waypoint([3, 5], per_class=7),
    ])
    assert few is same
    assert few.splits["train"].labels.bincount().tolist() == [0, 0, 0, 7, 0, 7]
    assert rows(few.splits["train"]) < rows(full.splits["train"])
    # not the first ones: their order may mean something
    first = full.splits["train"].images[full.splits["train"].labels == 3][:7]
    assert not torch.equal(few.splits["train"].images[few.splits["train"].labels == 3], first)
    for name in ("val", "test"):
        assert rows(few.splits[name]) == rows(full.splits[name])
    (all_of_them,) = load_domains([Waypoint([3, 5], per_class=10_000)])
    assert rows(all_of_them.splits["train"]) == rows(full.splits["train"])


def test_a_class_keeps_the_same_images_whatever_the_other_classes() -> None:
    one, other, drawn_anew = load_domains([
        Waypoint([3, 5], per_class=7),
        Waypoint([5, 1, 2], per_class=[7, None, 4]),
        Waypoint([5], per_class=7, choice=1),
    ])
    full = {label: len(Digits().load()["train"].labels.eq(label).nonzero()) for label in (1, 2)}
    counts = other.splits["train"].labels.bincount().tolist()
    assert counts == [0, full[1], 4, 0, 0, 7]

    def fives(domain: Domain) -> Tensor:
        images, labels = domain.splits["train"]
        return images[labels == 5]

    assert torch.equal(fives(one), fives(other))
    assert not torch.equal(fives(one), fives(drawn_anew))


@pytest.mark.parametrize(
    ("waypoint", "message"),
    [
        (Waypoint(per_class=0), r"waypoints\[0\]\.per_class: got 0; allowed: an integer"),
        (Waypoint([1, 2], per_class=[3, 0]), r"per_class: got \[3, 0\]; allowed: an integer"),
        (Waypoint([1, 2], per_class=[3]), r"per_class: got \[3\]; .* one for each of classes"),
        (Waypoint(per_class=[3]), r"per_class: got \[3\]; .* one for each of classes"),
        (Waypoint(choice=-1), r"waypoints\[0\]\.choice: got -1; allowed: an integer from 0"),
    ],
    ids=str,
)
def test_images_of_each_class_that_make_no_sense_are_refused(
    waypoint: Waypoint, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_waypoints([waypoint])


def test_waypoints_must_have_one_image_shape(toys: ToyMaker) -> None:
    pooled = nn.AvgPool2d(2)
    with pytest.raises(DataError, match=r"waypoints\[1\].*\(1, 1, 1\); allowed: \(1, 8, 8\)"):
        load_domains([Waypoint([0, 1]), Waypoint(source=toys({0: [0.1], 1: [0.2]}))])
    assert [d.image_shape for d in load_domains([Waypoint(transform=pooled)])] == [(1, 4, 4)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"train": s["train"]}, r"got the splits \['train'\]; allowed: train, val, test"),
        (lambda s: s | {"test": Split(s["test"].images.double(), s["test"].labels)}, "float64"),
        (lambda s: s | {"val": Split(s["val"].images, s["val"].labels.int())}, "torch.int32"),
        (lambda s: s | {"val": Split(s["val"].images[:1], s["val"].labels)}, "got labels of"),
        (lambda s: s | {"val": Split(s["val"].images[:0], s["val"].labels[:0])}, "got no examp"),
        (
            lambda s: (
                s | {"val": Split(s["val"].images / torch.tensor([1.0, 0.0]), s["val"].labels)}
            ),
            r"val split: got the value inf in example 0 at \[0, 0, 1\]; allowed: finite numbers",
        ),
        (lambda s: s | {"val": Split(s["val"].labels.float(), s["val"].labels)}, r"shape \(2,\)"),
    ],
)
def test_what_a_source_gives_is_checked(
    toys: ToyMaker, change: Callable[[dict[str, Split]], dict[str, Split]], message: str
) -> None:
    source = toys({0: [0.1], 1: [0.2]})
    load_domains([Waypoint(source=source)])
    source.splits = change(source.splits)  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=message):
        load_domains([Waypoint(source=source)])
