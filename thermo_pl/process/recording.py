"""Writes down a macro-step: the row of path.csv that it makes."""

from __future__ import annotations

from collections.abc import Sequence

from thermo_pl.path.columns import Row
from thermo_pl.process.measuring import Solved
from thermo_pl.process.rows import Stand, energy_columns, length_columns, response_columns
from thermo_pl.process.rule import Rule, Seen
from thermo_pl.process.state import C, Control, Knowledge, State
from thermo_pl.process.steps import Step
from thermo_pl.process.system import System
from thermo_pl.process.transitions import SADDLE, transition


def measured_row(
    system: System,
    step: Step[C],
    state: State[C],
    stand: Stand,
    solved: Solved | None,
    known: Knowledge | None,
    control: Control,
    seen: Seen,
) -> Row:
    """What is measured at the end of a macro-step, and what the step took.

    Args:
        system: networks and data.
        step: the step, relaxed and corrected.
        state: with the path before it, and the gradients of the step.
        stand: the state at its end.
        solved: the response there; None where none is solved.
        known: what it says, with the metric.
        control: what the control probe says there.
        seen: what the caller knows.

    Returns:
        The columns of path.csv but those that the rule says.
    """
    networks, data = system.networks, system.data
    before = state.rows[-1] if state.rows else None
    same_leg = before is not None and before["leg"] == stand.leg
    row = {
        "step": len(state.rows),
        "leg": data.leg,
        "t": data.t,
        "lambda": float(networks.lam),
        "gamma": float(networks.gam),
        **energy_columns(step.start, step.work, stand, same_leg),
        **response_columns(None if solved is None else solved.response),
        "C_control": control.C,
        "C_predicted": state.predicted,
        "predictor_miss": step.miss,
        "rejected": state.rejected + step.rejected,
        "rejection": step.rejection or state.rejection,
        "corrections": step.corrections,
        "gradients": state.gradients,
        "seconds": seen.seconds,
        "val_C": seen.val_loss,
        "val_accuracy": seen.val_accuracy,
        "kept_C": seen.kept_loss,
        "kept_accuracy": seen.kept_accuracy,
    }
    here, there = (None if k is None else k.metric for k in (step.state.known, known))
    row |= length_columns(before, row, here, there)
    saddle = solved is not None and solved.saddle
    return row | {"transition": SADDLE} if saddle else row


def placed_row(rule: Rule[C], course: C, rows: Sequence[Row], row: Row) -> Row:
    """The row with what the rule says of it, and with the sign of a transition, if there is one.

    Args:
        rule: the rule.
        course: how far it has come.
        rows: the path before the row.
        row: what :func:`measured_row` gave.

    Returns:
        The whole row.
    """
    phase, clock = rule.phase_and_time(course, rows, row)
    row = row | {
        "cycle": course.cycle,
        "stroke": course.stroke,
        "phase": phase,
        "time": clock,
        "C_target": course.target,
        "S_target": course.target_s,
    }
    return {"transition": transition([*rows, row])} | row
