"""Work, relaxation and the first law in path.csv, computed again from weights and probes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence
from torch.nn.utils import vector_to_parameters

from support.process_runs import Run, fit, make_model, make_process, recorded_probes
from thermo_pl.callbacks import Probes
from thermo_pl.process import measuring
from thermo_pl.response.objective import Probe

Data = Callable[..., Any]
DECODED, SAMPLES = 8, 12
STEP_COLUMNS = ("first_law_residual", "work", "relaxation")


class Draws(NamedTuple):
    """R, D and C on the measuring probe, a value for each noise draw."""

    rate: Tensor
    distortion: Tensor
    classification: Tensor


@torch.no_grad()
def draws_of(model: Any, probe: Probe, t: float) -> Draws:
    """By the distributions of torch; all particles of the coupling, with their mass."""
    p = probe.particles
    x, y, share = (1 - t) * p.source + t * p.target, p.source_label, p.weight / p.weight.sum()
    assert torch.equal(p.source_label, p.target_label)
    assert share.max() > 2 * share.min()
    mean, log_var = model.encoder(x)
    code = Normal(mean, (0.5 * log_var).exp())
    z = code.loc + code.scale * probe.noise
    rate = kl_divergence(code, Normal(torch.zeros_like(mean), 1.0)).sum(-1)
    pixel = Bernoulli(logits=model.decoder(z[:DECODED]), validate_args=False)
    label = Categorical(logits=model.classifier(z))
    return Draws(
        (rate @ share).expand(DECODED),
        -pixel.log_prob(x).flatten(2).sum(-1) @ share,
        -label.log_prob(y.argmax(-1)) @ share,
    )


class Energy(NamedTuple):
    """R + λD of each decoded draw, and γC of each draw; J is the sum of the means."""

    few: Tensor
    many: Tensor

    @property
    def value(self) -> float:
        return float(self.few.mean() + self.many.mean())

    def less(self, other: Energy) -> Energy:
        return Energy(self.few - other.few, self.many - other.many)

    @property
    def error(self) -> float:
        """That of independent draws; each decoded one has a share in both means."""
        decoded = self.few / DECODED + self.many[:DECODED] / SAMPLES
        variance = DECODED * decoded.var() + (SAMPLES - DECODED) * (self.many / SAMPLES).var()
        return math.sqrt(variance)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory, data: Data) -> tuple[Run, Probe]:
    """A run in float64 on data that move, γ by requirement (1) alone, and its measuring probe."""
    process = make_process(
        restoring=False, probes=Probes(256, 1, True, 256, 2, 500, SAMPLES), steps=3
    )
    with recorded_probes() as (measuring, _, _):
        directory = tmp_path_factory.mktemp("moved")
        run = fit(directory, data(), process=process, precision="64-true")
    return run, measuring[0]


def state(run: Run, probe: Probe, row: int, t: float) -> Draws:
    """R, D and C with the weights of a row, at a t of one's own."""
    model = copy.deepcopy(run.model)
    vector_to_parameters(run.after.epoch_end[row + 1]["theta"], model.parameters())
    return draws_of(model, probe, t)


def energy(run: Run, probe: Probe, row: int, at: dict[str, Any]) -> Energy:
    """J with the weights of a row, at the place of another one."""
    rate, distortion, classification = state(run, probe, row, at["t"])
    return Energy(rate + at["lambda"] * distortion, at["gamma"] * classification)


def test_the_rows_are_those_states(moved: tuple[Run, Probe]) -> None:
    run, probe = moved
    assert [snap["rows"] for snap in run.after.epoch_end] == [0, 1, 2, 3, 4]
    for i, row in enumerate(run.rows):
        draws, here = state(run, probe, i, row["t"]), energy(run, probe, i, row)
        expected = [part.mean().item() for part in draws]
        assert [row[name] for name in "RDC"] == pytest.approx(expected, rel=1e-10)
        assert (row["J"], row["J_error"]) == pytest.approx((here.value, here.error), rel=1e-8)
        errors = [
            draws.distortion.std().item() / math.sqrt(DECODED),
            draws.classification.std().item() / math.sqrt(SAMPLES),
        ]
        assert [row["D_error"], row["C_error"]] == pytest.approx(errors, rel=1e-8)


def test_work_is_what_control_and_data_do_at_fixed_weights(moved: tuple[Run, Probe]) -> None:
    run, probe = moved
    for i, (before, after) in enumerate(pairwise(run.rows)):
        work = energy(run, probe, i, after).less(energy(run, probe, i, before))
        found = after["work"], after["work_error"]
        assert found == pytest.approx((work.value, work.error), rel=1e-8)
        # the moving data have their part in it
        control = before["D"] * (after["lambda"] - before["lambda"])
        control += before["C"] * (after["gamma"] - before["gamma"])
        assert abs(after["work"] / control - 1) > 1e-4
        assert after["corrections"] == 0
        # common draws: the ends are known less well than what is between them
        assert after["work_error"] < math.hypot(before["J_error"], after["J_error"])


def test_relaxation_is_what_the_weights_do_at_fixed_control(moved: tuple[Run, Probe]) -> None:
    run, probe = moved
    for i, after in enumerate(run.rows[1:]):
        relaxation = energy(run, probe, i, after).less(energy(run, probe, i + 1, after))
        found = after["relaxation"], after["relaxation_error"]
        assert found == pytest.approx((relaxation.value, relaxation.error), rel=1e-8)


def check_columns(rows: list[dict[str, Any]]) -> None:
    """ΔJ = work - relaxation, and an error for each of them; nothing in the first row."""
    assert [rows[0][name] for name in STEP_COLUMNS] == [None] * 3  # NaN is an empty cell
    errors = [name.replace("_residual", "") + "_error" for name in STEP_COLUMNS]
    assert [rows[0][name] for name in errors] == [None] * 3
    for before, after in pairwise(rows):
        change = after["J"] - before["J"]
        scale = max(abs(after["work"]), abs(after["relaxation"]))
        assert after["work"] - after["relaxation"] == pytest.approx(change, abs=1e-6 * scale)
        assert all(math.isfinite(after[name]) and after[name] > 0 for name in errors)


def test_j_changes_by_work_less_relaxation(moved: tuple[Run, Probe]) -> None:
    check_columns(moved[0].rows)


def test_j_changes_by_work_less_relaxation_with_corrections_too(tmp_path: Path, data: Data) -> None:
    run = fit(tmp_path, data())
    assert any(row["corrections"] > 0 for row in run.rows)
    check_columns(run.rows)


def test_the_first_law_of_another_leg_is_not_known(tmp_path: Path, data: Data) -> None:
    # its first row is measured on other particles than the row before; work and relaxation are not
    run = fit(tmp_path, data((0, 1), (5, 6), (2, 3)), process=make_process(steps=1))
    legs = [row["leg"] for row in run.rows]
    assert legs == [0, 0, 1, 1]
    known = [row["first_law_residual"] is not None for row in run.rows]
    assert known == [False, True, False, True]
    assert [row["work"] is not None for row in run.rows] == [False, True, True, True]


def test_gradients_count_all_evaluations_of_an_optimiser_with_a_line_search(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    products: list[int] = []  # of each solve
    solve = measuring.linear_response

    def noted(*arguments: Any, **named: Any) -> Any:
        response = solve(*arguments, **named)
        products.append(response.solution.products)
        return response

    monkeypatch.setattr(measuring, "linear_response", noted)

    class Counting(torch.optim.LBFGS):
        """Counts how often it asks for the gradient of a batch."""

        calls = 0

        def step(self, closure: Any) -> Any:  # type: ignore[override]
            def counted() -> Any:
                Counting.calls += 1
                return closure()

            return super().step(counted)

    calls: list[int] = []  # after each epoch

    class Note(pl.Callback):
        def on_train_epoch_end(self, *_: Any) -> None:
            calls.append(Counting.calls)

    model = make_model(
        optimizer=partial(Counting, lr=0.1, max_iter=3, line_search_fn="strong_wolfe"),
        scheduler=None,
    )
    process = make_process(restoring=False)  # wherever C may go
    run = fit(tmp_path, data(train_batches=2), Note(), model=model, process=process)
    # a solve costs the three rows of the Jacobian and their t derivatives, the gradient of the
    # witness, the linearisation and the products; on 256 particles
    solves = [256 * (8 + count) for count in products]
    training = [64 * (b - a) for a, b in pairwise([0, *calls])]  # images, by epoch
    assert [row["gradients"] for row in run.rows[1:]] == [
        train + solve for train, solve in zip(training[2:], solves[2:], strict=True)
    ]
    # each batch is evaluated, and a line search asks again, wherever θ is; how often is its affair
    assert all(train >= 2 * 64 for train in training)
    assert sum(training) > len(training) * 2 * 64
    # the first row takes the epochs of the equilibration together, and a solve for each
    assert run.rows[0]["gradients"] == sum(training[:2]) + sum(solves[:2])
