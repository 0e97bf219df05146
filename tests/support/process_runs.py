"""Short real runs of a process on digits, and callbacks that look into them or disturb them."""

from __future__ import annotations

import contextlib
import io
import json
import math
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from thermo_pl.callbacks import Equilibration, IsoClassification, Probes
from thermo_pl.callbacks.processes import find_process
from thermo_pl.datamodules import InterpolatedDataModule, Waypoint
from thermo_pl.files import read_csv
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks import LinearClassifier, MLPDecoder, MLPEncoder, StandardNormal
from thermo_pl.process import measuring as measuring_of
from thermo_pl.process.state import Motion
from thermo_pl.response.linear import ResponseSettings
from thermo_pl.response.objective import Probe

SHAPE = [1, 8, 8]
Rows = list[dict[str, Any]]


def make_model(classes: int = 2, **arguments: Any) -> FreeEnergyModel:
    """1,500 parameters; the learning rate falls within each macro-step."""
    parts: dict[str, Any] = {
        "encoder": MLPEncoder(SHAPE, 3, [10]),
        "classifier": LinearClassifier(3, classes),
        "decoder": MLPDecoder(SHAPE, 3, [10]),
        "marginal": StandardNormal(3),
        "lam": 1.0,
        "gam": 5.0,
        "optimizer": partial(torch.optim.Adam, lr=0.005),
        "scheduler": partial(torch.optim.lr_scheduler.CosineAnnealingWarmRestarts, T_0=8),
        "scheduler_interval": "step",
    }
    return FreeEnergyModel(**(parts | arguments))


def make_data(cache: Path, *classes: tuple[int, ...], **arguments: Any) -> InterpolatedDataModule:
    """Digits 0, 1 to 5, 6 unless other waypoints are given."""
    waypoints = [Waypoint(list(group)) for group in classes or ((0, 1), (5, 6))]
    settings: dict[str, Any] = {"batch_size": 64, "train_batches": 8, "cache_dir": cache}
    return InterpolatedDataModule(waypoints, **(settings | arguments))


def make_process(**arguments: Any) -> IsoClassification:
    """Three steps after an equilibration of two epochs, which any model passes; C is not held."""
    settings: dict[str, Any] = {
        "tolerance": math.inf,
        "k": 1.0,
        "steps": 3,
        "equilibration": Equilibration(stationarity=100.0, max_epochs=20, check_every=1),
        "probes": Probes(256, 1, True, 512, 2, 512, 2),
        "response": ResponseSettings(damping=0.5),
    }
    return IsoClassification(**(settings | arguments))


class Snapshots(pl.Callback):
    """θ, λ, γ, t and the state of the process whenever the process may just have acted."""

    def __init__(self) -> None:
        """Start empty."""
        self.epoch_start: list[dict[str, Any]] = []
        self.batches: list[dict[str, Any]] = []
        self.epoch_end: list[dict[str, Any]] = []
        self.parameters: list[int] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.parameters = ids(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epoch_start.append(snapshot(trainer))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        self.batches.append(snapshot(trainer))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epoch_end.append(snapshot(trainer))


class Before(Snapshots):
    """The same, but its looks at the start of an epoch come from :func:`look_before`."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pass


def look_before(before: Snapshots, process: IsoClassification) -> None:
    """Take a snapshot before the process, which goes first among the callbacks, moves."""
    move = process.on_train_epoch_start

    def look_and_move(trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        before.epoch_start.append(snapshot(trainer))
        move(trainer, pl_module)

    process.on_train_epoch_start = look_and_move  # type: ignore[method-assign]


def ids(trainer: pl.Trainer) -> list[int]:
    """The identities of the parameters that the optimiser holds."""
    return [id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]]


def snapshot(trainer: Any) -> dict[str, Any]:
    model, data = trainer.lightning_module, trainer.datamodule
    process = find_process(trainer)
    state = process.state
    return {
        "phase": state.phase,
        "theta": theta_of(model),
        "lam": float(model.lam),
        "gam": float(model.gam),
        "t": data.t,
        "leg": data.leg,
        "planned": tuple(Motion() if state.proposal is None else state.proposal.motion),
        "directions": None if state.known is None else state.known.directions.clone(),
        "rows": len(state.rows),
    }


def theta_of(model: pl.LightningModule) -> Tensor:
    return parameters_to_vector(model.parameters()).detach().clone()


class Disturb(pl.Callback):
    """Raises, ends the process, or breaks the weights, at the start of an epoch."""

    def __init__(self, epoch: int, how: str = "interrupt") -> None:
        """Wait for the epoch."""
        self.epoch, self.how = epoch, how

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch != self.epoch or batch_idx != 3:
            return
        if self.how == "interrupt":
            raise KeyboardInterrupt
        if self.how == "bug":
            raise ValueError("a bug")
        if self.how == "terminate":
            signal.raise_signal(signal.SIGTERM)
            return
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = 1e6


@dataclass
class Run:
    """What a run left behind."""

    directory: Path
    trainer: pl.Trainer
    model: FreeEnergyModel
    data: InterpolatedDataModule
    process: IsoClassification
    before: Snapshots
    after: Snapshots
    out: str
    err: str
    error: BaseException | None

    @property
    def rows(self) -> Rows:
        return read_csv(self.directory / "path.csv")

    @property
    def strokes(self) -> list[dict[str, Any]]:
        return json_of(self.directory / "strokes.json")


def json_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def fit(
    directory: Path,
    data: InterpolatedDataModule,
    *callbacks: pl.Callback,
    model: FreeEnergyModel | None = None,
    process: IsoClassification | None = None,
    seed: int = 0,
    ckpt_path: Path | None = None,
    fails: bool = False,
    **trainer_arguments: Any,
) -> Run:
    """Fit in this process. Give ``data`` and ``model`` fresh; the seed is set before the model."""
    directory.mkdir(parents=True, exist_ok=True)
    pl.seed_everything(seed, verbose=False)
    model = model or make_model()
    process = process or make_process()
    before, after = Before(), Snapshots()
    look_before(before, process)
    settings: dict[str, Any] = {
        "default_root_dir": directory,
        "max_epochs": -1,
        "accelerator": "cpu",
        "logger": False,
        "enable_model_summary": False,
        "enable_progress_bar": any(isinstance(c, pl.callbacks.ProgressBar) for c in callbacks),
        "enable_checkpointing": any(isinstance(c, ModelCheckpoint) for c in callbacks),
    }
    trainer = pl.Trainer(
        callbacks=[before, process, after, *callbacks], **(settings | trainer_arguments)
    )
    out, err, error = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            trainer.fit(model, datamodule=data, ckpt_path=ckpt_path)
        except (Exception, SystemExit) as raised:
            if not fails:
                raise
            error = raised
    assert fails == (error is not None)
    texts = out.getvalue(), err.getvalue()
    return Run(directory, trainer, model, data, process, before, after, *texts, error)


def last_checkpoint(directory: Path) -> ModelCheckpoint:
    """The checkpoint callback that keeps the last macro-step."""
    return ModelCheckpoint(dirpath=directory / "checkpoints", filename="last")


@contextlib.contextmanager
def recorded_probes() -> Any:
    """Yields lists of the probes used to measure, to solve and as witness, with their legs."""
    measuring: list[Probe] = []
    solving: list[Probe] = []
    witness: list[Probe] = []
    measure, solve = measuring_of.measure, measuring_of.linear_response

    def measured(model: Any, probe: Probe, *rest: Any) -> Any:
        measuring.append(probe)
        return measure(model, probe, *rest)

    def solved(objective: Any, t: float, settings: Any, other: Any, *rest: Any) -> Any:
        solving.append(objective.probe)
        witness.append(other.probe)
        return solve(objective, t, settings, other, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring_of, "measure", measured)
        patch.setattr(measuring_of, "linear_response", solved)
        yield measuring, solving, witness


def equal_probes(a: Probe, b: Probe) -> bool:
    """Whether particles and noise are the same numbers."""
    return torch.equal(a.noise, b.noise) and torch.equal(a.particles.source, b.particles.source)


def differ_throughout(a: Probe, b: Probe) -> bool:
    """Whether neither the particles nor the noise were drawn alike."""
    return not (
        torch.equal(a.noise, b.noise) or torch.equal(a.particles.source, b.particles.source)
    )


def same_path(a: Rows, b: Rows) -> list[str]:
    """Where two paths differ, but for the seconds."""
    if len(a) != len(b):
        return [f"{len(a)} and {len(b)} rows"]
    return [
        f"row {i}: {name} = {x[name]!r} and {y[name]!r}"
        for i, (x, y) in enumerate(zip(a, b, strict=True))
        for name in x
        if name != "seconds" and x[name] != y[name]
    ]


def same_model(a: FreeEnergyModel, b: FreeEnergyModel) -> list[str]:
    """Names of parameters and buffers that differ in any bit."""
    other = b.state_dict()
    return [name for name, value in a.state_dict().items() if not torch.equal(value, other[name])]
