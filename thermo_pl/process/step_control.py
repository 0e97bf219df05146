"""How long a macro-step is: controllers that propose a step and judge it once it is predicted.

The interface is that of diffrax's step-size controllers. A controller is constant; what it
remembers between steps is handed to it and back, and lies in checkpoints. A step is measured in s,
the share of a leg that lies behind. s goes from 0 to 1 in the direction of the process.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from thermo_pl.errors import DataError, ProcessStopped, require
from thermo_pl.files import read_csv
from thermo_pl.path.columns import FORWARD

NAN = float("nan")
ROUNDING = 1e-6
"""How far beside a node of the grid a place may lie, in steps, and still count as there."""
SAFETY = 0.9
"""Share of the step that would just meet the tolerance."""
INTEGRAL, PROPORTIONAL = 0.7, 0.4
"""Gains of the PI controller over the order of the error, as in Hairer & Wanner 1996, IV.2."""
LEAST_FACTOR, LARGEST_FACTOR = 0.2, 3.0
"""By how much a step may shrink or grow at once."""


class StepTooSmall(ProcessStopped):
    """Even the smallest step allowed misses the target by more than the tolerance."""


class Place(NamedTuple):
    """Where a process stands on its leg.

    Attributes:
        leg: the leg.
        s: share of the leg that lies behind.
        speed: thermodynamic length per unit of s, nats^½.
        back: whether the process goes from t = 1 to t = 0.
    """

    leg: int
    s: float
    speed: float
    back: bool = False


class Pace(NamedTuple):
    """What a controller remembers from one try to the next.

    Attributes:
        size: the size in s to try next; nan before the first try.
        error: error of the last step that was accepted; nan before.
    """

    size: float = NAN
    error: float = NAN


class StepControl(ABC):
    """Proposes the next step from the last one, and accepts or rejects it once it is predicted."""

    @abstractmethod
    def propose(self, place: Place, pace: Pace) -> float:
        """Where the next try goes.

        Args:
            place: where the process stands, with s < 1.
            pace: what is remembered.

        Returns:
            The next s, above that of the place and at most 1.
        """

    def judge(self, size: float, error: float, pace: Pace) -> tuple[bool, Pace]:
        """Take or refuse a step by the predictor's own error.

        Args:
            size: of the try, in s.
            error: |C/C* - 1| after the predictor and before relaxation, on the control probe.
            pace: what is remembered.

        Returns:
            Whether it is accepted, and what to remember. By default every step is.
        """
        return True, pace

    @abstractmethod
    def remaining(self, place: Place, pace: Pace) -> int:
        """Macro-steps to the end of the leg, as far as is known.

        Args:
            place: where the process stands.
            pace: what is remembered.

        Returns:
            The count.
        """


class ConstantSteps(StepControl):
    """Equal steps in t.

    Example:
        >>> import thermo_pl as tp
        >>> from thermo_pl.process import Pace, Place
        >>> tp.ConstantSteps(4).propose(Place(leg=0, s=0.5, speed=1.0), Pace())
        0.75
    """

    def __init__(self, steps: int = 40) -> None:
        """Cut each leg into equal parts.

        Args:
            steps: macro-steps on one leg.
        """
        require(steps > 0, "steps", steps, "a whole number > 0")
        self.steps = steps

    def propose(self, place: Place, pace: Pace) -> float:
        """The next node of a regular grid.

        Returns:
            The next s.
        """
        return (self._behind(place) + 1) / self.steps

    def remaining(self, place: Place, pace: Pace) -> int:
        """Nodes of the grid that lie ahead.

        Returns:
            The count.
        """
        return self.steps - self._behind(place)

    def _behind(self, place: Place) -> int:
        # a place may lie between two nodes, where a step was taken back and tried shorter
        return math.floor(place.s * self.steps + ROUNDING)


class AdaptiveSteps(StepControl):
    """Steps as long as the predictor's own error allows, by a PI controller.

    The error |C/C* - 1| after the predictor is of second order in the step, so
    h' = h · 0.9 (tol/e)^(0.7/2) (e_last/tol)^(0.4/2), within a factor of 0.2 and 3; after a
    rejection h' = h · 0.9 (tol/e)^(1/2). A rejected try costs a forward pass, no gradient.

    Example:
        >>> import thermo_pl as tp
        >>> from thermo_pl.process import Pace
        >>> steps = tp.AdaptiveSteps(tolerance=0.02)
        >>> kept, pace = steps.judge(size=0.1, error=0.08, pace=Pace())
        >>> kept, round(pace.size, 6)  # 0.1 · 0.9 (0.02/0.08)^(1/2)
        (False, 0.045)
    """

    def __init__(
        self, tolerance: float = 0.2, min_step: float = 1e-3, max_step: float = 0.1
    ) -> None:
        """Say what error is allowed, and how long a step may be.

        Args:
            tolerance: |C/C* - 1| after the predictor, at most. Relaxation and correction follow,
                and bring C back.
            min_step: the smallest step in t. Where even it misses the tolerance, the run ends with
                exit code 3. Only the last step of a leg can be smaller.
            max_step: the largest step in t, and the first one tried.
        """
        require(0 < tolerance < 1, "tolerance", tolerance, "a number between 0 and 1")
        require(0 < max_step <= 1, "max_step", max_step, "a number > 0, at most 1")
        ok = 0 < min_step <= max_step
        require(ok, "min_step", min_step, f"a number > 0, at most max_step = {max_step:g}")
        self.tolerance = tolerance
        self.min_step = min_step
        self.max_step = max_step

    def propose(self, place: Place, pace: Pace) -> float:
        """The remembered size; the rest of the leg is cut into equal parts.

        Returns:
            The next s.
        """
        size, rest = self._size(pace), 1 - place.s
        if rest <= size:
            return 1.0
        # two equal steps to the end in place of a long and a tiny one
        return place.s + (rest / 2 if rest < 2 * size else size)

    def judge(self, size: float, error: float, pace: Pace) -> tuple[bool, Pace]:
        """Take a step that is within the tolerance; an error of nan is not.

        Returns:
            Whether it is accepted, and what to remember.

        Raises:
            StepTooSmall: if a smallest step is refused.
        """
        if not error <= self.tolerance:
            if size <= self.min_step:
                raise StepTooSmall(
                    f"steps: got |C/C*-1| = {error:.3g} after a step of {size:.3g} in t; allowed: "
                    f"{self.tolerance:g} with steps of at least {self.min_step:g}; lower min_step, "
                    "raise the tolerance, or look for a transition here"
                )
            factor = SAFETY * (self.tolerance / error) ** 0.5 if error < math.inf else LEAST_FACTOR
            return False, Pace(self._bounded(size * max(factor, LEAST_FACTOR)), pace.error)
        # below a thousandth of the tolerance an error is as good as none
        ratio = max(error / self.tolerance, 1e-3)
        before = max(pace.error / self.tolerance, 1e-3) if math.isfinite(pace.error) else 1.0
        factor = SAFETY * ratio ** (-INTEGRAL / 2) * before ** (PROPORTIONAL / 2)
        following = size * min(max(factor, LEAST_FACTOR), LARGEST_FACTOR)
        if size < self._size(pace):  # cut short by the end of the leg, not by its error
            following = max(following, self._size(pace))
        return True, Pace(self._bounded(following), error)

    def remaining(self, place: Place, pace: Pace) -> int:
        """Macro-steps to the end of the leg, if all were as long as the next one.

        Returns:
            The count.
        """
        return math.ceil((1 - place.s) / self._size(pace))

    def _size(self, pace: Pace) -> float:
        return pace.size if math.isfinite(pace.size) else self.max_step

    def _bounded(self, size: float) -> float:
        return min(max(size, self.min_step), self.max_step)


class EqualLengthSteps(StepControl):
    """Steps of equal thermodynamic length, which dissipate least: about L²/2N nats in all.

    With a ``length`` the metric at the start of each step says how far it goes. With a ``count``
    the steps are laid out on an earlier run of the same process, its pilot: it says where on the
    leg how much of the length lies.
    """

    def __init__(
        self,
        length: float | None = None,
        count: int | None = None,
        pilot: str | Path | None = None,
    ) -> None:
        """Say how long the steps are, or how many there are on a pilot.

        Args:
            length: of each step, in nats^½.
            count: steps on each leg; asks for a pilot.
            pilot: path.csv of the earlier run.

        Raises:
            DataError: if the pilot has no lengths.
        """
        allowed = "either length, or count and pilot"
        given = {"length": length, "count": count, "pilot": pilot}
        present = {name for name, value in given.items() if value is not None}
        require(present in ({"length"}, {"count", "pilot"}), "steps", sorted(present), allowed)
        require(length is None or 0 < length < math.inf, "length", length, "a number > 0")
        require(count is None or count > 0, "count", count, "a whole number > 0")
        self.step_length = length
        self.steps = count
        self.pilot = {} if pilot is None else lengths_of_legs(read_csv(pilot))
        if pilot is not None and not self.pilot:
            raise DataError(
                f"{pilot}: got a path without lengths; allowed: path.csv of an iso-classification"
            )

    def propose(self, place: Place, pace: Pace) -> float:
        """One length further on.

        Returns:
            The next s.

        Raises:
            DataError: if the pilot does not have this leg.
        """
        if self.step_length is not None:
            return place.s + (1 - place.s) / self.remaining(place, pace)
        s, lengths = self._layout(place)
        left = self.remaining(place, pace) - 1
        if not left:
            return 1.0
        return float(np.interp(lengths[-1] * (1 - left / (self.steps or 1)), lengths, s))

    def remaining(self, place: Place, pace: Pace) -> int:
        """Steps to the end of the leg, at the speed of the moment or by the pilot.

        Returns:
            The count, at least 1 before the end.
        """
        if self.step_length is not None:
            known = math.isfinite(place.speed)
            return max(round((1 - place.s) * place.speed / self.step_length), 1) if known else 1
        s, lengths = self._layout(place)
        behind = float(np.interp(place.s, s, lengths)) / lengths[-1]
        return max(round((1 - behind) * (self.steps or 1)), 1)

    def _layout(self, place: Place) -> tuple[list[float], list[float]]:
        # where on the leg how much of its length lies behind, in the direction of the process
        if place.leg not in self.pilot:
            raise DataError(f"pilot: got a path without leg {place.leg}; allowed: one of all legs")
        s, lengths = self.pilot[place.leg]
        if place.back:
            return [1 - x for x in s[::-1]], [lengths[-1] - x for x in lengths[::-1]]
        return s, lengths


def lengths_of_legs(rows: list[dict[str, Any]]) -> dict[int, tuple[list[float], list[float]]]:
    """Where on each leg how much of its length lies behind.

    Args:
        rows: a path.

    Returns:
        For each leg values of s and the length up to there, both from 0; legs without any length
        are left out.
    """
    legs: dict[int, tuple[list[float], list[float]]] = {}
    for row in rows:
        if row["stroke"] == FORWARD and row["length"]:
            s, lengths = legs.setdefault(row["leg"], ([0.0], [0.0]))
            s.append(row["t"])
            lengths.append(lengths[-1] + row["length"])
    return legs
