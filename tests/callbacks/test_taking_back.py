"""Macro-steps that are taken back under the Trainer: no trace, exact resume, exit code 3."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from support.process_runs import Run, fit, last_checkpoint, make_process, same_model, same_path
from thermo_pl.callbacks import ProcessProgress
from thermo_pl.callbacks.processes import find_process
from thermo_pl.errors import ConstraintLost, NonFinite, SolverBreakdown
from thermo_pl.files import read_csv
from thermo_pl.process import measuring

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*' does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
]

Data = Callable[..., Any]
COST = {"gradients": 0.0, "rejected": 0, "rejection": None}


class Spoil(pl.Callback):
    """Spoils C before the last batch of an epoch whose macro-step is too long."""

    def __init__(self, longest: float = 0.6) -> None:
        """Keep the length in t."""
        self.longest = longest

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        last = batch_idx + 1 == trainer.num_training_batches
        if last and is_too_long(trainer, self.longest):
            with torch.no_grad():
                for parameter in pl_module.classifier.parameters():
                    parameter.mul_(-20.0)


class Break(pl.Callback):
    """Puts a NaN somewhere in an epoch whose macro-step is too long."""

    def __init__(self, where: str, batch: int) -> None:
        """Keep the place."""
        self.where, self.batch = where, batch

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self._now = batch_idx == self.batch and is_too_long(trainer)
        if self._now and self.where == "theta":
            with torch.no_grad():
                next(pl_module.parameters())[0] = torch.nan

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        if self._now and self.where == "gradient":
            next(pl_module.parameters()).grad[0] = torch.nan
        if self._now and self.where == "moment":  # its square is not finite, and θ stays so
            next(pl_module.parameters()).grad[0] = 1e30


def checks_of(run: Run) -> list[dict[str, Any]]:
    return read_csv(run.directory / "equilibration.csv")


def is_too_long(trainer: Any, longest: float = 0.6) -> bool:
    rows = find_process(trainer).rows
    return bool(rows) and trainer.datamodule.t - rows[-1]["t"] > longest


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Run:
    """A run whose one step is too long: two epochs, four rounds, and two of half the size."""
    return fit(
        tmp_path_factory.mktemp("tried"),
        data(),
        Spoil(),
        ProcessProgress(),
        process=make_process(steps=1, tolerance=0.01),
    )


def test_progress_says_that_a_step_is_tried_again(tried: Run) -> None:
    first, *lines, last = [line for line in tried.err.splitlines() if line.startswith("   0/1  ")]
    assert "equilibration t=0.000" in first
    assert lines == [  # of four rounds; how long one takes is not known before the first row
        f"   0/1  not held yet: relaxed and corrected again, round {number}  ?:?? left"
        for number in (2, 3, 4)
    ]
    why = tried.rows[1]["rejection"]
    assert why.startswith("after 4 rounds: C misses its target by ")
    assert last == f"   0/1  taken back, halved: {why[16:-15]}  ?:?? left"
    assert why[-15:] == ", allowed 1.00%"
    assert len(last) <= 100


def remembered(run: Run) -> list[Any]:
    """What the optimiser and the scheduler remember."""
    moments = run.trainer.optimizers[0].state_dict()["state"].values()
    scheduler = run.trainer.lr_scheduler_configs[0].scheduler
    state = {k: v for k, v in scheduler.state_dict().items() if isinstance(v, int | float | list)}
    return [[float(v.double().sum()) for v in moment.values()] for moment in moments] + [state]


def test_a_step_that_was_taken_back_leaves_no_trace(tried: Run, tmp_path: Path, data: Data) -> None:
    at_once = fit(tmp_path, data(), Spoil(), process=make_process(steps=2, tolerance=0.01))
    assert [(row["t"], row["rejected"]) for row in tried.rows] == [(0, 0), (0.5, 1), (1, 0)]
    assert same_path(*([row | COST for row in run.rows] for run in (tried, at_once))) == []
    assert tried.rows[1]["gradients"] > 3 * at_once.rows[1]["gradients"]
    assert same_model(tried.model, at_once.model) == []
    assert remembered(tried) == remembered(at_once)
    assert tried.trainer.current_epoch == at_once.trainer.current_epoch + 4


@pytest.mark.parametrize(
    ("where", "batch"),
    [("theta", 0), ("theta", 7), ("gradient", 2), ("gradient", 7), ("moment", 2)],
)
def test_a_number_that_is_not_finite_is_taken_back_and_the_step_is_tried_shorter(
    tried: Run, tmp_path: Path, data: Data, where: str, batch: int
) -> None:
    run = fit(tmp_path, data(), Break(where, batch), process=make_process(steps=1, tolerance=0.01))
    assert same_path(*([row | COST for row in one.rows] for one in (run, tried))) == []
    assert same_model(run.model, tried.model) == []
    assert remembered(run) == remembered(tried)
    assert [row["rejection"] for row in run.rows] == [None, "NonFinite, on the way", None]


def test_a_process_that_promises_nothing_takes_back_what_is_not_finite(
    tmp_path: Path, data: Data
) -> None:
    run = fit(tmp_path, data(), Break("theta", 3), process=make_process(steps=1))
    assert [row["t"] for row in run.rows] == [0.0, 0.5, 1.0]
    assert [row["rejection"] for row in run.rows] == [None, "NonFinite, on the way", None]


@pytest.mark.parametrize("where", ["theta", "gradient"])
def test_an_epoch_of_equilibration_is_taken_back_to_half_the_learning_rate(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "is_too_long", lambda t, *_: t.current_epoch == 1)
    run = fit(tmp_path, data(), Break(where, 3), process=make_process(steps=1))
    checks = checks_of(run)
    rates = [row["learning_rate"] for row in checks]
    assert [rate / rates[0] for rate in rates] == [1.0, 0.5]
    assert [row["epoch"] for row in checks] == [1, 2]  # an epoch that is taken back is none
    assert (run.rows[0]["rejected"], run.rows[0]["rejection"]) == (1, "NonFinite, on the way")
    assert run.rows[1]["rejected"] == 0


def test_an_equilibration_that_stays_broken_ends_the_run_where_the_epoch_began(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "is_too_long", lambda t, *_: t.current_epoch > 0)
    process = make_process(min_step=0.5)
    run = fit(tmp_path, data(), Break("theta", 3), process=process, fails=True)
    assert isinstance(run.error, NonFinite)
    assert run.trainer.current_epoch == 2  # once, and at half the learning rate
    assert len(checks_of(run)) == 1
    assert run.rows == []
    assert all(p.isfinite().all() for p in run.model.parameters())


@pytest.mark.parametrize("broken", ["response", "predictor", "measure"])
def test_so_is_what_cannot_be_solved_predicted_or_measured(
    tried: Run, tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    process = make_process(steps=1, tolerance=0.01)

    def failing(function: Callable[..., Any], error: type[Exception]) -> Callable[..., Any]:
        def fails(*args: Any, **kwargs: Any) -> Any:
            if is_too_long(process.trainer):
                raise error("broken")
            return function(*args, **kwargs)

        return fails

    class Known(pl.Callback):
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            process.trainer = trainer

    target, name, error = {
        "response": (measuring, "linear_response", SolverBreakdown),
        "predictor": (measuring, "classification_draws", NonFinite),
        "measure": (measuring, "latents_in_use", NonFinite),
    }[broken]
    monkeypatch.setattr(target, name, failing(getattr(target, name), error))
    run = fit(tmp_path, data(), Known(), process=process)
    assert same_path(*([row | COST for row in one.rows] for one in (run, tried))) == []
    assert run.rows[1]["rejection"] == f"{error.__name__}, on the way"


def test_what_stays_broken_ends_the_run_at_the_last_good_state(tmp_path: Path, data: Data) -> None:
    process = make_process(steps=1, tolerance=0.01, min_step=0.5)
    breaks, seen = Break("theta", 3), last_checkpoint(tmp_path)
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(sys.modules[__name__], "is_too_long", lambda *_: len(process.rows) > 0)
        run = fit(tmp_path, data(), breaks, seen, process=process, fails=True)
    assert isinstance(run.error, NonFinite)
    assert run.error.exit_code == 3
    assert run.strokes[-1]["status"] == f"stopped: {run.error}"
    assert [row["t"] for row in run.rows] == [0.0]
    assert (run.data.leg, run.data.t) == (0, 0.0)
    assert all(p.isfinite().all() for p in run.model.parameters())


@pytest.mark.parametrize("epochs", [4, 6], ids=["in the middle of a try", "after it"])
def test_resume_is_exact_where_a_step_is_taken_back(
    tried: Run, tmp_path: Path, data: Data, epochs: int
) -> None:
    def process() -> Any:
        return make_process(steps=1, tolerance=0.01)

    cut = tmp_path / "cut"
    first = fit(cut, data(), Spoil(), last_checkpoint(cut), process=process(), max_epochs=epochs)
    assert len(first.rows) == 1
    checkpoint = cut / "checkpoints" / "last.ckpt"
    rest = fit(tmp_path / "rest", data(), Spoil(), process=process(), ckpt_path=checkpoint)
    assert same_path(rest.rows, tried.rows) == []
    assert same_model(rest.model, tried.model) == []
    assert remembered(rest) == remembered(tried)


def test_a_constraint_that_is_lost_ends_the_run_with_all_that_was_measured(
    tmp_path: Path, data: Data
) -> None:
    process = make_process(steps=1, tolerance=0.01, min_step=0.5)
    run = fit(tmp_path, data(), Spoil(longest=0.0), process=process, fails=True)
    assert isinstance(run.error, ConstraintLost)
    assert run.strokes[-1]["status"] == f"stopped: {run.error}"
    assert [row["t"] for row in run.rows] == [0.0]
    assert (run.data.leg, run.data.t) == (0, 0.0)
    assert [float(run.model.gam)] == [run.rows[0]["gamma"]]
