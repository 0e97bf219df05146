"""The pictures of docs/surface.md, from the runs of three benchmarks.

    python benchmarks/surface_figures.py --map RUN --line RUN --curve RUN --folder docs/images

``--map`` is the run directory of surface.py, ``--line`` that of transitions.py --digits, and
``--curve`` that of rate_distortion.py. Each picture whose run is given is drawn:

- surface_plane.png: F over λ and γ, with its lines of constant D and C;
- surface_phases.png: the latents in use at each node;
- surface_exponents.png: the order parameters of the latents, and the fits at their transitions;
- surface_curve.png: rate and distortion on test images, beside the published values.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator
from rate_distortion import REFERENCES, curve

import thermo_pl as tp
from thermo_pl.reports.figures import BLUE, DPI, GREY, ORANGE
from thermo_pl.surface.kernel import Array
from thermo_pl.surface.table import read_table
from thermo_pl.surface.transitions import order_parameter, switches

FINE = 121
"""Points along each axis between which lines are drawn."""
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#000000")
MARKS = "osD^v"
PRICES = ([0.5, 0.7, 1.0, 1.5, 2.0, 2.6], [0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0])
"""Values of λ and γ on the axes."""
LEVELS = {"F": 9, "D": 8, "C": 8}


def _axes(axes: Axes) -> None:
    # λ and γ, both logarithmic
    axes.set(xscale="log", yscale="log", xlabel="λ, price of distortion", ylabel="γ, price of loss")
    for axis, values in zip((axes.xaxis, axes.yaxis), PRICES, strict=True):
        _ticks(axis, values)


def _ticks(axis: Axis, values: Sequence[float]) -> None:
    # of a logarithmic axis, as plain numbers
    axis.set_major_locator(FixedLocator(values))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FormatStrFormatter("%g"))


def plane(run: Path) -> Figure:
    """F, D and C over λ and γ."""
    surface, figure = tp.Surface.load(run), Figure(figsize=(7.2, 5.2), layout="constrained")
    axes, fit = figure.subplots(), surface.fit
    lam, gam = fit.line(0, FINE), fit.line(1, FINE)
    energy, slopes, _ = fit.derivatives(fit.grid(FINE))
    shown = {"F": energy, "D": slopes[:, 0], "C": slopes[:, 1]}
    tables = {name: values.reshape(len(gam), len(lam)) for name, values in shown.items()}
    # light enough for the lines on it
    look = {"cmap": "Greys", "vmax": 2 * float(energy.max()), "shading": "gouraud"}
    filled = axes.pcolormesh(lam, gam, tables["F"], **look)
    for name, colour, style in (("D", BLUE, "dashed"), ("C", ORANGE, "solid")):
        # evenly spaced on the map, not in their values
        levels = np.quantile(shown[name], np.linspace(0, 1, LEVELS[name] + 2)[1:-1])
        lines = axes.contour(lam, gam, tables[name], levels, colors=colour, linestyles=style)
        places = [_label(name, level, tables[name], lam, gam) for level in levels]
        axes.clabel(lines, fmt="%.3g", fontsize=9, inline_spacing=2, manual=places)
        axes.plot([], [], color=colour, ls=style, label=f"constant {name} (nats)")
    places = np.array([(row["lambda"], row["gamma"]) for row in surface.nodes])
    axes.plot(*places.T, ".", color="k", ms=4, label="nodes")
    _axes(axes)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
    bar = figure.colorbar(filled, ax=axes, label="free energy F (nats)")
    bar.ax.set_ylim(energy.min(), energy.max())
    return figure


def _label(name: str, level: float, table: Array, lam: Array, gam: Array) -> tuple[float, float]:
    # of D near the upper edge, of C near the left one; else near the opposite one
    for share in (0.06, 0.94):
        if name == "D":
            y = gam[int((1 - share) * FINE)]
            line, along = table[int((1 - share) * FINE)], lam
        else:
            x = lam[int(share * FINE)]
            line, along = table[:, int(share * FINE)], gam
        if line.min() < level < line.max():
            place = float(np.interp(-level, -line, along))  # both fall
            return (place, float(y)) if name == "D" else (float(x), place)
    return float(lam[0]), float(gam[0])


def phases(run: Path) -> Figure:
    """The latents in use at each node."""
    nodes, figure = read_table(run), Figure(figsize=(6.4, 5.0), layout="constrained")
    axes = figure.subplots()
    lam, gam = (sorted({row[name] for row in nodes}) for name in ("lambda", "gamma"))
    known = {(row["lambda"], row["gamma"]): row["latents_in_use"] for row in nodes}
    counts = np.array([[known[a, b] for a in lam] for b in gam])
    low, high = int(counts.min()), int(counts.max())
    cells = _edges(lam), _edges(gam)
    axes.pcolormesh(*cells, counts, cmap="cividis", vmin=low - 0.5, vmax=high + 0.5)
    for a, b in known:
        count = known[a, b]
        colour = "w" if count < (low + high) / 2 else "k"
        axes.text(a, b, f"{count:.0f}", color=colour, ha="center", va="center", fontsize=9)
    _axes(axes)
    axes.set_title("latents in use, of eight", fontsize="medium")
    return figure


def _edges(values: list[float]) -> np.ndarray:
    # of cells around values on a logarithmic axis
    logs = np.log(values)
    middle = 0.5 * (logs[1:] + logs[:-1])
    ends = 2 * logs[0] - middle[0], 2 * logs[-1] - middle[-1]
    return np.exp(np.concatenate([[ends[0]], middle, [ends[1]]]))


def exponents(run: Path) -> Figure:
    """Order parameters over λ, and near their transitions."""
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    over, near = figure.subplots(1, 2)
    nodes = sorted(read_table(run), key=lambda row: float(row["lambda"]))
    lam = np.array([row["lambda"] for row in nodes])
    for index, switch in enumerate(switches(nodes)):
        colour, mark = COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)]
        order = order_parameter([row[f"rate_{switch.latent}"] for row in nodes])
        critical, beta = switch.lam.value, switch.exponent
        fine = np.linspace(critical, lam[-1], 200)
        law = switch.amplitude * (1 - critical / fine) ** beta.value
        told = f"latent {switch.latent}: {beta.value:.3f} ± {beta.error:.3f}"
        over.plot(lam, order, mark, color=colour, ms=4)
        over.plot(fine, law, color=colour, lw=1.2)
        on = lam > critical
        near.loglog(1 - critical / lam[on], order[on], mark, color=colour, ms=4, label=told)
        near.loglog((1 - critical / fine)[1:], law[1:], color=colour, lw=1.2)
    share = np.array([0.004, 0.7])
    near.loglog(share, share**0.5, "--", color=GREY, label="½, a linear-Gaussian model")
    over.set(xlabel="λ, price of distortion", ylabel="order parameter m = $(1 - e^{-2R})^{1/2}$")
    near.set(xlabel="$1 - λ_c/λ$", ylabel="order parameter m", xlim=(0.004, 0.7), ylim=(0.05, 0.9))
    for axis, values in (
        (near.xaxis, (0.005, 0.02, 0.1, 0.5)),
        (near.yaxis, (0.05, 0.1, 0.2, 0.5)),
    ):
        _ticks(axis, values)
    near.legend(fontsize="small", frameon=False, title="exponent ± error of the fit")
    return figure


def distortions(run: Path) -> Figure:
    """Rate and distortion on test images."""
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.subplots()
    points, pixels = curve(run)
    rate, distortion = (
        np.array([point[name] for point in points]) for name in ("rate", "distortion")
    )
    axes.plot(rate, distortion, "o-", color=BLUE, ms=5, label="one run, ten λ (test images)")
    for point in points:
        flat = point["rate"] > 25  # there the curve leaves room below it, else to its right
        look = {"xytext": (0, -13), "ha": "center"} if flat else {"xytext": (7, 2), "ha": "left"}
        place, told = (point["rate"], point["distortion"]), f"{point['beta']:.3g}"
        axes.annotate(told, place, textcoords="offset points", fontsize=8, color=BLUE, **look)
    for column, (mark, told) in enumerate((("s", "multi-rate VAE"), ("^", "β-VAEs, one by one"))):
        known: Any = np.array([pair[column] for pair in REFERENCES.values()])
        look = {"color": ORANGE, "mfc": "none" if column else ORANGE, "ls": "none", "ms": 6}
        axes.plot(*known.T, mark, label=f"{told}, published", **look)
    axes.set(xlabel="rate R (nats)", ylabel="distortion D (nats)")
    axes.margins(0.06, 0.09)
    scale = pixels * np.log(2)
    turned = (lambda x: x / scale), (lambda x: x * scale)
    axes.secondary_xaxis("top", functions=turned).set_xlabel("rate (bits per pixel)")
    axes.secondary_yaxis("right", functions=turned).set_ylabel("distortion (bits per pixel)")
    axes.legend(frameon=False, title="numbers: β = 1/λ")
    return figure


def main() -> None:
    """Draw the pictures whose runs are given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("map", "line", "curve"):
        parser.add_argument(f"--{name}", type=Path, help="a run directory")
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    drawn = (
        ("plane", plane, arguments.map),
        ("phases", phases, arguments.map),
        ("exponents", exponents, arguments.line),
        ("curve", distortions, arguments.curve),
    )
    for name, draw, run in drawn:
        if run is not None:
            file = arguments.folder / f"surface_{name}.png"
            draw(run).savefig(file, dpi=DPI)
            print(file)


if __name__ == "__main__":
    main()
