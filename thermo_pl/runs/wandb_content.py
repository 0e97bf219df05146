"""What W&B is told of a run, as plain data: names and their x-axes, config, tables, summary.

Nothing here needs wandb.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thermo_pl.files import read_csv

STEP = "thermo/step"
"""The x-axis of everything a process measures: its macro-steps."""
SECTIONS = ("thermo/", "law/", "response/", "cycle/")
"""What is drawn over it."""
AXES = {"thermo/t": "over_t/", "thermo/phase": "over_phase/"}
"""More x-axes, each with a section of plots of its own: W&B knows one x-axis for a name."""
PATH_PLOTS = ("R", "D", "C", "J", "F", "C_target", "lambda", "gamma")
"""What those sections show."""


def axis_of(name: str) -> str | None:
    """The x-axis of a name.

    Args:
        name: what is logged.

    Returns:
        The name of the axis, which is its own axis; None for the trainer's step.
    """
    if name == STEP or name in AXES:
        return name
    for axis, section in AXES.items():
        if name.startswith(section):
            return axis
    return STEP if name.startswith(SECTIONS) else None


def over_all_axes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Scalars, and once more those that are drawn over t or over the phase.

    Args:
        values: names and values of one step.

    Returns:
        The same, with the names of those sections added where the axis has a value.
    """
    found = dict(values)
    for axis, section in AXES.items():
        if axis in values:
            named = ((name, f"thermo/{name}") for name in PATH_PLOTS)
            found |= {section + name: values[key] for name, key in named if key in values}
    return found


def portable(value: Any) -> Any:
    """A config without the places of this machine.

    Args:
        value: mappings, lists and plain values.

    Returns:
        The same, with the last part alone of every absolute path.
    """
    if isinstance(value, Mapping):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [portable(item) for item in value]
    is_path = isinstance(value, str) and Path(value).is_absolute()
    return Path(value).name if is_path else value


def by_class(value: Any) -> Any:
    """A config whose lists of classes are mappings from the names of the classes.

    W&B's web interface can sort and plot only by what has a name.

    Args:
        value: mappings, lists and plain values.

    Returns:
        The same; a second object of a class is called ``Class_2``.
    """
    if isinstance(value, Mapping):
        return {key: by_class(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    if not value or not all(isinstance(item, Mapping) and "class_path" in item for item in value):
        return [by_class(item) for item in value]
    named: dict[str, Any] = {}
    for item in value:
        name = key = str(item["class_path"]).rpartition(".")[2]
        count = 1
        while key in named:
            count += 1
            key = f"{name}_{count}"
        named[key] = by_class(item.get("init_args", {}))
    return named


def read_tables(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """The tables of a run directory.

    Args:
        directory: the run directory.

    Returns:
        Name to rows: ``strokes``, ``laws`` and, of a process, ``path``.
    """
    tables = {name: read_json(directory / f"{name}.json") or [] for name in ("strokes", "laws")}
    if (directory / "path.csv").is_file():
        tables["path"] = read_csv(directory / "path.csv")
    return tables


def read_json(path: Path) -> Any:
    """What a JSON file says.

    Args:
        path: the file.

    Returns:
        Its content; None if there is no such file.
    """
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def columns_and_data(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Rows as a table of W&B takes them: cells are numbers and words.

    Args:
        rows: a mapping for each row. A pair is the start and the end of a stroke.

    Returns:
        Names of the columns, in the order in which they come up, and a list of cells for each row.
    """
    flat = [_cells(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    return columns, [[row.get(name) for name in columns] for row in flat]


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, list) and len(value) == 2:
            found |= {f"{name}_start": value[0], f"{name}_end": value[1]}
        else:
            found[name] = json.dumps(value) if isinstance(value, list | dict) else value
    return found


def final_values(value: Any, name: str) -> dict[str, Any]:
    """What a run ended with, as one level of names.

    Args:
        value: what a summary says: mappings, lists and plain values.
        name: what the names begin with.

    Returns:
        Name to value: the end of every pair, the number of things in any other list.
    """
    if isinstance(value, Mapping):
        start = name if name.endswith("/") else f"{name}_"
        return {k: v for key, x in value.items() for k, v in final_values(x, start + key).items()}
    if isinstance(value, list):
        numbers = len(value) == 2 and not any(isinstance(x, Mapping) for x in value)
        return {name: value[1] if numbers else len(value)}
    return {name: value}
