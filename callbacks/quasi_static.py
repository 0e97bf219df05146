"""The base of quasi-static processes: predict, relax, correct, measure.

One Lightning epoch is one macro-step. At its start the process moves θ, λ, γ and t along the
linear response; the ordinary optimiser then relaxes θ at fixed (λ, γ, t); a last small response
step takes out what relaxation left; at the end the state is measured on a probe of its own, the
response is solved on another one, and path.csv is written. Checkpoints fall between macro-steps.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from thermo_pl.callbacks.probing import Kind, ProbeSource, stream
from thermo_pl.callbacks.ranks import check_same, check_strategy
from thermo_pl.callbacks.rows import Stand, energy_columns, length_columns, response_columns
from thermo_pl.callbacks.settings import Control, Equilibration, Motion, Probes, State
from thermo_pl.callbacks.step_control import Snapshot
from thermo_pl.callbacks.transitions import SADDLE, OnTransition, TransitionMet, kick, transition
from thermo_pl.errors import ConfigError, NonFinite, NotEquilibrated, SolverBreakdown, require
from thermo_pl.files import write_csv, write_json
from thermo_pl.laws.ledger import summarise_strokes
from thermo_pl.module import FreeEnergyModel
from thermo_pl.path.columns import COLUMNS, Row
from thermo_pl.response.damping import relaxation_damping
from thermo_pl.response.linear import Response, ResponseSettings, linear_response
from thermo_pl.response.measurement import (
    NOTHING,
    Estimate,
    Measurement,
    classification_draws,
    data_force,
    distortion,
    draws_to_decode,
    measure,
)
from thermo_pl.response.metric import metric
from thermo_pl.response.objective import Objective, Probe, shift_parameters
from thermo_pl.response.solvers import Status

NAN = float("nan")
UNSOLVED = 0.5
"""Relative residual above which a solve tells nothing."""
CORRECTIONS = 8
"""Small response steps after each relaxation, at most: Newton's method on the constraint."""
CHECK_COLUMNS = ("epoch", "stationarity", "R", "D", "C", "J")
"""Columns of equilibration.csv, one row per check."""


class QuasiStatic(pl.Callback):
    """Template of a quasi-static process; a subclass says where to move.

    The trainer's ``default_root_dir`` is the run directory: path.csv and strokes.json are
    rewritten there, atomically, after every macro-step. Control uses the training particles and
    their labels only; validation is reported beside it.

    Attributes:
        solves: whether the process solves the linear response; one without has no predictor, and
            no columns of it.
        steers_distortion: whether the process steers by D on the control probe, too.
        parts: parts into which a relaxation is cut; each one is followed by corrections.
        newton: whether the corrector solves the response anew and takes a Newton step in θ first.
    """

    solves = True
    steers_distortion = False
    parts = 1
    newton = False

    def __init__(
        self,
        equilibration: Equilibration | None = None,
        probes: Probes | None = None,
        response: ResponseSettings | None = None,
        predictor: bool = True,
        on_transition: OnTransition = "mark",
    ) -> None:
        """Keep the settings.

        Args:
            equilibration: how the run is brought to equilibrium first.
            probes: the solving, the control and the measuring probe.
            response: how the linear response is solved.
            predictor: move θ by the response before each relaxation. Off, only λ, γ and t
                move: for comparison.
            on_transition: where the equilibrium is singular or jumps, ``mark`` the row and go on
                as long as the curvature is positive; ``continue`` also past a saddle, which a
                little noise in θ leaves; ``stop`` with exit code 3.
        """
        self.equilibration = equilibration or Equilibration()
        self.probes = probes or Probes()
        self.response = response or ResponseSettings()
        self.predictor = predictor
        self.on_transition = on_transition
        self.state = State()
        self.ending = "running"
        self._source = ProbeSource(self.probes)
        self._before: Stand | None = None
        self._work: Estimate | None = None
        self._steers: Control | None = None  # what the control probe says, where it is known
        self._metric_before: Tensor | None = None
        self._saddle = False
        self._rejected = 0
        self._corrections = 0
        self._batch = 0
        self._clock = 0.0
        self._validated = False

    @abstractmethod
    def plan(self, model: FreeEnergyModel, data: Any) -> Motion | None:
        """Where the control goes in the next macro-step, from ``self.last`` and the response.

        Called at equilibrium, after every macro-step, and again where a motion was rejected. May
        set ``self.state.stroke``.

        Args:
            model: the model, at (λ, γ).
            data: the DataModule, at (leg, t); may be moved on to its next leg.

        Returns:
            The motion, or None at the end of the process.
        """

    def check(self, model: FreeEnergyModel, data: Any) -> None:
        """Refuse what cannot go well, before anything is trained.

        Args:
            model: the model.
            data: the DataModule.
        """

    @abstractmethod
    def length(self, data: Any) -> int:
        """Macro-steps that the process takes after equilibration, as far as is known.

        Args:
            data: the DataModule.

        Returns:
            The count.
        """

    def correction(self, model: FreeEnergyModel, control: Control) -> Motion:
        """A last small step after relaxation, along the response already known.

        Args:
            model: the model.
            control: what the control probe says after relaxation.

        Returns:
            The motion; none by default.
        """
        return Motion()

    def accept(self, motion: Motion, miss: float) -> bool:
        """Whether a motion is kept once it is predicted; if not, the process plans another one.

        Args:
            motion: the motion.
            miss: |C/C* - 1| on the control probe after the predictor; nan without a target.

        Returns:
            Whether it is; by default every motion is.
        """
        return True

    def place(self, model: FreeEnergyModel, data: Any) -> Row:
        """Where a row stands in the process.

        Args:
            model: the model.
            data: the DataModule.

        Returns:
            ``phase``, the place within a cycle, and ``time``, the clock of the slides.
        """
        return {"phase": data.leg + data.t, "time": data.leg + data.t}

    @property
    def last(self) -> Row:
        """The last row of the path."""
        return self.state.rows[-1]

    def check_trainer(self, trainer: pl.Trainer) -> None:
        """Refuse a trainer that cannot carry a process; the command line asks before it launches.

        Args:
            trainer: the trainer.

        Raises:
            ConfigError: if it would split θ over devices, run too long or in too low a precision.
        """
        check_strategy(trainer)
        allowed = "none: the process ends the run"
        require((trainer.min_epochs or 0) <= 1, "trainer.min_epochs", trainer.min_epochs, allowed)
        require(not trainer.min_steps, "trainer.min_steps", trainer.min_steps, allowed)
        precise = not trainer.precision.endswith("16-true")
        allowed = "32-true, 64-true or a mixed one: a process takes differences of means"
        require(precise, "trainer.precision", trainer.precision, allowed)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Go first among the callbacks: the others read what the process has measured.

        Args:
            trainer: the trainer.
            pl_module: the model.
            stage: not used.
        """
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        others = [callback for callback in callbacks if callback is not self]
        trainer.callbacks = [self, *others]  # type: ignore[attr-defined]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check that the trainer can carry a process, and start the clock.

        Args:
            trainer: the trainer.
            pl_module: the model.

        Raises:
            ConfigError: if there is no DataModule with domains, if the trainer cannot carry a
                process, or if this process has run before.
        """
        if not hasattr(_data(trainer), "move_to"):
            raise ConfigError(
                "data: got no DataModule with domains; allowed: an InterpolatedDataModule"
            )
        self.check_trainer(trainer)
        mixed = self.solves and getattr(_data(trainer), "mixture", False)
        allowed = f"false: {type(self).__name__} moves the images themselves"
        require(not mixed, "data.mixture", mixed, allowed)
        if self.state.rows and trainer.ckpt_path is None:
            raise ConfigError(
                f"{type(self).__name__}: got a process that has run before; allowed: a new one, or "
                "a checkpoint to go on from"
            )
        if self.probes.cubature:
            drawn = _model(pl_module).encoder.gaussian_draws
            require(drawn, "probes.cubature", True, "false: this encoder draws no Gaussian z")
        self.check(_model(pl_module), _data(trainer))
        if self.state.seed is None:
            self.state.seed = trainer.strategy.broadcast(torch.initial_seed())
        self._clock = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do not train on where a finished run is resumed.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        if self.state.phase == "done":
            self.ending = "done"
            self._write(trainer)
            trainer.should_stop = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Predict.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        # every epoch has its own stream of noise: a resumed run draws what this one would have
        rank = (trainer.global_rank,) if trainer.global_rank else ()
        torch.manual_seed(stream(self.state.seed or 0, "relax", trainer.current_epoch, *rank))
        self._validated = False
        self.state.relaxation_time = 0.0
        if self.state.phase == "process":
            model = _model(pl_module)
            if self._before is None or self._before.leg != _data(trainer).leg:
                self._before = self._stand(trainer, model)
            self._predict(trainer, model, self._before)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the size of the batch, and the learning rate.

        Args:
            trainer: the trainer.
            pl_module: the model.
            batch: the batch.
            batch_idx: not used.
        """
        self._batch = len(batch.weight)
        self.state.relaxation_time += trainer.optimizers[0].param_groups[0]["lr"]

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the gradients; an optimiser with a line search takes several for a batch.

        One is that of J at one image and one draw of z, as in the solves of a response.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        draws = _model(pl_module).training_draws
        self.state.gradients += self._batch * draws * trainer.world_size

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """After the last batch, and after each part of the relaxation before, correct.

        Args:
            trainer: the trainer.
            pl_module: the model.
            outputs: not used.
            batch: the batch.
            batch_idx: index of the batch in the epoch.
        """
        done, total = batch_idx + 1, int(trainer.num_training_batches)
        part_ends = done * self.parts // total > batch_idx * self.parts // total
        # here and not at the end of the epoch, so that validation sees the corrected state
        if part_ends and self.solves and self.state.phase == "process":
            self._correct(trainer, _model(pl_module))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that this epoch has a validation of its own.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the equilibrium, or close the macro-step; then plan the next one.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        model = _model(pl_module)
        if self.state.phase == "equilibration":
            if not self._at_equilibrium(trainer, model):
                return
            self.state.phase = "process"
        elif self.state.phase == "process":
            self._append_row(trainer, model, self._solve(trainer, model))
            self._stop_at_transition(trainer)
        self._go_on(trainer, model)

    def _go_on(self, trainer: pl.Trainer, model: FreeEnergyModel) -> None:
        # plan the next macro-step, or end the process
        motion = self.plan(model, _data(trainer))
        if motion is None:
            self.state.phase, self.ending = "done", "done"
            trainer.should_stop = True
        else:
            self.state.planned = motion.lam, motion.gam, motion.t
        self._write(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note a process that the trainer's limits ended early.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        if self.ending == "running":
            self.ending = f"cut off by the trainer's limits after {trainer.current_epoch} epochs"
            self._write(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Write down why the process stopped.

        Args:
            trainer: the trainer.
            pl_module: the model.
            exception: what stopped it.
        """
        if is_fitting(trainer):
            self.ending = f"stopped: {str(exception) or type(exception).__name__}"
            self._write(trainer)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Wait for all ranks: one that failed at the end of the fit must not go unnoticed.

        Args:
            trainer: the trainer.
            pl_module: not used.
            stage: what ends.
        """
        if stage == "fit":
            trainer.strategy.barrier()

    def state_dict(self) -> dict[str, Any]:
        """The state, for a checkpoint.

        Returns:
            Plain values and tensors.
        """
        return dict(vars(self.state))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a state again.

        Args:
            state_dict: what :meth:`state_dict` gave.
        """
        self.state = State(**state_dict)

    def _at_equilibrium(self, trainer: pl.Trainer, model: FreeEnergyModel) -> bool:
        # check the stop rule, every few epochs; write the first row when it holds
        settings, epochs = self.equilibration, trainer.current_epoch + 1
        is_last = epochs >= settings.max_epochs
        if epochs % settings.check_every and not is_last:
            return False
        response = self._solve(trainer, model)
        measured = self._measure(trainer, model)
        terms = (measured.rate, measured.distortion, measured.classification, measured.free_energy)
        values = (epochs, response.stationarity, *(term.value for term in terms))
        self.state.checks.append(dict(zip(CHECK_COLUMNS, values, strict=True)))
        # one estimate is noisy, and can be negative; two in a row are not low by luck
        latest = [check["stationarity"] for check in self.state.checks[-2:]]
        stationarity = sum(latest) / len(latest)
        reached = len(latest) == 2 and stationarity <= settings.stationarity
        if reached or is_last:
            self._append_row(trainer, model, response)
        self._write(trainer)
        if is_last and not reached:
            raise NotEquilibrated(
                f"equilibration: got a stationarity of {stationarity:.3g} nats after "
                f"{epochs} epochs; allowed: at most {settings.stationarity:g}; raise "
                "equilibration.max_epochs or equilibration.stationarity, or lower the learning rate"
            )
        return reached

    def _predict(self, trainer: pl.Trainer, model: FreeEnergyModel, before: Stand) -> None:
        # try motions until the process takes one; a try that it rejects leaves nothing behind
        state, data = self.state, _data(trainer)
        self._corrections = self._rejected = 0
        motion, here = Motion(*state.planned), Snapshot.take(model, data)
        while True:
            self._work = 0.0 * before.measured.free_energy
            self._move(trainer, model, motion, before.measured)
            control = self._loss(trainer, model, "control")
            state.miss = abs(control / state.control_target - 1)
            if self.accept(motion, state.miss):
                break
            here.restore(model, data)
            self._rejected += 1
            shorter = self.plan(model, data)
            if shorter is None:
                raise RuntimeError("a process ended in the middle of a step")
            motion = shorter
        state.predicted = self._loss(trainer, model, "measuring")
        if self.last["transition"] == SADDLE:
            kick(model, stream(state.seed or 0, "kick", trainer.current_epoch))

    def _stop_at_transition(self, trainer: pl.Trainer) -> None:
        word = self.last["transition"]
        if word and self.on_transition == "stop":
            self._write(trainer)
            raise TransitionMet(
                f"transition: got a {word} of the equilibrium at t = {self.last['t']:.4g}, lambda "
                f"= {self.last['lambda']:.4g}, gamma = {self.last['gamma']:.4g}; allowed: none "
                "with on_transition: stop; take on_transition: continue to go on past it"
            )

    def _correct(self, trainer: pl.Trainer, model: FreeEnergyModel) -> None:
        # Newton's method
        if self.newton:
            shift_parameters(model, -self._respond(trainer, model).solution.x[3])
        # Without the predictor θ stays, and C with it: the plan of the next step takes the miss
        # out, and a correction here would count it twice.
        if not self.predictor:
            return
        largest = math.inf
        for _ in range(CORRECTIONS):
            control = self._steers = self._control(trainer, model)
            motion = self.correction(model, control)
            size = max(map(abs, motion))
            if size == 0 or size >= largest:  # done, or not converging
                return
            self._move(trainer, model, motion, self._steered(model, control))
            self._corrections += 1
            largest = size
        self._steers = None

    def _steered(self, model: FreeEnergyModel, control: Control) -> Measurement:
        # For the work D Δλ + C Δγ of a correction C and D on the control probe will do, and are
        # known. Their errors are left out: times Δλ and Δγ they are far below those of the
        # measurements at both ends.
        if self._before is None:
            raise RuntimeError("a correction was asked for before the first measurement")
        loss, distortion = (Estimate(NOTHING, torch.full_like(NOTHING, value)) for value in control)
        if math.isnan(control.D):
            distortion = self._before.measured.distortion
        return Measurement(
            self._before.measured.rate,
            distortion,
            loss,
            float(model.lam),
            float(model.gam),
            self._before.measured.t,
        )

    def _control(self, trainer: pl.Trainer, model: FreeEnergyModel) -> Control:
        loss = self._loss(trainer, model, "control")
        if not self.steers_distortion:
            return Control(loss)
        probe = self._kept(trainer, model, "control")
        return Control(loss, distortion(model, probe, _data(trainer).t, draws_to_decode(probe)))

    def _loss(self, trainer: pl.Trainer, model: FreeEnergyModel, kind: Kind) -> float:
        # C on the control probe, which steers, or on the measuring one, which is reported
        probe = self._kept(trainer, model, kind)
        return float(classification_draws(model, probe, _data(trainer).t).mean())

    def _kept(self, trainer: pl.Trainer, model: FreeEnergyModel, kind: Kind) -> Probe:
        return self._source.kept(kind, model, _data(trainer), self.state.seed or 0)

    def _append_row(
        self, trainer: pl.Trainer, model: FreeEnergyModel, response: Response | None
    ) -> None:
        state, data, now = self.state, _data(trainer), time.monotonic()
        stand = self._stand(trainer, model)
        # Lightning keeps the metrics of an earlier validation
        validation = trainer.callback_metrics if self._validated else {}
        state.control, state.control_distortion = self._steers or self._control(trainer, model)
        self._steers = None
        before = state.rows[-1] if state.rows else None
        same_leg = before is not None and before["leg"] == stand.leg
        row = {
            "step": len(state.rows),
            "cycle": state.cycle,
            "stroke": state.stroke,
            **self.place(model, data),
            "leg": data.leg,
            "t": data.t,
            "lambda": float(model.lam),
            "gamma": float(model.gam),
            **energy_columns(self._before, self._work, stand, same_leg),
            **response_columns(response),
            "C_target": state.target,
            "C_predicted": state.predicted,
            "C_control": state.control,
            "predictor_miss": state.miss,
            "rejected": self._rejected,
            "corrections": self._corrections,
            "gradients": state.gradients,
            "seconds": now - self._clock,
            "val_C": float(validation.get("val/C", NAN)),
            "val_accuracy": float(validation.get("val/accuracy", NAN)),
        }
        row |= length_columns(before, row, self._metric_before, state.metric)
        row["transition"] = SADDLE if self._saddle else transition([*state.rows, row])
        state.rows.append(row)
        self._before = stand
        state.gradients, self._clock = 0, now

    def _move(
        self, trainer: pl.Trainer, model: FreeEnergyModel, motion: Motion, here: Measurement
    ) -> None:
        # first the control and the data, which is the work, and then θ
        model.lam += motion.lam
        model.gam += motion.gam
        data = _data(trainer)
        if motion.t:
            data.move_to(data.leg, data.t + motion.t)
            there = self._measure(trainer, model)
        else:  # J is linear in λ and γ
            there = replace(here, lam=float(model.lam), gam=float(model.gam))
        work = there.free_energy - here.free_energy
        self._work = work if self._work is None else self._work + work
        if self.predictor and self.state.directions is not None:
            directions = self.state.directions.to(model.device)
            amounts = torch.tensor(motion, dtype=directions.dtype, device=directions.device)
            shift_parameters(model, amounts @ directions)

    def _stand(self, trainer: pl.Trainer, model: FreeEnergyModel) -> Stand:
        data = _data(trainer)
        measured = self._measure(trainer, model)
        probe = self._kept(trainer, model, "measuring")
        return Stand(data.leg, measured, data_force(model, probe, data.t, draws_to_decode(probe)))

    def _measure(self, trainer: pl.Trainer, model: FreeEnergyModel) -> Measurement:
        # on the measuring probe of the leg, which no solve and no control ever sees
        data = _data(trainer)
        probe = self._kept(trainer, model, "measuring")
        measured = measure(model, probe, data.t, draws_to_decode(probe))
        if not measured.finite:
            terms = (measured.rate, measured.distortion, measured.classification)
            raise NonFinite(
                f"measuring probe: got R, D, C = {[term.value for term in terms]} at t = "
                f"{data.t:.4g}; allowed: finite numbers; take smaller steps, more damping or a "
                "lower learning rate"
            )
        return measured

    def _solve(self, trainer: pl.Trainer, model: FreeEnergyModel) -> Response:
        # the response at the end of a macro-step, and the metric there
        response = self._respond(trainer, model)
        self._metric_before = self.state.metric
        self.state.metric = metric(response)
        return response

    def _respond(self, trainer: pl.Trainer, model: FreeEnergyModel) -> Response:
        # solve the response on the solving probe and keep it for the next motion
        data, seed = _data(trainer), self.state.seed or 0
        key = trainer.current_epoch if self.probes.redraw else 0
        probe = self._source.drawn("solving", key, model, data, seed)
        witness = self._source.drawn("witness", key, model, data, seed)
        objective = Objective(model, probe)
        damping = None
        if self.response.damping == "auto":
            damping = relaxation_damping(model, trainer.optimizers[0], self.state.relaxation_time)
        other = Objective(model, witness)
        response = linear_response(objective, data.t, self.response, other, damping=damping)
        solution = response.solution
        # a truncated solve is a damped one; what points the wrong way or nowhere is useless
        unusable = solution.status in {Status.NON_FINITE, Status.NEGATIVE_CURVATURE}
        # where only the gradient meets negative curvature the responses along the saddle stand
        self._saddle = (
            solution.status is Status.NEGATIVE_CURVATURE
            and self.state.phase == "process"
            and self.on_transition != "mark"
            and bool(solution.residual[:3].max() <= UNSOLVED)
        )
        if not self._saddle and (unusable or solution.residual.max() > UNSOLVED):
            raise SolverBreakdown(f"linear response at t = {data.t:.4g}: {solution.message}")
        check_same(trainer, objective.theta, response, data.t)
        self.state.directions = response.directions
        self.state.derivatives = response.derivatives
        self.state.gradients += probe.noise.shape[:2].numel() * response.gradients
        return response

    def _write(self, trainer: pl.Trainer) -> None:
        if not trainer.is_global_zero:
            return
        directory = Path(trainer.default_root_dir)
        write_csv(directory / "path.csv", self.state.rows, COLUMNS)
        write_csv(directory / "equilibration.csv", self.state.checks, CHECK_COLUMNS)
        write_json(directory / "strokes.json", summarise_strokes(self.state.rows, self.ending))


def find_process(trainer: pl.Trainer) -> QuasiStatic:
    """The process among the trainer's callbacks.

    Args:
        trainer: the trainer.

    Returns:
        The process.

    Raises:
        ConfigError: if there is none, or more than one.
    """
    found = [c for c in trainer.callbacks if isinstance(c, QuasiStatic)]  # type: ignore[attr-defined]
    if len(found) != 1:
        raise ConfigError(
            f"trainer.callbacks: got {len(found)} processes; allowed: exactly one, such as "
            "IsoClassification"
        )
    return found[0]


def is_fitting(trainer: pl.Trainer) -> bool:
    """Whether what the trainer does is a fit, and not a test or a prediction after one.

    Args:
        trainer: the trainer.

    Returns:
        Whether it is.
    """
    return trainer.state.fn == TrainerFn.FITTING


def _data(trainer: pl.Trainer) -> Any:
    # Lightning attaches the DataModule without declaring it
    return getattr(trainer, "datamodule", None)


def _model(pl_module: pl.LightningModule) -> FreeEnergyModel:
    require(
        isinstance(pl_module, FreeEnergyModel),
        "model",
        type(pl_module).__name__,
        "a FreeEnergyModel: a process moves its λ and γ",
    )
    return cast(FreeEnergyModel, pl_module)
