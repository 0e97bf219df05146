"""The page of ``compare``: one HTML file with the table and the curves, which needs nothing else.

Curves are SVG, drawn here, so that the page shows them without scripts and prints well. A short
script sorts the table, hides runs and reads the values under the pointer off the curves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import accumulate, groupby
from typing import NamedTuple

from thermo_pl.path.columns import Row
from thermo_pl.runs.reader import Run
from thermo_pl.runs.table import Cell, Table

# Okabe & Ito's palette without its yellow, too light on white; seven colours and four dashes give
# 28 different lines
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
DASHES = ("none", "7 3", "2 3", "9 3 2 3")

_WIDTH, _HEIGHT = 560, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 12, 30, 48  # margins of a panel
_TICKS = 6


class Curve(NamedTuple):
    """What a run draws in a panel.

    Attributes:
        x: coordinates.
        y: values.
        error: standard errors of y; zero where there is no band.
    """

    x: list[float]
    y: list[float]
    error: list[float]


def loss_curve(path: Sequence[Row], coordinate: str) -> Curve:
    """C along the path, with its standard error.

    Args:
        path: rows of a run.
        coordinate: of :func:`coordinate`.

    Returns:
        The curve, in nats.
    """
    return Curve(
        _along(path, coordinate), [row["C"] for row in path], [row["C_error"] for row in path]
    )


def control_curve(path: Sequence[Row]) -> Curve:
    """C over γ.

    Args:
        path: rows of a run.

    Returns:
        The curve, in nats.
    """
    return Curve(
        [row["gamma"] for row in path],
        [row["C"] for row in path],
        [row["C_error"] for row in path],
    )


def dissipation_curve(path: Sequence[Row], coordinate: str) -> Curve:
    """What has been dissipated since the start of the path: the sum of the relaxations.

    Args:
        path: rows of a run.
        coordinate: of :func:`coordinate`.

    Returns:
        The curve, in nats. It ends at the ``dissipation`` of the run's summary, and is NaN for a
        path of an older version, which lacks the column.
    """
    steps = [row["relaxation"] for row in path[1:]]
    known = any(map(math.isfinite, steps))
    filled = [0.0 if math.isnan(step) else step for step in steps]
    total = list(accumulate(filled, initial=0.0)) if known else [math.nan] * len(path)
    return Curve(_along(path, coordinate), total, [0.0] * len(path))


def coordinate(paths: Sequence[Sequence[Row]]) -> str:
    """What the curves are drawn over.

    Args:
        paths: rows of the runs.

    Returns:
        ``t``, which is leg + t, if it goes forward in all of them, else ``step``: the data of a
        surface stay where they are, and those of a cycle come back.
    """
    for path in paths:
        along = _along(path, "t")
        if len(along) > 1 and not (along == sorted(along) and along[0] < along[-1]):
            return "step"
    return "t"


def _along(path: Sequence[Row], coordinate: str) -> list[float]:
    if coordinate == "step":
        return [row["step"] - path[0]["step"] for row in path]
    return [row["leg"] + row["t"] for row in path]


class Axis(NamedTuple):
    """A linear scale from values to pixels.

    Attributes:
        low: value at ``start``.
        high: value at ``end``.
        start: pixels.
        end: pixels.
    """

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value lies.

        Args:
            value: the value.

        Returns:
            Pixels.
        """
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values that the axis spans.

        Returns:
            Each with its label; their distance is 1, 2 or 5 times a power of ten.
        """
        least = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(least))
        distance = next(power * n for n in (1, 2, 5, 10) if power * n >= least * (1 - 1e-9))
        first, last = math.ceil(self.low / distance), math.floor(self.high / distance)
        values = [n * distance for n in range(first, last + 1)]
        decimals = max(0, -math.floor(math.log10(distance)))
        return [(value, f"{round(value, decimals):.12g}") for value in values]


def axis(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis with some room around the values.

    Args:
        values: what it has to span; not finite ones do not count.
        start: pixels of its low end.
        end: pixels of its high end.

    Returns:
        The axis; from 0 to 1 without a value.
    """
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    # values that agree to all digits but rounding still need an axis
    room = max(0.04 * (high - low), 1e-6 * max(abs(low), abs(high)), 1e-12)
    return Axis(low - room, high + room, start, end)


def panel(title: str, x_label: str, y_label: str, curves: Sequence[Curve]) -> str:
    """A plot of curves.

    Args:
        title: its heading.
        x_label: what x is, with its unit.
        y_label: what y is, with its unit.
        curves: one for each run; empty ones draw nothing.

    Returns:
        An SVG element.
    """
    values = [pair for c in curves for pair in zip(c.y, c.error, strict=True)]
    edges = [value + sign * error for value, error in values for sign in (-1, 0, 1)]
    x = axis([value for c in curves for value in c.x], _LEFT, _WIDTH - _RIGHT)
    y = axis(edges, _HEIGHT - _BOTTOM, _TOP)
    ranges = " ".join(f"{number:.17g}" for number in (*x, *y))
    lines = "".join(_curve(i, curve, x, y) for i, curve in enumerate(curves))
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" data-axes="{ranges}">'
        f'<text class="title" x="{_LEFT}" y="18">{escape(title)}</text>'
        f"{_frame(x, y, x_label, y_label)}{lines}"
        '<circle class="mark" r="5" visibility="hidden"/></svg>'
    )


def _frame(x: Axis, y: Axis, x_label: str, y_label: str) -> str:
    parts = []
    for value, label in x.ticks():
        at = f"{x.at(value):.2f}"
        parts.append(f'<path class="grid" d="M{at} {y.start}V{y.end}"/>')
        parts.append(f'<text x="{at}" y="{y.start + 16}" text-anchor="middle">{label}</text>')
    for value, label in y.ticks():
        at = f"{y.at(value):.2f}"
        parts.append(f'<path class="grid" d="M{x.start} {at}H{x.end}"/>')
        parts.append(f'<text x="{x.start - 6}" y="{at}" dy="4" text-anchor="end">{label}</text>')
    parts.append(f'<path class="axis" d="M{x.start} {y.end}V{y.start}H{x.end}"/>')
    middle, height = (x.start + x.end) / 2, (y.start + y.end) / 2
    parts.append(
        f'<text x="{middle}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(x_label)}</text>'
        f'<text transform="translate(16 {height}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    return "".join(parts)


def _curve(index: int, curve: Curve, x: Axis, y: Axis) -> str:
    parts = []
    for points in _unbroken(curve):
        band = [(a, b + e) for a, b, e in points] + [(a, b - e) for a, b, e in reversed(points)]
        if any(e for _, _, e in points):
            parts.append(f'<polygon points="{_pixels(band, x, y)}"/>')
        line = [(a, b) for a, b, _ in points]
        parts.append(f'<polyline points="{_pixels(line, x, y)}"/>')
        if len(parts) <= 2:  # where the run starts: over γ one cannot see the direction
            (a, b), *_ = line
            parts.append(f'<circle cx="{x.at(a):.2f}" cy="{y.at(b):.2f}" r="3.5"/>')
    return f'<g {_style(index)} data-run="{index}">{"".join(parts)}</g>'


def _unbroken(curve: Curve) -> Iterator[list[tuple[float, float, float]]]:
    # the stretches between missing values; an unknown error draws no band
    def known(point: tuple[float, float, float]) -> bool:
        return math.isfinite(point[0]) and math.isfinite(point[1])

    for is_known, points in groupby(zip(*curve, strict=True), known):
        if is_known:
            yield [(a, b, e if math.isfinite(e) else 0.0) for a, b, e in points]


def _pixels(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    return " ".join(f"{x.at(a):.2f},{y.at(b):.2f}" for a, b in points)


def _style(index: int) -> str:
    colour = COLOURS[index % len(COLOURS)]
    dash = DASHES[index % len(DASHES)]
    return f'stroke="{colour}" fill="{colour}" stroke-dasharray="{dash}"'


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
    swatch = f'<svg class="swatch" viewBox="0 0 40 10"><path d="M0 5H40" {_style(index)}/></svg>'
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
