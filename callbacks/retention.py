"""What a model keeps of the first domain while the data move on."""

from __future__ import annotations

import pytorch_lightning as pl
import torch

from thermo_pl.callbacks.attached import data_of, model_of
from thermo_pl.errors import require
from thermo_pl.particles import interpolate, weighted_mean

AT_ONCE = 1024
"""Examples that are evaluated at a time."""


class Retention(pl.Callback):
    """Measures C and accuracy on validation examples of the first domain after each validation.

    They are logged as ``kept/C`` and ``kept/accuracy``, and a process writes them into the columns
    ``kept_C`` and ``kept_accuracy`` of path.csv. Nothing steers by them.

    Example:
        >>> from thermo_pl.callbacks import DomainSteps, Retention
        >>> callbacks = [Retention(), DomainSteps(steps=4, source_epochs=8, epochs=2)]
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse a model that names no classes.

        Raises:
            ConfigError: if it does not.
        """
        allowed = "a model with a classifier of classes"
        require(model_of(pl_module).classifies, "Retention", "a model without classes", allowed)

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluate the model where the path began."""
        model, first = model_of(pl_module), data_of(trainer).coupling("val", leg=0).start()
        losses, correct = [], []
        batch = interpolate(first.all(), 0.0)
        parts = (torch.split(part.to(model.device, model.dtype), AT_ONCE) for part in batch)
        for number, (x, y, _) in enumerate(zip(*parts, strict=True)):
            # the same noise at each evaluation, as in validation
            noise = model.noise(model.eval_samples, len(x), torch.Generator().manual_seed(number))
            losses.append(model.terms(model(x, noise), x, y).classification)
            correct.append(model.predict(x).probabilities.argmax(-1) == y.argmax(-1))
        weight = batch.weight.to(model.device, model.dtype)
        loss, kept = torch.cat(losses), torch.cat(correct).to(weight)
        found = {
            "kept/C": weighted_mean(loss, weight),
            "kept/accuracy": weighted_mean(kept, weight),
        }
        pl_module.log_dict(found)
