"""Sources of torchvision: what is read, how it is split, and what is said where it is missing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import FakeData

from thermo_pl.datamodules import MNIST, FashionMNIST, VisionDataset
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


def idx(path: Path, kind: int, values: np.ndarray) -> None:
    """Write an array in the IDX format of MNIST's files."""
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


def test_images_are_resized_and_turned_grey(folder: Path) -> None:
    Image.new("RGB", (9, 9), (255, 0, 0)).save(folder / "cat" / "red.png")
    with pytest.raises(DataError, match=r"images of 2 shapes .*; allowed: one; set size"):
        image_folder(folder).load()
    splits = image_folder(folder, size=(3, 3), channels=1).load()
    images = torch.cat([split.images for split in splits.values()])
    assert images.shape == (21, 1, 3, 3)
    greys = [*range(10), *range(100, 110)]
    red = [image for image in images if (255 * image[0, 0, 0]).round() not in greys]
    assert len(red) == 1
    # luma of pure red by ITU-R 601-2, as PIL documents it: L = 0.299 R
    assert red[0].mean() == pytest.approx(0.299, abs=1 / 255)


class Deep(list[Any]):
    """Images of a camera with more than 256 levels, in a mode of PIL."""

    def __init__(self, mode: str) -> None:
        """17 levels from 0 to 1 as far as the mode goes; every image has one."""
        levels = np.linspace(0, 1, 17)
        whole = {
            "L": (255 * levels).round().astype(np.uint8),
            "I;16": (65535 * levels).round().astype(np.uint16),
            "I": (65535 * levels).round().astype(np.int32),
            "F": levels.astype(np.float32),
        }[mode]
        images = [Image.fromarray(np.full((2, 2), value, whole.dtype)) for value in whole]
        assert {image.mode for image in images} == {mode}
        super().__init__((image, k % 2) for image in images for k in range(4))


@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("mode", ["L", "I;16", "I", "F"])
def test_deep_images_keep_their_levels(mode: str, channels: Any) -> None:
    source = VisionDataset("test_vision.Deep", {"mode": mode}, channels=channels)
    images = torch.cat([split.images for split in source.load().values()])
    assert images.shape[1:] == (channels or 1, 2, 2)
    levels = torch.linspace(0, 1, 17)
    torch.testing.assert_close(
        images.unique(), levels, rtol=0, atol=0.51 / 255
    )  # half a level of L


def test_deep_images_of_a_folder_keep_their_levels(folder: Path) -> None:
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        Image.fromarray(np.full((6, 4), 3000 * number, dtype=np.uint16)).save(path)
    images = torch.cat([split.images for split in image_folder(folder).load().values()])
    levels = 3000 / 65535 * torch.arange(20)
    torch.testing.assert_close(images.unique(), levels, rtol=1e-6, atol=0)


@pytest.mark.parametrize("content", [b"\0\5\x16\7", None], ids=["a note of macOS", "cut off"])
def test_a_file_that_cannot_be_read_is_named(folder: Path, content: bytes | None) -> None:
    broken = folder / "dog" / "._1.png"
    whole = (folder / "dog" / "1.png").read_bytes()
    broken.write_bytes(content or whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match=r"dog/\._1\.png, which cannot be read .*; allowed") as told:
        image_folder(folder).load()
    assert "\n" not in str(told.value)


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
        ({"val": 0.5, "test": 0.5}, "test: got 0.5; allowed: arguments .*, or a share"),
        ({"split_seed": -1}, "split_seed: got -1"),
        ({"channels": 2}, "channels: got 2; allowed: 1, 3 or null"),
        ({"size": (0, 8)}, "size: got "),
    ],
    ids=str,
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VisionDataset("torchvision.datasets.ImageFolder", **arguments)
