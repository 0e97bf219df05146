"""Arrays and tables in files as sources: npz, npy, CSV and Parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from thermo_pl.datamodules.sources import (
    SPLITS,
    ImageSource,
    Split,
    as_classes,
    check_shares,
    divide,
)
from thermo_pl.errors import DataError, require

Array = npt.NDArray[Any]


class _Table(NamedTuple):
    # what a file holds: one array a column (or an array of all examples), and how a row is named
    columns: Mapping[str, Array]
    row: Callable[[int], str]


class ArraySource(ImageSource):
    """Examples and their classes from a file; its ending says which kind it is.

    - ``.csv``: the first line names the columns; ``labels`` is one of them, ``features`` are all
      others unless some are named.
    - ``.parquet``: the same, by pyarrow.
    - ``.npz``: ``labels`` names one array and ``features`` another, of any shape ``(n, ...)``; it
      may be left out where there are no others.
    - ``.npy``: the examples; ``labels`` is another ``.npy`` file.

    Labels may be names or whole numbers, with gaps or below zero. What is not a finite number is
    refused with its place.

    Example:
        >>> import numpy as np, tempfile, pathlib
        >>> from thermo_pl.datamodules import ArraySource
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "plants.npz"
        >>> x, y = np.random.default_rng(0).normal(size=(60, 4)), np.repeat(["iris", "rose"], 30)
        >>> np.savez(file, x=x, y=y)
        >>> source = ArraySource(file, labels="y")
        >>> tuple(source.load()["train"].images.shape), source.names
        ((39, 4), ('iris', 'rose'))
    """

    def __init__(
        self,
        path: str | Path,
        labels: str,
        features: str | list[str] | None = None,
        test: str | Path | float = 0.2,
        val: float = 0.15,
        split_seed: int = 0,
    ) -> None:
        """Name the file; it is read by :meth:`load`.

        Args:
            path: the file.
            labels: the column, the array or the file that holds the classes.
            features: the columns, or the array, that hold the examples; all others if not given.
            test: a file of the same kind with the test examples, or the share of the examples that
                is held out for testing.
            val: share of the examples that is held out for validation.
            split_seed: which split.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        self.path, self.labels = Path(path).expanduser(), labels
        self.features = [features] if isinstance(features, str) else features
        kind = self.path.suffix.lower()
        require(kind in READERS, "path", str(path), f"a file that ends in {', '.join(READERS)}")
        require(self.features != [], "features", features, "one or more names, or null for all")
        self.test = test if isinstance(test, float | int) else Path(test).expanduser()
        alone = kind != ".npy" or not isinstance(self.test, Path)
        require(alone, "test", str(test), "a share: npy files hold no labels; or save an npz")
        check_shares(val, None if isinstance(self.test, Path) else self.test, split_seed)
        self.val, self.split_seed = val, split_seed

    def load(self) -> dict[str, Split]:
        """Read the file.

        Returns:
            Splits "train", "val" and "test".

        Raises:
            DataError: if a file cannot be read, or does not hold what was named.
        """
        x, y = self._read(self.path)
        if not isinstance(self.test, Path):
            classes, self.names = as_classes(y, str(self.path))
            sizes = {"val": self.val, "test": self.test}
            parts = divide(str(self.path), classes, sizes, self.split_seed)
            return {name: _split(x[parts[name]], classes[parts[name]]) for name in SPLITS}
        x_test, y_test = self._read(self.test)
        # together, so that both files number the classes alike
        both, self.names = as_classes(np.concatenate([y, y_test]), str(self.path))
        parts = divide(str(self.path), both[: len(y)], {"val": self.val}, self.split_seed)
        found = {name: _split(x[index], both[index]) for name, index in parts.items()}
        return found | {"test": _split(x_test, both[len(y) :])}

    def _read(self, path: Path) -> tuple[Array, Array]:
        try:
            if path.exists() and not path.is_file():
                raise OSError("a directory, a pipe or a device, not a file")
            table = READERS[path.suffix.lower()](path, self.labels)
        except DataError:
            raise
        except Exception as error:  # of files that are torn or foreign anything may come
            raise DataError(
                f"{path}: got no file that can be read ({' '.join(str(error).split())[:200]}); "
                f"allowed: {', '.join(READERS)}"
            ) from error
        labels = _column(table, self.labels, path, "labels")
        names = self.features or [name for name in table.columns if name != self.labels]
        if not names:
            raise DataError(f"{path}: got labels alone; allowed: examples beside them")
        columns = [_numbers(_column(table, n, path, "features"), n, path, table) for n in names]
        whole = len(columns) == 1 and columns[0].ndim > 1
        examples = columns[0] if whole else _side_by_side(columns, names, path)
        if len(examples) != len(labels) or len(labels) == 0:
            raise DataError(
                f"{path}: got {len(examples)} examples and {len(labels)} labels; allowed: one "
                "label for each, and at least one"
            )
        return examples, labels


def _split(x: Array, classes: npt.NDArray[np.int64]) -> Split:
    return Split(torch.from_numpy(x), torch.from_numpy(classes))


def _column(table: _Table, name: str, path: Path, argument: str) -> Array:
    if name not in table.columns:
        raise DataError(
            f"{argument}: got {name!r}, which {path} does not hold; allowed: "
            f"{', '.join(table.columns)}"
        )
    return table.columns[name]


def _side_by_side(columns: Sequence[Array], names: Sequence[str], path: Path) -> Array:
    shapes = {column.shape for column in columns}
    if len(shapes) > 1 or columns[0].ndim != 1:
        raise DataError(
            f"{path}: got arrays of the shapes {sorted(shapes)} ({', '.join(names)}); allowed: one "
            "array of examples, named by features, or columns of one length"
        )
    return np.stack(columns, 1)


def _numbers(column: Array, name: str, path: Path, table: _Table) -> Array:
    # as float32, with the place of what is no finite number
    try:
        values = column.astype(np.float32)
    except (ValueError, TypeError):
        bad = next(i for i, value in enumerate(column) if not _is_number(value))
        _refuse(column[bad], name, path, table.row(bad))
    if not np.isfinite(values).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        where = name if values.ndim == 1 else f"{name}{list(place[1:])}"
        _refuse(column[place], where, path, table.row(place[0]))
    return values


def _refuse(value: object, name: str, path: Path, row: str) -> None:
    raise DataError(
        f"{path}: got {value!s:.30} in {row}, column {name}; allowed: finite numbers; leave the "
        "row out, fill the gap, or name the columns of numbers in features"
    )


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def _read_csv(path: Path, labels: str) -> _Table:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        head = next(reader, [])
        rows, lines = [], []
        for row in reader:
            if row:  # an empty line is no row
                rows.append(row)
                lines.append(reader.line_num)
    if len(set(head)) != len(head):
        raise ValueError(f"its first line names a column twice: {', '.join(head)}")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(head):
            raise ValueError(f"line {line} has {len(row)} values for {len(head)} columns")
    columns = [np.array([row[i] for row in rows], dtype=object) for i in range(len(head))]
    return _Table(dict(zip(head, columns, strict=True)), lambda row: f"line {lines[row]}")


def _read_parquet(path: Path, labels: str) -> _Table:
    try:
        from pyarrow import parquet  # only here: a large package that few need
    except ImportError as error:
        raise DataError(
            f"{path}: got a Parquet file, and pyarrow is not installed; install it (pip install "
            "pyarrow), or save the table as CSV or npz"
        ) from error
    table = parquet.read_table(path)
    columns = {name: np.asarray(table.column(name)) for name in table.column_names}
    return _Table(columns, _nth_row)


def _read_npz(path: Path, labels: str) -> _Table:
    with np.load(path, allow_pickle=False) as file:
        return _Table({name: file[name] for name in file.files}, _nth_row)


def _read_npy(path: Path, labels: str) -> _Table:
    # the labels are in another file
    arrays = {str(file): np.load(file, allow_pickle=False) for file in (path, labels)}
    return _Table(arrays, _nth_row)


def _nth_row(row: int) -> str:
    return f"row {row}"


READERS: dict[str, Callable[[Path, str], _Table]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
"""By the ending of a file."""
