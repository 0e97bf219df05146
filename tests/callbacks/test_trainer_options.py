"""Each of Lightning's own switches on a process is honoured, or refused by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    BatchSizeFinder,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelPruning,
    OnExceptionCheckpoint,
    StochasticWeightAveraging,
    Timer,
)
from pytorch_lightning.loggers import CSVLogger

from support.process_runs import Disturb, fit, last_checkpoint, make_model, make_process, same_path
from thermo_pl.callbacks.checks import check_trainer
from thermo_pl.errors import ConfigError
from thermo_pl.files import read_csv
from thermo_pl.module import FreeEnergyModel

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*' does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
]
Data = Callable[..., Any]


class WeightAveraging(pl.Callback):
    """Lightning's has this name, from 2.6 on."""


class OwnAverage(WeightAveraging):
    """A callback of one's own that is derived from it, as EMAWeightAveraging is."""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("trainer.overfit_batches: got 2", {"overfit_batches": 2}),
        ("trainer.limit_train_batches: got 0", {"limit_train_batches": 0}),
        ("trainer.precision: got 'bf16-true'", {"precision": "bf16-true"}),
        ("'EarlyStopping'", {"callbacks": [EarlyStopping("val/J")]}),
        ("'StochasticWeightAveraging'", {"callbacks": [StochasticWeightAveraging(0.01)]}),
        ("'OwnAverage'", {"callbacks": [OwnAverage()]}),
        ("'ModelPruning'", {"callbacks": [ModelPruning("l1_unstructured")]}),
        ("'LearningRateFinder'", {"callbacks": [LearningRateFinder()]}),
        ("'BatchSizeFinder'", {"callbacks": [BatchSizeFinder()]}),
        ("'GradientAccumulation", {"callbacks": [GradientAccumulationScheduler({0: 1, 2: 2})]}),
    ],
)
def test_what_changes_the_training_of_a_process_is_refused(
    tmp_path: Path, name: str, arguments: dict[str, Any]
) -> None:
    trainer = pl.Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path, **arguments)
    with pytest.raises(ConfigError, match=name):
        check_trainer(trainer)


class Steps(pl.Callback):
    """Sums up the learning rates of the optimiser's own steps."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.time = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.time = 0.0
        step = trainer.optimizers[0].step

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.time += trainer.optimizers[0].param_groups[0]["lr"]
            return step(*args, **kwargs)

        trainer.optimizers[0].step = counted  # type: ignore[method-assign]


@pytest.mark.parametrize("together", [1, 3])
def test_relaxation_time_is_counted_by_steps(tmp_path: Path, data: Data, together: int) -> None:
    steps = Steps()
    run = fit(tmp_path, data(), steps, max_epochs=1, accumulate_grad_batches=together)
    assert run.trainer.global_step == -(-8 // together)
    assert run.process.relaxed.time == pytest.approx(steps.time, rel=1e-12)
    assert run.process.relaxed.gradients == 8 * 64


def test_gradients_are_clipped(tmp_path: Path, data: Data) -> None:
    model = make_model(optimizer=partial(torch.optim.SGD, lr=0.01), scheduler=None)
    run = fit(tmp_path, data(), model=model, max_epochs=1, gradient_clip_val=0.5)
    thetas = torch.stack([snapshot["theta"] for snapshot in run.after.batches])
    steps = thetas.diff(dim=0).norm(dim=1)
    assert steps.tolist() == pytest.approx([0.005] * 7, rel=1e-3)  # all gradients are larger


def test_what_only_looks_changes_nothing(tmp_path: Path, data: Data) -> None:
    plain = fit(tmp_path / "plain", data())
    looked_at = fit(
        tmp_path / "looked",
        data(),
        LearningRateMonitor("step"),
        Timer("00:01:00:00", interval="epoch"),
        logger=CSVLogger(tmp_path, name="", version=""),
        log_every_n_steps=1,
        deterministic=True,
    )
    assert same_path(looked_at.rows, plain.rows) == []
    rates = [row["lr-Adam"] for row in read_csv(tmp_path / "metrics.csv") if row.get("lr-Adam")]
    cosine = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts
    optimizer = torch.optim.Adam([torch.zeros(1)], lr=0.005)
    scheduler, expected = cosine(optimizer, T_0=8), []
    for _ in rates:
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert len(rates) == looked_at.trainer.global_step
    assert rates == pytest.approx(expected, rel=1e-5)


class Moves(pl.Callback):
    """Moves θ at a hook, once the process has a row."""

    def __init__(self, hook: str) -> None:
        """Wait for the hook."""
        setattr(self, hook, self.move)

    def move(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        if trainer.current_epoch >= 2:
            with torch.no_grad():
                next(pl_module.parameters()).mul_(0.99)


@pytest.mark.parametrize(
    "hook", ["on_validation_epoch_start", "on_validation_end", "on_train_epoch_end", "on_train_end"]
)
def test_a_callback_that_moves_the_parameters_is_named(
    tmp_path: Path, data: Data, hook: str
) -> None:
    run = fit(tmp_path, data(), Moves(hook), max_epochs=4, fails=True)
    assert isinstance(run.error, ConfigError)
    assert "got theta changed" in str(run.error)
    assert "Moves" in str(run.error)


class Stops(pl.Callback):
    """Ends the run inside a macro-step, as a timer of Lightning does."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        trainer.should_stop = trainer.global_step >= 27


@pytest.mark.parametrize("by", ["the trainer's limits (max_steps)", "a callback of the trainer"])
def test_a_macro_step_that_is_cut_short_is_taken_back(tmp_path: Path, data: Data, by: str) -> None:
    # 8 batches a macro-step
    kept = last_checkpoint(tmp_path)
    limit = {"max_steps": 27} if "limits" in by else {}
    run = fit(tmp_path, data(), *([] if limit else [Stops()]), kept, **limit)
    assert run.process.ending == f"cut off by {by} after 3 epochs"
    before = run.before.epoch_start[-1]
    assert torch.equal(run.after.epoch_end[-1]["theta"], before["theta"])
    assert [run.model.lam, run.model.gam, run.data.t] == [before[n] for n in ("lam", "gam", "t")]
    assert len(run.rows) == 2
    resumed = fit(tmp_path / "on", data(), ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
    assert resumed.process.ending == "done"
    assert same_path(resumed.rows[: len(run.rows)], run.rows) == []


@pytest.mark.parametrize("arguments", [{"every_n_train_steps": 3}, {}], ids=str)
def test_a_checkpoint_inside_a_macro_step_is_refused(
    tmp_path: Path, data: Data, arguments: dict[str, Any]
) -> None:
    # without arguments: Lightning saves at the end of validation, before the row is measured
    keeps = ModelCheckpoint(dirpath=tmp_path, **arguments)
    run = fit(tmp_path, data(), keeps, check_val_every_n_epoch=2, fails=True)
    assert isinstance(run.error, ConfigError)
    assert "save_on_train_epoch_end: true" in str(run.error)


def test_nobody_goes_on_from_inside_a_macro_step(tmp_path: Path, data: Data) -> None:
    keeps = OnExceptionCheckpoint(str(tmp_path), "broken")
    fit(tmp_path, data(), Disturb(3, "bug"), keeps, fails=True, enable_checkpointing=True)
    run = fit(tmp_path / "on", data(), ckpt_path=tmp_path / "broken.ckpt", fails=True)
    assert "ckpt_path: got a checkpoint from inside a macro-step" in str(run.error)


def test_accumulated_gradients_and_corrections_do_not_mix(tmp_path: Path, data: Data) -> None:
    process = make_process()
    process.settings.parts = 2
    run = fit(tmp_path, data(), process=process, accumulate_grad_batches=2, fails=True)
    assert "trainer.accumulate_grad_batches: got 2" in str(run.error)


def test_a_schedule_with_an_end_is_refused(tmp_path: Path, data: Data) -> None:
    cycle = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.01, total_steps=100)
    run = fit(tmp_path, data(), model=make_model(scheduler=cycle), fails=True)
    assert "model.scheduler: got 'OneCycleLR'; allowed: one without an end" in str(run.error)


class Manual(FreeEnergyModel):
    """Steps its optimiser itself."""

    automatic_optimization = False


def test_a_response_follows_one_relaxation(tmp_path: Path, data: Data) -> None:
    # several optimisers that Lightning steps are refused by Lightning itself
    names = ("encoder", "classifier", "decoder", "marginal")
    parts = {name: getattr(make_model(), name) for name in names}
    run = fit(tmp_path, data(), model=Manual(**parts, lam=1.0, gam=5.0), fails=True)
    assert isinstance(run.error, ConfigError)
    assert "model.automatic_optimization: got False; allowed: True" in str(run.error)
