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

CONFIGS = sorted((Path(__file__).parents[1] / "lightning_configs").glob("*.yaml"))


def write(config: dict[str, Any], folder: Path) -> Path:
    """Write a config that keeps everything in the folder."""
    config["trainer"]["default_root_dir"] = str(folder / "runs")
    config["data"]["init_args"]["cache_dir"] = str(folder / "cache")
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def shortened(path: Path, folder: Path) -> Path:
    """A shipped config with few and short steps, otherwise as it is."""
    config = yaml.safe_load(path.read_text())
    config["data"]["init_args"] |= {"train_batches": 4, "batch_size": 32}
    trainer = config["trainer"]
    for callback in trainer.get("callbacks", []):
        arguments = callback.setdefault("init_args", {})
        if "equilibration" in arguments:
            arguments |= {
                "steps": 2,
                "equilibration": {"stationarity": 1e3, "max_epochs": 4, "check_every": 1},
                "probes": {"solving_particles": 64, "measuring_particles": 64},
            }
    if trainer["max_epochs"] > 0:
        trainer["max_epochs"] = 2
    return write(config, folder)


def has_process(path: Path) -> bool:
    return "IsoClassification" in path.read_text()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_fits_and_its_checkpoint_serves_the_other_commands(
    path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = shortened(path, tmp_path)
    assert main(["fit", "--config", str(config)]) == 0, capfd.readouterr().err
    runs = tmp_path / "runs"
    (checkpoint,) = (runs / "version_0" / "checkpoints").glob("*.ckpt")
    if has_process(path):
        rows = read_csv(runs / "version_0" / "path.csv")
        assert [row["t"] for row in rows] == [0.0, 0.5, 1.0]
        assert all(np.isfinite(row["C"]) for row in rows)
        assert len(list((runs / "version_0" / "figures").glob("*.png"))) == 3
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
    assert summary["accuracy"]["B"][1] >= 0.97
    assert summary["accuracy"]["B"][0] < 0.5  # it was not there from the start
    assert rows[-1]["lambda"] == pytest.approx(1.5, abs=1e-9)
    assert summary["ending"] == "done"
