"""The free energy over a grid of λ and γ, at data that do not move."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.callbacks.settings import Equilibration, Motion, Probes
from thermo_pl.callbacks.transitions import OnTransition
from thermo_pl.errors import require
from thermo_pl.module import FreeEnergyModel
from thermo_pl.response.linear import ResponseSettings


class FreeEnergySurface(QuasiStatic):
    """Visits every node of a grid in (λ, γ), one step along one axis at a time, and returns.

    On the rows of its path F(λ, γ) can be differentiated: D = ∂F/∂λ, C = ∂F/∂γ, Maxwell's
    relation and concavity are then measurements, independent of the linear response. The way back
    to the first node closes a loop, whose work is the dissipation; nodes that are passed twice
    show hysteresis. The data stay at the first domain, t = 0.
    """

    def __init__(
        self,
        lam: list[float],
        gam: list[float],
        equilibration: Equilibration | None = None,
        probes: Probes | None = None,
        response: ResponseSettings | None = None,
        predictor: bool = True,
        on_transition: OnTransition = "mark",
    ) -> None:
        """Keep the settings.

        Args:
            lam: values of λ in the order they are visited; the first one is that of the model.
            gam: values of γ, likewise.
            equilibration: how the run is brought to equilibrium first.
            probes: the solving, the control and the measuring probe.
            response: how the linear response is solved.
            predictor: move θ by the response before each relaxation.
            on_transition: ``mark``, ``continue`` or ``stop``; see :class:`QuasiStatic`.
        """
        super().__init__(equilibration, probes, response, predictor, on_transition)
        for name, values in (("lam", lam), ("gam", gam)):
            steps = [b - a for a, b in pairwise(values)]
            one_way = all(s > 0 for s in steps) or all(s < 0 for s in steps)
            ok = len(values) > 0 and one_way and all(0 <= v < math.inf for v in values)
            allowed = "one or more numbers ≥ 0 that all rise or all fall"
            require(ok, name, values, allowed)
        self.nodes = closed_tour(lam, gam)

    def check(self, model: FreeEnergyModel, data: Any) -> None:
        """Refuse a grid that does not begin where the model is.

        Args:
            model: the model.
            data: not used.
        """
        for name, value in zip(("lam", "gam"), self.nodes[0], strict=True):
            start = model.start[name]
            require(value == start, f"{name}[0]", value, f"{start:g}, where the model starts")

    def plan(self, model: FreeEnergyModel, data: Any) -> Motion | None:
        """The next node.

        Args:
            model: the model, at (λ, γ).
            data: not used.

        Returns:
            The motion, or None at the end of the tour.
        """
        self.state.stroke = "surface"
        visited = len(self.state.rows)
        if visited == len(self.nodes):
            return None
        lam, gam = self.nodes[visited]
        return Motion(lam - float(model.lam), gam - float(model.gam))

    def length(self, data: Any) -> int:
        """Steps of the tour.

        Args:
            data: not used.

        Returns:
            The count.
        """
        return len(self.nodes) - 1


def closed_tour(lam: list[float], gam: list[float]) -> list[tuple[float, float]]:
    """Every node of a grid, row by row and turning at the ends, and back along two edges.

    Args:
        lam: values of λ.
        gam: values of γ.

    Returns:
        Pairs (λ, γ); neighbours differ in one of the two, by one value. The first pair is the
        last one, too.
    """
    tour: list[tuple[float, float]] = []
    for row, value in enumerate(gam):
        order = lam if row % 2 == 0 else lam[::-1]
        tour += [(node, value) for node in order]
    column = lam.index(tour[-1][0])
    tour += [(node, gam[-1]) for node in lam[:column][::-1]]
    tour += [(lam[0], node) for node in gam[:-1][::-1]]
    return tour
