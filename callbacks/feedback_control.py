"""Symmetric feedback on γ as a callback; see :mod:`thermo_pl.process.feedback`."""

from __future__ import annotations

from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.errors import require
from thermo_pl.process.equilibration import Equilibration
from thermo_pl.process.feedback import FeedbackRule
from thermo_pl.process.settings import Probes, Settings


class FeedbackControl(QuasiStatic):
    """Moves the domain at constant λ, and steers γ by what C misses C* by; solves no response.

    A proportional-integral controller of ln γ acts once in a macro-step, both ways: the yardstick
    of :class:`~thermo_pl.callbacks.IsoClassification`, which knows C_t and C_γ. C* is C at the end
    of the training at t = 0. It steers by the control probe, and is reported on the measuring one.
    """

    def __init__(
        self,
        steps: int,
        source_epochs: int,
        proportional: float,
        integral: float,
        smoothing: float = 0.0,
        gamma_range: tuple[float, float] = (1e-2, 1e4),
        probes: Probes | None = None,
    ) -> None:
        """Lay out the domains, and how γ follows.

        Args:
            steps: macro-steps on each leg, one epoch and one action of the controller each.
            source_epochs: epochs at the first domain.
            proportional: change of ln γ for a change of ln(C/C*) by one.
            integral: change of ln γ in a step with ln(C/C*) = 1.
            smoothing: share of the error before in the one that ``proportional`` acts on.
            gamma_range: where γ may go.
            probes: the control and the measuring probe; nothing is solved.
        """
        require(source_epochs > 0, "source_epochs", source_epochs, "a whole number > 0")
        rule = FeedbackRule(
            steps=steps,
            epochs=1,
            proportional=proportional,
            integral=integral,
            smoothing=smoothing,
            gamma_range=(gamma_range[0], gamma_range[1]),
        )
        first = Equilibration.lasting(source_epochs)
        settings = Settings(equilibration=first, probes=probes or Probes(), predictor=False)
        super().__init__(rule, settings)
