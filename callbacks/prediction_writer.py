"""Writes what ``predict`` says to predictions.npz and predictions.csv in the run directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import BasePredictionWriter

from thermo_pl.callbacks.attached import model_of
from thermo_pl.files import write_csv
from thermo_pl.networks import Prediction


class PredictionWriter(BasePredictionWriter):
    """Collects the batches of ``predict`` into two files, in the order of the predict loader.

    predictions.npz has the arrays ``z``, ``probabilities`` and ``reconstruction``, and ``classes``,
    the names of the columns of ``probabilities``. A part the model does not have is left out.
    predictions.csv is for a spreadsheet: the number of the example, the name of its most probable
    class, the probability of each class by its name, and z. It has no reconstructions.
    """

    def __init__(self) -> None:
        """Write at the end of the epoch."""
        super().__init__("epoch")

    def write_on_epoch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        predictions: Sequence[Prediction],
        batch_indices: Sequence[Any],
    ) -> None:
        """Write the files and say where they are."""
        whole = Prediction(*(torch.cat(parts) for parts in zip(*predictions, strict=True)))
        present: dict[str, NDArray[Any]] = {
            name: part.numpy(force=True) for name, part in whole._asdict().items() if part.numel()
        }
        if model_of(pl_module).classifies:
            present["classes"] = _names(trainer, present["probabilities"].shape[1])
        place = Path(trainer.default_root_dir) / "predictions"
        np.savez(place.with_suffix(".npz"), **cast(dict[str, Any], present))
        columns = _columns(present)
        rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        write_csv(place.with_suffix(".csv"), rows, list(columns))
        for ending in (".npz", ".csv"):
            print(f"predictions  {place.with_suffix(ending)}", flush=True)


def _names(trainer: pl.Trainer, count: int) -> NDArray[Any]:
    # as the data call their classes; else their numbers
    data = getattr(trainer, "datamodule", None)
    names = getattr(data, "class_names", None) or [str(index) for index in range(count)]
    return np.array(names)


def _columns(present: dict[str, NDArray[Any]]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {"example": list(range(len(present["z"])))}
    said = present.get("probabilities")
    if said is not None and "classes" in present:
        columns["predicted"] = present["classes"][said.argmax(1)].tolist()
    if said is not None:  # without classes the label is a vector, of which this is the mean
        names = present.get("classes", np.arange(said.shape[1]))
        kind = "probability" if "classes" in present else "label"
        columns |= {f"{kind} {name}": said[:, i].tolist() for i, name in enumerate(names)}
    return columns | {f"z {i}": axis.tolist() for i, axis in enumerate(present["z"].T)}
