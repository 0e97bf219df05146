"""When a process counts as being at equilibrium, and how fast it relaxes from there on.

A Newton decrement is what J would still fall by in the quadratic model of this place, less what the
damping hides. Its noise on a solving probe of two thousand particles is a tenth of a nat, and J may
fall by nats through a curved valley in which it is no larger. J itself is measured far better: the
measuring probe stays the same, and the noise of a difference is small. ``auto`` therefore stops by
the fall of J, in an epoch as long as the macro-steps that follow, and the decrement is reported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from thermo_pl.errors import NotEquilibrated, require
from thermo_pl.response.measurement import Measurement

CHECK_COLUMNS = ("epoch", "stationarity", "R", "D", "C", "J", "fall", "allowed", "learning_rate")
"""Columns of equilibration.csv, one row per check."""
NAN = float("nan")
SHARE = 0.3
"""s: what a fall of J that counts as rest may leave open of γ."""
RATES = 2
"""Learning rates at which J comes to rest, each half of the one before."""
Check = dict[str, float]


@dataclass
class Equilibration:
    """How a run is brought to equilibrium at (λ0, γ0, t = 0) before it moves.

    With ``auto`` J is measured at each check. Where it has fallen by no more than is allowed, it
    has come to rest at this learning rate, which is halved, and stays so. Where it has come to rest
    at two learning rates, the model counts as stationary: neither time nor less noise gains
    anything. Allowed are ½s²γC nats in an epoch, s = 0.3, and ½s²R where γC is nothing. What δ
    nats leave open is (2δ|C_γ|)^½ of C. The corrector takes that out by γ, of which it is
    (2δ/|C_γ|)^½; and as C_γ is about -C/γ, γ is known to a share s.

    Attributes:
        stationarity: Newton decrement in nats below which the model counts as stationary, as
            the mean of the last two checks, at the learning rate of the config; or ``auto``.
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

    stationarity: float | Literal["auto"] = "auto"
    max_epochs: int = 200
    check_every: int = 5

    def __post_init__(self) -> None:
        auto = self.stationarity == "auto"
        ok = auto or (not isinstance(self.stationarity, str) and self.stationarity > 0)
        allowed = "a number > 0 (nats), or auto"
        require(ok, "equilibration.stationarity", self.stationarity, allowed)
        for name in ("max_epochs", "check_every"):
            value = getattr(self, name)
            require(value > 0, f"equilibration.{name}", value, "a whole number > 0")
        least = (3 if auto else 2) * self.check_every
        allowed = f"at least {least}, time for the checks it takes"
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

    def check(
        self,
        before: Sequence[Check],
        epochs: int,
        stationarity: float,
        measured: Measurement,
        learning_rate: float,
    ) -> Check:
        """What a check finds.

        Args:
            before: rows of equilibration.csv.
            epochs: done.
            stationarity: the Newton decrement, nats.
            measured: R, D, C and J on the measuring probe.
            learning_rate: of the epochs since the last check.

        Returns:
            The next row.
        """
        terms = measured.rate, measured.distortion, measured.classification, measured.free_energy
        values = [term.value for term in terms]
        fall = NAN
        if before:
            fall = (before[-1]["J"] - values[-1]) / (epochs - before[-1]["epoch"])
        row = (epochs, stationarity, *values, fall, rest(measured), learning_rate)
        return dict(zip(CHECK_COLUMNS, row, strict=True))

    def rests(self, checks: Sequence[Check]) -> bool:
        """Whether the learning rate is to be lowered.

        Args:
            checks: rows of equilibration.csv.

        Returns:
            Whether J has come to rest at it; never without auto.
        """
        return self.stationarity == "auto" and _rests(checks[-1])

    def reached(self, checks: Sequence[Check]) -> bool:
        """Whether the model counts as stationary.

        Args:
            checks: rows of equilibration.csv.

        Returns:
            Whether it does; never after a single check.
        """
        if len(checks) < 2:
            return False
        if self.stationarity == "auto":
            return sum(map(_rests, checks)) >= RATES
        return self._mean_stationarity(checks) <= self.stationarity

    def missed(self, checks: Sequence[Check], epochs: int) -> NotEquilibrated:
        """The end of a process that found no equilibrium.

        Args:
            checks: rows of equilibration.csv.
            epochs: that were spent.

        Returns:
            The error.
        """
        if self.stationarity == "auto":
            last = checks[-1]
            return NotEquilibrated(
                f"equilibration: got J falling by {last['fall']:.3g} nats in an epoch after "
                f"{epochs} of them, at the learning rate {last['learning_rate']:.3g}; allowed: at "
                f"most {last['allowed']:.3g}, at {RATES} learning rates; raise "
                "equilibration.max_epochs, data.batch_size or data.train_batches, or begin at "
                "another learning rate"
            )
        return NotEquilibrated(
            f"equilibration: got a stationarity of {self._mean_stationarity(checks):.3g} nats "
            f"after {epochs} epochs; allowed: at most {self.stationarity:g}; raise "
            "equilibration.max_epochs or equilibration.stationarity, or lower the learning rate"
        )

    def told(self, check: Check) -> str:
        """A check in words, for a line of progress.

        Args:
            check: a row of equilibration.csv.

        Returns:
            A few words.
        """
        if self.stationarity == "auto":
            falls = f"falls by {check['fall']:.2g} → {check['allowed']:.2g} nats an epoch"
            found = "" if math.isnan(check["fall"]) else falls
        else:
            found = f"stationarity {check['stationarity']:.2g} → {self.stationarity:g} nats"
        return f"equilibration J={check['J']:.3f} {found}"

    def _mean_stationarity(self, checks: Sequence[Check]) -> float:
        # one estimate is noisy, and can be negative; two in a row are not low by luck
        latest = [check["stationarity"] for check in checks[-2:]]
        return sum(latest) / len(latest)


def rest(measured: Measurement) -> float:
    """What J may fall by in an epoch where it counts as being at rest.

    Args:
        measured: R, D and C there.

    Returns:
        ½s²γC nats, and ½s²R where γC is nothing.
    """
    rate, loss = measured.rate.value, measured.classification.value
    return SHARE**2 / 2 * (measured.gam * loss or rate)


def fall(before: Measurement, after: Measurement) -> float:
    """What J has fallen by between two states on one probe, at the λ and γ of the second.

    Args:
        before: the first.
        after: the second.

    Returns:
        Nats.
    """
    return replace(before, lam=after.lam, gam=after.gam).free_energy.value - after.free_energy.value


def _rests(check: Check) -> bool:
    return check["fall"] <= check["allowed"]
