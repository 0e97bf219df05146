"""The LightningModule that owns the objective J(θ, λ, γ) = R + λD + γC."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import MPSAccelerator
from pytorch_lightning.callbacks import LearningRateFinder
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, distributed
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MeanMetric, Metric, MetricCollection

from thermo_pl.checkpoint_files import keep_whole
from thermo_pl.checkpoints import (
    check_resumed,
    check_same_networks,
    load_weights,
    optimizer_settings,
)
from thermo_pl.errors import ConfigError, NonFinite, require
from thermo_pl.metrics import Calibration
from thermo_pl.networks import (
    Classifier,
    Decoder,
    Encoder,
    Marginal,
    Networks,
    Prediction,
    Terms,
)
from thermo_pl.networks.checks import check_values
from thermo_pl.networks.training import training_loss
from thermo_pl.optim import MacroStepCosine
from thermo_pl.particles import ALONE, AllReduce, Batch, Reduction


# Lightning's dtype has a setter, which does no more than refuse
class FreeEnergyModel(Networks, pl.LightningModule):  # type: ignore[misc]
    """The networks, trained by Lightning: steps, metrics, optimiser and checkpoints.

    What the networks compute is in :class:`~thermo_pl.networks.Networks`. A checkpoint of a run
    never overrules the λ and γ that a config starts at.

    Attributes:
        eval_samples: noise draws per image on validation and test images.
        optimizer: builds the optimiser from the parameters.
        scheduler: builds the learning-rate scheduler from the optimiser, or None.
        scheduler_interval: what the scheduler counts.

    Example:
        >>> import torch
        >>> import thermo_pl as tp
        >>> model = tp.FreeEnergyModel(
        ...     tp.MLPEncoder([1, 8, 8], latent_dim=3),
        ...     tp.LinearClassifier(3, classes=10),
        ...     tp.MLPDecoder([1, 8, 8], 3),
        ...     tp.StandardNormal(3),
        ...     lam=1.0,
        ...     gam=5.0,
        ... )
        >>> model.predict(torch.rand(2, 1, 8, 8)).probabilities.shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        encoder: Encoder,
        classifier: Classifier | None = None,
        decoder: Decoder | None = None,
        marginal: Marginal | None = None,
        lam: float = 1.0,
        gam: float = 1.0,
        samples: int = 1,
        eval_samples: int = 8,
        cubature_seed: int | None = None,
        turning: bool = False,
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["epoch", "step"] | None = None,
        initial_weights: str | Path | None = None,
    ) -> None:
        """Put the parts together; more of each is in :class:`~thermo_pl.networks.Networks`.

        Args:
            encoder: e(z|x).
            classifier: c(y|z); without one γ must be 0.
            decoder: d(x|z); without one λ must be 0.
            marginal: q(z); left out with a deterministic encoder, which has no rate.
            lam: λ at the start.
            gam: γ at the start.
            samples: noise draws per image. D and C are taken on them, and so is R where it has no
                closed form.
            eval_samples: the same on validation and test images. These draws are the same in each
                evaluation (common random numbers).
            cubature_seed: train on the fixed points of a cubature in place of fresh draws. The seed
                turns it at random, and ``samples`` counts rotations. The batches must be all
                particles (``batch_size: null``).
            turning: let the axes of z turn against those of the networks. The models are the same,
                but equilibria at which latents turn into each other are found far sooner.
            optimizer: builds the optimiser from the parameters.
            scheduler: builds the learning-rate scheduler from the optimiser.
            scheduler_interval: what the scheduler counts; if not given, steps for a
                :class:`~thermo_pl.optim.MacroStepCosine` and epochs for any other.
            initial_weights: checkpoint to start θ from; its λ, γ and optimiser are not used.
        """
        super().__init__(
            encoder, classifier, decoder, marginal, lam, gam, samples, cubature_seed, turning
        )
        require(eval_samples > 0, "eval_samples", eval_samples, "a whole number > 0")
        self.eval_samples = eval_samples
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.takes_back: Callable[[NonFinite], None] | None = None  # set by a process, in a fit
        self._relaxes_by: dict[str, str] = {}  # settings of the optimiser and its scheduler
        self._relaxed_by: dict[str, str] = {}  # those of the checkpoint
        self.train_metrics = _metrics("train/", predictions=False)
        self.val_metrics = _metrics("val/", predictions=self.classifies)
        self.test_metrics = _metrics("test/", predictions=self.classifies)
        if initial_weights is not None:
            kept = {"lam": self.lam, "gam": self.gam}
            path, allowed = Path(initial_weights), "the same networks"
            load_weights(self, path, "initial_weights", allowed, instead=kept)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """J of a batch, and nothing else.

        Returns:
            J in nats.

        Raises:
            NonFinite: if J is not finite, and no process takes that on.
        """
        try:
            loss, terms = training_loss(self, batch, self.shared)
        except NonFinite as fault:
            if self.takes_back is None:
                raise
            self.takes_back(fault)  # its epoch only has to come to an end
            return torch.stack([0 * p.sum() for p in self.parameters() if p.requires_grad]).sum()
        self._update(self.train_metrics, terms, batch)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the means of the epoch."""
        self._log_and_reset(self.train_metrics)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """R, D, C, J, accuracy and calibration error on held-out samples."""
        self._evaluate(self.val_metrics, batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the means of the epoch."""
        self._log_and_reset(self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """The same on test samples."""
        self._evaluate(self.test_metrics, batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the means of the epoch."""
        self._log_and_reset(self.test_metrics)

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        """Representations, class probabilities and reconstructions.

        Returns:
            The prediction for each image.
        """
        return self.predict(batch.x)

    def configure_optimizers(self) -> Any:
        """Build the optimiser and the scheduler of the config.

        Returns:
            What Lightning expects.

        Raises:
            ConfigError: if a checkpoint is about to give them other settings.
        """
        optimizer = self.optimizer(self.parameters())
        scheduler = None if self.scheduler is None else self.scheduler(optimizer)
        self._relaxes_by = optimizer_settings(optimizer, scheduler)
        if self._relaxed_by:
            check_resumed(self._relaxes_by, self._relaxed_by)
        if scheduler is None:
            return optimizer
        counted = "step" if isinstance(scheduler, MacroStepCosine) else "epoch"
        if isinstance(scheduler, MacroStepCosine):
            got, allowed = self.scheduler_interval, "step or null, with a MacroStepCosine"
            require(got != "epoch", "scheduler_interval", got, allowed)
        settings = {"scheduler": scheduler, "interval": self.scheduler_interval or counted}
        if isinstance(scheduler, ReduceLROnPlateau):
            watched = getattr(scheduler, "monitor", None)
            allowed = "pytorch_lightning.cli.ReduceLROnPlateau with monitor: val/J, what it watches"
            require(watched is not None, "model.scheduler", "torch's ReduceLROnPlateau", allowed)
            settings["monitor"] = watched
        return {"optimizer": optimizer, "lr_scheduler": settings}

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        """Go on with the schedule.

        Raises:
            ConfigError: if it has come to its end, as a OneCycleLR does.
        """
        try:
            super().lr_scheduler_step(scheduler, metric)
        except ValueError as error:
            raise ConfigError(
                f"model.scheduler: got a {type(scheduler).__name__} at its end ({error}); allowed: "
                "one that lasts as long as the run, such as MacroStepCosine"
            ) from error

    def on_train_start(self) -> None:
        """Tell a scheduler that follows the macro-steps how many optimiser steps they have."""
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, MacroStepCosine):
            batches, together = (
                self.trainer.num_training_batches,
                self.trainer.accumulate_grad_batches,
            )
            scheduler.begin(math.ceil(batches / together))

    def setup(self, stage: str) -> None:
        """Check that the data fit the networks; an encoder that whitens learns their moments."""
        keep_whole(self.trainer)
        apple = isinstance(getattr(self.trainer, "accelerator", None), MPSAccelerator)
        allowed = (
            "cpu or gpu: λ, γ and sums over particles are float64, which Apple's GPUs have not"
        )
        require(not apple, "trainer.accelerator", "mps", allowed)
        for callback in getattr(self.trainer, "callbacks", []):
            searches, name = isinstance(callback, LearningRateFinder), type(callback).__name__
            allowed = "none: it looks for model.lr, and the learning rate is model.optimizer.lr"
            require(not searches, "trainer.callbacks", name, allowed)
        data = getattr(self.trainer, "datamodule", None)
        shape = getattr(data, "image_shape", None)
        if shape is not None:
            allowed = f"{list(shape)}, the shape of an example"
            image_shape = self.encoder.image_shape
            require(image_shape == tuple(shape), "encoder.image_shape", list(image_shape), allowed)
        values = getattr(data, "value_range", None)
        if values is not None:
            check_values(self.decoder, *values)
        classes = getattr(data, "n_classes", None)
        if classes is not None and self.classifier is not None:
            allowed = "two or more, or a model without a classifier (classifier: null, gam: 0)"
            require(classes > 1, "classes of the data", classes, allowed)
            got = self.classifier.classes
            require(got == classes, "classifier.classes", got, f"{classes}, as the data have")
        size = getattr(data, "batch_size", None)
        if size is not None and self.cubature_seed is not None:
            allowed = "null: with a cubature, points belong to particles, and all are in each batch"
            require(False, "batch_size", size, allowed)
        whitening = self.encoder.whitening
        if stage == "fit" and whitening is not None and not whitening.learned:
            allowed = "data on a path of domains, whose moments are known"
            require(hasattr(data, "image_moments"), "encoder.whiten", True, allowed)
            whitening.learn(*cast(Any, data).image_moments())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write down where λ and γ started, and the settings of the optimiser."""
        checkpoint["thermo_start"] = dict(self.start)
        checkpoint["thermo_optimizer"] = self._relaxes_by

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint that would silently overrule the config.

        Raises:
            ConfigError: if the run of the checkpoint started at another λ or γ, or is not one of
                this model.
        """
        saved = checkpoint.get("thermo_start")
        if saved is None:
            raise ConfigError(
                "ckpt_path: got a checkpoint that does not say where its run started; allowed: "
                "one of a FreeEnergyModel"
            )
        if self.strict_loading:
            check_same_networks(self, checkpoint["state_dict"])
        # Lightning casts the networks to the trainer's precision only after it has loaded the
        # weights: those of a float64 run would be rounded on their way.
        self.take_precision(checkpoint["state_dict"])
        self._relaxed_by = checkpoint.get("thermo_optimizer", {})
        check_resumed(
            *({name: str(value) for name, value in start.items()} for start in (self.start, saved))
        )

    @property
    def shared(self) -> Reduction:
        """Adds up over the ranks, of which each has some of the examples."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return ALONE
        return AllReduce(distributed.get_rank(), distributed.get_world_size(), self.device)

    def take_precision(self, state: Mapping[str, Tensor]) -> None:
        """Cast the networks to the precision of weights that are about to be loaded.

        Args:
            state: the weights by their names.
        """
        # As Lightning does, by double() and not by to(float64), which would cast the metrics of
        # validation, too.
        dtypes = {t.dtype for t in state.values() if t.is_floating_point()}
        weights = dtypes - {self.lam.dtype} or dtypes
        if len(weights) == 1:
            casts = {
                torch.float64: self.double,
                torch.float32: self.float,
                torch.bfloat16: self.bfloat16,
                torch.float16: self.half,
            }
            casts[weights.pop()]()

    def _update(self, metrics: MetricCollection, terms: Terms, batch: Batch) -> None:
        values = [*terms, self.objective(terms)]
        for name, value in zip("RDCJ", values, strict=True):
            metrics[name].update(value.detach(), batch.weight)

    def _evaluate(self, metrics: MetricCollection, batch: Batch, batch_idx: int) -> None:
        generator = torch.Generator().manual_seed(batch_idx)  # the same noise at each evaluation
        shared = self.shared
        noise = self.noise(self.eval_samples, shared.count(len(batch.x)), generator)
        noise = noise[:, shared.share]
        terms = self.terms(self(batch.x, noise), batch.x, batch.y)
        self._update(metrics, terms, batch)
        if self.classifies:
            probabilities = self.predict(batch.x).probabilities
            correct = probabilities.argmax(-1) == batch.y.argmax(-1)
            metrics["accuracy"].update(correct.to(batch.weight), batch.weight)
            metrics["calibration"].update(probabilities, batch.y, batch.weight)

    def _log_and_reset(self, metrics: MetricCollection) -> None:
        self.log_dict(metrics.compute(), sync_dist=self.shared.ranks > 1)
        metrics.reset()


def _metrics(prefix: str, predictions: bool) -> MetricCollection:
    # "a NaN counts as NaN" keeps it visible; the strategy "disable" would drop the weights
    metrics: dict[str, Metric | MetricCollection] = {
        name: MeanMetric(nan_strategy=math.nan) for name in ("R", "D", "C", "J")
    }
    if predictions:
        metrics |= {"accuracy": MeanMetric(nan_strategy=math.nan), "calibration": Calibration()}
    return MetricCollection(metrics, prefix=prefix, compute_groups=False)
