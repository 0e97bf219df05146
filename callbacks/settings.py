"""Settings and state of a quasi-static process."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from torch import Tensor

from thermo_pl.errors import require
from thermo_pl.path.columns import Row
from thermo_pl.response.slopes import Slopes

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

    C: float
    D: float = NAN


@dataclass
class Equilibration:
    """How a run is brought to equilibrium at (λ0, γ0, t = 0) before it moves.

    Attributes:
        stationarity: Newton decrement in nats below which the model counts as stationary, as
            the mean of the last two checks.
        max_epochs: epochs to spend at most; then the run stops with exit code 3.
        check_every: epochs between two checks; each one solves the linear response.
    """

    stationarity: float = 0.05
    max_epochs: int = 200
    check_every: int = 5

    def __post_init__(self) -> None:
        """Check the values."""
        ok = self.stationarity > 0
        require(ok, "equilibration.stationarity", self.stationarity, "a number > 0 (nats)")
        for name in ("max_epochs", "check_every"):
            value = getattr(self, name)
            require(value > 0, f"equilibration.{name}", value, "a whole number > 0")
        least = 2 * self.check_every
        allowed = f"at least {least}, time for two checks"
        require(self.max_epochs >= least, "equilibration.max_epochs", self.max_epochs, allowed)


@dataclass
class Probes:
    """The probes: responses are solved on one, C is steered by another, a third one measures.

    The measuring probe is seen by no solve and by no control, so that the drift measured on it is
    a measurement and not the tolerance of the controller. A probe that asks for as many particles
    as the coupling has, or more, takes all of them with their mass; the probes then differ in
    their noise draws.

    The responses of a model that trains on a cubature (``cubature_seed``) are solved on the points
    it trains on; rotations that training never saw steer and measure it, as many as
    ``control_samples`` and ``measuring_samples`` say. With ``cubature`` they steer and measure a
    model that trains on fresh draws, too: each has 4 ``latent_dim`` points, on which C has about
    a third of the variance that it has on as many independent draws.

    Attributes:
        solving_particles: particles of the solving probe.
        solving_samples: noise draws for each of them.
        redraw: draw the solving probe anew at every macro-step (the slides' stochastic reading:
            Euler-Maruyama), or keep one (an ODE on the sample average).
        control_particles: particles of the probe that steers C; it stays the same on a leg.
        control_samples: noise draws for each of them.
        measuring_particles: particles of the measuring probe; it stays the same on a leg.
        measuring_samples: noise draws for each of them.
        cubature: steer and measure on rotations of the cubature in place of independent draws; for
            encoders of a Gaussian z.
    """

    solving_particles: int = 2048
    solving_samples: int = 1
    redraw: bool = True
    control_particles: int = 4096
    control_samples: int = 512
    measuring_particles: int = 4096
    measuring_samples: int = 512
    cubature: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        for name, value in asdict(self).items():
            switch = isinstance(value, bool)
            require(switch or value > 0, f"probes.{name}", value, "a whole number > 0")


@dataclass
class State:
    """What a process needs to go on: saved in every checkpoint.

    Attributes:
        phase: where the process stands.
        seed: root of all random streams of the process.
        rows: the measured path.
        checks: what the checks of the equilibration found.
        target: C*, nan before it is known.
        control: C on the control probe at the last point.
        control_distortion: D on it, nan where the process does not steer by it.
        control_target: what C on the control probe is steered to.
        directions: θ_λ, θ_γ, θ_t at the last point, shape ``(3, p)``.
        slopes: total derivatives of R, D and C there.
        stroke: name of the stroke under way.
        cycle: number of the cycle.
        memory: what a process of several strokes remembers, as plain values.
        planned: the next motion.
        metric: the metric in (λ, γ, t) there, shape ``(3, 3)``.
        pace: what the step control remembers: the next size and the last error.
        predicted: C after the predictor of the present step.
        miss: |C/C* - 1| then, on the control probe.
        gradients: gradient evaluations since the last row.
        relaxation_time: sum of the learning rates over the last relaxation.
    """

    phase: Literal["equilibration", "process", "done"] = "equilibration"
    seed: int | None = None
    rows: list[Row] = field(default_factory=list)
    checks: list[dict[str, float]] = field(default_factory=list)
    target: float = NAN
    control: float = NAN
    control_distortion: float = NAN
    control_target: float = NAN
    directions: Tensor | None = None
    slopes: Slopes | None = None
    metric: Tensor | None = None
    pace: tuple[float, float] = (NAN, NAN)
    stroke: str = "equilibration"
    cycle: int = 0
    memory: dict[str, Any] = field(default_factory=dict)
    planned: tuple[float, float, float] = (0.0, 0.0, 0.0)  # plain, for a weights-only load
    predicted: float = NAN
    miss: float = NAN
    gradients: int = 0
    relaxation_time: float = 0.0
