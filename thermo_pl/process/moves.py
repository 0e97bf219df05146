"""Predictor and corrector: how a continuation moves a system before and after relaxation."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from functools import partial
from typing import Generic

import torch

from thermo_pl.errors import NonFinite
from thermo_pl.estimate import Estimate
from thermo_pl.process.acceptance import Miss
from thermo_pl.process.data import Route
from thermo_pl.process.equilibration import fall, rest
from thermo_pl.process.measuring import Instruments
from thermo_pl.process.protocols import Ahead, Carried, Carrier
from thermo_pl.process.rows import Stand, Work
from thermo_pl.process.rule import Equilibrium, Point, Rule
from thermo_pl.process.settings import Settings
from thermo_pl.process.state import C, Control, Knowledge, Motion, Proposal, State
from thermo_pl.process.steps import Step
from thermo_pl.process.system import System
from thermo_pl.response.measurement import NOTHING, Measurement

CORRECTIONS = 8
"""Small response steps after each relaxation, at most: Newton's method on the constraint."""
BISECTIONS = 12
"""Steps in which a constraint is bracketed and bisected where Newton's method has not met it."""


FURTHEST = 4.0
"""How many times its last step a secant goes on by, at most."""
REACH = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)
"""Powers of two of γ at which C is looked at where it cannot be held."""


def secant(asked: Motion, before: Motion, made: Motion) -> Motion:
    """The correction at the slope that the last one has found, in place of the response's.

    Newton's step is in proportion to the miss. So two of them tell how far the step between them
    has come: to a share r = asked / before of the miss. The secant through both goes on by
    r / (1 - r) of it, four times as far at most.

    Args:
        asked: Newton's step now.
        before: Newton's step then; nothing where this is the first one.
        made: the step that was made then.

    Returns:
        The step to make; Newton's where λ and γ both move, or the last one has not helped.

    Example:
        A slope that is half of the true one asks for twice the step, and overshoots:

        >>> from thermo_pl.process.moves import secant
        >>> secant(Motion(gam=-2.0), before=Motion(gam=2.0), made=Motion(gam=2.0)).gam
        -1.0
    """
    moved = [index for index, size in enumerate(asked) if size]
    if len(moved) != 1 or not before[moved[0]]:
        return asked
    share = asked[moved[0]] / before[moved[0]]
    if not -1.0 <= share < 1.0:
        return asked
    return Motion(*(min(share / (1 - share), FURTHEST) * size for size in made))


class PredictorCorrector(Generic[C]):
    """Moves λ, γ, the data and θ, and books the work. It holds no state."""

    def __init__(
        self, system: System, rule: Rule[C], settings: Settings, measuring: Instruments
    ) -> None:
        """Put the parts together.

        Args:
            system: the networks and the data.
            rule: where to go.
            settings: of the process.
            measuring: what is measured on the way.
        """
        self._system, self._rule, self._settings = system, rule, settings
        self._measuring, self._route = measuring, Route.of(system.data)
        self._carrier = Carrier(system, measuring.state, settings.protocol)

    def here(self, state: State[C]) -> Equilibrium:
        """What the rule is told.

        Args:
            state: where the process stands.

        Returns:
            What is known there.
        """
        data = self._system.data
        return Equilibrium(
            self._point(state.control, state.known),
            data.leg,
            data.t,
            self._route,
            None if state.known is None else state.known.metric,
            self._system.theta(),
            state.rows,
            state.share,
        )

    def predict(self, state: State[C], proposal: Proposal[C], start: Stand) -> Step[C]:
        """Try proposals until the rule keeps one.

        A try that is rejected leaves nothing behind: all that it moved is put back to the last bit.

        Args:
            state: where the process stands.
            proposal: the first to try.
            start: the state there, on the leg of the step.

        Returns:
            The step, at its start.
        """
        course, before = begun(state), self._system.snapshot()
        ahead = None
        if self._settings.drives > 1:
            ahead = partial(self._measuring.drive, state.epoch)
        rejected, why, spent = 0, "", 0
        while True:
            nothing = Work.none(start.measured.free_energy)
            moved = self._carry(proposal.motion, start.measured, state.known, proposal.end, ahead)
            spent += moved.gradients
            work = nothing.and_then(moved.work)
            control = self._measuring.loss("control").value
            miss = abs(control / proposal.course.control_target - 1)
            kept, course = self._rule.judge(course, proposal, miss)
            if kept:
                break
            self._system.restore(before)
            rejected += 1
            why = f"after the predictor: C misses C* by {miss:.2%}"
            proposal = self._proposed(course, self.here(state))
        predicted = self._measuring.loss("held").value
        spent += self._measuring.descend(state.epoch)
        return Step(
            state,
            proposal,
            course,
            start,
            state.known,
            work,
            predicted,
            miss,
            rejected,
            why,
            spent=spent,
        )

    def move_only(self, state: State[C], proposal: Proposal[C]) -> Step[C]:
        """Move without a response.

        θ stays, or goes where the proposal says. No work is booked, as λ and γ may move several
        times between two rows.

        Args:
            state: where the process stands.
            proposal: where to go.

        Returns:
            The step, at its start.
        """
        if proposal.theta is not None:
            self._system.place(proposal.theta)
        self._system.move(proposal.motion, proposal.end)
        predicted = state.predicted
        if proposal.motion.t:
            predicted = self._measuring.state().classification.value
        return Step(state, proposal, proposal.course, None, None, predicted=predicted)

    def correct(self, step: Step[C]) -> Step[C]:
        """Take out what relaxation left of what the rule holds.

        Args:
            step: the step under way, relaxed.

        Returns:
            The step.
        """
        if step.proposal is None or step.course is None or step.start is None:
            return step
        start, largest = self._reach(step), math.inf
        before, made = Motion(), Motion()
        for _ in range(CORRECTIONS):
            control = self._control()
            here = self._point(control, step.known)
            motion = self._rule.correct(step.course, start, here)
            size = max(map(abs, motion))
            if size == 0 or size >= largest:  # done, or not converging
                return replace(step, control=control)
            further = secant(motion, before, made)
            before, made = motion, further if self._leads_on(further, here) else motion
            step, largest = self._corrected(step, made, control), size
        return step

    def hold(self, step: Step[C]) -> Step[C]:
        """Go on correcting where Newton's method has not met what the rule holds.

        Newton's method overshoots where the constraint is curved. From the first overshoot on, the
        two places between which the miss changes its sign are a bracket, and it is bisected. A miss
        that grows without changing its sign tells that the response is wrong there. Then only
        another relaxation helps.

        Args:
            step: the step under way, corrected.

        Returns:
            The step. What the rule holds may still be missed.
        """
        course = step.course
        if course is None or step.start is None:
            return step
        start, last, motion, bisecting = self._reach(step), None, Motion(), False
        for _ in range(BISECTIONS):
            control = step.control or self._control()
            step = replace(step, control=control)
            miss = self.missed(step)
            if miss is None:
                break
            turned = last is not None and miss.miss * last.miss < 0
            same = last is not None and miss.quantity == last.quantity
            if same and (turned or bisecting):
                bisecting = True
                motion = Motion(*((-0.5 if turned else 0.5) * x for x in motion))
            elif last is not None and same and abs(miss.miss) >= abs(last.miss):
                break
            else:
                bisecting = False
                here = self._point(control, step.known)
                motion = self._rule.correct(course, start, here)
            if not any(motion):
                break
            step, last = self._corrected(step, motion, control), miss
        return step

    def missed(self, step: Step[C]) -> Miss | None:
        """What the rule holds and the step misses.

        Args:
            step: the step under way, relaxed and corrected.

        Returns:
            The worst miss on the control probe; None where the step can be accepted.
        """
        if step.course is None or not self._rule.solves or math.isinf(self._rule.promise):
            return None
        control = step.control or self._control()
        here = self._point(control, step.known)
        return self._rule.accept(step.course, here, control.relative_error)

    def unrelaxed(self, step: Step[C]) -> Step[C]:
        """Note where relaxation begins, where its length depends on how far it comes.

        Args:
            step: the step under way, predicted.

        Returns:
            The step.
        """
        auto = self._settings.relaxation == "auto"
        return replace(step, before=self._measuring.state()) if auto else step

    def falling(self, step: Step[C]) -> Measurement | None:
        """Where J has not come to rest in this round of relaxation.

        Args:
            step: the step under way, relaxed and corrected.

        Returns:
            The state on the measuring probe; None where J is at rest, or nobody asks.
        """
        if step.before is None:
            return None
        now = self._measuring.state()
        return now if fall(step.before, now) > rest(now) else None

    def reachable(self, step: Step[C]) -> tuple[float, float]:
        """What C can be brought to by γ from here, as far as the linear response tells.

        Args:
            step: the step under way.

        Returns:
            The least and the largest C on the control probe, nats, for half to twice the γ.
        """
        before, gam = self._system.snapshot(), self.control_here()[1]
        found = []
        for power in REACH:
            motion = Motion(gam=(2.0**power - 1) * gam)
            self._system.move(motion)
            if step.known is not None:
                self._system.follow(motion, step.known.directions)
            with contextlib.suppress(NonFinite):  # so far C cannot be followed
                found.append(self._measuring.loss("control").value)
            self._system.restore(before)
        return min(found), max(found)

    def control_here(self) -> tuple[float, float]:
        """Where the control is.

        Returns:
            λ and γ.
        """
        networks = self._system.networks
        return float(networks.lam), float(networks.gam)

    def _reach(self, step: Step[C]) -> Point:
        # where the corrections of this round stay near: one step may be limited, but not all
        row = step.state.rows[-1]
        lam, gam = step.reach or (float(row["lambda"]), float(row["gamma"]))
        return self._point(step.state.control, step.known)._replace(lam=lam, gam=gam)

    def _control(self) -> Control:
        return self._measuring.control(self._rule)

    def _corrected(self, step: Step[C], motion: Motion, control: Control) -> Step[C]:
        if step.start is None or step.course is None:
            raise RuntimeError("a correction was asked for where nothing is held")
        if self._settings.protocol == "sudden":
            here = self._steered(step.start.measured, control)
        else:
            here = step.driven or self._measuring.state()
        moved = self._carry(motion, here, step.known)
        work = moved.work if step.work is None else step.work.and_then(moved.work)
        corrections = step.corrections + 1
        return replace(step, work=work, corrections=corrections, control=None, driven=moved.there)

    def _carry(
        self,
        motion: Motion,
        here: Measurement,
        known: Knowledge | None,
        end: float | None = None,
        ahead: Ahead | None = None,
    ) -> Carried:
        directions = None
        if self._settings.predictor and known is not None:
            directions = known.directions
        return self._carrier.carry(motion, here, directions, end, ahead)

    def _leads_on(self, motion: Motion, here: Point) -> bool:
        # Newton's step is bounded by the rule, and a secant has to keep to the same: λ and γ
        # change by no more than a factor of two, which also keeps their sign
        lam, gam = here.lam + motion.lam, here.gam + motion.gam
        low, high = self._rule.gamma_range
        near = here.gam / 2 <= gam <= 2 * here.gam and here.lam / 2 <= lam <= 2 * here.lam
        return near and low <= gam <= high

    def _proposed(self, course: C, here: Equilibrium) -> Proposal[C]:
        proposal = self._rule.propose(course, here)
        if proposal is None:
            raise RuntimeError("a process ended in the middle of a step")
        return proposal

    def _steered(self, before: Measurement, control: Control) -> Measurement:
        # The work of a correction is D Δλ + C Δγ. C and D on the control probe will do for it, and
        # they are known already. Their errors are left out: times a small Δλ and Δγ they are far
        # below the errors of the two measurements.
        draws = (torch.full_like(NOTHING, value) for value in (control.C, control.D))
        loss, distortion = (Estimate.of_draws(NOTHING, values) for values in draws)
        networks = self._system.networks
        return Measurement(
            before.rate,
            before.distortion if math.isnan(control.D) else distortion,
            loss,
            float(networks.lam),
            float(networks.gam),
            before.t,
        )

    def _point(self, control: Control, known: Knowledge | None) -> Point:
        networks = self._system.networks
        slopes = None if known is None else known.steering
        at = float(networks.lam), float(networks.gam)
        return Point(*at, control.D, control.C, slopes, control.accuracy)


def begun(state: State[C]) -> C:
    """The course of a process that has begun.

    Args:
        state: where it stands.

    Returns:
        The course.

    Raises:
        RuntimeError: if it is not at its first equilibrium yet.
    """
    if state.course is None:
        raise RuntimeError("a step was asked for before the first equilibrium")
    return state.course
