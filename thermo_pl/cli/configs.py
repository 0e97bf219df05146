"""Config files laid one over another: ``base`` names what a file lies on.

- Mappings are merged key by key. Another ``class_path`` replaces a class with all its arguments.
- A list or a value replaces the base's. Under ``key+`` a list goes on where the base's ends.
- A file that is named several times is laid once, at its first place.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from thermo_pl.cli import classes
from thermo_pl.errors import ConfigError, require

FOLLOWERS = {"latent_dim": ("decoder", "classifier", "marginal"), "image_shape": ("decoder",)}
"""Sizes of the encoder, and the parts of a model that take them over where they give none."""

_CLASS_KEYS = {"class_path", "init_args", "dict_kwargs"}


def load(*files: str | Path) -> dict[str, Any]:
    """Lay config files one over another, each over its bases.

    Args:
        files: YAML files, the lowest first.

    Returns:
        The whole config, without ``base``.

    Raises:
        ConfigError: if a file or one of its bases cannot be read, or is no config.
    """
    config: dict[str, Any] = {}
    seen: set[Path] = set()
    for file in files:
        config = _lay(config, Path(file), "--config", (), seen)
    return config


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


def _lay(
    config: dict[str, Any], file: Path, key: str, above: tuple[Path, ...], seen: set[Path]
) -> dict[str, Any]:
    # ``above``: the files that led here, each the base of the one before
    path = file.resolve()
    if path in above:
        circle = " → ".join(str(one.name) for one in (*above[above.index(path) :], path))
        raise ConfigError(f"{key}: got a circle, {circle}; allowed: files that do not lead back")
    if path in seen:
        return config
    seen.add(path)
    content = _read(file, key)
    bases = content.pop("base", [])
    bases = [bases] if isinstance(bases, str) else bases
    ok = isinstance(bases, list) and all(isinstance(base, str) for base in bases)
    require(ok, f"{file}: base", bases, "the path of a YAML file, or a list of them")
    for base in bases:
        config = _lay(config, file.parent / base, f"{file}: base", (*above, path), seen)
    merged: dict[str, Any] = _merged(config, content)
    return merged


def _read(file: Path, key: str) -> dict[str, Any]:
    allowed = "a YAML file"
    if key != "--config":
        allowed += (
            ", by its path from the file that names it; a config that is to be moved can be "
            "written out whole with --print_config"
        )
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{key}: got {str(file)!r} ({error.strerror}); allowed: {allowed}"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: got {error}; allowed: a YAML file in UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark, error.problem
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(
            f"{file}{where}: got broken YAML ({problem}); allowed: valid YAML"
        ) from error
    require(isinstance(content, dict), str(file), content, "keys such as model, data, trainer")
    whole: dict[str, Any] = content
    return whole


def _merged(below: Any, over: Any) -> Any:
    if not isinstance(over, dict):
        return over
    if not isinstance(below, dict) or _another_class(below, over):
        below = {}
    merged = dict(below)
    for key, value in over.items():
        if isinstance(key, str) and key.endswith("+"):
            merged[key[:-1]] = _listed(merged.get(key[:-1])) + _listed(value)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _another_class(below: dict[str, Any], over: dict[str, Any]) -> bool:
    # a class has a short and a long name, and is the same by both
    one, other = (str(config.get("class_path", "")).rpartition(".")[2] for config in (below, over))
    return "" not in {one, other} and one != other


def _listed(value: Any) -> list[Any]:
    if value is None or isinstance(value, bool):  # a Trainer's logger may be true or false
        return []
    return value if isinstance(value, list) else [value]


def follow(config: dict[str, Any], flags: Mapping[str, str | None], model: type) -> None:
    """Give the parts of a model the sizes of its encoder, where they are given none.

    Args:
        config: a whole config; changed in place.
        flags: values of the command line by their keys; they win over the config's.
        model: the class that the parts' types are read from.
    """
    section = config.get("model")
    parts = section.get("init_args") if isinstance(section, dict) else None
    encoder = parts.get("encoder") if isinstance(parts, dict) else None
    if not (isinstance(parts, dict) and isinstance(encoder, dict)):
        return
    types = classes.hints(model)
    for size, followers in FOLLOWERS.items():
        flag = flags.get(f"model.encoder.{size}")
        value = _plain(flag) if flag else (encoder.get("init_args") or {}).get(size)
        if not isinstance(value, int | list):
            continue
        for name in followers:
            part = parts.get(name)
            if not isinstance(part, dict):
                continue
            kind = classes.resolve(part.get("class_path"), classes.named(types.get(name)))
            if kind and size in classes.parameters(kind):
                part["init_args"] = {size: value, **(part.get("init_args") or {})}


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
        *outer, last = key.split(".")
        node: Any = config
        for name in outer:
            node = node.setdefault(name, {}) if isinstance(node, dict) else {}
            node = node[-1] if isinstance(node, list) and node else node
            if isinstance(node, dict) and "class_path" in node and last != "class_path":
                node = node.setdefault("init_args", {})
        if isinstance(node, dict):
            before = node.get(last.removesuffix("+"))
            value = _plain(text)
            if last.endswith("+"):
                value = [*_listed(before), *_listed(value)]
            elif isinstance(before, dict) and "class_path" in before and isinstance(value, str):
                value = before | {"class_path": value}
            node[last.removesuffix("+")] = value
    return config


def _plain(text: str | None) -> Any:
    try:
        return yaml.safe_load(text or "")
    except yaml.YAMLError:
        return text


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
