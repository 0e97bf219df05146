"""The adiabatic process: γ and λD + γC stay constant while the data move.

The slides' four requirements at once: (1) γ̇ = 0, (2) stationarity ∇J = 0, (3) λ̇ = k, and
(4) S = ΔR - ΔF = -Δ(λD + γC) = 0. With the linear response of (2), (4) ties λ to the coordinate s
of the data,

    dλ/ds = -(λ D_s + γ C_s) / (D + λ D_λ + γ C_λ),

and (3) then sets the clock, ṡ = k / (dλ/ds): the column ``time`` of path.csv.
"""

from __future__ import annotations

from typing import Any

from thermo_pl.callbacks.settings import Equilibration, Probes
from thermo_pl.callbacks.stroke_process import StrokeProcess
from thermo_pl.callbacks.transitions import OnTransition
from thermo_pl.module import FreeEnergyModel
from thermo_pl.response import ResponseSettings
from thermo_pl.strokes import Stroke


class Adiabatic(StrokeProcess):
    """Moves the domain from t = 0 to 1 on every leg with γ constant and S = 0.

    λ is what follows. The data must move: at a fixed domain the four requirements leave nothing to
    move, and the process is refused.
    """

    def __init__(
        self,
        k: float = 1.0,
        steps: int = 20,
        tolerance: float = 1e-3,
        parts: int = 1,
        newton: bool = False,
        equilibration: Equilibration | None = None,
        probes: Probes | None = None,
        response: ResponseSettings | None = None,
        predictor: bool = True,
        on_transition: OnTransition = "mark",
    ) -> None:
        """Keep the settings.

        Args:
            k: |λ̇|, which sets the clock; the sign is that of dλ/ds.
            steps: macro-steps on one leg.
            tolerance: at which the corrector is content: miss of S relative to γC, on the control
                probe.
            parts: parts into which each relaxation is cut; a correction follows each of them.
            newton: solve the response anew for each correction, and take a Newton step in θ first:
                for systems without sampling noise, where it leads to the last digits.
            equilibration: how the run is brought to equilibrium first.
            probes: the solving, the control and the measuring probe.
            response: how the linear response is solved.
            predictor: move θ by the response before each relaxation.
            on_transition: ``mark``, ``continue`` or ``stop``; see :class:`QuasiStatic`.
        """
        self.stroke = Stroke("adiabat", steps, gam=0.0, S=0.0, clock=k)
        settings = equilibration, probes, response, predictor, on_transition
        super().__init__([self.stroke], tolerance, parts, newton, *settings)

    def check(self, model: FreeEnergyModel, data: Any) -> None:
        """Lay a stroke on every leg, and refuse data that do not move.

        Args:
            model: the model.
            data: the DataModule.
        """
        self.strokes = [self.stroke] * data.n_legs
        super().check(model, data)
