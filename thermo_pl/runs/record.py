"""All that a run directory holds, as the page of the run needs it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from thermo_pl.errors import DataError
from thermo_pl.files import read_csv
from thermo_pl.runs.reader import Run, parse_yaml, read_file, read_run
from thermo_pl.runs.wandb_content import portable
from thermo_pl.surface.table import TABLE, read_table


@dataclass(frozen=True)
class Record:
    """What lies in a run directory; what is not there is empty.

    Attributes:
        run: its path and results.
        strokes: of strokes.json.
        cycle: of cycle.json.
        laws: of laws.json.
        summary: of summary.json.
        entropy: of entropy.json.
        versions: of versions.json.
        checks: rows of equilibration.csv.
        epochs: rows of metrics.csv, of a training without a process.
        config: the text of config.yaml, without the places of this machine.
        surface: lines of surface.csv, of a map.
        frames: of frames.json, with the ``image`` that it speaks of as a data URL.
    """

    run: Run
    strokes: list[dict[str, Any]]
    cycle: dict[str, Any]
    laws: list[dict[str, Any]]
    summary: dict[str, Any]
    entropy: dict[str, Any]
    versions: dict[str, Any]
    checks: list[dict[str, Any]]
    epochs: list[dict[str, Any]]
    config: str
    surface: list[dict[str, Any]]
    frames: dict[str, Any]


def read_record(directory: Path) -> Record:
    """Read a run directory, also of a run that was cut off or goes on.

    Args:
        directory: a run directory.

    Returns:
        What is there.

    Raises:
        DataError: if a file is not what a run writes.
    """

    def content(name: str, kind: type) -> Any:
        file = directory / f"{name}.json"
        return read_file(file, json.loads, kind) if file.exists() else kind()

    def rows(name: str) -> list[dict[str, Any]]:
        file = directory / f"{name}.csv"
        return list(read_csv(file)) if file.exists() else []

    return Record(
        read_run(directory),
        content("strokes", list),
        content("cycle", dict),
        content("laws", list),
        content("summary", dict),
        content("entropy", dict),
        content("versions", dict),
        rows("equilibration"),
        [] if (directory / "path.csv").exists() else rows("metrics"),
        _config(directory / "config.yaml"),
        read_table(directory) if (directory / TABLE).exists() else [],
        _frames(directory, content("frames", dict)),
    )


def _config(file: Path) -> str:
    if not file.exists():
        return ""
    whole = portable(read_file(file, parse_yaml, dict))
    return str(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True))


def _frames(directory: Path, found: dict[str, Any]) -> dict[str, Any]:
    picture = directory / "frames.png"
    if not found or not picture.exists():
        return {}
    try:
        image = base64.b64encode(picture.read_bytes()).decode()
    except OSError as error:
        raise DataError(f"{picture}: {error}; allowed: the frames.png of a run") from error
    return found | {"image": f"data:image/png;base64,{image}"}
