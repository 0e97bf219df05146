"""What tells one process from another: a rule that says where to go, and what is held."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from thermo_pl.networks.parts import Networks
from thermo_pl.path.columns import Row
from thermo_pl.process.acceptance import Miss
from thermo_pl.process.data import Route
from thermo_pl.process.state import C, Course, Motion, Proposal
from thermo_pl.response.slopes import Slopes

Array = NDArray[np.float64]
ReportKind = Literal["path", "strokes", "adiabat", "cycle"]
"""How a process is reported, see :mod:`thermo_pl.reports.kinds`."""


class Point(NamedTuple):
    """A point of the equilibrium surface and its slopes there.

    Attributes:
        lam: λ.
        gam: γ.
        D: distortion on the control probe, nats; nan where a process does not steer by it.
        C: classification loss on the control probe, nats.
        slopes: total derivatives of R, D and C; None where no response is solved.
        accuracy: on the control probe; nan where a process is not asked for one.
    """

    lam: float
    gam: float
    D: float
    C: float
    slopes: Slopes | None
    accuracy: float = float("nan")

    def value(self, name: str) -> float:
        """One of the quantities that a stroke can hold or drive.

        Args:
            name: ``lam``, ``gam``, ``C``, or ``S`` for -(λD + γC), of which S is the change.

        Returns:
            Its value; C and S in nats.
        """
        values = {"lam": self.lam, "gam": self.gam, "C": self.C}
        return values[name] if name in values else -(self.lam * self.D + self.gam * self.C)

    def gradient(self, name: str) -> Array:
        """Total derivatives of one of the quantities.

        Args:
            name: as for :meth:`value`; ``D``, too.

        Returns:
            With respect to λ, γ and t, shape ``(3,)``.

        Raises:
            RuntimeError: if no response was solved.
        """
        if name in {"lam", "gam"}:
            unit: Array = np.eye(3)[("lam", "gam").index(name)]
            return unit
        by_distortion, by_loss = np.array(self.known.D), np.array(self.known.C)
        if name in {"D", "C"}:
            return by_distortion if name == "D" else by_loss
        total = -(np.array([self.D, self.C, 0.0]) + self.lam * by_distortion)
        total -= self.gam * by_loss
        return total

    @property
    def known(self) -> Slopes:
        """The slopes, where a response was solved.

        Raises:
            RuntimeError: if none was.
        """
        if self.slopes is None:
            raise RuntimeError("a step was asked for before the first response")
        return self.slopes


@dataclass(frozen=True)
class Equilibrium:
    """What is known at the end of a macro-step, when a rule says where to go next.

    Attributes:
        point: λ, γ, D and C on the control probe, and the slopes.
        leg: the leg where the data are.
        t: domain coordinate on it.
        route: the path of the data.
        metric: the metric in (λ, γ, t), shape ``(3, 3)``; None where no response is solved.
        theta: all parameters in a row, on the CPU.
        rows: the path up to here.
        share: of the step that the rule would take, where longer ones were taken back.
    """

    point: Point
    leg: int
    t: float
    route: Route
    metric: Tensor | None
    theta: Tensor
    rows: Sequence[Row]
    share: float = 1.0

    @property
    def last(self) -> Row:
        """The last row of the path."""
        return self.rows[-1]


class Relaxed(NamedTuple):
    """What relaxation took, since the step began.

    Attributes:
        gradients: gradient evaluations, one for each particle and draw of z.
        time: sum of the learning rates over its steps.
    """

    gradients: int = 0
    time: float = 0.0

    def plus(self, more: Relaxed) -> Relaxed:
        """What it took with another part of it.

        Args:
            more: that part.

        Returns:
            The sum.
        """
        return Relaxed(self.gradients + more.gradients, self.time + more.time)


class Seen(NamedTuple):
    """What the caller knows at the end of an epoch.

    Attributes:
        seconds: since the last row.
        val_loss: C on validation particles; nan without a validation.
        val_accuracy: accuracy on them.
        kept_loss: C on validation particles of the first domain; nan where it is not asked for.
        kept_accuracy: accuracy on these.
    """

    seconds: float = float("nan")
    val_loss: float = float("nan")
    val_accuracy: float = float("nan")
    kept_loss: float = float("nan")
    kept_accuracy: float = float("nan")


class Rule(ABC, Generic[C]):
    """Says where to go. All methods are pure: asked twice, they answer the same.

    A rule is constant. What it remembers is its course, which is handed to it and back; so a try
    can be rejected, and a run resumed.

    Attributes:
        course: the class of what the rule remembers.
        solves: whether the process solves the linear response. Without it there is no predictor,
            and the columns of the response are empty.
        watches: whether C on the control probe is measured where no response is solved, too.
        steers_distortion: whether the process steers by D on the control probe, too.
        report: what a reader is told. A ``path`` has its drift and its first law, ``strokes``, an
            ``adiabat`` and a ``cycle`` have a ledger.
        gamma_range: where a correction may bring γ.
    """

    course: ClassVar[type[Course]] = Course
    solves: ClassVar[bool] = True
    watches: ClassVar[bool] = False
    steers_distortion: ClassVar[bool] = False
    report: ClassVar[ReportKind] = "path"
    gamma_range: tuple[float, float] = (0.0, math.inf)

    @property
    def promise(self) -> float:
        """Relative miss that the process answers for; infinite where it promises nothing."""
        return math.inf

    @property
    def asks_accuracy(self) -> bool:
        """Whether the process goes by an accuracy on the control probe, too."""
        return False

    def check(self, networks: Networks, route: Route) -> None:
        """Refuse what cannot go well, before anything is trained.

        Args:
            networks: the model, at its first λ and γ.
            route: the path of the data.
        """

    @abstractmethod
    def begin(self, here: Equilibrium) -> C:
        """The course at the first equilibrium.

        Args:
            here: the equilibrium; its last row has no target yet.

        Returns:
            The course.
        """

    @abstractmethod
    def propose(self, course: C, here: Equilibrium) -> Proposal[C] | None:
        """Where to go in the next macro-step; asked again where a proposal was rejected.

        Args:
            course: how far the rule has come.
            here: what is known.

        Returns:
            The proposal, or None at the end of the process.
        """

    def judge(self, course: C, proposal: Proposal[C], miss: float) -> tuple[bool, C]:
        """Whether a proposal is kept once it is predicted.

        Args:
            course: how far the rule had come before.
            proposal: what was tried.
            miss: |C/C* - 1| on the control probe after the predictor; nan without a target.

        Returns:
            Whether it is kept, and a course. That is the course at the end of the step if the
            proposal is kept, else the one to propose from again. By default all are kept.
        """
        return True, proposal.course

    def more(self, course: C, lam: float, seen: Seen) -> Proposal[C] | None:
        """Whether another epoch of relaxation follows before the macro-step is measured.

        Args:
            course: at the end of the step.
            lam: λ.
            seen: the end of the last epoch.

        Returns:
            A motion to make before it; None where the relaxation was enough, the default.
        """
        return None

    def correct(self, course: C, start: Point, here: Point) -> Motion:
        """A last small step after relaxation, along the response already known.

        Args:
            course: at the end of the step.
            start: where the macro-step began.
            here: after relaxation.

        Returns:
            The motion, with t = 0; none by default.
        """
        return Motion()

    def accept(self, course: C, here: Point, error: float) -> Miss | None:
        """Whether a macro-step counts, once it is relaxed and corrected.

        Args:
            course: at the end of the step.
            here: on the control probe.
            error: standard error of C on that probe over its noise draws, relative to C. This is
                how well the probe knows what it steers; 0 where its C is exact.

        Returns:
            The worst of what is not held; None where all is held. By default nothing is promised.
        """
        return None

    def phase_and_time(self, course: C, rows: Sequence[Row], here: Row) -> tuple[float, float]:
        """Where a new row stands in the process.

        Args:
            course: how far the rule has come.
            rows: the path before it.
            here: the row; ``leg``, ``t`` and ``lambda`` are known.

        Returns:
            ``phase``, the place within a cycle, and ``time``, the clock of the slides.
        """
        way = here["leg"] + here["t"]
        return way, way

    @abstractmethod
    def macro_steps(self, course: C | None, here: Equilibrium) -> int:
        """Macro-steps that the process takes after equilibration, as far as is known.

        Args:
            course: how far the rule has come; None before equilibrium.
            here: what is known.

        Returns:
            The count.
        """

    def results(self, course: C, here: Equilibrium) -> dict[str, dict[str, Any]]:
        """What else a process comes to, beside its path.

        Args:
            course: how far the rule has come.
            here: what is known.

        Returns:
            By the name of a file in the run directory, without its ending.
        """
        return {}
