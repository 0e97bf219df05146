"""Runs side by side: what tells them apart in their configs, beside what they came to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from thermo_pl.path.columns import COMPARED, Source
from thermo_pl.runs.reader import Run, Value
from thermo_pl.text import blocks, number_to_error


def _at_end(*sources: Source) -> dict[str, str]:
    # the last values of columns of path.csv, and what they are
    return {
        column.name: f"{column.meaning}; at the end" + (f" ({column.unit})" if column.unit else "")
        for column in COMPARED
        if column.source in sources
    }


RESULTS = {
    "steps": "macro-steps along the path, its preparation not counted",
    "epochs": "epochs of a run without a process",
    **_at_end("process", "measuring probe", "control probe"),
    "t": "leg + t, where the path ends",
    "drift_max": "largest |C/C* - 1| along the path",
    "promise": "whether what was promised was held, on the measuring probe",
    **_at_end("solving probe"),
    "first_law": "median of the first law's residual over |ΔR| + λ|ΔD| + γ|ΔC|",
    "length": "thermodynamic length (nats^½)",
    "dissipation": "sum of the relaxations (nats)",
    "violated": "laws whose verdict in laws.json is violated",
    "work": "work of the cycle (nats)",
    "heat_hot": "heat at the high C (nats): what an engine takes in, or a heat pump gives off",
    "heat_cold": "heat at the low C (nats)",
    "efficiency": "efficiency of the cycle, where it closes and holds its C",
    "carnot_efficiency": "efficiency of a reversible cycle between the same C",
    "performance": "heat given off by a heat pump at the high C, over the work it takes up",
    "carnot_performance": "the same of a reversible cycle between the same C",
    "val_J": "J on validation examples (nats), at the end",
    "val_R": "R on validation examples (nats), at the end",
    "val_D": "D on validation examples (nats), at the end",
    **_at_end("validation"),
    "accuracy_A": "accuracy on test images of the first domain, at the end",
    "accuracy_B": "accuracy on test images of the last domain, at the end",
    "gradients": "gradient evaluations, of one image and draw each",
    "seconds": "wall time",
}
"""The results, in the order of the columns: name and meaning.

A cycle adds ``closure_…``, and a run without a process what else it has logged of its validation.
"""

_PERCENT = {"drift_max", "first_law"}
_WIDEST = 32  # characters of a text in a terminal


class Cell(NamedTuple):
    """A value and how it is written.

    Attributes:
        value: number, text, or None where there is none.
        text: for the reader.
    """

    value: Value
    text: str


EMPTY = Cell(None, "")


@dataclass(frozen=True)
class Table:
    """Runs as rows.

    Attributes:
        columns: name of each column to its meaning, in order; ``run`` is the first.
        rows: for each run its cells by column.
    """

    columns: dict[str, str]
    rows: list[dict[str, Cell]]

    def order(self, column: str, descending: bool = False) -> list[int]:
        """The rows, sorted.

        Numbers come before texts, in which digits count as numbers; a row without a value comes
        last, whatever the direction.

        Args:
            column: the column to sort by.
            descending: whether the largest comes first.

        Returns:
            Indices of the rows; equal ones stay as they are.
        """
        cells = [row[column].value for row in self.rows]
        present = [i for i, value in enumerate(cells) if value is not None]
        present.sort(key=lambda i: _rank(cells[i]), reverse=descending)
        return present + [i for i, value in enumerate(cells) if value is None]

    def ranks(self, column: str) -> list[int]:
        """The place of each row in the order of a column.

        Args:
            column: the column.

        Returns:
            One for each row, from 0; equal values have the same.
        """
        ranks = [0] * len(self.rows)
        for before, here in pairwise(self.order(column)):
            equal = self.rows[before][column].value == self.rows[here][column].value
            ranks[here] = ranks[before] + (not equal)
        return ranks


def _rank(value: Value) -> tuple[bool, float, list[Any]]:
    if isinstance(value, str):
        parts = re.split(r"(\d+)", value)  # texts at even places, digits at odd ones
        return True, 0.0, [int(x) if i % 2 else x.lower() for i, x in enumerate(parts)]
    return False, value or 0.0, []


def compare(runs: Sequence[Run]) -> Table:
    """What differs between the configs of runs, and their results.

    Args:
        runs: the runs, at least one.

    Returns:
        A table with a row for each run, in their order.

    Example:
        >>> from pathlib import Path
        >>> import thermo_pl as tp
        >>> from thermo_pl.runs import Run
        >>> one = Run(Path("runs/one"), {"model.lam": 1.0}, [], "done", {"C": 0.51})
        >>> two = Run(Path("runs/two"), {"model.lam": 0.5}, [], "done", {"C": 0.48})
        >>> table = tp.compare([one, two])
        >>> [[cell.text for cell in row.values()] for row in table.rows]
        [['one', '1.0', 'done', '0.51'], ['two', '0.5', 'done', '0.48']]
    """
    keys = differing([run.config for run in runs])
    results = [name for name in _result_names(runs) if any(_known(run, name) for run in runs)]
    short = shorten(keys, {"run", "status", *RESULTS, *results})
    columns = {"run": "the directory"} | {short[key]: key for key in keys}
    columns["status"] = "how the run ended, or how it stands"
    columns |= {name: RESULTS.get(name) or _meaning(name) for name in results}
    rows = []
    for run, name in zip(runs, names([run.directory for run in runs]), strict=True):
        row = {"run": Cell(name, name)}
        row |= {short[key]: _config_cell(run.config.get(key)) for key in keys}
        row["status"] = Cell(run.status, run.status)
        rows.append(row | {name: _result_cell(run, name) for name in results})
    return Table(columns, rows)


def _meaning(name: str) -> str:
    kind, _, what = name.partition("_")
    if kind == "closure":
        return f"{what} at the end of the cycle less at its start"
    return f"{what} on validation examples, at the end"


def _result_names(runs: Sequence[Run]) -> Iterator[str]:
    yield from RESULTS
    yield from dict.fromkeys(name for run in runs for name in run.results if name not in RESULTS)


def _known(run: Run, name: str) -> bool:
    return run.results.get(name) is not None


def differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys of configs that have not the same value everywhere.

    A key that is missing counts as null. Where objects are of different classes, or one is
    missing, that is said once: keys of theirs that not all have are left out.

    Args:
        configs: flat configs.

    Returns:
        The keys, in the order of the configs.
    """

    def differs(key: str) -> bool:
        values = [config.get(key) for config in configs]
        return any(value != values[0] for value in values)

    def owned(key: str) -> bool:
        # whether all have the key, or all have the same objects above it
        parts = key.split(".")
        above = (".".join(parts[:n]) for n in range(1, len(parts)))
        everywhere = all(config.get(key) is not None for config in configs)
        return everywhere or not any(map(differs, above))

    keys = dict.fromkeys(key for config in configs for key in config)
    return [key for key in keys if differs(key) and owned(key)]


def shorten(keys: Sequence[str], taken: set[str]) -> dict[str, str]:
    """The last parts of dotted keys, as few as tell them apart.

    Args:
        keys: the keys.
        taken: names that they must not have.

    Returns:
        Key to short name.
    """

    def tail(key: str, length: int) -> str:
        return ".".join(key.split(".")[-length:])

    short = {}
    for key in keys:
        for length in range(1, key.count(".") + 2):
            name = tail(key, length)
            if name not in taken and sum(tail(other, length) == name for other in keys) == 1:
                break
        short[key] = name
    return short


def names(directories: Sequence[Path]) -> list[str]:
    """What tells directories apart: their paths without what all begin and end with.

    Args:
        directories: different ones, at least one.

    Returns:
        A name for each.
    """
    paths = [list(directory.parts) for directory in directories]
    for end in (0, -1):
        while all(len(path) > 1 for path in paths) and len({path[end] for path in paths}) == 1:
            for path in paths:
                del path[end]
    return ["/".join(path) for path in paths]


def _config_cell(value: Any) -> Cell:
    if value is None:
        return EMPTY
    if isinstance(value, str):
        return Cell(value, value)
    text = json.dumps(value, ensure_ascii=False, default=str)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(value if number else text, text)


def _result_cell(run: Run, name: str) -> Cell:
    value, error = run.results.get(name), run.errors.get(name)
    if value is None:
        return EMPTY
    if isinstance(value, str | int):
        return Cell(value, str(value))
    if name in _PERCENT:
        return Cell(value, f"{value:.2%}")
    return Cell(value, number_to_error(value, error) if error else f"{value:.4g}")


def text_table(table: Table, columns: Sequence[str], width: int) -> str:
    """A table for a terminal, in blocks one below another where it is too wide.

    Args:
        table: the table.
        columns: those to show after ``run``.
        width: of the terminal, in characters.

    Returns:
        Lines of text.
    """
    shown = ("run", *columns)
    rows = [[_shortened(row[name].text) for name in shown] for row in table.rows]
    align = "".join("<" if name == "run" or _has_text(table, name) else ">" for name in shown)
    return blocks([shown, *rows], align, width)


def _shortened(text: str) -> str:
    # in one line, and not longer than a column may be
    text = " ".join(text.split()) or "-"
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _has_text(table: Table, name: str) -> bool:
    return any(isinstance(row[name].value, str) for row in table.rows)
