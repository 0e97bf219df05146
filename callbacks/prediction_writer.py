"""Writes what ``predict`` says to predictions.npz in the run directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BasePredictionWriter

from thermo_pl.networks import Prediction


class PredictionWriter(BasePredictionWriter):
    """Collects the batches of ``predict`` into one file.

    The file has the arrays ``z``, ``probabilities`` and ``reconstruction``, in the order of the
    predict loader; a part the model does not have is left out.
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
        """Write the file and say where it is."""
        whole = Prediction(*(torch.cat(parts) for parts in zip(*predictions, strict=True)))
        path = Path(trainer.default_root_dir) / "predictions.npz"
        present: dict[str, Any] = {
            name: part.numpy(force=True) for name, part in whole._asdict().items() if part.numel()
        }
        np.savez(path, **present)
        print(f"predictions  {path}", flush=True)
