"""One line out of a refusal: which key, what was got, what is allowed.

jsonargparse tells a mistake in up to 67 lines, whose wording is its own affair. The mistake is
looked for in the config itself, entry by entry, by what the constructors take; the parser's text
is passed on only where nothing is found.
"""

from __future__ import annotations

import difflib
import inspect
import re
import textwrap
import traceback
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from thermo_pl.configs import classes
from thermo_pl.configs.tree import short, walk
from thermo_pl.errors import ConfigError, ThermoError


def explain(config: Mapping[str, Any], types: Mapping[str, Any], told: str) -> str:
    """Find the mistake in a config that the parser refused.

    Args:
        config: the whole config, flags included.
        types: type of each key at the top; a class whose arguments stand there themselves, such as
            the Trainer, in a tuple.
        told: the parser's text.

    Returns:
        One line: key, value got, what is allowed. Up to five of the parser's own if nothing is
        found.
    """
    found = next(_mistakes(config, types), "")
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return found or " | ".join(line[:200] for line in lines[:3] + lines[3:][-2:])


def refusal(error: Exception, config: Any) -> ThermoError:
    """Name the place in a config whose class raised an error while it was built.

    Args:
        error: what was raised.
        config: the config, as plain data.

    Returns:
        An error with the full path of the key, where one can be found.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    by = str(frames[-1][0].f_globals.get("__name__"))
    if isinstance(error.__cause__, Exception) and by.startswith("jsonargparse"):
        return refusal(error.__cause__, config)  # it wraps what a constructor raised
    text = str(error)
    if isinstance(error, ThermoError):
        name, _, rest = text.partition(": got ")
        places = [
            path
            for path, value in walk(config)
            if re.sub(r"\.init_args|\[\d+\]", "", path).endswith(f".{name}")
            and rest.startswith((f"{value!r};", f"{value};"))
        ]
        return type(error)(f"{places[0]}: got {rest}") if len(places) == 1 else error
    # an optimiser may look at its arguments only in its first step, and then it names all of them
    steps = by.startswith("torch.optim") and "step" in {frame.f_code.co_name for frame, _ in frames}
    built = [
        type(frame.f_locals["self"]).__name__
        for frame, _ in frames
        if frame.f_code.co_name == ("step" if steps else "__init__") and "self" in frame.f_locals
    ]
    frame, line = frames[-1]
    where = f"{Path(frame.f_code.co_filename).name}:{line}"
    told = textwrap.shorten(text, 200, placeholder=" …")
    return ConfigError(f"{_place(built, '' if steps else text, config)}: {told} ({where})")


def _place(built: list[str], text: str, config: Any) -> str:
    # the entry whose class was being built, and its argument if the text names one, or a value
    entries = {
        value["class_path"].rpartition(".")[2]: path
        for path, value in walk(config)
        if isinstance(value, dict) and isinstance(value.get("class_path"), str)
    }
    path = next((entries[name] for name in reversed(built) if name in entries), "trainer")
    place = path if path == "trainer" else f"{path}.init_args"
    arguments = dict(walk(config)).get(place) or {}
    words = [word.strip(".") for word in re.split(r"[^\w.+-]+", text)]
    named = [key for word in words for key in arguments if word == key]
    named += [key for key, value in arguments.items() if str(value) in words]
    return f"{place}.{named[0]}: got {short(arguments[named[0]])}" if named else path


def _bare(path: str) -> str:
    return re.sub(r"\.init_args|\[\d+\]", "", path)


def _mistakes(config: Mapping[str, Any], types: Mapping[str, Any]) -> Iterator[str]:
    for key, value in config.items():
        if key not in types:
            yield _unknown(key, value, types)
        elif not isinstance(types[key], tuple):
            yield from _entry(key, value, types[key])
        elif isinstance(value, dict):
            yield from _arguments(key, value, *types[key])
        else:
            yield f"{key}: got {short(value)}; allowed: keys, such as max_epochs"
    for key in ("model", "data"):
        if config.get(key) is None:
            yield f"{key}: got nothing; allowed: a class with its init_args, in --config FILE"


def _entry(path: str, value: Any, hint: Any) -> Iterator[str]:
    # the mistakes at a place in a config and below it, the deepest first
    if hint is None or _fits(value, hint):
        return
    kinds, name = classes.named(hint), value
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _entry(f"{path}[{index}]", item, _item(hint, index))
    elif isinstance(value, dict) and "class_path" in value:
        name, where = value["class_path"], f"{path}.init_args"
        kind = classes.resolve(name, kinds)
        if kind is not None and issubclass(kind, tuple(kinds)):
            handed = int(any(typing.get_origin(part) is Callable for part in _parts(hint)))
            yield from _arguments(where, value.get("init_args") or {}, kind, handed)
        path = f"{path}.class_path"
    elif isinstance(value, dict):
        for kind in kinds:
            if not inspect.isabstract(kind):
                yield from _arguments(path, value, kind)
    listed = any(typing.get_origin(part) is list for part in _parts(hint))
    told = isinstance(name, str) or (isinstance(name, list | dict) and not listed)
    is_class = told and kinds and {str, float}.isdisjoint(_parts(hint))
    allowed = _classes(name, kinds) if is_class else _readable(hint)
    reason = classes.reason(name) if is_class and isinstance(name, str) else ""
    why = f", whose module raises {reason}" if reason else ""
    yield f"{path}: got {short(name)}{why}; allowed: {allowed}"


def _arguments(path: str, given: Any, kind: type, handed: int = 0) -> Iterator[str]:
    # ``handed``: how many arguments are not the config's to give
    taken, hints = classes.parameters(kind), classes.hints(kind)
    for key, value in given.items():
        if key not in taken:
            yield _unknown(f"{path}.{key}", value, taken)
        else:
            yield from _entry(f"{path}.{key}", value, hints.get(key))
    for key, parameter in list(taken.items())[handed:]:
        if parameter.default is parameter.empty and key not in given:
            yield f"{path}.{key}: got nothing; allowed: {_readable(hints.get(key))}, which it needs"


def _fits(value: Any, hint: Any) -> bool:
    parser = ArgumentParser(exit_on_error=False)
    try:
        parser.add_argument("--value", type=hint)
    except ValueError:  # a type that only Python can give
        return True
    try:
        parser.parse_object({"value": value})
    except ArgumentError:
        return False
    return True


def _parts(hint: Any) -> list[Any]:
    # the alternatives of a union
    if typing.get_origin(hint) in {typing.Union, UnionType}:
        return [part for one in typing.get_args(hint) for part in _parts(one)]
    return [hint]


def _item(hint: Any, index: int) -> Any:
    # the type of an item of a list
    for part in _parts(hint):
        listed = typing.get_origin(part) not in {typing.Literal, Callable}
        if listed and (items := typing.get_args(part)):
            return items[index] if index < len(items) and items[index] is not ... else items[0]
    return None


def _unknown(path: str, value: Any, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(path.rpartition(".")[2], names, 3)
    more = ", …" if len(names) > len(close or names[:12]) else ""
    allowed = ", ".join(close or names[:12]) + more
    return f"{path}: got {short(value)}, but there is no such key; allowed: {allowed}"


def _classes(got: Any, kinds: list[type]) -> str:
    # names of classes that fit: the close ones, else a few, our own first
    found = [kind for kind in classes.subclasses(kinds) if not inspect.isabstract(kind)]
    own_first = sorted(found, key=lambda k: (not k.__module__.startswith("thermo_pl"), k.__name__))
    names = list(dict.fromkeys(k.__name__ for k in own_first if k.__name__[0] != "_"))
    close = difflib.get_close_matches(str(got).rpartition(".")[2], names, 3)
    some = close or names[:12]
    more = ", …" if len(names) > len(some) else ""
    return f"an importable class, such as {', '.join(some)}{more}"


def _readable(hint: Any) -> str:
    # a type as a YAML writer knows it
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(map(repr, typing.get_args(hint)))
    parts = _parts(hint)
    if len(parts) > 1:
        return ", ".join(map(_readable, parts))
    if hint is None or hint is type(None):
        return "null"
    if not typing.get_args(hint):
        name = getattr(hint, "__name__", str(hint))
        return "a whole number > 0" if name == "PositiveInt" else str(name)
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+(\w+)", r"\1", str(hint))
