"""Rows of a Carnot cycle made by hand: a rectangle in (γ, C), whose ledger is arithmetic."""

from __future__ import annotations

from typing import Any

from thermo_pl.path.columns import COLUMNS, Row

STROKES = ("hot", "cooling", "cold", "heating")
# λ, γ, R, D, C at A, B, C, D and again at A
CORNERS = (
    (1.0, 1.0, 2.0, 6.0, 0.8),
    (1.5, 2.0, 2.5, 5.0, 0.8),
    (2.0, 2.0, 4.0, 3.0, 0.4),
    (1.2, 1.0, 3.0, 4.0, 0.4),
    (1.0, 1.0, 2.0, 6.0, 0.8),
)
NAMES = ("lambda", "gamma", "R", "D", "C")
ERRORS = {"R_error": 0.0, "D_error": 0.1, "C_error": 0.01, "J_error": 0.2, "J_t_error": 0.3}


def row(cycle: int, stroke: str, phase: float, leg: int, t: float, **others: Any) -> Row:
    """A point on the straight line between two corners; C is held on hot and cold."""
    made: Row = dict.fromkeys(COLUMNS, 0.0) | ERRORS
    made |= {
        "step": 0,
        "cycle": cycle,
        "stroke": stroke,
        "phase": phase,
        "time": phase,
        "leg": leg,
        "t": t,
    }
    for name, start, end in zip(NAMES, CORNERS[leg], CORNERS[leg + 1], strict=True):
        made[name] = (1 - t) * start + t * end
    made["J"] = made["R"] + made["lambda"] * made["D"] + made["gamma"] * made["C"]
    made["C_target"] = made["C"] if leg in {0, 2} else float("nan")
    made |= {"C_gamma": -0.1, "relaxation": 0.01, "relaxation_error": 0.001, "length": 0.5}
    made |= {"gradients": 100, "seconds": 1.5, "transition": "", "solver_status": "converged"}
    return made | others


def one_pass(cycle: int, steps: int = 2, **others: Any) -> list[Row]:
    """The rows of a pass; each stroke but the first of all settles on its leg."""
    rows = [row(0, "equilibration", 0.0, 0, 0.0)] if cycle == 0 else []
    for leg, name in enumerate(STROKES):
        begin = 1 if (cycle, leg) == (0, 0) else 0
        rows += [row(cycle, name, leg + k / steps, leg, k / steps) for k in range(begin, steps + 1)]
    return [made | others for made in rows]


def two_passes() -> list[Row]:
    """A pass to run in, which lies elsewhere, the pass that counts, and its closing row."""
    rows = [*one_pass(0, R=1.5, J=7.0), *one_pass(1), row(1, "closure", 4.0, 0, 0.0)]
    return [made | {"step": step} for step, made in enumerate(rows)]
