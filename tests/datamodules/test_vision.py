"""Sources of torchvision: what is read, how it is split, and what is said where it is missing."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import FakeData

from thermo_pl.datamodules import MNIST, FashionMNIST, VisionDataset, Waypoint
from thermo_pl.datamodules.domains import load_domains
from thermo_pl.errors import ConfigError, DataError

DATA = os.environ.get("THERMO_PL_DATA")
needs_mnist = pytest.mark.skipif(
    DATA is None or not (Path(DATA) / "MNIST" / "raw").is_dir(),
    reason="MNIST is not there: set THERMO_PL_DATA to a folder that holds MNIST/raw",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image folder of two classes, of ten images each; the grey level tells every image."""
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for k in range(10):
            grey = np.full((6, 4, 3), 100 * label + k, dtype=np.uint8)
            Image.fromarray(grey).save(tmp_path / name / f"{k}.png")
    return tmp_path


def image_folder(root: Path, **arguments: Any) -> VisionDataset:
    return VisionDataset("torchvision.datasets.ImageFolder", root=root, **arguments)


def idx(path: Path, kind: int, array: Any) -> None:
    """Write an array in the IDX format of MNIST's files."""
    values = np.asarray(array)
    header = bytes([0, 0, kind, values.ndim]) + np.array(values.shape, ">i4").tobytes()
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def test_an_image_folder_is_split_by_class_and_disjointly(folder: Path) -> None:
    splits = image_folder(folder, val=0.2, test=0.3).load()
    greys = {name: (255 * split.images[:, 0, 0, 0]).round() for name, split in splits.items()}
    assert sorted(torch.cat(list(greys.values())).tolist()) == [*range(10), *range(100, 110)]
    for (name, split), size in zip(splits.items(), (10, 4, 6), strict=True):
        assert split.images.shape == (size, 3, 6, 4)
        assert split.images.dtype == torch.float32
        assert split.labels.bincount().tolist() == [size // 2, size // 2]
        assert torch.equal(split.labels, (greys[name] >= 100).long())


def test_classes_of_an_image_folder_are_called_by_its_folders(folder: Path) -> None:
    source = image_folder(folder, val=0.2, test=0.3)
    (whole,) = load_domains([Waypoint(source=source)])
    assert [whole.name(label) for label in whole.classes] == ["cat", "dog"]
    by_name, by_number = load_domains([Waypoint(["dog"], source), Waypoint([1], source)])
    assert by_name is by_number
    assert (255 * by_name.splits["train"].images).min() >= 99
    (folder / ".ipynb_checkpoints").mkdir()
    Image.new("RGB", (4, 6)).save(folder / ".ipynb_checkpoints" / "0.png")
    with pytest.raises(DataError, match=r"got the hidden folder '\.ipynb_checkpoints' as a class"):
        source.load()


def test_images_are_resized_and_turned_grey(folder: Path) -> None:
    Image.new("RGB", (9, 9), (255, 0, 0)).save(folder / "cat" / "red.png")
    with pytest.raises(DataError, match=r"of 2 shapes .*; allowed: one; of images, set size"):
        image_folder(folder).load()
    splits = image_folder(folder, size=(3, 3), channels=1).load()
    images = torch.cat([split.images for split in splits.values()])
    assert images.shape == (21, 1, 3, 3)
    greys = [*range(10), *range(100, 110)]
    red = [image for image in images if (255 * image[0, 0, 0]).round() not in greys]
    assert len(red) == 1
    # luma of pure red by ITU-R 601-2, as PIL documents it: L = 0.299 R
    assert red[0].mean() == pytest.approx(0.299, abs=1 / 255)


def test_items_are_those_of_the_data_set() -> None:
    arguments = {"size": 40, "image_size": (3, 5, 5), "num_classes": 2}
    source = VisionDataset(
        "torchvision.datasets.FakeData", arguments, {**arguments, "random_offset": 40}
    )
    splits = source.load()
    for parts, offset in ((("train", "val"), 0), (("test",), 40)):
        fake = FakeData(**arguments, random_offset=offset)
        expected = {
            (np.asarray(image, np.float32) / 255).transpose(2, 0, 1).tobytes() + bytes([label])
            for image, label in (fake[k] for k in range(40))
        }
        found = {
            image.numpy().tobytes() + bytes([label])
            for part in parts
            for image, label in zip(splits[part].images, splits[part].labels.tolist(), strict=True)
        }
        assert found == expected


def test_a_split_depends_on_its_seed_alone(folder: Path) -> None:
    one, same = image_folder(folder).load(), image_folder(folder).load()
    other = image_folder(folder, split_seed=1).load()
    for name, split in one.items():
        assert torch.equal(split.images, same[name].images)
        assert not torch.equal(split.images, other[name].images)


def test_idx_files_are_read_as_their_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    truth = {}
    for part, n in (("train", 20), ("t10k", 4)):
        truth[part] = rng.integers(0, 256, (n, 28, 28))
        idx(raw / f"{part}-images-idx3-ubyte", 8, truth[part])
        idx(raw / f"{part}-labels-idx1-ubyte", 8, np.arange(n) % 2)
    splits = FashionMNIST(tmp_path, val=0.1).load()
    assert [len(split.labels) for split in splits.values()] == [18, 2, 4]
    np.testing.assert_allclose(splits["test"].images[:, 0], truth["t10k"] / 255, atol=1e-7)
    assert splits["test"].labels.tolist() == [0, 1, 0, 1]


DAMAGE: dict[str, Any] = {
    "short": lambda images, labels: images.write_bytes(images.read_bytes()[:-9]),
    "empty": lambda images, labels: images.write_bytes(b""),
    "swapped": lambda images, labels: images.write_bytes(labels.read_bytes()),
    "compressed": lambda images, labels: images.write_bytes(gzip.compress(images.read_bytes())),
    "pickle": lambda images, labels: torch.save({"x": 1}, images),
    "other type": lambda images, labels: idx(images, 13, np.ones((20, 28, 28))),
    "fewer": lambda images, labels: idx(images, 8, np.eye(28)[None].repeat(7, 0)),
    "none": lambda images, labels: (idx(images, 8, np.ones((0, 28, 28))), idx(labels, 8, [])),
    "black": lambda images, labels: idx(images, 8, np.zeros((20, 28, 28))),
    "flat": lambda images, labels: idx(images, 8, np.eye(20, 784)),
    "label 10": lambda images, labels: idx(labels, 8, np.arange(20) % 11),
    "a pipe": lambda images, labels: (images.unlink(), os.mkfifo(images)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_files_of_mnist_that_are_not_what_they_were(tmp_path: Path, kind: str) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        images, labels = (raw / f"{part}-{name}-ubyte" for name in ("images-idx3", "labels-idx1"))
        idx(images, 8, np.eye(28)[None].repeat(20, 0) * 255)
        idx(labels, 8, np.arange(20) % 2)
    assert len(MNIST(tmp_path).load()["test"].labels) == 20
    DAMAGE[kind](images, labels)
    with pytest.raises(DataError, match=r"MNIST.*: got .*; allowed: "):
        MNIST(tmp_path).load()


@needs_mnist
def test_mnist_is_the_one_that_is_known() -> None:
    splits = MNIST().load()
    assert [tuple(split.images.shape[1:]) for split in splits.values()] == [(1, 28, 28)] * 3
    counts = [split.labels.bincount() for split in splits.values()]
    # the numbers of images of each class, as published
    trained = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert (counts[0] + counts[1]).tolist() == trained
    assert counts[2].tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert len(splits["val"].labels) == 6000
    # the mean and standard deviation of the training pixels, as published
    pixels = torch.cat([splits["train"].images, splits["val"].images])
    assert pixels.mean() == pytest.approx(0.1307, abs=1e-4)
    assert pixels.std() == pytest.approx(0.3081, abs=1e-4)


def test_a_missing_data_set_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THERMO_PL_DATA", str(tmp_path))
    with pytest.raises(DataError) as refused:
        MNIST().load()
    message = str(refused.value)
    assert "\n" not in message
    for said in ("torchvision.datasets.MNIST", str(tmp_path), "THERMO_PL_DATA", "download: true"):
        assert said in message
    with pytest.raises(DataError, match=str(tmp_path / "other")):
        MNIST(tmp_path / "other").load()
    monkeypatch.delenv("THERMO_PL_DATA")
    with pytest.raises(DataError, match="got no root, and \\$THERMO_PL_DATA is not set; allowed"):
        MNIST().load()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("torchvision.datasets.Nothing",), ConfigError, "Nothing.*; allowed: the path of an"),
        (("nothing.Here",), ConfigError, "nothing.Here.*; allowed: the path of an"),
        (("Plain",), ConfigError, "Plain.*; allowed: the path of an"),
        (("math.pi",), ConfigError, "is no class; allowed: a class path"),
        (
            ("torchvision.datasets.FakeData", {"sise": 3}),
            ConfigError,
            r"'sise'.*; allowed: size, image_size",
        ),
        (
            ("torchvision.datasets.FakeData", {"size": 3, "num_classes": 2}),
            DataError,
            "of the rarest one, to hold out",
        ),
    ],
)
def test_what_cannot_be_opened(
    arguments: tuple[Any, ...], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        VisionDataset(*arguments).load()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"val": 0.0}, "val: got 0.0; allowed: a share"),
        ({"val": 0.5, "test": 0.5}, "test: got 0.5; allowed: .*, or a share"),
        ({"split_seed": -1}, "split_seed: got -1"),
        ({"channels": 2}, "channels: got 2; allowed: 1, 3 or null"),
        ({"size": (0, 8)}, "size: got "),
    ],
    ids=str,
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VisionDataset("torchvision.datasets.ImageFolder", **arguments)
