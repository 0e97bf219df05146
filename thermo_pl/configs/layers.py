"""Config files laid one over another: ``base`` names what a file lies on.

- Mappings are merged key by key. Another ``class_path`` replaces a class with all its arguments.
- A list or a value replaces the base's. Under ``key+`` a list goes on where the base's ends.
- A file that is named several times is laid once, at its first place.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from thermo_pl.configs import classes
from thermo_pl.configs.reading import parse
from thermo_pl.configs.tree import listed, plain
from thermo_pl.errors import ConfigError, require
from thermo_pl.files import read_regular

FOLLOWERS = {"latent_dim": ("decoder", "classifier", "marginal"), "image_shape": ("decoder",)}
"""Sizes of the encoder, and the parts of a model that take them over where they give none."""


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
        content = parse(read_regular(file))
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
            merged[key[:-1]] = listed(merged.get(key[:-1])) + listed(value)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _another_class(below: dict[str, Any], over: dict[str, Any]) -> bool:
    # a class has a short and a long name, and is the same by both
    one, other = (str(config.get("class_path", "")).rpartition(".")[2] for config in (below, over))
    return "" not in {one, other} and one != other


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
        value = plain(flag) if flag else (encoder.get("init_args") or {}).get(size)
        if not isinstance(value, int | list):
            continue
        for name in followers:
            part = parts.get(name)
            if not isinstance(part, dict):
                continue
            kind = classes.resolve(part.get("class_path"), classes.named(types.get(name)))
            if kind and size in classes.parameters(kind):
                part["init_args"] = {size: value, **(part.get("init_args") or {})}
