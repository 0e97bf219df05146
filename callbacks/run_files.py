"""The files of a process in its run directory, each whole at every moment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thermo_pl.files import write_csv, write_json
from thermo_pl.laws.ledger import summarise_strokes
from thermo_pl.path.columns import COLUMNS
from thermo_pl.process.equilibration import CHECK_COLUMNS
from thermo_pl.process.state import State


def write_run(
    directory: Path, state: State[Any], ending: str, results: Mapping[str, dict[str, Any]]
) -> None:
    """Write path.csv, equilibration.csv, strokes.json and what else the process comes to.

    Args:
        directory: the run directory; made where there is none.
        state: where the process stands.
        ending: how it ended, in words.
        results: by the name of a file, without its ending.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_csv(directory / "path.csv", state.rows, COLUMNS)
    write_csv(directory / "equilibration.csv", state.checks, CHECK_COLUMNS)
    write_json(directory / "strokes.json", summarise_strokes(state.rows, ending))
    for name, found in results.items():
        write_json(directory / f"{name}.json", found)
