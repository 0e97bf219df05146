"""Pictures of a cycle of strokes. Functions from rows to matplotlib figures, as in figures.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle as endless
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from thermo_pl.path.columns import Row
from thermo_pl.path.segments import StrokePath
from thermo_pl.reports.figures import (
    BLUE,
    GREY,
    ORANGE,
    column,
    from_zero,
    mark_transitions,
    path_coordinate,
    strip_figure,
)
from thermo_pl.reports.summary import strokes_of_pass
from thermo_pl.text import number

GREEN, PURPLE, AMBER, SKY = "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
"""With ORANGE and BLUE the palette of Okabe & Ito."""
COLOURS = (ORANGE, GREEN, BLUE, PURPLE, AMBER, SKY)
DASHES = ("-", "--", "-.", (0, (1, 1)))
MARKERS = ("o", "s", "^", "D")
AXES = {
    "gamma": "γ  (entropy)",
    "lambda": "λ  (volume)",
    "C": "classification loss C (nats)  (temperature)",
    "D": "distortion D (nats)  (minus pressure)",
    "R": "rate R (nats)",
    "J": "free energy F (nats)",
}
"""What the quantities are in dU = T dS - p dV."""


class Style(NamedTuple):
    """How a stroke is drawn, the same in all figures.

    Attributes:
        color: its colour.
        linestyle: its dashes.
        marker: of its points.
    """

    color: str
    linestyle: Any
    marker: str


def styles(strokes: Sequence[StrokePath]) -> list[Style]:
    """Styles that tell strokes apart, without colours too.

    Args:
        strokes: the strokes in order.

    Returns:
        One for each.
    """
    kinds = zip(endless(COLOURS), endless(DASHES), endless(MARKERS), strict=False)
    return [Style(*kind) for _, kind in zip(strokes, kinds, strict=False)]


def cycle_figure(rows: Sequence[Row], summary: Mapping[str, Any] | None, cycle: int) -> Figure:
    """A cycle in the (γ, C) plane, its TS plane, and in the (λ, D) plane, its pV plane.

    Args:
        rows: the path, all passes.
        summary: the ledger of the pass, of :func:`thermo_pl.laws.cycle_ledger.summarise_cycle`;
            None for a pass that is not whole, which has no area.
        cycle: number of the pass; the ones before it are thin and grey.

    Returns:
        Two panels side by side.
    """
    strokes = strokes_of_pass(rows, cycle)
    figure = Figure(figsize=(10.2, 4.9), layout="constrained")
    heat, work = figure.subplots(1, 2)
    for axes, x, y in ((heat, "gamma", "C"), (work, "lambda", "D")):
        if summary:
            loop = [row for stroke in strokes for row in stroke.path]
            axes.fill(column(loop, x), column(loop, y), color=GREY, alpha=0.15, lw=0)
        for stroke, style in zip(strokes, styles(strokes), strict=True):
            _draw_stroke(axes, stroke, style, x, y)
        _earlier(axes, rows, cycle, x, y)
        axes.margins(0.12)
        _draw_arrows(axes, strokes, x, y)
        _name_corners(axes, strokes, x, y)
        axes.set_xlabel(AXES[x])
        axes.set_ylabel(AXES[y])
    if summary:
        _reservoirs(heat, summary)
        heat.set_title(f"∮ C dγ = {_nats(summary, 'work')}, the work W", fontsize="medium")
        text = f"-∮ D dλ = {_nats(summary, 'work_control')}, the work of the control"
        work.set_title(text, fontsize="medium")
        figure.suptitle(_headline(summary), fontsize="medium")
    # of both panels: the points may be anywhere in them
    handles, labels = heat.get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(labels), loc="outside lower center", frameon=False)
    return figure


def terms_figure(rows: Sequence[Row], cycle: int) -> Figure:
    """R, D, C and F over the phase of a cycle.

    Args:
        rows: the path, all passes.
        cycle: number of the pass; the ones before it are thin and grey.

    Returns:
        Four panels, one above the other; C* is dotted where a stroke holds C.
    """
    strokes = strokes_of_pass(rows, cycle)
    figure = Figure(figsize=(6.8, 8.4), layout="constrained")
    panels = figure.subplots(4, 1, sharex=True)
    for axes, name in zip(panels, "RDCJ", strict=True):
        _earlier(axes, rows, cycle, "phase", name)
        for stroke, style in zip(strokes, styles(strokes), strict=True):
            _draw_stroke(axes, stroke, style, "phase", name)
            axes.axvline(stroke.path[0]["phase"], color=GREY, lw=0.8, ls=":")
        axes.set_ylabel(AXES[name].split("  ")[0], fontsize="small")
    loss = panels[2]
    for stroke in strokes:
        held = stroke.members  # the first point belongs to the stroke before
        loss.plot(column(held, "phase"), column(held, "C_target"), color="black", lw=1, ls=":")
    top = panels[0].secondary_xaxis("top")
    middles = [(s.path[0]["phase"] + s.path[-1]["phase"]) / 2 for s in strokes]
    top.set_xticks(middles, [stroke.name for stroke in strokes])
    top.tick_params(length=0)
    panels[-1].set_xlabel("phase (strokes done)")
    return figure


def stroke_space_figure(rows: Sequence[Row], cycle: int) -> Figure:
    """A cycle in the (R, D, C) space, coloured by stroke, with its shadow on the floor.

    Args:
        rows: the path, all passes.
        cycle: number of the pass.

    Returns:
        One panel in perspective.
    """
    strokes = strokes_of_pass(rows, cycle)
    figure = Figure(figsize=(6.8, 5.6), layout="constrained")
    axes: Any = figure.add_subplot(projection="3d")
    top = max(float(np.nanmax(column(stroke.path, "C"))) for stroke in strokes)
    for stroke, style, corner in zip(strokes, styles(strokes), _letters(strokes), strict=True):
        rate, distortion, loss = (column(stroke.path, name) for name in "RDC")
        axes.plot(rate, distortion, np.zeros_like(loss), color=GREY, lw=1)
        axes.plot(rate, distortion, loss, **style._asdict(), ms=4, lw=1.5, label=stroke.name)
        axes.text(rate[0], distortion[0], loss[0] + 0.05 * top, corner, weight="bold")
    axes.set_zlim(0, 1.15 * top)
    axes.set_xlabel("rate R (nats)")
    axes.set_ylabel("distortion D (nats)")
    axes.set_zlabel("classification loss C (nats)", labelpad=8)
    figure.legend(ncols=len(strokes), loc="outside lower center", frameon=False)
    return figure


def domains_figure(
    frames: Sequence[tuple[float, Any, Any]], titles: Sequence[str], names: Sequence[str]
) -> Figure:
    """Images of the domains of a cycle and what the model made of them when it was there.

    Args:
        frames: as for :func:`thermo_pl.reports.figures.strip_figure`, one for each domain.
        titles: one for each domain.
        names: name of each class.

    Returns:
        A grid, domains to the right.
    """
    figure = strip_figure(frames, names)
    for axes, title in zip(figure.axes, titles, strict=False):  # the first line of tiles
        axes.set_title(title, fontsize=8)
    return figure


def adiabat_figure(rows: Sequence[Row]) -> Figure:
    """λ, γ, C and the change of λD + γC along an adiabat, on which γ and λD + γC stay.

    Args:
        rows: the path.

    Returns:
        Four panels over leg + t.
    """
    figure = Figure(figsize=(6.4, 8.4), layout="constrained")
    lam, gamma, loss, heat = figure.subplots(4, 1, sharex=True)
    s, control, strength = (column(rows, name) for name in ("s", "lambda", "gamma"))
    lam.plot(s, control, ".-", color=BLUE)
    lam.set_ylabel("λ")
    gamma.plot(s, strength, ".-", color=BLUE)
    gamma.set_ylabel("γ")
    from_zero(gamma)
    measured, error = column(rows, "C"), column(rows, "C_error")
    loss.fill_between(s, measured - error, measured + error, color=BLUE, alpha=0.25, lw=0)
    loss.plot(s, measured, ".-", color=BLUE)
    loss.set_ylabel("C (nats)")
    work, exchange = control * column(rows, "D"), strength * measured
    kinds = (("λD + γC", ".-", BLUE), ("λD", "--", ORANGE), ("γC", ":", GREEN))
    for (label, form, color), y in zip(kinds, (work + exchange, work, exchange), strict=True):
        heat.plot(s, y - y[0], form, color=color, label=label)
    heat.set_ylabel("change (nats)")
    heat.legend(fontsize="small", ncols=3, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    heat.set_xlabel(path_coordinate(rows))
    mark_transitions(rows, (lam, gamma, loss, heat))
    return figure


def _draw_stroke(axes: Axes, stroke: StrokePath, style: Style, x: str, y: str) -> None:
    # its points, and y's standard error where it has one
    horizontal, vertical = column(stroke.path, x), column(stroke.path, y)
    error = column(stroke.path, f"{y}_error")
    low, high = vertical - error, vertical + error
    axes.fill_between(horizontal, low, high, color=style.color, alpha=0.25, lw=0)
    axes.plot(horizontal, vertical, **style._asdict(), ms=4, lw=1.5, label=stroke.name)


def _draw_arrows(axes: Axes, strokes: Sequence[StrokePath], x: str, y: str) -> None:
    # in the longest step of each stroke
    points, spans = _points(strokes, x, y)
    for part, style in zip(points, styles(strokes), strict=True):
        steps = np.diff(part, axis=0)
        if not len(steps):
            continue
        k = int(np.argmax(np.hypot(*(steps / spans).T)))
        look: Any = {"color": style.color, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 18}
        middle = part[k] + 0.6 * steps[k]
        axes.annotate("", tuple(middle), tuple(part[k]), arrowprops=look | {"arrowstyle": "-|>"})


def _points(
    strokes: Sequence[StrokePath], x: str, y: str
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    # of each stroke, and the ranges of both coordinates over all of them
    points = [np.stack([column(stroke.path, name) for name in (x, y)], 1) for stroke in strokes]
    spans = np.ptp(np.concatenate(points), axis=0)
    return points, np.maximum(spans, np.finfo(np.float64).tiny)


def _earlier(axes: Axes, rows: Sequence[Row], cycle: int, x: str, y: str) -> None:
    # the passes that ran the model in
    strokes = [stroke for earlier in range(cycle) for stroke in strokes_of_pass(rows, earlier)]
    for index, stroke in enumerate(strokes):
        label = "_" if index else "earlier passes"
        axes.plot(
            column(stroke.path, x),
            column(stroke.path, y),
            color=GREY,
            lw=0.5,
            zorder=1,
            label=label,
        )


def _name_corners(axes: Axes, strokes: Sequence[StrokePath], x: str, y: str) -> None:
    # outside the corner: across the mean direction of the two strokes that meet there
    points, spans = _points(strokes, x, y)
    loop = np.concatenate(points)
    following = np.roll(loop, -1, axis=0)
    turn = np.sign((loop[:, 0] * following[:, 1] - following[:, 0] * loop[:, 1]).sum())
    for index, letter in enumerate(_letters(strokes)):
        before, after = points[index - 1], points[index]
        ways = [np.diff(part, axis=0).sum(0) / spans for part in (before[-2:], after[:2])]
        along = sum(way / max(float(np.hypot(*way)), 1e-12) for way in ways)
        across = turn * np.array([along[1], -along[0]])
        offset = 12 * across / max(float(np.hypot(*across)), 1e-12)
        place: Any = {
            "textcoords": "offset points",
            "ha": "center",
            "va": "center",
            "weight": "bold",
        }
        axes.annotate(letter, tuple(after[0]), tuple(offset), **place)


def _letters(strokes: Sequence[StrokePath]) -> list[str]:
    # of the corners that the strokes begin at
    return [chr(ord("A") + number) for number in range(len(strokes))]


def _reservoirs(axes: Axes, summary: Mapping[str, Any]) -> None:
    # named outside the rectangle
    for name, key, offset in (("C$_h$", "C_hot", 6), ("C$_c$", "C_cold", -14)):
        axes.axhline(summary[key], color="black", lw=0.8, ls=(0, (6, 4)), zorder=0)
        axes.annotate(
            f"{name} = {summary[key]:.3g}",
            (0.5, summary[key]),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            xytext=(0, offset),
            ha="center",
            fontsize="small",
        )


def _headline(summary: Mapping[str, Any]) -> str:
    if why := summary["not_applicable"]:
        return f"η is not applicable: {shorten(why, 80, placeholder=' …')}"
    if summary.get("machine") == "heat pump":
        performance = number(summary["performance"], summary["performance_error"])
        carnot = number(summary["carnot_performance"])
        return f"heat pump: Q$_h$/|W| = {performance},   C$_h$/(C$_h$ - C$_c$) = {carnot}"
    efficiency = number(summary["efficiency"], summary["efficiency_error"])
    carnot = number(summary["carnot_efficiency"])
    return f"η = W/Q$_h$ = {efficiency},   η$_C$ = 1 - C$_c$/C$_h$ = {carnot}"


def _nats(summary: Mapping[str, Any], name: str) -> str:
    return f"{number(summary[name], summary[f'{name}_error'])} nats"
