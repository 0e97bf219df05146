"""Predictor and corrector: how a continuation moves a system before and after relaxation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Generic

import torch

from thermo_pl.estimate import Estimate
from thermo_pl.process.data import Route
from thermo_pl.process.measuring import Instruments
from thermo_pl.process.rows import Stand
from thermo_pl.process.rule import Equilibrium, Point, Rule
from thermo_pl.process.settings import Settings
from thermo_pl.process.state import C, Control, Knowledge, Proposal, State
from thermo_pl.process.steps import Step
from thermo_pl.process.system import System
from thermo_pl.response.measurement import NOTHING, Measurement

CORRECTIONS = 8
"""Small response steps after each relaxation, at most: Newton's method on the constraint."""


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
        course, before, rejected = begun(state), self._system.snapshot(), 0
        while True:
            nothing = 0.0 * start.measured.free_energy
            work = nothing + self._move(proposal, start.measured, state.known)
            control = self._measuring.loss("control")
            miss = abs(control / proposal.course.control_target - 1)
            kept, course = self._rule.judge(course, proposal, miss)
            if kept:
                break
            self._system.restore(before)
            rejected += 1
            proposal = self._proposed(course, self.here(state))
        predicted = self._measuring.loss("measuring")
        return Step(state, proposal, course, start, state.known, work, predicted, miss, rejected)

    def move_only(self, state: State[C], proposal: Proposal[C]) -> Step[C]:
        """Move without a response.

        θ stays. No work is booked, as λ and γ may move several times between two rows.

        Args:
            state: where the process stands.
            proposal: where to go.

        Returns:
            The step, at its start.
        """
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
        begun = step.state.rows[-1]
        start = self._point(step.state.control, step.known)
        start = start._replace(lam=float(begun["lambda"]), gam=float(begun["gamma"]))
        largest = math.inf
        for _ in range(CORRECTIONS):
            control = self._measuring.control(self._rule.steers_distortion)
            here = self._point(control, step.known)
            motion = self._rule.correct(step.course, start, here)
            size = max(map(abs, motion))
            if size == 0 or size >= largest:  # done, or not converging
                return replace(step, control=control)
            steered = self._steered(step.start.measured, control)
            correction = Proposal(motion, step.course)
            more = self._move(correction, steered, step.known)
            work = more if step.work is None else step.work + more
            step = replace(step, work=work, corrections=step.corrections + 1)
            largest = size
        return step

    def _move(self, proposal: Proposal[C], here: Measurement, known: Knowledge | None) -> Estimate:
        # The control and the data go first: what that does to J at fixed θ is the work.
        motion, networks = proposal.motion, self._system.networks
        self._system.move(motion, proposal.end)
        if motion.t:
            there = self._measuring.state()
        else:  # J is linear in λ and γ
            there = replace(here, lam=float(networks.lam), gam=float(networks.gam))
        work = there.free_energy - here.free_energy
        if self._settings.predictor and known is not None:
            self._system.follow(motion, known.directions)
        return work

    def _proposed(self, course: C, here: Equilibrium) -> Proposal[C]:
        proposal = self._rule.propose(course, here)
        if proposal is None:
            raise RuntimeError("a process ended in the middle of a step")
        return proposal

    def _steered(self, before: Measurement, control: Control) -> Measurement:
        # The work of a correction is D Δλ + C Δγ. C and D on the control probe will do for it, and
        # they are known already. Their errors are left out: times a small Δλ and Δγ they are far
        # below the errors of the two measurements.
        draws = (torch.full_like(NOTHING, value) for value in control)
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
        slopes = None if known is None else known.slopes
        return Point(float(networks.lam), float(networks.gam), control.D, control.C, slopes)


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
