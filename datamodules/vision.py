"""Data sets of torchvision, image folders among them, as sources."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import datasets
from torchvision.transforms import functional

from thermo_pl.datamodules.sources import SPLITS, ImageSource, Split, hold_out
from thermo_pl.errors import ConfigError, DataError, require

DEEP = ("F", "I", "I;16", "I;16B", "I;16L", "I;16N")
"""Modes of PIL with more than 256 levels of grey: floating numbers in [0, 1], and 16 bits."""
ROOT_VARIABLE = "THERMO_PL_DATA"
"""Environment variable that names the folder of data sets where a config names none."""


class VisionDataset(ImageSource):
    """A data set of torchvision, or one of your own with the same interface, by its class path.

    Its items are pairs of an image (PIL, or a tensor) and a class. All images are read into memory.
    """

    def __init__(
        self,
        dataset: str,
        train: dict[str, Any] | None = None,
        test: dict[str, Any] | float = 0.2,
        root: str | Path | None = None,
        size: tuple[int, int] | None = None,
        channels: Literal[1, 3] | None = None,
        val: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        """Keep how the images are opened; they are read by :meth:`load`.

        Args:
            dataset: class path, such as ``torchvision.datasets.ImageFolder``.
            train: arguments that open its training images, such as ``{split: train}``.
            test: arguments that open its test images, or the share of the training images that is
                held out for testing.
            root: the folder that it is opened with; ``$THERMO_PL_DATA`` if not given.
            size: height and width that all images are resized to; as they are if not given.
            channels: 1 for grey levels, 3 for colours; as they are if not given.
            val: share of the training images that is held out for validation.
            split_seed: which split.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        require(0 < val < 1, "val", val, "a share between 0 and 1")
        require(split_seed >= 0, "split_seed", split_seed, "an integer from 0")
        require(channels in {None, 1, 3}, "channels", channels, "1, 3 or null")
        ok = size is None or min(size) > 0
        require(ok, "size", size, "height and width, both > 0, or null")
        if not isinstance(test, dict):
            allowed = "arguments of the test images, or a share so that val + test is below 1"
            require(0 < test < 1 - val, "test", test, allowed)
        self.dataset, self.train, self.test = dataset, dict(train or {}), test
        self.root, self.size, self.channels = root, size, channels
        self.val, self.split_seed = val, split_seed

    def load(self) -> dict[str, Split]:
        """Read the images.

        Returns:
            Splits "train", "val" and "test".

        Raises:
            ConfigError: if there is no such class, or it does not take these arguments.
            DataError: if the data set is not there, or its items are not images with a class.
        """
        images, classes = self._read(self.train)
        labels = classes.numpy()
        index = np.arange(len(labels))
        sizes = {"val": round(self.val * len(labels))}
        splits = {}
        if isinstance(self.test, dict):
            splits["test"] = _split(*self._read(self.test))
        else:
            sizes["test"] = round(self.test * len(labels))
        for name, size in sizes.items():
            index, held_out = hold_out(self.dataset, index, labels, size, self.split_seed)
            splits[name] = _split(images, classes, held_out)
        splits["train"] = _split(images, classes, index)
        return {name: splits[name] for name in SPLITS}

    def _read(self, arguments: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return _images_and_labels(self._open(arguments), self.size, self.channels)

    def _open(self, arguments: dict[str, Any]) -> Any:
        kind = _imported(self.dataset)
        takes = inspect.signature(kind).parameters
        if "root" in takes and "root" not in arguments:
            arguments = {"root": str(self._found_root()), **arguments}
        if "loader" in takes and "loader" not in arguments:
            arguments = {"loader": load_image, **arguments}
        try:
            inspect.signature(kind).bind(**arguments)
        except TypeError as error:
            raise ConfigError(
                f"dataset: got the arguments {arguments} for {self.dataset} ({error}); allowed: "
                f"{', '.join(takes)}"
            ) from error
        try:
            return kind(**arguments)
        except (RuntimeError, OSError, ValueError) as error:
            where = f" in {arguments['root']}" if "root" in arguments else ""
            can_fetch = "download" in takes and not arguments.get("download")
            fetch = "; or set download: true to fetch it there" if can_fetch else ""
            reason = " ".join(str(error).split())
            raise DataError(
                f"{self.dataset}: got no data set that can be read{where} ({reason}); allowed: a "
                f"root, or ${ROOT_VARIABLE}, that holds it as torchvision lays it out{fetch}"
            ) from error

    def _found_root(self) -> Path:
        root = self.root or os.environ.get(ROOT_VARIABLE)
        if not root:
            raise DataError(
                f"{self.dataset}: got no root, and ${ROOT_VARIABLE} is not set; allowed: a folder "
                "of data sets in either of them"
            )
        return Path(root).expanduser()


class MNIST(VisionDataset):
    """MNIST, 60,000 + 10,000 handwritten digits of 28×28 pixels, through torchvision."""

    def __init__(
        self,
        root: str | Path | None = None,
        download: bool = False,
        val: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        """Name torchvision's data set; it is read by :meth:`load`.

        Args:
            root: folder that holds ``MNIST/raw``; ``$THERMO_PL_DATA`` if not given.
            download: fetch it there if it is missing.
            val: share of the training images that is held out for validation.
            split_seed: which split.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        train, test = ({"train": part, "download": download} for part in (True, False))
        super().__init__(
            f"torchvision.datasets.{type(self).__name__}",
            train,
            test,
            root,
            val=val,
            split_seed=split_seed,
        )


class FashionMNIST(MNIST):
    """Fashion-MNIST, 60,000 + 10,000 pictures of clothes of 28×28 pixels, through torchvision."""


def load_image(path: str) -> Image.Image:
    """Open a file as torchvision does, in colours, but for deep images, which it would cut off.

    Args:
        path: of the file.

    Returns:
        The image.
    """
    with Image.open(path) as image:
        image.load()
        return image.copy() if image.mode in DEEP else image.convert("RGB")


def _imported(path: str) -> Callable[..., Any]:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"dataset: got {path!r} ({error}); allowed: the path of an importable class, such as "
            "torchvision.datasets.ImageFolder"
        ) from error
    if not inspect.isclass(found):
        raise ConfigError(f"dataset: got {path!r}, which is no class; allowed: a class path")
    return found


def _images_and_labels(
    dataset: Any, size: tuple[int, int] | None, channels: int | None
) -> tuple[Tensor, Tensor]:
    as_stored = size is None and channels in {None, 1}
    if isinstance(dataset, datasets.MNIST) and dataset.targets.ndim == 1 and as_stored:
        return dataset.data[:, None], dataset.targets  # at once: 60,000 items take seconds
    images, labels = [], []
    for number in range(len(dataset)):
        try:
            image, label = dataset[number]
            images.append(_as_tensor(image, size, channels))
        except (OSError, SyntaxError) as error:  # PIL raises both over broken files
            raise DataError(
                f"{type(dataset).__name__}: got {_file_of(dataset, number)}, which cannot be read "
                f"({error}); allowed: images; repair it, or take it away"
            ) from error
        labels.append(_as_class(label, dataset))
    shapes = sorted({tuple(image.shape) for image in images})
    if len(shapes) != 1:
        raise DataError(
            f"{type(dataset).__name__}: got images of {len(shapes)} shapes (channels, height, "
            f"width), such as {shapes[:2]}; allowed: one; set size: [height, width] or channels"
        )
    return torch.stack(images), torch.tensor(labels)


def _file_of(dataset: Any, number: int) -> str:
    # folders of torchvision keep pairs of file and class
    samples = getattr(dataset, "samples", None)
    return str(samples[number][0]) if samples else f"item {number}"


def _as_tensor(image: Any, size: tuple[int, int] | None, channels: int | None) -> Tensor:
    if getattr(image, "mode", "") in DEEP:  # by its range; convert would cut it off at 255
        deep = torch.from_numpy(np.array(image, dtype=np.float32))[None]
        image = deep if image.mode == "F" else deep / 65535
    if not isinstance(image, Tensor):
        if channels is not None:  # by PIL, which knows palettes and transparency
            image = image.convert("L" if channels == 1 else "RGB")
        image = functional.pil_to_tensor(image)
    elif channels not in {None, len(image)}:
        grey = functional.rgb_to_grayscale(image) if len(image) == 3 else image
        image = grey.expand(channels, -1, -1)
    if size is not None:
        image = functional.resize(image, list(size), antialias=True)
    return torch.as_tensor(image)


def _as_class(label: Any, dataset: Any) -> int:
    if isinstance(label, int | np.integer) or (isinstance(label, Tensor) and label.ndim == 0):
        return int(label)
    raise DataError(
        f"{type(dataset).__name__}: got labels of {type(label).__name__}; allowed: one class index "
        "for each image; see its arguments, such as target_type"
    )


def _split(images: Tensor, labels: Tensor, index: np.ndarray | None = None) -> Split:
    # some of the images, in order; only they are made four times as large
    if index is not None:
        chosen = torch.from_numpy(np.sort(index))
        images, labels = images[chosen], labels[chosen]
    if images.dtype == torch.uint8:
        images = images.to(torch.float32).div_(255)
    return Split(images, labels)
