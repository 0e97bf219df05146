"""The record of a run: rows of path.csv, and the strokes they fall into."""

from typing import TYPE_CHECKING

from thermo_pl.lazy import on_demand

if TYPE_CHECKING:
    from thermo_pl.path.columns import COLUMNS, SCHEMA, Column, Row
    from thermo_pl.path.segments import (
        StrokePath,
        drift,
        first_law_residual,
        hysteresis,
        relative_first_law_residual,
        stroke_paths,
    )
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        columns=["COLUMNS", "SCHEMA", "Column", "Row"],
        segments=[
            "StrokePath",
            "drift",
            "first_law_residual",
            "hysteresis",
            "relative_first_law_residual",
            "stroke_paths",
        ],
    )

__all__ = [
    "COLUMNS",
    "SCHEMA",
    "Column",
    "Row",
    "StrokePath",
    "drift",
    "first_law_residual",
    "hysteresis",
    "relative_first_law_residual",
    "stroke_paths",
]
