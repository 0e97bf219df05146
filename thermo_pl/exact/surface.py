"""An equilibrium surface in closed form, and the processes on it: every point of one is a root."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from scipy.optimize import brentq
from torch import Tensor

from thermo_pl.errors import InfeasibleTarget, SolverBreakdown, require

ROOT = {"xtol": 1e-15, "rtol": 4 * torch.finfo(torch.float64).eps, "maxiter": 500}
"""Roots to the last digits; a bracket of many decades is halved some hundred times."""
ON_TARGET = 1e-9
"""How far a root may be from its target, relative; a jump across the target is farther."""
VANISHES = 1e-10
"""What counts as zero, relative to the terms it is the difference of."""
BRACKET = (1e-6, 1e6)
"""Where γ is looked for unless told."""


class State(NamedTuple):
    """A point of the equilibrium surface, in nats."""

    R: float
    D: float
    C: float
    F: float


class Surface(ABC):
    """R, D and C of λ, γ, t at equilibrium, with their derivatives; processes follow from them."""

    @property
    @abstractmethod
    def moves(self) -> bool:
        """Whether the data move with t."""

    @abstractmethod
    def state(self, lam: float, gam: float, t: float = 0.0) -> State:
        """R, D, C and F = min J = R + λD + γC.

        Args:
            lam: λ.
            gam: γ.
            t: between 0 and 1.

        Returns:
            Nats.
        """

    @abstractmethod
    def derivatives(self, lam: float, gam: float, t: float = 0.0) -> Tensor:
        """Total derivatives of R, D, C along the surface.

        Args:
            lam: λ.
            gam: γ.
            t: between 0 and 1.

        Returns:
            Shape ``(3, 3)``: rows R, D, C, columns λ, γ, t.
        """

    def gamma_at(
        self,
        classification: float,
        lam: float,
        t: float = 0.0,
        bracket: tuple[float, float] = BRACKET,
    ) -> float:
        """The γ at which the classification loss C(λ, γ, t) has a given value.

        C falls with γ; the root is found to the last digits.

        Args:
            classification: the target C, in nats.
            lam: λ ≥ 0.
            t: between 0 and 1.
            bracket: where γ is looked for, the smaller end first.

        Returns:
            γ.

        Raises:
            ConfigError: if an argument is not allowed.
            InfeasibleTarget: if C is not reached in the bracket, or jumps across the target.
        """
        low, high = bracket
        require(0 <= low < high < math.inf, "bracket", bracket, "two numbers, 0 <= low < high")
        least, most = (self.state(lam, gam, t).C for gam in (high, low))
        if not least <= classification <= most:
            raise InfeasibleTarget(
                f"C={classification:.9g} at lam={lam}, t={t}: C goes from {most:.9g} at gam={low} "
                f"to {least:.9g} at gam={high}; take a target in between, or a wider bracket"
            )
        gam = _root(lambda gam: self.state(lam, gam, t).C - classification, low, high)
        reached = self.state(lam, gam, t).C
        if abs(reached - classification) > ON_TARGET * max(1, abs(classification)):
            raise InfeasibleTarget(
                f"C={classification:.9g} at lam={lam}, t={t}: C jumps across it at gam={gam:.9g}, "
                "where two latents swap the last place; take another target or latent_dim"
            )
        return gam

    def iso_classification(
        self,
        classification: float,
        lam_start: float,
        lam_rate: float,
        times: Sequence[float],
        bracket: tuple[float, float] = BRACKET,
    ) -> Tensor:
        """γ(t) of the iso-classification process, C constant while λ(t) = λ_0 + k t.

        Every γ is a root, so nothing accumulates: the solution of γ̇ = -(k C_λ + C_t)/C_γ.

        Args:
            classification: the constant C, in nats.
            lam_start: λ_0.
            lam_rate: k.
            times: values of t between 0 and 1, n of them.
            bracket: where γ is looked for, the smaller end first.

        Returns:
            γ, shape ``(n,)``.

        Raises:
            ConfigError: if an argument is not allowed.
            InfeasibleTarget: if C cannot be held somewhere; the message says at which λ and t.
        """
        gams = [self.gamma_at(classification, lam_start + lam_rate * t, t, bracket) for t in times]
        return torch.tensor(gams, dtype=torch.float64)

    def adiabat(self, lam_start: float, gam: float, times: Sequence[float]) -> Tensor:
        """λ(t) of the adiabatic process: γ constant and S = -Δ(λD + γC) = 0 while the data move.

        It solves dλ/dt = -(λ D_t + γ C_t)/(D + λ D_λ + γ C_λ). Each λ is a root: λD + γC has its
        value at the start. Of several roots it is the one nearest to the λ before.

        Args:
            lam_start: λ at the first time.
            gam: γ ≥ 0.
            times: values of t between 0 and 1 in the order they are passed, n of them; between
                two of them λ may at most double or halve.

        Returns:
            λ, shape ``(n,)``, the first being lam_start.

        Raises:
            ConfigError: if an argument is not allowed, or the data do not move.
            SolverBreakdown: if the denominator D + λ D_λ + γ C_λ vanishes on the way.
        """
        allowed = "data that move: on an adiabat λ cannot move without them"
        require(self.moves, "data", "at rest", allowed)
        require(len(times) > 0, "times", times, "at least one t")
        heat, slope = self._heat(lam_start, gam, times[0])
        lams = [lam_start]
        for t in times[1:]:
            lams.append(self._adiabatic_step(heat, math.copysign(1, slope), lams[-1], gam, t))
        return torch.tensor(lams, dtype=torch.float64)

    # λD + γC and its derivative in λ, refused where that vanishes
    def _heat(self, lam: float, gam: float, t: float) -> tuple[float, float]:
        here, (_, d_lam, c_lam) = (
            self.state(lam, gam, t),
            self.derivatives(lam, gam, t)[:, 0].tolist(),
        )
        terms = here.D, lam * d_lam, gam * c_lam
        if abs(sum(terms)) <= VANISHES * sum(map(abs, terms)):
            raise SolverBreakdown(_no_adiabat(lam, gam, t))
        return lam * here.D + gam * here.C, sum(terms)

    # the root nearest to ``lam``; past a fold there is none, or one where the slope has turned
    def _adiabatic_step(self, heat: float, sign: float, lam: float, gam: float, t: float) -> float:
        def excess(value: float) -> float:
            here = self.state(value, gam, t)
            return value * here.D + gam * here.C - heat

        for factor in (1 + 2.0**-halvings for halvings in range(10, -1, -1)):
            if excess(lam / factor) * excess(lam * factor) <= 0:
                found = _root(excess, lam / factor, lam * factor)
                if sign * self._heat(found, gam, t)[1] > 0:
                    return found
                break
        raise SolverBreakdown(_no_adiabat(lam, gam, t))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high, **ROOT))


def _no_adiabat(lam: float, gam: float, t: float) -> str:
    return (
        f"no adiabat near lam={lam:.9g}, gam={gam:.9g}, t={t:.9g}: the denominator "
        "D + lam D_lam + gam C_lam vanishes there or the steps in t are too long; take shorter "
        "steps or another pixel variance, which moves the zero of D"
    )
