"""Plotly's figures as plain data: a page hands them to the script that it carries.

Nothing here imports a plotting library; a figure is a mapping with ``data``, ``layout`` and
``follow``, see :func:`figure`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Trace = dict[str, Any]
Figure = dict[str, Any]

# Okabe & Ito's palette without its yellow, too light on white; seven colours and four dashes give
# 28 different lines
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star")
SYMBOLS_3D = ("circle", "square", "diamond", "cross", "x")  # those that space has
GREY, GRID = "#8a8a8a", "#e4e4e4"
MOST_MARKERS = 300  # points of a line that are marked one by one


def line(x: Sequence[Any], y: Sequence[Any], name: str, index: int = 0, **more: Any) -> Trace:
    """A line through points, broken where a value is missing.

    Args:
        x: horizontal coordinates, numbers or names.
        y: vertical coordinates, likewise.
        name: for the legend, as it is: Plotly reads HTML in it, so it is escaped here.
        index: of colour, dashes and symbol.
        **more: other keys of the trace.

    Returns:
        A trace.
    """
    colour = COLOURS[index % len(COLOURS)]
    points = len(x) <= MOST_MARKERS
    return {
        "type": "scatter",
        "mode": "lines+markers" if points else "lines",
        "x": list(x),
        "y": list(y),
        "name": escape(name),
        "line": {"color": colour, "width": 2, "dash": DASHES[index % len(DASHES)]},
        "marker": {"color": colour, "size": 5, "symbol": SYMBOLS[index % len(SYMBOLS)]},
    } | more


def band(
    x: Sequence[float], y: Sequence[float], error: Sequence[float], index: int = 0, **more: Any
) -> list[Trace]:
    """The standard error around a line.

    Args:
        x: horizontal coordinates.
        y: vertical coordinates.
        error: standard errors of y; where one is not known there is no band.
        index: of the colour.
        **more: other keys of the trace.

    Returns:
        A filled trace, or none where no point has an error.
    """
    known = [
        point
        for point in zip(x, y, error, strict=True)
        if all(map(math.isfinite, point)) and point[2] > 0
    ]
    if not known:
        return []
    upper, lower = [b + e for _, b, e in known], [b - e for _, b, e in reversed(known)]
    along = [a for a, _, _ in known]
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": along + along[::-1],
            "y": upper + lower,
            "fill": "toself",
            "fillcolor": _transparent(COLOURS[index % len(COLOURS)], 0.2),
            "line": {"width": 0},
            "hoverinfo": "skip",
            "showlegend": False,
        }
        | more
    ]


def _transparent(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis of a plane.

    Args:
        title: what it shows, with its unit.
        **more: other keys of the axis.

    Returns:
        Its layout.
    """
    return {
        "title": {"text": title, "standoff": 8},
        "gridcolor": GRID,
        "zeroline": False,
        "automargin": True,
        "linecolor": "#444",
    } | more


def figure(
    traces: Sequence[Trace],
    axes: dict[str, Any],
    height: int = 360,
    follow: Sequence[Mapping[str, Any]] = (),
    **layout: Any,
) -> Figure:
    """A figure as the page's script takes it.

    Args:
        traces: what is drawn.
        axes: ``xaxis``, ``yaxis`` and so on, or ``scene``.
        height: pixels.
        follow: marks that the slider moves: ``x``, ``y`` and perhaps ``z`` name columns of the
            page's path, ``where`` other axes than the first.
        **layout: other keys of the layout.

    Returns:
        The figure.
    """
    common = {
        "height": height,
        "margin": {"l": 20, "r": 16, "t": 12, "b": 20},
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1b1b1b"},
        "paper_bgcolor": "#fff",
        "plot_bgcolor": "#fff",
        "hovermode": "closest",
        "showlegend": any(trace.get("showlegend", True) for trace in traces),
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    }
    return {"data": list(traces), "layout": common | axes | layout, "follow": list(follow)}


def span(values: Sequence[float], least: float = 0.0) -> list[float] | None:
    """The range of an axis, with some room around the values.

    Args:
        values: what it has to show; those that are not finite do not count.
        least: how wide it is at least.

    Returns:
        Both ends; None where there is no value.
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return None
    low, high = min(known), max(known)
    # values that agree to all digits but rounding still need an axis
    room = max(0.06 * (high - low), (least - (high - low)) / 2, 1e-6 * max(abs(low), abs(high)))
    room = room or 1e-9
    return [low - room, high + room]
