"""The command line: a front that answers at once, and the commands behind it.

Importing torch and Lightning takes seconds. This module imports neither: version, help and a
mistyped command are answered here, and a command's own module is imported when it is run.
"""

from __future__ import annotations

import difflib
import errno
import io
import os
import re
import sys
import textwrap
from importlib import import_module
from typing import Protocol, cast

from thermo_pl import __version__
from thermo_pl.errors import ConfigError, RankLost, ThermoError

STORAGE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO),
    *(errno.ENOENT, errno.ENOTDIR),
}
"""What a disk says that is full, read-only or broken, or where a directory has been taken away."""

NO_ROOM = re.compile(
    r"not enough memory|can't allocate memory|out of memory|Storage size calculation overflowed"
)
"""What torch says where numbers do not fit into memory."""


class _Run(Protocol):
    def __call__(self, args: list[str]) -> int: ...


# name: (one line of help, module with a function run(args: list[str]) -> exit code)
COMMANDS = {
    "fit": ("train a model, or take it along a quasi-static process", "thermo_pl.cli.lightning"),
    "validate": ("evaluate a model on the validation data", "thermo_pl.cli.lightning"),
    "test": ("evaluate a model on the test data", "thermo_pl.cli.lightning"),
    "predict": ("run a model on the prediction data", "thermo_pl.cli.lightning"),
    "compare": (
        "show runs side by side: what differs, and what came of it",
        "thermo_pl.cli.compare",
    ),
    "report": ("write the page of a run", "thermo_pl.cli.report"),
    "export": ("write the trained model of a run for others", "thermo_pl.cli.export"),
}


def usage() -> str:
    """The text of the top-level help.

    Returns:
        Several lines, without a line end.
    """
    lines = [f"  {name:<10}{text}" for name, (text, _) in COMMANDS.items()]
    return "\n".join([
        "usage: thermo-pl COMMAND --config FILE [--KEY VALUE ...]",
        "       thermo-pl compare RUN [RUN ...] [--sort COLUMN] [--html FILE]",
        "       thermo-pl report RUN [--html FILE]",
        "       thermo-pl export RUN --to DIRECTORY [--checkpoint FILE]",
        "",
        "Thermodynamics of representation learning.",
        "",
        "commands:",
        *lines,
        "",
        "options:",
        "  -h, --help  this text; 'thermo-pl COMMAND --help' lists the keys of a command",
        "  --version   the version",
        "",
        "exit codes: 0 done, 2 a mistake in flags, config or data, 3 a process that cannot go on,",
        "130 or 143 ended by SIGINT or SIGTERM, 1 anything else",
    ])


def main(args: list[str] | None = None) -> int:
    """Run a command.

    Args:
        args: the words after the program's name; those of this process if None.

    Returns:
        The exit code.

    Raises:
        OSError: one that no disk is to blame for.
        MemoryError: never; it is told in a line.
        RuntimeError: one that no want of memory is to blame for.
    """
    _prepare()
    words = sys.argv[1:] if args is None else list(args)
    first = words[0] if words else ""
    if first in {"", "-h", "--help"}:
        print(usage())
        return 0 if first else 2
    if first == "--version":
        print(f"thermo-pl {__version__}")
        return 0
    try:
        return _command(first)(words)
    except ThermoError as error:
        # Exactly one line, whatever a library put into the message, and from one process only.
        if os.environ.get("LOCAL_RANK", "0") == "0" or isinstance(error, RankLost):
            print("error:", " ".join(str(error).split()), file=sys.stderr)
        return error.exit_code
    except (OSError, MemoryError, RuntimeError) as error:
        told = _machine(error)
        if told is None:
            raise
        print(f"error: {told[0]}", file=sys.stderr)
        return told[1]
    except SystemExit as stop:  # argparse ends this way after printing a command's help
        if isinstance(stop.__context__, KeyboardInterrupt):
            return 130  # Lightning has shut down in order, but exits with 1
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells report it


def _machine(error: Exception) -> tuple[str, int] | None:
    # a full disk or a full memory in a line, with the exit code
    if isinstance(error, OSError):
        return (_storage(error), 1) if error.errno in STORAGE else None
    full = isinstance(error, MemoryError) or NO_ROOM.search(str(error))
    return (_memory(error), ConfigError.exit_code) if full else None


def _storage(error: OSError) -> str:
    place = "" if error.filename is None else f"{error.filename}: "
    return (
        f"{place}got {error.strerror or error}; allowed: files and directories that stay, on a "
        "disk that can be written to; what was written before is whole: --ckpt_path last goes on"
    )


def _memory(error: Exception) -> str:
    told = textwrap.shorten(str(error), 200, placeholder=" …")
    return (
        f"memory: got {told or 'more asked for than there is'}; allowed: what fits; take fewer "
        "draws, particles or examples at once: model.eval_samples, probes, data.batch_size"
    )


def _prepare() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console may have no Greek letters
    if "matplotlib" not in sys.modules:
        os.environ["MPLBACKEND"] = "agg"  # figures are files; a notebook's backend may be absent


def _command(name: str) -> _Run:
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ConfigError(f"COMMAND: got {name!r}; allowed first: {', '.join(COMMANDS)}{hint}")
    return cast(_Run, import_module(COMMANDS[name][1]).run)


def script() -> int:
    """``thermo-pl``: as ``python -m thermo_pl``, which finds modules where it is started, too.

    Returns:
        The exit code.
    """
    sys.path.insert(0, "")
    return main()
