"""The Carnot cycle of representation learning.

Four domains A → B → C → D → A, two hot and two cold, C standing for the temperature:

1. ``hot``: iso-classification at C_h, A → B;
2. ``cooling``: adiabat, B → C;
3. ``cold``: iso-classification at C_c, C → D;
4. ``heating``: adiabat, D → A.

On the iso strokes λ̇ = k; the two k are what closes the cycle.
"""

from __future__ import annotations

from typing import Literal

from thermo_pl.callbacks.cycle import Cycle
from thermo_pl.callbacks.settings import Equilibration, Probes
from thermo_pl.callbacks.transitions import OnTransition
from thermo_pl.errors import require
from thermo_pl.response import ResponseSettings
from thermo_pl.strokes import RETURN, Stroke


class CarnotCycle(Cycle):
    """Two iso-classifications joined by two adiabats; the data take four legs, back to the start.

    C_h is C at the equilibrium that the cycle starts from, C_c what the first adiabat leads to. The
    engine runs forward, W > 0, where γ rises on the hot stroke.
    """

    def __init__(
        self,
        k_hot: float,
        k_cold: float,
        steps: int = 10,
        closing: Literal["shooting", "one_pass"] = "shooting",
        clock: float = 1.0,
        closure: tuple[float, float] = (0.01, 0.03),
        passes: tuple[int, int] = (1, 6),
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
            k_hot: change of λ on the hot stroke; with ``shooting`` a first guess.
            k_cold: change of λ on the cold stroke; likewise, and not used with ``one_pass``.
            steps: macro-steps of each stroke.
            closing: ``shooting`` finds both k so that λ and γ return, over several passes;
                ``one_pass`` ends the cold stroke where γ returns and the last one where λ returns:
                then the S of the last stroke is the closure defect.
            clock: |λ̇| on the adiabats.
            closure: how near λ and γ must come to where they began, as a share of their ranges.
            passes: passes at least and at most; the first ones, up to the least, run the model in.
            tolerance: at which the corrector is content: miss of C relative to C, and of S
                relative to γC, on the control probe.
            parts: parts into which each relaxation is cut; a correction follows each of them.
            newton: solve the response anew for each correction, and take a Newton step in θ first:
                for systems without sampling noise, where it leads to the last digits.
            equilibration: how the run is brought to equilibrium first.
            probes: the solving, the control and the measuring probe.
            response: how the linear response is solved.
            predictor: move θ by the response before each relaxation.
            on_transition: ``mark``, ``continue`` or ``stop``; see :class:`QuasiStatic`.
        """
        allowed = "shooting, one_pass"
        require(closing in {"shooting", "one_pass"}, "closing", closing, allowed)
        shoots = closing == "shooting"
        adjust: Literal["lam"] | None = "lam" if shoots else None
        cooling = Stroke("cooling", steps, gam=0.0, S=0.0, clock=clock)
        strokes = [
            Stroke("hot", steps, lam=k_hot, C=0.0, adjust=adjust),
            cooling,
            Stroke("cold", steps, lam=k_cold, C=0.0, adjust=adjust)
            if shoots
            else Stroke("cold", steps, gam=RETURN, C=0.0),
            Stroke("heating", steps, gam=0.0, S=0.0, clock=clock)
            if shoots
            else Stroke("heating", steps, lam=RETURN, gam=0.0),
        ]
        settings = equilibration, probes, response, predictor, on_transition
        super().__init__(strokes, closure, passes, tolerance, parts, newton, *settings)
