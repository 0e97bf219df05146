"""The page of ``compare``: one HTML file with the table and the curves, which needs nothing else.

A short script sorts the table, hides runs and reads the values under the pointer off the curves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from thermo_pl.path.columns import Row
from thermo_pl.reports.curves import control_curve, coordinate, dissipation_curve, loss_curve
from thermo_pl.reports.svg import panel, style
from thermo_pl.runs.reader import Run
from thermo_pl.runs.table import Cell, Table


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
    return _PAGE.format(
        count=len(runs),
        head="".join(_header(name, table.columns[name]) for name in order),
        body="".join(
            f"<tr>{''.join(_cell(row[name], ranks[name][i]) for name in order)}</tr>"
            for i, row in enumerate(table.rows)
        ),
        legend="".join(_legend(i, *entry) for i, entry in enumerate(legend)),
        plots="".join(f"<figure>{text}</figure>" for text in _panels([run.path for run in runs])),
        style=_STYLE,
        script=_SCRIPT,
    )


def _panels(paths: Sequence[Sequence[Row]]) -> list[str]:
    if not any(paths):
        return []
    over = coordinate(paths)
    several = any(row["leg"] for path in paths for row in path)
    along = "path coordinate leg + t" if several else "domain coordinate t"
    along = "macro-steps since the start" if over == "step" else along
    loss, sum_ = "classification loss C (nats)", "sum of relaxations (nats)"
    losses = [loss_curve(path, over) for path in paths]
    controls = [control_curve(path) for path in paths]
    sums = [dissipation_curve(path, over) for path in paths]
    return [
        panel("C along the path (band: ± standard error)", along, loss, losses),
        panel("C over γ (circle: start)", "γ", loss, controls),
        panel("Dissipation so far", along, sum_, sums),
    ]


def _header(name: str, meaning: str) -> str:
    button = f"<button>{escape(name)}</button>"
    return f'<th scope="col" title="{escape(meaning)}">{button}</th>'


def _cell(cell: Cell, rank: int) -> str:
    if cell.value is None:
        return "<td></td>"
    kind = "text" if isinstance(cell.value, str) else "number"
    # the place among the rows: the page sorts as the command does
    return (
        f'<td class="{kind}" data-rank="{rank}" title="{escape(str(cell.value))}">'
        f"{escape(cell.text)}</td>"
    )


def _legend(index: int, name: str, facts: str, run: Run) -> str:
    if not run.path:
        return f'<span title="{escape(facts)}">{escape(name)}: no path</span>'
    swatch = f'<svg class="swatch" viewBox="0 0 40 10"><path d="M0 5H40" {style(index)}/></svg>'
    box = f'<input type="checkbox" checked data-run="{index}">'
    return f'<label title="{escape(facts)}">{box}{swatch}{escape(name)}</label>'


def _facts(row: Mapping[str, Cell]) -> str:
    # what tells the run apart, and how it ended
    names = list(row)
    before = names[1 : names.index("status") + 1]
    return ", ".join(f"{name} = {row[name].text}" for name in before if row[name].text)


_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff }
h1 { font-size: 1.2rem }
.wide { overflow-x: auto }
table { border-collapse: collapse }
td, th { padding: .25rem .6rem; border-bottom: 1px solid #ddd; white-space: nowrap }
td.number { text-align: right; font-variant-numeric: tabular-nums }
td.text { max-width: 22rem; overflow: hidden; text-overflow: ellipsis }
td:first-child, th:first-child { position: sticky; left: 0; background: #fff }
th button { font: inherit; font-weight: 600; border: 0; padding: 0; background: none;
  cursor: pointer }
th[aria-sort=ascending] button::after { content: " \\25B2" }
th[aria-sort=descending] button::after { content: " \\25BC" }
.legend { position: sticky; top: 0; background: #fff; padding: .6rem 0; margin-top: 1rem }
.legend label, .legend span { margin-right: 1.4rem; white-space: nowrap }
.swatch { width: 40px; height: 10px; margin: 0 .4rem; vertical-align: middle; stroke-width: 2.5 }
figure { display: inline-block; margin: 0 1rem 1rem 0; width: min(100%, 560px) }
.plot { width: 100%; font-size: 12px }
.plot .title { font-weight: 600; font-size: 13px }
.plot .grid { stroke: #e6e6e6 }
.plot .axis { stroke: #444; fill: none }
.plot polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round }
.plot polygon { stroke: none; fill-opacity: .15 }
.plot g circle { fill: #fff; stroke-width: 1.8; stroke-dasharray: none }
.plot .mark { fill: none; stroke: #222; stroke-width: 1.5 }
.off { display: none }
#tip { position: fixed; display: none; pointer-events: none; background: #222; color: #fff;
  padding: .15rem .5rem; border-radius: 3px; font-size: 12px }
"""

_SCRIPT = """
const body = document.querySelector("tbody"), tip = document.getElementById("tip");
document.querySelectorAll("th").forEach((th, column) => th.onclick = () => {
  const sign = th.ariaSort === "ascending" ? -1 : 1;
  document.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
  th.ariaSort = sign > 0 ? "ascending" : "descending";
  const rank = row => row.cells[column].dataset.rank;  // a row without a value comes last
  const compare = (a, b) => rank(a) === undefined || rank(b) === undefined
    ? (rank(a) === undefined) - (rank(b) === undefined) : sign * (rank(a) - rank(b));
  body.append(...[...body.rows].sort(compare));
});
document.querySelectorAll("input[data-run]").forEach(box => box.onchange = () =>
  document.querySelectorAll(`g[data-run="${box.dataset.run}"]`).forEach(
    group => group.classList.toggle("off", !box.checked)));
document.querySelectorAll(".plot").forEach(plot => {
  const [x0, x1, left, right, y0, y1, bottom, top] = plot.dataset.axes.split(" ").map(Number);
  const mark = plot.querySelector(".mark");
  plot.onmouseleave = () => {
    tip.style.display = "none";
    mark.setAttribute("visibility", "hidden");
  };
  plot.onmousemove = event => {
    const at = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(plot.getScreenCTM().inverse());
    let best = null, least = 20;
    for (const line of plot.querySelectorAll("g:not(.off) polyline"))
      for (const point of line.points) {
        const distance = Math.hypot(point.x - at.x, point.y - at.y);
        if (distance < least) [best, least] = [[point, line], distance];
      }
    if (!best) return plot.onmouseleave();
    const [point, line] = best, run = line.parentNode.dataset.run;
    const x = x0 + (point.x - left) / (right - left) * (x1 - x0);
    const y = y0 + (point.y - bottom) / (top - bottom) * (y1 - y0);
    const name = document.querySelector(`input[data-run="${run}"]`).parentNode.textContent;
    tip.textContent = `${name}: ${+x.toPrecision(4)}, ${+y.toPrecision(4)}`;
    const [beside, below] = [event.clientX + 14, event.clientY + 14];
    tip.style.cssText = `display: block; left: ${beside}px; top: ${below}px`;
    mark.setAttribute("cx", point.x); mark.setAttribute("cy", point.y);
    mark.setAttribute("visibility", "visible");
  };
});
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{count} runs compared</title><style>{style}</style></head>
<body>
<h1>{count} runs compared</h1>
<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>
<div class="legend">{legend}</div>
<div>{plots}</div>
<div id="tip"></div>
<script>{script}</script>
</body>
</html>
"""
