"""A trained model back from its run, and from what is exported of it, to the last bit."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import thermo_pl as tp
from support.command_line import CONFIG, PROCESS
from thermo_pl.cli import main
from thermo_pl.errors import ConfigError
from thermo_pl.files import read_csv
from thermo_pl.runs import export

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short process in double precision, whose λ and γ are not those of its config any more."""
    folder = tmp_path_factory.mktemp("trained")
    config = copy.deepcopy(CONFIG)
    config["data"]["init_args"]["cache_dir"] = str(folder / "cache")
    config["trainer"] |= {"precision": "64-true", "default_root_dir": str(folder / "runs")}
    config["trainer"]["callbacks"][0]["init_args"] = PROCESS | {"steps": 1}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("THERMO_PL_RUN_DIR", raising=False)
        assert main(["fit", "--config", str(folder / "config.yaml")]) == 0
    return folder / "runs" / "version_0"


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def test_a_run_is_loaded_to_the_last_bit(run: Path) -> None:
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    model = tp.load(run)
    assert same(dict(model.state_dict()), saved)
    assert model.dtype == torch.float64
    assert not model.training
    last = read_csv(run / "path.csv")[-1]
    assert (float(model.lam), float(model.gam)) == (last["lambda"], last["gamma"])
    assert last["lambda"] != CONFIG["model"]["init_args"]["lam"]


def test_an_exported_model_is_the_same(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), "--to", str(tmp_path / "model")]) == 0
    assert capsys.readouterr().out == f"model  {tmp_path / 'model'}\n"
    names = {file.name for file in (tmp_path / "model").iterdir()}
    assert names == {"config.yaml", "model.safetensors"}
    one, other = tp.load(run), tp.load(tmp_path / "model")
    assert same(dict(one.state_dict()), dict(other.state_dict()))
    x = torch.rand(9, 1, 8, 8, dtype=torch.float64)
    for mine, theirs in zip(one.predict(x), other.predict(x), strict=True):
        assert torch.equal(mine, theirs)
    assert set(yaml.safe_load((tmp_path / "model" / "config.yaml").read_text())) == {"model"}


def test_what_weights_began_from_is_not_looked_for(run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "run"
    (moved / "checkpoints").mkdir(parents=True)
    (moved / "checkpoints" / "last.ckpt").symlink_to(run / "checkpoints" / "last.ckpt")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["init_args"]["initial_weights"] = "/gone/weights.ckpt"
    (moved / "config.yaml").write_text(yaml.safe_dump(config))
    assert same(dict(tp.load(moved).state_dict()), dict(tp.load(run).state_dict()))


def test_mistakes_are_told(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"RUN: got .*; allowed: a directory with a config.yaml"):
        tp.load(tmp_path)
    config = yaml.safe_load((run / "config.yaml").read_text())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=r"RUN: got .*; allowed: a run with a whole checkpoint"):
        tp.load(tmp_path)
    with pytest.raises(ConfigError, match=r"ckpt_path: got .*; allowed: an existing"):
        tp.load(run, tmp_path / "none.ckpt")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"no weights")
    with pytest.raises(ConfigError, match=r"model.safetensors: .*; allowed: the weights of"):
        tp.load(tmp_path)
    export(run, tmp_path / "other")
    weights.write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    config["model"]["init_args"]["encoder"]["init_args"]["hidden"] = [11]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=r"model.safetensors: .*size mismatch.*; allowed: the"):
        tp.load(tmp_path)
    config["model"]["init_args"]["encoder"]["class_path"] = "thermo_pl.networks.Nothing"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=r"config.yaml: .*; allowed: a model that can be built"):
        tp.load(tmp_path)
    with pytest.raises(ConfigError, match=r"--to: got .*; allowed: a directory"):
        export(run, run / "config.yaml" / "inside")
