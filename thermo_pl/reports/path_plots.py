"""What the page of a run draws of its path, as plain figures of :mod:`thermo_pl.reports.plots`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Any

from thermo_pl.laws.promise import misses
from thermo_pl.path.columns import CLOSURE, PREPARATION, Row
from thermo_pl.path.segments import StrokePath, stroke_paths
from thermo_pl.reports.curves import coordinate
from thermo_pl.reports.plots import (
    COLOURS,
    GREY,
    GRID,
    MOST_MARKERS,
    SYMBOLS_3D,
    Figure,
    Trace,
    axis,
    band,
    figure,
    line,
    span,
)

TITLES = {
    "gamma": "γ",
    "lambda": "λ",
    "R": "rate R (nats)",
    "D": "distortion D (nats)",
    "C": "classification loss C (nats)",
}
STACK = ("C", "gamma", "lambda", "R", "D")
"""What is drawn along the path, from the top down."""


def along(rows: Sequence[Row]) -> tuple[list[float], str]:
    """What a path is drawn over.

    Args:
        rows: the path.

    Returns:
        A value for each row, and what it is.
    """
    if coordinate([rows]) == "step":
        return column(rows, "step"), "macro-step"
    several = any(row["leg"] for row in rows)
    return column(rows, "s"), "path coordinate leg + t" if several else "domain coordinate t"


def column(rows: Sequence[Row], name: str) -> list[Any]:
    """A column of a path.

    Args:
        rows: the path.
        name: of the column; ``s`` stands for leg + t.

    Returns:
        Its values.
    """
    return [row["leg"] + row["t"] if name == "s" else row[name] for row in rows]


def strokes_of(rows: Sequence[Row]) -> list[StrokePath]:
    """The strokes that a path shows, without preparation and closure.

    Args:
        rows: the path.

    Returns:
        All passes, in order.
    """
    return [s for s in stroke_paths(rows) if s.name not in {*PREPARATION, CLOSURE}]


def held_figure(rows: Sequence[Row], allowed: float | None) -> Figure | None:
    """By how much what was held missed its target, in per cent.

    Args:
        rows: the path.
        allowed: the tolerance that was promised, as a fraction; None where it is not known.

    Returns:
        C relative to C*, and S relative to γC; None where nothing has a target.
    """
    places, label = along(rows)
    at = {row["step"]: place for row, place in zip(rows, places, strict=True)}
    found = [value for value in misses(rows) if value.step in at]
    traces = []
    for index, quantity in enumerate(dict.fromkeys(value.quantity for value in found)):
        values = [value for value in found if value.quantity == quantity]
        error = [100 * value.error for value in values]
        x: list[float] = [at[value.step] for value in values]
        y = [100 * value.miss for value in values]
        name = "C/C* - 1" if quantity == "C" else "miss of S over γC"
        if len(values) > MOST_MARKERS:  # thousands of bars take a browser seconds
            traces += [*band(x, y, error, index), line(x, y, name, index)]
        else:
            bars = {"type": "data", "thickness": 1, "width": 2, "array": error}
            traces.append(line(x, y, name, index, error_y=bars, mode="markers"))
    if not traces:
        return None
    shapes, edges = [], [0.0]
    if allowed and math.isfinite(allowed):
        edge = 100 * allowed
        edges += [-1.5 * edge, 1.5 * edge]
        shapes.append(_rectangle(-edge, edge))
    heights = [value for trace in traces for value in trace["y"]]
    zero = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0}
    zero |= {"line": {"color": "#000", "width": 1}}
    axes = {"xaxis": axis(label), "yaxis": axis("off target (%)", range=span(heights + edges))}
    return figure(traces, axes, shapes=[*shapes, zero])


def _rectangle(low: float, high: float) -> dict[str, Any]:
    # a band over the whole width
    shape = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": low, "y1": high}
    return shape | {"fillcolor": "#009E73", "opacity": 0.13, "line": {"width": 0}, "layer": "below"}


def plane_figure(rows: Sequence[Row], x: str, y: str, allowed: float | None, area: bool) -> Figure:
    """The path in a plane.

    Args:
        rows: the path.
        x: column of the horizontal axis.
        y: column of the vertical axis.
        allowed: tolerance around C*, as a fraction; None where there is none.
        area: whether the last pass encloses one.

    Returns:
        One line for each stroke of the last pass; the passes before it are thin and grey.
    """
    strokes = strokes_of(rows) or [StrokePath(0, "start", list(rows), list(rows))]
    last = strokes[-1].cycle
    traces: list[Trace] = []
    if area:
        loop = [row for stroke in strokes if stroke.cycle == last for row in stroke.path]
        traces.append(_filled(column(loop, x), column(loop, y)))
    for stroke in (stroke for stroke in strokes if stroke.cycle != last):
        traces.append(_earlier(stroke, x, y))
    shown = [stroke for stroke in strokes if stroke.cycle == last]
    for index, stroke in enumerate(shown):
        over, values = column(stroke.path, x), column(stroke.path, y)
        traces += band(over, values, column(stroke.path, f"{y}_error"), index)
        traces.append(line(over, values, _shown(stroke.name), index))
    shapes, edges = _targets(rows, allowed) if y == "C" else ([], [])
    traces.append(_corners(shown, x, y))
    vertical = column(rows, y)
    axes = {
        "xaxis": axis(TITLES[x], range=span(column(rows, x))),
        "yaxis": axis(TITLES[y], range=span([*vertical, *edges])),
    }
    arrows = [arrow for i, stroke in enumerate(shown) for arrow in _arrow(stroke, x, y, i)]
    follow = [{"x": x, "y": y}]
    return figure(traces, axes, follow=follow, shapes=shapes, annotations=arrows)


def _shown(name: str) -> str:
    return name.replace("_", " ")


def _filled(x: Sequence[float], y: Sequence[float]) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(x),
        "y": list(y),
        "fill": "toself",
        "fillcolor": "rgba(120,120,120,.13)",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _earlier(stroke: StrokePath, x: str, y: str) -> Trace:
    look = {"color": GREY, "width": 0.7}
    more: Trace = {"mode": "lines", "line": look, "hoverinfo": "skip", "showlegend": False}
    return line(column(stroke.path, x), column(stroke.path, y), "earlier pass", **more)


def _targets(rows: Sequence[Row], allowed: float | None) -> tuple[list[dict[str, Any]], list[Any]]:
    # a dashed line at each C*, and room around it
    targets = dict.fromkeys(row["C_target"] for row in rows if math.isfinite(row["C_target"]))
    if len(targets) > 4:  # driven, not held
        return [], []
    shapes, edges = [], []
    for target in targets:
        at = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": target, "y1": target}
        shapes.append(at | {"line": {"color": "#000", "width": 1, "dash": "dash"}})
        room = allowed if allowed and math.isfinite(allowed) else 0.01
        edges += [target * (1 - 4 * room), target * (1 + 4 * room)]
        if allowed and math.isfinite(allowed):
            shapes.append(_rectangle(target * (1 - allowed), target * (1 + allowed)))
    return shapes, edges


def _corners(strokes: Sequence[StrokePath], x: str, y: str) -> Trace:
    # of several strokes each beginning has a letter; of one, both ends have a name
    starts = [stroke.path[0] for stroke in strokes]
    names = [chr(ord("A") + number) for number in range(len(strokes))]
    if len(strokes) < 3:
        starts, names = [strokes[0].path[0], strokes[-1].path[-1]], ["start", "end"]
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": column(starts, x),
        "y": column(starts, y),
        "text": [f"<b>{name}</b>" for name in names],
        "textposition": ["top right", "bottom left", "top left", "bottom right"][: len(names)]
        if len(strokes) < 5
        else "top center",
        "marker": {"color": "#fff", "size": 9, "line": {"color": "#000", "width": 1.5}},
        "hoverinfo": "skip",
        "showlegend": False,
        "cliponaxis": False,
    }


def _arrow(stroke: StrokePath, x: str, y: str, index: int) -> list[dict[str, Any]]:
    # in the step of a stroke that goes furthest its own way: others may go back
    points = [(row[x], row[y]) for row in stroke.path if math.isfinite(row[x] + row[y])]
    if len(points) < 2 or points[0] == points[-1]:
        return []
    across, up = points[-1][0] - points[0][0], points[-1][1] - points[0][1]
    gains = [across * (b[0] - a[0]) + up * (b[1] - a[1]) for a, b in pairwise(points)]
    before, after = list(pairwise(points))[gains.index(max(gains))]
    ends = {"x": after[0], "y": after[1], "ax": before[0], "ay": before[1]}
    references = {"xref": "x", "yref": "y", "axref": "x", "ayref": "y", "text": ""}
    look = {"arrowhead": 2, "arrowsize": 1.6, "arrowwidth": 2, "showarrow": True}
    return [ends | references | look | {"arrowcolor": COLOURS[index % len(COLOURS)]}]


def space_figure(rows: Sequence[Row]) -> Figure:
    """The path in the (R, D, C) space, to be turned, with its shadow on the floor.

    Args:
        rows: the path.

    Returns:
        One line for each stroke of the last pass.
    """
    strokes = strokes_of(rows) or [StrokePath(0, "start", list(rows), list(rows))]
    last = strokes[-1].cycle
    losses = [value for value in column(rows, "C") if math.isfinite(value)]
    high = 1.15 * max(losses, default=1.0)
    traces: list[Trace] = []
    for index, stroke in enumerate(stroke for stroke in strokes if stroke.cycle == last):
        place: dict[str, Any] = {axis: column(stroke.path, axis.upper()) for axis in "rd"}
        base: Trace = {"type": "scatter3d", "x": place["r"], "y": place["d"]}
        shadow = {"mode": "lines", "hoverinfo": "skip", "showlegend": False}
        shadow |= {"line": {"color": "#bdbdbd", "width": 3}, "z": [0.0] * len(stroke.path)}
        colour = COLOURS[index % len(COLOURS)]
        path = {
            "mode": "lines+markers" if len(rows) <= MOST_MARKERS else "lines",
            "z": column(stroke.path, "C"),
            "name": escape(_shown(stroke.name)),
            "line": {"color": colour, "width": 5},
            "marker": {"color": colour, "size": 3, "symbol": SYMBOLS_3D[index % len(SYMBOLS_3D)]},
        }
        traces += [base | shadow, base | path]
    scene = {
        "xaxis": _solid_axis("R (nats)"),
        "yaxis": _solid_axis("D (nats)"),
        "zaxis": _solid_axis("C (nats)", range=[0, high]),
        "camera": {"eye": {"x": 1.5, "y": -1.5, "z": 0.8}, "center": {"x": 0, "y": 0, "z": -0.15}},
    }
    return figure(traces, {"scene": scene}, height=440, follow=[{"x": "R", "y": "D", "z": "C"}])


def _solid_axis(title: str, **more: Any) -> dict[str, Any]:
    look = {"title": {"text": title}, "gridcolor": GRID, "showbackground": False}
    return look | {"linecolor": "#444", "nticks": 5} | more


def along_figure(rows: Sequence[Row]) -> Figure:
    """C beside C on validation examples, γ, λ, R and D along the path, one above the other.

    Args:
        rows: the path.

    Returns:
        Panels with one horizontal axis; strokes are parted by dotted lines.
    """
    places, label = along(rows)
    traces: list[Trace] = []
    share, gap = 1 / len(STACK), 0.035
    axes: dict[str, Any] = {"xaxis": axis(label, anchor=f"y{len(STACK)}")}
    follow = []
    for number, name in enumerate(STACK):
        key = "y" if number == 0 else f"y{number + 1}"
        top = 1 - number * share
        short = TITLES[name].replace("classification loss ", "").replace("rate ", "")
        domain = [top - share + gap, top]
        axes[f"yaxis{number + 1 if number else ''}"] = axis(
            short.replace("distortion ", ""), domain=domain
        )
        values = column(rows, name)
        if f"{name}_error" in rows[0]:
            traces += band(places, values, column(rows, f"{name}_error"), yaxis=key)
        shown: Trace = {"showlegend": number == 0, "yaxis": key}
        traces.append(line(places, values, "measuring probe (± standard error)", **shown))
        follow.append({"x": label_column(label), "y": name, "where": {"yaxis": key}})
    held_out = column(rows, "val_C")
    if any(map(math.isfinite, held_out)):
        traces.append(line(places, held_out, "validation examples", 1, connectgaps=True))
    starts = strokes_of(rows)[1:]
    cuts = [
        {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": place, "x1": place}
        | {"line": {"color": GREY, "width": 1, "dash": "dot"}}
        for stroke in starts
        for place in [along_of(stroke.path[0], label)]
    ]
    return figure(traces, axes, height=620, follow=follow, shapes=cuts)


def label_column(label: str) -> str:
    """The column that an axis of :func:`along` shows.

    Args:
        label: of the axis.

    Returns:
        ``step`` or ``s``.
    """
    return "step" if label == "macro-step" else "s"


def along_of(row: Row, label: str) -> float:
    """Where a row lies on an axis of :func:`along`.

    Args:
        row: the row.
        label: of the axis.

    Returns:
        Its coordinate.
    """
    return float(column([row], label_column(label))[0])
