"""Settings of a quasi-static process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

from thermo_pl.errors import NotEquilibrated, require
from thermo_pl.process.protocols import Protocol
from thermo_pl.process.transitions import OnTransition
from thermo_pl.response.linear import ResponseSettings

DRAWS = 2**21
"""Encodings of a probe that steers or measures, where its size is ``auto``: a second or two."""
Hold = Literal["train", "validation"]
"""Which particles a process holds its C on."""


@dataclass
class Equilibration:
    """How a run is brought to equilibrium at (λ0, γ0, t = 0) before it moves.

    Attributes:
        stationarity: Newton decrement in nats below which the model counts as stationary, as
            the mean of the last two checks.
        max_epochs: epochs to spend at most; then the run stops with exit code 3.
        check_every: epochs between two checks; each one solves the linear response.

    Example:
        >>> import thermo_pl as tp
        >>> settings = tp.Equilibration(stationarity=0.05)
        >>> settings.reached([{"stationarity": 0.08}, {"stationarity": 0.06}])
        False
        >>> settings.reached([{"stationarity": 0.06}, {"stationarity": 0.03}])
        True
    """

    stationarity: float = 0.05
    max_epochs: int = 200
    check_every: int = 5

    def __post_init__(self) -> None:
        ok = self.stationarity > 0
        require(ok, "equilibration.stationarity", self.stationarity, "a number > 0 (nats)")
        for name in ("max_epochs", "check_every"):
            value = getattr(self, name)
            require(value > 0, f"equilibration.{name}", value, "a whole number > 0")
        least = 2 * self.check_every
        allowed = f"at least {least}, time for two checks"
        require(self.max_epochs >= least, "equilibration.max_epochs", self.max_epochs, allowed)

    @classmethod
    def lasting(cls, epochs: int) -> Equilibration:
        """Training for a number of epochs, for a process that checks nothing.

        Args:
            epochs: how many.

        Returns:
            The settings.
        """
        made = cls()
        made.max_epochs = made.check_every = epochs
        return made

    def due(self, epochs: int) -> bool:
        """Whether the equilibrium is checked after so many epochs.

        Args:
            epochs: done.

        Returns:
            Whether it is; it is after the last one.
        """
        return epochs % self.check_every == 0 or epochs >= self.max_epochs

    def mean_stationarity(self, checks: Sequence[dict[str, float]]) -> float:
        """What the checks so far say of the stationarity.

        One estimate is noisy, and can be negative; two in a row are not low by luck.

        Args:
            checks: rows of equilibration.csv.

        Returns:
            Mean of the last two, nats.
        """
        latest = [check["stationarity"] for check in checks[-2:]]
        return sum(latest) / len(latest)

    def missed(self, checks: Sequence[dict[str, float]], epochs: int) -> NotEquilibrated:
        """The end of a process that found no equilibrium.

        Args:
            checks: rows of equilibration.csv.
            epochs: that were spent.

        Returns:
            The error.
        """
        return NotEquilibrated(
            f"equilibration: got a stationarity of {self.mean_stationarity(checks):.3g} nats after "
            f"{epochs} epochs; allowed: at most {self.stationarity:g}; raise "
            "equilibration.max_epochs or equilibration.stationarity, or lower the learning rate"
        )

    def reached(self, checks: Sequence[dict[str, float]]) -> bool:
        """Whether the model counts as stationary.

        Args:
            checks: rows of equilibration.csv.

        Returns:
            Whether it does; never after a single check.
        """
        return len(checks) > 1 and self.mean_stationarity(checks) <= self.stationarity


@dataclass
class Probes:
    """The probes: responses are solved on one, C is steered by another, a third one measures.

    No solve and no control sees the measuring probe. So the drift on it is a measurement, and not
    the tolerance of the controller. A probe that asks for as many particles as the coupling has, or
    more, takes all of them with their mass. The probes then differ in their noise alone.

    A model that trains on a cubature (``cubature_seed``) has its responses solved on the points it
    trains on. Other rotations of the cubature, which training never saw, steer and measure it;
    ``control_samples`` and ``measuring_samples`` say how many. With ``cubature: true`` such
    rotations also steer and measure a model that trains on fresh draws. A rotation has 4
    ``latent_dim`` points. C has about a third of the variance on them that it has on as many
    independent draws.

    With ``auto`` a probe has as many draws as :data:`DRAWS` allows for its particles, from 16 to
    512: all 1,045 pairs of the digits have 512 each, the 54,000 of MNIST 38.

    Attributes:
        solving_particles: particles of the solving probe.
        solving_samples: noise draws for each of them.
        redraw: draw the solving probe anew at every macro-step. That is the slides' stochastic
            differential equation, by Euler and Maruyama. Without it one probe is kept: an ordinary
            differential equation on a sample.
        control_particles: particles of the probe that steers C; it stays the same on a leg.
        control_samples: noise draws for each of them, or ``auto``.
        measuring_particles: particles of the measuring probe; it stays the same on a leg.
        measuring_samples: noise draws for each of them, or ``auto``.
        cubature: steer and measure on rotations of the cubature in place of independent draws; for
            encoders of a Gaussian z.

    Example:
        >>> import thermo_pl as tp
        >>> small = tp.Probes(control_samples=64, measuring_samples=64)
        >>> tp.Probes(measuring_samples=0)
        Traceback (most recent call last):
        thermo_pl.errors.ConfigError: probes.measuring_samples: got 0; allowed: a whole number...
    """

    solving_particles: int = 2048
    solving_samples: int = 1
    redraw: bool = True
    control_particles: int = 65_536
    control_samples: int | Literal["auto"] = "auto"
    measuring_particles: int = 65_536
    measuring_samples: int | Literal["auto"] = "auto"
    cubature: bool = False

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            auto = name in {"control_samples", "measuring_samples"} and value == "auto"
            ok = auto or isinstance(value, bool) or (isinstance(value, int) and value > 0)
            require(ok, f"probes.{name}", value, "a whole number > 0, or auto for draws")

    def samples(self, kind: str, particles: int, points: int) -> int:
        """How many noise draws a probe has for each of its particles.

        Args:
            kind: ``solving``, ``control`` or ``measuring``.
            particles: how many there are.
            points: that one draw has: those of a rotation of the cubature, or 1.

        Returns:
            The number that was given, or what :data:`DRAWS` allows.
        """
        given: int | Literal["auto"] = getattr(self, f"{kind}_samples")
        if given != "auto":
            return given
        return min(max(DRAWS // (particles * points), 16), 512)


@dataclass
class Settings:
    """What every process is told, whatever its rule.

    Attributes:
        equilibration: how the run is brought to equilibrium first.
        probes: the solving, the control and the measuring probe.
        response: how the linear response is solved.
        predictor: move θ by the response before each relaxation. Off, only λ, γ and t move: for
            comparison.
        on_transition: what to do where the equilibrium is singular or jumps. ``mark`` marks the row
            and goes on as long as the curvature is positive. ``continue`` goes on past a saddle,
            too; a little noise in θ leaves it. ``stop`` ends the run with exit code 3.
        parts: parts into which a relaxation is cut; each one is followed by corrections.
        newton: after each part solve the response anew, and take a Newton step in θ before the
            corrections. It leads to the last digits where there is no sampling noise.
        min_step: share of the process's own step below which none is tried. Where a macro-step does
            not hold what it must, it is taken back, and one of half the size is tried.
        hold: the particles on which C is held: those that θ is trained on, or ``validation``. θ
            follows the equilibrium of the training particles in either case.
        protocol: ``sudden`` moves the control first and θ after it; ``shortcut`` drives θ along its
            response while the control moves, and gives off far less:
            :mod:`thermo_pl.process.protocols`.
        drives: drives of θ in a step of the shortcut. With 2 the response to the motion is solved
            anew at mid-control; it asks for a damping that is a number.

    Example:
        >>> import thermo_pl as tp
        >>> response = tp.ResponseSettings(damping="auto")
        >>> settings = tp.Settings(response=response, on_transition="stop")
        >>> settings.equilibration.max_epochs, settings.predictor
        (200, True)
    """

    equilibration: Equilibration = field(default_factory=Equilibration)
    probes: Probes = field(default_factory=Probes)
    response: ResponseSettings = field(default_factory=ResponseSettings)
    predictor: bool = True
    on_transition: OnTransition = "mark"
    parts: int = 1
    newton: bool = False
    min_step: float = 1 / 16
    hold: Hold = "train"
    protocol: Protocol = "sudden"
    drives: int = 1

    def __post_init__(self) -> None:
        ok = 0 < self.min_step <= 1
        require(ok, "min_step", self.min_step, "a number > 0, at most 1")
        for name, values in (("hold", get_args(Hold)), ("protocol", get_args(Protocol))):
            require(getattr(self, name) in values, name, getattr(self, name), " or ".join(values))
        sudden = self.protocol == "sudden"
        allowed = "sudden, as the predictor is off: nothing drives theta"
        require(self.predictor or sudden, "protocol", self.protocol, allowed)
        allowed = "1, or 2 with protocol: shortcut"
        require(self.drives in ((1,) if sudden else (1, 2)), "drives", self.drives, allowed)
        allowed = "1 with response.damping: auto, which is known after a relaxation"
        require(self.drives == 1 or self.response.damping != "auto", "drives", self.drives, allowed)

    @classmethod
    def of(
        cls,
        equilibration: Equilibration | None,
        probes: Probes | None,
        response: ResponseSettings | None,
        predictor: bool,
        on_transition: OnTransition,
        parts: int = 1,
        newton: bool = False,
        min_step: float = 1 / 16,
        hold: Hold = "train",
        protocol: Protocol = "sudden",
        drives: int = 1,
    ) -> Settings:
        """Settings from arguments that may be left out.

        Args:
            equilibration: how the run is brought to equilibrium first.
            probes: the solving, the control and the measuring probe.
            response: how the linear response is solved.
            predictor: move θ by the response before each relaxation.
            on_transition: ``mark``, ``continue`` or ``stop``.
            parts: parts into which a relaxation is cut.
            newton: take Newton steps in θ, too.
            min_step: share of the process's own step below which none is tried.
            hold: ``train`` or ``validation``.
            protocol: ``sudden`` or ``shortcut``.
            drives: drives of θ in a step of the shortcut, 1 or 2.

        Returns:
            The settings.
        """
        return cls(
            equilibration or Equilibration(),
            probes or Probes(),
            response or ResponseSettings(),
            predictor,
            on_transition,
            parts,
            newton,
            min_step,
            hold,
            protocol,
            drives,
        )
