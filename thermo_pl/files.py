"""Files that are never half written, and tables that read back as they were.

Nothing here imports torch or Lightning, so that tools which only read runs start at once.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import re
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from thermo_pl.errors import DataError

_INTEGER = re.compile(r"[+-]?\d+")


def write_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` so that a reader sees the old file or the new one, never a part.

    Args:
        path: the file, in a directory that exists.
        text: what it shall contain, written as UTF-8 with the line ends as they are.
    """
    write_whole(path, text.encode())


def write_whole(
    path: str | os.PathLike[str],
    content: bytes | memoryview,
    first: Callable[[Path], None] | None = None,
) -> None:
    """Write bytes so that a reader sees the old file or the new one, never a part.

    Args:
        path: the file, in a directory that exists.
        content: what it shall contain.
        first: called with the file just before it is replaced, if there is one.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}")  # same file system as the target
    try:
        with open(part, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a power cut can leave the new name on an empty file
        if first is not None and target.exists():
            first(target)
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read_regular(path: str | os.PathLike[str]) -> str:
    """The text of a file, in UTF-8. A pipe in its place would be waited for, a device never ends.

    Args:
        path: the file.

    Returns:
        The text, with the line ends as they are.

    Raises:
        OSError: if there is no such file, or it is no regular one.
    """
    file = Path(path)
    if file.exists() and not file.is_file():
        kind = "a directory" if file.is_dir() else "a pipe or a device"
        raise OSError(errno.EINVAL, f"{kind}, not a file", os.fspath(path))
    with file.open(encoding="utf-8", newline="") as content:
        return content.read()


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write ``obj`` as strict JSON, atomically; NaN and infinities become ``null``.

    Args:
        path: the file.
        obj: dicts, lists, strings, numbers, booleans and None.
    """
    write_atomic(path, strict_json(obj, indent=2) + "\n")


def strict_json(obj: Any, indent: int | None = None) -> str:
    """``obj`` as JSON that every reader takes; NaN and infinities become ``null``.

    Args:
        obj: dicts, lists, strings, numbers, booleans and None.
        indent: spaces of a level; all in one line if None.

    Returns:
        The text.
    """
    return json.dumps(_finite(obj), indent=indent, allow_nan=False, ensure_ascii=indent is not None)


def write_csv(
    path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]], columns: Sequence[str]
) -> None:
    """Write all ``rows`` under a header, atomically.

    Floats keep every digit; NaN, None and a column that a row lacks are left empty.

    Args:
        path: the file.
        rows: one mapping per line; its keys must be among ``columns``.
        columns: the header, in order.

    Raises:
        DataError: if a row has a key that is not a column.
    """
    write_atomic(path, _lines([columns]) + _lines(_cells(rows, columns)))


class GrowingCsv:
    """A table that grows at its end: a row is written once, whatever the number of rows before it.

    Rows are appended by a single call of the system, after which the file ends with a whole line
    again; a line that a power cut leaves unfinished is left out by :func:`read_csv`. Where the file
    is not what was written last, or its rows are others, all of it is replaced.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> table = GrowingCsv(Path(mkdtemp()) / "path.csv", ["step", "C"])
        >>> rows = [{"step": 0, "C": 0.5}]
        >>> table.write(rows)
        >>> table.write([*rows, {"step": 1, "C": 0.25}])
        >>> read_csv(table.path)
        [{'step': 0, 'C': 0.5}, {'step': 1, 'C': 0.25}]
    """

    def __init__(self, path: str | os.PathLike[str], columns: Sequence[str]) -> None:
        """Begin with nothing written.

        Args:
            path: the file, in a directory that exists when it is written.
            columns: the header, in order.
        """
        self.path, self._columns = Path(path), columns
        self._written: list[Mapping[str, Any]] = []
        self._size = -1

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Bring the file to these rows.

        Args:
            rows: those written before, the same objects, and those that are new.
        """
        known = len(self._written)
        same = len(rows) >= known and all(a is b for a, b in zip(self._written, rows, strict=False))
        size = self.path.stat().st_size if self.path.is_file() else None
        if same and size == self._size:
            _append(self.path, _lines(_cells(rows[known:], self._columns)))
        else:
            write_csv(self.path, rows, self._columns)
        self._written, self._size = list(rows), self.path.stat().st_size


def is_due(count: int, last: int) -> bool:
    """Whether what costs as much as all rows together is to be done again.

    Of the first hundred rows it is done at each, and later as they have grown by a fiftieth: so its
    share of a row's time stays the same, however many rows there are.

    Args:
        count: rows now.
        last: rows when it was done last.

    Returns:
        Whether it is.
    """
    return count <= 100 or 50 * (count - last) >= count


def read_csv(path: str | os.PathLike[str]) -> list[dict[str, float | int | str | None]]:
    """Read what :func:`write_csv` wrote.

    Args:
        path: the file.

    Returns:
        One dict per row: an empty cell is None, a number is int or float, the rest is text.

    Raises:
        DataError: if the file is missing, is not text, or a row is not as long as the header.
    """
    try:
        text = _whole_lines(read_regular(path), path)
        header, *lines = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{os.fspath(path)}: {error}; allowed: a CSV file of a run") from error
    for number, line in enumerate(lines, 2):
        if len(line) != len(header):
            raise DataError(
                f"{os.fspath(path)}, row {number}: got {len(line)} cells; allowed: {len(header)}"
            )
    return [dict(zip(header, map(_value, line), strict=True)) for line in lines]


def _append(path: Path, text: str) -> None:
    data = text.encode()
    with open(path, "ab", buffering=0) as file:
        before = file.tell()
        try:
            written = file.write(data) or 0
            if written < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise


def _whole_lines(text: str, path: str | os.PathLike[str]) -> str:
    whole, end, rest = text.rpartition("\n")
    if rest:
        warnings.warn(
            f"{os.fspath(path)}: its last line has no end; it was cut off while it was written, "
            "and is left out",
            stacklevel=3,
        )
    return whole + end


def _lines(rows: Iterable[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _cells(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[list[str]]:
    for row in rows:
        if unknown := row.keys() - set(columns):
            raise DataError(f"CSV row: got keys {sorted(unknown)}; allowed: {', '.join(columns)}")
        yield [_cell(row.get(column)) for column in columns]


def _plain(obj: Any) -> Any:
    # The Python number behind a NumPy or torch scalar.
    return obj.item() if hasattr(obj, "item") else obj


def _finite(obj: Any) -> Any:
    if isinstance(obj, Mapping):
        return {str(key): _finite(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_finite(value) for value in obj]
    obj = _plain(obj)
    return None if isinstance(obj, float) and not math.isfinite(obj) else obj


def _cell(value: Any) -> str:
    value = _plain(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value)  # of a float, the shortest digits that read back as the same float


def _value(cell: str) -> float | int | str | None:
    if not cell:
        return None
    try:
        if _INTEGER.fullmatch(cell):
            return int(cell)
        return cell if "_" in cell else float(cell)  # Python reads 1_0 as a number; a name it is
    except ValueError:
        return cell
