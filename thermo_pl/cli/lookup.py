"""What the user's own config files and flags say: reading them, and finding places in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from thermo_pl.errors import ConfigError

_CLASS_KEYS = {"class_path", "init_args", "dict_kwargs"}
MISSING = object()
"""Stands for a value that is not there."""


def read_flags(args: list[str]) -> dict[str, str]:
    """The flags of a command line.

    Args:
        args: the words of the command line.

    Returns:
        The value of each flag, as text, by its key without dashes.
    """
    pairs = list(zip(args, [*args[1:], ""], strict=False))
    split = [(*word.partition("="), following) for word, following in pairs if word[:2] == "--"]
    return {flag[2:]: value if equals else following for flag, equals, value, following in split}


def check_sections(data: dict[str, Any]) -> None:
    """Refuse what the parser would pass over without a word.

    Args:
        data: a config.

    Raises:
        ConfigError: if there is such a thing.
    """
    if not isinstance(data.get("trainer", {}), dict):
        got = short(data["trainer"])
        raise ConfigError(f"trainer: got {got}; allowed: keys of the Trainer, such as max_epochs")
    for path, value in everything(data, ""):
        if not isinstance(value, dict):
            continue
        if not isinstance(value.get("init_args", {}), dict):
            got = short(value["init_args"])
            raise ConfigError(f"{path}.init_args: got {got}; allowed: arguments of the class")
        if "class_path" in value and (extra := value.keys() - _CLASS_KEYS):
            key = min(extra, key=str)
            raise ConfigError(
                f"{path}.{key}: got {short(value[key])}, but there is no such key beside "
                "class_path; allowed: init_args, and arguments inside it"
            )
        if not isinstance(value.get("class_path", ""), str):
            got = short(value["class_path"])
            raise ConfigError(f"{path}.class_path: got {got}; allowed: the name of a class")


def locate(keys: list[str], got: str | None, data: Any) -> str | None:
    """Find where in a config a value stands.

    Args:
        keys: names from the outside in; ``init_args`` and places in lists may be left out.
        got: the value as text; None accepts any.
        data: a config, as nested dicts and lists.

    Returns:
        The dotted path, such as ``data.init_args.legs[0].classes``; None if there is no match.
    """
    for path, value in search(data, keys, ""):
        if got is None or str(value) == got:
            return path
        for below, leaf in leaves(value, path):
            if str(leaf) == got:
                return below
    return None


def locate_argument(name: str, got: str, data: Any) -> str | None:
    """Find an argument that a constructor refused, from its name and value alone.

    Args:
        name: the argument, as the constructor names it; dotted for a part of an argument.
        got: the repr of its value.
        data: a config, as nested dicts and lists.

    Returns:
        The dotted path, or None unless exactly one place matches.
    """
    paths = {
        path
        for start, node in everything(data, "")
        for path, value in search(node, name.split("."), start)
        if got in {repr(value), str(value)}
    }
    return paths.pop() if len(paths) == 1 else None


def locate_class(names: list[str], text: str, data: Any) -> str:
    """Find the config entry that a failing constructor was called for.

    Args:
        names: names of the classes under construction, from the outside in.
        text: the constructor's complaint; may name one of its arguments.
        data: a config, as nested dicts and lists.

    Returns:
        The dotted path of the argument with the value got, or else of the class.
    """
    entries = {
        str(value["class_path"]).rpartition(".")[2]: path
        for path, value in everything(data, "")
        if isinstance(value, dict) and "class_path" in value
    }
    path = next((entries[name] for name in reversed(names) if name in entries), "trainer")
    place = path if path == "trainer" else f"{path}.init_args"
    arguments = value_at(place, {"": data})
    if not isinstance(arguments, dict):
        return path
    named = [a or b for a, b in re.findall(r"`(?:Trainer\()?(\w+)|(\w+)=", text)]
    # Some messages tell the value only: "No supported gpu backend found!"
    words = re.split(r"[\s`'\",:]+", text)
    named += [
        key
        for key, value in arguments.items()
        if isinstance(value, str | float) and str(value) in words
    ]
    name = next((name for name in named if name in arguments), None)
    return f"{place}.{name}: got {short(arguments[name])}" if name else path


def search(node: Any, keys: list[str], path: str) -> Iterator[tuple[str, Any]]:
    """Find the nodes that a list of keys leads to.

    Args:
        node: where to begin.
        keys: names from the outside in; ``init_args`` and places in lists may be left out.
        path: dotted path of the node.

    Yields:
        Path and value.
    """
    if not keys:
        yield path, node
    if isinstance(node, dict):
        for key, value in node.items():
            if keys and key == keys[0]:
                yield from search(value, keys[1:], f"{path}.{key}".lstrip("."))
            elif keys and key in {"init_args", "dict_kwargs"}:
                yield from search(value, keys, f"{path}.{key}".lstrip("."))
    elif isinstance(node, list) and keys:
        for index, value in enumerate(node):
            yield from search(value, keys, f"{path}[{index}]")


def leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Entries of lists, and class paths, below a node.

    Args:
        node: where to begin.
        path: dotted path of the node.

    Yields:
        Path and value.
    """
    if isinstance(node, list):
        for index, value in enumerate(node):
            yield f"{path}[{index}]", value
            yield from leaves(value, f"{path}[{index}]")
    elif isinstance(node, dict) and "class_path" in node:
        yield f"{path}.class_path", node["class_path"]


def everything(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A node and all below it.

    Args:
        node: where to begin.
        path: dotted path of the node.

    Yields:
        Path and value.
    """
    yield path, node
    if isinstance(node, dict):
        for key, value in node.items():
            yield from everything(value, f"{path}.{key}".lstrip("."))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from everything(value, f"{path}[{index}]")


def value_at(path: str, documents: Mapping[str, Any]) -> Any:
    """The value at a path, from the first file that has it.

    Args:
        path: dotted path.
        documents: content of each config file.

    Returns:
        The value, or :data:`MISSING`.
    """
    for data in documents.values():
        for where, value in everything(data, ""):
            if where == path:
                return value
    return MISSING


def short(value: Any) -> str:
    """A value as text that fits a line.

    Args:
        value: anything.

    Returns:
        Its repr, cut at 80 characters.
    """
    text = one_line(repr(value))
    return text if len(text) <= 80 else f"{text[:77]}..."


def one_line(text: str) -> str:
    """Text with its line ends and runs of spaces folded.

    Args:
        text: any text.

    Returns:
        One line.
    """
    return " ".join(text.split())
