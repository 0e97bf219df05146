"""Pictures of a path. Functions from rows to matplotlib figures; nothing is shown on a screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from thermo_pl.path.columns import Row

# two colours of Okabe & Ito's palette, told apart by all colour-blind readers
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#7F7F7F"
DPI = 150


def column(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    """One column of a path as an array.

    Args:
        rows: the path.
        name: the column; ``s`` stands for leg + t, the coordinate along all legs.

    Returns:
        Shape ``(rows,)``.
    """
    values = [row["leg"] + row["t"] if name == "s" else row[name] for row in rows]
    return np.array(values, dtype=np.float64)


def control_figure(rows: Sequence[Row]) -> Figure:
    """C, γ and λ along the path.

    Args:
        rows: the path.

    Returns:
        Four panels over t: C against C*, C on training and validation data, γ, λ.
    """
    figure = Figure(figsize=(6.4, 8.4), layout="constrained")
    held, loss, gamma, lam = figure.subplots(4, 1, sharex=True)
    s, target = column(rows, "s"), column(rows, "C_target")
    held.axhline(0, color=GREY, lw=1)
    miss = 100 * (column(rows, "C_predicted") / target - 1)
    held.plot(s, miss, "x", color=ORANGE, ms=5, label="after the predictor")
    held.plot(
        s, 100 * (column(rows, "C_held") / target - 1), ".-", color=BLUE, label="after relaxation"
    )
    held.set_ylabel("C/C* - 1 (%)")
    # above the axes: the points may be anywhere in them
    held.legend(fontsize="small", ncols=2, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    measured, error = column(rows, "C"), column(rows, "C_error")
    loss.fill_between(s, measured - error, measured + error, color=BLUE, alpha=0.25, lw=0)
    loss.plot(s, measured, color=BLUE, label="measuring probe (± standard error)")
    loss.plot(s, column(rows, "val_C"), "--", color=ORANGE, label="validation examples")
    from_zero(loss)
    loss.set_ylabel("C (nats)")
    loss.legend(fontsize="small")
    gamma.plot(s, column(rows, "gamma"), ".-", color=BLUE)
    gamma.set_ylabel("γ")
    from_zero(gamma)
    lam.plot(s, column(rows, "lambda"), ".-", color=BLUE)
    lam.set_ylabel("λ")
    lam.set_xlabel(path_coordinate(rows))
    mark_transitions(rows, (held, loss, gamma, lam))
    return figure


def from_zero(axes: Axes) -> None:
    """Show a panel from zero up, with room above what is largest: it may be constant.

    Args:
        axes: the panel, with its lines.
    """
    axes.set_ylim(0, 1.1 * axes.get_ylim()[1])


def mark_transitions(rows: Sequence[Row], panels: Sequence[Axes]) -> None:
    """A vertical line where a transition was found, named in the first panel.

    Args:
        rows: the path.
        panels: panels over the path coordinate, one above the other.
    """
    for row in rows:
        if row.get("transition"):
            s = row["leg"] + row["t"]
            for axes in panels:
                axes.axvline(s, color=GREY, lw=1, ls=":")
            panels[0].annotate(
                row["transition"],
                (s, 1),
                xycoords=("data", "axes fraction"),
                rotation=90,
                ha="right",
                va="top",
                fontsize="small",
            )


def path_coordinate(rows: Sequence[Row]) -> str:
    """What the horizontal axis of a path is.

    Args:
        rows: the path.

    Returns:
        A label: t on a single leg, leg + t on several.
    """
    several = any(row["leg"] for row in rows)
    return "path coordinate leg + t" if several else "domain coordinate t"


def space_figure(rows: Sequence[Row]) -> Figure:
    """The path in the (R, D, C) space, with its shadow on the floor.

    Args:
        rows: the path.

    Returns:
        One panel in perspective.
    """
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes: Any = figure.add_subplot(projection="3d")
    rate, distortion, loss = (column(rows, name) for name in "RDC")
    axes.plot(rate, distortion, np.zeros_like(loss), color=GREY, lw=1)
    axes.plot(rate, distortion, loss, color=BLUE, lw=1)
    points = axes.scatter(rate, distortion, loss, c=column(rows, "s"), cmap="cividis", s=22)
    for name, index in (("start", 0), ("end", -1)):
        axes.text(rate[index], distortion[index], 1.12 * loss[index], name)
    axes.set_zlim(0, 1.4 * float(np.nanmax(loss)))
    axes.set_xlabel("rate R (nats)")
    axes.set_ylabel("distortion D (nats)")
    axes.set_zlabel("classification loss C (nats)", labelpad=8)
    figure.colorbar(points, label=path_coordinate(rows), shrink=0.6, pad=0.12)
    return figure


def strip_figure(frames: Sequence[tuple[float, Any, Any]], names: Sequence[str]) -> Figure:
    """Images x(t) and their reconstructions, one pair of lines for each class.

    Args:
        frames: for each moment its t, images and reconstructions, ``(classes, height, width)``
            or, in colour, ``(classes, height, width, 3)``; reconstructions may be missing (None).
        names: name of each class.

    Returns:
        A grid, t to the right.
    """
    decoded = frames[0][2] is not None
    lines = len(names) * (1 + decoded)
    size = (1.1 + 0.62 * len(frames), 0.5 + 0.62 * lines)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(lines, len(frames), squeeze=False)
    for j, (t, images, reconstructions) in enumerate(frames):
        for c, name in enumerate(names):
            _tile(grid[(1 + decoded) * c, j], images[c], f"{name}\nx(t)" if j == 0 else "")
            if decoded:
                label = "decoded" if j == 0 else ""
                _tile(grid[2 * c + 1, j], reconstructions[c], label)
        grid[0, j].set_title(f"t = {t:.2f}", fontsize=8)
    return figure


def _tile(axes: Axes, image: Any, label: str) -> None:
    # values of another range, as standardised ones are, are shown in full
    low, high = min(0, float(image.min())), max(1, float(image.max()))
    shown = image if image.ndim == 2 else (image - low) / (high - low)
    axes.imshow(shown, cmap="gray_r", vmin=low, vmax=high)
    axes.set_xticks([])
    axes.set_yticks([])
    if label:
        axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
