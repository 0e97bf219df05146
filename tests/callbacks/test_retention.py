"""What is kept of the first domain: against the model asked by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import one_hot

from support.process_runs import fit, make_model
from thermo_pl.callbacks import DomainSteps, Probes, Retention
from thermo_pl.errors import ConfigError
from thermo_pl.networks.linear_gaussian import GaussianClassifier


def steps() -> Any:
    probes = Probes(measuring_particles=64, measuring_samples=4)
    return DomainSteps(steps=1, source_epochs=3, epochs=3, probes=probes)


def test_rows_have_what_is_left_of_the_first_domain(
    tmp_path: Path, data: Callable[..., Any]
) -> None:
    model = make_model(eval_samples=64)
    run = fit(tmp_path, data(), Retention(), process=steps(), model=model)
    first, last = run.rows
    assert first["kept_accuracy"] == pytest.approx(first["val_accuracy"], rel=1e-6)
    assert last["val_accuracy"] != last["kept_accuracy"]
    # the images as they are, both classes alike
    images, labels = data()._loaded()[0].splits["val"]
    guess = run.model.predict(images).probabilities.argmax(-1)
    right = [(guess[labels == label] == label).double().mean() for label in (0, 1)]
    assert last["kept_accuracy"] == pytest.approx(float(sum(right)) / 2, rel=1e-5)
    weight = 0.5 / torch.bincount(labels)[labels]
    with torch.no_grad():
        y, generator = one_hot(labels, 2).float(), torch.Generator().manual_seed(5)
        noises = [run.model.noise(1, len(images), generator) for _ in range(500)]
        terms = [run.model.terms(run.model(images, noise), images, y) for noise in noises]
        draws = torch.stack([term.classification @ weight for term in terms])
    error = float(draws.std()) * (1 / 64 + 1 / 500) ** 0.5
    assert abs(last["kept_C"] - float(draws.mean())) < 4 * error


def test_a_model_without_classes_has_none_to_keep(tmp_path: Path, data: Callable[..., Any]) -> None:
    model = make_model(classifier=GaussianClassifier(3, 2))
    with pytest.raises(ConfigError, match="Retention: got 'a model without classes'; allowed"):
        fit(tmp_path, data(), Retention(), process=steps(), model=model)
