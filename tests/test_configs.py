"""Every shipped config runs: shortened here, and the main job for real as a slow test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from thermo_pl.cli import main
from thermo_pl.rundir import read_csv

FOLDER = Path(__file__).parents[1] / "lightning_configs"
# a sweep of W&B is no config; see tests/test_wandb_logger.py
CONFIGS = sorted(path for path in FOLDER.glob("*.yaml") if path.stem != "sweep")


def write(config: dict[str, Any], folder: Path) -> Path:
    """Write a config that keeps everything in the folder."""
    config["trainer"]["default_root_dir"] = str(folder / "runs")
    if has_pictures(config):
        config["data"]["init_args"]["cache_dir"] = str(folder / "cache")
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def shortened(path: Path, folder: Path) -> Path:
    """A shipped config with few and short steps, otherwise as it is."""
    config = yaml.safe_load(path.read_text())
    if config["trainer"]["max_epochs"] > 0:
        config["trainer"]["max_epochs"] = 2
    turned = "cubature_seed" in config["model"]["init_args"]  # which asks for all particles
    if turned:
        config["model"]["init_args"]["optimizer"]["init_args"]["rounds"] = 1
    elif has_pictures(config):
        config["data"]["init_args"] |= {"train_batches": 4, "batch_size": 32}
    else:  # exact to the last digits, which takes short steps: two checks, two steps, and a cut
        config["trainer"]["max_epochs"] = 4
    for name, arguments in callbacks_of(config).items():
        if "equilibration" in arguments:
            arguments |= {
                "equilibration": {"stationarity": 1e3, "max_epochs": 4, "check_every": 1},
                "probes": {
                    f"{kind}_{what}": number
                    for kind in ("solving", "control", "measuring")
                    for what, number in (("particles", 64), ("samples", 4))
                    if not turned or what == "samples"
                },
            }
        if name in {"IsoClassification", "Adiabatic", "CarnotCycle"} and has_pictures(config):
            arguments["steps"] = 2
        if name == "CarnotCycle":  # so short a cycle closes in no number of passes
            arguments |= {"closure": [10.0, 10.0], "passes": [1, 1]}
            if turned:
                arguments["response"] |= {"max_iterations": 60, "tolerance": 0.3}
        if name == "FreeEnergySurface":
            arguments |= {axis: arguments[axis][:2] for axis in ("lam", "gam")}
    return write(config, folder)


def callbacks_of(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The arguments of each callback, by its name; changing them changes the config."""
    callbacks = config["trainer"].get("callbacks", [])
    return {c["class_path"]: c.setdefault("init_args", {}) for c in callbacks}


def has_pictures(config: dict[str, Any]) -> bool:
    """Whether the data are images of classes with names, rather than points or letters."""
    return bool(config["data"]["class_path"] == "InterpolatedDataModule")


def check_run(run: Path, config: dict[str, Any]) -> None:
    """What the processes and reports of a shortened config must have left behind."""
    callbacks = callbacks_of(config)
    processes = {"IsoClassification", "FreeEnergySurface", "Adiabatic", "CarnotCycle"}
    if not processes & set(callbacks):
        return
    rows = read_csv(run / "path.csv")
    assert all(np.isfinite([row[name] for name in "RDCJ"]).all() for row in rows)
    if "CarnotCycle" in callbacks and has_pictures(config):
        check_cycle(run, rows)
        return
    if "CarnotCycle" in callbacks:  # cut off by the trainer
        assert not (run / "cycle.json").exists()
        return
    if "Adiabatic" in callbacks:
        assert len({row["gamma"] for row in rows}) == 1
        assert [row["t"] for row in rows] == [0.0, 0.5, 1.0]
    elif "IsoClassification" in callbacks:
        steps = callbacks["IsoClassification"]["steps"]
        assert [row["t"] for row in rows] == [0.0, 1 / steps, 2 / steps]
    else:  # around the one cell of the grid
        (low, high), (left, right) = (callbacks["FreeEnergySurface"][a] for a in ("gam", "lam"))
        corners = [(left, low), (right, low), (right, high), (left, high), (left, low)]
        assert [(row["lambda"], row["gamma"]) for row in rows] == corners
        assert {row["t"] for row in rows} == {0.0}
    figures = {"control", "rdc_space"} if "RunReport" in callbacks else set()
    if figures and has_pictures(config):
        figures.add("images")
    assert {path.stem for path in (run / "figures").glob("*.png")} == figures
    assert (run / "laws.json").exists() == ("LawMonitor" in callbacks)


def check_cycle(run: Path, rows: list[dict[str, Any]]) -> None:
    """What a shortened cycle must have left behind."""
    names = [row["stroke"] for row in rows]
    assert list(dict.fromkeys(names)) == [
        "equilibration",
        "hot",
        "cooling",
        "cold",
        "heating",
        "closure",
    ]
    # two steps for each stroke, one to settle on each leg after the first, and one to close
    assert len(rows) == 1 + 4 * 2 + 3 + 1
    found = json.loads((run / "cycle.json").read_text())
    for name in ("lambda", "gamma", "D"):
        assert found["closure"][name] == pytest.approx(rows[-1][name] - rows[0][name])
    assert 0 < found["C_cold"] < found["C_hot"]
    figures = {"cycle", "cycle_terms", "rdc_space", "domains"}
    assert {path.stem for path in (run / "figures").glob("*.png")} == figures


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_fits_and_its_checkpoint_serves_the_other_commands(
    path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = shortened(path, tmp_path)
    assert main(["fit", "--config", str(config)]) == 0, capfd.readouterr().err
    runs = tmp_path / "runs"
    (checkpoint,) = (runs / "version_0" / "checkpoints").glob("*.ckpt")
    check_run(runs / "version_0", yaml.safe_load(config.read_text()))
    for command in ("validate", "test", "predict"):
        words = [command, "--config", str(config), "--ckpt_path", str(checkpoint)]
        assert main(words) == 0, capfd.readouterr().err
    printed = capfd.readouterr().out
    assert "test/J" in printed
    assert "val/J" in printed
    arrays = np.load(runs / "version_3" / "predictions.npz")
    model = yaml.safe_load(config.read_text())["model"]["init_args"]
    parts = {"probabilities": "classifier", "reconstruction": "decoder"}
    expected = {"z"} | {array for array, part in parts.items() if part in model}
    assert set(arrays) == expected


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_is_named_after_its_runs_and_says_what_it_does(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ")
    assert yaml.safe_load(text)["trainer"]["default_root_dir"] == f"runs/{path.stem}"


@pytest.mark.slow
def test_main_job_holds_the_classification_loss_on_real_digits(tmp_path: Path) -> None:
    (path,) = (path for path in CONFIGS if path.stem == "iso_digits")
    config = write(yaml.safe_load(path.read_text()), tmp_path)
    assert main(["fit", "--config", str(config)]) == 0
    run = tmp_path / "runs" / "version_0"
    rows = read_csv(run / "path.csv")
    # the bounds of the project's own promise, on every row
    assert max(abs(row["C"] / row["C_target"] - 1) for row in rows) <= 0.02
    assert max(abs(row["C_predicted"] / row["C_target"] - 1) for row in rows[1:]) <= 0.05
    summary = json.loads((run / "summary.json").read_text())
    assert summary["first_law_residual_median"] <= 0.05
    assert summary["accuracy"]["B"][1] >= 0.97
    assert summary["accuracy"]["B"][0] < 0.5  # it was not there from the start
    assert rows[-1]["lambda"] == pytest.approx(1.5, abs=1e-9)
    assert summary["ending"] == "done"
