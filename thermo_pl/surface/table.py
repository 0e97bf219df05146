"""``surface.csv``: a line for each node of a map of the free energy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thermo_pl.errors import ConfigError, DataError
from thermo_pl.files import read_csv
from thermo_pl.path.columns import Row

TABLE, NODES = "surface.csv", "nodes"
"""The table and the folder of models, in the run directory."""
MEASURED = (
    *("lambda", "gamma", "R", "D", "C"),
    *("R_error", "D_error", "C_error", "J_error"),
    *("D_lambda", "D_gamma", "C_lambda", "C_gamma"),
    *("stationarity", "latents_in_use"),
)
"""Columns that a node has from its best visit, the row of path.csv where J was lowest."""
NEEDED = ("lambda", "gamma", "F", "R", "D", "C")


def columns(latents: int) -> tuple[str, ...]:
    """The header of the table.

    Args:
        latents: axes of z of which the rate is known.

    Returns:
        ``F`` is J of the best visit, nats; ``hysteresis`` by how much J of the worst visit was
        higher; ``visits``, ``gradients`` and ``seconds`` are of all visits; ``inside`` is 0 for a
        node beyond the contours; ``rate_1`` and so on are R of each axis of z, the largest first.
    """
    rates = (f"rate_{number}" for number in range(1, latents + 1))
    counted = ("hysteresis", "visits", "row", "gradients", "seconds", "inside")
    return ("node", *MEASURED[:2], "F", *MEASURED[2:], *counted, *rates)


def node_row(node: int, visits: Sequence[Row], inside: bool, rates: Sequence[float]) -> Row:
    """A line of the table.

    Args:
        node: its number.
        visits: rows of path.csv, at least one.
        inside: whether it lies between the contours.
        rates: R of each axis of z, nats, in the best visit.

    Returns:
        The line.
    """
    best = min(visits, key=lambda row: float(row["J"]))
    return {
        "node": node,
        "F": best["J"],
        **{name: best[name] for name in MEASURED},
        "hysteresis": max(row["J"] for row in visits) - best["J"],
        "visits": len(visits),
        "row": best["step"],
        "gradients": sum(row["gradients"] for row in visits),
        "seconds": sum(row["seconds"] for row in visits),
        "inside": int(inside),
        **{f"rate_{number}": rate for number, rate in enumerate(rates, 1)},
    }


def node_file(node: int) -> str:
    """Where the model at a node lies.

    Args:
        node: its number.

    Returns:
        A path in the run directory.
    """
    return f"{NODES}/{node:04d}.safetensors"


def read_table(directory: Path) -> list[Row]:
    """The nodes of a map.

    Args:
        directory: its run directory.

    Returns:
        The lines of its table; what is missing is nan.

    Raises:
        ConfigError: if there is no map.
        DataError: if the table is not what a map writes.
    """
    file = directory / TABLE
    if not file.is_file():
        raise ConfigError(
            f"RUN: got {str(directory)!r}; allowed: the run directory of a FreeEnergySurface, with "
            f"a {TABLE}"
        )
    rows: list[dict[str, Any]] = list(read_csv(file))
    for row in rows:
        if any(not isinstance(row.get(name), int | float) for name in NEEDED):
            raise DataError(f"{file}: got {row}; allowed: {', '.join(NEEDED)} as numbers")
    return [{k: float("nan") if v is None else v for k, v in row.items()} for row in rows]
