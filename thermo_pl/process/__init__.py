"""Quasi-static motions: what each step of a process does to λ, γ and the data."""

from typing import TYPE_CHECKING

from thermo_pl.lazy import on_demand

if TYPE_CHECKING:
    from thermo_pl.process.strokes import Point, Stroke, closing_step, motion
else:
    __getattr__ = on_demand(
        __name__,
        strokes=["Point", "Stroke", "closing_step", "motion"],
    )

__all__ = ["Point", "Stroke", "closing_step", "motion"]
