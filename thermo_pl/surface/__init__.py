"""The mapped surface F(λ, γ): between its nodes, and what can be asked of it."""

from typing import TYPE_CHECKING

from thermo_pl.lazy import on_demand

if TYPE_CHECKING:
    from thermo_pl.surface.checks import Tally, check_surface
    from thermo_pl.surface.fit import Fit, State
    from thermo_pl.surface.table import read_table
    from thermo_pl.surface.transitions import Jump, Switch, round_trip, switches
    from thermo_pl.surface.walks import at, contour, geodesic
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        checks=["Tally", "check_surface"],
        fit=["Fit", "State"],
        table=["read_table"],
        transitions=["Jump", "Switch", "round_trip", "switches"],
        walks=["at", "contour", "geodesic"],
    )

__all__ = [
    "Fit",
    "Jump",
    "State",
    "Switch",
    "Tally",
    "at",
    "check_surface",
    "contour",
    "geodesic",
    "read_table",
    "round_trip",
    "switches",
]
