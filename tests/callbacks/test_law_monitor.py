"""The monitor of the laws: what it writes and prints, when, and that it changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from support.process_runs import Disturb, Run, fit, json_of, make_model, make_process, same_path
from thermo_pl.callbacks import Equilibration, LawMonitor
from thermo_pl.errors import ConfigError, NotEquilibrated
from thermo_pl.laws import checks, path_laws
from thermo_pl.laws.data_entropy import binarised_entropy
from thermo_pl.laws.partition import log_partition
from thermo_pl.particles import interpolate
from thermo_pl.reports.summary import moving

Data = Callable[..., Any]
FILE = "laws.json"


class Reader(pl.Callback):
    """Reads laws.json after every epoch, as it lies on disk then."""

    def __init__(self, directory: Path) -> None:
        """Start empty."""
        self.directory = directory
        self.seen: list[Any] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        path = self.directory / FILE
        self.seen.append(json_of(path) if path.exists() else None)


def by_hand(rows: list[dict[str, Any]], *tolerances: float) -> Any:
    """What laws.json must say of these rows."""
    return [asdict(check) for check in path_laws.check_path(moving(rows), *tolerances)]


AT_THE_END = "second law, -H + J + log Z"


def of_the_path(directory: Path) -> list[dict[str, Any]]:
    """The checks of the path in laws.json, without those that are made once at the end."""
    return [check for check in json_of(directory / FILE) if check["law"] != AT_THE_END]


def printed(rows: list[dict[str, Any]]) -> str:
    return checks.table(path_laws.check_path(moving(rows))) + "\n"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, data: Data) -> tuple[Run, Reader]:
    """Iso-classification with a monitor."""
    directory = tmp_path_factory.mktemp("watched")
    reader = Reader(directory)
    return fit(directory, data(), LawMonitor(), reader), reader


def test_laws_are_written_after_every_macro_step(watched: tuple[Run, Reader]) -> None:
    run, reader = watched
    rows = run.rows
    # two epochs of equilibration, after the second of which there is a row
    expected = [None, *(by_hand(rows[: i + 1]) for i in range(len(rows)))]
    assert reader.seen == expected
    assert len(expected) == 5
    assert of_the_path(run.directory) == expected[-1]


def test_a_path_with_moving_data_is_held_against_the_laws_it_can_be(
    watched: tuple[Run, Reader],
) -> None:
    run, _ = watched
    found = {check["law"]: check["count"] for check in of_the_path(run.directory)}
    assert found == {
        "first law, median step": 3,
        "first law, sum": 3,
        "second law, worst step": 3,
        "second law, total dissipation": 3,
        "Maxwell, response": 4,
        "concavity, D_λ ≤ 0": 4,
        "concavity, C_γ ≤ 0": 4,
    }


def test_the_second_law_joins_at_the_end(watched: tuple[Run, Reader]) -> None:
    run, _ = watched
    (check,) = [c for c in json_of(run.directory / FILE) if c["law"] == AT_THE_END]
    assert AT_THE_END in run.out
    # once more with draws of its own; the training particles are the distribution
    batch = interpolate(run.data.coupling("train").all(), run.data.t)
    generator = torch.Generator().manual_seed(123)
    entropy = binarised_entropy(batch.x, batch.y, batch.weight, generator, 64)
    log_z = log_partition(run.model, 2**16, generator).value
    last = run.rows[-1]
    # few draws carry log Z here, so that its error is not known: half a nat
    bar = 5 * math.hypot(entropy.error, last["J_error"]) + 0.5
    assert check["value"] == pytest.approx(last["J"] - entropy.value + log_z, abs=bar)
    assert bar < 0.2 * check["value"]  # so that the line above can fail
    assert check["verdict"] == "holds"


def test_the_table_is_printed_once_at_the_end(watched: tuple[Run, Reader]) -> None:
    run, _ = watched
    assert run.out.count(printed(run.rows)) == 1
    assert run.out.count("verdict") == 1
    assert max(map(len, printed(run.rows).splitlines())) <= 100


def test_the_monitor_steers_nothing(
    tmp_path: Path, data: Data, watched: tuple[Run, Reader]
) -> None:
    assert same_path(fit(tmp_path, data()).rows, watched[0].rows) == []
    assert not (tmp_path / FILE).exists()


def test_tolerances_are_passed_on(tmp_path: Path, data: Data, watched: tuple[Run, Reader]) -> None:
    monitor = LawMonitor(tolerance=0.5, solver_tolerance=0.25)
    run = fit(tmp_path, data(), monitor)
    assert of_the_path(tmp_path) == by_hand(run.rows, 0.5, 0.25)
    assert of_the_path(tmp_path) != of_the_path(watched[0].directory)


@pytest.mark.parametrize("name", ["tolerance", "solver_tolerance"])
@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_a_tolerance_that_is_none_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError) as caught:
        LawMonitor(**{name: value})
    assert str(caught.value) == f"{name}: got {value!r}; allowed: a number from 0 to below 1"


# --- runs that stop early ---


def test_a_run_that_finds_no_equilibrium_still_has_its_table(tmp_path: Path, data: Data) -> None:
    process = make_process(equilibration=Equilibration(1e-9, max_epochs=2, check_every=1))
    run = fit(tmp_path, data(), LawMonitor(), process=process, fails=True)
    assert isinstance(run.error, NotEquilibrated)
    assert len(run.rows) == 1  # one row: nothing but its responses can be held against a law
    assert [check["law"] for check in json_of(tmp_path / FILE)] == [
        "Maxwell, response",
        "concavity, D_λ ≤ 0",
        "concavity, C_γ ≤ 0",
    ]
    assert run.out.count(printed(run.rows)) == 1


def test_where_nothing_was_measured_nothing_is_said(tmp_path: Path, data: Data) -> None:
    run = fit(tmp_path, data(), Disturb(0, "bug"), LawMonitor(), fails=True)
    assert isinstance(run.error, ValueError)
    assert not (tmp_path / FILE).exists()
    assert run.out == ""


def test_a_run_that_is_cut_has_its_table_once_and_a_later_failure_is_not_about_it(
    tmp_path: Path, data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fit(tmp_path, data(), LawMonitor(), max_epochs=3)
    assert len(run.rows) == 2
    assert run.out.count("verdict") == 1
    assert run.out.count(printed(run.rows)) == 1
    written = json_of(tmp_path / FILE)

    class Breaks(pl.Callback):
        def on_test_start(self, *_: Any) -> None:
            raise ValueError("not about the laws")

    run.trainer.callbacks.append(Breaks())
    with pytest.raises(ValueError, match="not about"):
        run.trainer.test(run.model, datamodule=run.data)
    assert "verdict" not in capsys.readouterr().out
    assert json_of(tmp_path / FILE) == written


# --- what it finds ---


def test_an_optimiser_that_climbs_is_found_out(tmp_path: Path, data: Data) -> None:
    # without the predictor the optimiser alone moves θ, and this one makes J rise
    climbing = partial(torch.optim.Adam, lr=1e-3, maximize=True)
    model = make_model(optimizer=climbing, scheduler=None)
    process = make_process(predictor=False)
    run = fit(tmp_path, data(), LawMonitor(), model=model, process=process)
    assert all(row["relaxation"] < 0 for row in run.rows[1:])
    found = {check["law"]: check for check in json_of(tmp_path / FILE)}
    assert found["second law, worst step"]["verdict"] == "violated"
    assert "violated" in run.out
