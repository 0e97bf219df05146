"""The linear response of the equilibrium: how θ, R, D and C follow λ, γ and t.

Stationarity ∇J(θ, λ, γ, t) = 0, kept for all time, gives

    A θ_λ = -∇D,   A θ_γ = -∇C,   A θ_t = -∂_t∇J,   A = ∇²J,

and the total derivatives X_a = ∇X·θ_a + ∂_aX of X in {R, D, C} along the surface. All of it is
taken on a frozen probe: fixed particles and fixed noise (common random numbers).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from thermo_pl.errors import ConfigError, require
from thermo_pl.progress import advance, stage
from thermo_pl.response.curvature import CURVATURES, MEMORY, Curvature, gauss_newton
from thermo_pl.response.objective import Objective
from thermo_pl.response.partials import gradient_of, partials
from thermo_pl.response.slopes import CONTROLS, Slopes
from thermo_pl.response.solvers import (
    Matvec,
    Solution,
    Status,
    conjugate_gradient,
    dense_solve,
    minres,
    nystrom,
)

Solver = Literal["conjugate_gradient", "minres", "dense"]

DRIVEN = 0.1
"""Tolerance of a drive, in that of a response: what it misses is given off."""
FIRMER = (1.0, 4.0, 16.0)
"""What the damping of a drive is multiplied by, as long as the curvature is negative."""
SKETCHED = 256
"""Particles that the preconditioner is made on: more make it dearer and hardly better."""


class Residuals(NamedTuple):
    """Relative residuals of the linear systems of a response.

    Attributes:
        directions: the largest of θ_λ, θ_γ and θ_t.
        newton: that of the Newton step.
    """

    directions: float
    newton: float


@dataclass(frozen=True)
class Response:
    """The linear response of an equilibrium.

    Attributes:
        directions: θ_λ, θ_γ and θ_t, rows in the order of
            :data:`~thermo_pl.response.slopes.CONTROLS`; shape ``(3, p)``.
        newton: (A+μ)⁻¹g with g = ∇J, shape ``(p,)``: less it, θ is at the minimum of the damped
            quadratic model of J.
        slopes: total derivatives of R, D and C.
        gradient_t: ∂_t∇J at fixed θ, shape ``(p,)``.
        stationarity: Newton decrement ½ gᵀ(A+μ)⁻¹g in nats: what J would still fall by.
        residuals: relative residuals of the directions and of ``newton``.
        solution: how the linear systems were solved. With a damping for each parameter its
            residuals and its ``lowest`` are those of the system scaled to one damping for all.
        gradients: gradient evaluations on the probe since the system was made or last solved. A
            product counts as one for each right-hand side, a linearisation as one; so do the
            parts of a probe that do not fit into the memory and are linearised for each product.
    """

    directions: Tensor
    newton: Tensor
    slopes: Slopes
    gradient_t: Tensor
    stationarity: float
    residuals: Residuals
    solution: Solution
    gradients: int


@dataclass
class ResponseSettings:
    """How the linear response is computed.

    Attributes:
        damping: μ of (A+μ); its inverse is the response after a relaxation time 1/μ. Or ``auto``:
            the caller gives one for each parameter, of the relaxation that follows; see
            :func:`thermo_pl.response.damping.relaxation_damping`.
        curvature: ``gauss_newton``, positive semi-definite for convex losses, or ``hessian``.
        tolerance: relative residual of the solves. The Newton decrement is a yardstick: conjugate
            gradients stop where it still grows by no more than this share.
        max_iterations: products with A at most.
        solver: ``conjugate_gradient``; ``minres`` for an indefinite Hessian; ``dense`` for a few
            hundred parameters.
        rank: of the Nyström preconditioner of the conjugate gradients; 0 for none. 60 to 100 pay
            where a solve takes more than about 40 iterations.
        memory: MiB that the graphs of a solve may take; a larger probe is run in parts.
        single: solve in float32 whatever the model is in: faster, to 1e-3 or so.

    Example:
        >>> import thermo_pl as tp
        >>> exact = tp.ResponseSettings(damping=0.01, curvature="hessian", solver="minres")
        >>> tp.ResponseSettings(rank=80, curvature="hessian")
        Traceback (most recent call last):
        thermo_pl.errors.ConfigError: response.rank: got 80; allowed: 0, unless the solver...
    """

    damping: float | Literal["auto"] = 1.0
    curvature: Curvature = "gauss_newton"
    tolerance: float = 1e-2
    max_iterations: int = 50
    solver: Solver = "conjugate_gradient"
    rank: int = 0
    memory: int = MEMORY
    single: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        ok = self.damping == "auto" if isinstance(self.damping, str) else _finite(self.damping)
        require(ok, "response.damping", self.damping, "a finite number ≥ 0, or auto")
        ok = 0 < self.tolerance < 1
        require(ok, "response.tolerance", self.tolerance, "a number between 0 and 1")
        ok = self.max_iterations > 0
        require(ok, "response.max_iterations", self.max_iterations, "a whole number > 0")
        require(self.rank >= 0, "response.rank", self.rank, "a whole number ≥ 0")
        require(self.memory > 0, "response.memory", self.memory, "a whole number > 0 (MiB)")
        ok = self.rank == 0 or (self.solver, self.curvature) == (
            "conjugate_gradient",
            "gauss_newton",
        )
        allowed = "0, unless the solver is conjugate_gradient and the curvature gauss_newton"
        require(ok, "response.rank", self.rank, allowed)


def _finite(damping: float) -> bool:
    return 0 <= damping < math.inf


def linear_response(
    objective: Objective,
    t: float,
    settings: ResponseSettings,
    witness: Objective | None = None,
    start: Tensor | None = None,
    damping: Tensor | None = None,
) -> Response:
    """Solve for θ_λ, θ_γ, θ_t and the Newton decrement, all right-hand sides together.

    On a single probe ½ gᵀ(A+μ)⁻¹g has a floor ½ tr((A+μ)⁻¹Σ)/n from the noise Σ/n of g. With an
    independent witness the two gradients' noises do not meet, ½ g_witnessᵀ(A+μ)⁻¹g is free of the
    floor, and may come out slightly negative at equilibrium.

    Args:
        objective: the model on the solving probe.
        t: domain coordinate.
        settings: curvature, damping and solver.
        witness: the model on an independent probe, for the decrement.
        start: where the solver starts, such as the ``solution.x`` of a nearby equilibrium.
        damping: one for each parameter, > 0, shape ``(p,)``, where the settings say ``auto``.

    Returns:
        The response.

    Raises:
        ConfigError: if a damping is missing, or given and not wanted, or not positive.

    Example:
        C falls as γ rises, whatever θ is:

        >>> import torch
        >>> import thermo_pl as tp
        >>> x, y = torch.rand(8, 1, 2, 2), torch.eye(2).repeat(4, 1)
        >>> parts = tp.MLPEncoder([1, 2, 2], 2), tp.LinearClassifier(2, 2)
        >>> networks = tp.Networks(*parts, marginal=tp.StandardNormal(2), lam=0.0, gam=5.0)
        >>> probe = tp.Probe(tp.TensorPairs(x, 1 - x, y).all(), networks.noise(3, 8))
        >>> settings = tp.ResponseSettings(damping=1.0)
        >>> response = tp.linear_response(tp.Objective(networks, probe), t=0.0, settings=settings)
        >>> response.slopes.C.gam < 0
        True
    """
    return ResponseSystem(objective, t, settings, damping).response(witness, start)


class ResponseSystem:
    """The linear systems of a response, with the linearisation kept: to solve them again is cheap.

    With a damping d for each parameter in place of one number μ, θ = s θ' with s = √(μ/d), μ the
    mean of d, makes (A + d) into s(A + d)s = sAs + μ: the same system in other units.
    """

    def __init__(
        self, objective: Objective, t: float, settings: ResponseSettings, damping: Tensor | None
    ) -> None:
        """Take the derivatives and linearise.

        Args:
            objective: the model on the solving probe.
            t: domain coordinate.
            settings: curvature, damping and solver.
            damping: one for each parameter where the settings say ``auto``.

        Raises:
            ConfigError: if a damping is missing, or given and not wanted, or not positive.
        """
        self._objective, self._t, self._settings = objective, t, settings
        self._damping, self._units = _damping_and_units(settings, damping, objective.theta)
        self._partials = partials(objective, t, settings.memory)
        jacobian = self._partials.jacobian
        _, by_distortion, by_loss = jacobian
        self._gradient = objective.weights.to(jacobian) @ jacobian
        # those of the directions, in the order of CONTROLS, and of the Newton step behind them
        forces = [-by_distortion, -by_loss, -self._partials.gradient_t]
        self._rhs = torch.stack([*forces, self._gradient])
        self._matrix = CURVATURES[settings.curvature](objective, t, settings.memory)
        self._spent = 6.0  # since the last response: rows of the Jacobian, their t derivatives

    def response(
        self, witness: Objective | None = None, start: Tensor | None = None, factor: float = 1.0
    ) -> Response:
        """Solve.

        Args:
            witness: the model on an independent probe, for the decrement.
            start: where the solver starts.
            factor: what the damping is multiplied by.

        Returns:
            The response.
        """
        tolerance = self._settings.tolerance
        solution = self._solve(self._rhs, start, factor * self._damping, tolerance, yardsticks=1)
        directions, newton = solution.x[:-1], solution.x[-1]
        slopes = self._partials.jacobian.double() @ directions.double().T
        slopes[:, CONTROLS.index("t")] += self._partials.partial_t
        memory = self._settings.memory
        other = self._gradient if witness is None else gradient_of(witness, self._t, memory)
        decrement = 0.5 * float(other.double() @ newton.double())
        gradients = self._counted(witness is not None)
        residual = solution.residual
        return Response(
            directions,
            newton,
            Slopes.of(slopes),
            self._partials.gradient_t,
            decrement,
            Residuals(float(residual[:-1].max()), float(residual[-1])),
            solution,
            gradients,
        )

    def drive(self, motion: Sequence[float], start: Tensor) -> tuple[Tensor, Solution, int]:
        """Solve for θ'Δw alone: one right-hand side, and more exactly.

        θ is no equilibrium on the way, and the curvature may be negative there. The damping is then
        raised until it is not, or θ'Δw is left as it was guessed.

        Args:
            motion: Δw, changes of λ, γ and t.
            start: a guess of θ'Δw, shape ``(p,)``.

        Returns:
            θ'Δw, how it was solved, and gradient evaluations on the probe.
        """
        amounts = torch.tensor(motion, dtype=self._rhs.dtype, device=self._rhs.device)
        rhs, tolerance = (amounts @ self._rhs[:-1])[None], DRIVEN * self._settings.tolerance
        for factor in FIRMER:
            solution = self._solve(rhs, start[None], factor * self._damping, tolerance)
            if solution.status is not Status.NEGATIVE_CURVATURE:
                return solution.x[0], solution, self._counted(0)
        return start, solution, self._counted(0)

    def _counted(self, more: int) -> int:
        # gradient evaluations since the last solve
        self._spent += self._matrix.gradients + more
        gradients = math.ceil(round(self._spent, 6))
        self._spent = -self._matrix.gradients
        return gradients

    def _solve(
        self,
        rhs: Tensor,
        start: Tensor | None,
        damping: float,
        tolerance: float,
        yardsticks: int = 0,
    ) -> Solution:
        settings, units = self._settings, self._units
        limit = settings.max_iterations
        scaled = _scaled(self._matrix, units)

        def damped(rows: Tensor) -> Tensor:
            advance()
            return scaled(rows) + damping * rows

        rhs = units * rhs
        if start is not None:
            start = start.to(rhs) / units
        with stage(f"linear response at t = {self._t:.4g}", limit):
            if settings.solver == "dense":
                solution = dense_solve(damped, rhs, tolerance)
            elif settings.solver == "minres":
                solution = minres(damped, rhs, tolerance, limit, start)
            else:
                preconditioner = self._preconditioner(damping) if settings.rank else None
                solution = conjugate_gradient(
                    damped, rhs, tolerance, limit, start, preconditioner, yardsticks
                )
        return replace(solution, x=units * solution.x)

    def _preconditioner(self, damping: float) -> Matvec:
        # of the Gauss-Newton matrix on a few particles, at random: a probe can be in some order
        generator = torch.Generator().manual_seed(0)
        here = math.ceil(SKETCHED / self._objective.probe.shared.ranks)
        some = torch.randperm(len(self._objective), generator=generator)[:here]
        matrix = gauss_newton(self._objective.subset(some), self._t, self._settings.memory)
        scaled = _scaled(matrix, self._units)
        inverse = nystrom(scaled, self._objective.theta, self._settings.rank, damping)
        self._spent += matrix.gradients * len(some) / len(self._objective)
        return inverse


def _scaled(matrix: Matvec, units: Tensor | float) -> Matvec:
    return lambda rows: units * matrix(units * rows)


def _damping_and_units(
    settings: ResponseSettings, damping: Tensor | None, theta: Tensor
) -> tuple[float, Tensor | float]:
    # one damping for all parameters, and the units of θ in which it is one
    if settings.damping != "auto":
        allowed = "none, as response.damping is a number"
        require(damping is None, "damping", "one for each parameter", allowed)
        return float(settings.damping), 1.0
    allowed = "one for each parameter, from relaxation_damping, as response.damping is auto"
    if damping is None:
        raise ConfigError(f"damping: got None; allowed: {allowed}")
    require(damping.shape == theta.shape, "damping", list(damping.shape), allowed)
    ok = bool((damping > 0).all()) and bool(damping.isfinite().all())
    require(ok, "damping", damping.min().item(), "finite numbers > 0")
    mean = damping.mean()
    return float(mean), (mean / damping).sqrt().to(theta)
