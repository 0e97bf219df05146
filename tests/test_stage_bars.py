"""Bars and lines of couplings and solves."""

from __future__ import annotations

import io
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from thermo_pl import progress
from thermo_pl.datamodules import InterpolatedDataModule, Waypoint
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks import LinearClassifier, MLPEncoder, StandardNormal
from thermo_pl.particles import Particles
from thermo_pl.progress import StageBar, advance, shown, stage, within
from thermo_pl.response import linear
from thermo_pl.response.objective import Objective, Probe


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def built(cache: Path, visible: bool = True) -> InterpolatedDataModule:
    """A DataModule that has built its path under a trainer with or without a progress bar."""
    data = InterpolatedDataModule(
        [Waypoint([0, 1]), Waypoint([5, 6])], batch_size=8, train_batches=1, cache_dir=cache
    )
    data.trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=visible
    )
    data.setup()
    return data


@pytest.mark.parametrize("labels", ["matched", "soft"])
def test_a_plain_line_for_each_coupling_that_is_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: Any
) -> None:
    data = built(tmp_path / "first", visible=False)
    assert capsys.readouterr().err == ""  # nobody asked
    data = InterpolatedDataModule(
        [Waypoint([0, 1]), Waypoint([5, 6])], labels=labels, cache_dir=tmp_path / "second"
    )
    data.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    capsys.readouterr()
    data.setup()
    lines = capsys.readouterr().err.splitlines()
    sizes = [len(data.coupling(split)) for split in ("train", "val", "test")]
    assert all(sizes)
    if labels == "matched":
        assert re.fullmatch(r"matching of classes, leg 0: 4 plans in \d+\.\d s", lines[0])
        # those of train are among the four
        places, plans = ["val", "test"], "2 plans"
        lines = lines[1:]
    else:
        places, plans = ["train", "val", "test"], "1 plan"
    pattern = r"coupling, leg 0, (\w+), \d+ × \d+ examples: (\d plans?) in \d+\.\d s"
    found = [re.fullmatch(pattern, line) for line in lines]
    assert [(m[1], m[2]) for m in found if m] == [(place, plans) for place in places]
    again = InterpolatedDataModule(data.waypoints, labels=labels, cache_dir=tmp_path / "second")
    again.trainer = data.trainer
    again.setup()
    assert capsys.readouterr().err == ""  # looked up


def test_a_bar_for_couplings_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    built(tmp_path)
    frames = [frame for frame in terminal.getvalue().split("\r") if frame.strip()]
    assert max(map(len, frames)) <= 100
    assert any(re.match(r"matching of classes, leg 0 \|.*\| [0-4]/4 ", frame) for frame in frames)
    assert "plans in" not in terminal.getvalue()


def objective() -> Objective:
    """A small model on a few random images."""
    torch.manual_seed(0)
    shape = [1, 2, 2]
    model = FreeEnergyModel(
        MLPEncoder(shape, 1, []), LinearClassifier(1, 2), marginal=StandardNormal(1), lam=0.0
    ).double()
    x, y = torch.rand(4, *shape).double(), torch.eye(2).double().repeat(2, 1)
    particles = Particles(x, 1 - x, y, y, torch.ones(4).double())
    return Objective(model, Probe(particles, torch.randn(2, 4, 1).double()))


@pytest.mark.parametrize("solver", ["conjugate_gradient", "minres"])
def test_a_long_solve_has_a_bar_on_a_terminal_and_nothing_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], solver: Any
) -> None:
    size = len(objective().theta)
    matrix = torch.diag(torch.linspace(1, 9, size, dtype=torch.float64))

    class Slow:
        """Products that take a while."""

        gradients = 0.0

        def __init__(self, *_: Any) -> None: ...

        def __call__(self, rows: torch.Tensor) -> torch.Tensor:
            time.sleep(0.01)
            return rows @ matrix

    monkeypatch.setitem(linear.CURVATURES, "gauss_newton", Slow)
    settings = linear.ResponseSettings(damping=0.5, tolerance=1e-9, solver=solver)
    system = linear.ResponseSystem(objective(), 0.25, settings, None)
    with shown(StageBar(lines=False)):
        system.response()
    assert capsys.readouterr().err == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with shown(StageBar(lines=False, delay=60)):  # over sooner than that
        system.response()
    assert terminal.getvalue().strip() == ""
    with shown(StageBar(lines=False)):
        solution = system.response().solution
    frames = [frame for frame in terminal.getvalue().split("\r") if frame.strip()]
    counts = [int(m[1]) for frame in frames if (m := re.search(r"\| (\d+)/50 ", frame))]
    assert frames[0].startswith("linear response at t = 0.25 |")
    assert 0 < max(counts) <= solution.iterations
    assert np.all(np.diff(counts) >= 0)


def test_a_part_that_takes_long_moves_its_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        with shown(StageBar()), stage("plans", 2):
            for number in range(2):
                for share in (0.25, 0.75):
                    within(share, f"round {number}")
                advance()

    monkeypatch.setattr(progress, "QUIET", -1.0)  # else lines come every half a minute
    work()
    lines = capsys.readouterr().err.splitlines()
    assert lines[:4] == ["plans: round 0"] * 2 + ["plans: round 1"] * 2
    monkeypatch.setattr(progress, "_REDRAW", -1.0)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    work()
    frames = re.findall(r"plans, round (\d) \|.*?\| +(\d+)%", terminal.getvalue())
    assert list(dict.fromkeys(frames)) == [("0", "12"), ("0", "38"), ("1", "62"), ("1", "88")]


def fails() -> None:
    with stage("work", 3):
        advance()
        raise ValueError


def test_a_stage_that_fails_is_closed(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(StageBar()):
        with pytest.raises(ValueError):  # ruff: ignore[pytest-raises-too-broad]
            fails()
        advance()  # outside a stage: nothing happens
        with stage("more", 1):
            advance(computed=False)
    assert capsys.readouterr().err.startswith("work: 1 plan in ")
    with stage("unseen", 1):
        advance()
    assert capsys.readouterr().err == ""
