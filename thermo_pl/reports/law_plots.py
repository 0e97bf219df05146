"""What the page of a run draws of its laws, as a plain figure of :mod:`thermo_pl.reports.plots`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from thermo_pl.reports.plots import Figure, axis, figure, line

_HOLDS = {"holds", "within error"}
_OPEN = {"unknown", "not applicable"}


def laws_figure(laws: Sequence[Mapping[str, Any]]) -> Figure | None:
    """The laws with their error bars, in units of what is allowed without noise.

    Args:
        laws: of laws.json.

    Returns:
        One line for each law, its scale linear up to 1 and logarithmic beyond; None where no law
        has a value.
    """
    known = [law for law in laws if _number(law.get("value")) is not None]
    if not known:
        return None
    groups = (("holds", _HOLDS, 2), ("violated", {"violated"}, 1), ("not judged", _OPEN, 4))
    traces = []
    for name, verdicts, index in groups:
        members = [law for law in known if law["verdict"] in verdicts]
        if not members:
            continue
        scales = [law["tolerance"] or law["error"] or 1.0 for law in members]
        middle = [law["value"] / scale for law, scale in zip(members, scales, strict=True)]
        noise = [(law["error"] or 0.0) / s for law, s in zip(members, scales, strict=True)]
        x = [_squeezed(value) for value in middle]
        ends = list(zip(middle, noise, strict=True))
        bars = {
            "type": "data",
            "symmetric": False,
            "array": [_squeezed(v + e) - _squeezed(v) for v, e in ends],
            "arrayminus": [_squeezed(v) - _squeezed(v - e) for v, e in ends],
        }
        dots = line(
            x, [escape(law["law"]) for law in members], name, index, mode="markers", error_x=bars
        )
        dots["marker"] |= {"size": 10}
        traces.append(dots)
    ticks = [-1000, -100, -10, -1, 0, 1, 10, 100, 1000, 10_000, 100_000]
    names = [escape(law["law"]) for law in known]
    horizontal = axis(
        "value / allowed",
        tickvals=[_squeezed(tick) for tick in ticks],
        ticktext=[f"{tick:,}" for tick in ticks],
    )
    vertical = axis("", categoryorder="array", categoryarray=names[::-1])
    allowed = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    allowed |= {"x0": _squeezed(-1), "x1": _squeezed(1), "fillcolor": "#009E73", "opacity": 0.13}
    allowed |= {"line": {"width": 0}}
    axes = {"xaxis": horizontal, "yaxis": vertical}
    return figure(traces, axes, height=110 + 30 * len(known), shapes=[allowed])


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if known else None


def _squeezed(value: float) -> float:
    # linear within ±1, logarithmic beyond
    size = abs(value)
    return math.copysign(size if size <= 1 else 1 + math.log10(size), value)
