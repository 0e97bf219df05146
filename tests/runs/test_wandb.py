"""What a run leaves with W&B, read back with W&B's own reader; and runs without W&B."""

from __future__ import annotations

import json
import pickle
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
import yaml
from pytorch_lightning.loggers import wandb as lightning_wandb

from support.wandb_runs import ROOT, Recorded, a_server, fit, path_of, recorded, same, tiny_config
from thermo_pl.cli import main
from thermo_pl.errors import ConfigError
from thermo_pl.path.columns import COLUMNS, SCHEMA
from thermo_pl.runs.wandb import PRIVATE, WandbRunLogger

TOKEN = "planted-sk-0123456789"
KEY = "5" * 40
CLOSED = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two runs, k = 0.5 and 0.25, in an environment that holds secrets."""
    folder = tmp_path_factory.mktemp("two_runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("THERMO_PL_RUN_DIR", raising=False)
        patch.setenv("PLANTED_TOKEN", TOKEN)
        patch.setenv("WANDB_API_KEY", KEY)
        for k in ("0.5", "0.25"):
            fit(folder, "--trainer.callbacks.k", k)
        wandb.teardown()  # all is on disk
    return folder


@pytest.fixture(scope="module")
def runs(folder: Path) -> list[Path]:
    return [folder / "runs" / f"version_{number}" for number in range(2)]


@pytest.fixture(scope="module")
def both(runs: list[Path]) -> list[Recorded]:
    return [recorded(run) for run in runs]


def said_of_wandb(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(w.message) for w in caught if "Weights & Biases" in str(w.message)]


# --- what is recorded ---


def test_the_project_is_that_of_the_config_or_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert WandbRunLogger().name == "thermo_pl"
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    assert [WandbRunLogger().name, WandbRunLogger(project="ours").name] == ["theirs", "ours"]


def test_scalars_are_the_numbers_of_path_csv(runs: list[Path], both: list[Recorded]) -> None:
    for run, seen in zip(runs, both, strict=True):
        rows = path_of(run)
        assert len(rows) == 3
        assert seen.series("thermo/step") == [0, 1, 2]
        for column in SCHEMA:
            if column.section is not None:
                values = [row[column.name] for row in rows if row[column.name] is not None]
                assert same(seen.series(f"{column.section}/{column.name}"), values), column.name
        free = [row["J"] - row["stationarity"] for row in rows]
        assert same(seen.series("thermo/F"), free)
        assert same(seen.series("thermo/phase"), [row["t"] for row in rows])
        assert same(seen.series("over_t/C"), seen.series("thermo/C"))
        assert same(seen.series("over_phase/gamma"), seen.series("thermo/gamma"))
        laws = {law["law"]: law for law in json.loads((run / "laws.json").read_text())}
        assert same(seen.series("law/first_law_sum")[-1:], [laws["first law, sum"]["value"]])
    first, second = (seen.series("thermo/lambda") for seen in both)
    assert same(first, [1, 1.25, 1.5])
    assert same(second, [1, 1.125, 1.25])


def test_every_name_has_its_own_x_axis(both: list[Recorded]) -> None:
    for seen in both:
        logged = {name for row in seen.history for name in row}
        for name in logged:
            section = name.partition("/")[0]
            if name in {"thermo/step", "thermo/t", "thermo/phase"}:
                assert seen.axes[name] is None
            elif section in {"thermo", "law", "response"}:
                assert seen.axes[name] == "thermo/step"
            elif section in {"over_t", "over_phase"}:
                assert seen.axes[name] == f"thermo/{section.removeprefix('over_')}"
            else:  # Lightning's: over the trainer's step
                assert seen.axes.get(name) is None
        # every row of these names has its place on the axis
        for row in seen.history:
            assert ("law/work" in row) <= ("thermo/step" in row)
            assert ("over_phase/C" in row) == ("thermo/phase" in row)
    assert set(both[0].axes) == set(both[1].axes)


def test_tables_are_the_files(runs: list[Path], both: list[Recorded]) -> None:
    for run, seen in zip(runs, both, strict=True):
        table = json.loads(seen.media("tables/path").read_text())
        rows = [dict(zip(table["columns"], line, strict=True)) for line in table["data"]]
        assert table["columns"] == list(COLUMNS)
        assert rows == path_of(run)
        table = json.loads(seen.media("tables/strokes").read_text())
        lines = [dict(zip(table["columns"], line, strict=True)) for line in table["data"]]
        strokes = json.loads((run / "strokes.json").read_text())
        assert [line["stroke"] for line in lines] == [stroke["stroke"] for stroke in strokes]
        assert [line["t_end"] for line in lines] == [stroke["t"][1] for stroke in strokes]
        assert [line["status"] for line in lines] == ["done", "done"]


def test_figures_and_the_page_are_the_files(runs: list[Path], both: list[Recorded]) -> None:
    for run, seen in zip(runs, both, strict=True):
        for name in ("control", "rdc_space", "images"):
            original = run / "figures" / f"{name}.png"
            assert seen.media(f"figures/{name}").read_bytes() == original.read_bytes()
        assert seen.media("report").read_bytes() == (run / "report.html").read_bytes()


def test_summary_has_the_final_numbers(runs: list[Path], both: list[Recorded]) -> None:
    for run, seen in zip(runs, both, strict=True):
        summary = json.loads((run / "summary.json").read_text())
        expected = {
            "final/drift_max": summary["drift_max"],
            "final/drift_mean": summary["drift_mean"],
            "final/stationarity": summary["stationarity"][1],
            "final/accuracy_A": summary["accuracy"]["A"][1],
            "final/accuracy_B": summary["accuracy"]["B"][1],
            "final/dissipation": summary["dissipation"],
            "final/transitions": len(summary["transitions"]),
        }
        assert {name: seen.summary[name] for name in expected} == pytest.approx(expected)
        assert seen.summary["final/ending"] == "done"


def test_config_is_the_resolved_one_and_differs_in_k_alone(
    runs: list[Path], both: list[Recorded]
) -> None:
    for run, seen in zip(runs, both, strict=True):
        told, written = seen.config, yaml.safe_load((run / "config.yaml").read_text())
        for section in ("model", "threads", "seed_everything"):
            assert told[section] == written[section]
        assert told["data"]["init_args"]["waypoints"] == written["data"]["init_args"]["waypoints"]
        process = written["trainer"]["callbacks"][-1]["init_args"]
        assert told["trainer"]["callbacks"]["IsoClassification"] == process
        assert told["trainer"]["max_epochs"] == written["trainer"]["max_epochs"]
        assert told["seed"] == 0
        assert told["versions"]["torch"] == torch.__version__.partition("+")[0]
        begun = seen.of("run")[0]
        # of the folder that the runs lie in
        assert (begun["project"], begun["run_group"]) == ("thermo_pl", "runs")
        assert (begun["job_type"], begun["tags"]) == ("iso_classification", ["digits", "mlp"])
        assert begun["display_name"] == f"runs/{run.name}"
    one, other = (dict(flat(seen.config)) for seen in both)
    differing = {name for name in one | other if one.get(name) != other.get(name)}
    assert differing == {
        "trainer.callbacks.IsoClassification.k",
        "trainer.logger.CSVLogger.save_dir",
        "trainer.logger.WandbRunLogger.save_dir",
    }


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(item, f"{name}.{key}".lstrip("."))
    else:
        yield name, value


def test_a_csv_beside_it_has_the_same_scalars(runs: list[Path], both: list[Recorded]) -> None:
    lines = (runs[0] / "metrics.csv").read_text().splitlines()
    header = lines[0].split(",")
    column = header.index("thermo/C")
    values = [float(cell) for line in lines[1:] if (cell := line.split(",")[column])]
    assert same(values, both[0].series("thermo/C"))


def test_a_config_without_a_process_logs_what_lightning_logs(tmp_path: Path) -> None:
    run = fit(tmp_path, name="vae_digits")
    seen = recorded(run)
    assert len(seen.series("val/J")) == 2
    assert not [name for name in seen.summary if name.startswith(("thermo/", "law/"))]
    assert {"model", "data", "trainer", "seed", "versions"} <= set(seen.config)
    assert seen.of("run")[0]["run_group"] == "runs"


def told_of_cycle(folder: Path, cycle: dict[str, Any]) -> Recorded:
    (folder / "cycle.json").write_text(json.dumps(cycle))
    logger = WandbRunLogger(save_dir=str(folder))
    logger.log_directory(folder)
    logger.finalize("success")
    return recorded(folder)


def test_a_cycle_is_told_where_there_is_one(tmp_path: Path) -> None:
    cycle = {"work": 0.5, "work_error": None, "efficiency": 0.2, "closure": {"gamma": 1e-3}}
    seen = told_of_cycle(tmp_path, cycle)
    expected = {"cycle/work": 0.5, "cycle/efficiency": 0.2, "cycle/closure_gamma": 1e-3}
    assert {name: seen.summary[name] for name in expected} == expected
    assert {name: seen.series(name) for name in expected} == {n: [x] for n, x in expected.items()}
    assert seen.axes["cycle/work"] == "thermo/step"


def test_an_efficiency_that_is_not_applicable_is_told_with_its_reasons(tmp_path: Path) -> None:
    cycle = {"work": 0.5, "efficiency": None, "not_applicable": "not closed: R 1 → 2; no heat"}
    seen = told_of_cycle(tmp_path, cycle)
    assert seen.summary["cycle/not_applicable"] == "not closed: R 1 → 2; no heat"
    assert seen.series("cycle/work") == [0.5]
    assert not seen.series("cycle/efficiency")


@pytest.mark.slow
def test_a_resumed_run_goes_on_under_its_id(folder: Path, tmp_path: Path) -> None:
    cut = fit(tmp_path, "--trainer.max_epochs", "3", reports=False)
    checkpoint = str(cut / "checkpoints" / "last.ckpt")
    resumed = fit(tmp_path, "--ckpt_path", checkpoint, reports=False)
    first, second = recorded(cut), recorded(resumed)
    assert first.of("run")[0]["run_id"] == second.of("run")[0]["run_id"]
    # each row once, and together the path of a run that was not cut
    assert first.series("thermo/step") + second.series("thermo/step") == [0, 1, 2]
    whole = [row["C"] for row in path_of(folder / "runs" / "version_0")]
    assert same(first.series("thermo/C") + second.series("thermo/C"), whole)
    words = ["validate", "--config", str(tmp_path / "config.yaml"), "--ckpt_path", checkpoint]
    assert main(words) == 0
    begun = recorded(tmp_path / "runs" / "version_2").of("run")[0]
    assert begun["job_type"] == "validate"
    assert begun["run_id"] != first.of("run")[0]["run_id"]


def test_a_run_that_stops_is_recorded_to_its_end(tmp_path: Path) -> None:
    run = fit(tmp_path, "--trainer.callbacks.gamma_range", "[1.9, 2.1]", code=3)
    seen = recorded(run)
    assert seen.summary["final/ending"].startswith("stopped: gamma")
    assert len(json.loads(seen.media("tables/path").read_text())["data"]) == len(path_of(run))
    assert same(seen.series("thermo/C"), [row["C"] for row in path_of(run)])
    assert seen.of("exit")[0]["exit_code"] == 1


# --- what is not ---


def everything(directory: Path) -> bytes:
    files = [path for path in directory.rglob("*") if path.is_file()]
    names = "\n".join(map(str, (path.relative_to(directory) for path in directory.rglob("*"))))
    return names.encode() + b"".join(path.read_bytes() for path in files)


def test_no_secret_of_the_environment_reaches_the_run_directory(runs: list[Path]) -> None:
    for run in runs:
        found = everything(run)
        assert b"thermo/C" in found  # the search sees what is written
        assert TOKEN.encode() not in found
        assert KEY.encode() not in found


def test_nothing_of_the_machine_reaches_what_is_uploaded(
    folder: Path, runs: list[Path], both: list[Recorded]
) -> None:
    for run, seen in zip(runs, both, strict=True):
        kinds = {record["type"] for record in seen.records}
        assert not kinds & {"environment", "stats", "output", "output_raw", "artifact"}
        assert not {"host", "git"} & set(seen.of("run")[0])
        found = everything(run / "wandb")
        command = [sys.argv[0]] if Path(sys.argv[0]).is_absolute() else []  # "-c" is in any file
        for private in (str(folder), str(Path.home()), str(ROOT), sys.executable, *command):
            assert private.encode() not in found, private
        assert not [path for path in (run / "wandb").rglob("*") if path.is_symlink()]


def test_a_switch_records_the_machine(tmp_path: Path) -> None:
    logger = WandbRunLogger(save_dir=str(tmp_path), record_machine=True)
    logger.describe({"trainer": {"default_root_dir": str(tmp_path)}})
    logger.log_metrics({"thermo/step": 0})
    settings = logger.experiment.settings
    logger.finalize("success")
    seen = recorded(tmp_path)
    assert seen.config["trainer"]["default_root_dir"] == str(tmp_path)
    assert seen.of("run")[0]["host"] == socket.gethostname()
    assert str(tmp_path).encode() in (seen.folder / "logs" / "debug.log").read_bytes()
    # The command line is found by a probe of W&B's, which a run as short as this one may outrun:
    # what is sure is that it was asked for.
    withheld = {name for name, value in PRIVATE.items() if getattr(settings, name) == value}
    assert not withheld


# --- runs do not depend on it ---


def test_a_run_is_the_same_without_wandb(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_it = folder / "runs" / "version_0"
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if the install were broken
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = fit(tmp_path)
    assert len(said_of_wandb(caught)) == 1
    assert "the run goes on without it" in said_of_wandb(caught)[0]
    without_seconds = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in path_of(directory)]
        for directory in (with_it, run)
    ]
    assert without_seconds[0] == without_seconds[1]
    assert files(run) == files(with_it)


def files(run: Path) -> set[str]:
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith("wandb/")}


def begin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **arguments: Any
) -> tuple[WandbRunLogger, list[str], float]:
    """Begin a run and log to it, with a home of its own and so without a key."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", CLOSED)
    wandb.teardown()  # it keeps the environment of its first call
    start = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        logger = WandbRunLogger(save_dir=str(tmp_path), **arguments)
        logger.log_metrics({"thermo/step": 0, "thermo/C": 1.0}, 3)
        logger.log_hyperparams({"a": 1})
        logger.finalize("success")
    return logger, said_of_wandb(caught), time.monotonic() - start


def test_without_a_key_a_run_is_recorded_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, said, _ = begin(monkeypatch, tmp_path, mode="online")
    assert len(said) == 1
    assert "no API key, run: wandb login" in said[0]
    assert f"recorded offline, upload later: wandb sync {tmp_path}/wandb/*run-*" in said[0]
    assert recorded(tmp_path).series("thermo/C") == [1.0]


@pytest.mark.slow
@pytest.mark.parametrize("version", [None, "resumed1"])
def test_without_a_server_a_run_is_recorded_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    _, said, seconds = begin(monkeypatch, tmp_path, mode="online", version=version)
    assert len(said) == 1
    assert "recorded offline, upload later: wandb sync" in said[0]
    assert recorded(tmp_path).series("thermo/C") == [1.0]
    assert recorded(tmp_path).of("run")[0]["run_id"] == version or version is None
    assert seconds < 5 + 3  # the bound, and what starting W&B takes on a busy machine


@pytest.mark.slow
def test_online_a_server_that_falls_silent_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("PLANTED_TOKEN", TOKEN)
    with a_server() as server:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        wandb.teardown()
        logger = WandbRunLogger(save_dir=str(tmp_path), mode="online")
        logger.log_metrics({"thermo/step": 0, "thermo/C": 1.0})
        assert logger.experiment.settings.mode == "online"
        server.silent.set()
        start = time.monotonic()
        with pytest.warns(UserWarning, match="uploaded later: wandb sync"):
            logger.finalize("success")
        wandb.teardown()  # as at the end of a program
        assert time.monotonic() - start < 6
    sent = b"".join(server.bodies)
    assert b"thermo_pl" in sent
    for private in (TOKEN, KEY, str(tmp_path), str(Path.home()), sys.executable):
        assert private.encode() not in sent
    assert recorded(tmp_path).series("thermo/C") == [1.0]


@pytest.mark.parametrize("mode", ["disabled", "nonsense"])
def test_the_variable_switches_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    logger, said, seconds = begin(monkeypatch, tmp_path)
    assert len(said) == 1
    assert mode in said[0]
    assert not (tmp_path / "wandb").exists()
    assert logger.version is None
    assert seconds < 1


def test_an_argument_wins_over_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    logger, said, _ = begin(monkeypatch, tmp_path, mode="offline")
    assert said == []
    assert recorded(tmp_path).of("run")[0]["run_id"] == logger.version


def test_without_the_package_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightning_wandb, "_WANDB_AVAILABLE", False)
    monkeypatch.setitem(sys.modules, "wandb", None)
    logger, said, _ = begin(monkeypatch, tmp_path)
    assert len(said) == 1
    assert (logger.name, logger.save_dir, logger.version) == ("thermo_pl", str(tmp_path), None)


def test_a_failure_in_the_middle_ends_the_recording_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = WandbRunLogger(save_dir=str(tmp_path))
    run = logger.experiment
    monkeypatch.setattr(run, "log", lambda *_: 1 / 0)
    with pytest.warns(UserWarning, match="division by zero; .*wandb sync"):
        logger.log_metrics({"thermo/step": 0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logger.log_metrics({"thermo/step": 1})
        logger.log_directory(tmp_path)
        logger.finalize("success")
    run.finish()


def test_a_logger_that_is_sent_to_another_process_goes_on_under_its_id(tmp_path: Path) -> None:
    logger = WandbRunLogger(save_dir=str(tmp_path), name="sent", group="some")
    logger.log_metrics({"thermo/step": 0})
    there = pickle.loads(pickle.dumps(logger))
    logger.finalize("success")
    wandb.teardown()  # the other process has a service of its own
    assert there.experiment.id == logger.version
    there.finalize("success")


def test_a_run_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    settings = wandb.Settings(mode="offline", silent=True, console="off")
    theirs = wandb.init(project="theirs", dir=tmp_path, settings=settings)
    (tmp_path / "ours").mkdir()
    logger = WandbRunLogger(save_dir=str(tmp_path / "ours"))
    assert logger.experiment.id != theirs.id
    logger.finalize("success")
    theirs.log({"x": 1})  # still open
    theirs.finish()


@pytest.mark.parametrize("arguments", [{"mode": "on"}, {"timeout": 0.0}])
def test_mistakes(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(arguments))}: got"):
        WandbRunLogger(**arguments)


@pytest.mark.slow
def test_nothing_imports_wandb_before_a_run_begins() -> None:
    code = "import sys, thermo_pl.cli.lightning; sys.exit('wandb' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- sweeps ---


def test_the_sweep_runs_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from wandb.sdk.launch.sweeps import utils

    sweep = yaml.safe_load((ROOT / "lightning_configs" / "sweep.yaml").read_text())
    values = {name: {"value": p["values"][-1]} for name, p in sweep["parameters"].items()}
    # as W&B's agent makes it
    flags = utils.create_sweep_command_args({"args": values})["args"]
    parts = utils.create_sweep_command(sweep["command"])
    words = [word for part in parts for word in (flags if part == "${args}" else [part])]
    assert words[:5] == ["${env}", "${interpreter}", "-m", "thermo_pl", "fit"]
    words[words.index("lightning_configs/iso_digits.yaml")] = str(
        tiny_config("iso_digits", tmp_path)
    )
    assert main([*words[4:], "--print_config"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    process = config["trainer"]["callbacks"][-1]
    assert process["class_path"].endswith("IsoClassification")
    assert (process["init_args"]["k"], process["init_args"]["c_target"]) == (1.0, 0.12)
    assert config["seed_everything"] == 2
    assert config["trainer"]["logger"][-1]["init_args"]["mode"] == "online"
