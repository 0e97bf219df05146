"""The words of a command line: config files, and flags that win over them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from thermo_pl.configs.tree import listed, plain
from thermo_pl.errors import ConfigError, require


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take the config files out of a command line.

    Args:
        words: the words after the command.

    Returns:
        The files in order, and the other words.

    Raises:
        ConfigError: if a flag lacks its file.
    """
    files, rest = [], []
    todo = iter(words)
    for word in todo:
        flag, equals, file = word.partition("=")
        if word.startswith("-c"):  # argparse allows -cFILE
            flag, equals, file = "-c", word[2:], word[2:].removeprefix("=")
        if flag not in {"-c", "--config"}:
            rest.append(word)
            continue
        file = file if equals else next(todo, "")
        require(bool(file), "--config", file, "a YAML file")
        files.append(file)
    return files, rest


def read_flags(words: Sequence[str]) -> dict[str, str | None]:
    """The flags among the words of a command line.

    Args:
        words: the words after the command, without the config files.

    Returns:
        The value of each flag as text, None without one, by its key without dashes and
        ``init_args``.

    Raises:
        ConfigError: for a word that is neither a flag nor its value.
    """
    flags: dict[str, str | None] = {}
    key = ""
    for word in words:
        if word.startswith("--"):
            key, equals, value = word[2:].partition("=")
            key = key.replace(".init_args", "")
            flags[key] = value if equals else None
            key = "" if equals else key
        elif key:
            flags[key], key = word, ""
        elif not word.startswith("-"):
            raise ConfigError(f"{word}: got a word too many; allowed: --KEY VALUE pairs")
    return flags


def with_flags(config: dict[str, Any], flags: Mapping[str, str | None]) -> dict[str, Any]:
    """What the flags make of a config; for messages, not for runs.

    Args:
        config: a config.
        flags: values by keys; of a list a flag reaches the last entry.

    Returns:
        The config, changed.
    """
    config = copy.deepcopy(config)
    for key, text in flags.items():
        node, last = _place(config, key)
        if isinstance(node, dict):
            before = node.get(last.removesuffix("+"))
            value = plain(text)
            if last.endswith("+"):
                value = [*listed(before), *listed(value)]
            elif isinstance(before, dict) and "class_path" in before and isinstance(value, str):
                value = before | {"class_path": value}
            node[last.removesuffix("+")] = value
    return config


def without_replaced_lists(
    config: dict[str, Any], flags: Mapping[str, str | None]
) -> dict[str, Any]:
    """A config without the lists that a flag replaces.

    A list replaces the one below it, as between files. The parser would merge both, entry by entry,
    and what an entry does not say would be left from the entry below.

    Args:
        config: a config.
        flags: values by keys.

    Returns:
        The config, changed.
    """
    replaced = [key for key, text in flags.items() if isinstance(plain(text), list)]
    for key in replaced:
        changed = copy.deepcopy(config)
        node, last = _place(changed, key)
        if isinstance(node, dict) and last in node:
            del node[last]
            config = changed
    return config


def _place(config: dict[str, Any], key: str) -> tuple[Any, str]:
    # what holds the value of a key, and the value's name in it
    *outer, last = key.split(".")
    node: Any = config
    for name in outer:
        node = node.setdefault(name, {}) if isinstance(node, dict) else {}
        node = node[-1] if isinstance(node, list) and node else node
        if isinstance(node, dict) and "class_path" in node and last != "class_path":
            node = node.setdefault("init_args", {})
    return node, last
