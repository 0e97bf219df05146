"""The free energy over a grid of λ and γ, at data that do not move."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from thermo_pl.errors import require
from thermo_pl.networks.parts import Networks
from thermo_pl.process.data import Route
from thermo_pl.process.rule import Equilibrium, Rule
from thermo_pl.process.state import Course, Motion, Proposal


@dataclass(frozen=True)
class SurfaceRule(Rule[Course]):
    """Visits every node of a grid in (λ, γ), one step along one axis at a time, and returns.

    Attributes:
        lam: values of λ in the order they are visited; the first one is that of the model.
        gam: values of γ, likewise.
    """

    lam: tuple[float, ...]
    gam: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, values in (("lam", self.lam), ("gam", self.gam)):
            steps = [b - a for a, b in pairwise(values)]
            one_way = all(s > 0 for s in steps) or all(s < 0 for s in steps)
            ok = len(values) > 0 and one_way and all(0 <= v < math.inf for v in values)
            allowed = "one or more numbers ≥ 0 that all rise or all fall"
            require(ok, name, list(values), allowed)

    @property
    def nodes(self) -> list[tuple[float, float]]:
        """Pairs (λ, γ) in the order they are visited."""
        return closed_tour(list(self.lam), list(self.gam))

    def check(self, networks: Networks, route: Route) -> None:
        """Refuse a grid that does not begin where the model is."""
        for name, value in zip(("lam", "gam"), self.nodes[0], strict=True):
            start = networks.start[name]
            require(value == start, f"{name}[0]", value, f"{start:g}, where the model starts")

    def begin(self, here: Equilibrium) -> Course:
        """The first node.

        Returns:
            The course.
        """
        return Course()

    def propose(self, course: Course, here: Equilibrium) -> Proposal[Course] | None:
        """The next node.

        Returns:
            The proposal, or None at the end of the tour.
        """
        nodes, visited = self.nodes, len(here.rows)
        if visited == len(nodes):
            return None
        lam, gam = nodes[visited]
        return Proposal(Motion(lam - here.point.lam, gam - here.point.gam), Course("surface"))

    def macro_steps(self, course: Course | None, here: Equilibrium) -> int:
        """Steps of the tour.

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
