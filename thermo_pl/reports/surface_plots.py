"""What the page of a map draws, as plain figures of :mod:`thermo_pl.reports.plots`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from contourpy import contour_generator

from thermo_pl.path.columns import Row
from thermo_pl.reports.plots import COLOURS, GREY, GRID, Figure, Trace, axis, figure, line
from thermo_pl.surface.fit import Fit
from thermo_pl.surface.kernel import Array

LEVELS = 9
"""Contours of a quantity."""
FINE = 61
"""Points along each axis on which contours are drawn."""
LATENTS = 12
"""Axes of z that are drawn one by one, at most."""
SCALE = "Viridis"


def fit_of(nodes: Sequence[Row]) -> Fit:
    """What lies between the nodes.

    Args:
        nodes: lines of surface.csv.

    Returns:
        The interpolant.

    Raises:
        DataError: if there are fewer than two nodes.
    """
    return Fit(*([row[name] for row in nodes] for name in ("lambda", "gamma", *"FDC")))


def varies(nodes: Sequence[Row]) -> list[str]:
    """Which of λ and γ a map varies.

    Args:
        nodes: lines of surface.csv.

    Returns:
        Names of columns.
    """
    return [name for name in ("lambda", "gamma") if len({row[name] for row in nodes}) > 1]


def space_figure(nodes: Sequence[Row]) -> Figure:
    """The surface f(R, D, C) = 0, to be turned, coloured by log λ.

    Args:
        nodes: lines of surface.csv, on a grid or not.

    Returns:
        Lines along λ and along γ through the nodes, and on a full grid the surface between them.
    """
    lam, gam = (sorted({row[name] for row in nodes}) for name in ("lambda", "gamma"))
    known = {(row["lambda"], row["gamma"]): row for row in nodes}
    traces: list[Trace] = []
    sheet = [[known.get((a, b)) for a in lam] for b in gam]
    if min(len(lam), len(gam)) > 1 and all(all(line) for line in sheet):
        whole = {n: [[row[n] for row in line if row] for line in sheet] for n in "RDC"}
        colour = [[math.log10(row["lambda"]) for row in line if row] for line in sheet]
        look = {"colorscale": SCALE, "opacity": 0.75, "hoverinfo": "skip"}
        bar = {"title": {"text": "log10 λ"}, "len": 0.6, "thickness": 12}
        place = {"x": whole["R"], "y": whole["D"], "z": whole["C"], "surfacecolor": colour}
        traces.append({"type": "surface", **place, **look, "colorbar": bar, "showlegend": False})
    for index, (name, other) in enumerate((("lambda", "gamma"), ("gamma", "lambda"))):
        for value in sorted({row[other] for row in nodes}):
            rows = sorted((r for r in nodes if r[other] == value), key=lambda r: float(r[name]))
            if len(rows) > 1:
                traces.append(_thread(rows, index))
    scene = {
        f"{key}axis": {"title": {"text": f"{name} (nats)"}, "gridcolor": GRID, "nticks": 5}
        for key, name in (("x", "R"), ("y", "D"), ("z", "C"))
    }
    camera = {"eye": {"x": 1.6, "y": 1.6, "z": 0.9}, "center": {"x": 0, "y": 0, "z": -0.15}}
    look = {"camera": camera, "aspectmode": "cube"}
    return figure(traces, {"scene": scene | look}, height=520, showlegend=False)


def _thread(rows: Sequence[Row], index: int) -> Trace:
    place = {key: [row[name] for row in rows] for key, name in zip("xyz", "RDC", strict=True)}
    text = [f"λ = {row['lambda']:.4g}, γ = {row['gamma']:.4g}" for row in rows]
    look = {"color": ("#222", "#777")[index], "width": 3}
    marks = {"color": "#222", "size": 2}
    shown = {"mode": "lines+markers", "line": look, "marker": marks, "text": text}
    return {"type": "scatter3d", **place, **shown, "showlegend": False}


def plane_figure(nodes: Sequence[Row]) -> Figure:
    """Contours of F, D and C in the plane of λ and γ.

    Args:
        nodes: lines of surface.csv, varying in both.

    Returns:
        Grey lines of F, coloured ones of D and C, each with its value; dots are the nodes.
    """
    fit = fit_of(nodes)
    lam, gam, places = fit.line(0, FINE), fit.line(1, FINE), fit.grid(FINE)
    energy, slopes, _ = fit.derivatives(places)
    hidden = ~fit.covers(places)
    traces: list[Trace] = []
    notes: list[dict[str, Any]] = []
    shown = (("F", energy, GREY), ("D", slopes[:, 0], COLOURS[0]), ("C", slopes[:, 1], COLOURS[1]))
    for name, values, colour in shown:
        table = np.ma.masked_array(values, hidden).reshape(len(gam), len(lam))
        levels = np.quantile(values[~hidden], np.linspace(0, 1, LEVELS + 2)[1:-1])
        for number, level in enumerate(levels):
            parts = [np.asarray(p) for p in contour_generator(lam, gam, table).lines(level)]
            look: dict[str, Any] = {"mode": "lines", "line": {"color": colour, "width": 1.6}}
            look |= {"legendgroup": name, "showlegend": number == 0, "hoverinfo": "skip"}
            x, y = _joined(parts)
            traces.append(line(x, y, f"constant {name}", **look))
            if number % 2 == 0 and parts:
                notes.append(_label(max(parts, key=len), f"{level:.3g}", colour, number))
    dots: dict[str, Any] = {
        "mode": "markers",
        "marker": {"color": "#222", "size": 4},
        "showlegend": False,
    }
    text = [f"F = {row['F']:.4g}, R = {row['R']:.4g}" for row in nodes]
    x, y = _columns(nodes, "lambda", "gamma")
    traces.append(line(x, y, "nodes", text=text, **dots))
    return figure(traces, _axes(nodes), 460, annotations=notes)


def _joined(parts: Sequence[Array]) -> tuple[list[Any], list[Any]]:
    # several lines as one, broken between them
    x: list[Any] = []
    y: list[Any] = []
    for part in parts:
        x += [*map(float, part[:, 0]), None]
        y += [*map(float, part[:, 1]), None]
    return x, y


def _label(part: Array, text: str, colour: str, number: int) -> dict[str, Any]:
    x, y = part[(3 + number) * len(part) // 16]
    look = {"color": colour, "size": 11}
    place = {"x": _on_axis(float(x)), "y": _on_axis(float(y)), "showarrow": False}
    return place | {"text": text, "font": look, "bgcolor": "rgba(255,255,255,.8)", "borderpad": 0}


def _on_axis(value: float) -> float:
    # annotations on a logarithmic axis are placed by the logarithm
    return math.log10(value) if value > 0 else value


def _columns(rows: Sequence[Row], x: str, y: str) -> tuple[list[Any], list[Any]]:
    return [row[x] for row in rows], [row[y] for row in rows]


def _axes(nodes: Sequence[Row]) -> dict[str, Any]:
    found = {}
    for key, name, symbol in (("xaxis", "lambda", "λ"), ("yaxis", "gamma", "γ")):
        low = min(row[name] for row in nodes)
        found[key] = axis(symbol, **({"type": "log"} if low > 0 else {}))
    return found


def curve_figure(nodes: Sequence[Row]) -> Figure:
    """Rate against distortion, at the lowest γ and, if there is one, at the highest.

    Args:
        nodes: lines of surface.csv, varying in λ.

    Returns:
        A line for each γ; slope -λ.
    """
    traces = []
    gammas = sorted({row["gamma"] for row in nodes})
    for index, gam in enumerate(dict.fromkeys((gammas[0], gammas[-1]))):
        rows = sorted((r for r in nodes if r["gamma"] == gam), key=lambda r: float(r["lambda"]))
        text = [f"λ = {row['lambda']:.4g}" for row in rows]
        x, y = _columns(rows, "R", "D")
        traces.append(line(x, y, f"γ = {gam:.4g}", index, text=text))
    axes = {"xaxis": axis("rate R (nats)"), "yaxis": axis("distortion D (nats)")}
    return figure(traces, axes)


def phase_figure(nodes: Sequence[Row]) -> Figure:
    """The latents in use at each node.

    Args:
        nodes: lines of surface.csv, varying in λ and γ.

    Returns:
        A square for each node, with the number in it.
    """
    count = [row["latents_in_use"] for row in nodes]
    marks = {"size": 24, "symbol": "square", "color": count, "colorscale": SCALE}
    bar = {"title": {"text": "in use"}, "len": 0.8, "thickness": 12}
    look: dict[str, Any] = {"mode": "markers+text", "marker": marks | {"colorbar": bar}}
    look |= {"text": [f"{value:.3g}" for value in count], "textfont": {"color": "#fff", "size": 10}}
    x, y = _columns(nodes, "lambda", "gamma")
    shown = line(x, y, "latents in use", showlegend=False, **look)
    return figure([shown], _axes(nodes), 460)


def rates_figure(nodes: Sequence[Row]) -> Figure | None:
    """The rate of each latent over λ, at the middle γ: where each one switches on.

    Args:
        nodes: lines of surface.csv.

    Returns:
        A line for each latent; None where no rates are known.
    """
    gammas = sorted({row["gamma"] for row in nodes})
    gam = gammas[len(gammas) // 2]
    rows = sorted((r for r in nodes if r["gamma"] == gam), key=lambda r: float(r["lambda"]))
    names = [name for name in rows[0] if name.startswith("rate_")]
    if not names or len(rows) < 2:
        return None
    x = [row["lambda"] for row in rows]
    traces = []
    for index, name in enumerate(names[:LATENTS]):
        title = f"latent {name.removeprefix('rate_')}"
        traces.append(line(x, [row[name] for row in rows], title, index))
    kind = {"type": "log"} if min(x) > 0 else {}
    axes = {"xaxis": axis("λ", **kind), "yaxis": axis("rate of a latent (nats)")}
    return figure(traces, axes)


def surface_figures(nodes: Sequence[Row]) -> Iterator[tuple[str, str, str, Figure, bool]]:
    """All figures of a map.

    Args:
        nodes: lines of surface.csv, at least two.

    Yields:
        Of each its name, its title, how to read it, itself, and whether it takes the whole width.
    """
    which = varies(nodes)
    if len(which) == 2:
        note = "Turn it with the pointer. Dark: along λ; grey: along γ."
        yield "surface", "Rate, distortion, classification loss", note, space_figure(nodes), True
        note = "F rises with λ and γ; along an orange line C stays, as in an iso-classification."
        yield "energy", "F with its lines of constant D and C", note, plane_figure(nodes), False
        note = "Axes of z that tell examples apart."
        yield "phases", "Latents in use", note, phase_figure(nodes), False
    if "lambda" in which:
        note = "Its slope is -λ: what a nat of distortion costs."
        yield "curve", "Rate and distortion", note, curve_figure(nodes), False
        rates = rates_figure(nodes)
        if rates is not None:
            note = "At the middle γ, the largest first; one that is flat at 0 is off."
            yield "rates", "The rate of each latent", note, rates, False
