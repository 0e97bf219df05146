"""What a continuation hands out: a macro-step under way, and what an epoch came to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic

from thermo_pl.errors import InfeasibleTarget, ProcessStopped
from thermo_pl.path.columns import Row
from thermo_pl.process.measuring import Solved
from thermo_pl.process.rows import Stand, Work
from thermo_pl.process.rule import Relaxed
from thermo_pl.process.state import C, Control, Knowledge, Proposal, State
from thermo_pl.response.measurement import Measurement

NAN = float("nan")
NOT_RELAXED = Relaxed()


@dataclass(frozen=True)
class Step(Generic[C]):
    """A macro-step under way.

    Attributes:
        state: where it began.
        proposal: the one that was kept; None during equilibration.
        course: the rule's, at the end of the step.
        start: what the measuring probe says where the step began, on the leg where it ends.
        known: the last response.
        work: what the motions of λ, γ and the data did to J so far; None where it is not booked.
        predicted: C on the measuring probe after the predictor.
        miss: |C/C* - 1| then, on the control probe.
        rejected: proposals that were tried and taken back after the predictor.
        rejection: why the last of them was; empty where none was.
        fault: a number on the way that is not finite, or a response that could not be solved;
            None where there was none. Such a step does not count.
        corrections: steps of the corrector.
        control: what the control probe said last; None as soon as anything has moved since.
        relaxed: what relaxation took in this round.
        spent: gradient evaluations beside these: of responses solved on the way, and of the rounds
            before.
        rounds: of relaxation and correction, this one included.
        parts: parts of this round that are relaxed and corrected.
        driven: R, D and C on the measuring probe after the last motion of a shortcut; None as soon
            as θ has moved since.
        infeasible: why what the rule holds cannot be held from here; None where it can.
        reach: λ and γ where this round began; None in the first one, which the last row began.
        before: the state on the measuring probe where relaxation of this round began; None where
            its length is given.
    """

    state: State[C]
    proposal: Proposal[C] | None
    course: C | None
    start: Stand | None
    known: Knowledge | None
    work: Work | None = None
    predicted: float = NAN
    miss: float = NAN
    rejected: int = 0
    rejection: str = ""
    fault: ProcessStopped | None = None
    corrections: int = 0
    control: Control | None = None
    relaxed: Relaxed = NOT_RELAXED
    spent: int = 0
    rounds: int = 1
    parts: int = 0
    reach: tuple[float, float] | None = None
    before: Measurement | None = None
    driven: Measurement | None = None
    infeasible: InfeasibleTarget | None = None

    @property
    def epoch(self) -> int:
        """Epochs of relaxation before this round."""
        return self.state.epoch + self.rounds - 1

    @property
    def gradients(self) -> int:
        """Gradient evaluations since the last row."""
        return self.state.gradients + self.relaxed.gradients + self.spent

    @property
    def relaxed_state(self) -> State[C]:
        """The state after this round of relaxation."""
        return replace(
            self.state,
            epoch=self.epoch + 1,
            gradients=self.gradients,
            predicted=self.predicted,
            step=None,
        )

    def next_round(self, reach: tuple[float, float], before: Measurement | None) -> Step[C]:
        """Begin another round of relaxation and correction.

        Args:
            reach: λ and γ.
            before: the state, where the length of relaxation depends on it.

        Returns:
            The step.
        """
        return replace(
            self,
            rounds=self.rounds + 1,
            parts=0,
            relaxed=NOT_RELAXED,
            spent=self.spent + self.relaxed.gradients,
            reach=reach,
            before=before,
        )

    def is_last(self, least: float) -> bool:
        """Whether no shorter one is tried if this one does not count.

        Args:
            least: share of the process's own step below which none is tried.

        Returns:
            Whether half of it is too short, or nothing moves in it.
        """
        still = self.proposal is None or not any(self.proposal.motion)
        return still or self.state.share / 2 < least


@dataclass(frozen=True)
class Result(Generic[C]):
    """What an epoch came to.

    Attributes:
        state: where the process stands now.
        row: the macro-step that was measured; None where relaxation goes on, and where a try was
            taken back.
        failure: why the process cannot go on; the state is to be kept before this is raised.
        solved: the response at the end; None where none was solved.
    """

    state: State[C]
    row: Row | None = None
    failure: ProcessStopped | None = None
    solved: Solved | None = None
