"""Maps the free energy over nodes in (λ, γ), at data that do not move.

Each pass is a walk from node to neighbour, the first one along λ, the second along γ: so each node
is reached from two sides, and a node with two equilibria shows them. Of all visits of a node the
one with the lowest J counts. After the passes a node is visited again from a neighbour whose
equilibrium promises less, until none does.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor

from thermo_pl.errors import require
from thermo_pl.networks.parts import Networks
from thermo_pl.path.columns import Row
from thermo_pl.process.data import Route
from thermo_pl.process.rule import Equilibrium, Rule
from thermo_pl.process.state import Course, Motion, Proposal

Node = tuple[float, float]
Neighbours = tuple[tuple[int, ...], tuple[int, ...]]
"""Of a node: those along λ and those along γ, by their numbers."""
BOUNDED = ("R", "D", "C")
"""Contours between which nodes can be asked for."""


@dataclass(frozen=True)
class Nodes:
    """Places in (λ, γ), and which of them are neighbours.

    Attributes:
        places: pairs (λ, γ); the first one is where the model begins.
        neighbours: of each.
    """

    places: tuple[Node, ...]
    neighbours: tuple[Neighbours, ...]

    @classmethod
    def grid(cls, lam: Sequence[float], gam: Sequence[float]) -> Nodes:
        """All pairs of some λ and some γ.

        Args:
            lam: values of λ, which rise or fall.
            gam: values of γ, likewise.

        Returns:
            The nodes, row by row.
        """
        for name, values in (("lam", lam), ("gam", gam)):
            steps = [b - a for a, b in pairwise(values)]
            one_way = all(s > 0 for s in steps) or all(s < 0 for s in steps)
            ok = len(values) > 0 and one_way and all(0 <= v < math.inf for v in values)
            allowed = "one or more numbers ≥ 0 that all rise or all fall"
            require(ok, name, list(values), allowed)
        places = tuple((float(a), float(b)) for b in gam for a in lam)
        width = len(lam)
        around = [
            (
                tuple(n + s for s in (-1, 1) if 0 <= n % width + s < width),
                tuple(n + s for s in (-width, width) if 0 <= n + s < len(places)),
            )
            for n in range(len(places))
        ]
        return cls(places, tuple(around))

    @classmethod
    def along(cls, places: Sequence[Sequence[float]]) -> Nodes:
        """Places one after the other.

        Args:
            places: pairs (λ, γ), all different.

        Returns:
            The nodes; each is a neighbour of the one before it.
        """
        ok = len(places) > 0 and len(set(map(tuple, places))) == len(places)
        ok = ok and all(len(p) == 2 and all(0 <= v < math.inf for v in p) for p in places)
        allowed = "one or more different pairs [λ, γ] of numbers ≥ 0"
        require(ok, "nodes", [list(place) for place in places], allowed)
        last = len(places) - 1
        line = [tuple(m for m in (n - 1, n + 1) if 0 <= m <= last) for n in range(last + 1)]
        return cls(tuple((float(a), float(b)) for a, b in places), tuple((n, ()) for n in line))

    def around(self, node: int, first: int = 0) -> tuple[int, ...]:
        """The neighbours of a node.

        Args:
            node: its number.
            first: 0 to have those along λ first, 1 for γ.

        Returns:
            Their numbers.
        """
        return self.neighbours[node][first] + self.neighbours[node][1 - first]


@dataclass(frozen=True)
class SurfaceCourse(Course):
    """How far a map has come.

    Attributes:
        node: where the step goes, or has come.
        visits: the node of each row.
        best: of each node the row in which its J was lowest; -1 of one that was not visited.
        states: all parameters there, as far as they are known.
        tried: what was tried again after the passes: from, to, and the best row of the former.
    """

    node: int = 0
    visits: tuple[int, ...] = ()
    best: tuple[int, ...] = ()
    states: tuple[Tensor | None, ...] = field(default=(), compare=False)
    tried: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class SurfaceRule(Rule[SurfaceCourse]):
    """Visits all nodes along λ, then along γ, then those again that a neighbour can better.

    Attributes:
        nodes: where to go.
        passes: walks over all nodes; the second one shows where the equilibrium depends on the way.
        gain: fall of J in nats below which no visit is better than another.
        within: lowest and highest R, D or C; a node outside is measured, and no further node is
            reached through it.
        revisits: times that nodes are visited after the passes, at most, as a multiple of their
            number.
    """

    nodes: Nodes
    passes: int = 2
    gain: float = 1e-4
    within: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    revisits: float = 1.0
    course: ClassVar[type[Course]] = SurfaceCourse

    def __post_init__(self) -> None:
        require(self.passes in (1, 2), "passes", self.passes, "1, or 2 to come from two sides")
        require(self.gain > 0, "gain", self.gain, "a number > 0, in nats")
        require(self.revisits >= 0, "revisits", self.revisits, "a number ≥ 0")
        for name, limits in self.within.items():
            ok = name in BOUNDED and len(limits) == 2 and limits[0] < limits[1]
            allowed = "R, D or C, each with its lowest and its highest value"
            require(ok, "within", f"{name}: {list(limits)}", allowed)

    def check(self, networks: Networks, route: Route) -> None:
        """Refuse nodes that do not begin where the model is."""
        for name, value in zip(("lam", "gam"), self.nodes.places[0], strict=True):
            start = networks.start[name]
            require(value == start, f"{name}[0]", value, f"{start:g}, where the model starts")

    def begin(self, here: Equilibrium) -> SurfaceCourse:
        """The first node.

        Returns:
            The course.
        """
        nothing = (None,) * len(self.nodes.places)
        return self.noted(SurfaceCourse(best=(-1,) * len(nothing), states=nothing), here)

    def noted(self, course: SurfaceCourse, here: Equilibrium) -> SurfaceCourse:
        """The course with what the last row says.

        Args:
            course: at the end of the step.
            here: what is known there.

        Returns:
            The same course if the row is noted already.
        """
        if len(course.visits) == len(here.rows):
            return course
        node, row = course.node, len(here.rows) - 1
        visits, best = (*course.visits, node), course.best[node]
        course = replace(course, visits=visits)
        if best >= 0 and here.last["J"] > here.rows[best]["J"]:
            return course
        lowest, states = list(course.best), list(course.states)
        lowest[node], states[node] = row, here.theta
        return replace(course, best=tuple(lowest), states=tuple(states))

    def propose(self, course: SurfaceCourse, here: Equilibrium) -> Proposal[SurfaceCourse] | None:
        """The next node.

        Returns:
            The proposal, or None at the end of the map.
        """
        course = self.noted(course, here)
        step = self._walk(course, here.rows)
        if step is None and (step := self._again(course, here.rows)) is not None:
            tried = (*step, course.best[step[0]])
            course = replace(course, tried=(*course.tried, tried))
        if step is None:
            return None
        start, node = step
        kept = here.rows[course.best[start]]
        beaten = here.last["J"] > kept["J"] + self.gain
        jumps = start != course.node or beaten
        lam, gam = self.nodes.places[node]
        return Proposal(
            Motion(lam - here.point.lam, gam - here.point.gam),
            replace(course, stroke="revisit" if jumps else "surface", node=node),
            theta=course.states[start] if jumps else None,
        )

    def macro_steps(self, course: SurfaceCourse | None, here: Equilibrium) -> int:
        """Visits after the first, as far as is known.

        Returns:
            The count.
        """
        more = 0 if course is None else len(course.tried)
        return self.passes * (len(self.nodes.places) - 1) + more

    def inside(self, row: Row) -> bool:
        """Whether further nodes are reached through one.

        Args:
            row: of a visit.

        Returns:
            Whether it lies between the contours.
        """
        return all(low <= row[name] <= high for name, (low, high) in self.within.items())

    def _walk(self, course: SurfaceCourse, rows: Sequence[Row]) -> tuple[int, int] | None:
        # the next step of a pass: from where, and to where; from another node where this one has
        # no neighbour left
        for number in range(self.passes):
            visits = self._visited(course, number)
            open_ = [n for n in dict.fromkeys(course.visits) if self._leads(course, rows, n)]
            for start in sorted(open_, key=lambda n: n != course.node):
                for node in self.nodes.around(start, number):
                    if node not in visits and (number == 0 or self._leads(course, rows, node)):
                        return start, node
        return None

    def _visited(self, course: SurfaceCourse, number: int) -> set[int]:
        # in this pass: once more than before it; where the first pass ends the second one begins
        counts = Counter(course.visits)
        if number:
            counts[list(dict.fromkeys(course.visits))[-1]] += 1
        return {node for node, count in counts.items() if count > number}

    def _leads(self, course: SurfaceCourse, rows: Sequence[Row], node: int) -> bool:
        best = course.best[node]
        return best >= 0 and self.inside(rows[best])

    def _again(self, course: SurfaceCourse, rows: Sequence[Row]) -> tuple[int, int] | None:
        # the neighbour that promises most, where it was not tried with this equilibrium of it
        if len(course.tried) >= self.revisits * len(self.nodes.places):
            return None
        found = [
            (fall, start, node)
            for fall, start, node in self._promises(course, rows)
            if fall > self.gain and (start, node, course.best[start]) not in course.tried
        ]
        return max(found)[1:] if found else None

    def _promises(
        self, course: SurfaceCourse, rows: Sequence[Row]
    ) -> Iterator[tuple[float, int, int]]:
        # by what J of a node would fall if it were reached from a neighbour
        for start in set(course.visits):
            for node in self.nodes.around(start):
                if self._leads(course, rows, start) and self._leads(course, rows, node):
                    here, there = rows[course.best[start]], rows[course.best[node]]
                    yield there["J"] - promised(here, *self.nodes.places[node]), start, node


@dataclass(frozen=True)
class RelaxedSurfaceRule(SurfaceRule):
    """The same without a linear response: for networks too large for it, or steps too long."""

    solves: ClassVar[bool] = False


def promised(row: Row, lam: float, gam: float) -> float:
    """J at another λ and γ, as an equilibrium promises it.

    J of its θ is R + λD + γC there, without any error. The linear response lowers it by half of
    Δλ ΔD + Δγ ΔC, where it is known.

    Args:
        row: of the equilibrium.
        lam: λ.
        gam: γ.

    Returns:
        Nats.
    """
    moved: dict[str, Any] = {"lambda": lam - row["lambda"], "gamma": gam - row["gamma"]}
    found = float(row["J"] + moved["lambda"] * row["D"] + moved["gamma"] * row["C"])
    bent = sum(
        row[f"{term}_{by}"] * moved[of] * moved[by]
        for term, of in (("D", "lambda"), ("C", "gamma"))
        for by in ("lambda", "gamma")
        if moved[of] and moved[by]
    )
    return found + (0.5 * bent if math.isfinite(bent) else 0.0)
