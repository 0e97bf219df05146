"""The Carnot cycle of representation learning.

Four domains A → B → C → D → A, two hot and two cold, C standing for the temperature:

1. ``hot``: iso-classification at C_h, A → B;
2. ``cooling``: adiabat, B → C;
3. ``cold``: iso-classification at C_c, C → D;
4. ``heating``: adiabat, D → A.

On the iso strokes λ̇ = k; the two k are what closes the cycle.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from thermo_pl.callbacks.cycle import Cycle
from thermo_pl.errors import require
from thermo_pl.process.strokes import RETURN, Stroke


class CarnotCycle(Cycle):
    """Two iso-classifications joined by two adiabats; the data take four legs, back to the start.

    C_h is C at the equilibrium that the cycle starts from, C_c what the first adiabat leads to. The
    engine runs forward, W > 0, where γ rises on the hot stroke.

    Example:
        >>> import thermo_pl as tp
        >>> process = tp.CarnotCycle(k_hot=0.5, k_cold=-0.5)
        >>> {stroke.name: stroke.changes for stroke in process.rule.strokes[:2]}
        {'hot': {'lam': 0.5, 'C': 0.0}, 'cooling': {'gam': 0.0, 'S': 0.0}}
    """

    def __init__(
        self,
        k_hot: float,
        k_cold: float,
        steps: int | list[int] = 10,
        closing: Literal["shooting", "one_pass"] = "shooting",
        clock: float = 1.0,
        eased: dict[str, int] | None = None,
        **settings: Any,
    ) -> None:
        """Lay out the four strokes.

        Args:
            k_hot: change of λ on the hot stroke; with ``shooting`` a first guess.
            k_cold: change of λ on the cold stroke; likewise, and not used with ``one_pass``.
            steps: macro-steps of each stroke, or one number for each of the four.
            closing: ``shooting`` finds both k so that λ and γ return, over several passes;
                ``one_pass`` ends the cold stroke where γ returns and the last one where λ returns:
                then the S of the last stroke is the closure defect.
            clock: |λ̇| on the adiabats.
            eased: how many short steps a stroke begins with, by its name: ``ease`` of
                :class:`~thermo_pl.process.strokes.Stroke`.
            **settings: of any :class:`Cycle`.
        """
        allowed = "shooting, one_pass"
        require(closing in {"shooting", "one_pass"}, "closing", closing, allowed)
        each = [steps] * 4 if isinstance(steps, int) else steps
        require(len(each) == 4, "steps", each, "a whole number, or four of them")
        shoots = closing == "shooting"
        adjust: Literal["lam"] | None = "lam" if shoots else None
        cooling = Stroke("cooling", each[1], gam=0.0, S=0.0, clock=clock)
        strokes = [
            Stroke("hot", each[0], lam=k_hot, C=0.0, adjust=adjust),
            cooling,
            Stroke("cold", each[2], lam=k_cold, C=0.0, adjust=adjust)
            if shoots
            else Stroke("cold", each[2], gam=RETURN, C=0.0),
            Stroke("heating", each[3], gam=0.0, S=0.0, clock=clock)
            if shoots
            else Stroke("heating", each[3], lam=RETURN, gam=0.0),
        ]
        names = [stroke.name for stroke in strokes]
        eased = eased or {}
        require(set(eased) <= set(names), "eased", list(eased), f"some of {', '.join(names)}")
        strokes = [replace(stroke, ease=eased.get(stroke.name, 0)) for stroke in strokes]
        super().__init__(strokes, **settings)
