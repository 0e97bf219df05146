"""Training at domains on the way, with and without feedback, on displacements and mixtures."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.distributions import Categorical, Normal

from support.process_runs import Run, fit, last_checkpoint, make_model, make_process, same_path
from thermo_pl.callbacks import DomainSteps, Probes, RunReport
from thermo_pl.errors import ConfigError
from thermo_pl.module import FreeEnergyModel

Data = Callable[..., Any]
PROBES = Probes(measuring_particles=500, measuring_samples=4)


class Note(pl.Callback):
    """C on validation examples, λ, γ, t and the number of training images, epoch by epoch."""

    def __init__(self) -> None:
        """Start empty."""
        self.epochs: list[dict[str, float]] = []
        self.images = 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.images += len(batch.x)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking:
            return
        where = {
            "lam": float(pl_module.lam),
            "gam": float(pl_module.gam),
            "t": trainer.datamodule.t,
        }
        val = float(trainer.callback_metrics["val/C"])
        self.epochs.append({"val_C": val, **where, "images": self.images})
        self.images = 0


def steps(**arguments: Any) -> Any:
    return DomainSteps(
        **({"steps": 2, "source_epochs": 2, "epochs": 3, "probes": PROBES} | arguments)
    )


def test_it_trains_at_each_domain_for_the_epochs_asked_for(tmp_path: Path, data: Data) -> None:
    note = Note()
    run = fit(tmp_path, data(), note, RunReport(), process=steps(), model=make_model(samples=3))
    assert [row["t"] for row in run.rows] == [0.0, 0.5, 1.0]
    assert [epoch["t"] for epoch in note.epochs] == [0.0] * 2 + [0.5] * 3 + [1.0] * 3
    assert {(row["lambda"], row["gamma"]) for row in run.rows} == {(1.0, 5.0)}
    assert [row["val_C"] for row in run.rows] == [note.epochs[i]["val_C"] for i in (1, 4, 7)]
    # nothing but training: three draws of z for each image
    counts = [8 * 64 * 3 * epochs for epochs in (2, 3, 3)]
    assert [row["gradients"] for row in run.rows] == counts
    assert [row["C_target"] for row in run.rows] == [run.rows[0]["C"]] * 3
    # what was measured after the move and before training is another state
    assert all(row["C_predicted"] > row["C"] for row in run.rows[1:])
    assert run.process.ending == "done"
    assert (tmp_path / "summary.json").exists()


# C of the validation examples after each epoch of a run: two at the source, of which the last is
# the target, one nudge, none, as many as there are epochs, and none where C is just at the target
VALIDATED = [0.4, 0.25, 0.5, 0.125, 0.125, 0.5, 0.5, 0.5, 0.5, 0.25]


def with_validated(model: FreeEnergyModel) -> FreeEnergyModel:
    """The model, which reports C as it was written down, whatever training has made of it."""
    compute, told = model.val_metrics.compute, iter([math.nan, *VALIDATED])  # first a sanity check

    def as_written() -> dict[str, Any]:
        return {**compute(), "val/C": torch.tensor(next(told))}

    model.val_metrics.compute = as_written
    return model


@pytest.mark.parametrize("lam", [1.0, 0.25])
def test_feedback_nudges_after_epochs_above_the_target_and_only_then(
    tmp_path: Path, data: Data, lam: float
) -> None:
    note = Note()
    process = steps(steps=4, source_epochs=2, epochs=4, nudge=(-0.1, 0.5))
    model = with_validated(make_model(lam=lam))
    run = fit(tmp_path, data(train_batches=1), note, process=process, model=model)
    assert [epoch["val_C"] for epoch in note.epochs] == pytest.approx(VALIDATED, rel=1e-6)
    target = note.epochs[1]["val_C"]
    expected, here = [], {"lam": lam, "gam": 5.0}
    epochs = iter(note.epochs[2:])
    for t in (0.25, 0.5, 0.75, 1.0):
        for left in (3, 2, 1, 0):
            epoch = next(epochs)
            expected.append(here | {"t": t})
            if epoch["val_C"] <= target:
                break
            if left:
                here = {"lam": max(here["lam"] - 0.1, 0.1), "gam": here["gam"] + 0.5}
    assert next(epochs, None) is None
    found = [{name: epoch[name] for name in ("lam", "gam", "t")} for epoch in note.epochs[2:]]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-12)
    assert [epoch["t"] for epoch in expected] == [0.25] * 2 + [0.5] + [0.75] * 4 + [1.0]
    assert len(run.rows) == 5
    assert min(epoch["lam"] for epoch in found) >= 0.1 - 1e-12


def test_a_mixture_shows_both_ends_by_their_shares(data: Data) -> None:
    made = data(mixture=True)
    made.setup("fit")
    particles = made.draw("train", 3)
    made.move_to(0, 0.25)
    batch = made.on_after_batch_transfer(particles, 0)
    assert torch.equal(batch.x, torch.cat([particles.source, particles.target]))
    assert batch.weight.tolist() == [0.75] * 3 + [0.25] * 3
    for t, x in ((0.0, particles.source), (1.0, particles.target)):
        made.move_to(0, t)
        assert torch.equal(made.on_after_batch_transfer(particles, 0).x, x)


@torch.no_grad()
def loss(run: Run, model: FreeEnergyModel) -> tuple[float, float]:
    """C at both ends on all training pairs, by torch's distributions, from many draws."""
    pairs = run.data.coupling("train").all()
    share = pairs.weight / pairs.weight.sum()
    torch.manual_seed(3)
    found = []
    for x in (pairs.source, pairs.target):
        mean, log_var = model.encoder(x)
        z = Normal(mean, (0.5 * log_var).exp()).sample(torch.Size([200]))
        assert model.classifier is not None
        nll = -Categorical(logits=model.classifier(z)).log_prob(pairs.source_label.argmax(-1))
        found.append(float((nll @ share).mean()))
    return found[0], found[1]


def test_c_of_a_mixture_is_measured_on_the_mixture(tmp_path: Path, data: Data) -> None:
    checkpoint = last_checkpoint(tmp_path)
    probes = Probes(measuring_particles=10**6, measuring_samples=200)
    process = steps(epochs=1, probes=probes)
    note = Note()
    run = fit(tmp_path, data(mixture=True), note, checkpoint, process=process, max_epochs=3)
    row = run.rows[-1]
    assert run.data.t == pytest.approx(0.5)
    source, target = loss(run, run.model)
    error = 5 * row["C_error"]
    assert row["C"] == pytest.approx((source + target) / 2, abs=error)
    assert abs(target - source) > 4 * error  # not that of an end
    # 64 pairs are 128 images where both ends have a share
    assert [epoch["images"] for epoch in note.epochs] == [8 * 64] * 2 + [8 * 128]
    assert row["gradients"] == 8 * 128


def test_one_domain_is_trained_at_and_that_is_all(tmp_path: Path, data: Data) -> None:
    run = fit(tmp_path, data((5, 6)), RunReport(), process=steps())
    assert [row["t"] for row in run.rows] == [0.0]
    assert run.trainer.current_epoch == 2


def test_legs_follow_each_other(tmp_path: Path, data: Data) -> None:
    run = fit(tmp_path, data((0, 1), (5, 6), (2, 3)), process=steps(epochs=1))
    places = [(row["leg"], row["t"]) for row in run.rows]
    assert places == [(0, 0.0), (0, 0.5), (0, 1.0), (1, 0.5), (1, 1.0)]


def test_a_cut_run_goes_on_exactly(tmp_path: Path, data: Data) -> None:
    settings = {"steps": 3, "nudge": (-0.1, 0.5)}
    straight = fit(tmp_path / "straight", data(), process=steps(**settings))
    cut = tmp_path / "cut"
    fit(cut, data(), last_checkpoint(cut), process=steps(**settings), max_epochs=4)
    path = cut / "checkpoints" / "last.ckpt"
    resumed = fit(tmp_path / "on", data(), process=steps(**settings), ckpt_path=path)
    assert same_path(straight.rows, resumed.rows) == []


def test_a_process_that_follows_images_refuses_a_mixture(tmp_path: Path, data: Data) -> None:
    run = fit(tmp_path, data(mixture=True), process=make_process(), fails=True)
    assert isinstance(run.error, ConfigError)
    assert "data.mixture: got True; allowed: false: IsoClassification moves" in str(run.error)


def test_feedback_asks_for_validation(tmp_path: Path, data: Data) -> None:
    process = steps(nudge=(-0.1, 0.1))
    run = fit(tmp_path, data(), process=process, fails=True, limit_val_batches=0)
    assert "nudge: got an epoch without validation" in str(run.error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps: got 0; allowed: a whole number > 0"),
        ({"epochs": 0}, "epochs: got 0"),
        ({"nudge": (0.1, 0.1)}, "nudge: got .*; allowed: a change of λ ≤ 0 and one of γ ≥ 0"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        steps(**arguments)


def test_it_ends_exactly_at_the_target(tmp_path: Path, data: Data) -> None:
    count = 6  # sixths, added up in float64, are not those of the division from the fifth on
    process = steps(steps=count, source_epochs=1, epochs=1)
    run = fit(tmp_path, data(train_batches=1), process=process)
    assert [row["t"] for row in run.rows] == [k / count for k in range(count + 1)]
