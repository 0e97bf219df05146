"""The state of a process: plain data that are handed in and out, and lie in checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from torch import Tensor

from thermo_pl.errors import DataError
from thermo_pl.path.columns import Row
from thermo_pl.process.rows import Stand
from thermo_pl.response.slopes import Gradient, Slopes

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
    """

    C: float = NAN
    D: float = NAN


UNKNOWN = Control()


@dataclass(frozen=True)
class Course:
    """How far a rule has come; a rule with more to remember adds it.

    Attributes:
        stroke: name of the stroke under way.
        cycle: number of the cycle.
        target: C* on the measuring probe, nats; nan where C is free.
        control_target: what C on the control probe is steered to.
    """

    stroke: str = "equilibration"
    cycle: int = 0
    target: float = NAN
    control_target: float = NAN


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
    """

    motion: Motion
    course: C
    place: tuple[int, float] | None = None
    end: float | None = None


@dataclass(frozen=True)
class Knowledge:
    """What the last solve of the linear response says.

    Attributes:
        directions: θ_λ, θ_γ, θ_t, shape ``(3, p)``.
        slopes: total derivatives of R, D and C.
        metric: the metric in (λ, γ, t), shape ``(3, 3)``; that of the last row.
    """

    directions: Tensor
    slopes: Slopes
    metric: Tensor


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
        stand: R, D, C at the last row with all draws. It is not saved: a resumed run measures it
            again, and finds the same.
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
    stand: Stand | None = field(default=None, compare=False)


def to_plain(state: State[Any]) -> dict[str, Any]:
    """A state as plain values and tensors, which a weights-only load takes.

    Args:
        state: the state.

    Returns:
        Nested dictionaries, tuples and tensors.
    """
    plain: dict[str, Any] = _plain(state)
    del plain["stand"]
    return plain


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
    names = {f.name for f in fields(State)} - {"stand"}
    if set(plain) != names:
        raise DataError(
            f"checkpoint: got a process with {', '.join(sorted(plain)) or 'nothing'}; allowed: one "
            "saved by this version; start anew from its weights with model.initial_weights"
        )
    proposal, known, here = plain["proposal"], plain["known"], plain["course"]
    restored: dict[str, Any] = {
        **plain,
        "control": Control(*plain["control"]),
        "course": None if here is None else course(**here),
        "proposal": None,
        "known": None,
    }
    if proposal is not None:
        ahead = {"motion": Motion(*proposal["motion"]), "course": course(**proposal["course"])}
        restored["proposal"] = Proposal(**{**proposal, **ahead})
    if known is not None:
        slopes = Slopes(*(Gradient(*row) for row in known["slopes"]))
        restored["known"] = Knowledge(known["directions"], slopes, known["metric"])
    return State(**restored)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value
