"""``report``: one run as a page."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from thermo_pl.cli.words import Parser, write_html
from thermo_pl.errors import require
from thermo_pl.runs.reader import find_runs
from thermo_pl.runs.report import FILE, write_report


def run(args: list[str]) -> int:
    """Write the page of each run, and print where.

    Args:
        args: the words of the command line, the command first.

    Returns:
        0; every failure is an exception.

    Raises:
        ConfigError: for a mistake in the words.
        DataError: if a file of a run cannot be read.
    """
    parser = Parser("report", "Write the page of a run by what is on disk.")
    parser.add_argument(
        "run", metavar="RUN", help="a run directory, or a parent of version_N: then all of them"
    )
    parser.add_argument("--html", metavar="FILE", help=f"where to; {FILE} in RUN if not given")
    given = parser.parse_args(args[1:])
    directories = find_runs([given.run])
    one = len(directories) == 1 or given.html is None
    require(one, "--html", given.html, f"no --html, as {given.run} has {len(directories)} runs")
    for directory in directories:
        file = directory / FILE if given.html is None else Path(given.html)
        write_html(str(file), partial(write_report, directory, file))
        print(f"report  {file}")
    return 0
