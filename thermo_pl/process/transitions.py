"""Where the equilibrium is singular or jumps: told from the rows of a path and from the solver.

There are three signs in the rows. Each is smooth in the step elsewhere, so it is compared with the
steps before.

- ``kink``: the metric changes far more within this step than within those before. The second
  derivatives of F jump: a transition of second order, such as a latent that switches off.
- ``jump``: relaxation gives off far more, beside the ½ L² of its step, than before. The state
  itself jumps: a transition of first order.
- ``miss``: the predictor misses C* by far more, beside L², than before. Its error is of second
  order in the step.

The solver tells a fourth sign, ``saddle``: negative curvature at a stationary point. The
equilibrium that was followed is no minimum any more. So it is where a latent switches on.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Literal

import torch
from torch import Tensor

from thermo_pl.errors import ProcessStopped
from thermo_pl.networks.parts import Networks
from thermo_pl.path.columns import Row
from thermo_pl.response.objective import flatten, shift_parameters

OnTransition = Literal["mark", "continue", "stop"]

SADDLE = "saddle"
"""What the solver tells."""
HISTORY = 4
"""Steps that a sign is compared with, at least; before, nothing is marked."""
FACTOR = 10.0
"""How far above the median of the steps before a sign must be."""
LEAST_CHANGE = 0.2
"""Change of the length of a step between its two ends, relative, below which there is no kink."""
LEAST_MISS = 0.02
"""|C/C* - 1| after the predictor below which nothing is missed."""
SIGNIFICANT = 5.0
"""Standard errors that a jump of J must have."""
KICK = 1e-3
"""Noise that leaves a saddle, relative to the root mean square of θ."""


class TransitionMet(ProcessStopped):
    """The equilibrium is singular or jumps, and the config says to stop there."""


def transition(rows: Sequence[Row]) -> str:
    """The sign of a transition in the last step of a path.

    Args:
        rows: the path; the steps of the same stroke and leg are what the last one is held against.

    Returns:
        ``kink``, ``jump``, ``miss`` or nothing. The step after a marked one belongs to it, and is
        not marked again.
    """
    *before, last = rows
    here = (last["stroke"], last["leg"])
    same = takewhile(lambda row: (row["stroke"], row["leg"]) == here, reversed(before))
    history = [row for row in same if row["length"] > 0]
    if not last["length"] > 0 or (before and before[-1]["transition"]):
        return ""
    for word, sign, notable in SIGNS:
        known = [value for value in map(sign, history) if math.isfinite(value)]
        enough = len(known) >= HISTORY
        if enough and notable(last) and sign(last) > FACTOR * statistics.median(known):
            return word
    return ""


def _change(row: Row) -> float:
    return abs(float(row["length_change"])) / float(row["length"])


def _released(row: Row) -> float:
    # 1 in equilibrium; more where relaxation goes on along soft directions, at its own pace
    return abs(float(row["relaxation"])) / (float(row["length"]) ** 2 / 2)


def _missed(row: Row) -> float:
    return float(row["predictor_miss"]) / float(row["length"]) ** 2


SIGNS: Sequence[tuple[str, Callable[[Row], float], Callable[[Row], bool]]] = (
    ("kink", _change, lambda row: _change(row) > LEAST_CHANGE),
    (
        "jump",
        _released,
        lambda row: row["relaxation"] > SIGNIFICANT * row["relaxation_error"],
    ),
    ("miss", _missed, lambda row: row["predictor_miss"] > LEAST_MISS),
)


def kick(model: Networks, seed: int) -> None:
    """Leave a saddle: add a little noise to θ, which relaxation then amplifies.

    On a saddle gradients are zero, and without any noise they stay so.

    Args:
        model: the model.
        seed: of the noise.
    """
    theta = flatten(p for p in model.parameters() if p.requires_grad)
    generator = torch.Generator().manual_seed(seed)
    noise: Tensor = torch.randn(len(theta), generator=generator, dtype=torch.float64)
    size = KICK * theta.double().square().mean().sqrt()
    shift_parameters(model, (size * noise.to(theta.device)).to(theta.dtype))
