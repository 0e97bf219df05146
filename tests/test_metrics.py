"""Calibration error under weights, against torchmetrics and a direct count."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics.classification import MulticlassCalibrationError

from thermo_pl.metrics import Calibration


def data(n: int, seed: int, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Probabilities and labels, better than chance."""
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(n, classes, generator=generator)
    return scores.softmax(-1), torch.multinomial(scores.softmax(-1), 1, generator=generator)[:, 0]


def calibration(p: Tensor, label: Tensor, weight: Tensor | None = None) -> float:
    """The metric of one batch, weights all one unless given."""
    metric = Calibration()
    weight = torch.ones(len(p)) if weight is None else weight
    metric.update(p, one_hot(label, p.shape[1]).float(), weight)
    return metric.compute().item()


def reference(p: Tensor, label: Tensor) -> float:
    """What torchmetrics says, without weights."""
    return MulticlassCalibrationError(p.shape[1], n_bins=15, norm="l1")(p, label).item()


def with_confidence(confidence: list[float]) -> Tensor:
    """Three-class predictions of class 0 with the given confidence ≥ ½."""
    top = torch.tensor(confidence, dtype=torch.float32)
    return torch.stack([top, (1 - top) / 2, (1 - top) / 2], -1)


def test_by_hand() -> None:
    # one bin: mean confidence 0.95 of weights (3, 1) at 0.94 and 0.98, accuracy ¾
    p = with_confidence([0.94, 0.98])
    value = calibration(p, torch.tensor([0, 1]), torch.tensor([3.0, 1.0]))
    assert value == pytest.approx(0.95 - 0.75, abs=1e-6)  # float32 confidences


@settings(max_examples=25, deadline=None)  # torchmetrics takes milliseconds a call
@given(st.integers(0, 10_000))
def test_equal_weights_give_the_value_of_torchmetrics(seed: int) -> None:
    p, label = data(200, seed)
    # torchmetrics adds up in float32
    assert calibration(p, label) == pytest.approx(reference(p, label), abs=1e-5)
    assert calibration(p, label, torch.full((200,), 0.01)) == pytest.approx(
        calibration(p, label), abs=1e-9
    )


def test_edges_belong_to_the_bin_below() -> None:
    # Guo et al. 2017: bin m is ((m-1)/M, m/M]; so 1 lies with 0.95, and ⅔ with 0.65, not with 0.68
    right_then_wrong = torch.tensor([0, 1])
    together = calibration(with_confidence([1.0, 0.95]), right_then_wrong)
    assert together == pytest.approx(abs(1 - 1.95) / 2, abs=1e-6)
    together = calibration(with_confidence([2 / 3, 0.65]), right_then_wrong)
    assert together == pytest.approx(abs(1 - 2 / 3 - 0.65) / 2, abs=1e-6)
    apart = calibration(with_confidence([2 / 3, 0.68]), right_then_wrong)
    assert apart == pytest.approx((1 / 3 + 0.68) / 2, abs=1e-6)


@settings(max_examples=25, deadline=None)  # torchmetrics takes milliseconds a call
@given(st.integers(0, 10_000))
def test_whole_weights_are_repetitions(seed: int) -> None:
    p, label = data(50, seed)
    weight = torch.randint(0, 5, (50,), generator=torch.Generator().manual_seed(seed))
    weight[0] = 1  # not all zero
    repeated = p.repeat_interleave(weight, 0), label.repeat_interleave(weight)
    # the sums are in float64; only their order differs
    assert calibration(p, label, weight.float()) == pytest.approx(calibration(*repeated), abs=1e-12)
    assert calibration(*repeated) == pytest.approx(reference(*repeated), abs=1e-5)


def test_batches_add_up_and_reset_forgets() -> None:
    p, label = data(60, 3)
    weight = torch.rand(60, generator=torch.Generator().manual_seed(0))
    y = one_hot(label, 4).float()
    metric = Calibration()
    for part in (slice(0, 7), slice(7, 8), slice(8, 60)):
        metric.update(p[part], y[part], weight[part])
    whole = calibration(p, label, weight)
    assert metric.compute().item() == pytest.approx(whole, abs=1e-12)
    # averaging the batches instead would give something else
    parts = [calibration(p[:7], label[:7], weight[:7]), calibration(p[8:], label[8:], weight[8:])]
    assert abs(sum(parts) / 2 - whole) > 1e-3
    metric.reset()
    metric.update(p[:7], y[:7], weight[:7])
    assert metric.compute().item() == pytest.approx(parts[0], abs=1e-12)


def test_soft_labels_count_their_likeliest_class() -> None:
    p = with_confidence([0.9])
    metric = Calibration()
    metric.update(p, torch.tensor([[0.2, 0.5, 0.3]]), torch.ones(1))
    assert metric.compute().item() == pytest.approx(0.9, abs=1e-6)
