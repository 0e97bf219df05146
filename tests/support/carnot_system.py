"""A Carnot cycle whose whole course is known: a linear-Gaussian model, by roots of its closed form.

Two latents for three dimensions, so that D and C feel the data; no latent switches on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thermo_pl.exact.gaussian import LinearGaussian
from thermo_pl.path.columns import Row
from thermo_pl.process.rule import Point
from thermo_pl.response.slopes import Slopes

COVARIANCES = [  # A and B hot, C and D cold, and A again
    [[1.683, -0.16, 1.125], [-0.16, 5.461, 0.191], [1.125, 0.191, 5.408]],
    [[2.114, -0.759, 1.507], [-0.759, 4.757, 0.067], [1.507, 0.067, 5.444]],
    [[1.19, 0.298, 0.268], [0.298, 2.907, -0.156], [0.268, -0.156, 2.218]],
    [[1.633, 0.328, 0.636], [0.328, 2.504, -0.275], [0.636, -0.275, 1.795]],
    [[1.683, -0.16, 1.125], [-0.16, 5.461, 0.191], [1.125, 0.191, 5.408]],
]
LABELS = [[1.0, 0.3, -0.2], [0.1, -0.8, 0.4]]
NOISE = [[0.02, 0.0], [0.0, 0.02]]
LAM, GAM = 1.0, 1.5
"""Where the cycle begins."""
CHANGES = (0.9611640675191395, -1.122572102538212)
"""Changes of λ on the hot and on the cold stroke with which the cycle closes, by a root finder."""
STROKES = ("hot", "cooling", "cold", "heating")
HOT = "hot", "cold"
"""The strokes that hold C."""


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def make_leg(start: Any, end: Any) -> LinearGaussian:
    ends = tensor(start), None if end is None else tensor(end)
    return LinearGaussian(*ends, tensor(LABELS), tensor(NOISE), 0.5, 0.2, 2)


LEGS = [make_leg(*ends) for ends in pairwise(COVARIANCES)]

Course = list[tuple[list[float], list[float], list[float]]]
"""For each stroke λ, γ and t along it."""


def course(k_hot: float, k_cold: float, steps: int = 4) -> Course:
    """The exact strokes one after the other, whether or not they close."""
    t = [i / steps for i in range(steps + 1)]
    lam, gam, found = LAM, GAM, []
    for leg, system in enumerate(LEGS):
        if leg % 2:
            lams, gams = system.adiabat(lam, gam, t).tolist(), [gam] * len(t)
        else:
            k, held = (k_hot, k_cold)[leg // 2], system.state(lam, gam).C
            gams = system.iso_classification(held, lam, k, t, (0.1, 20.0)).tolist()
            lams = [lam + k * s for s in t]
        found.append((lams, gams, t))
        lam, gam = lams[-1], gams[-1]
    return found


def defect(k_hot: float, k_cold: float) -> tuple[float, float]:
    """What the end of the cycle misses its start by, in λ and γ."""
    lams, gams, _ = course(k_hot, k_cold)[-1]
    return lams[-1] - LAM, gams[-1] - GAM


def point(system: LinearGaussian, lam: float, gam: float, t: float) -> Point:
    here = system.state(lam, gam, t)
    return Point(lam, gam, here.D, here.C, Slopes.of(system.derivatives(lam, gam, t)))


def make_row(system: LinearGaussian, lam: float, gam: float, t: float, **others: Any) -> Row:
    """A row of path.csv without noise, as far as the ledger reads it."""
    here = system.state(lam, gam, t)
    row: Row = {"lambda": lam, "gamma": gam, "t": t, "leg": 0, "time": t, "J": here.F}
    row |= {"R": here.R, "D": here.D, "C": here.C, "C_target": float("nan"), "C_error": 0.0}
    row["C_held"] = here.C
    row |= {"J_t": system.forces(lam, gam, t)[2].item(), "relaxation": 0.0, "length": 0.0}
    row["C_gamma"] = system.derivatives(lam, gam, t)[2, 1].item()
    return row | others


def carnot_rows(steps: int, changes: tuple[float, float] = CHANGES) -> list[list[Row]]:
    """The rows of each stroke, the point it begins at included."""
    strokes = []
    for leg, columns in enumerate(course(*changes, steps)):
        places = list(zip(*columns, strict=True))
        others: Row = {"leg": leg, "stroke": STROKES[leg], "cycle": 0}
        if STROKES[leg] in HOT:
            others["C_target"] = LEGS[leg].state(*places[0]).C
        strokes.append([make_row(LEGS[leg], *place, **others) for place in places])
    return strokes


def slope(function: Any, at: Sequence[float], axis: int, h: float = 1e-5) -> Any:
    """Central difference of a function of the place (λ, γ, t)."""
    step = h * np.eye(3)[axis]
    return (function(at + step) - function(at - step)) / (2 * h)
