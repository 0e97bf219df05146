"""Processes on two ranks, through the command line; the ranks are compared, not trusted."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from pytorch_lightning.strategies import DDPStrategy

from support.command_line import CONFIG, PROCESS
from thermo_pl.callbacks.ranks import RanksDiffer, check_same, check_strategy, digest
from thermo_pl.cli import main
from thermo_pl.configs.layers import load
from thermo_pl.errors import ConfigError
from thermo_pl.files import read_csv
from thermo_pl.response.slopes import Slopes

ROOT = Path(__file__).parents[2]
EXACT = ROOT / "lightning_configs" / "exact_gaussian.yaml"


def written(folder: Path, config: dict[str, Any], **trainer: Any) -> str:
    """The file of a config whose runs lie below a new folder."""
    folder.mkdir()
    trainer = config["trainer"] | {"default_root_dir": str(folder / "runs")} | trainer
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config | {"trainer": trainer}))
    return str(path)


def run_alone(folder: Path, config: dict[str, Any]) -> int:
    """``fit`` on one rank, here."""
    return main(["fit", "--config", written(folder, config)])


def run(folder: Path, config: dict[str, Any], fails: str = "") -> subprocess.CompletedProcess[str]:
    """``fit`` on two ranks, in processes of their own."""
    witness = {"class_path": "support.ranks.Witness", "init_args": {"folder": str(folder)}}
    witness["init_args"] |= {"fails": fails}
    callbacks = [*config["trainer"]["callbacks"], witness]
    path = written(folder, config, devices=2, strategy="ddp", callbacks=callbacks)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = f"{ROOT}:{ROOT / 'tests'}"
    command = [sys.executable, "-m", "thermo_pl", "fit", "--config", path]
    return subprocess.run(
        command,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
    )


def path_of(folder: Path) -> list[dict[str, Any]]:
    return read_csv(folder / "runs" / "version_0" / "path.csv")


def thetas(folder: Path) -> list[torch.Tensor]:
    return [torch.load(folder / f"theta_{rank}.pt", weights_only=True) for rank in (0, 1)]


def digits(cache: Path, batch_size: int) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(yaml.safe_dump(CONFIG)) | {"threads": 1}
    config["data"]["init_args"] |= {"cache_dir": str(cache), "batch_size": batch_size}
    config["data"]["init_args"]["train_batches"] = 24
    settled = {"stationarity": 1.0, "max_epochs": 40, "check_every": 2}
    config["trainer"]["callbacks"][0]["init_args"] = PROCESS | {"equilibration": settled}
    return config


def exact(batches: int, tolerance: float = math.inf) -> dict[str, Any]:
    """Every batch is all of the data, without noise: both ranks have the same gradient."""
    config: dict[str, Any] = load(EXACT)
    config["model"]["init_args"]["optimizer"] = {
        "class_path": "torch.optim.Adam",
        "init_args": {"lr": 0.01},
    }
    config["data"]["init_args"]["train_batches"] = batches
    process = config["trainer"]["callbacks"][-1]["init_args"]
    process |= {"steps": 3, "response": {"damping": 0.1}, "tolerance": tolerance}
    process["equilibration"] = {"stationarity": 100.0, "max_epochs": 20, "check_every": 1}
    return config


def shared_out(kind: str, cache: Path, ranks: int) -> dict[str, Any]:
    """A run whose global batch is the same on any number of ranks."""
    if kind == "exact":  # full batches, and z is summed over
        return exact(20)
    config = digits(cache, 64 // ranks)
    if kind == "cubature":  # full batches
        config["data"]["init_args"]["batch_size"] = None
        for waypoint in config["data"]["init_args"]["waypoints"]:
            waypoint["per_class"] = 40
        config["model"]["init_args"]["cubature_seed"] = 0
        process = config["trainer"]["callbacks"][0]["init_args"]
        process |= {"probes": process["probes"] | {"solving_particles": 1024}, "tolerance": 0.2}
    # else rounding grows to 2e-4 along the path, most of all in solves that are cut short
    config["trainer"]["precision"] = "64-true"
    response = {"damping": 0.5, "tolerance": 1e-8, "max_iterations": 500}
    config["trainer"]["callbacks"][0]["init_args"] |= {"response": response}
    return config


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exact", "digits", "cubature"])
def test_two_ranks_share_out_the_path_of_one(tmp_path: Path, cache: Path, kind: str) -> None:
    assert run_alone(tmp_path / "1", shared_out(kind, cache, 1)) == 0
    done = run(tmp_path / "2", shared_out(kind, cache, 2))
    assert done.returncode == 0, done.stderr
    one, two = (path_of(tmp_path / str(ranks)) for ranks in (1, 2))
    assert len(one) == len(two) == 4
    for a, b in zip(one, two, strict=True):
        for name in set(a) - {"seconds", "solver_iterations", "gradients"}:
            # what is a difference of two states may be small beside them
            number = isinstance(a[name], float)
            close = pytest.approx(a[name], rel=1e-4, abs=1e-5) if number else a[name]
            assert b[name] == close, name
    assert torch.equal(*thetas(tmp_path / "2"))
    files = {path.name for path in (tmp_path / "2" / "runs").iterdir()}
    assert files == {"version_0"}


@pytest.mark.slow
@pytest.mark.parametrize("fails", ["batch", "end", "theta"])
def test_a_rank_that_fails_fails_the_run(tmp_path: Path, fails: str) -> None:
    done = run(tmp_path / "run", exact(40, tolerance=0.01), fails)
    assert done.returncode != 0, done.stderr
    if fails == "theta":
        # told by both ranks, printed by one
        assert done.returncode == 3, done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        assert len(lines) == 1, done.stderr
        assert "rank 1" in lines[0]
        assert "for theta" in lines[0]


@pytest.mark.slow
def test_a_number_that_is_not_finite_on_one_rank_is_taken_back_on_all(tmp_path: Path) -> None:
    done = run(tmp_path / "run", exact(20), "nan")
    assert done.returncode == 0, done.stderr
    path = path_of(tmp_path / "run")
    assert [row["rejection"] for row in path if row["rejected"]] == ["NonFinite, on the way"]
    assert path[-1]["t"] == pytest.approx(1.0)
    assert torch.equal(*thetas(tmp_path / "run"))


# --- without launching anything ---


class Together:
    """Stands for a strategy whose other rank has found something else."""

    def __init__(self, other: torch.Tensor | None = None) -> None:
        """Keep what the other rank sends; the same as this one if None."""
        self.other = other

    def all_gather(self, mine: torch.Tensor) -> torch.Tensor:
        return torch.stack([mine, mine if self.other is None else self.other])


def test_equal_ranks_pass_and_the_message_names_what_differs() -> None:
    response: Any = SimpleNamespace(
        directions=torch.randn(3, 7), slopes=Slopes.of(torch.randn(3, 3, dtype=torch.float64))
    )
    theta = torch.randn(7)
    equal: Any = SimpleNamespace(world_size=2, strategy=Together())
    networks = SimpleNamespace(parameters=lambda: [theta[:3], theta[3:]])
    system: Any = SimpleNamespace(networks=networks, data=SimpleNamespace(t=0.25))
    check_same(equal, system, response)
    parts = [theta, *response.directions, response.slopes.tensor()]
    digests = torch.tensor([digest(part) for part in parts])
    digests[2] += 1
    trainer: Any = SimpleNamespace(world_size=2, strategy=Together(digests))
    with pytest.raises(RanksDiffer, match=r"t = 0\.25: .* rank 1 .* for theta_gamma; allowed"):
        check_same(trainer, system, response)
    # a rank that went on relaxing where another one solved
    said = r" for theta_lambda, theta_gamma, theta_t, the slopes; allowed"
    with pytest.raises(RanksDiffer, match=said):
        check_same(trainer, system, None)


def test_a_digest_sees_the_last_bit_and_not_the_layout() -> None:
    one = torch.randn(4, 5, dtype=torch.float64)
    assert digest(one) == digest(one.clone())
    assert digest(one.T) == digest(one.T.contiguous())
    other = one.clone()
    other[3, 4] = torch.nextafter(other[3, 4], torch.tensor(torch.inf, dtype=torch.float64))
    assert digest(other) != digest(one)


def test_only_strategies_that_keep_theta_whole_are_taken() -> None:
    alone: Any = SimpleNamespace(world_size=1, strategy=object())
    check_strategy(alone)
    together: Any = SimpleNamespace(world_size=2, strategy=DDPStrategy())
    check_strategy(together)
    sharded: Any = SimpleNamespace(world_size=2, strategy=object())
    with pytest.raises(ConfigError, match=r"trainer\.strategy: got 'object'; allowed: ddp"):
        check_strategy(sharded)
