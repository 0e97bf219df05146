"""Iso-classification: the classification loss stays constant while the data move.

The slides' isothermal process. Three requirements at once: (1) dC/dt = 0, (2) stationarity
∇J = 0, (3) λ̇ = k. With the linear response of (2), (1) gives

    γ̇ = -(k C_λ + ṫ C_t) / C_γ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from thermo_pl.errors import InfeasibleTarget, require
from thermo_pl.networks.parts import Networks
from thermo_pl.path.columns import BACK, FORWARD
from thermo_pl.process.acceptance import Miss, check_tolerance, worst
from thermo_pl.process.data import Route
from thermo_pl.process.rule import Equilibrium, Point, Rule
from thermo_pl.process.state import Course, Motion, Proposal
from thermo_pl.process.step_control import AdaptiveSteps, Pace, Place, StepControl
from thermo_pl.response.metric import length

HELD = (FORWARD, BACK)
"""The strokes on which C is held."""
CORRECTED = 1e-3
"""|C/C* - 1| on the control probe below which nothing is corrected; a tenth of a tolerance below
its default, where one is asked for."""


AS_LONG_AS_ALLOWED = AdaptiveSteps()
"""``steps: auto``."""


@dataclass(frozen=True)
class Accuracy:
    """A C* that is said by an accuracy: C where γ has brought the model to it at t = 0.

    Attributes:
        accuracy: of the particles on which C is held, between 0 and 1.
        within: how closely it is met.

    Example:
        >>> import thermo_pl as tp
        >>> process = tp.IsoClassification(k=0.5, c_target=tp.Accuracy(0.97))
    """

    accuracy: float
    within: float = 0.0025

    def __post_init__(self) -> None:
        require(0 < self.accuracy < 1, "accuracy", self.accuracy, "a number between 0 and 1")
        require(0 < self.within < 1, "within", self.within, "a number between 0 and 1")

    def loss_ahead(self, here: Point) -> float:
        """Where C goes next: C is about as large as the share of errors.

        Args:
            here: with its accuracy.

        Returns:
            Nats; at most twice C, and at least half of it.
        """
        errors = 1 - here.accuracy
        ratio = (1 - self.accuracy) / errors if errors else math.inf
        return here.C * min(max(ratio, 0.5), 2.0)


@dataclass(frozen=True)
class IsoCourse(Course):
    """How far an iso-classification has come.

    Attributes:
        pace: what the step control remembers: the next size and the last error.
    """

    pace: tuple[float, float] = Pace()


@dataclass(frozen=True)
class IsoClassificationRule(Rule[IsoCourse]):
    """Moves the data from t = 0 to 1 on every leg with C held at C*.

    Attributes:
        k: λ̇, the change of λ on one leg.
        steps: how long a macro-step is.
        c_target: C* in nats, or as an accuracy; C at the first equilibrium if not given.
        gamma_range: where γ may go.
        approach_tolerance: |C/C* - 1| at which the approach to a given C* ends.
        approach_steps: macro-steps of the approach at most.
        restoring: steer γ by C* - C as well.
        there_and_back: go back to t = 0 and λ0 afterwards.
        predictor: whether θ is moved by the response; if not, C may go where it goes.
        tolerance: |C/C* - 1| on the control probe with which a macro-step counts, beside the
            standard error of that probe. Infinite: nothing is promised.

    Example:
        A step of 0.1 in t at C_λ = 0.02, C_γ = -0.05, C_t = 0.24, where γ̇ = -(k C_λ + C_t)/C_γ = 5:

        >>> import torch
        >>> import thermo_pl as tp
        >>> from thermo_pl.process import Equilibrium, Point, Route
        >>> from thermo_pl.response import Gradient, Slopes
        >>> known = Slopes(Gradient(0, 0, 0), Gradient(0, 0, 0), Gradient(0.02, -0.05, 0.24))
        >>> point = Point(lam=1.0, gam=5.0, D=10.0, C=0.5, slopes=known)
        >>> route = Route(n_legs=1, closed=False, static=False)
        >>> rows = [{"C_held": 0.5, "stroke": "equilibration"}]
        >>> here = Equilibrium(point, 0, 0.0, route, None, torch.zeros(0), rows)
        >>> rule = tp.IsoClassificationRule(k=0.5, steps=tp.ConstantSteps(10))
        >>> motion = rule.propose(rule.begin(here), here).motion
        >>> [round(step, 6) for step in motion]  # in λ, γ and t
        [0.05, 0.5, 0.1]
    """

    course: ClassVar[type[Course]] = IsoCourse
    k: float
    steps: StepControl = AS_LONG_AS_ALLOWED
    c_target: float | Accuracy | None = None
    gamma_range: tuple[float, float] = (1e-2, 1e4)
    approach_tolerance: float = 0.005
    approach_steps: int = 40
    restoring: bool = True
    there_and_back: bool = False
    predictor: bool = True
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        require(math.isfinite(self.k), "k", self.k, "a finite number")
        if isinstance(self.c_target, int | float):
            ok = 0 < self.c_target < math.inf
            allowed = "a finite number > 0 (nats), {accuracy: 0.97}, or null"
            require(ok, "c_target", self.c_target, allowed)
        low, high = self.gamma_range
        require(0 < low < high, "gamma_range", [low, high], "two numbers, 0 < low < high")
        ok = self.approach_tolerance > 0
        require(ok, "approach_tolerance", self.approach_tolerance, "a number > 0")
        ok = self.approach_steps > 0
        require(ok, "approach_steps", self.approach_steps, "a whole number > 0")
        check_tolerance(self.tolerance)

    @property
    def promise(self) -> float:
        """The tolerance; where a part is switched off, for comparison, nothing holds C."""
        return self.tolerance if self.restoring and self.predictor else math.inf

    @property
    def asks_accuracy(self) -> bool:
        """Whether C* is said by one."""
        return isinstance(self.c_target, Accuracy)

    def check(self, networks: Networks, route: Route) -> None:
        """Refuse a path on which λ would turn negative, or a γ that cannot hold C."""
        allowed = "a Classifier: its loss is what is held"
        classifier = networks.classifier
        require(classifier is not None, "classifier", None, allowed)
        known = not self.asks_accuracy or networks.classifies
        require(known, "c_target", self.c_target, "C* in nats: this classifier names no classes")
        lam, gam = networks.start["lam"], networks.start["gam"]
        least = -lam / route.n_legs
        require(self.k >= least, "k", self.k, f"at least {least:g}, so that λ stays ≥ 0")
        require(gam > 0, "gam", gam, "a number > 0, as γ holds C constant")

    def begin(self, here: Equilibrium) -> IsoCourse:
        """Set C*.

        Returns:
            The course.
        """
        if isinstance(self.c_target, Accuracy):  # known where the approach ends
            return IsoCourse()
        if self.c_target is None:
            return IsoCourse(target=here.last["C_held"], control_target=here.point.C)
        return IsoCourse(target=self.c_target, control_target=self.c_target)

    def propose(self, course: IsoCourse, here: Equilibrium) -> Proposal[IsoCourse] | None:
        """Requirements (1) and (3), and the restoring term towards C*.

        Returns:
            The proposal, or None at the end of the last leg.
        """
        if self._approaching(course, here):
            if isinstance(self.c_target, Accuracy):
                ahead = self.c_target.loss_ahead(here.point)
                course = replace(course, target=math.nan, control_target=ahead)
            step = self._gamma_step(course, here.point, here.point, here.point.C)
            return Proposal(Motion(gam=step), replace(course, stroke="approach"))
        if course.stroke not in HELD:
            course = self._begun(course, here)
        back = course.stroke == BACK
        if self._place(here, back).s >= 1:
            onward = here.leg + (-1 if back else 1)
            if 0 <= onward < here.route.n_legs:  # the same domain, other particles: settle there
                return Proposal(Motion(), course, (onward, 1.0 if back else 0.0))
            if back or not self.there_and_back:
                return None
            course, back = replace(course, stroke=BACK), True
        return self._onward(course, here, back)

    def judge(
        self, course: IsoCourse, proposal: Proposal[IsoCourse], miss: float
    ) -> tuple[bool, IsoCourse]:
        """Let the step control judge a motion of the data.

        Returns:
            Whether it is kept, and the course.
        """
        if not proposal.motion.t:
            return True, proposal.course
        size, pace = abs(proposal.motion.t), Pace(*proposal.course.pace)
        kept, pace = self.steps.judge(size, miss, pace)
        return kept, replace(proposal.course if kept else course, pace=pace)

    def correct(self, course: IsoCourse, start: Point, here: Point) -> Motion:
        """Take out what relaxation left of C - C*.

        Returns:
            A step in γ; none without the restoring term.
        """
        close = abs(here.C / course.control_target - 1) <= min(CORRECTED, self.tolerance / 10)
        if not self.restoring or close:
            return Motion()
        return Motion(gam=self._gamma_step(course, start, here, here.C))

    def accept(self, course: IsoCourse, here: Point, error: float) -> Miss | None:
        """Whether C is held.

        Returns:
            What C misses C* by; None where that is allowed, and during an approach.
        """
        if course.stroke not in HELD:
            return None
        return worst({"C": here.C / course.control_target - 1}, self.promise, error)

    def macro_steps(self, course: IsoCourse | None, here: Equilibrium) -> int:
        """Macro-steps on all legs, there and back, and one to settle on each leg after the first.

        Returns:
            The count; an approach comes on top.
        """
        course = course or IsoCourse()
        back = course.stroke == BACK
        taken = sum(row["stroke"] in HELD for row in here.rows)
        place, pace = self._place(here, back), Pace(*course.pace)
        rest = self.steps.remaining(place, pace) if place.s < 1 else 0
        leg = self.steps.remaining(place._replace(s=0.0), pace) + 1
        later = (here.leg if back else here.route.n_legs - 1 - here.leg) * leg
        if self.there_and_back and not back:
            later += here.route.n_legs * leg - 1
        return int(taken + rest + later)

    def _begun(self, course: IsoCourse, here: Equilibrium) -> IsoCourse:
        # the approach has met the accuracy that was asked for: C is held where it is
        if isinstance(self.c_target, Accuracy):
            held, steered = here.last["C_held"], here.point.C
            course = replace(course, target=held, control_target=steered)
        return replace(course, stroke=FORWARD)

    def _onward(self, course: IsoCourse, here: Equilibrium, back: bool) -> Proposal[IsoCourse]:
        place = self._place(here, back)
        s = self.steps.propose(place, Pace(*course.pace))
        if here.share < 1:
            s = place.s + here.share * (s - place.s)
        dt = (1 - s if back else s) - here.t
        dlam = self.k * dt
        loss = here.point.C if self.restoring else course.control_target
        dgam = self._gamma_step(course, here.point, here.point, loss, dlam, dt)
        return Proposal(Motion(dlam, dgam, dt), course)

    def _approaching(self, course: IsoCourse, here: Equilibrium) -> bool:
        if course.stroke in HELD:
            return False
        told = self._far(course, here)
        taken = sum(row["stroke"] == "approach" for row in here.rows)
        if told is None or taken < self.approach_steps:
            return told is not None
        raise InfeasibleTarget(
            f"c_target: got {told} at gamma = {here.last['gamma']:.4g} after {taken} steps towards "
            "it; allowed: what these data and networks can reach"
        )

    def _far(self, course: IsoCourse, here: Equilibrium) -> str | None:
        # what is asked for and what is there, before the approach has come to its end
        if isinstance(self.c_target, Accuracy):
            asked, found = self.c_target.accuracy, here.point.accuracy
            far = abs(found - asked) > self.c_target.within
            return f"an accuracy of {asked:g}, and {found:.4f}" if far else None
        far = abs(here.point.C / course.control_target - 1) > self.approach_tolerance
        return f"{course.target:.4g} nats, and C = {here.last['C_held']:.4g}" if far else None

    def _place(self, here: Equilibrium, back: bool) -> Place:
        speed = math.nan
        if here.point.slopes is not None and here.metric is not None:
            by_lam, by_gam, by_t = here.point.slopes.C
            rate = -(by_lam * self.k + by_t) / by_gam if by_gam else 0.0
            speed = length((self.k, rate, 1.0), here.metric)
        return Place(here.leg, 1 - here.t if back else here.t, speed, back)

    def _gamma_step(
        self,
        course: IsoCourse,
        start: Point,
        here: Point,
        loss: float,
        dlam: float = 0.0,
        dt: float = 0.0,
    ) -> float:
        # The step in γ that brings C to C* in the linear response. γ stays within a factor of two
        # of where the macro-step began: C falls about as 1/γ, so a long Newton step overshoots,
        # even below zero.
        by_lam, by_gam, by_t = here.known.C
        gam, before, (low, high) = here.gam, start.gam, self.gamma_range
        miss = course.control_target - loss
        step = (miss - by_lam * dlam - by_t * dt) / by_gam if by_gam else math.copysign(gam, -miss)
        step = min(max(gam + step, before / 2), 2 * before) - gam
        if not low <= gam + step <= high:
            way = (
                "C* lies below what this model can reach" if step > 0 else "C* needs no classifier"
            )
            raise InfeasibleTarget(
                f"gamma: got {gam + step:.4g} to hold C* = {course.target:.4g} nats where C = "
                f"{loss:.4g}; allowed: {low:g} to {high:g}; {way} on this domain: "
                "choose another c_target or k, or widen gamma_range"
            )
        return step
