"""Training at a few domains on the way as a callback; see :mod:`thermo_pl.process.domain_steps`."""

from __future__ import annotations

from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.errors import require
from thermo_pl.process.domain_steps import DomainStepsRule
from thermo_pl.process.equilibration import Equilibration
from thermo_pl.process.settings import Probes, Settings


class DomainSteps(QuasiStatic):
    """Trains at t = 0, 1/steps, …, 1 of every leg for some epochs each; solves no response.

    A ``nudge`` steers by C on validation examples. C* is C on them at the end of the training at
    t = 0. After an epoch at t > 0 with C > C* the nudge moves λ and γ, and another epoch follows.
    As soon as C ≤ C*, the data go on. So the feedback is one-sided: nothing is done where C is
    below C*. The labels of validation examples of *all* domains on the way steer here.

    One row of path.csv per domain. Its C is measured as in all processes, on training particles,
    and so is the C* that its drift refers to.
    """

    def __init__(
        self,
        steps: int,
        source_epochs: int,
        epochs: int,
        nudge: tuple[float, float] | None = None,
        probes: Probes | None = None,
    ) -> None:
        """Lay out the domains, and how long each is trained at.

        Args:
            steps: domains after the first one, on each leg.
            source_epochs: epochs at the first domain.
            epochs: epochs at each other domain; at most, where there is a nudge.
            nudge: changes of λ, at most 0, and of γ, at least 0, after an epoch with C > C*; λ
                stays above 0.1. Constant λ and γ if not given.
            probes: only the measuring probe is used.
        """
        require(source_epochs > 0, "source_epochs", source_epochs, "a whole number > 0")
        rule = DomainStepsRule(steps, epochs, None if nudge is None else (nudge[0], nudge[1]))
        first = Equilibration.lasting(source_epochs)  # without a response no check
        settings = Settings(equilibration=first, probes=probes or Probes(), predictor=False)
        super().__init__(rule, settings)
