"""The files of a process in its run directory, each whole at every moment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thermo_pl.files import GrowingCsv, is_due, write_json
from thermo_pl.laws.ledger import summarise_strokes
from thermo_pl.path.columns import COLUMNS
from thermo_pl.process.equilibration import CHECK_COLUMNS
from thermo_pl.process.state import State


class RunFiles:
    """Writes path.csv, equilibration.csv, strokes.json and what else a process comes to.

    Tables grow by their new rows. What is summed over all rows is written anew, and on long paths
    not at every one of them.
    """

    def __init__(self, directory: Path) -> None:
        """Begin with nothing written.

        Args:
            directory: the run directory; made where there is none.
        """
        self._directory = directory
        self._path = GrowingCsv(directory / "path.csv", COLUMNS)
        self._checks = GrowingCsv(directory / "equilibration.csv", CHECK_COLUMNS)
        self._summed = 0

    def write(self, state: State[Any], ending: str, results: Mapping[str, dict[str, Any]]) -> None:
        """Write what is new.

        Args:
            state: where the process stands.
            ending: how it ended, in words.
            results: by the name of a file, without its ending.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        self._path.write(state.rows)
        self._checks.write(state.checks)
        if ending == "running" and not is_due(len(state.rows), self._summed):
            return
        self._summed = len(state.rows)
        write_json(self._directory / "strokes.json", summarise_strokes(state.rows, ending))
        for name, found in results.items():
            write_json(self._directory / f"{name}.json", found)
