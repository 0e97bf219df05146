"""Iso-classification: the classification loss stays constant while the data move.

The slides' isothermal process. Three requirements at once: (1) dC/dt = 0, (2) stationarity
∇J = 0, (3) λ̇ = k. With the linear response of (2), (1) gives

    γ̇ = -(k C_λ + ṫ C_t) / C_γ.
"""

from __future__ import annotations

import math
from typing import Any

from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.callbacks.settings import Control, Equilibration, Motion, Probes
from thermo_pl.callbacks.step_control import ConstantSteps, Pace, Place, StepControl
from thermo_pl.callbacks.transitions import OnTransition
from thermo_pl.errors import InfeasibleTarget, require
from thermo_pl.module import FreeEnergyModel
from thermo_pl.path.columns import BACK, FORWARD
from thermo_pl.response.linear import ResponseSettings
from thermo_pl.response.metric import length

PASSES = (FORWARD, BACK)
"""The strokes on which C is held."""
CORRECTED = 1e-3
"""|C/C* - 1| on the control probe at which the corrector is content."""
LOST = 0.5
"""|C/C* - 1| on the control probe at which the constraint counts as lost."""


class IsoClassification(QuasiStatic):
    """Moves the domain from t = 0 to 1 on every leg with C held at C*.

    C* is C at the equilibrium of (λ0, γ0, t = 0), or a value of your own: then γ first brings C
    there at t = 0, as a stroke called ``approach``.
    """

    def __init__(
        self,
        k: float,
        steps: int | StepControl = 40,
        c_target: float | None = None,
        gamma_range: tuple[float, float] = (1e-2, 1e4),
        approach_tolerance: float = 0.005,
        approach_steps: int = 40,
        restoring: bool = True,
        equilibration: Equilibration | None = None,
        probes: Probes | None = None,
        response: ResponseSettings | None = None,
        predictor: bool = True,
        on_transition: OnTransition = "mark",
        there_and_back: bool = False,
    ) -> None:
        """Keep the settings.

        Args:
            k: λ̇, the change of λ on one leg (t runs from 0 to 1).
            steps: macro-steps on one leg, or how they are chosen: :class:`AdaptiveSteps`,
                :class:`EqualLengthSteps`.
            c_target: C* in nats; C at the first equilibrium if not given.
            gamma_range: where γ may go; a C* that asks for more is infeasible.
            approach_tolerance: |C/C* - 1| at which the approach to a given C* ends.
            approach_steps: macro-steps of the approach at most.
            restoring: steer γ by C* - C as well, in each motion and once after each relaxation.
                Off, errors add up: for comparison.
            equilibration: how the run is brought to equilibrium first.
            probes: the solving, the control and the measuring probe.
            response: how the linear response is solved.
            predictor: move θ by the response before each relaxation.
            on_transition: ``mark``, ``continue`` or ``stop``; see :class:`QuasiStatic`.
            there_and_back: go back to t = 0 and λ0 afterwards, as a stroke of its own; what differs
                from the way there is hysteresis.
        """
        super().__init__(equilibration, probes, response, predictor, on_transition)
        require(math.isfinite(k), "k", k, "a finite number")
        ok = c_target is None or 0 < c_target < math.inf
        require(ok, "c_target", c_target, "a finite number > 0 (nats), or null")
        low, high = gamma_range
        require(0 < low < high, "gamma_range", list(gamma_range), "two numbers, 0 < low < high")
        ok = approach_tolerance > 0
        require(ok, "approach_tolerance", approach_tolerance, "a number > 0")
        require(approach_steps > 0, "approach_steps", approach_steps, "a whole number > 0")
        self.k = k
        self.steps = ConstantSteps(steps) if isinstance(steps, int) else steps
        self.c_target = c_target
        self.gamma_range = (low, high)
        self.approach_tolerance = approach_tolerance
        self.approach_steps = approach_steps
        self.restoring = restoring
        self.there_and_back = there_and_back

    def check(self, model: FreeEnergyModel, data: Any) -> None:
        """Refuse a path on which λ would turn negative, or a γ that cannot hold C.

        Args:
            model: the model.
            data: the DataModule.
        """
        allowed = "a Classifier: its loss is what is held"
        require(model.classifier is not None, "classifier", None, allowed)
        lam, gam = model.start["lam"], model.start["gam"]
        least = -lam / data.n_legs
        require(self.k >= least, "k", self.k, f"at least {least:g}, so that λ stays ≥ 0")
        require(gam > 0, "gam", gam, "a number > 0, as γ holds C constant")

    def plan(self, model: FreeEnergyModel, data: Any) -> Motion | None:
        """Requirements (1) and (3), and the restoring term towards C*.

        Args:
            model: the model, at (λ, γ).
            data: the DataModule, at (leg, t); moved on to its next leg at t = 1.

        Returns:
            The motion, or None at the end of the last leg.
        """
        if self.state.stroke == "equilibration":
            self._set_target()
        if self._approaching():
            self.state.stroke = "approach"
            return Motion(gam=self._gamma_step(model, 0.0, 0.0, self.state.control))
        if self.state.stroke in PASSES:
            self._check_held()
        else:
            self.state.stroke = FORWARD
        if self._place(data).s >= 1:
            onward = data.leg + (-1 if self._back else 1)
            if 0 <= onward < data.n_legs:
                data.move_to(onward, 1.0 if self._back else 0.0)
                return Motion()  # the same domain, other particles: settle there first
            if self._back or not self.there_and_back:
                return None
            self.state.stroke = BACK
        s = self.steps.propose(self._place(data), Pace(*self.state.pace))
        dt = (1 - s if self._back else s) - data.t
        dlam = self.k * dt
        classification = self.state.control if self.restoring else self.state.control_target
        return Motion(dlam, self._gamma_step(model, dlam, dt, classification), dt)

    def length(self, data: Any) -> int:
        """Macro-steps on all legs, there and back, and one to settle on each leg after the first.

        Args:
            data: the DataModule.

        Returns:
            The count; an approach comes on top.
        """
        taken = sum(row["stroke"] in PASSES for row in self.state.rows)
        place, pace = self._place(data), Pace(*self.state.pace)
        here = self.steps.remaining(place, pace) if place.s < 1 else 0
        leg = self.steps.remaining(place._replace(s=0.0), pace) + 1
        later = (data.leg if self._back else data.n_legs - 1 - data.leg) * leg
        if self.there_and_back and not self._back:
            later += data.n_legs * leg - 1
        to_come: int = taken + here + later
        return to_come

    def accept(self, motion: Motion, miss: float) -> bool:
        """Let the step control judge a motion of the data.

        Args:
            motion: the motion.
            miss: |C/C* - 1| on the control probe after the predictor.

        Returns:
            Whether it is kept.
        """
        if not motion.t:
            return True
        pace = Pace(*self.state.pace)
        accepted, pace = self.steps.judge(abs(motion.t), miss, pace)
        self.state.pace = (pace.size, pace.error)
        return accepted

    def correction(self, model: FreeEnergyModel, control: Control) -> Motion:
        """Take out what relaxation left of C - C*.

        Args:
            model: the model.
            control: what the control probe says after relaxation.

        Returns:
            A step in γ; none without the restoring term.
        """
        close = abs(control.C / self.state.control_target - 1) <= CORRECTED
        if not self.restoring or close:
            return Motion()
        return Motion(gam=self._gamma_step(model, 0.0, 0.0, control.C))

    @property
    def _back(self) -> bool:
        return self.state.stroke == BACK

    def _set_target(self) -> None:
        self.state.target = self.last["C"] if self.c_target is None else self.c_target
        self.state.control_target = self.state.control if self.c_target is None else self.c_target
        self.last["C_target"] = self.state.target

    def _check_held(self) -> None:
        # with a part switched off, for comparison, C may go where it goes
        miss = self.state.control / self.state.control_target - 1
        if self.restoring and self.predictor and abs(miss) > LOST:
            raise InfeasibleTarget(
                f"C: got {self.last['C']:.4g} nats at t = {self.last['t']:.4g}, gamma = "
                f"{self.last['gamma']:.4g}, where C* = {self.state.target:.4g}; allowed: within "
                f"{LOST:.0%} of C*, which may be out of reach here: choose another c_target, more "
                "steps, or more relaxation"
            )

    def _approaching(self) -> bool:
        if self.state.stroke in PASSES:
            return False
        miss = self.state.control / self.state.control_target - 1
        taken = sum(row["stroke"] == "approach" for row in self.state.rows)
        if abs(miss) <= self.approach_tolerance:
            return False
        if taken < self.approach_steps:
            return True
        raise InfeasibleTarget(
            f"c_target: got {self.state.target:.4g} nats, and C = {self.last['C']:.4g} at gamma = "
            f"{self.last['gamma']:.4g} after {taken} steps towards it; allowed: a C that these "
            "data and networks can reach"
        )

    def _place(self, data: Any) -> Place:
        speed = math.nan
        if self.state.slopes is not None and self.state.metric is not None:
            loss = self.state.slopes.C
            rate = -(loss.lam * self.k + loss.t) / loss.gam if loss.gam else 0.0
            speed = length((self.k, rate, 1.0), self.state.metric)
        return Place(data.leg, 1 - data.t if self._back else data.t, speed, self._back)

    def _gamma_step(
        self, model: FreeEnergyModel, dlam: float, dt: float, classification: float
    ) -> float:
        # The step in γ that brings C to C* in the linear response, within a factor of two of where
        # the macro-step began: C falls with γ about as 1/γ, so a long Newton step overshoots, below
        # zero even.
        if self.state.slopes is None:
            raise RuntimeError("a step was asked for before the first response")
        by_lam, by_gam, by_t = self.state.slopes.C
        gam, (low, high) = float(model.gam), self.gamma_range
        miss = self.state.control_target - classification
        step = (miss - by_lam * dlam - by_t * dt) / by_gam if by_gam else math.copysign(gam, -miss)
        before = float(self.last["gamma"])
        step = min(max(gam + step, before / 2), 2 * before) - gam
        if not low <= gam + step <= high:
            way = (
                "C* lies below what this model can reach" if step > 0 else "C* needs no classifier"
            )
            raise InfeasibleTarget(
                f"gamma: got {gam + step:.4g} to hold C* = {self.state.target:.4g} nats where C = "
                f"{classification:.4g}; allowed: {low:g} to {high:g}; {way} on this domain: "
                "choose another c_target or k, or widen gamma_range"
            )
        return step
