"""What is measured along a process: the state, what steers, and the response; each on its probe."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from thermo_pl.errors import ConfigError, NonFinite, SolverBreakdown
from thermo_pl.estimate import Estimate
from thermo_pl.particles import interpolate
from thermo_pl.process.probing import Kind, ProbeSource
from thermo_pl.process.rows import Stand
from thermo_pl.process.rule import Rule
from thermo_pl.process.settings import Settings
from thermo_pl.process.state import Control, Knowledge, Motion
from thermo_pl.process.system import System
from thermo_pl.response.damping import relaxation_damping
from thermo_pl.response.descent import newton_step
from thermo_pl.response.held_out import slopes_on
from thermo_pl.response.linear import Response, ResponseSystem, linear_response
from thermo_pl.response.measurement import (
    NOTHING,
    Measurement,
    accuracy,
    classification_draws,
    data_force,
    distortion,
    draws_to_decode,
    few_draws,
    latents_in_use,
    measure,
)
from thermo_pl.response.metric import metric
from thermo_pl.response.objective import Objective, Probe
from thermo_pl.response.slopes import Slopes
from thermo_pl.response.solvers import Status

SOLVING: tuple[Kind, Kind] = ("solving", "witness")
"""The probes of a response."""
UNSOLVED = 0.5
"""Relative residual above which a solve tells nothing."""


class Solved(NamedTuple):
    """A linear response, and what it took.

    Attributes:
        response: the response.
        steering: total derivatives of R, D and C on the particles on which C is held.
        saddle: whether the gradient alone met negative curvature. The equilibrium is then a
            saddle, but the responses along the surface are good.
        gradients: gradient evaluations, one for each particle and draw of z.
    """

    response: Response
    steering: Slopes
    saddle: bool
    gradients: int

    def knowledge(self, before: Knowledge | None = None) -> Knowledge:
        """What the next step goes by.

        Args:
            before: in the middle of a step, what the last row has found: its metric is handed on.

        Returns:
            Directions, slopes and metric.
        """
        response = self.response
        known = metric(response) if before is None else before.metric
        return Knowledge(response.directions, response.slopes, self.steering, known)


class Instruments:
    """Measures a system on the probes of a process."""

    def __init__(self, system: System, settings: Settings, seed: int) -> None:
        """Choose the probes.

        Args:
            system: the networks and the data.
            settings: of the process.
            seed: root of its random streams.
        """
        self._system, self._settings, self._seed = system, settings, seed
        self._source = ProbeSource(settings.probes, settings.hold, system.shared)
        self.more = 1
        """Times as many draws as usual that the probes of a leg have; see :class:`State`."""

    def sharper(self, promise: float) -> int:
        """How many more draws the control probe needs to know C as well as is promised.

        Args:
            promise: relative miss that the process answers for.

        Returns:
            Times as many as usual.
        """
        probes = self._settings.probes
        if math.isinf(promise) or "auto" not in (probes.control_samples, probes.measuring_samples):
            return 1
        loss = self.loss("control")
        known = Control(loss.value, C_error=loss.error)
        return probes.sharper(known.relative_error, promise)

    def state(self) -> Measurement:
        """R, D and C on the measuring probe of the leg.

        No solve and no control ever sees this probe, so what is reported is a measurement.

        Returns:
            The measurement.

        Raises:
            NonFinite: if one of them is not finite.
        """
        if self._system.data.mixture:
            return self._checked(self._between(*self._ends()))
        return self._checked(self._at(self._system.data.t))

    def stand(self) -> Stand:
        """The same, and ∂_tJ.

        Returns:
            The state as the measuring probe sees it.

        Raises:
            NonFinite: if a number is not finite.
        """
        networks, data = self._system.networks, self._system.data
        if data.mixture:
            source, target = self._ends()
            measured = self._checked(self._between(source, target))
            force = target.free_energy - source.free_energy
            return Stand(data.leg, measured, force, measured.classification, math.nan)
        measured, probe = self.state(), self._kept("measuring")
        force = data_force(networks, probe, data.t, draws_to_decode(probe))
        _check(math.isfinite(force.value), "measuring", f"dJ/dt = {force.value}", data.t)
        held = measured.classification
        if self._settings.hold == "validation":
            held = self.loss("held")
        return Stand(data.leg, measured, force, held, latents_in_use(networks, probe, data.t))

    def loss(self, kind: Kind) -> Estimate:
        """C on the control probe, which steers, or on another one, which is reported.

        Args:
            kind: which one.

        Returns:
            Nats; the error is over the noise draws.

        Raises:
            NonFinite: if it is not finite.
        """
        data = self._system.data
        draws = classification_draws(self._system.networks, self._kept(kind), data.t)
        found = Estimate.of_draws(NOTHING, draws)
        _check(math.isfinite(found.value), kind, f"C = {found.value}", data.t)
        return found

    def control(self, rule: Rule[Any]) -> Control:
        """What the control probe says.

        Args:
            rule: tells what it is asked for.

        Returns:
            C with its error, and D and the accuracy or nan.
        """
        loss, probe = self.loss("control"), self._kept("control")
        networks, t = self._system.networks, self._system.data.t
        found = Control(loss.value, C_error=loss.error)
        if rule.steers_distortion:
            found = found._replace(D=distortion(networks, probe, t, draws_to_decode(probe)))
        if rule.asks_accuracy:
            batch = interpolate(probe.particles, t)
            found = found._replace(accuracy=accuracy(networks, batch, probe.shared))
        return found

    def respond(
        self, epoch: int, relaxation_time: float, past_saddles: bool, guess: Tensor | None = None
    ) -> Solved:
        """Solve the linear response on the solving probe.

        Args:
            epoch: tells solving probes apart that are drawn anew.
            relaxation_time: sum of the learning rates over the last relaxation.
            past_saddles: accept a response where only the gradient meets negative curvature.
            guess: of θ_λ, θ_γ and θ_t, where they were solved nearby on this probe.

        Returns:
            The response.

        Raises:
            SolverBreakdown: if the solution tells nothing.
        """
        data, settings = self._system.data, self._settings
        objective, other = (self._solving(kind, epoch) for kind in SOLVING)
        damping = None
        if settings.response.damping == "auto":
            damping = self._damping(relaxation_time)
        start = None if guess is None else torch.cat([guess, torch.zeros_like(guess[:1])])
        response = linear_response(objective, data.t, settings.response, other, start, damping)
        solution = response.solution
        # If the gradient alone meets negative curvature, the responses along the surface are good.
        negative = solution.status is Status.NEGATIVE_CURVATURE
        saddle = negative and past_saddles and response.residuals.directions <= UNSOLVED
        # A solve that was cut short is a damped one, and usable. One that points the wrong way, or
        # nowhere, is not.
        finite = bool(response.directions.isfinite().all())
        unusable = negative or solution.status is Status.NON_FINITE or not finite
        if not saddle and (unusable or max(response.residuals) > UNSOLVED):
            raise SolverBreakdown(f"linear response at t = {data.t:.4g}: {solution.message}")
        gradients = objective.probe.draws * response.gradients
        return Solved(response, self._steering(response), saddle, gradients)

    def drive(self, epoch: int, motion: Motion, guess: Tensor) -> tuple[Tensor, int]:
        """Solve where θ goes along a motion of the control, at mid-control.

        Where the equilibrium turns sharply, or is singular, a linear response may lead astray. Of
        the response that is solved here, the guess and no drive at all, the one counts that leaves
        J lowest at the end of the motion, on the solving probe.

        Args:
            epoch: tells solving probes apart that are drawn anew.
            motion: of the control.
            guess: of the result; half of it is done.

        Returns:
            What is to be added to θ in all, shape ``(p,)``, and the gradient evaluations.

        Raises:
            SolverBreakdown: if the solution is not finite.
        """
        t, objective = self._system.data.t, self._solving("solving", epoch)
        system = ResponseSystem(objective, t, self._settings.response, None)
        whole, solution, gradients = system.drive(motion, guess)
        if solution.status is Status.NON_FINITE:
            raise SolverBreakdown(f"drive at t = {t:.4g}: {solution.message}")
        tried = [whole, guess, torch.zeros_like(guess)]
        left = [_energy_after(objective, t, motion, drive - guess / 2) for drive in tried]
        best = tried[left.index(min(left))]
        return best, objective.probe.draws * (gradients + len(tried))

    def descend(self, epoch: int) -> int:
        """Take the Newton steps that come between a motion and its relaxation.

        Args:
            epoch: tells solving probes apart that are drawn anew.

        Returns:
            The gradient evaluations.
        """
        t, spent = self._system.data.t, 0
        for _ in range(self._settings.descents):
            objective, exact = (self._solving("solving", epoch, single) for single in (True, False))
            step = newton_step(objective, exact, t, self._settings.response)
            self._system.shift(step.change)
            spent += objective.probe.draws * step.gradients
        return spent

    def _solving(self, kind: Kind, epoch: int, single: bool = True) -> Objective:
        networks, key = self._system.networks, epoch if self._settings.probes.redraw else 0
        probe = self._source.drawn(kind, key, networks, self._system.data, self._seed)
        single = single and self._settings.response.single
        return Objective(networks, probe, torch.float32 if single else None)

    def _steering(self, response: Response) -> Slopes:
        # On held-out particles C follows the same θ, but in its own way.
        if self._settings.hold == "train":
            return response.slopes
        networks, probe = self._system.networks, self._kept("control")
        if not networks.encoder.exact:
            probe = few_draws(probe, draws_to_decode(probe))
        memory = self._settings.response.memory
        objective = Objective(networks, probe)
        return slopes_on(objective, self._system.data.t, response.directions, memory)

    def _damping(self, relaxation_time: float) -> Tensor:
        optimizer = self._system.optimizer
        if optimizer is None:
            raise ConfigError(
                "response.damping: got auto, and a system without an optimizer; allowed: a number, "
                "or System(networks, data, optimizer)"
            )
        return relaxation_damping(self._system.networks, optimizer, relaxation_time)

    def _kept(self, kind: Kind) -> Probe:
        networks, data = self._system.networks, self._system.data
        return self._source.kept(kind, networks, data, self._seed, self.more)

    def _at(self, t: float) -> Measurement:
        probe = self._kept("measuring")
        return measure(self._system.networks, probe, t, draws_to_decode(probe))

    def _ends(self) -> tuple[Measurement, Measurement]:
        return self._at(0.0), self._at(1.0)

    def _between(self, source: Measurement, target: Measurement) -> Measurement:
        # The mean over a mixture is that over its two ends, each by its share.
        t, networks = self._system.data.t, self._system.networks
        return Measurement(
            (1 - t) * source.rate + t * target.rate,
            (1 - t) * source.distortion + t * target.distortion,
            (1 - t) * source.classification + t * target.classification,
            float(networks.lam),
            float(networks.gam),
            t,
        )

    def _checked(self, measured: Measurement) -> Measurement:
        terms = (measured.rate, measured.distortion, measured.classification)
        found = f"R, D, C = {[term.value for term in terms]}"
        _check(measured.finite, "measuring", found, measured.t)
        return measured


def _check(finite: bool, kind: Kind, found: str, t: float) -> None:
    if not finite:
        raise NonFinite(
            f"{kind} probe: got {found} at t = {t:.4g}; allowed: finite numbers; take smaller "
            "steps, more damping or a lower learning rate"
        )


@torch.no_grad()
def _energy_after(objective: Objective, t: float, motion: Motion, shift: Tensor) -> float:
    # J at the end of a motion that is half done, with θ shifted
    here = objective.means(objective.theta + shift.to(objective.theta), t + motion.t / 2)
    means = objective.probe.shared.sum(here)
    change = objective.weights.new_tensor([0.0, motion.lam / 2, motion.gam / 2])
    return float((objective.weights + change) @ means.to(objective.weights))
