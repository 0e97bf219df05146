"""A tour of the free energy's surface as a callback; see :mod:`thermo_pl.process.surface`."""

from __future__ import annotations

from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.process.equilibration import Equilibration
from thermo_pl.process.protocols import Protocol
from thermo_pl.process.settings import Probes, Settings
from thermo_pl.process.surface import SurfaceRule
from thermo_pl.process.transitions import OnTransition
from thermo_pl.response.linear import ResponseSettings


class FreeEnergySurface(QuasiStatic):
    """Visits every node of a grid in (λ, γ), one step along one axis at a time, and returns.

    F(λ, γ) can be differentiated on the rows of its path. D = ∂F/∂λ, C = ∂F/∂γ, Maxwell's relation
    and concavity are then measurements, independent of the linear response. The way back to the
    first node closes a loop, and its work is the dissipation. Nodes that are visited twice show
    hysteresis. The data stay at the first domain, t = 0.

    Example:
        >>> import thermo_pl as tp
        >>> process = tp.FreeEnergySurface(lam=[1.0, 1.5], gam=[2.0, 3.0])
        >>> process.rule.nodes
        [(1.0, 2.0), (1.5, 2.0), (1.5, 3.0), (1.0, 3.0), (1.0, 2.0)]
    """

    def __init__(
        self,
        lam: list[float],
        gam: list[float],
        equilibration: Equilibration | None = None,
        probes: Probes | None = None,
        response: ResponseSettings | None = None,
        predictor: bool = True,
        on_transition: OnTransition = "mark",
        protocol: Protocol = "sudden",
        drives: int = 1,
    ) -> None:
        """Lay out the grid.

        Args:
            lam: values of λ in the order they are visited; the first one is that of the model.
            gam: values of γ, likewise.
            equilibration: how the run is brought to equilibrium first.
            probes: the solving, the control and the measuring probe.
            response: how the linear response is solved.
            predictor: move θ by the response before each relaxation.
            on_transition: ``mark``, ``continue`` or ``stop``; see :class:`Settings`.
            protocol: ``sudden`` moves the control first and θ after it; ``shortcut`` drives θ along
                its response while the control moves, and gives off far less; see :class:`Settings`.
            drives: drives of θ in a step of the shortcut, 1 or 2; with 2 the response is solved
                at mid-control, too.
        """
        settings = Settings.of(
            equilibration,
            probes,
            response,
            predictor=predictor,
            on_transition=on_transition,
            protocol=protocol,
            drives=drives,
        )
        super().__init__(SurfaceRule(tuple(lam), tuple(gam)), settings)
