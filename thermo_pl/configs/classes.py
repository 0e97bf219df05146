"""The classes that a config names: finding them, and what their constructors take."""

from __future__ import annotations

import inspect
import pydoc
import typing
from collections.abc import Iterable, Iterator
from typing import Any


def named(hint: Any) -> list[type]:
    """The classes in a type hint.

    Args:
        hint: a type, such as ``Sequence[Encoder] | None``; of a callable what it returns counts.

    Returns:
        The classes, those of the standard types left out.
    """
    if typing.get_origin(hint) is None:
        return [hint] if inspect.isclass(hint) and hint.__module__ != "builtins" else []
    return [kind for part in typing.get_args(hint) for kind in named(part)]


def subclasses(kinds: Iterable[type]) -> set[type]:
    """Classes that stand for a type, as far as they have been imported.

    Args:
        kinds: classes.

    Returns:
        The classes themselves, and all below them.
    """
    todo, seen = list(kinds), set[type]()
    while todo:
        kind = todo.pop()
        if kind not in seen:
            seen.add(kind)
            todo += type.__subclasses__(kind)
    return seen


def resolve(name: Any, kinds: Iterable[type]) -> type | None:
    """The class that a ``class_path`` means.

    Args:
        name: an import path, or the name of a class that has been imported.
        kinds: classes that it may be a subclass of, for a name without a path.

    Returns:
        The class, or None if there is none.
    """
    if not isinstance(name, str):
        return None
    if "." not in name:
        return next((kind for kind in subclasses(kinds) if kind.__name__ == name), None)
    try:
        found = pydoc.locate(name)
    except pydoc.ErrorDuringImport:
        return None
    return found if inspect.isclass(found) else None


def reason(name: Any) -> str:
    """Why the module of a ``class_path`` cannot be imported.

    Args:
        name: an import path.

    Returns:
        What it raises, in a line; empty where it raises nothing, or there is none.
    """
    try:
        pydoc.locate(str(name))
    except pydoc.ErrorDuringImport as error:
        return " ".join(f"{type(error.value).__name__}: {error.value}".split())
    return ""


def parameters(kind: type) -> dict[str, inspect.Parameter]:
    """What the constructor of a class takes, with what it hands on to those of its bases.

    Args:
        kind: a class.

    Returns:
        Parameters by name.
    """
    found: dict[str, inspect.Parameter] = {}
    for constructor in _constructors(kind):
        found = dict(inspect.signature(constructor).parameters) | found
    several = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return {name: p for name, p in found.items() if name != "self" and p.kind not in several}


def hints(kind: type) -> dict[str, Any]:
    """The types of what a constructor takes.

    Args:
        kind: a class.

    Returns:
        Type by name; empty if the annotations name something that is not imported.
    """
    found: dict[str, Any] = {}
    try:
        for constructor in _constructors(kind):
            found = typing.get_type_hints(constructor) | found
    except (TypeError, NameError):
        return {}
    return found


def _constructors(kind: type) -> Iterator[Any]:
    # the constructor, and those of the bases that its **arguments are handed on to
    for base in kind.__mro__:
        constructor = vars(base).get("__init__")
        if not inspect.isfunction(constructor):
            continue
        yield constructor
        taken = inspect.signature(constructor).parameters.values()
        if not any(p.kind is p.VAR_KEYWORD for p in taken):
            return
