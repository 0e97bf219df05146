"""Data sets of torchvision, image folders among them, as sources."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets
from torchvision.transforms import functional

from thermo_pl.datamodules.datasets import DatasetSource, imported
from thermo_pl.datamodules.pictures import pixels, read
from thermo_pl.datamodules.sources import Split
from thermo_pl.errors import ConfigError, DataError, require

ROOT_VARIABLE = "THERMO_PL_DATA"
"""Environment variable that names the folder of data sets where a config names none."""


class VisionDataset(DatasetSource):
    """A data set of torchvision, or one of your own with the same interface, by its class path.

    Its items are pairs of an image (PIL, or a tensor) and a class. All images are read into memory,
    as numbers in [0, 1]; grey levels of 16 bits keep all of them.
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
        super().__init__(dataset, train, test, val, split_seed)
        require(channels in {None, 1, 3}, "channels", channels, "1, 3 or null")
        ok = size is None or min(size) > 0
        require(ok, "size", size, "height and width, both > 0, or null")
        self.root, self.size, self.channels = root, size, channels

    def open(self, arguments: dict[str, Any]) -> Any:
        """Open the data set.

        Args:
            arguments: of its class; the root is added, and of an image folder how files are read.

        Returns:
            The data set.

        Raises:
            ConfigError: if there is no such class, or it does not take these arguments.
            DataError: if it is not there.
        """
        takes = inspect.signature(imported(self.dataset)).parameters
        if "root" in takes and "root" not in arguments:
            arguments = {"root": str(self._found_root()), **arguments}
        if "loader" in takes and takes["loader"].default is datasets.folder.default_loader:
            arguments = {"loader": read, **arguments}
        try:
            found = super().open(arguments)
        except (ConfigError, DataError):
            raise
        except Exception as error:  # of files that are torn or foreign anything may come
            where = f" in {arguments['root']}" if "root" in arguments else ""
            can_fetch = "download" in takes and not arguments.get("download")
            fetch = "; or set download: true to fetch it there" if can_fetch else ""
            reason = " ".join(str(error).split())
            raise DataError(
                f"{self.dataset}: got no data set that can be read{where} ({reason}); allowed: a "
                f"root, or ${ROOT_VARIABLE}, that holds it as torchvision lays it out{fetch}"
            ) from error
        folders = found.classes if isinstance(found, datasets.DatasetFolder) else []
        if hidden := [name for name in folders if name.startswith(".")]:
            raise DataError(
                f"{found.root}: got the hidden folder {hidden[0]!r} as a class; allowed: a folder "
                "for each class and nothing else; take it out"
            )
        return found

    def tensors(self, dataset: Any) -> tuple[Tensor, Sequence[Any]]:
        """All images and labels of a data set.

        Args:
            dataset: the data set.

        Returns:
            The images, shape ``(n, channels, height, width)``, and their labels.
        """
        as_stored = self.size is None and self.channels in {None, 1}
        if isinstance(dataset, datasets.MNIST) and dataset.targets.ndim == 1 and as_stored:
            # at once: 60,000 items take seconds
            return _checked(dataset)
        images, labels = super().tensors(dataset)
        if isinstance(dataset, datasets.DatasetFolder):
            labels = [dataset.classes[label] for label in labels]  # the folders' names
        return images, labels

    def tensor(self, example: Any) -> Tensor:
        """An image as a tensor.

        Args:
            example: of PIL, or a tensor.

        Returns:
            Shape ``(channels, height, width)``.
        """
        channels, image = self.channels, example
        if not isinstance(image, Tensor):
            image = pixels(image, channels)
        elif channels not in {None, len(image)}:
            grey = functional.rgb_to_grayscale(image) if len(image) == 3 else image
            image = grey.expand(channels, -1, -1)
        if self.size is not None:
            image = functional.resize(image, list(self.size), antialias=True)
        return torch.as_tensor(image)

    def _split(self, examples: Tensor, classes: np.ndarray) -> Split:
        # only now: floating-point numbers are four times as large
        if examples.dtype == torch.uint8:
            examples = examples.to(torch.float32).div_(255)
        return super()._split(examples, classes)

    def _found_root(self) -> Path:
        root = self.root or os.environ.get(ROOT_VARIABLE)
        if not root:
            raise DataError(
                f"{self.dataset}: got no root, and ${ROOT_VARIABLE} is not set; allowed: a folder "
                "of data sets in either of them"
            )
        return Path(root).expanduser()


def _checked(dataset: datasets.MNIST) -> tuple[Tensor, list[int]]:
    # torchvision takes the numbers of a file as they come
    images, labels, classes = dataset.data, dataset.targets, len(dataset.classes)
    found = {
        f"{len(images)} images and {len(labels)} labels": len(images) != len(labels),
        f"images of the shape {tuple(images.shape[1:])}": images.ndim != 3,
        "no image": len(images) == 0,
    }
    if not any(found.values()):
        found |= {
            f"labels from {int(labels.min())} to {int(labels.max())} of {classes} classes": not (
                labels.min() >= 0 and labels.max() < classes
            ),
            "images without any contrast": images.min() == images.max(),
        }
    for got, wrong in found.items():
        if wrong:
            raise DataError(
                f"{dataset.raw_folder}: got {got}; allowed: the files of "
                f"{type(dataset).__name__} as they were published; fetch them anew"
            )
    return images[:, None], labels.tolist()


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
