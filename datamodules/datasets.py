"""Data sets of torch and of Hugging Face as sources, by class path or by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from thermo_pl.datamodules.pictures import pixels
from thermo_pl.datamodules.sources import (
    SPLITS,
    ImageSource,
    Split,
    as_classes,
    check_shares,
    divide,
)
from thermo_pl.errors import ConfigError, DataError, located


class DatasetSource(ImageSource):
    """Any ``torch.utils.data.Dataset`` with a length, by its class path.

    Its items are pairs of an example, of any shape that is the same for all, and a class: a whole
    number or a name. All are read into memory.
    """

    def __init__(
        self,
        dataset: str,
        train: dict[str, Any] | None = None,
        test: dict[str, Any] | float = 0.2,
        val: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        """Keep how the data are opened; they are read by :meth:`load`.

        Args:
            dataset: class path, such as ``my_package.MyDataset``.
            train: arguments that open its training examples.
            test: arguments that open its test examples, or the share of the training examples
                that is held out for testing.
            val: share of the training examples that is held out for validation.
            split_seed: which split.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        check_shares(val, None if isinstance(test, dict) else test, split_seed)
        self.dataset, self.train, self.test = dataset, dict(train or {}), test
        self.val, self.split_seed = val, split_seed

    def load(self) -> dict[str, Split]:
        """Read the examples.

        Returns:
            Splits "train", "val" and "test".

        Raises:
            ConfigError: if there is no such class, or it does not take these arguments.
            DataError: if the data set is not there, or its items are not examples with a class.
        """
        parts = [self._read(self.train)]
        shares = {"val": self.val}
        if isinstance(self.test, dict):
            parts.append(self._read(self.test))
        else:
            shares["test"] = self.test
        # together, so that names are numbered alike
        both, self.names = as_classes(np.concatenate([y for _, y in parts]), self.dataset)
        x, count = parts[0][0], len(parts[0][1])
        chosen = divide(self.dataset, both[:count], shares, self.split_seed)
        splits = {name: self._split(x[index], both[index]) for name, index in chosen.items()}
        if isinstance(self.test, dict):
            splits["test"] = self._split(parts[1][0], both[count:])
        return {name: splits[name] for name in SPLITS}

    def open(self, arguments: dict[str, Any]) -> Any:
        """Open the data set.

        Args:
            arguments: of its class.

        Returns:
            The data set.

        Raises:
            ConfigError: if there is no such class, or it does not take these arguments.
        """
        kind = imported(self.dataset)
        takes = inspect.signature(kind).parameters
        try:
            inspect.signature(kind).bind(**arguments)
        except TypeError as error:
            raise ConfigError(
                f"dataset: got the arguments {arguments} for {self.dataset} ({error}); allowed: "
                f"{', '.join(takes)}"
            ) from error
        return kind(**arguments)

    def tensor(self, example: Any) -> Tensor:
        """An example as a tensor.

        Args:
            example: as the data set gives it: a tensor, an array or numbers.

        Returns:
            The tensor.
        """
        return torch.as_tensor(example)

    def tensors(self, dataset: Any) -> tuple[Tensor, Sequence[Any]]:
        """All examples and labels of a data set.

        Args:
            dataset: the data set.

        Returns:
            The examples, shape ``(n, *image)``, and their labels.

        Raises:
            DataError: if it has no length, or its items are no pairs or differ in shape.
        """
        name = type(dataset).__name__
        if not hasattr(dataset, "__len__"):
            raise DataError(
                f"{self.dataset}: got a data set without a length; allowed: a map-style one, whose "
                "items can be asked for by number"
            )
        examples, labels = [], []
        for number in range(len(dataset)):
            item = dataset[number]
            if not isinstance(item, Sequence) or len(item) != 2:
                raise DataError(
                    f"{name}: got {type(item).__name__} as item {number}; allowed: a pair of an "
                    "example and its class"
                )
            examples.append(self.tensor(item[0]))
            labels.append(_label(item[1], name))
        kinds = sorted({(tuple(x.shape), str(x.dtype)) for x in examples})
        if len(kinds) != 1:
            some = " and ".join(f"{shape} of {dtype}" for shape, dtype in kinds[:2])
            raise DataError(
                f"{name}: got examples of {len(kinds)} shapes or types, such as {some}; allowed: "
                "one; of images, set size: [height, width] or channels of a VisionDataset"
            )
        return torch.stack(examples), labels

    def _read(self, arguments: dict[str, Any]) -> tuple[Tensor, np.ndarray]:
        examples, labels = self.tensors(self.open(arguments))
        return examples, np.array(labels)

    def _split(self, examples: Tensor, classes: np.ndarray) -> Split:
        return Split(examples.to(torch.float32), torch.from_numpy(classes))


class HuggingFaceSource(DatasetSource):
    """A data set of the Hugging Face Hub, or one saved on disk, by the package ``datasets``.

    Examples are columns of numbers, side by side, or one column of arrays or images, grey levels
    and colours being scaled to [0, 1].
    """

    def __init__(
        self,
        path: str,
        label: str,
        features: str | list[str],
        train: str = "train",
        test: str | float = 0.2,
        val: float = 0.1,
        split_seed: int = 0,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Name the data set; it is read by :meth:`load`.

        Args:
            path: what ``datasets.load_dataset`` takes, or a folder of ``save_to_disk``.
            label: the column of classes.
            features: the columns of the examples.
            train: the split of the training examples.
            test: the split of the test examples, or the share of the training examples that is
                held out for testing.
            val: share of the training examples that is held out for validation.
            split_seed: which split.
            options: other arguments of ``load_dataset``, such as ``{name: ..., revision: ...}``;
                pin a revision, so that the examples stay the same.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        other = {"split": test} if isinstance(test, str) else test
        super().__init__(path, {"split": train}, other, val, split_seed)
        self.label, self.features, self.options = label, features, dict(options or {})

    def open(self, arguments: dict[str, Any]) -> Any:
        """Open a split.

        Args:
            arguments: ``{split: ...}``.

        Returns:
            Its items as pairs.

        Raises:
            ConfigError: if there is no such column.
            DataError: if ``datasets`` is not installed, or the data set cannot be opened.
        """
        try:
            import datasets  # only here: a large package that few need
        except ImportError as error:
            raise DataError(
                f"{self.dataset}: got a HuggingFaceSource, and the package datasets is not "
                "installed; install it (pip install datasets), or save the data as npz for an "
                "ArraySource"
            ) from error
        split = arguments["split"]
        try:
            found = _on_disk(datasets, self.dataset)
            table = (
                found[split]
                if found
                else datasets.load_dataset(self.dataset, **self.options, split=split)
            )
        except Exception as error:  # of any of the packages below it
            raise DataError(
                f"{self.dataset}: got no data set with the split {split!r} "
                f"({' '.join(str(error).split())[:200]}); allowed: a name on the Hub, or a folder "
                "that save_to_disk wrote"
            ) from error
        names = [self.features] if isinstance(self.features, str) else self.features
        if missing := [name for name in [*names, self.label] if name not in table.column_names]:
            raise ConfigError(f"features: got {missing}; allowed: {', '.join(table.column_names)}")
        return _Items(table, names, self.label)


class _Items:
    # rows of a table as pairs; a label that is numbered by the table gets its name back
    def __init__(self, table: Any, names: Sequence[str], label: str) -> None:
        self._table, self._names, self._label = table, names, label
        self._called = getattr(table.features[label], "names", None)

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        row: Mapping[str, Any] = self._table[index]
        label = row[self._label]
        called = label if self._called is None else self._called[label]
        if len(self._names) > 1:
            return [row[name] for name in self._names], called
        return _values(row[self._names[0]]), called


def _values(value: Any) -> Any:
    # images of PIL as (channels, height, width) in [0, 1]
    if not isinstance(value, Image.Image):
        return value
    found = pixels(value)
    return found / 255 if found.dtype == torch.uint8 else found


def _on_disk(datasets: Any, path: str) -> Any:
    try:
        return datasets.load_from_disk(path)
    except FileNotFoundError:
        return None


def imported(path: str) -> Callable[..., Any]:
    """The class of a path.

    Args:
        path: such as ``torchvision.datasets.ImageFolder``.

    Returns:
        The class.

    Raises:
        ConfigError: if there is no such class.
    """
    allowed = "the path of an importable class, such as torchvision.datasets.ImageFolder"
    found: Callable[..., Any] = located(path, "dataset", allowed)
    if not inspect.isclass(found):
        raise ConfigError(f"dataset: got {path!r}, which is no class; allowed: a class path")
    return found


def _label(label: Any, name: str) -> int | str:
    if isinstance(label, str):
        return label
    if isinstance(label, int | np.integer) or (isinstance(label, Tensor) and label.ndim == 0):
        return int(label)
    raise DataError(
        f"{name}: got labels of {type(label).__name__}; allowed: one class index or name "
        "for each example; see its arguments, such as target_type"
    )
