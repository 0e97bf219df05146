"""Strokes one after the other, on the legs of a path of domains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeVar, cast

from thermo_pl.errors import InfeasibleTarget, require
from thermo_pl.networks.parts import Networks
from thermo_pl.path.columns import Row
from thermo_pl.process.acceptance import Miss, check_tolerance, worst
from thermo_pl.process.data import Route
from thermo_pl.process.rule import Equilibrium, Point, ReportKind, Rule
from thermo_pl.process.state import Course, Motion, Proposal
from thermo_pl.process.strokes import RETURN, Stroke, motion

FACTOR = 2.0
"""By what factor λ and γ may change in one step at most: longer Newton steps overshoot."""


@dataclass(frozen=True)
class StrokeCourse(Course):
    """How far a process of strokes has come.

    Attributes:
        index: of the stroke under way; the number of strokes once all are done.
        u: share of it that is done.
        anchor: λ, γ, C and S where the stroke began; empty before its first step.
        home: λ, γ and C where the process began.
        measured: C on the measuring probe where the stroke began, nats.
        measured_s: -(λD + γC) there, nats.
    """

    index: int = 0
    u: float = 0.0
    anchor: dict[str, float] = field(default_factory=dict)
    home: dict[str, float] = field(default_factory=dict)
    measured: float = math.nan
    measured_s: float = math.nan


S = TypeVar("S", bound=StrokeCourse)


@dataclass(frozen=True)
class StrokeRule(Rule[S]):
    """Carries a model through strokes.

    A stroke that moves the data takes them along the next leg. Its first macro-step settles on the
    particles of that leg: the domain is the same, and nothing moves. The values that the control
    probe of the leg has there are those that the stroke holds, or drives on from.

    Attributes:
        strokes: in order.
        tolerance: miss on the control probe with which a macro-step counts, beside the standard
            error of that probe: of C, λ and γ relative to themselves, of S relative to γC.
            Infinite: nothing is promised.
        correct_above: miss on the control probe below which nothing is corrected.
        predictor: whether θ is moved by the response; if not, C may go where it goes.
        each_leg: whether the strokes are those of one leg, and are repeated on every leg.
    """

    course: ClassVar[type[Course]] = StrokeCourse
    steers_distortion: ClassVar[bool] = True
    report: ClassVar[ReportKind] = "strokes"
    strokes: tuple[Stroke, ...]
    tolerance: float = 0.01
    correct_above: float = 1e-3
    predictor: bool = True
    each_leg: bool = False

    def __post_init__(self) -> None:
        require(len(self.strokes) > 0, "strokes", list(self.strokes), "one or more strokes")
        names = [stroke.name for stroke in self.strokes]
        require(len(set(names)) == len(names), "strokes", names, "names that differ")
        check_tolerance(self.tolerance)
        ok = 0 < self.correct_above <= self.tolerance
        allowed = f"a number > 0, at most the tolerance = {self.tolerance:g}"
        require(ok, "correct_above", self.correct_above, allowed)

    @property
    def promise(self) -> float:
        """The tolerance; without the predictor nothing is held."""
        return self.tolerance if self.predictor else math.inf

    def check(self, networks: Networks, route: Route) -> None:
        """Refuse strokes that do not fit the data or the model."""
        strokes = self.laid(route)
        moving = [stroke.name for stroke in strokes if stroke.moves]
        allowed = f"{route.n_legs}, one for each leg of the data"
        fits = len(moving) == route.n_legs or not moving
        require(fits, "strokes", f"{len(moving)} that move the data", allowed)
        allowed = "a Classifier and a Decoder: their losses are what strokes hold and exchange"
        both = networks.classifier is not None and networks.decoder is not None
        require(both, "model", "a model without one of them", allowed)
        for name in ("lam", "gam"):
            require(networks.start[name] > 0, name, networks.start[name], "a number > 0")
        for stroke in strokes:
            _check_moves(stroke, route)

    def laid(self, route: Route) -> tuple[Stroke, ...]:
        """The strokes on the legs of a path, as they were given.

        Args:
            route: the path of the data.

        Returns:
            In order.
        """
        return self.strokes * route.n_legs if self.each_leg else self.strokes

    def present(self, course: S) -> Stroke:
        """The stroke under way.

        Args:
            course: how far the process has come.

        Returns:
            The stroke.
        """
        return self.strokes[course.index % len(self.strokes)]

    def begin(self, here: Equilibrium) -> S:
        """Note where the process begins.

        Returns:
            The course.
        """
        home = {"lam": here.point.lam, "gam": here.point.gam, "C": here.point.C}
        return cast(type[S], self.course)(home=home)

    def propose(self, course: S, here: Equilibrium) -> Proposal[S] | None:
        """The next step of the stroke under way, or what comes after it.

        Returns:
            The proposal, or None at the end of the process.
        """
        count = len(self.laid(here.route))
        if course.index == count:
            return None
        if course.u >= 1:
            if course.index + 1 == count:
                return self.finish(course, here)
            course, place = self.entered(course, here, course.index + 1)
            if place is not None:
                return Proposal(Motion(), course, place)
        if not course.anchor:
            course = self.anchored(course, here)
        return self._advanced(course, here)

    def finish(self, course: S, here: Equilibrium) -> Proposal[S] | None:
        """What follows the last stroke.

        Args:
            course: how far it has come.
            here: what is known.

        Returns:
            A proposal, or None at the end of the process, the default.
        """
        return None

    def entered(
        self, course: S, here: Equilibrium, index: int, place: tuple[int, float] | None = None
    ) -> tuple[S, tuple[int, float] | None]:
        """Take up a stroke.

        Args:
            course: how far the process has come.
            here: what is known.
            index: of the stroke.
            place: leg and t where it begins; the next leg, where it moves data that are at the end
                of theirs.

        Returns:
            The course, and where to settle first; None where the data are there.
        """
        stroke = self.present(replace(course, index=index))
        course = at_the_start(course, index, stroke.name)
        if place is None and stroke.moves and here.t >= 1:
            place = here.leg + 1, 0.0
        return course, None if place == (here.leg, here.t) else place

    def anchored(self, course: S, here: Equilibrium) -> S:
        """Note what a stroke starts from.

        Args:
            course: how far the process has come.
            here: what is known.

        Returns:
            The course.
        """
        anchor = {name: here.point.value(name) for name in ("lam", "gam", "C", "S")}
        last, name = here.last, self.present(course).name
        heat = float(last["lambda"] * last["D"] + last["gamma"] * last["C"])
        course = replace(course, stroke=name, anchor=anchor, measured=float(last["C"]))
        return replace(course, measured_s=-heat)

    def phase_and_time(self, course: S, rows: Sequence[Row], here: Row) -> tuple[float, float]:
        """Strokes done and the share of the present one, and the clock.

        Returns:
            Both.
        """
        phase = course.index + course.u
        if not rows or rows[-1]["cycle"] != course.cycle:
            return phase, 0.0
        passed = phase - rows[-1]["phase"]
        if passed:
            clock = self.present(course).clock
            if clock is not None:
                passed = abs(here["lambda"] - rows[-1]["lambda"]) / clock
        return phase, rows[-1]["time"] + passed

    def correct(self, course: S, start: Point, here: Point) -> Motion:
        """Take out what relaxation left of the quantities that the stroke holds or drives.

        Returns:
            A step in λ and γ.
        """
        if not course.anchor:
            return Motion()
        targets = self._targets(course)
        misses = {name: abs(here.value(name) - value) for name, value in targets.items()}
        if all(miss <= self.correct_above * _scale(here, name) for name, miss in misses.items()):
            return Motion()
        return _bounded(here, motion(here, targets, 0.0))

    def accept(self, course: S, here: Point, error: float) -> Miss | None:
        """Whether the two quantities of the stroke are where they are to be.

        Returns:
            The worst miss; None where all are held, and where a stroke has not begun.
        """
        if not course.anchor:
            return None
        misses = {
            name: (here.value(name) - value) / _scale(here, name)
            for name, value in self._targets(course).items()
        }
        return worst(misses, self.promise, error)

    def macro_steps(self, course: S | None, here: Equilibrium) -> int:
        """Macro-steps of all strokes, and those that settle on a new leg.

        Returns:
            The count.
        """
        strokes = self.laid(here.route)
        settling = max(sum(stroke.moves for stroke in strokes) - 1, 0)
        return sum(stroke.steps + stroke.ease for stroke in strokes) + settling

    def _advanced(self, course: S, here: Equilibrium) -> Proposal[S]:
        stroke = self.present(course)
        # it may begin between two nodes, where a step was taken back and tried shorter
        node = stroke.node_after(course.u)
        u = node if here.share == 1 else course.u + here.share * (node - course.u)
        course = replace(course, u=u)
        targets = self._targets(course)
        if "C" in targets:
            gone = targets["C"] - course.anchor["C"]
            course = replace(
                course, target=course.measured + gone, control_target=course.anchor["C"] + gone
            )
        if "S" in targets:
            course = replace(course, target_s=course.measured_s + targets["S"] - course.anchor["S"])
        dt = course.u - here.t if stroke.moves else 0.0
        step = _bounded(here.point, motion(here.point, targets, dt))
        return Proposal(step._replace(t=dt), course)

    def _targets(self, course: S) -> dict[str, float]:
        # what the two quantities of the stroke shall be at u
        stroke, anchor, targets = self.present(course), course.anchor, {}
        for name, change in stroke.changes.items():
            whole = course.home[name] - anchor[name] if change == RETURN else float(change)
            targets[name] = anchor[name] + course.u * whole
            if name != "S" and targets[name] <= 0:
                raise InfeasibleTarget(
                    f"stroke {stroke.name}: got {name} = {targets[name]:.4g} at {course.u:.0%} of "
                    "the stroke; allowed: numbers > 0; choose a smaller change or start elsewhere"
                )
        return targets


@dataclass(frozen=True)
class AdiabatRule(StrokeRule[StrokeCourse]):
    """Moves the data on every leg with γ constant and S = 0."""

    report: ClassVar[ReportKind] = "adiabat"
    each_leg: bool = True


def at_the_start(course: S, index: int, name: str) -> S:
    """A course before the first step of a stroke; what the stroke holds is not known yet.

    Args:
        course: how far the process has come.
        index: of the stroke.
        name: its name.

    Returns:
        The course.
    """
    course = replace(course, index=index, stroke=name, u=0.0, anchor={})
    return replace(course, target=math.nan, control_target=math.nan, target_s=math.nan)


def _scale(here: Point, name: str) -> float:
    # what a miss of a quantity is relative to
    return {"C": here.C, "S": here.gam * here.C, "lam": here.lam, "gam": here.gam}[name]


def _bounded(here: Point, step: tuple[float, float]) -> Motion:
    before = here.lam, here.gam
    after = (min(max(x + dx, x / FACTOR), x * FACTOR) for x, dx in zip(before, step, strict=True))
    return Motion(*(new - old for new, old in zip(after, before, strict=True)))


def _check_moves(stroke: Stroke, route: Route) -> None:
    still = not stroke.moves or route.static
    if still and set(stroke.changes) == {"gam", "S"} and not any(stroke.changes.values()):
        require(
            False,
            f"stroke {stroke.name}",
            "an adiabat on data that do not move",
            "data that move: at a fixed domain gamma and lambda D + gamma C constant leave no "
            "motion of lambda; give two waypoints or more, and moves: true",
        )
