"""Settings of a quasi-static process."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from thermo_pl.errors import require
from thermo_pl.process.equilibration import Equilibration
from thermo_pl.process.transitions import OnTransition
from thermo_pl.response.linear import ResponseSettings

DRAWS = 2**21
"""Encodings of a probe that steers or measures, where its size is ``auto``: a tenth of a second."""
LEAST, MOST = 16, 2048
"""Draws of z for each particle then."""
SHARPEST = 2**23
"""Encodings that a probe may come to where C is not known well enough by fewer."""
SHARE = 0.25
"""Of what a process promises of C, the error that a probe may have of it."""
ROTATIONS, ROTATED = 4, 2**24
"""Rotations that a probe has then at least, and the encodings they may come to at most."""
Hold = Literal["train", "validation"]
"""Which particles a process holds its C on."""
Protocol = Literal["sudden", "shortcut"]
"""In which order a macro-step moves; see :mod:`thermo_pl.process.protocols`."""
Length = Literal["epoch", "auto"]
"""How long a macro-step relaxes."""


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
    ``latent_dim`` points. C has far less variance on them than on as many independent draws: a
    third on the digits, a fiftieth on MNIST. ``auto`` takes them where z is Gaussian and four of
    them are at most :data:`ROTATED` encodings, or where their number is given.

    With ``auto`` a probe has as many draws as :data:`DRAWS` allows for its particles, from 16 to
    2,048, or four rotations: the 1,045 pairs of the digits have 62 rotations of 32 points each, the
    54,000 of MNIST 4 of 64. At the first equilibrium it is known how well they know C. Where the
    error is more than a quarter of what the process promises, there are as many more as make it
    that, up to :data:`SHARPEST` encodings.

    Attributes:
        solving_particles: particles of the solving probe.
        solving_samples: noise draws for each of them. ``auto``: one, and more where there are fewer
            particles than are asked for, so that there are as many encodings: on one draw for each
            of 200 particles C is the tail of two or three.
        redraw: draw the solving probe anew at every macro-step. That is the slides' stochastic
            differential equation, by Euler and Maruyama. Without it one probe is kept: an ordinary
            differential equation on a sample.
        control_particles: particles of the probe that steers C; it stays the same on a leg.
        control_samples: noise draws for each of them, or ``auto``.
        measuring_particles: particles of the measuring probe; it stays the same on a leg.
        measuring_samples: noise draws for each of them, or ``auto``.
        cubature: steer and measure on rotations of the cubature in place of independent draws, for
            encoders of a Gaussian z; or ``auto``.
        measuring_points: ``fresh`` measures on noise that training never saw. ``training``, for a
            model that trains on a cubature, measures on the very points that it trains on: J is
            then the function that is minimised, and dF = D dλ + C dγ holds on it.

    Example:
        >>> import thermo_pl as tp
        >>> small = tp.Probes(control_samples=64, measuring_samples=64)
        >>> tp.Probes(measuring_samples=0)
        Traceback (most recent call last):
        thermo_pl.errors.ConfigError: probes.measuring_samples: got 0; allowed: a whole number...
    """

    solving_particles: int = 2048
    solving_samples: int | Literal["auto"] = "auto"
    redraw: bool = True
    control_particles: int = 65_536
    control_samples: int | Literal["auto"] = "auto"
    measuring_particles: int = 65_536
    measuring_samples: int | Literal["auto"] = "auto"
    cubature: bool | Literal["auto"] = "auto"
    measuring_points: Literal["fresh", "training"] = "fresh"

    def __post_init__(self) -> None:
        numbers = asdict(self)
        points = numbers.pop("measuring_points")
        ok = points in {"fresh", "training"}
        require(ok, "probes.measuring_points", points, "fresh, training")
        for name, value in numbers.items():
            auto = (name.endswith("_samples") or name == "cubature") and value == "auto"
            ok = auto or isinstance(value, bool) or (isinstance(value, int) and value > 0)
            require(ok, f"probes.{name}", value, "a whole number > 0, or auto for draws")

    def turns(self, kind: str, particles: int, points: int) -> bool:
        """Whether a probe takes rotations of the cubature in place of independent draws.

        Args:
            kind: ``control`` or ``measuring``.
            particles: how many there are.
            points: of a rotation.

        Returns:
            Whether it does, for an encoder of a Gaussian z.
        """
        if self.cubature != "auto":
            return self.cubature
        counted = getattr(self, f"{kind}_samples") == "auto"
        return counted and ROTATIONS * points * particles <= ROTATED

    def samples(self, kind: str, particles: int, points: int, more: int = 1) -> int:
        """How many noise draws a probe has for each of its particles.

        Args:
            kind: ``solving``, ``control`` or ``measuring``.
            particles: how many there are.
            points: that one draw has: those of a rotation of the cubature, or 1.
            more: times as many are wanted, as far as :data:`SHARPEST` allows.

        Returns:
            The number that was given, or what :data:`DRAWS` allows; for solving as many as make up
            for missing particles.
        """
        given: int | Literal["auto"] = getattr(self, f"{kind}_samples")
        if given != "auto":
            return given
        if kind == "solving":
            return max(1, self.solving_particles // particles)
        rotated = points > 1 and ROTATIONS * points * particles <= ROTATED
        least = ROTATIONS if rotated else max(LEAST // points, 2)  # two, so that the error is known
        usual = min(max(DRAWS // (particles * points), least), max(MOST // points, least))
        return max(min(usual * more, SHARPEST // (particles * points)), usual)

    @staticmethod
    def sharper(error: float, promise: float) -> int:
        """How many times as many draws know C well enough.

        Args:
            error: of C on a probe, relative to C.
            promise: relative miss that the process answers for.

        Returns:
            The factor; 1 where nothing is promised.

        Example:
            >>> import thermo_pl as tp
            >>> tp.Probes.sharper(error=0.005, promise=0.01)  # to 0.0025
            4
        """
        return max(math.ceil((error / (SHARE * promise)) ** 2), 1)


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
        descents: Newton steps in θ on the solving probe between the motion and the relaxation of a
            macro-step, for models whose J is the same on that probe as in training, as on a
            cubature of all particles: they come most of the way down, and the optimiser takes what
            is left. They ask for a damping that is a number.
        min_step: share of the process's own step below which none is tried. Where a macro-step does
            not hold what it must, it is taken back, and one of half the size is tried.
        hold: the particles on which C is held: those that θ is trained on, or ``validation``. θ
            follows the equilibrium of the training particles in either case.
        protocol: ``sudden`` moves the control first and θ after it; ``shortcut`` drives θ along its
            response while the control moves, and gives off far less:
            :mod:`thermo_pl.process.protocols`.
        drives: drives of θ in a step of the shortcut. With 2 the response to the motion is solved
            anew at mid-control; it asks for a damping that is a number.
        relaxation: epochs of relaxation in a macro-step. ``epoch``: one, and more where it does not
            hold what it must. ``auto``: another one as long as J falls by more than equilibration
            allows in an epoch, four in all.

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
    descents: int = 0
    min_step: float = 1 / 16
    hold: Hold = "train"
    protocol: Protocol = "sudden"
    drives: int = 1
    relaxation: Length = "epoch"

    def __post_init__(self) -> None:
        ok = 0 < self.min_step <= 1
        require(ok, "min_step", self.min_step, "a number > 0, at most 1")
        words = {"hold": Hold, "protocol": Protocol, "relaxation": Length}
        for name, values in ((name, get_args(kind)) for name, kind in words.items()):
            require(getattr(self, name) in values, name, getattr(self, name), " or ".join(values))
        sudden = self.protocol == "sudden"
        allowed = "sudden, as the predictor is off: nothing drives theta"
        require(self.predictor or sudden, "protocol", self.protocol, allowed)
        allowed = "1, or 2 with protocol: shortcut"
        require(self.drives in ((1,) if sudden else (1, 2)), "drives", self.drives, allowed)
        require(self.descents >= 0, "descents", self.descents, "a whole number ≥ 0")
        known = self.descents == 0 or self.response.damping != "auto"
        allowed = "0 with response.damping: auto, which is known after a relaxation"
        require(known, "descents", self.descents, allowed)
        allowed = "1 with response.damping: auto, which is known after a relaxation"
        require(self.drives == 1 or self.response.damping != "auto", "drives", self.drives, allowed)

    @classmethod
    def of(
        cls,
        equilibration: Equilibration | None,
        probes: Probes | None,
        response: ResponseSettings | None,
        **others: Any,
    ) -> Settings:
        """Settings from arguments that may be left out.

        Args:
            equilibration: how the run is brought to equilibrium first.
            probes: the solving, the control and the measuring probe.
            response: how the linear response is solved.
            **others: the other attributes, by name.

        Returns:
            The settings.
        """
        parts = (
            equilibration or Equilibration(),
            probes or Probes(),
            response or ResponseSettings(),
        )
        return cls(*parts, **others)
