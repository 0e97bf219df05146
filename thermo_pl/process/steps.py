"""What a continuation hands out: a macro-step under way, and what an epoch came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from thermo_pl.errors import ProcessStopped
from thermo_pl.estimate import Estimate
from thermo_pl.path.columns import Row
from thermo_pl.process.measuring import Solved
from thermo_pl.process.rows import Stand
from thermo_pl.process.rule import Relaxed
from thermo_pl.process.state import C, Control, Knowledge, Proposal, State

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
        rejected: proposals that were tried and taken back.
        corrections: steps of the corrector.
        control: what the control probe said last; None as soon as anything has moved since.
        relaxed: what relaxation took so far.
        solves: gradient evaluations of responses that were solved on the way.
    """

    state: State[C]
    proposal: Proposal[C] | None
    course: C | None
    start: Stand | None
    known: Knowledge | None
    work: Estimate | None = None
    predicted: float = NAN
    miss: float = NAN
    rejected: int = 0
    corrections: int = 0
    control: Control | None = None
    relaxed: Relaxed = NOT_RELAXED
    solves: int = 0


@dataclass(frozen=True)
class Result(Generic[C]):
    """What an epoch came to.

    Attributes:
        state: where the process stands now.
        row: the macro-step that was measured; None where relaxation goes on.
        failure: why the process cannot go on; the state is to be kept before this is raised.
        solved: the response at the end; None where none was solved.
    """

    state: State[C]
    row: Row | None = None
    failure: ProcessStopped | None = None
    solved: Solved | None = None
