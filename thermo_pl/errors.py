"""The exceptions of thermo_pl, and the exit code each one stands for.

A message says what was got, what is allowed and what to do, in one line.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class ThermoError(Exception):
    """Base of every error that thermo_pl raises on purpose."""

    exit_code = 1


class ConfigError(ThermoError, ValueError):
    """A mistake in the command line, a config or the arguments of a class."""

    exit_code = 2


class DataError(ThermoError, ValueError):
    """Data that are missing or that do not fit what was asked of them."""

    exit_code = 2


class RankLost(ThermoError):
    """Another rank of the run has gone."""


class TransportError(ThermoError):
    """A coupling that does not have the marginals it must have."""


class ProcessStopped(ThermoError):
    """A quasi-static process that cannot go on. What it measured is on disk."""

    exit_code = 3


class NotEquilibrated(ProcessStopped):
    """The equilibration phase ended before the model was stationary."""


class InfeasibleTarget(ProcessStopped):
    """No positive, finite gamma holds the classification loss at its target."""


class ConstraintLost(ProcessStopped):
    """What the process holds is not held, not even by the smallest step allowed."""


class SolverBreakdown(ProcessStopped):
    """The linear response could not be solved."""


class NonFinite(ProcessStopped):
    """A loss, a parameter or a measurement is no longer finite."""


def require(ok: bool, name: str, got: object, allowed: str) -> None:
    """Raise a one-line :class:`ConfigError` unless ``ok``.

    Args:
        ok: whether the value is allowed.
        name: the argument, as the user wrote it.
        got: the value the user gave.
        allowed: what is allowed, in words.

    Raises:
        ConfigError: if ``ok`` is false.
    """
    if not ok:
        raise ConfigError(f"{name}: got {got!r}; allowed: {allowed}")


def located(path: str, key: str, allowed: str) -> Any:
    """What an import path of a config names.

    Args:
        path: such as ``torchvision.models.resnet18``.
        key: of the config, for the error.
        allowed: for the error, likewise.

    Returns:
        What lies there.

    Raises:
        ConfigError: if there is nothing.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{key}: got {path!r} ({error}); allowed: {allowed}") from error
