"""Cycles of strokes as a callback; see :mod:`thermo_pl.process.cycle_rule`."""

from __future__ import annotations

from typing import Any

from thermo_pl.callbacks.stroke_process import StrokeProcess
from thermo_pl.process.cycle_rule import CycleRule
from thermo_pl.process.stroke_rule import StrokeRule
from thermo_pl.process.strokes import Stroke


class Cycle(StrokeProcess):
    """Carries a model around a cycle of strokes, until it closes.

    The data come back to their first domain by themselves; λ and γ must be brought back. Newton's
    method finds the changes of two strokes, those with ``adjust``, over several passes: see
    :class:`~thermo_pl.process.cycle_rule.CycleRule`. path.csv has all passes. The last one is the
    result, and cycle.json has its ledger.
    """

    def __init__(
        self,
        strokes: list[Stroke],
        closure: tuple[float, float] = (0.01, 0.03),
        passes: tuple[int, int] = (1, 6),
        spread: bool = False,
        **settings: Any,
    ) -> None:
        """Lay out the strokes, and say how they are closed.

        Args:
            strokes: in order; two of them have ``adjust``, or none.
            closure: how near λ and γ must come to where they began, as shares of their ranges
                over the cycle. Without adjustable changes nothing is held to it.
            passes: passes at least and at most. Before the least is done nothing is adjusted:
                these passes run the model in.
            spread: spread the steps of all strokes anew after each pass, so that together they
                give off least.
            **settings: of any :class:`StrokeProcess`.
        """
        self._closure = closure[0], closure[1]
        self._passes = passes[0], passes[1]
        drives = settings.get("drives", 1) if settings.get("protocol") == "shortcut" else 0
        self._spread = 2 * drives + 1 if spread else 0
        super().__init__(strokes, **settings)

    def make_rule(
        self, strokes: tuple[Stroke, ...], tolerance: float, correct_above: float, predictor: bool
    ) -> StrokeRule[Any]:
        """The rule that closes the cycle.

        Returns:
            The rule.
        """
        settings = tolerance, correct_above, predictor
        return CycleRule(strokes, *settings, False, self._closure, self._passes, self._spread)
