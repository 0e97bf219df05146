"""Training at a few domains on the way, one after the other, without a linear response.

These are the yardsticks of iso-classification. Fine-tuning is one step to the target. A path at
constant λ and γ is many steps. A ``nudge`` is the one-sided feedback of published research code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from thermo_pl.errors import ConfigError, require
from thermo_pl.networks.parts import Networks
from thermo_pl.process.data import Route
from thermo_pl.process.rule import Equilibrium, Rule, Seen
from thermo_pl.process.state import Course, Motion, Proposal

LEAST_LAMBDA = 0.1
"""Where λ stops being nudged down."""


@dataclass(frozen=True)
class DomainCourse(Course):
    """How far the domains have come.

    Attributes:
        epochs: of relaxation at this domain.
        val_loss: C on validation particles at the end of the training at t = 0, nats.
    """

    epochs: int = 0
    val_loss: float = math.nan


@dataclass(frozen=True)
class DomainStepsRule(Rule[DomainCourse]):
    """Trains at t = 0, 1/steps, …, 1 of every leg for some epochs each.

    Attributes:
        steps: domains after the first one, on each leg.
        epochs: epochs at each domain after the first; at most, where there is a nudge.
        nudge: changes of λ and γ after an epoch with C > C*; None for constant λ and γ.
    """

    course: ClassVar[type[Course]] = DomainCourse
    solves: ClassVar[bool] = False
    steps: int
    epochs: int
    nudge: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "epochs"):
            value = getattr(self, name)
            require(value > 0, name, value, "a whole number > 0")
        if self.nudge is not None:
            ok = all(map(math.isfinite, self.nudge)) and self.nudge[0] <= 0 <= self.nudge[1]
            require(ok, "nudge", list(self.nudge), "a change of λ ≤ 0 and one of γ ≥ 0")

    def check(self, networks: Networks, route: Route) -> None:
        """Refuse a model without the loss that is watched."""
        allowed = "a Classifier: its loss is what is compared"
        require(networks.classifier is not None, "classifier", None, allowed)

    def begin(self, here: Equilibrium) -> DomainCourse:
        """Note C on training and on validation particles.

        Returns:
            The course.
        """
        return DomainCourse(target=here.last["C"], val_loss=here.last["val_C"])

    def propose(self, course: DomainCourse, here: Equilibrium) -> Proposal[DomainCourse] | None:
        """The next domain.

        Returns:
            The proposal, or None at the end of the last leg.
        """
        if here.route.static:
            return None
        place, t = None, here.t
        if t == 1:
            if here.leg + 1 == here.route.n_legs:
                return None
            place, t = (here.leg + 1, 0.0), 0.0
        end = (round(t * self.steps) + 1) / self.steps
        course = replace(course, stroke="domain_steps", epochs=0)
        return Proposal(Motion(t=end - t), course, place, end)

    def more(self, course: DomainCourse, lam: float, seen: Seen) -> Proposal[DomainCourse] | None:
        """Train on at this domain, unless C is low enough there, or the epochs are over.

        Returns:
            The nudge before the next epoch, or None.

        Raises:
            ConfigError: if C on validation particles is not known.
        """
        course = replace(course, epochs=course.epochs + 1)
        if course.epochs >= self.epochs:
            return None
        if self.nudge is None:
            return Proposal(Motion(), course)
        if math.isnan(seen.val_loss) or math.isnan(course.val_loss):
            raise ConfigError(
                "nudge: got an epoch without validation; allowed: trainer.check_val_every_n_epoch: "
                "1, as C on validation examples steers"
            )
        if seen.val_loss <= course.val_loss:
            return None
        down = max(self.nudge[0], min(LEAST_LAMBDA - lam, 0.0))
        return Proposal(Motion(down, self.nudge[1]), course)

    def macro_steps(self, course: DomainCourse | None, here: Equilibrium) -> int:
        """Domains after the first one.

        Returns:
            The count.
        """
        return 0 if here.route.static else self.steps * here.route.n_legs
