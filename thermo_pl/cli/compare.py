"""``compare``: runs side by side, as a table in the terminal and as a page."""

from __future__ import annotations

import difflib
import shutil

from thermo_pl.cli.words import Parser, write_html
from thermo_pl.errors import require
from thermo_pl.files import write_atomic
from thermo_pl.runs.page import page
from thermo_pl.runs.reader import find_runs, read_run
from thermo_pl.runs.table import Table, compare, text_table

_NO_LIMIT = 1_000_000


def _parser() -> Parser:
    parser = Parser("compare", "Compare runs by what is on disk.")
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", help="a run directory, or a parent of version_N"
    )
    parser.add_argument("--sort", metavar="COLUMN", help="sort the runs; missing values come last")
    parser.add_argument("--descending", action="store_true", help="the largest comes first")
    parser.add_argument("--columns", metavar="A,B,...", help="show these columns only")
    parser.add_argument("--html", metavar="FILE", help="write a page with table and curves, too")
    return parser


def run(args: list[str]) -> int:
    """Compare runs, and print the table.

    Args:
        args: the words of the command line, the command first.

    Returns:
        0; every failure is an exception.

    Raises:
        ConfigError: for a mistake in the words.
        DataError: if a file of a run cannot be read.
    """
    given = _parser().parse_intermixed_args(args[1:])
    known = given.sort is not None or not given.descending
    require(known, "--descending", "no --sort", "only with --sort COLUMN")
    runs = [read_run(directory) for directory in find_runs(given.runs)]
    table = compare(runs)
    shown = [name for name in table.columns if name != "run"]
    if given.columns is not None:
        words = dict.fromkeys(map(str.strip, given.columns.split(",")))
        shown = [_column(table, "--columns", word) for word in words if word != "run"]
    if given.sort is not None:
        order = table.order(_column(table, "--sort", given.sort), given.descending)
        table = Table(table.columns, [table.rows[i] for i in order])
        runs = [runs[i] for i in order]
    if given.html is not None:
        text = page(table, shown, runs)
        write_html(given.html, lambda: write_atomic(given.html, text))
    # into a pipe or a file, each run is one line
    print(text_table(table, shown, shutil.get_terminal_size((_NO_LIMIT, 24)).columns))
    return 0


def _column(table: Table, flag: str, name: str) -> str:
    close = difflib.get_close_matches(name, table.columns, 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    require(name in table.columns, flag, name, ", ".join(table.columns) + hint)
    return name
