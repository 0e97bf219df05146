"""Processes made of strokes, one after the other, on the legs of a path of domains."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.callbacks.settings import Control, Motion
from thermo_pl.errors import InfeasibleTarget, require
from thermo_pl.module import FreeEnergyModel
from thermo_pl.path.columns import Row
from thermo_pl.process.strokes import RETURN, Point, Stroke, motion

LOST = 0.5
"""Relative miss of a held C at which the constraint counts as lost."""
FACTOR = 2.0
"""By how much λ and γ may grow or shrink in one step at most: longer Newton steps overshoot."""


class StrokeProcess(QuasiStatic):
    """Carries a model through strokes; a subclass says which, and what follows the last one.

    Where a stroke moves the data, it takes them along the next leg. Its first macro-step then
    settles on the particles of that leg: the domain is the same, and nothing moves. What the stroke
    holds or drives starts from the values that the control probe of the leg has there.
    """

    steers_distortion = True

    def __init__(
        self,
        strokes: list[Stroke],
        tolerance: float = 1e-3,
        parts: int = 1,
        newton: bool = False,
        **settings: Any,
    ) -> None:
        """Keep the settings.

        Args:
            strokes: in order.
            tolerance: at which the corrector is content: miss of C relative to C, and of S
                relative to γC, on the control probe.
            parts: parts into which each relaxation is cut; a correction follows each of them.
            newton: solve the response anew for each correction, and take a Newton step in θ first:
                for systems without sampling noise, where it leads to the last digits.
            **settings: of any :class:`QuasiStatic` process.
        """
        super().__init__(**settings)
        require(len(strokes) > 0, "strokes", strokes, "one or more strokes")
        names = [stroke.name for stroke in strokes]
        require(len(set(names)) == len(names), "strokes", names, "names that differ")
        require(0 < tolerance < 1, "tolerance", tolerance, "a number between 0 and 1")
        require(parts > 0, "parts", parts, "a whole number > 0")
        self.strokes = strokes
        self.tolerance = tolerance
        self.parts = parts
        self.newton = newton

    def check(self, model: FreeEnergyModel, data: Any) -> None:
        """Refuse strokes that do not fit the data or the model.

        Args:
            model: the model.
            data: the DataModule.
        """
        moving = [stroke.name for stroke in self.strokes if stroke.moves]
        allowed = f"{data.n_legs}, one for each leg of the data"
        fits = len(moving) == data.n_legs or not moving
        require(fits, "strokes", f"{len(moving)} that move the data", allowed)
        allowed = "a Classifier and a Decoder: their losses are what strokes hold and exchange"
        both = model.classifier is not None and model.decoder is not None
        require(both, "model", "a model without one of them", allowed)
        for name in ("lam", "gam"):
            require(model.start[name] > 0, name, model.start[name], "a number > 0")
        for stroke in self.strokes:
            self._check_moves(stroke, data)

    def plan(self, model: FreeEnergyModel, data: Any) -> Motion | None:
        """The next step of the stroke under way, or what comes after it.

        Args:
            model: the model, at (λ, γ).
            data: the DataModule; moved on to its next leg at the end of a stroke.

        Returns:
            The motion, or None at the end of the process.
        """
        memory = self.state.memory
        if not memory:
            memory |= {"index": 0, "u": 0.0, "anchor": {}}
            memory["home"] = {
                "lam": float(model.lam),
                "gam": float(model.gam),
                "C": self.state.control,
            }
            self.state.stroke = self.strokes[0].name
        if memory["index"] == len(self.strokes):
            return None
        self._check_held()
        if memory["u"] >= 1:
            if memory["index"] + 1 == len(self.strokes):
                return self.finish(model, data)
            onward = self._begin(data, memory["index"] + 1)
            if onward is not None:
                return onward
        if not memory["anchor"]:
            self._drop_anchor(model)
        return self._advance(model, data)

    def finish(self, model: FreeEnergyModel, data: Any) -> Motion | None:
        """What follows the last stroke.

        Args:
            model: the model.
            data: the DataModule.

        Returns:
            A motion, or None at the end of the process, the default.
        """
        return None

    def length(self, data: Any) -> int:
        """Macro-steps of all strokes, and those that settle on a new leg.

        Args:
            data: not used.

        Returns:
            The count.
        """
        settling = max(sum(stroke.moves for stroke in self.strokes) - 1, 0)
        return sum(stroke.steps for stroke in self.strokes) + settling

    def place(self, model: FreeEnergyModel, data: Any) -> Row:
        """Strokes done and the share of the present one, and the clock.

        Args:
            model: the model.
            data: not used.

        Returns:
            ``phase`` and ``time``.
        """
        memory, rows = self.state.memory, self.state.rows
        if not memory:
            return {"phase": 0.0, "time": 0.0}
        phase = memory["index"] + memory["u"]
        if not rows or rows[-1]["cycle"] != self.state.cycle:
            return {"phase": phase, "time": 0.0}
        passed = phase - rows[-1]["phase"]
        if passed and self.present.clock is not None:
            passed = abs(float(model.lam) - rows[-1]["lambda"]) / self.present.clock
        return {"phase": phase, "time": rows[-1]["time"] + passed}

    def correction(self, model: FreeEnergyModel, control: Control) -> Motion:
        """Take out what relaxation left of the quantities that the stroke holds or drives.

        Args:
            model: the model.
            control: what the control probe says after relaxation.

        Returns:
            A step in λ and γ.
        """
        if not self.state.memory["anchor"]:
            return Motion()
        point = self._point(model, control)
        targets = self._targets()
        misses = {name: abs(point.value(name) - value) for name, value in targets.items()}
        scales = {"C": control.C, "S": point.gam * control.C, "lam": point.lam, "gam": point.gam}
        if all(miss <= self.tolerance * scales[name] for name, miss in misses.items()):
            return Motion()
        return self._bounded(model, motion(point, targets, 0.0))

    @property
    def present(self) -> Stroke:
        """The stroke under way."""
        index: int = self.state.memory["index"]
        return self.strokes[index]

    def _begin(self, data: Any, index: int, to: tuple[int, float] | None = None) -> Motion | None:
        # take up a stroke; where it goes on to another leg, with a step that settles there
        memory, stroke = self.state.memory, self.strokes[index]
        memory |= {"index": index, "u": 0.0, "anchor": {}}
        self.state.stroke = stroke.name
        self.state.target = self.state.control_target = math.nan
        if to is None and stroke.moves and data.t >= 1:
            to = data.leg + 1, 0.0
        if to is None or to == (data.leg, data.t):
            return None
        data.move_to(*to)
        return Motion()

    def _drop_anchor(self, model: FreeEnergyModel) -> None:
        # what the stroke starts from
        point = self._point(model, self._measured_control())
        memory = self.state.memory
        memory["anchor"] = {name: point.value(name) for name in ("lam", "gam", "C", "S")}
        memory["measured_C"] = float(self.last["C"])

    def _advance(self, model: FreeEnergyModel, data: Any) -> Motion:
        memory, stroke = self.state.memory, self.present
        done = round(memory["u"] * stroke.steps) + 1
        memory["u"] = done / stroke.steps
        if "C" in stroke.changes:
            gone = self._targets()["C"] - memory["anchor"]["C"]
            self.state.target = memory["measured_C"] + gone
            self.state.control_target = memory["anchor"]["C"] + gone
        dt = memory["u"] - data.t if stroke.moves else 0.0
        point = self._point(model, self._measured_control())
        step = self._bounded(model, motion(point, self._targets(), dt))
        return step._replace(t=dt)

    def _targets(self) -> dict[str, float]:
        # what the two quantities of the stroke shall be at u
        memory = self.state.memory
        anchor, u = memory["anchor"], memory["u"]
        targets = {}
        for name, change in self.present.changes.items():
            whole = memory["home"][name] - anchor[name] if change == RETURN else float(change)
            targets[name] = anchor[name] + u * whole
            if name != "S" and targets[name] <= 0:
                raise InfeasibleTarget(
                    f"stroke {self.present.name}: got {name} = {targets[name]:.4g} at {u:.0%} of "
                    "the stroke; allowed: numbers > 0; choose a smaller change or start elsewhere"
                )
        return targets

    def _point(self, model: FreeEnergyModel, control: Control) -> Point:
        slopes = self.state.slopes
        if slopes is None:
            raise RuntimeError("a step was asked for before the first response")
        both = np.array([slopes.D, slopes.C])
        return Point(float(model.lam), float(model.gam), control.D, control.C, both)

    def _measured_control(self) -> Control:
        return Control(self.state.control, self.state.control_distortion)

    def _bounded(self, model: FreeEnergyModel, step: tuple[float, float]) -> Motion:
        before = float(model.lam), float(model.gam)
        after = (
            min(max(x + dx, x / FACTOR), x * FACTOR) for x, dx in zip(before, step, strict=True)
        )
        return Motion(*(new - old for new, old in zip(after, before, strict=True)))

    def _check_held(self) -> None:
        miss = self.state.control / self.state.control_target - 1
        if self.predictor and abs(miss) > LOST:
            raise InfeasibleTarget(
                f"stroke {self.state.stroke}: got C = {self.last['C']:.4g} nats at lambda = "
                f"{self.last['lambda']:.4g}, gamma = {self.last['gamma']:.4g}, t = "
                f"{self.last['t']:.4g}, where C* = {self.state.target:.4g}; allowed: within "
                f"{LOST:.0%} of C*, which may be out of reach here: choose other strokes, more "
                "steps, or more relaxation"
            )

    def _check_moves(self, stroke: Stroke, data: Any) -> None:
        still = not stroke.moves or data.static
        if still and set(stroke.changes) == {"gam", "S"} and not any(stroke.changes.values()):
            require(
                False,
                f"stroke {stroke.name}",
                "an adiabat on data that do not move",
                "data that move: at a fixed domain gamma and lambda D + gamma C constant leave no "
                "motion of lambda; give two waypoints or more, and moves: true",
            )
