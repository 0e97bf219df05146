"""The command line: a front that answers at once, and the commands behind it."""

from thermo_pl.cli.front import main

__all__ = ["main"]
