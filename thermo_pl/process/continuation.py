"""Predictor-corrector continuation of an equilibrium: predict, relax, correct, accept, measure.

A macro-step has six parts:

1. a rule says where the control goes;
2. the predictor moves θ along the linear response;
3. an optimiser relaxes θ at fixed (λ, γ, t);
4. the corrector takes out what relaxation left, by small steps along the response;
5. the step counts only if what the rule holds is held. If not, relaxation and correction are
   repeated; then everything is taken back, and half the step is tried;
6. the state is measured.

Relaxation is the caller's. A trainer with epochs of its own calls :meth:`Continuation.begin` before
it, :meth:`~Continuation.correct` and :meth:`~Continuation.end` after it. :meth:`Continuation.run`
does all of that with a function that relaxes.

Source: Allgower & Georg, "Introduction to Numerical Continuation Methods", SIAM 2003.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Generic, cast

from thermo_pl.errors import InfeasibleTarget, NonFinite, ProcessStopped, SolverBreakdown
from thermo_pl.path.columns import Row
from thermo_pl.process.acceptance import Miss, broken, lost, told
from thermo_pl.process.data import Route
from thermo_pl.process.measuring import Instruments, Solved
from thermo_pl.process.moves import PredictorCorrector, begun
from thermo_pl.process.probing import seed_relaxation, stream
from thermo_pl.process.recording import measured_row, placed_row
from thermo_pl.process.rule import Equilibrium, Relaxed, Rule, Seen
from thermo_pl.process.settings import Settings
from thermo_pl.process.state import C, Control, State
from thermo_pl.process.steps import Result, Step
from thermo_pl.process.system import System
from thermo_pl.process.transitions import SADDLE, TransitionMet, kick

NOTHING_SEEN = Seen()
UNTRIED: dict[str, Any] = {"gradients": 0, "rejected": 0, "rejection": "", "origin": None}
"""Of a state from which no macro-step has been tried."""
ROUNDS = 4
"""Rounds of relaxation and correction in a macro-step, at most."""

Relax = Callable[[int, int], Relaxed]
"""Relaxes one part of an epoch: its index and the number of parts → what it took."""


class Continuation(Generic[C]):
    """Drives a system by a rule. It holds no state: that is handed in and out.

    Example:
        >>> import torch
        >>> import thermo_pl as tp
        >>> _ = torch.manual_seed(0)
        >>> y = torch.eye(2).repeat(100, 1)
        >>> x = 0.3 + 0.4 * y[:, :1, None, None] + 0.2 * torch.randn(200, 1, 2, 2)
        >>> data = tp.TensorPath(tp.TensorPairs(x, x + 0.2, y))
        >>> parts = tp.MLPEncoder([1, 2, 2], 2), tp.LinearClassifier(2, 2)
        >>> networks = tp.Networks(*parts, marginal=tp.StandardNormal(2), lam=0.0, gam=5.0)
        >>> system = tp.System(networks, data, torch.optim.Adam(networks.parameters()))
        >>> rule = tp.IsoClassificationRule(k=0.0, steps=tp.ConstantSteps(2))
        >>> settings = tp.Settings(tp.Equilibration(stationarity=0.1))
        >>> process = tp.Continuation(system, rule, settings, seed=0)
        >>> results = list(process.run(process.start(), tp.Relaxation(system)))
        >>> [result.row["t"] for result in results]
        [0.0, 0.5, 1.0]
        >>> last = results[-1]
        >>> abs(last.row["C"] / last.row["C_target"] - 1) < 0.02, last.state.phase
        (True, 'done')
    """

    def __init__(self, system: System, rule: Rule[C], settings: Settings, seed: int) -> None:
        """Put the parts together.

        Args:
            system: the networks and the data.
            rule: where to go.
            settings: of the process.
            seed: root of all random streams.

        Raises:
            ConfigError: if they do not fit together.
        """
        self.system, self.rule, self.settings, self.seed = system, rule, settings, seed
        rule.check(system.networks, Route.of(system.data))
        self._measuring = Instruments(system, settings, seed)
        self._moves = PredictorCorrector(system, rule, settings, self._measuring)

    def start(self) -> State[C]:
        """The state of a run that has not begun.

        Returns:
            The state, in equilibration.
        """
        return State(self.seed)

    def run(self, state: State[C], relax: Relax) -> Iterator[Result[C]]:
        """Go on to the end of the process.

        Args:
            state: where to go on from.
            relax: takes θ towards the minimum of J at fixed λ, γ and data.

        Yields:
            One result for each macro-step, the equilibrium at its start first.

        Raises:
            ProcessStopped: if the process cannot go on; the last result has all that was measured.
        """
        since = time.monotonic()
        while state.phase != "done":
            seed_relaxation(state)
            step = self.begin(state)
            for part in range(self.settings.parts if step.fault is None else 0):
                try:
                    took = relax(part, self.settings.parts)
                except NonFinite as fault:
                    step = replace(step, fault=fault)
                    break
                step = self.correct(step, step.relaxed.plus(took))
            now = time.monotonic()
            result = self.end(step, Seen(now - since))
            state = result.state
            if result.row is not None:
                since = now
                yield result
            if result.failure is not None:
                raise result.failure

    def begin(self, state: State[C]) -> Step[C]:
        """Move the control, the data and θ: to be called before an epoch of relaxation.

        Args:
            state: where the process stands.

        Returns:
            The step.

        Raises:
            ProcessStopped: if no proposal can be kept.
        """
        if state.step is not None:
            return state.step
        self._measuring.more = state.more
        state, proposal = self._at_the_origin(state), state.proposal
        if state.phase != "process" or proposal is None or state.course is None:
            return Step(state, None, state.course, state.stand, state.known)
        if proposal.place is not None:
            self.system.settle(*proposal.place)
        if not self.rule.solves or proposal.theta is not None:
            return self._moves.move_only(state, proposal)
        start = state.stand
        if start is None or start.leg != self.system.data.leg:
            start = self._measuring.stand()
        try:
            step = self._moves.unrelaxed(self._moves.predict(state, proposal, start))
        except NonFinite as fault:
            return Step(state, proposal, proposal.course, start, state.known, fault=fault)
        if state.rows[-1]["transition"] == SADDLE:
            kick(self.system.networks, stream(self.seed, "kick", state.epoch))
        return step

    def correct(self, step: Step[C], relaxed: Relaxed) -> Step[C]:
        """Take out what relaxation left: to be called after each part of an epoch.

        Args:
            step: the step under way.
            relaxed: what relaxation took since the step began.

        Returns:
            The step.
        """
        step = replace(step, relaxed=relaxed, control=None, driven=None, parts=step.parts + 1)
        try:
            self.system.check_optimizer()
            return step if step.proposal is None or not self.rule.solves else self._corrected(step)
        except InfeasibleTarget as infeasible:  # from here; a shorter step may not lead here
            return replace(step, infeasible=infeasible)
        except NonFinite as fault:
            return replace(step, fault=fault)

    def end(self, step: Step[C], seen: Seen = NOTHING_SEEN) -> Result[C]:
        """Check the equilibrium, or measure the macro-step, and ask the rule what comes next.

        Args:
            step: the step under way, relaxed and corrected.
            seen: what the caller knows.

        Returns:
            The result.

        Raises:
            ProcessStopped: if the state cannot be measured.
        """
        state = step.relaxed_state
        if step.fault is not None:
            return self._faulted(step, step.fault)
        if step.course is not None:
            more = self.rule.more(step.course, float(self.system.networks.lam), seen)
            if more is not None:
                return Result(replace(state, proposal=more))
            if step.infeasible is not None:
                if math.isinf(self.rule.promise):
                    return Result(step.state, failure=step.infeasible)
                return self._taken_back(step, "gamma has to leave its range", step.infeasible)
        try:
            if state.phase == "equilibration":
                return self._equilibrated(step, replace(state, origin=None), seen)
            return self._settled(step, state, seen)
        except (NonFinite, SolverBreakdown) as fault:
            return self._faulted(step, fault)

    def here(self, state: State[C]) -> Equilibrium:
        """What the rule is told.

        Args:
            state: where the process stands.

        Returns:
            What is known there.
        """
        return self._moves.here(state)

    def _respond(self, step: Step[C]) -> Solved:
        past_saddles = step.state.phase == "process" and self.settings.on_transition != "mark"
        known = step.known  # of this step it is nearly what is asked for, on the same probe
        guess = None if known is None or known is step.state.known else known.directions
        return self._measuring.respond(step.epoch, step.relaxed.time, past_saddles, guess)

    def _corrected(self, step: Step[C]) -> Step[C]:
        if self.settings.newton or step.rounds > 1:  # else the response of the last row will do
            step = self._resolved(step)
        # Without the predictor θ stays, and so does C. The next proposal takes the miss out; a
        # correction here would take it out twice.
        if not self.settings.predictor:
            return step
        step = self._moves.correct(step)
        return self._moves.hold(step) if step.parts == self.settings.parts else step

    def _resolved(self, step: Step[C]) -> Step[C]:
        try:
            solved = self._respond(step)
        except SolverBreakdown as broken:
            # too far from equilibrium: what is known must do, or the step is taken back
            return replace(step, fault=broken) if step.rounds == 1 else step
        if self.settings.newton:
            self.system.shift(-solved.response.newton)
        known = solved.knowledge(step.known)
        return replace(step, known=known, spent=step.spent + solved.gradients)

    def _solve(self, step: Step[C]) -> Solved | None:
        return self._respond(step) if self.rule.solves else None

    def _at_the_origin(self, state: State[C]) -> State[C]:
        # where the last row was measured, or an epoch of equilibration begins: noted before a
        # first try, returned to before any other
        if not self.rule.solves:
            return state
        if state.origin is None:
            return replace(state, origin=self.system.snapshot())
        self.system.restore(state.origin)
        return state

    def _settled(self, step: Step[C], state: State[C], seen: Seen) -> Result[C]:
        # another round of relaxation and correction, as long as it is needed and there is one
        miss, before = self._moves.missed(step), self._moves.falling(step)
        if step.rounds < ROUNDS and (miss or before):
            following = step.next_round(self._moves.control_here(), before)
            return Result(replace(state, step=following))
        if miss is not None:
            return self._lost(step, miss)
        return self._measured(step, state, self._solve(step), seen)

    def _lost(self, step: Step[C], miss: Miss) -> Result[C]:
        # after the last round the step is taken back, and tried shorter
        asked = miss.quantity == "C" and step.is_last(self.settings.min_step)
        reach = self._moves.reachable(step) if asked else None
        failure = lost(step.state.rows[-1], miss, self.settings.min_step, reach)
        return self._taken_back(step, told(miss, step.rounds), failure)

    def _taken_back(self, step: Step[C], why: str, failure: ProcessStopped) -> Result[C]:
        # everything is as at the last row, and half the step comes next; or the process ends there
        state = replace(
            self._at_the_origin(step.state),
            gradients=step.gradients,
            rejected=step.state.rejected + step.rejected + 1,
            rejection=why,
            share=step.state.share / 2,
        )
        if step.is_last(self.settings.min_step):
            return Result(state, failure=failure)
        try:
            return Result(self._proposed(state))
        except ProcessStopped as stopped:
            return Result(state, failure=stopped)

    def _faulted(self, step: Step[C], fault: ProcessStopped) -> Result[C]:
        # numbers that are none: from the last row a shorter step may lead on, and an epoch of
        # equilibration at half the learning rate
        if not self.rule.solves:
            return Result(step.state, failure=fault)
        why = f"{type(fault).__name__}, on the way"
        if step.course is not None:
            return self._taken_back(step, why, fault)
        state, tried = self._at_the_origin(step.state), step.state.rejected + 1
        self.system.halve_learning_rate()
        spent = step.gradients
        state = replace(state, origin=None, gradients=spent, rejected=tried, rejection=why)
        return Result(state, failure=fault if 0.5**tried < self.settings.min_step else None)

    def _proposed(self, state: State[C]) -> State[C]:
        # what the rule proposes; a shorter step where a whole one leads out of its range
        try:
            return replace(state, proposal=self.rule.propose(begun(state), self.here(state)))
        except InfeasibleTarget:
            shorter = replace(state, share=state.share / 2)
            if math.isinf(self.rule.promise) or shorter.share < self.settings.min_step:
                raise
            return self._proposed(shorter)

    def _equilibrated(self, step: Step[C], state: State[C], seen: Seen) -> Result[C]:
        settings, epochs = self.settings.equilibration, state.epoch
        if not settings.due(epochs):
            return Result(state)
        solved = self._solve(step)
        if solved is None:
            return self._measured(step, state, None, seen)
        found = solved.response.stationarity, self._measuring.state()
        check = settings.check(state.checks, epochs, *found, self.system.learning_rate)
        state = replace(state, checks=[*state.checks, check])
        if settings.reached(state.checks):
            self._measuring.more = self._measuring.sharper(self.rule.promise)
            state = replace(state, more=self._measuring.more)
            return self._measured(step, state, solved, seen)
        if settings.rests(state.checks):
            self.system.halve_learning_rate()
        if epochs < settings.max_epochs:
            gradients = state.gradients + solved.gradients
            return Result(replace(state, gradients=gradients), solved=solved)
        result = self._measured(step, state, solved, seen, ends=True)
        return replace(result, failure=settings.missed(state.checks, epochs))

    def _measured(
        self,
        step: Step[C],
        state: State[C],
        solved: Solved | None,
        seen: Seen,
        ends: bool = False,
    ) -> Result[C]:
        # append the row, and ask the rule what comes next
        stand = self._measuring.stand()
        known = None if solved is None else solved.knowledge()
        asked = self.rule.solves or self.rule.watches
        control = step.control or (self._measuring.control(self.rule) if asked else Control())
        spent = state.gradients + (0 if solved is None else solved.gradients)
        state = replace(state, gradients=spent)
        row = measured_row(self.system, step, state, stand, solved, known, control, seen)
        state = replace(
            state,
            rows=[*state.rows, row],
            known=known,
            control=control,
            share=min(2 * state.share, 1.0),
            stand=stand,
            **UNTRIED,
        )
        course = step.course
        if course is None:
            course = (
                cast(type[C], self.rule.course)() if ends else self.rule.begin(self.here(state))
            )
        row = placed_row(self.rule, course, state.rows[:-1], row)
        state = replace(state, rows=[*state.rows[:-1], row], proposal=None)
        if ends:
            return Result(state, row, solved=solved)
        return self._next(replace(state, course=course, phase="process"), row, solved)

    def _next(self, state: State[C], row: Row, solved: Solved | None) -> Result[C]:
        failure: ProcessStopped | None = None
        if row["transition"] and self.settings.on_transition == "stop":
            failure = TransitionMet(
                f"transition: got a {row['transition']} of the equilibrium at t = {row['t']:.4g}, "
                f"lambda = {row['lambda']:.4g}, gamma = {row['gamma']:.4g}; allowed: none "
                "with on_transition: stop; take on_transition: continue to go on past it"
            )
            return Result(state, row, failure, solved)
        try:
            state = self._proposed(state)
        except ProcessStopped as stopped:
            return Result(state, row, stopped, solved)
        if state.proposal is None:
            state = replace(state, phase="done")
            failure = broken(state.rows, self.rule.promise)
        return Result(state, row, failure, solved)
