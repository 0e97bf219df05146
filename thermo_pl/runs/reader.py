"""What a run directory says, read back: its config, its path, its results.

Nothing here imports torch, Lightning or matplotlib, so that a command which only reads answers
at once.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from thermo_pl.configs import reading
from thermo_pl.errors import DataError, require
from thermo_pl.files import read_csv, read_regular
from thermo_pl.path.columns import COLUMNS, COMPARED, WORDS, Row
from thermo_pl.reports.summary import moving, summarise

Value = float | str | None

PLACES = frozenset({"default_root_dir", "save_dir", "dirpath", "dir", "cache_dir"})
"""Last parts of config keys that say where files lie, and nothing about the run."""

_NEEDED = ("stroke", "leg", "t", "lambda", "gamma", "R", "D", "C")
_RATIOS = ("efficiency", "carnot_efficiency", "performance", "carnot_performance")
_CYCLE = ("work", "heat_hot", "heat_cold", *_RATIOS)
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast


@dataclass(frozen=True)
class Run:
    """A run as its files tell it.

    Attributes:
        directory: where it is.
        config: of :func:`flatten`.
        path: rows of path.csv on which the process holds its constraint; empty without a process.
        status: ``done``, or how far it got.
        results: name of a result to its value; energies in nats, drifts as fractions of C*.
        errors: standard errors of some of them.
    """

    directory: Path
    config: dict[str, Any]
    path: list[Row]
    status: str
    results: dict[str, Value]
    errors: dict[str, float] = field(default_factory=dict)


def find_runs(names: Sequence[str]) -> list[Path]:
    """The run directories that are meant by what was typed.

    Args:
        names: run directories, or parents of ``version_N``, of which all that are runs are taken,
            in the order of N.

    Returns:
        Each run once, in the order of the names.

    Raises:
        ConfigError: if a name is neither.
    """
    found: dict[Path, None] = {}
    for name in names:
        directory = Path(name).expanduser()
        runs = [directory] if _is_run(directory) else _versions(directory)
        allowed = "a run directory (with its config.yaml or path.csv), or a parent of such"
        require(bool(runs), "RUN", name, allowed)
        found |= dict.fromkeys(run.resolve() for run in runs)
    return list(found)


def _is_run(directory: Path) -> bool:
    # the first thing that every command writes; a trainer of one's own leaves none
    return (directory / "config.yaml").is_file() or (directory / "path.csv").is_file()


def _versions(parent: Path) -> list[Path]:
    children = parent.glob("version_*") if parent.is_dir() else ()
    numbered = {
        child: int(match[1])
        for child in children
        if (match := re.fullmatch(r"version_(\d+)", child.name)) and _is_run(child)
    }
    return sorted(numbered, key=numbered.__getitem__)


def read_run(directory: Path) -> Run:
    """Read a run, also one that was cut off or goes on.

    Args:
        directory: a run directory.

    Returns:
        What is there.

    Raises:
        DataError: if a file is not what a run writes.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> import thermo_pl as tp
        >>> from thermo_pl.files import write_csv
        >>> directory = Path(mkdtemp())  # or runs/iso_digits/version_0
        >>> _ = (directory / "config.yaml").write_text("trainer: {max_epochs: 2}")
        >>> epochs = [{"epoch": 0, "val/C": 0.7}, {"epoch": 1, "val/C": 0.5}]
        >>> write_csv(directory / "metrics.csv", epochs, ["epoch", "val/C"])
        >>> run = tp.read_run(directory)
        >>> run.status, run.results
        ('done', {'epochs': 2, 'val_C': 0.5})
    """
    file = directory / "config.yaml"
    config = flatten(read_file(file, parse_yaml, dict)) if file.exists() else {}
    if (directory / "path.csv").exists():
        return _process(directory, config)
    return _training(directory, config)


def flatten(config: Any, key: str = "") -> dict[str, Any]:
    """A nested config as one level of dotted keys.

    An object with a ``class_path`` is named by its class, and its ``init_args`` follow its own
    key. In a list of such objects the class takes the place of the index, so that runs with more
    callbacks or fewer still have their keys in common.

    Args:
        config: mappings, lists and plain values, as YAML has them.
        key: the key of this part.

    Returns:
        Key to plain value or list of plain values; what only says where files lie is left out.
    """
    if isinstance(config, dict) and "class_path" in config:
        name = str(config["class_path"]).rpartition(".")[2]
        return {key: name} | flatten(config.get("init_args") or {}, key)
    if isinstance(config, list) and any(isinstance(part, dict) for part in config):
        config = dict(_named(config))
    if not isinstance(config, dict):
        return {} if key.rpartition(".")[2] in PLACES else {key: config}
    flat: dict[str, Any] = {}
    for name, part in config.items():
        flat |= flatten(part, f"{key}.{name}" if key else str(name))
    return flat


def _named(parts: list[Any]) -> Iterator[tuple[str, Any]]:
    seen: list[str] = []
    for index, part in enumerate(parts):
        path = part.get("class_path") if isinstance(part, dict) else None
        name = str(path).rpartition(".")[2] if path else str(index)
        seen.append(name)
        count = seen.count(name)
        yield (name if count == 1 else f"{name}_{count}"), part


def _process(directory: Path, config: dict[str, Any]) -> Run:
    rows = _read_path(directory / "path.csv")
    status = _ending(directory / "strokes.json")
    results: dict[str, Value] = {"steps": 0}
    errors: dict[str, float] = {}
    if rows:
        results, errors = _of_path(rows)
    more, their_errors = _of_cycle(directory / "cycle.json")
    results |= _of_laws(directory / "laws.json") | _of_summary(directory / "summary.json") | more
    return Run(directory, config, moving(rows), status, _finite(results), errors | their_errors)


def _training(directory: Path, config: dict[str, Any]) -> Run:
    # a run without a process: its last validation
    file = directory / "metrics.csv"
    rows = read_csv(file) if file.exists() else []
    results: dict[str, Value] = {}
    for row in rows:
        for name, value in row.items():
            if name.startswith("val/") and value is not None:
                results[name.replace("/", "_")] = _number(value, file, name)
    epochs = [_number(row["epoch"], file, "epoch") for row in rows if row.get("epoch") is not None]
    if not epochs:
        return Run(directory, config, [], "nothing measured", results)
    done, limit = int(max(epochs)) + 1, config.get("trainer.max_epochs")
    known = isinstance(limit, int) and limit > 0
    status = "done" if done == limit else f"{done}{f' of {limit}' if known else ''} epochs"
    return Run(directory, config, [], status, {"epochs": done} | _finite(results))


def _ending(file: Path) -> str:
    strokes = read_file(file, json.loads, list) if file.exists() else []
    try:
        ending = str(strokes[-1]["status"]) if strokes else "unknown: no strokes.json"
    except (KeyError, TypeError) as error:
        raise DataError(f"{file}: got no status; allowed: the strokes.json of a run") from error
    # a run that is killed has no time to say so
    return "running or killed" if ending == "running" else ending


def _of_path(rows: list[Row]) -> tuple[dict[str, Value], dict[str, float]]:
    summary, path = summarise(rows), moving(rows)
    last = path[-1]
    results: dict[str, Value] = {column.name: last[column.name] for column in COMPARED}
    results["t"] = last["leg"] + last["t"]
    results |= {name: summary[name] for name in ("steps", "drift_max", "gradients", "seconds")}
    results["first_law"] = summary["first_law_residual_median"]
    for name, column in (("length", "length"), ("dissipation", "relaxation")):
        if any(math.isfinite(row[column]) for row in path[1:]):  # older paths lack them
            results[name] = summary[name]
    errors = {column.name: last.get(f"{column.name}_error", math.nan) for column in COMPARED}
    return results, {name: e for name, e in errors.items() if math.isfinite(e)}


def _of_summary(file: Path) -> dict[str, Value]:
    # what path.csv does not hold; at the end of the path
    summary = read_file(file, json.loads, dict) if file.exists() else {}
    try:
        ends = {f"accuracy_{name}": ends[1] for name, ends in summary.get("accuracy", {}).items()}
        found: dict[str, Value] = {n: _number(value, file, n) for n, value in ends.items()}
        if "promise" in summary:  # older runs say nothing of it
            found["promise"] = str(summary["promise"]["verdict"])
        return found
    except (AttributeError, TypeError, LookupError) as error:
        got = f"accuracy = {summary.get('accuracy')!r}, promise = {summary.get('promise')!r}"
        raise DataError(f"{file}: got {got}; allowed: the summary.json of a run") from error


def _of_laws(file: Path) -> dict[str, Value]:
    laws = read_file(file, json.loads, list) if file.exists() else []
    try:
        violated = sum(law["verdict"] == "violated" for law in laws)
    except (KeyError, TypeError) as error:
        raise DataError(f"{file}: got no verdicts; allowed: the laws.json of a run") from error
    return {"violated": violated} if laws else {}


def _of_cycle(file: Path) -> tuple[dict[str, Value], dict[str, float]]:
    cycle = read_file(file, json.loads, dict) if file.exists() else {}
    closure = cycle.get("closure") or {}
    if not isinstance(closure, dict):
        raise DataError(f"{file}: got closure = {closure!r}; allowed: the cycle.json of a run")
    values = {name: cycle.get(name) for name in _CYCLE}
    values |= {f"{name}_error": cycle.get(f"{name}_error") for name in _CYCLE}
    values |= {f"closure_{name}": value for name, value in closure.items()}
    known = {name: _number(v, file, name) for name, v in values.items() if v is not None}
    errors = {name.removesuffix("_error"): v for name, v in known.items() if name[-6:] == "_error"}
    results: dict[str, Value] = {n: v for n, v in known.items() if n[-6:] != "_error"}
    if cycle.get("not_applicable"):
        results |= dict.fromkeys(("efficiency", "carnot_efficiency"), "not applicable")
    return results, errors


def _finite(values: dict[str, Value]) -> dict[str, Value]:
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in values.items()
    }


def _read_path(file: Path) -> list[Row]:
    # columns that an older version did not write are NaN
    raw = read_csv(file)
    header = list(raw[0]) if raw else read_regular(file).strip().split(",")
    if lacking := [name for name in _NEEDED if name not in header]:
        raise DataError(
            f"{file}: got no column {', '.join(lacking)}; allowed: the path.csv of a run"
        )
    blank: Row = dict.fromkeys(COLUMNS, math.nan) | dict.fromkeys(WORDS)
    rows = []
    for line in raw:
        numbers = {
            name: math.nan if value is None else _number(value, file, name)
            for name, value in line.items()
            if name not in WORDS
        }
        row = blank | line | numbers
        if "C_held" not in header:  # what was held was C
            row["C_held"] = row["C"]
        rows.append(row)
    steps = [row["step"] for row in rows if "step" in header]
    if any(after != before + 1 for before, after in pairwise(steps)):
        raise DataError(
            f"{file}: got rows that are lost, doubled or out of order by their steps; allowed: the "
            "path.csv of a run as it was written"
        )
    return rows


def _number(value: Any, file: Path, name: str) -> float:
    if isinstance(value, str) or not isinstance(value, int | float):
        raise DataError(f"{file}: got {name} = {value!r}; allowed: a number")
    return value


def parse_yaml(text: str) -> Any:
    """The content of a YAML file.

    Args:
        text: of the file.

    Returns:
        Plain values.
    """
    return reading.parse(text, _Loader)


def read_file(file: Path, parse: Callable[[str], Any], kind: type) -> Any:
    """What a file of a run says.

    Args:
        file: the file.
        parse: its text to its content.
        kind: that the content has to be.

    Returns:
        The content.

    Raises:
        DataError: if it cannot be read, or is something else.
    """
    try:
        content = parse(read_regular(file))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"{file}: {error}; allowed: a {file.suffix[1:]} file of a run") from error
    if not isinstance(content, kind):
        raise DataError(
            f"{file}: got a {type(content).__name__}; allowed: a {kind.__name__}, as a run writes"
        )
    return content
