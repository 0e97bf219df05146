"""The directory of one run: numbered, and nobody else's."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from thermo_pl import __version__
from thermo_pl.errors import ConfigError

LIBRARIES = ("torch", "pytorch-lightning", "POT", "scikit-learn", "numpy", "wandb")
"""Whose versions a run's config tells."""

_NUMBERED = re.compile(r"version_(\d+)")


def create_run_directory(root: str | os.PathLike[str]) -> Path:
    """Create the next free ``version_N`` under ``root``.

    N is one more than the highest there is; ``mkdir`` refuses a directory that exists, so two
    runs that start at the same moment get different ones.

    Args:
        root: the parent; created if it is missing.

    Returns:
        The new, empty directory.

    Raises:
        ConfigError: if ``root`` is a URL or no directory can be made there.
    """
    parent = Path(root).expanduser()
    advice = "allowed: a local directory that can be written to"
    if "://" in os.fspath(root):
        raise ConfigError(f"trainer.default_root_dir: got {os.fspath(root)!r}; {advice}")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        number = 1 + max(_numbers(parent), default=-1)
        while True:
            child = parent / f"version_{number}"
            try:
                child.mkdir()
            except FileExistsError:
                number += 1
            else:
                return child
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"trainer.default_root_dir: got {os.fspath(root)!r} ({reason}); {advice}"
        ) from error


def run_directories(root: Path) -> list[Path]:
    """The ``version_N`` under ``root``.

    Args:
        root: the parent.

    Returns:
        Those that were made last come first.
    """
    numbers = _numbers(root) if root.is_dir() else []
    return [root / f"version_{number}" for number in sorted(numbers, reverse=True)]


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of the libraries that a run's numbers depend on.

    Returns:
        Name to version; what is not installed is left out.
    """
    found = {"thermo_pl": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _numbers(parent: Path) -> list[int]:
    found = (_NUMBERED.fullmatch(child.name) for child in parent.iterdir())
    return [int(match[1]) for match in found if match]
