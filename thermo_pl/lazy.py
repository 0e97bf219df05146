"""Packages whose names are loaded when they are asked for (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any


def on_demand(package: str, **names: Sequence[str]) -> Callable[[str], Any]:
    """A ``__getattr__`` for a package: it imports the module that has a name, and no other.

    Args:
        package: the package's own name.
        **names: for each of its modules the names that the package hands on.

    Returns:
        The function.
    """
    home = {name: module for module, handed in names.items() for name in handed}

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{home[name]}"), name)

    return get
