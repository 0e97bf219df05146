"""The adiabatic process: γ and λD + γC stay constant while the data move.

The slides' four requirements at once: (1) γ̇ = 0, (2) stationarity ∇J = 0, (3) λ̇ = k, and
(4) S = ΔR - ΔF = -Δ(λD + γC) = 0. With the linear response of (2), (4) ties λ to the coordinate s
of the data,

    dλ/ds = -(λ D_s + γ C_s) / (D + λ D_λ + γ C_λ),

and (3) then sets the clock, ṡ = k / (dλ/ds): the column ``time`` of path.csv.
"""

from __future__ import annotations

from typing import Any

from thermo_pl.callbacks.stroke_process import StrokeProcess
from thermo_pl.module import FreeEnergyModel
from thermo_pl.process.strokes import Stroke


class Adiabatic(StrokeProcess):
    """Moves the domain from t = 0 to 1 on every leg with γ constant and S = 0.

    λ is what follows. The data must move: at a fixed domain the four requirements leave nothing to
    move, and the process is refused.
    """

    def __init__(
        self,
        k: float = 1.0,
        steps: int = 20,
        **settings: Any,
    ) -> None:
        """Keep the settings.

        Args:
            k: |λ̇|, which sets the clock; the sign is that of dλ/ds.
            steps: macro-steps on one leg.
            **settings: of any :class:`StrokeProcess`.
        """
        self.stroke = Stroke("adiabat", steps, gam=0.0, S=0.0, clock=k)
        super().__init__([self.stroke], **settings)

    def check(self, model: FreeEnergyModel, data: Any) -> None:
        """Lay a stroke on every leg, and refuse data that do not move.

        Args:
            model: the model.
            data: the DataModule.
        """
        self.strokes = [self.stroke] * data.n_legs
        super().check(model, data)
