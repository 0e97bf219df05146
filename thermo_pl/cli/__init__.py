"""The command line: a front that answers at once, and the commands behind it."""

from thermo_pl.cli.front import main, script

__all__ = ["main", "script"]
