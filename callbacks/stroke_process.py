"""Strokes one after the other as a callback; see :mod:`thermo_pl.process.stroke_rule`."""

from __future__ import annotations

from typing import Any

from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.errors import require
from thermo_pl.process.equilibration import Equilibration
from thermo_pl.process.settings import Length, Probes, Protocol, Settings
from thermo_pl.process.stroke_rule import StrokeCourse, StrokeRule
from thermo_pl.process.strokes import Stroke
from thermo_pl.process.transitions import OnTransition
from thermo_pl.response.linear import ResponseSettings


class StrokeProcess(QuasiStatic):
    """Carries a model through strokes.

    A stroke that moves the data takes them along the next leg. Its first macro-step settles on the
    particles of that leg: the domain is the same, and nothing moves. The values that the control
    probe of the leg has there are those that the stroke holds, or drives on from.
    """

    def __init__(
        self,
        strokes: list[Stroke],
        tolerance: float = 0.01,
        correct_above: float = 1e-3,
        parts: int = 1,
        newton: bool = False,
        descents: int = 0,
        equilibration: Equilibration | None = None,
        probes: Probes | None = None,
        response: ResponseSettings | None = None,
        predictor: bool = True,
        on_transition: OnTransition = "mark",
        min_step: float = 1 / 16,
        protocol: Protocol = "sudden",
        drives: int = 1,
        relaxation: Length = "epoch",
    ) -> None:
        """Lay out the strokes.

        Args:
            strokes: in order.
            tolerance: miss with which a macro-step counts, beside the standard error of the control
                probe: of C, λ and γ relative to themselves, of S relative to γC. Where it is missed
                after relaxation and correction, both are repeated; then the step is taken back and
                half of it is tried. ``.inf`` promises nothing.
            correct_above: miss on the control probe below which nothing is corrected.
            parts: parts into which each relaxation is cut; a correction follows each of them.
            newton: after each part solve the response anew, and take a Newton step in θ before the
                corrections. It leads to the last digits where there is no sampling noise.
            descents: Newton steps between the motion and the relaxation of a macro-step, where J is
                the same on the solving probe as in training; see :class:`Settings`.
            equilibration: how the run is brought to equilibrium first.
            probes: the solving, the control and the measuring probe.
            response: how the linear response is solved.
            predictor: move θ by the response before each relaxation.
            on_transition: ``mark``, ``continue`` or ``stop``; see :class:`Settings`.
            min_step: share of the process's own step below which none is tried. Then the run ends
                with exit code 3.
            protocol: ``sudden`` moves the control first and θ after it; ``shortcut`` drives θ along
                its response while the control moves, and gives off far less; see :class:`Settings`.
            drives: drives of θ in a step of the shortcut, 1 or 2; with 2 the response is solved
                at mid-control, too.
            relaxation: ``epoch``: one in each macro-step, and more where it does not hold what it
                must. ``auto``: another one as long as J falls by more than equilibration allows.
        """
        require(parts > 0, "parts", parts, "a whole number > 0")
        rule = self.make_rule(tuple(strokes), tolerance, correct_above, predictor)
        settings = Settings.of(
            equilibration,
            probes,
            response,
            predictor=predictor,
            on_transition=on_transition,
            parts=parts,
            newton=newton,
            descents=descents,
            min_step=min_step,
            protocol=protocol,
            drives=drives,
            relaxation=relaxation,
        )
        super().__init__(rule, settings)

    def make_rule(
        self, strokes: tuple[Stroke, ...], tolerance: float, correct_above: float, predictor: bool
    ) -> StrokeRule[Any]:
        """The rule of these strokes; a subclass may take another one.

        Args:
            strokes: in order.
            tolerance: miss with which a macro-step counts.
            correct_above: miss below which nothing is corrected.
            predictor: whether θ is moved by the response.

        Returns:
            The rule.
        """
        return StrokeRule[StrokeCourse](strokes, tolerance, correct_above, predictor)
