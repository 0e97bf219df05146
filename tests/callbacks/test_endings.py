"""How processes end early, and what they leave; in this process and on the command line."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml
from torch.utils.data import DataLoader

from support.command_line import CONFIG, PROCESS
from support.process_runs import (
    Disturb,
    fit,
    json_of,
    make_model,
    make_process,
    same_path,
    theta_of,
)
from thermo_pl.callbacks import Equilibration, Probes, ProcessProgress, RunReport
from thermo_pl.cli import main
from thermo_pl.errors import ConfigError, NonFinite, NotEquilibrated, SolverBreakdown
from thermo_pl.files import read_csv
from thermo_pl.response import linear as response_module
from thermo_pl.response.solvers import Solution, Status

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*' does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
]

Data = Callable[..., Any]


def last_status(directory: Path) -> str:
    status: str = json_of(directory / "strokes.json")[-1]["status"]
    return status


# --- no equilibrium ---


def test_no_equilibrium(tmp_path: Path, data: Data) -> None:
    process = make_process(equilibration=Equilibration(1e-9, max_epochs=4, check_every=2))
    run = fit(tmp_path, data(), process=process, fails=True)
    assert isinstance(run.error, NotEquilibrated)
    assert run.error.exit_code == 3
    assert [row["stroke"] for row in run.rows] == ["equilibration"]
    assert last_status(tmp_path) == f"stopped: {run.error}"
    checks = read_csv(tmp_path / "equilibration.csv")
    assert [check["epoch"] for check in checks] == [2, 4]
    assert run.trainer.current_epoch == 3
    mean = sum(check["stationarity"] for check in checks) / 2
    assert f"{mean:.3g} nats after 4 epochs; allowed: at most 1e-09" in str(run.error)


def test_time_for_one_check_alone_is_refused() -> None:
    # it could find what was asked for, and the run would stop all the same
    with pytest.raises(ConfigError, match="max_epochs: got 3; allowed: at least 6"):
        Equilibration(100.0, max_epochs=3, check_every=3)


# --- no finite numbers ---


def test_a_loss_that_is_not_finite_during_equilibration(tmp_path: Path, data: Data) -> None:
    model = make_model(optimizer=partial(torch.optim.SGD, lr=1e6), scheduler=None)
    run = fit(tmp_path, data(), model=model, fails=True)
    assert isinstance(run.error, NonFinite)
    assert run.rows == []
    assert (tmp_path / "equilibration.csv").is_file()


def test_why_a_run_stopped_is_on_disk_before_the_first_row_too(tmp_path: Path, data: Data) -> None:
    run = fit(tmp_path, data(), Disturb(0, "bug"), fails=True)
    assert run.strokes[-1]["stroke"] == "equilibration"
    assert run.strokes[-1]["status"] == "stopped: a bug"


def test_a_loss_that_is_not_finite_during_the_process(tmp_path: Path, data: Data) -> None:
    callbacks = Disturb(3, "diverge"), RunReport()
    process = make_process(min_step=1.0)  # no shorter step is tried
    model = make_model(scheduler=None)
    run = fit(tmp_path, data(), *callbacks, model=model, process=process, fails=True)
    assert isinstance(run.error, NonFinite)
    assert run.error.exit_code == 3
    assert [row["step"] for row in run.rows] == [0, 1]
    assert last_status(tmp_path) == f"stopped: {run.error}"
    assert json_of(tmp_path / "summary.json")["ending"] == f"stopped: {run.error}"
    assert (tmp_path / "figures" / "control.png").stat().st_size > 10_000
    assert "stopped: " in run.out


# --- no solution ---


@pytest.mark.parametrize(
    ("status", "residual", "stops"),
    [
        (Status.NON_FINITE, float("nan"), True),
        (Status.NEGATIVE_CURVATURE, 0.01, True),
        (Status.MAX_ITERATIONS, 0.9, True),
        (Status.MAX_ITERATIONS, 0.2, False),
    ],
)
def test_solves_that_fail(
    tmp_path: Path,
    data: Data,
    monkeypatch: pytest.MonkeyPatch,
    status: Status,
    residual: float,
    stops: bool,
) -> None:
    solve = response_module.conjugate_gradient
    calls = 0

    def solved(*arguments: Any) -> Solution:
        nonlocal calls
        calls += 1
        solution = solve(*arguments)
        if calls < 3:  # two checks of the equilibrium
            return solution
        bad = torch.tensor([0.001, 0.001, residual, 0.001])
        return Solution(solution.x, status, 17, bad)

    monkeypatch.setattr(response_module, "conjugate_gradient", solved)
    run = fit(tmp_path, data(), process=make_process(min_step=1.0), fails=stops)
    if stops:
        assert isinstance(run.error, SolverBreakdown)
        assert run.error.exit_code == 3
        assert f"t = 0.3333: {status} after 17 iterations" in str(run.error)
        assert len(run.rows) == 1
        assert last_status(tmp_path) == f"stopped: {run.error}"
    else:
        recorded = [(row["solver_status"], row["solver_iterations"]) for row in run.rows[1:]]
        assert recorded == 3 * [("max_iterations", 17)]


@pytest.mark.slow
def test_few_iterations_are_recorded(tmp_path: Path, data: Data) -> None:
    settings = response_module.ResponseSettings(damping=2.0, max_iterations=6, tolerance=1e-6)
    run = fit(tmp_path, data(), process=make_process(response=settings, steps=1))
    assert {row["solver_status"] for row in run.rows} == {"max_iterations"}
    assert {row["solver_iterations"] for row in run.rows} == {6}


# --- interrupted or cut ---


@pytest.mark.parametrize(
    ("how", "said"),
    [
        pytest.param(
            "interrupt",
            "KeyboardInterrupt",
        ),
        pytest.param("bug", "a bug", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_interrupted_in_a_step(
    tmp_path: Path, data: Data, how: str, said: str
) -> None:
    whole = fit(tmp_path / "whole", data())
    run = fit(tmp_path / "cut", data(), Disturb(3, how), RunReport(), fails=True)
    assert isinstance(run.error, SystemExit if how == "interrupt" else ValueError)
    assert last_status(tmp_path / "cut") == f"stopped: {said}"
    assert same_path(run.rows, whole.rows[:2]) == []
    assert json_of(tmp_path / "cut" / "summary.json")["steps"] == 1


@pytest.mark.parametrize(
    "limit", [{"max_epochs": 3}, pytest.param({"max_steps": 24}, marks=pytest.mark.slow)]
)
def test_a_run_that_the_trainer_cuts(tmp_path: Path, data: Data, limit: dict[str, int]) -> None:
    run = fit(tmp_path, data(), RunReport(), **limit)
    assert len(run.rows) == 2
    said = f"cut off by the trainer's limits ({next(iter(limit))}) after 3 epochs"
    assert last_status(tmp_path) == said
    assert run.out.startswith("process")
    assert said in run.out


def test_path_is_on_disk_after_every_macro_step(tmp_path: Path, data: Data) -> None:
    seen = []

    class Reader(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
            seen.append(len(read_csv(tmp_path / "path.csv")) if trainer.current_epoch else 0)
            if trainer.current_epoch > 1:
                assert last_status(tmp_path) == "running"

    fit(tmp_path, data(), Reader())
    assert seen[::8] == [0, 0, 1, 2, 3]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"path.csv", "strokes.json", "equilibration.csv"}


def test_a_later_failure_does_not_rewrite_the_ending(tmp_path: Path, data: Data) -> None:
    run = fit(tmp_path, data())

    class Breaks(pl.Callback):
        def on_test_start(self, *_: Any) -> None:
            raise ValueError("not about the process")

    run.trainer.callbacks.append(Breaks())
    with pytest.raises(ValueError, match="not about"):
        run.trainer.test(run.model, datamodule=run.data)
    assert last_status(tmp_path) == "done"


def test_more_epochs_than_the_process_asks_for_are_refused(tmp_path: Path, data: Data) -> None:
    model = make_model()
    before = theta_of(model)
    with pytest.raises(ConfigError, match=r"trainer\.min_epochs: got 8; allowed: none"):
        fit(tmp_path, data(), model=model, min_epochs=8)
    assert torch.equal(theta_of(model), before)


def test_a_process_that_has_run_does_not_run_again(tmp_path: Path, data: Data) -> None:
    first = fit(tmp_path / "first", data(), max_epochs=3)
    model = make_model()
    before = theta_of(model)
    with pytest.raises(ConfigError, match="IsoClassification: got a process that has run before"):
        fit(tmp_path / "again", data(), model=model, process=first.process)
    assert torch.equal(theta_of(model), before)


# --- what does not fit together ---


def test_data_without_domains(tmp_path: Path) -> None:
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        max_epochs=1,
        callbacks=[make_process(), ProcessProgress(), RunReport()],
    )
    with pytest.raises(ConfigError, match="allowed: an InterpolatedDataModule"):
        trainer.fit(make_model(), DataLoader([torch.zeros(1)]))


def test_a_model_of_another_kind(tmp_path: Path, data: Data) -> None:
    class Other(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(64, 1)

        def training_step(self, batch: Any, _: int) -> Any:
            return self.linear(batch.x.flatten(1)).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    model: Any = Other()
    run = fit(tmp_path, data(), model=model, fails=True)
    assert isinstance(run.error, ConfigError)
    assert "model: got 'Other'; allowed: a FreeEnergyModel" in str(run.error)
    assert run.trainer.global_step == 0


@pytest.mark.parametrize("count", [0, 2])
def test_one_process_at_a_time(tmp_path: Path, data: Data, count: int) -> None:
    model = make_model()
    before = theta_of(model)
    with pytest.raises((ConfigError, RuntimeError)) as caught:  # two are Lightning's complaint
        pl.Trainer(
            default_root_dir=tmp_path,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            max_epochs=1,
            callbacks=[*(make_process() for _ in range(count)), ProcessProgress(), RunReport()],
        ).fit(model, datamodule=data())
    assert "IsoClassification" in str(caught.value)
    assert torch.equal(theta_of(model), before)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: Equilibration(stationarity=0.0), "equilibration.stationarity: got 0.0"),
        (lambda: Equilibration(max_epochs=0), "equilibration.max_epochs: got 0"),
        (lambda: Equilibration(check_every=0), "equilibration.check_every: got 0"),
        (lambda: Probes(solving_particles=0), "probes.solving_particles: got 0"),
        (lambda: Probes(measuring_samples=0), "probes.measuring_samples: got 0"),
        (lambda: response_module.ResponseSettings(damping=-1.0), "response.damping: got -1.0"),
    ],
    ids=["stationarity", "max_epochs", "check_every", "particles", "samples", "damping"],
)
def test_settings(make: Callable[[], Any], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert part in str(caught.value)
    assert Probes(redraw=False).redraw is False


# --- the command line ---

RUN = Path("runs/version_0")
DISTURB = (
    "--trainer.callbacks+="
    "{class_path: support.process_runs.Disturb, init_args: {epoch: 3, how: %s}}"
)
DIVERGE = DISTURB % "diverge"


@pytest.fixture
def command_line(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Runs ``fit`` in an empty directory with CONFIG, other process settings and flags."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("THERMO_PL_RUN_DIR", raising=False)
    config = copy.deepcopy(CONFIG)
    config["data"]["init_args"]["cache_dir"] = str(cache)

    def call(*flags: str, **process: Any) -> int:
        config["trainer"]["callbacks"][0]["init_args"] = PROCESS | process
        Path("config.yaml").write_text(yaml.safe_dump(config))
        return main(["fit", "--config", "config.yaml", *flags])

    return call


def only_error(err: str) -> str:
    """The one line on stderr that tells the error; it comes last."""
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert err.splitlines()[-1] == lines[0]
    assert "Traceback" not in err
    return lines[0]


def test_command_line(command_line: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line() == 0
    names = {str(path.relative_to(RUN)) for path in RUN.rglob("*") if path.is_file()}
    assert names == {
        "config.yaml",
        "path.csv",
        "strokes.json",
        "equilibration.csv",
        "summary.json",
        "checkpoints/last.ckpt",
        "checkpoints/last.before.ckpt",
        "figures/control.png",
        "figures/images.png",
        "figures/rdc_space.png",
        "frames.json",
        "frames.png",
        "report.html",
        "versions.json",
    }
    out = capsys.readouterr().out
    assert out.startswith("process")
    files, report = (line.split() for line in out.splitlines()[-2:])
    assert files == ["files", str(RUN)]
    assert report == ["report", str(RUN / "report.html")]


@pytest.mark.slow
def test_resume_on_the_command_line(command_line: Callable[..., int]) -> None:
    assert command_line() == 0
    assert command_line("--trainer.max_epochs", "3") == 0
    assert last_status(Path("runs/version_1")).startswith("cut off")
    assert command_line("--ckpt_path", "last") == 0
    whole, cut, resumed = (read_csv(f"runs/version_{n}/path.csv") for n in range(3))
    assert len(cut) == 2
    assert same_path(resumed, whole) == []
    states = [
        torch.load(f"runs/version_{n}/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for n in (0, 2)
    ]
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name


@pytest.mark.parametrize(
    ("process", "flags", "parts", "rows"),
    [
        ({"c_target": 20.0}, [], ["gamma: got", "C* = 20 nats", "no classifier"], 1),
        (
            {"equilibration": {"stationarity": 1e-9, "max_epochs": 2, "check_every": 1}},
            [],
            ["stationarity", "after 2 epochs", "1e-09"],
            1,
        ),
        ({"tolerance": float("inf"), "min_step": 1.0}, [DIVERGE], ["J: got nan in training"], 2),
        pytest.param(
            {"response": {"damping": 0.0, "curvature": "hessian"}},
            [],
            ["negative_curvature"],
            0,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["infeasible", "no equilibrium", "not finite", "solver"],
)
def test_a_process_that_cannot_go_on(
    command_line: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    process: dict[str, Any],
    flags: list[str],
    parts: list[str],
    rows: int,
) -> None:
    assert command_line(*flags, **process) == 3
    line = only_error(capsys.readouterr().err)
    for part in parts:
        assert part in line
    assert len(read_csv(RUN / "path.csv")) >= rows
    if rows:
        assert f"error: {last_status(RUN).removeprefix('stopped: ')}" == line
    if rows > 1:
        assert (RUN / "figures" / "control.png").is_file()


@pytest.mark.parametrize(
    ("process", "flags", "parts"),
    [
        ({"k": -2.0}, [], ["k: got -2.0", "at least -1"]),
        ({}, ["--model.gam", "0"], ["gam: got 0.0", "> 0"]),
        ({"steps": 0}, [], ["trainer.callbacks[0].init_args.steps: got 0", "> 0"]),
        ({"equilibration": {"stationarity": -1.0}}, [], ["stationarity: got -1.0"]),
    ],
    ids=["k", "gam", "steps", "stationarity"],
)
def test_a_mistake_in_the_process_is_told_in_one_line(
    command_line: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    process: dict[str, Any],
    flags: list[str],
    parts: list[str],
) -> None:
    assert command_line(*flags, **process) == 2
    line = only_error(capsys.readouterr().err)
    for part in parts:
        assert part in line


@pytest.mark.slow
@pytest.mark.parametrize(("how", "code"), [("interrupt", 130), ("terminate", 143)])
def test_a_signal_on_the_command_line(
    command_line: Callable[..., int], capsys: pytest.CaptureFixture[str], how: str, code: int
) -> None:
    assert command_line(DISTURB % how) == code
    assert len(read_csv(RUN / "path.csv")) == 2
    assert last_status(RUN).startswith("stopped")
    assert "Traceback" not in capsys.readouterr().err
