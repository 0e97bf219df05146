"""The mapped surface F(λ, γ): between its nodes, and what can be asked of it."""

from typing import TYPE_CHECKING

from thermo_pl.lazy import on_demand

if TYPE_CHECKING:
    from thermo_pl.surface.fit import Fit, State
    from thermo_pl.surface.table import read_table
    from thermo_pl.surface.walks import at, contour, geodesic
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        fit=["Fit", "State"],
        table=["read_table"],
        walks=["at", "contour", "geodesic"],
    )

__all__ = ["Fit", "State", "at", "contour", "geodesic", "read_table"]
