"""A disk cache of NumPy arrays, addressed by the content of what they were computed from."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thermo_pl.errors import TransportError
from thermo_pl.files import write_whole

Arrays = Mapping[str, npt.NDArray[Any]]

# Part of every key: raise it when what is stored, or how it is computed, changes.
FORMAT_VERSION = 4

CHECKSUM = "checksum"
"""Name of the array that says what the others of a file are, and under which name they belong."""


def default_cache_dir() -> Path:
    """The directory that holds couplings unless another one is given.

    Returns:
        ``$XDG_CACHE_HOME/thermo_pl/couplings``, or the same below ``~/.cache`` where the
        variable is unset or not an absolute path (which its specification says to ignore).
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "thermo_pl" / "couplings"


def content_hash(kind: str, inputs: Sequence[npt.NDArray[Any]]) -> str:
    """Hash of what a result depends on.

    Args:
        kind: what is computed from the inputs.
        inputs: the arrays; their bytes, shapes and dtypes all count.

    Returns:
        The sha256 digest in hexadecimal digits.
    """
    digest = hashlib.sha256(f"thermo_pl {FORMAT_VERSION} {kind}".encode())
    for array in inputs:
        digest.update(f"|{array.dtype.str}{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class ArrayCache:
    """Results on disk, one ``.npz`` file each, named by the hash of their inputs.

    Files are written under a temporary name and moved into place: a reader never meets half a file.
    Two runs that compute the same thing at once merely write it twice.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        """Choose the folder.

        Args:
            directory: where the files lie; None for :func:`default_cache_dir`. It is created when
                something is first stored.
        """
        self.directory = default_cache_dir() if directory is None else Path(directory).expanduser()

    def place(self, kind: str, *inputs: str) -> Path:
        """Where a result is kept.

        Args:
            kind: what is computed, part of the file's name.
            *inputs: hashes of what it is computed from.

        Returns:
            The file, whether it is there or not.
        """
        return self.directory / f"{kind}-{content_hash(' '.join((kind, *inputs)), [])}.npz"

    def find(self, place: Path, check: Callable[[Arrays], None]) -> Arrays | None:
        """The stored result, if there is one.

        A file that cannot be read, that is not what was stored under its name, or whose content
        fails the check, counts as none, with a warning that names it.

        Args:
            place: where it is kept.
            check: raises an exception if stored arrays are not what they must be.

        Returns:
            The arrays by name, or None.
        """
        if not place.is_file():
            return None
        try:
            return _read(place, check)
        except Exception as error:  # of bytes that are not ours anything may come
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            warnings.warn(
                f"unreadable cache file {place} ({reason}); it is computed and written again",
                stacklevel=2,
            )
            return None

    def keep(self, place: Path, arrays: Arrays) -> None:
        """Store a result; where that fails a warning says so.

        Args:
            place: where it is kept.
            arrays: the arrays by name.
        """
        try:
            _write(place, arrays)
        except OSError as error:
            warnings.warn(
                f"cannot store a coupling in {self.directory} ({error}); it will be computed "
                "again next time, unless cache_dir names a directory that can be written",
                stacklevel=2,
            )


def _read(path: Path, check: Callable[[Arrays], None]) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    checksum = str(arrays.pop(CHECKSUM, "none"))
    if checksum != _checksum(path, arrays):
        raise TransportError("its checksum is not that of its content")
    check(arrays)
    return arrays


def _checksum(path: Path, arrays: Arrays) -> str:
    names = sorted(arrays)
    return content_hash(" ".join((path.name, *names)), [arrays[name] for name in names])


def _write(path: Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    named: dict[str, Any] = {CHECKSUM: np.array(_checksum(path, arrays)), **arrays}
    content = io.BytesIO()
    np.savez(content, **named)
    write_whole(path, content.getbuffer())
