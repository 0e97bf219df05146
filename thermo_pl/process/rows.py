"""The parts of a row of path.csv."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from thermo_pl.estimate import Estimate, with_errors
from thermo_pl.path.columns import Row
from thermo_pl.response.linear import Response
from thermo_pl.response.measurement import Measurement, first_law
from thermo_pl.response.metric import length

NAN = float("nan")


class Stand(NamedTuple):
    """A state of the model as the measuring probe of a leg sees it.

    Attributes:
        leg: the leg.
        measured: R, D and C.
        force: ∂_tJ.
        held: C of the particles on which it is held.
        in_use: latents that tell the particles apart; nan on a mixture of domains.
    """

    leg: int
    measured: Measurement
    force: Estimate
    held: Estimate
    in_use: float


class Work(NamedTuple):
    """What the motions of a macro-step do to J; that of λ and γ is the rest of the total.

    Attributes:
        total: all of it, nats.
        drive: what driving θ along its response does at fixed λ, γ and data.
        domain: what the motion of the data does at fixed θ, λ and γ.
    """

    total: Estimate
    drive: Estimate
    domain: Estimate

    @classmethod
    def none(cls, like: Estimate) -> Work:
        """No work.

        Args:
            like: a number on the probe that measures; the noise draws of a sum are then known.

        Returns:
            Zeros.
        """
        return cls(*3 * [0.0 * like])

    def and_then(self, more: Work) -> Work:
        """The work of two motions, one after the other.

        Args:
            more: that of the second.

        Returns:
            The sum.
        """
        return Work(*(a + b for a, b in zip(self, more, strict=True)))


def energy_columns(before: Stand | None, work: Work | None, here: Stand, same_leg: bool) -> Row:
    """What the measuring probe says of a state, and of the step that led to it.

    Args:
        before: the state at the start of the step, on the leg of its end; None before any step.
        work: what the motion of λ, γ and the data did to J; None before any step.
        here: the state at the end of the step.
        same_leg: whether the row before was measured on the particles of this leg.

    Returns:
        The columns.
    """
    terms = here.measured
    energies = {
        "R": terms.rate,
        "D": terms.distortion,
        "C": terms.classification,
        "J": terms.free_energy,
        "J_t": here.force,
        "C_held": here.held,
    }
    step = dict.fromkeys(("first_law", "work", "relaxation"), Estimate(NAN, NAN))
    parts: Row = {"drive_work": NAN, "domain_work": NAN}
    if before is not None and work is not None:
        start = before.measured
        step["work"] = work.total
        step["relaxation"] = start.free_energy + work.total - terms.free_energy
        parts = {"drive_work": work.drive.value, "domain_work": work.domain.value}
        if same_leg:
            step["first_law"] = first_law(start, terms, before.force, here.force)
    row: Row = with_errors(energies | step)
    row["first_law_residual"] = row.pop("first_law")
    return row | parts | {"latents_in_use": here.in_use}


def response_columns(response: Response | None) -> Row:
    """What the solving probe says of a state.

    Args:
        response: the linear response; None where none was solved, and nothing is known.

    Returns:
        The columns.
    """
    names = ("lambda", "gamma", "t")
    if response is None:
        row: Row = {f"{term}_{name}": NAN for term in "CD" for name in names}
        return row | {"stationarity": NAN, "solver_status": "", "solver_iterations": 0}
    row = {f"C_{name}": x for name, x in zip(names, response.slopes.C, strict=True)}
    row |= {f"D_{name}": x for name, x in zip(names, response.slopes.D, strict=True)}
    row["stationarity"] = response.stationarity
    row["solver_status"] = str(response.solution.status)
    row["solver_iterations"] = response.solution.iterations
    return row


def length_columns(
    before: Row | None, after: Row, metric_before: Tensor | None, metric_after: Tensor | None
) -> Row:
    """Thermodynamic length of a step, as the mean over the metrics at its two ends.

    How far these two disagree tells a transition.

    Args:
        before: row at the start of the step; None before any step.
        after: row at its end.
        metric_before: the metric at the start.
        metric_after: the metric at the end.

    Returns:
        ``length`` in nats^½, and ``length_change``: the length of the step in the metric at its
        end, less that in the metric at its start.
    """
    if before is None or metric_before is None or metric_after is None:
        return {"length": NAN, "length_change": NAN}
    step = [after[name] - before[name] for name in ("lambda", "gamma", "t")]
    if before["leg"] != after["leg"]:  # another coupling of the same domain: nothing has moved
        step[2] = 0.0
    start, end = length(step, metric_before), length(step, metric_after)
    return {"length": (start + end) / 2, "length_change": end - start}
