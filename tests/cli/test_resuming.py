"""Going on from the last run by name, and in a job that SLURM runs again."""

from __future__ import annotations

import copy
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml

from support import command_line
from support.process_runs import same_path
from thermo_pl.checkpoint_files import WholeCheckpoints
from thermo_pl.cli import main, resuming
from thermo_pl.errors import ConfigError
from thermo_pl.files import read_csv

KILL = "THERMO_TEST_KILL"


class Preempted(pl.Callback):
    """In the middle of an epoch SLURM asks for the job to be requeued, and then ends it."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        if KILL in os.environ and trainer.current_epoch == 2:
            signal.raise_signal(signal.SIGUSR1)
            raise KeyboardInterrupt


PROCESS = command_line.PROCESS | {"tolerance": float("inf"), "steps": 2}
CONFIG: dict[str, Any] = copy.deepcopy(command_line.CONFIG)
CONFIG["data"]["init_args"] |= {"cache_dir": "cache", "train_batches": 3}
CONFIG["trainer"]["callbacks"] = [
    {"class_path": "IsoClassification", "init_args": PROCESS},
    {"class_path": "ModelCheckpoint", "init_args": {"filename": "last"}},
    {"class_path": "test_resuming.Preempted"},
]


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("THERMO_PL_RUN_DIR", "THERMO_PL_CKPT_PATH"):
        monkeypatch.delenv(name, raising=False)


def call(*flags: str) -> int:
    Path("config.yaml").write_text(yaml.safe_dump(CONFIG))
    return main(["fit", "--config", "config.yaml", *flags])


def weights(run: str) -> dict[str, torch.Tensor]:
    path = Path("runs") / run / "checkpoints" / "last.ckpt"
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return found


def origin(run: str) -> Any:
    return yaml.safe_load(Path("runs", run, "config.yaml").read_text())["ckpt_path"]


def check_same(one: str, other: str) -> None:
    assert same_path(*(read_csv(f"runs/{run}/path.csv") for run in (one, other))) == []
    theirs = weights(other)
    assert all(torch.equal(value, theirs[name]) for name, value in weights(one).items())


@pytest.mark.slow
def test_a_job_that_slurm_requeues_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call() == 0
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/asked\n")
    scontrol.chmod(0o755)
    job = {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "fit", "SLURM_JOB_ID": "7", KILL: "1"}
    for name, value in (job | {"PATH": f"{scontrol.parent}:{os.environ['PATH']}"}).items():
        monkeypatch.setenv(name, value)
    assert call() == 130  # anew: the run before is not of this job
    assert (tmp_path / "asked").read_text() == "requeue 7\n"
    assert len(read_csv("runs/version_1/path.csv")) == 1
    assert Path("runs/version_1/hpc_ckpt_1.ckpt").is_file()  # from inside a macro-step
    monkeypatch.delenv(KILL)
    assert call() == 0
    assert origin("version_2") == "runs/version_1/checkpoints/last.ckpt"
    check_same("version_2", "version_0")
    assert call("--seed_everything", "1", "--trainer.fast_dev_run", "true") == 0
    assert origin("version_3") is None  # another command


def test_last_is_the_newest_whole_one_and_a_run_that_saved_nothing_leads_to_its_origin(
    tmp_path: Path,
) -> None:
    root = tmp_path / "runs"
    with pytest.raises(ConfigError, match=r"no --ckpt_path, to start anew .* there is no run yet"):
        resuming.checkpoint("last", root)
    for number, source in enumerate((None, "version_0/checkpoints/last.ckpt", None)):
        run = root / f"version_{number}"
        run.mkdir(parents=True)
        config = {"ckpt_path": None if source is None else str(root / source)}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        if number < 2:  # the second is resumed and killed before it saves anything
            found = resuming.checkpoint("last", root) if number else None
            assert found == (config["ckpt_path"] if number else None)
        if number == 0:
            for epoch in range(2):
                WholeCheckpoints().save_checkpoint(
                    {"state_dict": {}, "pytorch-lightning_version": "", "loops": {}}
                    | {"epoch": epoch},
                    run / "checkpoints" / "last.ckpt",
                )
    with pytest.raises(ConfigError, match="version_2 has no whole checkpoint; allowed: a che"):
        resuming.checkpoint("last", root)
    (root / "version_2").rename(tmp_path / "away")
    last = root / "version_0" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(ConfigError, match="or last for the newest one of the last run"):
        resuming.checkpoint(str(last), root)
    with pytest.warns(UserWarning, match="passed over, .*last.ckpt"):
        assert resuming.checkpoint("last", root) == str(last.with_name("last.before.ckpt"))


def test_trust_in_a_file_is_not_to_be_had(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--weights_only", "false") == 2
    # Lightning has the key from 2.6 on; before, it is refused as any other that there is not
    assert "error: weights_only: got False" in capsys.readouterr().err
