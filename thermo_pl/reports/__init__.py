"""What a run came to, for a reader: summaries, tables, figures, a page."""

from typing import TYPE_CHECKING

from thermo_pl.lazy import on_demand

if TYPE_CHECKING:
    from thermo_pl.reports.figures import control_figure, space_figure, strip_figure
    from thermo_pl.reports.ledger import ledger_table, summarise_ledger
    from thermo_pl.reports.summary import summarise
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        figures=["control_figure", "space_figure", "strip_figure"],
        ledger=["ledger_table", "summarise_ledger"],
        summary=["summarise"],
    )

__all__ = [
    "control_figure",
    "ledger_table",
    "space_figure",
    "strip_figure",
    "summarise",
    "summarise_ledger",
]
