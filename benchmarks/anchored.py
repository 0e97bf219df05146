"""Fine-tuning that is held back: L2-SP and elastic weight consolidation, as a callback.

    trainer:
      callbacks+:
        - {class_path: anchored.Anchored, init_args: {strength: 0.1, fisher: true}}

Sources: Li, Grandvalet & Davoine, "Explicit Inductive Bias for Transfer Learning with Convolutional
Networks", ICML 2018; Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks",
PNAS 2017.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from thermo_pl.callbacks.attached import data_of, model_of
from thermo_pl.networks.training import training_loss
from thermo_pl.particles import interpolate

EXAMPLES = 500
"""Examples of the first domain that the Fisher information is taken on, one by one."""


class Anchored(pl.Callback):
    """Pulls θ back to where it stood when the data left the first domain.

    ½ strength Σ F_i (θ_i - θ⁰_i)² is added to J; F is 1 (L2-SP), or the diagonal of the empirical
    Fisher information of J on the first domain, in the mean 1 (EWC).
    """

    def __init__(self, strength: float, fisher: bool = False) -> None:
        """Keep the strength of the spring, and whether it is a different one for each parameter."""
        self.strength, self.fisher = strength, fisher
        self._anchor: list[tuple[Tensor, Tensor]] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note θ and F before the first batch of another domain."""
        if self._anchor or data_of(trainer).t == 0:
            return
        here = [p.detach().clone() for p in pl_module.parameters()]
        stiff = self._fisher(trainer, pl_module) if self.fisher else map(torch.ones_like, here)
        self._anchor = list(zip(here, stiff, strict=True))

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        """Add the pull to the gradient."""
        for p, (anchor, stiff) in zip(pl_module.parameters(), self._anchor, strict=False):
            if p.grad is not None:
                p.grad += self.strength * stiff * (p.detach() - anchor)

    def _fisher(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> list[Tensor]:
        model = model_of(pl_module)
        drawn = data_of(trainer).coupling("train", 0).start().draw(EXAMPLES)
        parameters, total = list(model.parameters()), None
        for k in range(EXAMPLES):
            one = interpolate(type(drawn)(*(part[k : k + 1] for part in drawn)), 0.0)
            found = torch.autograd.grad(training_loss(model, one)[0], parameters)
            squares = [g**2 for g in found]
            total = (
                squares if total is None else [a + b for a, b in zip(total, squares, strict=True)]
            )
        mean = sum(float(f.sum()) for f in total) / sum(f.numel() for f in total)
        return [f / mean for f in total]
