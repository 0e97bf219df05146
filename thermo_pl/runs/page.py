"""The page of ``compare``: one HTML file with the table and the curves, which needs nothing else.

It is built of the same parts as the page of one run. Its script sorts the table and hides runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from thermo_pl.path.columns import Row
from thermo_pl.reports.curves import (
    Curve,
    control_curve,
    coordinate,
    dissipation_curve,
    loss_curve,
)
from thermo_pl.reports.plots import COLOURS, DASHES, Figure, axis, band, figure, line
from thermo_pl.reports.web import Drawn, html, plots
from thermo_pl.reports.web import page as whole_page
from thermo_pl.runs.reader import Run
from thermo_pl.runs.table import Cell, Table

_STROKES = dict(zip(DASHES, ("none", "7 3", "2 3", "9 3 2 3"), strict=True))


def page(table: Table, columns: Sequence[str], runs: Sequence[Run]) -> str:
    """The whole page.

    Args:
        table: of :func:`thermo_pl.runs.table.compare`.
        columns: those to show after ``run``.
        runs: its runs, in the order of its rows.

    Returns:
        HTML without a reference to anything outside it.
    """
    order = ("run", *columns)
    ranks = {name: table.ranks(name) for name in order}
    names = [row["run"].text for row in table.rows]
    legend = zip(names, map(_facts, table.rows), runs, strict=True)
    head = "".join(_header(name, table) for name in order)
    body = "".join(
        f"<tr>{''.join(_cell(row[name], ranks[name][i]) for name in order)}</tr>"
        for i, row in enumerate(table.rows)
    )
    title = f"{len(runs)} runs compared"
    drawn = _figures([run.path for run in runs], names)
    boxes = "".join(_legend(i, *entry) for i, entry in enumerate(legend))
    parts = (
        f"<h1>{title}</h1>",
        f'<div class="wide"><table class="runs"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>",
        f'<div class="legend">{boxes}</div>',
        plots(drawn),
    )
    return whole_page(title, "\n".join(parts), drawn, {"path": None, "frames": None})


def _figures(paths: Sequence[Sequence[Row]], names: Sequence[str]) -> list[Drawn]:
    if not any(paths):
        return []
    over = coordinate(paths)
    several = any(row["leg"] for path in paths for row in path)
    along = "path coordinate leg + t" if several else "domain coordinate t"
    along = "macro-steps since the start" if over == "step" else along
    loss, sum_ = "classification loss C (nats)", "sum of relaxations (nats)"
    shown = [
        ("C", "C along the path", along, loss, [loss_curve(path, over) for path in paths]),
        ("gamma", "C over γ", "γ", loss, [control_curve(path) for path in paths]),
        ("paid", "Dissipation so far", along, sum_, [dissipation_curve(p, over) for p in paths]),
    ]
    note = "The band is the standard error; the ring is where a run starts."
    return [
        Drawn(f"runs_{key}", title, note if y == loss else "", _figure(x, y, curves, names))
        for key, title, x, y, curves in shown
    ]


def _figure(x: str, y: str, curves: Sequence[Curve], names: Sequence[str]) -> Figure:
    # the boxes of the page are the legend; ``meta`` is the number of the run that they hide
    traces = []
    for index, (curve, name) in enumerate(zip(curves, names, strict=True)):
        own = {"meta": index, "showlegend": False}
        traces += band(curve.x, curve.y, curve.error, index, **own)
        traces.append(line(curve.x, curve.y, name, index, mode="lines", **own))
        edge = {"color": COLOURS[index % len(COLOURS)], "width": 2}
        ring = {"color": "#fff", "size": 8, "line": edge}
        start = {"mode": "markers", "hoverinfo": "skip", "marker": ring}
        traces.append(line(curve.x[:1], curve.y[:1], name, index, **own, **start))
    return figure(traces, {"xaxis": axis(x), "yaxis": axis(y)})


def _header(name: str, table: Table) -> str:
    # above numbers to the right, as they are
    values = (row[name].value for row in table.rows)
    kind = "number" if any(isinstance(value, int | float) for value in values) else "text"
    meaning = escape(table.columns[name])
    return f'<th scope="col" class="{kind}" title="{meaning}"><button>{html(name)}</button></th>'


def _cell(cell: Cell, rank: int) -> str:
    if cell.value is None:
        return "<td></td>"
    kind = "text" if isinstance(cell.value, str) else "number"
    # the place among the rows: the page sorts as the command does
    return (
        f'<td class="{kind}" data-rank="{rank}" title="{escape(str(cell.value))}">'
        f"{html(cell.text)}</td>"
    )


def _legend(index: int, name: str, facts: str, run: Run) -> str:
    if not run.path:
        return f'<span title="{escape(facts)}">{html(name)}: no path</span>'
    dashes = _STROKES[DASHES[index % len(DASHES)]]
    look = f'stroke="{COLOURS[index % len(COLOURS)]}" stroke-dasharray="{dashes}"'
    swatch = f'<svg class="swatch" viewBox="0 0 40 10"><path d="M0 5H40" {look}/></svg>'
    box = f'<input type="checkbox" checked data-run="{index}">'
    return f'<label title="{escape(facts)}">{box}{swatch}{html(name)}</label>'


def _facts(row: Mapping[str, Cell]) -> str:
    # what tells the run apart, and how it ended
    names = list(row)
    before = names[1 : names.index("status") + 1]
    return ", ".join(f"{name} = {row[name].text}" for name in before if row[name].text)
