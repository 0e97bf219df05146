"""Monitors are told by the process alone: their order says nothing, and an ending comes once."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import pytorch_lightning as pl
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers.logger import DummyExperiment

from support.process_runs import (
    Disturb,
    fit,
    json_of,
    last_checkpoint,
    make_model,
    make_process,
)
from thermo_pl.callbacks import (
    Equilibration,
    IsoClassification,
    LawMonitor,
    Monitor,
    PathLogger,
    Probes,
    ProcessProgress,
    RunReport,
    law_monitor,
    run_report,
)
from thermo_pl.errors import ConfigError, NotEquilibrated
from thermo_pl.files import read_csv
from thermo_pl.laws.path_laws import check_path
from thermo_pl.runs.wandb import WandbRunLogger

pytestmark = pytest.mark.filterwarnings("error:.* failed with AssertionError")  # those of Notes

Data = Callable[..., Any]
Numbers = dict[str, float]


class Recorder(WandbRunLogger):
    """Keeps what it is told, and sends nothing to W&B."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.told: list[tuple[int | None, Numbers]] = []
        self.directories: list[dict[str, Any]] = []

    @property
    def experiment(self) -> Any:
        return DummyExperiment()

    def log_hyperparams(self, params: Any) -> None:
        pass

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.told.append((step, dict(metrics)))

    def log_directory(self, directory: Path) -> None:
        self.directories.append(contents(directory))

    def rows(self) -> list[Numbers]:
        """What was logged of the rows of a path, without the seconds."""
        rows = [said for _, said in self.told if "thermo/step" in said]
        return [{k: x for k, x in row.items() if k != "thermo/seconds"} for row in rows]


class Notes(Monitor):
    """Notes what it is told; raises at the ending if it shall."""

    def __init__(self, raises: bool = False) -> None:
        """Start empty."""
        self.raises = raises
        self.calls: list[str] = []
        self.rows: list[dict[str, Any]] = []
        self.checks: list[Numbers] = []
        self.endings: list[str] = []

    def on_check(self, trainer: pl.Trainer, process: Any, check: Numbers) -> None:
        self.calls.append("check")
        self.checks.append(check)

    def on_row(self, trainer: pl.Trainer, process: Any, row: dict[str, Any]) -> None:
        self.calls.append("row")
        assert row is process.rows[-1]
        # path.csv has the row before a monitor is told of it
        assert len(read_csv(Path(trainer.default_root_dir) / "path.csv")) == len(process.rows)
        self.rows.append(row)

    def on_ending(self, trainer: pl.Trainer, process: Any) -> None:
        self.calls.append("ending")
        self.endings.append(process.ending)
        if self.raises:
            raise OSError("the disk is full")

    def on_written(self, trainer: pl.Trainer, process: Any) -> None:
        self.calls.append("written")


def contents(directory: Path) -> dict[str, Any]:
    """All files of a run directory, without what differs from run to run: the seconds."""
    found: dict[str, Any] = {}
    for path in directory.rglob("*"):
        name = str(path.relative_to(directory))
        if path.suffix == ".csv":
            found[name] = [row | {"seconds": None} for row in read_csv(path)]
        elif path.suffix == ".json":
            found[name] = timeless(json_of(path))
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(x) for key, x in value.items() if key != "seconds"}
    return [timeless(x) for x in value] if isinstance(value, list) else value


def run(
    directory: Path,
    data: pl.LightningDataModule,
    callbacks: list[pl.Callback],
    ckpt_path: Path | None = None,
    max_epochs: int = -1,
) -> Recorder:
    """Fit with the callbacks in this order, the process among them; what the logger was told."""
    directory.mkdir(exist_ok=True)
    logger = Recorder()
    pl.seed_everything(0, verbose=False)
    trainer = pl.Trainer(
        default_root_dir=directory,
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=logger,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        enable_progress_bar=any(isinstance(c, ProcessProgress) for c in callbacks),
        enable_model_summary=False,
        callbacks=callbacks,
    )
    trainer.fit(make_model(), datamodule=data, ckpt_path=ckpt_path)
    return logger


def quick_process(**arguments: Any) -> IsoClassification:
    settings: dict[str, Any] = {"steps": 1, "tolerance": math.inf} | arguments
    return make_process(probes=Probes(16, 1, True, 16, 1, 16, 1), **settings)


# --- the order ---


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few draws of log Z; of figures what is drawn, without the drawing."""

    def write(figure: Figure, path: Path) -> None:
        shown = [x for axes in figure.axes for x in (*axes.lines, *axes.images)]
        arrays = [x.get_array() if isinstance(x, AxesImage) else x.get_xydata() for x in shown]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"".join(np.asarray(array).tobytes() for array in arrays))

    monkeypatch.setattr(run_report, "save_figure", write)
    monkeypatch.setattr(law_monitor, "PARTITION_DRAWS", 256)


# any three of the four come in each of their orders
ORDERS = [(0, 1, 2, 3), (3, 1, 2, 0), (0, 3, 2, 1), (1, 3, 0, 2), (2, 1, 0, 3), (2, 3, 0, 1)]


def test_the_order_of_callbacks_does_not_matter(tmp_path: Path, data: Data, quick: None) -> None:
    def ordered(order: tuple[int, ...]) -> tuple[dict[str, Any], Recorder]:
        parts = [quick_process(), LawMonitor(), PathLogger(), RunReport(2)]
        directory = tmp_path / "".join(map(str, order))
        source = data()
        source.data_entropy = lambda labels: 30.0  # to measure it would take longest
        logger = run(directory, source, [parts[i] for i in order])
        return contents(directory), logger

    runs = {order: ordered(order) for order in ORDERS}
    assert len({part for order in ORDERS for part in combinations(order, 3)}) == 4 * 3 * 2
    files, first = runs[0, 1, 2, 3]
    assert set(files) == {
        "path.csv",
        "equilibration.csv",
        "strokes.json",
        "laws.json",
        "summary.json",
        "figures/control.png",
        "figures/rdc_space.png",
        "figures/images.png",
        "frames.json",
        "frames.png",
    }
    # what is logged of a row are its numbers, and the laws on the path up to it
    rows = files["path.csv"]
    assert len(rows) == 2
    assert [row["thermo/C"] for row in first.rows()] == [row["C"] for row in rows]
    laws = {check.law: check.value for check in check_path(rows)}
    assert first.rows()[-1]["law/first_law_sum"] == laws["first law, sum"]
    assert first.rows()[-1]["law/concavity_D_lambda"] == laws["concavity, D_λ ≤ 0"]
    # the run directory is logged once, when all of it is written
    assert first.directories == [files]
    assert any(law["law"] == "second law, -H + J + log Z" for law in files["laws.json"])
    for order, (same, logger) in runs.items():
        assert same == files, order
        assert logger.rows() == first.rows(), order
        assert logger.directories == first.directories, order


# --- what monitors are told, and when ---


def test_monitors_are_told_of_every_check_and_row(tmp_path: Path, data: Data) -> None:
    before, after = Notes(), Notes()
    run = fit(tmp_path, data(), before, after)
    for notes in (before, after):
        assert notes.calls == [*2 * ["check"], *4 * ["row"], "ending", "written"]
        assert notes.endings == ["done"]
        assert [row["C"] for row in notes.rows] == [row["C"] for row in run.rows]
        checks = read_csv(tmp_path / "equilibration.csv")
        assert [check["J"] for check in notes.checks] == [check["J"] for check in checks]


def test_a_run_that_is_cut_ends_once(tmp_path: Path, data: Data) -> None:
    notes = Notes()
    fit(tmp_path, data(), notes, max_epochs=3)
    assert notes.calls[-3:] == ["row", "ending", "written"]
    assert notes.endings == ["cut off by the trainer's limits (max_epochs) after 3 epochs"]


def test_a_run_that_stops_ends_once(tmp_path: Path, data: Data) -> None:
    notes = Notes()
    run = fit(tmp_path, data(), Disturb(3, "bug"), notes, fails=True)
    assert isinstance(run.error, ValueError)
    assert notes.calls.count("row") == len(run.rows) == 2
    assert notes.calls[-2:] == ["ending", "written"]
    assert notes.endings == ["stopped: a bug"]

    class Breaks(pl.Callback):
        def on_test_start(self, *_: Any) -> None:
            raise ValueError("not about the process")

    run.trainer.callbacks.append(Breaks())
    with pytest.raises(ValueError, match="not about"):
        run.trainer.test(run.model, datamodule=run.data)
    assert notes.calls.count("ending") == notes.calls.count("written") == 1


def test_a_row_after_which_a_process_cannot_go_on_is_told(tmp_path: Path, data: Data) -> None:
    # without an equilibrium there is a row, and what follows is an exception
    notes, unreachable = Notes(), Equilibration(1e-300, max_epochs=2, check_every=1)
    process = quick_process(equilibration=unreachable)
    with pytest.raises(NotEquilibrated):
        run(tmp_path, data(), [notes, process])
    assert notes.calls == ["check", "check", "row", "ending", "written"]
    assert notes.endings[0].startswith("stopped: equilibration")


def test_a_monitor_that_fails_ends_nothing(tmp_path: Path, data: Data) -> None:
    callbacks = [process := quick_process(), failed := Notes(raises=True), other := Notes()]
    with pytest.warns(UserWarning, match="^Notes failed with OSError: the disk is full"):
        run(tmp_path, data(), callbacks)
    assert process.ending == "done"
    assert json_of(tmp_path / "strokes.json")[-1]["status"] == "done"
    assert failed.calls.count("ending") == 1
    assert failed.calls[-1] == other.calls[-1] == "written"


def test_figures_that_cannot_be_drawn_end_nothing(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")  # no LaTeX
    process = quick_process()
    with (
        matplotlib.rc_context({"text.usetex": True}),
        pytest.warns(UserWarning, match="^RunReport failed with .*latex"),
    ):
        run(tmp_path, data(), [process, RunReport()])
    assert process.ending == json_of(tmp_path / "summary.json")["ending"] == "done"
    assert "stationarity" in capsys.readouterr().out


def test_a_finished_run_that_is_resumed_has_its_ending(
    tmp_path: Path, data: Data, quick: None
) -> None:
    parts = [quick_process(), RunReport(), last_checkpoint(tmp_path / "first")]
    run(tmp_path / "first", data(), parts)
    saved, notes = tmp_path / "first" / "checkpoints" / "last.ckpt", Notes()
    run(tmp_path / "again", data(), [quick_process(), RunReport(), notes], ckpt_path=saved)
    assert notes.calls == ["ending", "written"]
    again, first = (contents(tmp_path / name) for name in ("again", "first"))
    assert again["summary.json"] == first["summary.json"]


# --- loggers ---


def test_a_resumed_run_logs_what_is_new(tmp_path: Path, data: Data) -> None:
    whole = run(tmp_path / "whole", data(), [PathLogger(), quick_process(steps=2)])
    parts = [PathLogger(), quick_process(steps=2), last_checkpoint(tmp_path / "cut")]
    cut = run(tmp_path / "cut", data(), parts, max_epochs=2)
    saved = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    resumed = run(tmp_path / "on", data(), [quick_process(steps=2), PathLogger()], ckpt_path=saved)
    assert len(cut.rows()) > 0 < len(resumed.rows())
    assert cut.rows() + resumed.rows() == whole.rows()


def test_rows_that_nobody_has_logged_are_logged_later(tmp_path: Path, data: Data) -> None:
    parts = [quick_process(steps=2), last_checkpoint(tmp_path / "cut")]
    assert run(tmp_path / "cut", data(), parts, max_epochs=2).rows() == []
    saved = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    resumed = run(tmp_path / "on", data(), [quick_process(steps=2), PathLogger()], ckpt_path=saved)
    assert [row["thermo/step"] for row in resumed.rows()] == [0, 1, 2]


def test_without_a_process_the_run_directory_is_logged_once(tmp_path: Path, data: Data) -> None:
    assert len(run(tmp_path, data(), [PathLogger()], max_epochs=1).directories) == 1


@pytest.mark.parametrize("with_process", [False, True])
def test_a_run_that_stops_logs_its_directory_once(
    tmp_path: Path, data: Data, with_process: bool
) -> None:
    class Sees(PathLogger):
        def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.directories = trainer.loggers[0].directories  # type: ignore[attr-defined]

    class Breaks(pl.Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            raise ValueError("a bug")

    logger = Sees()
    with pytest.raises(ValueError, match="a bug"):
        run(tmp_path, data(), [logger, Breaks(), *with_process * [quick_process()]], max_epochs=1)
    assert len(logger.directories) == 1
    assert ("strokes.json" in logger.directories[0]) == with_process


# --- without a process ---


@pytest.mark.parametrize("make", [LawMonitor, RunReport, ProcessProgress])
def test_a_monitor_without_a_process_is_told_so(tmp_path: Path, data: Data, make: Any) -> None:
    with pytest.raises(ConfigError, match="got 0 processes; allowed: exactly one"):
        run(tmp_path, data(), [make()], max_epochs=1)
