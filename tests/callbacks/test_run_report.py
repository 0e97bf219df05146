"""What RunReport leaves behind of short real cycles and adiabats on digits."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from matplotlib import image
from torch import nn

from support.process_runs import Run, fit, json_of, make_model
from thermo_pl.callbacks import Adiabatic, Cycle, Equilibration, Probes, RunReport
from thermo_pl.datamodules import InterpolatedDataModule, Waypoint
from thermo_pl.datamodules.transforms import Occlusion
from thermo_pl.networks import Gaussian, MLPDecoder, MLPEncoder
from thermo_pl.particles import interpolate
from thermo_pl.process.rule import ReportKind
from thermo_pl.process.strokes import Stroke
from thermo_pl.reports.kinds import REPORTS
from thermo_pl.response.linear import ResponseSettings
from thermo_pl.response.measurement import accuracy

STROKES = ["hot", "cooling", "cold", "heating"]
SETTINGS: dict[str, Any] = {
    "tolerance": math.inf,  # so short a run holds nothing
    "equilibration": Equilibration(stationarity=100.0, max_epochs=20, check_every=1),
    "probes": Probes(128, 1, True, 128, 2, 128, 2),
    "response": ResponseSettings(damping=0.5),
}


def make_cycle() -> Cycle:
    """Strokes that any model can follow: the changes of λ and γ are given, and close exactly."""
    changes = {"hot": (0.1, 1.0), "cooling": (0.1, 0.0), "cold": (-0.1, -1.0), "heating": (-0.1, 0)}
    strokes = [Stroke(name, 1, lam=lam, gam=gam) for name, (lam, gam) in changes.items()]
    return Cycle(strokes, **SETTINGS)


def domains(cache: Path, *which: str) -> InterpolatedDataModule:
    """A, B hot and C, D cold: digits 0, 1 and 5, 6 with and without a cover."""
    cover = Occlusion(rows=(0.0, 0.5), contrast=0.0)
    classes = {"A": [0, 1], "B": [5, 6], "C": [5, 6], "D": [0, 1]}
    waypoints = [
        Waypoint(classes[name], transform=cover if name in "AB" else None) for name in which
    ]
    settings: dict[str, Any] = {"batch_size": 64, "train_batches": 8, "cache_dir": cache}
    return InterpolatedDataModule(waypoints, labels="ordered", **settings)


class Settled(RunReport):
    """Also notes the model's accuracy in the domain where it stands at a row with t = 0."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.noted: dict[int, float] = {}

    def on_row(self, trainer: Any, process: Any, row: Any) -> None:
        super().on_row(trainer, process, row)
        data = trainer.datamodule
        if row["t"] == 0:
            assert (data.leg, data.t) == (row["leg"], 0)
            particles = data.coupling("test").all()
            self.noted[data.leg] = accuracy(trainer.lightning_module, interpolate(particles, 0.0))


@pytest.fixture(scope="module")
def cycle(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Run, Settled]:
    process = make_cycle()
    report = Settled()
    directory = tmp_path_factory.mktemp("cycle")
    return fit(directory, domains(cache, *"ABCDA"), report, process=process), report  # type: ignore[arg-type]


def test_a_cycle_has_its_figures(cycle: tuple[Run, Settled]) -> None:
    folder = cycle[0].directory / "figures"
    names = {path.stem for path in folder.glob("*.png")}
    assert names == {"cycle", "cycle_terms", "rdc_space", "domains"}
    for path in folder.glob("*.png"):
        assert image.imread(path).std() > 0.01  # no empty sheet


def test_a_cycle_is_summed_up_as_its_files_say(cycle: tuple[Run, Settled]) -> None:
    run, _ = cycle
    summary = json_of(run.directory / "summary.json")
    assert summary["cycle"] == json_of(run.directory / "cycle.json")
    strokes = [stroke for stroke in run.strokes if stroke["stroke"] in STROKES]
    assert summary["strokes"] == strokes
    assert [stroke["stroke"] for stroke in strokes] == STROKES
    assert summary["ending"] == "done"
    assert (summary["pass"], summary["passes"]) == (0, 1)
    assert summary["steps"] == run.rows[-1]["step"] == 8  # 4 steps, 3 that settle, and the closure


def test_the_ledger_is_printed(cycle: tuple[Run, Settled]) -> None:
    run, _ = cycle
    assert "process  done, 8 steps" in run.out
    # λ and γ are driven, so that C is held nowhere: there is work, and no temperature
    work = json_of(run.directory / "cycle.json")["work"]
    assert re.search(rf"^W = ∮ C dγ +{re.escape(f'{work:.4g}')} ±", run.out, re.MULTILINE)
    assert max(map(len, run.out.splitlines())) <= 100 + len(str(run.directory))


def test_accuracies_are_those_of_the_four_domains(cycle: tuple[Run, Settled]) -> None:
    run, report = cycle
    summary = json_of(run.directory / "summary.json")
    assert list(summary["accuracy"]) == ["A", "B", "C", "D"]
    for leg, name in enumerate("ABCD"):
        run.data.move_to(leg, 0.0)
        last = accuracy(run.model, interpolate(run.data.coupling("test").all(), 0.0))
        assert summary["accuracy"][name][1] == last
    there = summary["accuracy_there"]
    assert there == dict(zip("ABCD", (report.noted[leg] for leg in range(4)), strict=True))
    assert there["A"] == summary["accuracy"]["A"][1]  # the cycle ends in A


def test_looking_at_all_domains_leaves_the_run_as_it_is(
    cycle: tuple[Run, Settled], tmp_path: Path, cache: Path
) -> None:
    process = make_cycle()
    alone = fit(tmp_path, domains(cache, *"ABCDA"), process=process)  # type: ignore[arg-type]
    for row, same in zip(cycle[0].rows, alone.rows, strict=True):
        assert row | {"seconds": 0} == same | {"seconds": 0}
    assert not (tmp_path / "figures").exists()


def test_pictures_of_the_domains_are_those_when_the_model_was_there(
    cycle: tuple[Run, Settled],
) -> None:
    run, report = cycle
    starts = [row for row in run.rows if row["t"] == 0]
    assert [row["leg"] for row in starts] == [0, 1, 2, 3, 0]
    for row in starts:
        s, images, decoded = report._strip[row["step"]]
        assert s == row["leg"]
        assert decoded is not None
        covered = images[:, :4]
        # grey where the domain is covered
        assert torch.equal(covered, torch.full_like(covered, 0.5)) == (row["leg"] in {0, 1})
        assert decoded.shape == images.shape


def test_a_cycle_that_stops_on_the_way_reports_what_it_has(tmp_path: Path, cache: Path) -> None:
    process = make_cycle()
    data = domains(cache, *"ABCDA")
    fit(tmp_path, data, RunReport(), process=process, max_epochs=6)  # type: ignore[arg-type]
    summary = json_of(tmp_path / "summary.json")
    assert summary["cycle"] is None
    assert "cut off" in summary["ending"]
    assert [stroke["stroke"] for stroke in summary["strokes"]] == ["hot", "cooling", "cold"]
    names = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert names == {"cycle", "cycle_terms", "rdc_space", "domains"}


def test_an_adiabat_has_a_report_of_its_own(tmp_path: Path, cache: Path) -> None:
    process = Adiabatic(1.0, steps=2, **SETTINGS)
    run = fit(tmp_path, domains(cache, *"BC"), RunReport(), process=process)  # type: ignore[arg-type]
    summary = json_of(tmp_path / "summary.json")
    (stroke,) = summary["strokes"]
    assert stroke["stroke"] == "adiabat"
    assert stroke["gamma"][0] == stroke["gamma"][1]
    assert list(summary["accuracy"]) == ["A", "B"]  # the two ends of the leg
    names = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert names == {"control", "rdc_space", "images"}
    heat = [row["lambda"] * row["D"] + row["gamma"] * row["C"] for row in run.rows]
    assert stroke["S"] == pytest.approx(heat[0] - heat[-1])
    assert f"S = ΔR - ΔF        {stroke['S']:.4g} ±" in run.out


def test_a_process_on_vectors_has_no_strip_of_images(tmp_path: Path, cache: Path) -> None:
    # digits as rows of 64 numbers of any sign
    rows = nn.Sequential(nn.Flatten(), nn.LayerNorm(64, elementwise_affine=False))
    waypoints = [Waypoint(classes, transform=rows) for classes in ([0, 1], [5, 6])]
    data = InterpolatedDataModule(waypoints, batch_size=64, train_batches=8, cache_dir=cache)
    shape, likelihood = [64], Gaussian([1.0] * 64)
    model = make_model(
        encoder=MLPEncoder(shape, 3, [10], whiten=True),
        decoder=MLPDecoder(shape, 3, [], likelihood),
    )
    process = Adiabatic(1.0, steps=2, **SETTINGS)
    run = fit(tmp_path, data, RunReport(), model=model, process=process)  # type: ignore[arg-type]
    assert [row["t"] for row in run.rows] == [0, 0.5, 1]
    assert {path.stem for path in (tmp_path / "figures").glob("*.png")} == {"control", "rdc_space"}


def test_every_kind_of_process_has_a_report() -> None:
    assert set(REPORTS) == set(get_args(ReportKind))


def test_a_cycle_that_never_left_its_equilibrium_shows_that(tmp_path: Path, cache: Path) -> None:
    data = domains(cache, *"ABCDA")
    fit(tmp_path, data, RunReport(), process=make_cycle(), max_epochs=2)  # type: ignore[arg-type]
    summary = json_of(tmp_path / "summary.json")
    assert summary["strokes"] == []
    names = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert names == {"control", "rdc_space", "images"}
