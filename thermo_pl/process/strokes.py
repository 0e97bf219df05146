r"""Strokes: quasi-static motions with two conditions on λ, γ, C and λD + γC.

While the data move by dt, a motion (dλ, dγ) of the control is two numbers, so two conditions fix
it. A condition holds a quantity X, or drives it at a constant rate. It is linear in the motion:

    X_λ dλ + X_γ dγ = ΔX - X_t dt,

with the total derivatives of the linear response. Iso-classification holds C and drives λ; the
adiabat holds γ and λD + γC, of which S = ΔR - ΔF = -Δ(λD + γC) is the change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from thermo_pl.errors import SolverBreakdown, require
from thermo_pl.process.rule import Array, Point
from thermo_pl.process.step_control import ROUNDING

QUANTITIES = ("lam", "gam", "C", "S")
"""What a stroke can hold or drive; S stands for the slides' ΔR - ΔF."""
RETURN: Literal["return"] = "return"
"""In place of a change: back to the value at the start of the cycle."""
FARTHEST = 0.5
"""By how much λ and γ at a corner may change at once, relative, while a cycle is closed."""
LIGHTLY = 0.1
"""Share of its quantity by which a change counts as much as the whole allowed defect."""
VANISHES = 1e-6
"""What counts as zero, relative to the terms it is made of."""


Change = float | Literal["return"]


@dataclass
class Stroke:
    """A part of a process: two of the changes of λ, γ, C and S, spread evenly over it.

    Examples: iso-classification ``{C: 0, lam: 0.5}``; the adiabat ``{gam: 0, S: 0}``; iso-γ
    ``{gam: 0, lam: 0.5}``; iso-λ ``{lam: 0, gam: 1}``; both fixed while the data move
    ``{lam: 0, gam: 0}``. In place of a number, ``return`` leads back to the value at the start of
    the cycle.

    Attributes:
        name: as it appears in path.csv, strokes.json and figures.
        steps: macro-steps.
        lam: change of λ.
        gam: change of γ.
        C: change of the classification loss, nats; held at 0.
        S: change ΔR - ΔF = -Δ(λD + γC), nats; held at 0.
        moves: whether the data move to the next domain meanwhile.
        adjust: which of the changes the closing of a cycle may adjust, if any.
        ease: how many short steps come before the first one. They end at 1/n² of a stroke of n
            steps, and at even ratios from there up to 1/n. Directions of θ that the data of a
            corner leave undetermined, such as weights of pixels that are black in all of its
            images, jump as soon as the data move. J is then off by the square of the step: after
            so short a one by too little to spoil the order of a shortcut.
        clock: |λ̇| where λ sets the clock, as on the adiabats of the slides; if not given, the
            stroke takes one unit of time.
    """

    name: str
    steps: int = 10
    lam: Change | None = None
    gam: Change | None = None
    C: Change | None = None
    S: Change | None = None
    moves: bool = True
    adjust: Literal["lam", "gam", "C", "S"] | None = None
    clock: float | None = None
    ease: int = 0

    def __post_init__(self) -> None:
        require(bool(self.name), "name", self.name, "a name")
        require(self.steps > 0, f"{self.name}.steps", self.steps, "a whole number > 0")
        given = self.changes
        allowed = "exactly two of lam, gam, C and S: they fix the motion"
        require(len(given) == 2, f"stroke {self.name}", sorted(given), allowed)
        for name, change in given.items():
            ok = change == RETURN or math.isfinite(change)
            require(ok, f"{self.name}.{name}", change, "a finite number, or return")
        require("S" not in given or given["S"] != RETURN, f"{self.name}.S", RETURN, "a number")
        require(self.ease >= 0, f"{self.name}.ease", self.ease, "a whole number ≥ 0")
        ok = self.adjust is None or isinstance(given.get(self.adjust), float | int)
        require(ok, f"{self.name}.adjust", self.adjust, "one of the changes given as numbers")
        ok = self.clock is None or 0 < self.clock < math.inf
        require(ok, f"{self.name}.clock", self.clock, "a number > 0")
        ok = self.moves or any(change != 0 for change in given.values())
        allowed = "true, or a change that is not 0: nothing would move"
        require(ok, f"{self.name}.moves", self.moves, allowed)

    def node_after(self, u: float) -> float:
        """Where the next step ends.

        Args:
            u: share of the stroke that is done.

        Returns:
            The next node of the grid.
        """
        short = (self.steps ** (i / self.ease - 2) for i in range(self.ease))
        ahead = (node for node in short if u < node * (1 - ROUNDING))
        return next(ahead, None) or (math.floor(u * self.steps + ROUNDING) + 1) / self.steps

    @property
    def changes(self) -> dict[str, Change]:
        """The two changes that are given."""
        changes = {name: getattr(self, name) for name in QUANTITIES}
        return {name: change for name, change in changes.items() if change is not None}


def motion(point: Point, targets: Mapping[str, float], dt: float) -> tuple[float, float]:
    """The step (Δλ, Δγ) that brings two quantities to their targets in the linear response.

    Args:
        point: where the step begins.
        targets: the values two quantities shall have at its end.
        dt: how far the data move.

    Returns:
        Δλ and Δγ.

    Raises:
        SolverBreakdown: if the two conditions do not fix a motion there.
    """
    names = list(targets)
    rows = _conditions(point, names)
    misses = np.array([targets[name] - point.value(name) for name in names]) - rows[:, 2] * dt
    step = np.linalg.solve(rows[:, :2], misses)
    return float(step[0]), float(step[1])


def spread(steps: Sequence[int], given_off: Sequence[float], order: int) -> tuple[int, ...]:
    """As many steps in all, spread over strokes so that together they give off least.

    n steps of a stroke give off c/nᵖ, and where c is comes from a pass that was measured. The sum
    is least where the next step would save the same in all strokes: n ∝ c^{1/(p+1)}. Of whole
    numbers the best are found by giving step after step to the stroke that it saves most in.

    Args:
        steps: of each stroke in a pass.
        given_off: dissipation of each stroke there, nats.
        order: p; 1 for sudden steps, 3 for a shortcut, 5 for one of two drives.

    Returns:
        Steps of each stroke, one or more.
    """
    sizes = [max(lost, 0.0) * n**order for n, lost in zip(steps, given_off, strict=True)]
    found = [1] * len(steps)
    for _ in range(sum(steps) - len(steps)):
        saved = [c * (n**-order - (n + 1) ** -order) for n, c in zip(found, sizes, strict=True)]
        found[saved.index(max(saved))] += 1
    return tuple(found)


def _conditions(point: Point, names: Sequence[str]) -> Array:
    # The gradients of two quantities. They are refused where they do not fix a motion in λ and γ.
    rows = np.stack([point.gradient(name) for name in names])
    size = np.stack([_terms(point, name) for name in names])
    # a determinant of terms that cancel is zero within the solver's error
    terms = size[0, 0] * size[1, 1] + size[0, 1] * size[1, 0]
    if abs(np.linalg.det(rows[:, :2])) <= VANISHES * terms:
        detail = ""
        if set(names) == {"gam", "S"}:
            detail = ": the denominator D + lam D_lam + gam C_lam of the adiabat vanishes"
        raise SolverBreakdown(
            f"stroke: got conditions on {' and '.join(names)} that do not fix a motion at lambda = "
            f"{point.lam:.4g}, gamma = {point.gam:.4g}{detail}; allowed: two independent ones; "
            "take another stroke, start elsewhere, or look for a transition here"
        )
    return rows


def _terms(point: Point, name: str) -> Array:
    # absolute sizes of the terms that the derivatives in λ and γ are sums of
    sizes: Array = np.abs(point.gradient(name)[:2])
    if name == "S":
        by_distortion, by_loss = np.abs(point.gradient("D")[:2]), np.abs(point.gradient("C")[:2])
        sizes = np.abs(np.array([point.D, point.C])) + point.lam * by_distortion
        sizes += point.gam * by_loss
    return sizes


def closing_step(
    strokes: Sequence[Stroke],
    corners: Sequence[tuple[Point, Point]],
    defect: tuple[float, float],
    allowed: tuple[float, float],
) -> list[float]:
    """A step towards a closed cycle in the changes that may be adjusted.

    Both ends of a stroke lie on the equilibrium surface. At its end its two quantities have their
    values at the start plus the changes. So

        G_end d(λ, γ)_end = G_start d(λ, γ)_start + d(changes),

    where G are the total derivatives of both quantities in λ and γ. Chained over the strokes this
    is the derivative of the closure. It is exact on the surface, and costs nothing: the responses
    at the corners are known anyway.

    The step is Newton's, by least squares. The defect counts in units of what is allowed of it, a
    change in units of a tenth of its quantity. So a change on which the closure hardly depends is
    left alone where the other one will do. As the allowed defect goes to zero, it is Newton's step
    itself. A step that would move λ or γ at a corner by more than half is shortened, as the closure
    is not linear so far away.

    Args:
        strokes: the strokes of the cycle; two of them have ``adjust``.
        corners: for each stroke the points at its start and at its end.
        defect: (λ, γ) at the end of the cycle less those at its start.
        allowed: the defect that is allowed.

    Returns:
        What to add to the two adjustable changes, in the order of the strokes.

    Raises:
        SolverBreakdown: if the closure does not depend on them, or if the two conditions of a
            stroke do not fix a motion at its end.
    """
    adjusted = [index for index, stroke in enumerate(strokes) if stroke.adjust]
    state: Array = np.zeros((2, 2))  # d(λ, γ) / d(the two adjustable changes)
    ends: list[Array] = []
    for index, (stroke, (start, end)) in enumerate(zip(strokes, corners, strict=True)):
        names = list(stroke.changes)
        change = np.zeros((2, 2))
        if index in adjusted:
            change[names.index(str(stroke.adjust)), adjusted.index(index)] = 1.0
        for row, name in enumerate(names):
            if stroke.changes[name] != RETURN:  # that one forgets where the stroke began
                change[row] += start.gradient(name)[:2] @ state
        matrix = _conditions(end, names)[:, :2]
        state = np.asarray(np.linalg.solve(matrix, change), dtype=np.float64)
        ends.append(state / np.array([[end.lam], [end.gam]]))
    if abs(np.linalg.det(state)) <= VANISHES * np.abs(state).max() ** 2:
        raise SolverBreakdown(
            "closing: got two changes on which (lambda, gamma) at the end of the cycle do not "
            "depend independently; allowed: two that do; adjust others, or start elsewhere"
        )
    sizes = [LIGHTLY * abs(corners[k][1].value(str(strokes[k].adjust))) for k in adjusted]
    unit = np.asarray(allowed)
    rows = np.vstack([state / unit[:, None], np.diag(1 / np.asarray(sizes))])
    step = np.linalg.lstsq(rows, np.concatenate([-np.asarray(defect) / unit, np.zeros(2)]))[0]
    farthest = max(float(np.abs(end @ step).max()) for end in ends)
    return [float(x) for x in step * min(1.0, FARTHEST / farthest if farthest else 1.0)]
