"""A config as a tree of plain data: its places, its values, and what no config may hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from thermo_pl.configs.reading import parse
from thermo_pl.errors import ConfigError, require

_CLASS_KEYS = {"class_path", "init_args", "dict_kwargs"}


def walk(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """A config and all that is in it.

    Args:
        node: a config or a part of it.
        path: its dotted path.

    Yields:
        Path, such as ``data.init_args.legs[0].classes``, and value.
    """
    yield path, node
    if isinstance(node, dict):
        for key, value in node.items():
            yield from walk(value, f"{path}.{key}".lstrip("."))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from walk(value, f"{path}[{index}]")


def check(config: dict[str, Any]) -> None:
    """Refuse what the parser would pass over without a word.

    Args:
        config: a config.

    Raises:
        ConfigError: if there is such a thing.
    """
    trainer = config.get("trainer", {})
    allowed = "keys of the Trainer, such as max_epochs"
    require(isinstance(trainer, dict), "trainer", trainer, allowed)
    for path, node in walk(config):
        if not isinstance(node, dict):
            continue
        arguments, name = node.get("init_args", {}), node.get("class_path", "")
        require(isinstance(arguments, dict), f"{path}.init_args", arguments, "arguments of a class")
        require(isinstance(name, str), f"{path}.class_path", name, "the name of a class")
        if name and (extra := sorted(map(str, node.keys() - _CLASS_KEYS))):
            got = f"got {short(node[extra[0]])}, but there is no such key beside class_path"
            raise ConfigError(f"{path}.{extra[0]}: {got}; allowed: init_args, and keys inside it")


def short(value: Any) -> str:
    """A value as text that fits a line.

    Args:
        value: anything.

    Returns:
        Its repr, cut at 80 characters.
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def plain(text: str | None) -> Any:
    """A value of the command line as plain data.

    Args:
        text: YAML; None for a flag without a value.

    Returns:
        The value; the text itself where it is no YAML.
    """
    try:
        return parse(text or "")
    except yaml.YAMLError:
        return text


def listed(value: Any) -> list[Any]:
    """What a list may be made longer from.

    Args:
        value: a value of a config.

    Returns:
        The list itself, a list of a single value, or an empty one of none.
    """
    if value is None or isinstance(value, bool):  # a Trainer's logger may be true or false
        return []
    return value if isinstance(value, list) else [value]
