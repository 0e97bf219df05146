"""The state of a process: plain data that are handed in and out, and lie in checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

from torch import Tensor

from thermo_pl.errors import DataError
from thermo_pl.path.columns import Row
from thermo_pl.process.rows import Stand
from thermo_pl.response.slopes import Gradient, Slopes

if TYPE_CHECKING:
    from thermo_pl.process.steps import Step

NAN = float("nan")


class Motion(NamedTuple):
    """A finite step of the control: changes of λ, γ and t."""

    lam: float = 0.0
    gam: float = 0.0
    t: float = 0.0


class Control(NamedTuple):
    """What the control probe says of a state; it is what a process steers by.

    Attributes:
        C: classification loss, nats.
        D: distortion, nats; nan for a process that does not steer by it.
        C_error: standard error of C over the noise draws of the probe, the particles being given;
            0 where C is exact.
        accuracy: share of the particles that the model names right; nan for a process that is not
            asked for one.
    """

    C: float = NAN
    D: float = NAN
    C_error: float = 0.0
    accuracy: float = NAN

    @property
    def relative_error(self) -> float:
        """The error of C, relative to C."""
        return self.C_error / self.C if self.C else 0.0


UNKNOWN = Control()


@dataclass(frozen=True)
class Course:
    """How far a rule has come; a rule with more to remember adds it.

    Attributes:
        stroke: name of the stroke under way.
        cycle: number of the cycle.
        target: C* on the measuring probe, nats; nan where C is free.
        control_target: what C on the control probe is steered to.
        target_s: where -(λD + γC) on the measuring probe is to be, nats; nan where S is free.
    """

    stroke: str = "equilibration"
    cycle: int = 0
    target: float = NAN
    control_target: float = NAN
    target_s: float = NAN


C = TypeVar("C", bound=Course)


@dataclass(frozen=True)
class Proposal(Generic[C]):
    """Where a rule wants to go in the next macro-step.

    Attributes:
        motion: the step of the control.
        course: how far the rule has come once the step is made.
        place: leg and t where the step begins; None where the data are. At another place the
            macro-step settles on the particles there.
        end: t at the end of the step, where it must be met to the last bit.
        theta: all parameters in a row, where the step begins from another θ than that of the last
            row; it is not carried along a response then, and no work is booked.
    """

    motion: Motion
    course: C
    place: tuple[int, float] | None = None
    end: float | None = None
    theta: Tensor | None = None


@dataclass(frozen=True)
class Knowledge:
    """What the last solve of the linear response says.

    Attributes:
        directions: θ_λ, θ_γ, θ_t, shape ``(3, p)``.
        slopes: total derivatives of R, D and C.
        steering: the same on the particles on which C is held.
        metric: the metric in (λ, γ, t), shape ``(3, 3)``; that of the last row.
    """

    directions: Tensor
    slopes: Slopes
    steering: Slopes
    metric: Tensor


class Snapshot(NamedTuple):
    """All that a macro-step moves: θ, λ, γ, the data, and what relaxes θ.

    Random streams need no place here: each epoch of relaxation has its own, by its number.

    Attributes:
        parameters: of the networks, in order.
        buffers: of the networks, in order; λ and γ are two of them.
        leg: the leg.
        t: domain coordinate.
        optimizer: state of the optimizer; None where there is none.
        schedulers: states of its learning-rate schedulers.
    """

    parameters: list[Tensor]
    buffers: list[Tensor]
    leg: int
    t: float
    optimizer: dict[str, Any] | None
    schedulers: list[dict[str, Any]]


@dataclass(frozen=True)
class State(Generic[C]):
    """All that a process needs to go on, between two epochs of relaxation.

    Attributes:
        seed: root of all random streams.
        phase: where the process stands.
        epoch: epochs of relaxation that are done.
        rows: the measured path.
        checks: what the checks of the equilibration found.
        course: how far the rule has come; None before equilibrium.
        proposal: where it goes next.
        known: the last response; None before the first.
        control: what the control probe says at the last row.
        predicted: C on the measuring probe after the predictor of the step under way.
        gradients: gradient evaluations since the last row.
        more: times as many draws as usual that the control and the measuring probe have.
        share: of the step that the rule would take, where longer ones were taken back.
        rejected: tries of the next row that were taken back so far.
        rejection: why the last one of them was; empty where none was.
        origin: the system at the last row, while a try of the next one is under way or has been
            taken back; None between two rows.
        stand: R, D, C at the last row with all draws. It is not saved: a resumed run measures it
            again, and finds the same.
        step: the macro-step that goes on with another round of relaxation and correction. It is not
            saved: a resumed run begins the macro-step anew, and comes to the same.
    """

    seed: int
    phase: Literal["equilibration", "process", "done"] = "equilibration"
    epoch: int = 0
    rows: list[Row] = field(default_factory=list)
    checks: list[dict[str, float]] = field(default_factory=list)
    course: C | None = None
    proposal: Proposal[C] | None = None
    known: Knowledge | None = None
    control: Control = UNKNOWN
    predicted: float = NAN
    gradients: int = 0
    more: int = 1
    share: float = 1.0
    rejected: int = 0
    rejection: str = ""
    origin: Snapshot | None = field(default=None, compare=False)
    stand: Stand | None = field(default=None, compare=False)
    step: Step[C] | None = field(default=None, compare=False)


BLOCK = 50
"""Rows that are told together."""
UNSAVED = ("stand", "step")
"""What a resumed run finds again by itself."""


class RowBlocks:
    """Rows as text, in blocks, so that a long path is not told anew at each checkpoint of it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._told: list[tuple[Row, Row, str]] = []

    def told(self, rows: list[Row]) -> list[str]:
        """The rows as JSON, which gives each number back to the last bit.

        Args:
            rows: those of before, the same objects, and new ones.

        Returns:
            The blocks; of those that are full each is told once.
        """
        full = len(rows) // BLOCK
        for number in range(full):
            block = rows[number * BLOCK : (number + 1) * BLOCK]
            known = self._told[number : number + 1]
            if not known or known[0][0] is not block[0] or known[0][1] is not block[-1]:
                self._told[number:] = [(block[0], block[-1], _told(block))]
        return [text for *_, text in self._told[:full]] + [_told(rows[full * BLOCK :])]


def to_plain(state: State[Any], blocks: RowBlocks | None = None) -> dict[str, Any]:
    """A state as plain values and tensors, which a weights-only load takes.

    Args:
        state: the state.
        blocks: what it has told of the rows before.

    Returns:
        Nested dictionaries, tuples and tensors.
    """
    if state.step is not None:  # in the middle of a macro-step: where that began
        state = state.step.state
    plain: dict[str, Any] = _plain(replace(state, rows=[], stand=None, step=None))
    for name in UNSAVED:
        del plain[name]
    return plain | {"rows": (RowBlocks() if blocks is None else blocks).told(state.rows)}


def from_plain(plain: dict[str, Any], course: type[C]) -> State[C]:
    """The state again.

    Args:
        plain: what :func:`to_plain` gave.
        course: the class of the rule's course.

    Returns:
        The state.

    Raises:
        DataError: if it was saved by another version.
    """
    names = {f.name for f in fields(State)}.difference(UNSAVED)
    rows = plain.get("rows")
    if set(plain) != names or not (isinstance(rows, list) and rows and isinstance(rows[0], str)):
        raise DataError(
            f"checkpoint: got a process with {', '.join(sorted(plain)) or 'nothing'}; allowed: one "
            "saved by this version; start anew from its weights with model.initial_weights"
        )
    proposal, known, here = plain["proposal"], plain["known"], plain["course"]
    origin = plain["origin"]
    restored: dict[str, Any] = {
        **plain,
        "rows": [row for block in rows for row in _read(block)],
        "control": Control(*plain["control"]),
        "course": None if here is None else course(**here),
        "proposal": None,
        "known": None,
        "origin": None if origin is None else Snapshot(*origin),
    }
    if proposal is not None:
        ahead = {"motion": Motion(*proposal["motion"]), "course": course(**proposal["course"])}
        restored["proposal"] = Proposal(**{**proposal, **ahead})
    if known is not None:
        slopes, steering = (
            Slopes(*(Gradient(*row) for row in known[name])) for name in ("slopes", "steering")
        )
        restored["known"] = Knowledge(known["directions"], slopes, steering, known["metric"])
    return State(**restored)


def _told(rows: list[Row]) -> str:
    # the names once, and the values of each row
    names = list(rows[0]) if rows else []
    return json.dumps([names, *([row[name] for name in names] for row in rows)])


def _read(block: str) -> Iterator[Row]:
    names, *rows = json.loads(block)
    for values in rows:
        yield dict(zip(names, values, strict=True))


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value
