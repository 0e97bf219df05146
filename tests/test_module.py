"""What Lightning sees of the model: steps, refusals, checkpoints, metrics and schedules."""

from __future__ import annotations

import math
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import MPSAccelerator
from pytorch_lightning.callbacks import LearningRateFinder
from pytorch_lightning.cli import ReduceLROnPlateau
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Independent, Normal, kl_divergence
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassCalibrationError

from support.small_networks import CLASSES, CLOSE, SHAPE, K, batch, parts
from support.trainers import trainer
from thermo_pl.datamodules import InterpolatedDataModule, Waypoint
from thermo_pl.errors import ConfigError, DataError, NonFinite
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks import (
    Classifier,
    ConvEncoder,
    DiagonalGaussian,
    GaussianClassifier,
    LinearClassifier,
    MLPEncoder,
    StandardNormal,
)
from thermo_pl.optim import MacroStepCosine
from thermo_pl.particles import Batch


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def model(**changes: Any) -> FreeEnergyModel:
    return FreeEnergyModel(**parts(**changes))


def fixed_noise(
    made: FreeEnergyModel, n: int, monkeypatch: pytest.MonkeyPatch, samples: int | None = None
) -> Tensor:
    """Make the model's noise known, and return it; ``samples`` draws, or those of training."""
    noise = made.noise(made.samples if samples is None else samples, n)

    def known(samples: int, count: int, generator: torch.Generator | None = None) -> Tensor:
        assert samples == len(noise)
        return noise[:, :count]

    monkeypatch.setattr(made, "noise", known)
    return noise


def loader(*batches: Batch) -> DataLoader[Batch]:
    return DataLoader(list(batches), batch_size=None)  # type: ignore[arg-type]


# -- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 3])
def test_training_step_is_the_weighted_mean_of_j_at_draws_of_its_own(
    samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, data = model(samples=samples), batch()
    noise = fixed_noise(made, 6, monkeypatch)
    assert noise.shape == (samples, 6, K)
    rate, distortion, loss = made.terms(made(data.x, noise), data.x, data.y)
    expected = (rate + 0.7 * distortion + 3.0 * loss) @ data.weight / data.weight.sum()
    value = made.training_step(data, 0)
    torch.testing.assert_close(value, expected, **CLOSE)
    assert value.dtype == torch.float32
    assert value.shape == ()


def test_the_optimiser_has_the_parameters_and_nothing_else() -> None:
    made = model()
    optimised = {id(p) for p in made.configure_optimizers().param_groups[0]["params"]}
    assert optimised == {id(p) for p in made.parameters()}


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_a_trainer_casts_the_networks_and_leaves_lambda_exact(
    tmp_path: Path, precision: Any
) -> None:
    made = model(lam=0.1)
    trainer(tmp_path, precision=precision).validate(made, loader(batch()), verbose=False)
    assert made.dtype == {"bf16-true": torch.bfloat16, "64-true": torch.float64}[precision]
    assert {p.dtype for p in made.parameters()} == {made.dtype}
    assert made.lam.dtype == torch.float64
    assert made.lam.item() == pytest.approx(0.1, rel=1e-15)


def test_a_checkpoint_casts_as_the_trainer_does() -> None:
    saved, made = model().double(), model()  # the trainer's way
    checkpoint = {"state_dict": saved.state_dict()}
    saved.on_save_checkpoint(checkpoint)
    made.on_load_checkpoint(checkpoint)
    assert made.dtype == torch.float64
    one, other = (of.val_metrics["C"].metric_state["mean_value"].dtype for of in (saved, made))
    assert one == other  # else val_C of a resumed run has other digits


def test_a_cubature_asks_for_full_batches(tmp_path: Path) -> None:
    data = InterpolatedDataModule([Waypoint([0, 1])], batch_size=8, cache_dir=tmp_path)
    made = FreeEnergyModel(
        MLPEncoder((1, 8, 8), K, (5,)),
        LinearClassifier(K, 2),
        marginal=DiagonalGaussian(K),
        lam=0.0,
        cubature_seed=0,
    )
    with pytest.raises(ConfigError, match=r"batch_size: got 8; allowed: null: with a cubature"):
        trainer(tmp_path).fit(made, datamodule=data)


def test_an_encoder_that_whitens_is_shown_the_training_images(tmp_path: Path) -> None:
    data = InterpolatedDataModule([Waypoint([0, 1]), Waypoint([2, 3])], cache_dir=tmp_path)
    made = FreeEnergyModel(
        MLPEncoder((1, 8, 8), K, (), whiten=True),
        LinearClassifier(K, 2),
        marginal=DiagonalGaussian(K),
        lam=0.0,
        optimizer=partial(torch.optim.SGD, lr=0.0),
    )
    quick = {"limit_train_batches": 1, "limit_val_batches": 0}
    trainer(tmp_path, **quick).fit(made, datamodule=data)
    pairs = data.coupling("train").all()
    whitening = made.encoder.whitening
    ends = [whitening(end.flatten(1)) for end in (pairs.source, pairs.target)]
    weight = (pairs.weight / pairs.weight.sum())[:, None]
    mean = sum((weight * end).sum(0) for end in ends) / 2
    square = sum((weight * end).T @ end for end in ends) / 2
    torch.testing.assert_close(mean, torch.zeros(64), rtol=0, atol=1e-4)
    spread = torch.linalg.eigvalsh(square)  # v/(v + ρ): 1 but for what hardly varies
    assert float(spread.max()) < 1
    assert float(spread[-20:].min()) > 0.5
    # what was learned stays, on other data, too
    state = made.state_dict()
    other = InterpolatedDataModule([Waypoint([5, 6])], cache_dir=tmp_path)
    trainer(tmp_path, **quick).fit(made, datamodule=other)
    for name in ("mean", "matrix"):
        kept = f"encoder.whitening.{name}"
        assert torch.equal(made.state_dict()[kept], state[kept])


def test_whitening_asks_for_data_with_moments(tmp_path: Path) -> None:
    made = FreeEnergyModel(
        MLPEncoder(SHAPE, K, (), whiten=True), marginal=DiagonalGaussian(K), lam=0.0, gam=0.0
    )
    with pytest.raises(ConfigError, match=r"encoder.whiten: got True; allowed: data on a path"):
        trainer(tmp_path).fit(made, loader(batch()))


# -- refusals -----------------------------------------------------------------------------------


def test_networks_that_do_not_fit_and_no_evaluation_draws_are_refused() -> None:
    for changes, message in (
        ({"decoder": None}, "lam: got 0.7; allowed: 0, as the model has no decoder"),
        ({"eval_samples": 0}, "eval_samples: got 0; allowed: a whole number > 0"),
        (
            {"initial_weights": "not/there.ckpt"},
            "initial_weights: got 'not/there.ckpt'; allowed: an existing checkpoint file",
        ),
    ):
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
            model(**changes)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((1, 4, 4), r"encoder.image_shape: got \[1, 2, 3\]; allowed: \[1, 4, 4\]"),
        (4, "classifier.classes: got 3; allowed: 4"),
        (1, "classes of the data: got 1; allowed: two or more, or a model without a classifier"),
        ([0.0, 1.5], r"likelihood: got Bernoulli for values from 0 to 1.5; allowed: .* Gaussian"),
    ],
)
def test_data_of_another_shape_are_refused(data: Any, message: str) -> None:
    made = model()
    names = {tuple: "image_shape", int: "n_classes", list: "value_range"}
    fitting = {"image_shape": SHAPE, "n_classes": CLASSES}
    made._trainer = SimpleNamespace(
        datamodule=SimpleNamespace(**fitting | {names[type(data)]: data})
    )
    with pytest.raises((ConfigError, DataError), match=message):
        made.setup("fit")
    made._trainer = SimpleNamespace(
        datamodule=SimpleNamespace(image_shape=list(SHAPE), n_classes=CLASSES)
    )
    made.setup("fit")


def test_a_device_without_float64_is_refused() -> None:
    made = model()
    made._trainer = SimpleNamespace(accelerator=MPSAccelerator(), datamodule=None)
    with pytest.raises(ConfigError, match=r"trainer\.accelerator: got 'mps'; allowed: cpu or gpu"):
        made.setup("fit")


def test_a_loss_that_is_not_finite_stops_training() -> None:
    data = batch()
    data.x[0, 0, 0, 0] = math.nan
    with pytest.raises(NonFinite, match="J: got nan in training; allowed: a finite number"):
        model().training_step(data, 0)


# -- checkpoints --------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of a run that started at (0.7, 3) and was moved to (0.9, 2)."""
    made, path = model(), tmp_path / "run.ckpt"
    runner = trainer(tmp_path)
    runner.fit(made, loader(batch()))
    made.lam.fill_(0.9)
    made.gam.fill_(2.0)
    runner.save_checkpoint(path)
    return path


def theta(made: FreeEnergyModel) -> list[Tensor]:
    return [p.detach().clone() for p in made.parameters()]


def test_going_on_restores_lambda_and_gamma(checkpoint: Path, tmp_path: Path) -> None:
    made = model()
    before = theta(made)
    runner = trainer(tmp_path, max_epochs=1)  # that one epoch is done already
    runner.fit(made, loader(batch()), ckpt_path=checkpoint)
    assert (made.lam.item(), made.gam.item()) == (0.9, 2.0)
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(saved[k], v) for k, v in made.state_dict().items())
    assert not all(map(torch.equal, before, theta(made)))


@pytest.mark.parametrize(("name", "value"), [("lam", 0.5), ("lam", 0.9), ("gam", 2.0)])
def test_a_checkpoint_never_overrules_the_config(
    checkpoint: Path, tmp_path: Path, name: str, value: float
) -> None:
    made = model(**{name: value})
    message = rf"{name}: got {value} with a checkpoint .*started with .*model.initial_weights"
    with pytest.raises(ConfigError, match=message):
        trainer(tmp_path, max_epochs=2).fit(made, loader(batch()), ckpt_path=checkpoint)
    assert getattr(made, name).item() == value


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (
            {"optimizer": partial(torch.optim.Adam, lr=0.02)},
            "model.optimizer.lr: got 0.02 .*with 0.001;",
        ),
        (
            {"optimizer": partial(torch.optim.Adam, betas=(0.8, 0.999))},
            "model.optimizer.betas.0: got 0.8 ",
        ),
        ({"optimizer": partial(torch.optim.SGD, lr=0.01)}, "model.optimizer: got SGD "),
        (
            {"scheduler": partial(torch.optim.lr_scheduler.StepLR, step_size=3)},
            "model.scheduler: got StepLR ",
        ),
        ({"encoder": MLPEncoder(SHAPE, K, hidden=(6,))}, "ckpt_path: .* with .5,. encoder.net"),
        ({"marginal": StandardNormal(K)}, "ckpt_path: .* with no marginal.log_var"),
    ],
)
def test_nor_does_its_optimiser_and_other_networks_are_refused(
    checkpoint: Path, tmp_path: Path, changes: dict[str, Any], name: str
) -> None:
    message = f"^{name}"
    with pytest.raises(ConfigError, match=message) as caught:
        trainer(tmp_path, max_epochs=2).fit(model(**changes), loader(batch()), ckpt_path=checkpoint)
    assert "\n" not in str(caught.value)


def test_a_plateau_is_watched(tmp_path: Path) -> None:
    plateau = partial(ReduceLROnPlateau, monitor="train/J", patience=0, factor=0.5, threshold=1e9)
    made = model(optimizer=partial(torch.optim.Adam, lr=0.01), scheduler=plateau)
    trainer(tmp_path, max_epochs=3).fit(made, loader(batch()))
    # no value is so much better than what was before
    rate = made.trainer.optimizers[0].param_groups[0]["lr"]
    assert rate == pytest.approx(0.01 * 0.5**3, rel=1e-12)
    torchs = torch.optim.lr_scheduler.ReduceLROnPlateau
    with pytest.raises(ConfigError, match=r"^model.scheduler: .*monitor: val/J"):
        trainer(tmp_path).fit(model(scheduler=torchs), loader(batch()))


def test_a_schedule_that_ends_says_so(tmp_path: Path) -> None:
    cycle = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.01, total_steps=2)
    made = model(scheduler=cycle, scheduler_interval="step")
    with pytest.raises(ConfigError, match=r"^model.scheduler: got a OneCycleLR at its end"):
        trainer(tmp_path, max_epochs=4).fit(made, loader(batch()))


def test_the_finder_finds_no_learning_rate(tmp_path: Path) -> None:
    made = trainer(tmp_path, LearningRateFinder())
    with pytest.raises(ConfigError, match=r"'LearningRateFinder'; .*model.optimizer.lr"):
        made.fit(model(), loader(batch()))


def test_initial_weights_are_the_parameters_alone(checkpoint: Path) -> None:
    made = model(lam=0.1, gam=0.2, initial_weights=checkpoint)
    assert (made.lam.item(), made.gam.item()) == (0.1, 0.2)
    assert made.start == {"lam": 0.1, "gam": 0.2}
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(saved[name], p) for name, p in made.named_parameters())
    assert not torch.equal(model().encoder.net[0].weight, made.encoder.net[0].weight)


def test_initial_weights_of_other_networks_are_refused_in_one_line(checkpoint: Path) -> None:
    message = (
        r"^initial_weights: got '.*run.ckpt'; allowed: a checkpoint of the same networks \(.+\)$"
    )
    for encoder in (MLPEncoder(SHAPE, K, hidden=(6,)), ConvEncoder(SHAPE, K)):
        with pytest.raises(ConfigError, match=message) as caught:
            model(encoder=encoder, initial_weights=str(checkpoint))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["text", "empty", "list", "other"])
def test_initial_weights_that_are_no_checkpoint_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.ckpt"
    if kind == "text":
        path.write_text("λ = 1")
    elif kind == "empty":
        path.touch()
    else:
        torch.save([1] if kind == "list" else {"weights": torch.zeros(3)}, path)
    message = "^initial_weights: got '.*weights.ckpt'; allowed: a checkpoint of the same networks"
    with pytest.raises(ConfigError, match=message) as caught:
        model(initial_weights=path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_does_not_say_where_it_started_is_refused(
    checkpoint: Path, tmp_path: Path
) -> None:
    content = torch.load(checkpoint, weights_only=False)
    assert content.pop("thermo_start") == {"lam": 0.7, "gam": 3.0}
    torch.save(content, checkpoint)
    message = "^ckpt_path: got a checkpoint that does not say where its run started; allowed: one"
    with pytest.raises(ConfigError, match=message):
        trainer(tmp_path, max_epochs=2).fit(model(), loader(batch()), ckpt_path=checkpoint)


# -- prediction and metrics ---------------------------------------------------------------------


def test_a_prediction_step_predicts() -> None:
    made, data = model(samples=3), batch()
    for one, other in zip(made.predict(data.x), made.predict_step(data, 0), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_logged_values_are_weighted_means_over_all_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    # the draws are those of evaluation, not those of training
    made, first, second = model(samples=1, eval_samples=2), batch(6), batch(4)
    noise = fixed_noise(made, 6, monkeypatch, samples=2)
    run = getattr(trainer(tmp_path), stage)
    (logged,) = run(made, loader(first, second), verbose=False)
    prefix = {"validate": "val/", "test": "test/"}[stage]
    terms, p = [], []
    with torch.no_grad():
        for part in (first, second):
            outputs = made(part.x, noise[:, : len(part.x)])
            (mean, log_var), z = outputs.posterior, outputs.z
            zero = torch.zeros(1)
            rate = kl_divergence(
                Independent(Normal(mean, torch.exp(0.5 * log_var)), 1),
                Independent(Normal(torch.zeros(K), torch.ones(K)), 1),
            )
            decoded = Bernoulli(logits=made.decoder(z))
            distortion = -decoded.log_prob(part.x.expand(2, -1, -1, -1, -1)).flatten(2).sum(-1)
            loss = -Categorical(logits=made.classifier(z)).log_prob(part.y.argmax(-1))
            terms.append(torch.stack([rate + zero, distortion.mean(0), loss.mean(0)]))
            p.append(made.classifier(mean[None])[0].softmax(-1))
    weight = torch.cat([first.weight, second.weight])
    label = torch.cat([first.y, second.y]).argmax(-1)
    share, probabilities = weight / weight.sum(), torch.cat(p)
    r, d, c = (torch.cat(terms, 1) @ share).tolist()
    expected = {"R": r, "D": d, "C": c, "J": r + 0.7 * d + 3 * c}
    right = (probabilities.argmax(-1) == label).float()
    expected["accuracy"] = (right @ share).item()
    # the calibration error bin by bin
    top = probabilities.max(-1).values
    bins = torch.bucketize(top, torch.linspace(0, 1, 16))
    gaps = [((right - top) * share)[bins == b].sum().abs() for b in bins.unique()]
    expected["calibration"] = sum(gaps).item()
    assert logged == pytest.approx({prefix + k: v for k, v in expected.items()}, rel=1e-5)
    unweighted = MulticlassCalibrationError(CLASSES, n_bins=15)(probabilities, label).item()
    assert abs(unweighted - expected["calibration"]) > 1e-3  # the weights were not for nothing


@pytest.mark.parametrize("stage", ["validation", "test"])
def test_evaluations_repeat_their_draws_and_leave_the_global_stream_alone(stage: str) -> None:
    made, data = model(samples=1, eval_samples=5), batch(weight=torch.ones(6))
    step = getattr(made, f"{stage}_step")
    metrics = {"validation": made.val_metrics, "test": made.test_metrics}[stage]

    def evaluate(batch_idx: int) -> dict[str, float]:
        metrics.reset()
        with torch.no_grad():
            step(data, batch_idx)
        return {name[-1]: value.item() for name, value in metrics.compute().items()}

    state = torch.get_rng_state()
    first, other, again = evaluate(2), evaluate(3), evaluate(2)
    assert torch.equal(torch.get_rng_state(), state)
    assert first == again
    assert first["D"] != other["D"]
    draws = torch.randn(5, 6, K, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        terms = made.terms(made(data.x, draws), data.x, data.y)
    for name, value in zip("RDC", terms, strict=True):
        assert first[name] == pytest.approx(value.mean().item(), rel=1e-5)  # float32
    # training draws from the global stream: no two steps see the same noise
    assert made.training_step(data, 2).item() != made.training_step(data, 2).item()


def test_training_means_are_logged_and_start_afresh_each_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = partial(torch.optim.SGD, lr=0.0)  # θ stays, so that epochs are alike
    made, data = model(optimizer=frozen), batch()
    fixed_noise(made, 6, monkeypatch)
    with torch.no_grad():
        expected = made.training_step(data, 0).item()
    made.train_metrics.reset()
    runner = trainer(tmp_path, max_epochs=2)
    runner.fit(made, loader(data))
    logged = runner.callback_metrics
    assert logged["train/J"].item() == pytest.approx(expected, rel=1e-5)
    assert set(logged) == {"train/R", "train/D", "train/C", "train/J"}
    # a metric that is not reset would remember the old λ
    made.lam.fill_(0.0)
    made.gam.fill_(0.0)
    runner = trainer(tmp_path)
    runner.fit(made, loader(data))
    logged = runner.callback_metrics
    assert logged["train/J"].item() == pytest.approx(logged["train/R"].item(), rel=1e-6)


@pytest.mark.parametrize("classifier", [None, GaussianClassifier(K, CLASSES)])
def test_models_without_a_classifier_of_classes_log_no_accuracy(
    tmp_path: Path, classifier: Classifier | None
) -> None:
    made = model(classifier=classifier, gam=0.0)
    (logged,) = trainer(tmp_path).validate(made, loader(batch()), verbose=False)
    assert set(logged) == {"val/R", "val/D", "val/C", "val/J"}
    assert (logged["val/C"] == 0) == (classifier is None)


def test_a_validation_loss_that_is_not_finite_is_not_hidden(tmp_path: Path) -> None:
    data = batch()
    data.x[0, 0, 0, 0] = math.nan
    (logged,) = trainer(tmp_path).validate(model(), loader(data), verbose=False)
    for name in "RDCJ":  # one image went through all networks
        assert math.isnan(logged[f"val/{name}"])


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_scheduler_counts_what_it_is_told(tmp_path: Path, interval: Any) -> None:
    halving = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    sgd = partial(torch.optim.SGD, lr=0.08)
    made = model(optimizer=sgd, scheduler=halving, scheduler_interval=interval)
    runner = trainer(tmp_path, max_epochs=2)
    runner.fit(made, loader(batch(), batch(), batch()))
    (optimizer,) = runner.optimizers
    times = {"epoch": 2, "step": 6}[interval]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.08 * 0.5**times)


class Rates(pl.Callback):
    """The learning rate of each batch."""

    def __init__(self) -> None:
        """None yet."""
        self.seen: list[float] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize("together", [1, 2])
def test_a_macro_step_has_as_many_steps_as_its_epoch(tmp_path: Path, together: int) -> None:
    def fitted(**arguments: Any) -> list[float]:
        made = model(optimizer=partial(torch.optim.SGD, lr=0.08), **arguments)
        watch = Rates()
        runner = trainer(tmp_path, watch, max_epochs=3, accumulate_grad_batches=together)
        runner.fit(made, loader(*[batch()] * 4))
        return watch.seen

    torchs = partial(torch.optim.lr_scheduler.CosineAnnealingWarmRestarts, T_0=4 // together)
    expected = fitted(scheduler=torchs, scheduler_interval="step")
    assert fitted(scheduler=MacroStepCosine) == expected
    assert len(set(expected)) == 4 // together


def test_a_macro_step_is_not_counted_in_epochs(tmp_path: Path) -> None:
    made = model(scheduler=MacroStepCosine, scheduler_interval="epoch")
    with pytest.raises(ConfigError, match="scheduler_interval: got 'epoch'"):
        trainer(tmp_path, max_epochs=1).fit(made, loader(batch()))
