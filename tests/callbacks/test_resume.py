"""A run that was cut goes on exactly; equal runs are equal, bit by bit."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from support.process_runs import (
    Run,
    fit,
    last_checkpoint,
    make_model,
    make_process,
    same_model,
    same_path,
)
from thermo_pl.callbacks import DomainSteps, Equilibration, RunReport
from thermo_pl.errors import ConfigError
from thermo_pl.module import FreeEnergyModel
from thermo_pl.process import equilibration
from thermo_pl.response.linear import ResponseSettings

Data = Callable[..., Any]
EPOCHS = 7  # equilibrium is found at the end of the 4th, three macro-steps follow


def process() -> Any:
    return make_process(equilibration=Equilibration(100.0, max_epochs=20, check_every=2))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Run:
    """The run that is not cut; a checkpoint is kept of each epoch."""
    directory = tmp_path_factory.mktemp("straight")
    run = fit(directory, data(), RunReport(), last_checkpoint(directory), process=process())
    assert run.trainer.current_epoch == EPOCHS
    return run


def cut_and_resume(
    directory: Path, data: Data, epochs: int, *callbacks: Callable[[], Any], **arguments: Any
) -> tuple[Run, Run]:
    """Everything is made anew for the second part."""
    cut = directory / "cut"
    made = [make() for make in callbacks]
    first = fit(
        cut, data(), *made, last_checkpoint(cut), process=process(), max_epochs=epochs, **arguments
    )
    assert first.trainer.current_epoch == epochs
    second = fit(
        directory / "resumed",
        data(),
        *(make() for make in callbacks),
        process=process(),
        ckpt_path=cut / "checkpoints" / "last.ckpt",
        **arguments,
    )
    return first, second


def check_exact(run: Run, straight: Run) -> None:
    assert run.process.ending == "done"
    assert same_path(run.rows, straight.rows) == []
    assert same_model(run.model, straight.model) == []
    read = [(r.directory / "equilibration.csv").read_text() for r in (run, straight)]
    assert read[0] == read[1]
    states = [r.trainer.optimizers[0].state_dict()["state"] for r in (run, straight)]
    for index, state in states[1].items():
        for name, value in state.items():
            assert torch.equal(states[0][index][name], value)


# after the first epoch there is no check yet, after the third there is one, the fourth ends in
# equilibrium, the last but one leaves a single macro-step
@pytest.mark.parametrize("epochs", [1, 3, 4, pytest.param(EPOCHS - 1, marks=pytest.mark.slow)])
def test_resume_is_exact(straight: Run, tmp_path: Path, data: Data, epochs: int) -> None:
    first, second = cut_and_resume(tmp_path, data, epochs)
    assert first.process.ending.startswith("cut off")
    assert len(first.rows) == max(0, epochs - 3)
    check_exact(second, straight)


def test_a_learning_rate_that_was_halved_stays_so(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    # any fall is rest: the rate is halved after the second epoch, and the third is the last
    monkeypatch.setattr(equilibration, "SHARE", 1e3)

    def made() -> Any:
        return make_process(equilibration=Equilibration(max_epochs=20, check_every=1), steps=1)

    whole = fit(tmp_path / "whole", data(), process=made())
    cut = tmp_path / "cut"
    first = fit(cut, data(), last_checkpoint(cut), process=made(), max_epochs=2)
    saved = cut / "checkpoints" / "last.ckpt"
    second = fit(tmp_path / "resumed", data(), process=made(), ckpt_path=saved)
    rates = [check["learning_rate"] for check in second.process.state.checks]
    assert (first.process.state.epoch, rates) == (2, [0.005, 0.005, 0.0025])
    check_exact(second, whole)


@pytest.mark.parametrize(
    ("changes", "seed", "name"),
    [
        ({}, 1234, "seed_everything: got 1234 .* started with 0;"),
        ({"k": 0.5}, 0, "IsoClassification.k: got 0.5 .* started with 1.0;"),
        ({"steps": 4}, 0, "IsoClassification.steps.steps: got 4 .* started with 3;"),
        (
            {"response": ResponseSettings(damping=0.1)},
            0,
            "IsoClassification.response.damping: got 0.1 .* started with 0.5;",
        ),
    ],
)
def test_a_checkpoint_does_not_overrule_the_process(
    straight: Run, tmp_path: Path, data: Data, changes: dict[str, Any], seed: int, name: str
) -> None:
    checkpoint = straight.directory / "checkpoints" / "last.ckpt"
    other = make_process(**changes)
    run = fit(tmp_path, data(), process=other, seed=seed, ckpt_path=checkpoint, fails=True)
    assert isinstance(run.error, ConfigError)
    assert re.search(name, str(run.error))


def test_nor_is_it_taken_up_by_another_process(straight: Run, tmp_path: Path, data: Data) -> None:
    checkpoint = straight.directory / "checkpoints" / "last.ckpt"
    other: Any = DomainSteps(steps=1, source_epochs=1, epochs=1)
    run = fit(tmp_path, data(), process=other, ckpt_path=checkpoint, fails=True)
    assert isinstance(run.error, ConfigError)
    assert "last.ckpt'; allowed: a checkpoint of a DomainSteps; or model.init" in str(run.error)


def test_what_no_state_depends_on_may_change(straight: Run, tmp_path: Path, data: Data) -> None:
    other = make_process(
        gamma_range=(0.1, 50.0), equilibration=Equilibration(), on_transition="continue"
    )
    checkpoint = straight.directory / "checkpoints" / "last.ckpt"
    run = fit(tmp_path, data(), process=other, ckpt_path=checkpoint)
    assert run.process.ending == "done"


@pytest.mark.slow
def test_report_of_a_resumed_run_is_that_of_the_whole(
    straight: Run, tmp_path: Path, data: Data
) -> None:
    _, second = cut_and_resume(tmp_path, data, 5, RunReport)
    tables = [
        [line for line in run.out.splitlines() if not line.startswith(("process", "files"))]
        for run in (straight, second)
    ]
    assert tables[0] == tables[1]
    images = [run.directory / "figures" / "images.png" for run in (straight, second)]
    assert images[0].read_bytes() == images[1].read_bytes()


def test_weights_of_any_checkpoint_can_start_a_run(tmp_path: Path, data: Data) -> None:
    run = fit(tmp_path, data(), last_checkpoint(tmp_path), process=process(), max_epochs=1)
    assert run.process.state.phase == "equilibration"
    fresh: FreeEnergyModel = make_model(initial_weights=tmp_path / "checkpoints" / "last.ckpt")
    for name, value in run.model.named_parameters():
        assert torch.equal(dict(fresh.named_parameters())[name], value)


def test_a_finished_run_that_is_resumed_stays_as_it_is(
    straight: Run, tmp_path: Path, data: Data
) -> None:
    checkpoint = straight.directory / "checkpoints" / "last.ckpt"
    run = fit(tmp_path, data(), process=process(), ckpt_path=checkpoint)
    assert same_path(run.rows, straight.rows) == []
    assert same_model(run.model, straight.model) == []


def test_checkpoints_are_not_much_larger_than_they_must_be(straight: Run) -> None:
    # θ, two moments of Adam and three directions
    size = (straight.directory / "checkpoints" / "last.ckpt").stat().st_size
    numbers = 6 * sum(p.numel() for p in straight.model.parameters())
    assert size < 4 * numbers + 200_000


def test_equal_runs_are_equal(straight: Run, tmp_path: Path, data: Data) -> None:
    check_exact(fit(tmp_path, data(), process=process()), straight)


def test_another_seed_gives_another_run(straight: Run, tmp_path: Path, data: Data) -> None:
    run = fit(tmp_path, data(), process=process(), seed=1)
    for a, b in zip(run.rows, straight.rows, strict=False):
        assert a["C"] != b["C"]
        assert a["val_C"] != b["val_C"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [{"accumulate_grad_batches": 3}, {"precision": "bf16-mixed"}, {"limit_train_batches": 5}],
    ids=str,
)
def test_resume_is_exact_with_other_settings(
    tmp_path: Path, data: Data, arguments: dict[str, Any]
) -> None:
    whole = fit(tmp_path / "straight", data(), process=process(), **arguments)
    _, second = cut_and_resume(tmp_path, data, 5, **arguments)
    check_exact(second, whole)


@pytest.mark.slow
def test_resume_on_the_second_leg(tmp_path: Path, data: Data) -> None:
    # the checkpoint falls where the data have moved on to the next leg and nothing else has
    waypoints = (0, 1), (5, 6), (2, 3)
    make = partial(make_process, steps=1)
    straight = fit(tmp_path / "straight", data(*waypoints), process=make())
    assert [row["leg"] for row in straight.rows] == [0, 0, 1, 1]
    for epochs in (3, 4):
        cut = tmp_path / f"cut{epochs}"
        fit(cut, data(*waypoints), last_checkpoint(cut), process=make(), max_epochs=epochs)
        checkpoint = cut / "checkpoints" / "last.ckpt"
        resumed = fit(
            tmp_path / f"resumed{epochs}", data(*waypoints), process=make(), ckpt_path=checkpoint
        )
        assert same_path(resumed.rows, straight.rows) == []
        assert same_model(resumed.model, straight.model) == []
