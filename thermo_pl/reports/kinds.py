"""What each kind of process comes to for a reader: its summary, its table, its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.figure import Figure

from thermo_pl.path.columns import CLOSURE, Row
from thermo_pl.reports.cycle_figures import (
    adiabat_figure,
    cycle_figure,
    domains_figure,
    stroke_space_figure,
    terms_figure,
)
from thermo_pl.reports.figures import control_figure, space_figure, strip_figure
from thermo_pl.reports.ledger import ledger_table, summarise_ledger
from thermo_pl.reports.summary import moving, strokes_of_pass, summarise, table

if TYPE_CHECKING:
    from thermo_pl.process.rule import ReportKind

Frame = tuple[float, Any, Any]
"""Path coordinate, examples and what the model makes of them, if anything.

Images are ``(classes, height, width)``, in colour with three channels at the end; other examples
``(classes, numbers)``.
"""


class Seen(NamedTuple):
    """What the model was shown on its way.

    Attributes:
        frames: by the step of their rows.
        names: of the classes.
        most: frames in a strip of images, at most.
    """

    frames: Mapping[int, Frame]
    names: Sequence[str]
    most: int


class Report(NamedTuple):
    """How a kind of process is reported.

    Attributes:
        summarise: the path, how it ended and cycle.json, if there is one → the numbers that a
            reader asks for first.
        table: the summary with accuracies, how the process ended, where the files are → text.
        figures: the path, the summary, what the model was shown → figures by their names.
    """

    summarise: Callable[[Sequence[Row], str, Mapping[str, Any] | None], dict[str, Any]]
    table: Callable[[Mapping[str, Any], str, str], str]
    figures: Callable[[Sequence[Row], Mapping[str, Any], Seen], dict[str, Figure]]


def letter(leg: int) -> str:
    """Name of the domain that a leg begins at.

    Args:
        leg: index of the leg.

    Returns:
        A letter from A.
    """
    return chr(ord("A") + leg)


def _summarise_path(
    rows: Sequence[Row], ending: str, found: Mapping[str, Any] | None
) -> dict[str, Any]:
    return summarise(rows)


def _path_figures(rows: Sequence[Row], summary: Mapping[str, Any], seen: Seen) -> dict[str, Figure]:
    return {"control": control_figure(moving(rows))} | _way_figures(rows, seen)


def _adiabat_figures(
    rows: Sequence[Row], summary: Mapping[str, Any], seen: Seen
) -> dict[str, Figure]:
    return {"control": adiabat_figure(moving(rows))} | _way_figures(rows, seen)


def _cycle_figures(
    rows: Sequence[Row], summary: Mapping[str, Any], seen: Seen
) -> dict[str, Figure]:
    if not summary["strokes"]:  # it never left its equilibrium
        return _path_figures(rows, summary, seen)
    cycle = summary["pass"]
    figures = {
        "cycle": cycle_figure(rows, summary["cycle"], cycle),
        "cycle_terms": terms_figure(rows, cycle),
        "rdc_space": stroke_space_figure(rows, cycle),
    }
    starts = [stroke.path[0] for stroke in strokes_of_pass(rows, cycle)]
    places = {letter(row["leg"]): row["step"] for row in starts if row["t"] == 0}
    if rows[-1]["stroke"] == CLOSURE:
        places["A, at the end"] = rows[-1]["step"]
    there = {name: seen.frames[step] for name, step in places.items() if step in seen.frames}
    if there:
        figures["domains"] = domains_figure(list(there.values()), list(there), seen.names)
    return figures


def _way_figures(rows: Sequence[Row], seen: Seen) -> dict[str, Figure]:
    figures = {"rdc_space": space_figure(moving(rows))}
    if seen.frames:
        frames = list(seen.frames.values())
        last, count = len(frames) - 1, min(seen.most, len(frames))
        chosen = [frames[round(i * last / max(count - 1, 1))] for i in range(count)]
        figures["images"] = strip_figure(chosen, seen.names)
    return figures


REPORTS: dict[ReportKind, Report] = {
    "path": Report(_summarise_path, table, _path_figures),
    "strokes": Report(summarise_ledger, ledger_table, _path_figures),
    "adiabat": Report(summarise_ledger, ledger_table, _adiabat_figures),
    "cycle": Report(summarise_ledger, ledger_table, _cycle_figures),
}
"""By the kind that a rule names."""
