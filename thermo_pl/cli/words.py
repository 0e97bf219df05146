"""What the commands that only read runs share: a parser that complains in one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from thermo_pl.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """A parser without abbreviated flags, whose complaint names the command and what is allowed."""

    def __init__(self, command: str, description: str) -> None:
        """Build one without arguments.

        Args:
            command: its name.
            description: for the help.
        """
        super().__init__(f"thermo-pl {command}", description=description, allow_abbrev=False)
        self._command = command

    def error(self, message: str) -> NoReturn:
        """Refuse the words.

        Args:
            message: why.

        Raises:
            ConfigError: always.
        """
        allowed = " ".join(self.format_usage().removeprefix("usage: ").split())
        raise ConfigError(f"{self._command}: {message}; allowed: {allowed}")


def write_html(file: str, write: Callable[[], object]) -> None:
    """Write a page to where ``--html`` says.

    Args:
        file: as given.
        write: writes it.

    Raises:
        ConfigError: if there is no such place.
    """
    try:
        write()
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"--html: got {file!r} ({reason}); allowed: a file in a directory that exists"
        ) from error
