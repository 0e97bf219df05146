"""Packages whose names are loaded when they are asked for (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any


def on_demand(
    package: str, **names: Sequence[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """What makes a package import the module that has a name once the name is asked for.

    Args:
        package: the package's own name.
        **names: for each of its modules the names that the package hands on.

    Returns:
        ``__getattr__`` and ``__dir__`` of the package; the latter lists names that are not loaded
        yet, too, so that a notebook can complete them.
    """
    home = {name: module for module, handed in names.items() for name in handed}

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{home[name]}"), name)

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home})

    return get, listed
