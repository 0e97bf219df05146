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
from thermo_pl.process.stroke_rule import AdiabatRule, StrokeRule
from thermo_pl.process.strokes import Stroke


class Adiabatic(StrokeProcess):
    """Moves the domain from t = 0 to 1 on every leg with γ constant and S = 0.

    λ follows the data. They must move: at a fixed domain the four requirements leave nothing to
    move, and the process is refused.

    Example:
        >>> import thermo_pl as tp
        >>> process = tp.Adiabatic(k=1.0, steps=20)
        >>> process.rule.strokes[0].changes
        {'gam': 0.0, 'S': 0.0}
    """

    def __init__(self, k: float = 1.0, steps: int = 20, **settings: Any) -> None:
        """Lay out one adiabat for all legs.

        Args:
            k: |λ̇|, which sets the clock; the sign is that of dλ/ds.
            steps: macro-steps on one leg.
            **settings: of any :class:`StrokeProcess`.
        """
        super().__init__([Stroke("adiabat", steps, gam=0.0, S=0.0, clock=k)], **settings)

    def make_rule(
        self, strokes: tuple[Stroke, ...], tolerance: float, correct_above: float, predictor: bool
    ) -> StrokeRule[Any]:
        """The stroke on every leg.

        Returns:
            The rule.
        """
        return AdiabatRule(strokes, tolerance, correct_above, predictor)
