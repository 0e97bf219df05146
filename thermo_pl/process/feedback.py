"""Symmetric feedback on γ: what is done where no response is known.

A proportional-integral controller of ln γ on the error e = ln(C/C*), in steps:

    ln γ ← ln γ + i e + p (ξ - ξ₋),   ξ = ν ξ₋ + (1-ν) e.

Sources: Shao et al., "ControlVAE: Controllable Variational Autoencoder", ICML 2020; Sohrabi et al.,
"On PI controllers for updating Lagrange multipliers in constrained optimization", ICML 2024 (νPI).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from thermo_pl.errors import require
from thermo_pl.networks.parts import Networks
from thermo_pl.process.data import Route
from thermo_pl.process.domain_steps import DomainCourse, DomainStepsRule
from thermo_pl.process.rule import Equilibrium
from thermo_pl.process.state import Course, Proposal


@dataclass(frozen=True)
class FeedbackCourse(DomainCourse):
    """How far the domains have come.

    Attributes:
        smoothed: ξ, the error of the steps before.
    """

    smoothed: float = 0.0


@dataclass(frozen=True)
class FeedbackRule(DomainStepsRule):
    """Trains at t = 0, 1/steps, …, 1 of every leg, and steers γ by C on the control probe.

    Attributes:
        proportional: p.
        integral: i.
        smoothing: ν, from 0 (none) to below 1.
        gamma_range: where γ may go; it stays at the end of the range else.
    """

    course: ClassVar[type[Course]] = FeedbackCourse
    watches: ClassVar[bool] = True
    proportional: float = 0.0
    integral: float = 0.0
    smoothing: float = 0.0
    gamma_range: tuple[float, float] = (1e-2, 1e4)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("proportional", "integral"):
            value = getattr(self, name)
            require(0 <= value < math.inf, name, value, "a finite number ≥ 0")
        require(0 <= self.smoothing < 1, "smoothing", self.smoothing, "a number from 0 to below 1")
        low, high = self.gamma_range
        require(0 < low < high, "gamma_range", list(self.gamma_range), "two numbers > 0, in order")

    def check(self, networks: Networks, route: Route) -> None:
        """Refuse a model without the loss that is steered, or a γ that has no logarithm."""
        super().check(networks, route)
        gam = networks.start["gam"]
        require(gam > 0, "gam", gam, "a number > 0, as γ holds C constant")

    def begin(self, here: Equilibrium) -> FeedbackCourse:
        """Set C*.

        Returns:
            The course.
        """
        return FeedbackCourse(target=here.last["C"], control_target=here.point.C)

    def propose(self, course: DomainCourse, here: Equilibrium) -> Proposal[DomainCourse] | None:
        """The next domain, and γ for it.

        Returns:
            The proposal, or None at the end of the last leg.

        Raises:
            TypeError: if the course is one of another rule.
        """
        if not isinstance(course, FeedbackCourse):
            raise TypeError(f"course: got a {type(course).__name__}; allowed: a FeedbackCourse")
        gam, error = here.point.gam, math.log(here.point.C / course.control_target)
        smoothed = self.smoothing * course.smoothed + (1 - self.smoothing) * error
        ahead = super().propose(replace(course, smoothed=smoothed), here)
        if ahead is None:
            return None
        step = self.integral * error + self.proportional * (smoothed - course.smoothed)
        low, high = self.gamma_range
        steered = min(max(gam * math.exp(step), low), high)
        return replace(ahead, motion=ahead.motion._replace(gam=steered - gam))
