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
from collections.abc import Iterable, Mapping, Sequence
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
    target = Path(path)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}")  # same file system as the target
    try:
        with open(part, "x", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # else a power cut can leave the new name on an empty file
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
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        if unknown := row.keys() - set(columns):
            raise DataError(f"CSV row: got keys {sorted(unknown)}; allowed: {', '.join(columns)}")
        writer.writerow([_cell(row.get(column)) for column in columns])
    write_atomic(path, buffer.getvalue())


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
        header, *lines = list(csv.reader(io.StringIO(read_regular(path), newline=""))) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{os.fspath(path)}: {error}; allowed: a CSV file of a run") from error
    for number, line in enumerate(lines, 2):
        if len(line) != len(header):
            raise DataError(
                f"{os.fspath(path)}, row {number}: got {len(line)} cells; allowed: {len(header)}"
            )
    return [dict(zip(header, map(_value, line), strict=True)) for line in lines]


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
