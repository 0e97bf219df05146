"""Cycles: strokes that lead back to where they began, closed by Newton's method over passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from thermo_pl.errors import ProcessStopped, require
from thermo_pl.laws.cycle_ledger import summarise_cycle
from thermo_pl.networks.parts import Networks
from thermo_pl.path.columns import CLOSURE, Row
from thermo_pl.path.segments import stroke_paths, total
from thermo_pl.process.data import Route
from thermo_pl.process.rule import Equilibrium, Point, ReportKind
from thermo_pl.process.state import Course, Motion, Proposal
from thermo_pl.process.stroke_rule import StrokeCourse, StrokeRule, at_the_start
from thermo_pl.process.strokes import Stroke, closing_step, spread
from thermo_pl.response.slopes import Gradient, Slopes


class CycleOpen(ProcessStopped):
    """The cycle did not close within the passes that are allowed."""


@dataclass(frozen=True, eq=False)
class CycleCourse(StrokeCourse):
    """How far a cycle has come.

    Attributes:
        added: what Newton's method has added to the adjustable changes so far.
        steps: of each stroke, where they have been spread anew; else empty.
        theta: all parameters where the pass began.
        theta_gap: how far θ was from there at the end of the pass, relative.
    """

    added: tuple[float, ...] = (0.0, 0.0)
    steps: tuple[int, ...] = ()
    theta: Tensor | None = None
    theta_gap: float = math.nan


@dataclass(frozen=True)
class CycleRule(StrokeRule[CycleCourse]):
    """Carries a model around a cycle of strokes, until it closes.

    The data come back to their first domain by themselves. λ and γ must be brought back. Two of the
    strokes have ``adjust``: Newton's method finds their changes. The derivative of the closure
    follows from the responses at the corners of the cycle, which are known anyway.

    After a pass that does not close, λ and γ are set back to where the cycle began, and θ follows
    by the response. The next pass takes up the adjusted changes. These passes also run the model
    in, until the cycle repeats itself. Without adjustable changes there is nothing to find; how far
    the cycle is from closed is reported.

    Attributes:
        closure: how near λ and γ must come to where they began, as shares of their ranges over the
            cycle. Without adjustable changes nothing is held to it.
        passes: passes at least and at most. Before the least is done nothing is adjusted: these
            passes run the model in.
        spread: order p by which a dissipation c/nᵖ falls with the steps n of a stroke. The steps of
            all strokes are then spread anew after each pass, see
            :func:`~thermo_pl.process.strokes.spread`; 0 leaves them as they are.
    """

    course: ClassVar[type[Course]] = CycleCourse
    report: ClassVar[ReportKind] = "cycle"
    closure: tuple[float, float] = (0.01, 0.03)
    passes: tuple[int, int] = (1, 6)
    spread: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        adjusted = [stroke.name for stroke in self.strokes if stroke.adjust]
        require(len(adjusted) in {0, 2}, "strokes with adjust", adjusted, "two of them, or none")
        ok = min(self.closure) > 0
        require(ok, "closure", list(self.closure), "two numbers > 0, for lambda and gamma")
        least, most = self.passes
        allowed = "two whole numbers, 1 ≤ least ≤ most"
        require(1 <= least <= most, "passes", list(self.passes), allowed)

    def check(self, networks: Networks, route: Route) -> None:
        """Refuse data that do not come back, and what any strokes are refused for."""
        super().check(networks, route)
        require(route.closed, "data", "a path whose last domain is not its first", "a closed path")

    def adjusted(self, course: CycleCourse) -> tuple[Stroke, ...]:
        """The strokes as given, with what Newton's method has added so far and their new steps.

        Args:
            course: how far the cycle has come.

        Returns:
            In order.
        """
        more, made = iter(course.added), []
        steps = course.steps or tuple(stroke.steps for stroke in self.strokes)
        for stroke, count in zip(self.strokes, steps, strict=True):
            name = stroke.adjust
            change = {name: getattr(stroke, name) + next(more, 0.0)} if name else {}
            made.append(replace(stroke, steps=count, **change))
        return tuple(made)

    def present(self, course: CycleCourse) -> Stroke:
        """The stroke under way, as it is adjusted.

        Args:
            course: how far the cycle has come.

        Returns:
            The stroke.
        """
        return self.adjusted(course)[course.index % len(self.strokes)]

    def anchored(self, course: CycleCourse, here: Equilibrium) -> CycleCourse:
        """Note what a stroke starts from, and θ where a pass begins.

        Args:
            course: how far the cycle has come.
            here: what is known.

        Returns:
            The course.
        """
        course = super().anchored(course, here)
        return replace(course, theta=here.theta) if course.index == 0 else course

    def macro_steps(self, course: CycleCourse | None, here: Equilibrium) -> int:
        """Macro-steps of the passes up to the present one, or to the least that are made.

        Returns:
            The count; a settling step ends each pass where data moved.
        """
        passes = max(self.passes[0], (0 if course is None else course.cycle) + 1)
        return passes * (super().macro_steps(course, here) + 1)

    def finish(self, course: CycleCourse, here: Equilibrium) -> Proposal[CycleCourse] | None:
        """Close the cycle, or set it back and adjust it for another pass.

        Args:
            course: how far the cycle has come.
            here: what is known.

        Returns:
            A proposal, or None at the end of the process.

        Raises:
            CycleOpen: if the last pass allowed does not close.
        """
        least, most = self.passes
        home, done = course.home, course.cycle + 1
        course = replace(course, theta_gap=_theta_gap(course, here))
        defect = here.point.lam - home["lam"], here.point.gam - home["gam"]
        closes = self._closes(defect, here) or not any(stroke.adjust for stroke in self.strokes)
        if closes and done >= least:
            return self._closure(course, here)
        if done >= most:
            shares = [
                abs(gap) / width for gap, width in zip(defect, self._ranges(here), strict=True)
            ]
            raise CycleOpen(
                f"closure: got a cycle that misses its start by {shares[0]:.3g} of its range in "
                f"lambda and {shares[1]:.3g} in gamma after {most} passes; allowed: "
                f"{self.closure[0]:.3g} and {self.closure[1]:.3g}; allow more passes or a wider "
                "closure, start from other changes or at another lambda and gamma, or relax more"
            )
        if not closes and done >= least:
            strokes, corners = self.adjusted(course), self._corners(here)
            more = closing_step(strokes, corners, defect, self._allowed(here))
            added = tuple(a + b for a, b in zip(course.added, more, strict=True))
            course = replace(course, added=added)
        if self.spread:
            course = replace(course, steps=self._spread(course, here))
        course, _ = self.entered(replace(course, cycle=done), here, 0)
        return Proposal(Motion(-defect[0], -defect[1]), course, (0, 0.0))

    def results(self, course: CycleCourse, here: Equilibrium) -> dict[str, dict[str, Any]]:
        """The ledger of the last pass, as soon as it is complete.

        Returns:
            What cycle.json has; nothing in the middle of a pass.
        """
        if here.last["phase"] < len(self.strokes):
            return {}
        closing = here.last if course.stroke == CLOSURE else None
        gap = _theta_gap(course, here) if closing is None else course.theta_gap
        summary = summarise_cycle(self._paths(here), closing, gap)
        summary["cycle"] = course.cycle
        adjusted = [stroke for stroke in self.adjusted(course) if stroke.adjust]
        summary["changes"] = {s.name: getattr(s, str(s.adjust)) for s in adjusted}
        summary["steps"] = {s.name: s.steps for s in self.adjusted(course)}
        return {"cycle": summary}

    def _spread(self, course: CycleCourse, here: Equilibrium) -> tuple[int, ...]:
        steps = [stroke.steps for stroke in self.adjusted(course)]
        lost = [total(rows[1:], "relaxation") for rows in self._paths(here)]
        return spread(steps, lost, self.spread)

    def _closure(self, course: CycleCourse, here: Equilibrium) -> Proposal[CycleCourse] | None:
        # a last step settles on the particles that the cycle began on
        if (here.leg, here.t) == (0, 0.0):
            return None
        course = at_the_start(course, len(self.strokes), CLOSURE)
        return Proposal(Motion(), course, (0, 0.0))

    def _ranges(self, here: Equilibrium) -> list[float]:
        rows = [row for rows in self._paths(here) for row in rows]
        return [
            max(row[name] for row in rows) - min(row[name] for row in rows)
            for name in ("lambda", "gamma")
        ]

    def _allowed(self, here: Equilibrium) -> tuple[float, float]:
        lam, gam = self._ranges(here)
        return self.closure[0] * lam, self.closure[1] * gam

    def _closes(self, defect: tuple[float, float], here: Equilibrium) -> bool:
        return all(abs(x) <= most for x, most in zip(defect, self._allowed(here), strict=True))

    def _paths(self, here: Equilibrium) -> list[list[Row]]:
        # the rows of the strokes of the last pass
        names, cycle = {stroke.name for stroke in self.strokes}, here.last["cycle"]
        found = stroke_paths(here.rows)
        return [s.path for s in found if s.cycle == cycle and s.name in names]

    def _corners(self, here: Equilibrium) -> Sequence[tuple[Point, Point]]:
        return [(_point(rows[0]), _point(rows[-1])) for rows in self._paths(here)]


def _theta_gap(course: CycleCourse, here: Equilibrium) -> float:
    if course.theta is None:
        return math.nan
    gap = torch.linalg.vector_norm(here.theta - course.theta)
    return float(gap / torch.linalg.vector_norm(course.theta))


def _point(row: Row) -> Point:
    rows = {x: [row[f"{x}_{a}"] for a in ("lambda", "gamma", "t")] for x in "DC"}
    slopes = Slopes(Gradient(*3 * [math.nan]), Gradient(*rows["D"]), Gradient(*rows["C"]))
    return Point(row["lambda"], row["gamma"], row["D"], row["C"], slopes)
