"""The files of ``predict`` are what the model says of the predict loader's images, in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.process_runs import make_model
from support.trainers import trainer
from thermo_pl.callbacks import PredictionWriter
from thermo_pl.files import read_csv
from thermo_pl.particles import interpolate

Data = Callable[..., Any]


def predicted(tmp_path: Path, model: Any, data: Any) -> dict[str, np.ndarray]:
    writer = trainer(tmp_path, PredictionWriter())
    writer.predict(model, datamodule=data, return_predictions=False)
    with np.load(tmp_path / "predictions.npz") as arrays:
        return dict(arrays)


def test_arrays(tmp_path: Path, data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    model, source = make_model(), data(eval_batch_size=20)
    source.move_to(0, 0.25)
    arrays = predicted(tmp_path, model, source)
    particles = source.coupling("test").all()
    n = len(particles.weight)
    assert n > 3 * 20  # several batches
    assert arrays.pop("classes").tolist() == source.class_names
    assert {name: array.shape for name, array in arrays.items()} == {
        "z": (n, 3),
        "probabilities": (n, 2),
        "reconstruction": (n, 1, 8, 8),
    }
    with torch.no_grad():
        expected = model.predict(interpolate(particles, 0.25).x)
    for name, array in arrays.items():
        np.testing.assert_allclose(array, getattr(expected, name).numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(arrays["probabilities"].sum(1), 1, rtol=1e-5)
    # the images differ, so another order would be seen
    assert len(np.unique(arrays["z"], axis=0)) > 0.9 * n
    files = [tmp_path / f"predictions.{ending}" for ending in ("npz", "csv")]
    assert capsys.readouterr().out == "".join(f"predictions  {file}\n" for file in files)


def test_the_table_has_the_same_numbers_and_names(tmp_path: Path, data: Data) -> None:
    source = data()
    arrays, names = predicted(tmp_path, make_model(), source), source.class_names
    assert "→" in names[0]
    rows = read_csv(tmp_path / "predictions.csv")
    head = ["example", "predicted", *(f"probability {name}" for name in names), "z 0", "z 1", "z 2"]
    assert list(rows[0]) == head
    assert [row["example"] for row in rows] == list(range(len(arrays["z"])))
    numbers = np.array([[row[name] for name in head[2:]] for row in rows], dtype=np.float32)
    assert np.array_equal(numbers, np.hstack([arrays["probabilities"], arrays["z"]]))
    likely = arrays["probabilities"][:, 0] > arrays["probabilities"][:, 1]
    assert [row["predicted"] == names[0] for row in rows] == likely.tolist()
    assert likely.any()


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"decoder": None, "lam": 0.0}, {"z", "probabilities", "classes"}),
        ({"classifier": None, "gam": 0.0}, {"z", "reconstruction"}),
    ],
    ids=["no decoder", "no classifier"],
)
def test_missing_parts_are_left_out(
    tmp_path: Path, data: Data, arguments: dict[str, Any], names: set[str]
) -> None:
    assert set(predicted(tmp_path, make_model(**arguments), data())) == names


def test_a_limited_prediction(tmp_path: Path, data: Data) -> None:
    writer = trainer(tmp_path, PredictionWriter(), limit_predict_batches=1)
    writer.predict(make_model(), datamodule=data(eval_batch_size=20))
    with np.load(tmp_path / "predictions.npz") as arrays:
        assert len(arrays["z"]) <= 20
