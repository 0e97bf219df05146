"""Data sets by class path, tables of Hugging Face, and pictures of any depth."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

from thermo_pl.datamodules import DatasetSource, HuggingFaceSource, VisionDataset
from thermo_pl.errors import ConfigError, DataError

HERE = __name__


class Rows(Dataset[Any]):
    """Vectors that tell their number, with classes by name, number or tensor."""

    def __init__(self, n: int, labels: str = "name", start: int = 0, odd: bool = False) -> None:
        """Keep the arguments."""
        self.n, self.labels, self.start, self.odd = n, labels, start, odd

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Any:
        label: Any = ["ant", "bee"][index % 2]
        label = {"name": label, "number": 2 * (index % 2) - 1, "tensor": torch.tensor(index % 2)}[
            self.labels
        ]
        length = 3 if not (self.odd and index == 5) else 4
        return np.full(length, self.start + index), label


class Stream(IterableDataset[Any]):
    """A data set without a length."""

    def __iter__(self) -> Any:
        return iter([])


class Deep(list[Any]):
    """Pictures of 17 grey levels, as a depth camera or a microscope gives them."""

    def __init__(self, mode: str) -> None:
        """Make the pictures."""
        kinds: dict[str, tuple[float, Any]] = {
            "F": (1, np.float32),
            "I;16": (65535, np.uint16),
            "I": (65535, np.int32),
            "L": (255, np.uint8),
            "beyond": (1e6, np.int32),
        }
        scale, kind = kinds[mode]
        grey = np.linspace(0, 1, 17).repeat(2).reshape(2, 17)
        super().__init__((Image.fromarray((scale * grey).astype(kind)), k % 2) for k in range(20))


@pytest.mark.parametrize(
    ("labels", "names", "classes"),
    [("name", ("ant", "bee"), [0, 1]), ("number", (), [-1, 1]), ("tensor", (), [0, 1])],
)
def test_any_data_set_is_a_source(labels: str, names: tuple[str, ...], classes: list[int]) -> None:
    source = DatasetSource(
        f"{HERE}.Rows", {"n": 20, "labels": labels}, {"n": 4, "labels": labels, "start": 100}
    )
    splits = source.load()
    assert source.names == names
    assert splits["test"].images.tolist() == [[100.0 + k] * 3 for k in range(4)]
    numbers = torch.cat([splits[name].images[:, 0] for name in ("train", "val")])
    assert sorted(numbers.tolist()) == list(range(20))
    for split in splits.values():
        expected = [classes[int(row[0]) % 2] for row in split.images]
        assert split.labels.tolist() == expected


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("Rows", {"m": 3}), ConfigError, r"'m'.*; allowed: n, labels, start, odd"),
        (("Stream",), DataError, "got a data set without a length; allowed: a map-style"),
        (("Rows", {"n": 20, "odd": True}), DataError, r"of 2 shapes or types, such as \(3,\)"),
    ],
)
def test_what_does_not_fit_is_told(
    arguments: tuple[Any, ...], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        DatasetSource(f"{HERE}.{arguments[0]}", *arguments[1:]).load()


@pytest.mark.parametrize("mode", ["F", "I;16", "I", "L"])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_deep_pictures_keep_their_grey_levels(mode: str, channels: Any) -> None:
    source = VisionDataset(f"{HERE}.Deep", {"mode": mode}, channels=channels)
    image = source.load()["train"].images[0]
    assert image.shape == (channels or 1, 2, 17)
    expected = torch.linspace(0, 1, 17).repeat_interleave(2).reshape(2, 17).expand_as(image)
    # a whole grey level is lost by rounding down to bytes, less by 16 bits
    torch.testing.assert_close(image, expected, atol=1 / (255 if mode == "L" else 65535), rtol=0)


def test_grey_levels_of_an_unknown_range_are_refused() -> None:
    with pytest.raises(DataError, match=r"grey levels from 0 to 1e\+06 .*; allowed: 0 to 65535"):
        VisionDataset(f"{HERE}.Deep", {"mode": "beyond"}).load()


def folder(root: Path, picture: Image.Image, ending: str) -> VisionDataset:
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for k in range(10):
            picture.save(root / name / f"{k}.{ending}")
    return VisionDataset("torchvision.datasets.ImageFolder", root=root)


def test_a_folder_of_deep_pictures_keeps_their_grey_levels(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    image = folder(tmp_path, Image.fromarray(grey), "png").load()["train"].images[0]
    torch.testing.assert_close(image, torch.from_numpy(grey / 65535).float().expand(3, 8, 8))


def test_a_broken_file_in_a_folder_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    source = folder(tmp_path, Image.fromarray(noise), "jpg")
    half = tmp_path / "dog" / "3.jpg"
    half.write_bytes(half.read_bytes()[:700])
    with pytest.raises(DataError, match=r"dog.3\.jpg: got a file that is no whole image") as caught:
        source.load()
    assert "\n" not in str(caught.value)
    half.rename(tmp_path / "dog" / "._x.png")
    (tmp_path / "dog" / "._x.png").write_bytes(b"\0\5\x16\7")
    with pytest.raises(DataError, match=r"\._x\.png: got a file that is no whole image"):
        source.load()


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"package datasets is not installed; install it \(pip"):
        HuggingFaceSource("somebody/something", "label", "image").load()


def test_tables_of_hugging_face(tmp_path: Path) -> None:
    hub = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    x = np.random.default_rng(0).normal(size=(40, 2))
    columns = {"a": x[:, 0], "b": x[:, 1], "both": x.tolist(), "y": np.arange(40) % 2}
    columns["seen"] = [Image.fromarray(np.full((3, 4), k, np.uint8)) for k in range(40)]
    kinds = hub.Dataset.from_dict(columns).features
    kinds |= {"y": hub.ClassLabel(names=["no", "yes"]), "seen": hub.Image()}
    table = hub.Dataset.from_dict(columns, features=hub.Features(kinds))
    hub.DatasetDict({"train": table, "test": table.select(range(6))}).save_to_disk(tmp_path / "t")
    rows = [tuple(row) for row in x.astype(np.float32).tolist()]
    for features in (["a", "b"], "both"):
        source = HuggingFaceSource(str(tmp_path / "t"), "y", features, test="test")
        splits = source.load()
        assert source.names == ("no", "yes")
        np.testing.assert_allclose(splits["test"].images, x[:6], rtol=1e-6)
        for row, label in zip(splits["train"].images.tolist(), splits["train"].labels, strict=True):
            assert rows.index(tuple(row)) % 2 == label
    seen = HuggingFaceSource(str(tmp_path / "t"), "y", "seen", test="test").load()["test"].images
    expected = torch.arange(6).reshape(6, 1, 1, 1).expand(6, 1, 3, 4) / 255
    torch.testing.assert_close(seen, expected)
    with pytest.raises(ConfigError, match=r"features: got \['c'\]; allowed: a, b, both, y"):
        HuggingFaceSource(str(tmp_path / "t"), "y", "c").load()
    with pytest.raises(DataError, match="got no data set with the split 'dev'"):
        HuggingFaceSource(str(tmp_path / "t"), "y", "a", "dev").load()
