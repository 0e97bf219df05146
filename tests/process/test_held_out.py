"""C held on particles that θ is not trained on, against roots in γ of its closed form."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize_scalar

from support.exact_process import GAM, LAM, K, Process, make_process
from support.exact_runs import LABELS, MOVING, make_system
from support.numbers import randn
from thermo_pl.datamodules.coupled import CoupledImages
from thermo_pl.errors import ConfigError, ConstraintLost, InfeasibleTarget
from thermo_pl.process import Continuation, IsoClassificationRule, Result, Settings
from thermo_pl.transport.couplings import identity_coupling

EXACT = make_system(MOVING)
N = 16


def held_out(spread: float) -> CoupledImages:
    """A finite sample: rows of other second moments, and labels with noise of their own."""
    ends, labels = [], []
    for end, covariance in enumerate((EXACT.start, EXACT.end)):
        assert covariance is not None
        x = randn(N, 3, seed=1) @ torch.linalg.cholesky(covariance).T
        ends.append(x.reshape(N, 1, 1, 3))
        labels.append(x @ torch.tensor(LABELS).double().T + spread * randn(N, 2, seed=2 + end))
    return CoupledImages(*ends, *labels, identity_coupling(N))


def loss(particles: CoupledImages, lam: float, gam: float, t: float) -> float:
    """C of the model that is optimal in training, in closed form: a mean of squares."""
    weights, pairs = EXACT.optimum(lam, gam, t), particles.all()
    x = ((1 - t) * pairs.source + t * pairs.target).reshape(N, 3).numpy()
    y = ((1 - t) * pairs.source_label + t * pairs.target_label).numpy()
    readout, variance = weights.classifier.numpy(), EXACT.label_variance
    miss = y - x @ weights.encoder.numpy().T @ readout.T
    spread = (readout**2 @ weights.encoder_log_var.exp().numpy()).sum()
    square = (miss**2).sum(1).mean() + spread + EXACT.label_noise.trace().item()
    return float(square / (2 * variance) + readout.shape[0] / 2 * math.log(2 * math.pi * variance))


def excess(particles: CoupledImages, target: float, lam: float, t: float, gam: float) -> float:
    return loss(particles, lam, gam, t) - target


def held(
    monkeypatch: pytest.MonkeyPatch, spread: float, **rule: Any
) -> tuple[Process, Any, CoupledImages]:
    process, relax = make_process(**rule)
    data, sample = process.system.data, held_out(spread)
    train = data.coupling("train")
    monkeypatch.setattr(data, "coupling", lambda split: {"train": train, "val": sample}[split])
    # small corrections: each moves θ along the response without relaxing it again
    settings = replace(process.settings, hold="validation", newton=True, parts=3)
    return Continuation(process.system, process.rule, settings, 0), relax, sample


def test_c_of_a_held_out_sample_is_held_along_the_exact_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process, relax, sample = held(monkeypatch, spread=0.2)
    results: list[Result[Any]] = list(process.run(process.start(), relax))
    rows = [result.row for result in results if result.row is not None]
    target = loss(sample, LAM, GAM, 0.0)
    for row in rows:
        at = LAM + K * row["t"], row["t"]
        assert row["C_held"] == pytest.approx(loss(sample, at[0], row["gamma"], at[1]), rel=1e-4)
        assert row["C_held"] == pytest.approx(target, rel=1e-3)  # where nothing is corrected
        root = brentq(partial(excess, sample, target, *at), 0.5, 9.0)
        assert row["gamma"] == pytest.approx(root, rel=0.01)
    assert rows[-1]["t"] == 1
    # C of training is another one, and moves
    train = [float(EXACT.state(row["lambda"], row["gamma"], row["t"]).C) for row in rows]
    assert [row["C"] for row in rows] == pytest.approx(train, rel=1e-4)
    assert max(train) / min(train) > 1.05


def test_a_c_that_no_gamma_reaches_is_told_with_what_gamma_reaches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # noise in the held-out labels: from some γ on C of the sample rises again
    sample = held_out(0.2)
    found = minimize_scalar(
        lambda g: loss(sample, LAM, g, 0.0), bounds=(0.1, 500), method="bounded"
    )
    process, relax, _ = held(monkeypatch, spread=0.2, c_target=0.9 * found.fun)
    with pytest.raises((ConstraintLost, InfeasibleTarget)) as caught:
        list(process.run(process.start(), relax))
    assert "gamma" in str(caught.value)


def test_what_is_held_is_training_or_validation() -> None:
    with pytest.raises(ConfigError, match=r"hold: got 'test'; allowed: train or validation"):
        Settings(hold="test")  # type: ignore[arg-type]


def test_a_rule_is_told_the_slopes_of_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    process, relax, sample = held(monkeypatch, spread=0.2)
    state = next(process.run(process.start(), relax)).state
    slopes = process.here(state).point.known.C
    h = 1e-5
    by_gam = (loss(sample, LAM, GAM + h, 0) - loss(sample, LAM, GAM - h, 0)) / (2 * h)
    by_lam = (loss(sample, LAM + h, GAM, 0) - loss(sample, LAM - h, GAM, 0)) / (2 * h)
    ahead = [loss(sample, LAM, GAM, i * h) for i in range(3)]
    by_t = float(np.dot([-1.5, 2, -0.5], ahead)) / h
    assert slopes == pytest.approx((by_lam, by_gam, by_t), rel=1e-4)
    assert isinstance(process.rule, IsoClassificationRule)
