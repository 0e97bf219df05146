"""What a process of its own, one rank of several, can import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn.utils import parameters_to_vector


class Witness(pl.Callback):
    """Writes θ of each rank at the end, or fails on one of them."""

    def __init__(self, folder: str, fails: str = "", rank: int = 1) -> None:
        """Keep where to write, and where to fail."""
        self.folder, self.fails, self.rank = Path(folder), fails, rank

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        mine = trainer.global_rank == self.rank and trainer.current_epoch == 2
        if not mine or batch_idx != 3:
            return
        if self.fails == "batch":
            raise ValueError("this rank fails")
        if self.fails in {"theta", "nan"}:
            with torch.no_grad():
                wrong = 1e-6 if self.fails == "theta" else torch.nan
                next(pl_module.parameters()).view(-1)[0] += wrong

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.fails == "end" and trainer.global_rank == self.rank:
            raise ValueError("this rank fails")
        theta = parameters_to_vector(pl_module.parameters()).detach()
        torch.save(theta, self.folder / f"theta_{trainer.global_rank}.pt")
