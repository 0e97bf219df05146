"""What is done without a linear response: train at a few domains on the way, one after the other.

The yardsticks of iso-classification. Fine-tuning is one step to the target; a path at constant λ
and γ is many; with ``nudge`` it is the one-sided feedback of published research code.
"""

from __future__ import annotations

import math
from typing import Any, cast

import pytorch_lightning as pl

from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.callbacks.rows import Stand
from thermo_pl.callbacks.settings import Control, Equilibration, Motion, Probes
from thermo_pl.errors import ConfigError, require
from thermo_pl.module import FreeEnergyModel
from thermo_pl.response.measurement import Measurement, draws_to_decode, measure

LEAST_LAMBDA = 0.1
"""Where λ stops being nudged down."""


class DomainSteps(QuasiStatic):
    """Trains at t = 0, 1/steps, …, 1 of every leg for some epochs each; solves no response.

    With ``nudge`` an epoch at t > 0 is the last one at its t as soon as C on validation images is
    at most C* = C on them at the end of the training at t = 0; after each epoch that ends above, λ
    and γ are moved by the nudge. That is one-sided: nothing is done where C is below C*. The labels
    of validation images of *all* domains on the way steer here.

    One row of path.csv per domain. Its C is measured as in all processes, on training particles,
    and so is the C* that its drift refers to.
    """

    solves = False

    def __init__(
        self,
        steps: int,
        source_epochs: int,
        epochs: int,
        nudge: tuple[float, float] | None = None,
        probes: Probes | None = None,
    ) -> None:
        """Keep the settings.

        Args:
            steps: domains after the first one, on each leg.
            source_epochs: epochs at the first domain.
            epochs: epochs at each other domain; at most, where there is a nudge.
            nudge: changes of λ, at most 0, and of γ, at least 0, after an epoch with C > C*; λ
                stays above 0.1. Constant λ and γ if not given.
            probes: only the measuring probe is used.
        """
        super().__init__(probes=probes, predictor=False)
        for name, value in (("steps", steps), ("source_epochs", source_epochs), ("epochs", epochs)):
            require(value > 0, name, value, "a whole number > 0")
        if nudge is not None:
            ok = all(map(math.isfinite, nudge)) and nudge[0] <= 0 <= nudge[1]
            require(ok, "nudge", list(nudge), "a change of λ ≤ 0 and one of γ ≥ 0")
        self.steps, self.source_epochs = steps, source_epochs
        self.epochs, self.nudge = epochs, nudge
        # a bar's length before the first row; nothing is checked
        self.equilibration = Equilibration(max_epochs=max(source_epochs, 2), check_every=1)

    def plan(self, model: FreeEnergyModel, data: Any) -> Motion | None:
        """The next domain.

        Args:
            model: the model.
            data: the DataModule; moved on to its next leg at t = 1.

        Returns:
            The motion, or None at the end of the last leg.
        """
        self.state.stroke = "domain_steps"
        if data.static:
            return None
        if data.t == 1:
            if data.leg + 1 == data.n_legs:
                return None
            data.move_to(data.leg + 1, 0.0)
        done = round(data.t * self.steps)
        return Motion(t=(done + 1) / self.steps - data.t)

    def length(self, data: Any) -> int:
        """Domains after the first one.

        Args:
            data: the DataModule.

        Returns:
            The count.
        """
        return 0 if data.static else self.steps * data.n_legs

    def check(self, model: FreeEnergyModel, data: Any) -> None:
        """Refuse a model without the loss that is watched.

        Args:
            model: the model.
            data: not used.
        """
        allowed = "a Classifier: its loss is what is compared"
        require(model.classifier is not None, "classifier", None, allowed)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Train on at this domain, or measure and plan the next one.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        state, model = self.state, cast(FreeEnergyModel, pl_module)
        more = (
            trainer.current_epoch + 1 < self.source_epochs
            if state.phase == "equilibration"
            else self._trains_on(trainer, model)
        )
        if more:
            return
        self._steers = Control(math.nan)  # no control probe
        self._append_row(trainer, model, None)
        if state.phase == "equilibration":
            state.phase, state.target = "process", self.last["C"]
            self.last["C_target"] = state.target
            state.memory["val_C"] = self.last["val_C"]
        state.memory["epochs"] = 0
        self._go_on(trainer, model)

    def _trains_on(self, trainer: pl.Trainer, model: FreeEnergyModel) -> bool:
        memory = self.state.memory
        memory["epochs"] += 1
        self.state.planned = (0.0, 0.0, 0.0)
        if memory["epochs"] >= self.epochs:
            return False
        if self.nudge is None:
            return True
        if not self._validated or math.isnan(memory["val_C"]):
            raise ConfigError(
                "nudge: got an epoch without validation; allowed: trainer.check_val_every_n_epoch: "
                "1, as C on validation images steers"
            )
        if float(trainer.callback_metrics["val/C"]) <= memory["val_C"]:
            return False
        down = max(self.nudge[0], min(LEAST_LAMBDA - float(model.lam), 0.0))
        self.state.planned = (down, self.nudge[1], 0.0)
        return True

    def _predict(self, trainer: pl.Trainer, model: FreeEnergyModel, before: Stand) -> None:
        # θ stays; the work is left out: λ and γ move several times between two rows
        motion, data = Motion(*self.state.planned), cast(Any, trainer).datamodule
        model.lam += motion.lam
        model.gam += motion.gam
        if motion.t:
            # exactly there, however often
            data.move_to(data.leg, round((data.t + motion.t) * self.steps) / self.steps)
            self.state.predicted = self._measure(trainer, model).classification.value

    def _stand(self, trainer: pl.Trainer, model: FreeEnergyModel) -> Stand:
        data = cast(Any, trainer).datamodule
        if not data.mixture:
            return super()._stand(trainer, model)
        source, target = self._ends(trainer, model)
        force = target.free_energy - source.free_energy
        return Stand(data.leg, self._measure(trainer, model), force)

    def _measure(self, trainer: pl.Trainer, model: FreeEnergyModel) -> Measurement:
        data = cast(Any, trainer).datamodule
        if not data.mixture:
            return super()._measure(trainer, model)
        # means over a mixture are those over its ends, by their shares
        t, (source, target) = data.t, self._ends(trainer, model)
        return Measurement(
            (1 - t) * source.rate + t * target.rate,
            (1 - t) * source.distortion + t * target.distortion,
            (1 - t) * source.classification + t * target.classification,
            float(model.lam),
            float(model.gam),
            t,
        )

    def _ends(self, trainer: pl.Trainer, model: FreeEnergyModel) -> list[Measurement]:
        probe = self._kept(trainer, model, "measuring")
        return [measure(model, probe, t, draws_to_decode(probe)) for t in (0.0, 1.0)]
