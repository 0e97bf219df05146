"""The LightningModule that owns the objective J(θ, λ, γ) = R + λD + γC."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.func import functional_call
from torchmetrics import MeanMetric, Metric, MetricCollection

from thermo_pl.checkpoints import load_weights
from thermo_pl.errors import ConfigError, NonFinite, require
from thermo_pl.functionals import free_energy
from thermo_pl.metrics import Calibration
from thermo_pl.networks import (
    Classifier,
    Decoder,
    Encoder,
    GaussianPosterior,
    Marginal,
    Posterior,
    Scatter,
)
from thermo_pl.networks.cubature import turned_cubature
from thermo_pl.networks.layers import Frame
from thermo_pl.optim import MacroStepCosine
from thermo_pl.particles import Batch, weighted_mean


class Outputs(NamedTuple):
    """The joint output of the networks, in which the Gauss-Newton matrix of J is taken.

    Attributes:
        posterior: e(z|x) of each image.
        z: draws from it, shape ``(samples, n, k)``.
        decoded: parameters of d(x|z), ``(samples, n, *image)``; where D has a closed form at the
            mean of e(z|x) alone, ``(1, n, *image)``; empty without a decoder.
        logits: class scores, ``(samples, n, classes)``; empty without a classifier.
        direct: the parameters that J depends on directly: those of q(z), and of the likelihood
            of a pixel if it has any.
        scatter: where D has a closed form, how far the decoded images lie around that mean.
    """

    posterior: Posterior
    z: Tensor
    decoded: Tensor
    logits: Tensor
    direct: dict[str, Tensor]
    scatter: Scatter | None = None


class Terms(NamedTuple):
    """Per-sample rate, distortion and classification loss in nats, each of the same shape.

    A part the model does not have contributes zero.
    """

    rate: Tensor
    distortion: Tensor
    classification: Tensor


class Prediction(NamedTuple):
    """What ``predict`` says of images, at z = the encoder's mean.

    Attributes:
        z: representations, shape ``(n, k)``.
        probabilities: class probabilities, ``(n, classes)``, or the expected label where labels
            are vectors; empty without a classifier.
        reconstruction: expected images, ``(n, *image)``; empty without a decoder.
    """

    z: Tensor
    probabilities: Tensor
    reconstruction: Tensor


class FreeEnergyModel(pl.LightningModule):
    """Encoder, decoder, classifier and marginal under one objective J = R + λD + γC.

    λ and γ are buffers: state that a process moves, saved and restored with the weights. They
    are 0-dimensional float64, so that many small steps add up without loss; they do not change
    the dtype of J.

    Special cases are plain configurations: λ = 1, γ = 0 is the VAE, λ = 1/β the β-VAE, λ = 0
    the variational information bottleneck, an :class:`~thermo_pl.networks.IdentityEncoder` with
    a linear classifier logistic regression.
    """

    lam: Tensor
    gam: Tensor

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
        """Put the parts together.

        Args:
            encoder: e(z|x).
            classifier: c(y|z); without one γ must be 0.
            decoder: d(x|z); without one λ must be 0.
            marginal: q(z); left out with a deterministic encoder, which has no rate.
            lam: λ at the start.
            gam: γ at the start.
            samples: noise draws per image, used for D and C, and for R where it has no
                closed form.
            eval_samples: the same on validation and test images, where the draws stay the same
                from one evaluation to the next (common random numbers).
            cubature_seed: train on fixed points, those of a cubature turned at random for each
                particle, in place of fresh draws; ``samples`` then counts rotations, of 4
                ``latent_dim`` points each. J is a function of θ with an equilibrium of its own,
                which a quasi-Newton method can find. The batches must be all particles
                (``batch_size: null``).
            turning: let the axes of z turn against those of the networks, see
                :class:`~thermo_pl.networks.layers.Frame`: the same models, but equilibria at which
                latents turn into each other are found far sooner.
            optimizer: builds the optimiser from the parameters.
            scheduler: builds the learning-rate scheduler from the optimiser.
            scheduler_interval: what the scheduler counts; if not given, steps for a
                :class:`~thermo_pl.optim.MacroStepCosine` and epochs for any other.
            initial_weights: checkpoint to start θ from; its λ, γ and optimiser are not used.
        """
        super().__init__()
        require(0 <= lam < math.inf, "lam", lam, "a finite number ≥ 0")
        require(0 <= gam < math.inf, "gam", gam, "a finite number ≥ 0")
        require(samples > 0, "samples", samples, "a whole number > 0")
        require(eval_samples > 0, "eval_samples", eval_samples, "a whole number > 0")
        require(decoder is not None or lam == 0, "lam", lam, "0, as the model has no decoder")
        require(classifier is not None or gam == 0, "gam", gam, "0, as the model has no classifier")
        if encoder.deterministic:
            require(marginal is None, "marginal", marginal, "none: this encoder has no rate")
        else:
            require(marginal is not None, "marginal", None, "a Marginal: this encoder has a rate")
        for name, part in (
            ("decoder", decoder),
            ("classifier", classifier),
            ("marginal", marginal),
        ):
            size = part.latent_dim if part is not None else encoder.latent_dim
            expected = f"{encoder.latent_dim}, the size of the encoder's representation"
            require(size == encoder.latent_dim, f"{name}.latent_dim", size, expected)
        if marginal is not None:
            expected = f"one of {encoder.family.__name__}, what {type(encoder).__name__} gives"
            same = marginal.family is encoder.family
            require(same, "marginal", type(marginal).__name__, expected)
        if decoder is not None:
            expected = f"{list(encoder.image_shape)}, the shape that the encoder takes"
            same = decoder.image_shape == encoder.image_shape
            require(same, "decoder.image_shape", list(decoder.image_shape), expected)
        self.encoder = encoder
        self.decoder = decoder
        self.classifier = classifier
        self.marginal = marginal
        if cubature_seed is not None:
            allowed = "null: this encoder has no Gaussian draws to replace"
            require(encoder.gaussian_draws, "cubature_seed", cubature_seed, allowed)
            require(cubature_seed >= 0, "cubature_seed", cubature_seed, "an integer from 0")
        if turning:
            ok = encoder.family is GaussianPosterior and not encoder.deterministic
            require(ok, "turning", turning, "false: this encoder has no axes that could turn")
        self.frame = Frame(encoder.latent_dim) if turning else None
        self.samples = samples
        self.cubature_seed = cubature_seed
        self._training_points = torch.empty(0, 0, encoder.latent_dim)
        self.eval_samples = eval_samples
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.start = {"lam": float(lam), "gam": float(gam)}
        self.register_buffer("lam", torch.tensor(lam, dtype=torch.float64))
        self.register_buffer("gam", torch.tensor(gam, dtype=torch.float64))
        self.train_metrics = _metrics("train/", predictions=False)
        self.val_metrics = _metrics("val/", predictions=self.classifies)
        self.test_metrics = _metrics("test/", predictions=self.classifies)
        if initial_weights is not None:
            kept = {"lam": self.lam, "gam": self.gam}
            path, allowed = Path(initial_weights), "the same networks"
            load_weights(self, path, "initial_weights", allowed, instead=kept)

    @property
    def classifies(self) -> bool:
        """Whether there is a classifier of classes, so that there is an accuracy."""
        return self.classifier is not None and self.classifier.categorical

    def noise(self, samples: int, n: int, generator: torch.Generator | None = None) -> Tensor:
        """What the encoder is drawn with for n images.

        Args:
            samples: draws for each image; an exact encoder has a number of its own.
            n: number of images.
            generator: a generator on the CPU; the global one if not given.

        Returns:
            Standard normal draws, shape ``(samples, n, latent_dim)``, on the device of the model.
        """
        noise = self.encoder.noise(samples, n, generator)
        return noise.to(self.device, cast(torch.dtype, self.dtype))

    @property
    def cubature_points(self) -> int:
        """Points of one rotation of the cubature."""
        return 4 * self.encoder.latent_dim

    @property
    def training_draws(self) -> int:
        """Draws of z for each image in training; the points of a cubature are as many."""
        if self.cubature_seed is not None:
            return self.cubature_points * self.samples
        return len(self.encoder.noise(self.samples, 0))

    def training_noise(self, n: int) -> Tensor:
        """What the encoder is drawn with in training: fresh draws, or the points of the cubature.

        Args:
            n: number of images; all particles of the leg, in order, for a cubature.

        Returns:
            As :meth:`noise`.
        """
        if self.cubature_seed is None:
            return self.noise(self.samples, n)
        if self._training_points.shape[1] != n:
            self._training_points = self.cubature(self.samples, n, self.cubature_seed)
        return self._training_points.to(self.device, cast(torch.dtype, self.dtype))

    def cubature(self, samples: int, n: int, seed: int) -> Tensor:
        """The points of a cubature in place of draws.

        Args:
            samples: rotations of the cubature for each image.
            n: number of images.
            seed: of the rotations.

        Returns:
            Shape ``(4 latent_dim samples, n, latent_dim)``, on the device of the model.
        """
        points = turned_cubature(n, self.encoder.latent_dim, seed, samples)
        return points.to(self.device, cast(torch.dtype, self.dtype))

    def forward(self, x: Tensor, noise: Tensor) -> Outputs:
        """Run all networks.

        Args:
            x: images, shape ``(n, *image)``.
            noise: standard normal draws, shape ``(samples, n, k)``.

        Returns:
            The joint output.
        """
        axes = self.axes()
        posterior = self.encode(x, axes)
        z = posterior.draw(noise)
        nothing = decoded = z.new_zeros(0)
        scatter = self._scatter(posterior, axes)
        if self.decoder is not None:
            decoded = self.decode(z if scatter is None else posterior.centre[None], axes)
        return Outputs(
            posterior=posterior,
            z=z,
            decoded=decoded,
            logits=nothing if self.classifier is None else self.logits(posterior, noise, axes),
            direct={
                f"{name}.{key}": parameter
                for name, part in self._direct_parts()
                for key, parameter in part.named_parameters()
            },
            scatter=scatter,
        )

    def axes(self) -> Tensor | None:
        """How the axes of z are turned against those of the networks; taken once for many calls.

        Returns:
            U, shape ``(k, k)``, or None where they do not turn.
        """
        return None if self.frame is None else self.frame()

    def encode(self, x: Tensor, axes: Tensor | None) -> Posterior:
        """Run the encoder.

        Args:
            x: images, shape ``(n, *image)``.
            axes: what :meth:`axes` gives.

        Returns:
            e(z|x).
        """
        posterior: Posterior = self.encoder(x)
        if axes is None or not isinstance(posterior, GaussianPosterior):
            return posterior
        return posterior._replace(mean=posterior.mean @ axes)

    def decode(self, z: Tensor, axes: Tensor | None) -> Tensor:
        """Run the decoder; there must be one.

        Args:
            z: shape ``(samples, n, k)``.
            axes: what :meth:`axes` gives.

        Returns:
            Parameters of d(x|z), shape ``(samples, n, *image)``.
        """
        decoded: Tensor = cast(Decoder, self.decoder)(_seen(z, axes))
        return decoded

    def classify(self, z: Tensor, axes: Tensor | None) -> Tensor:
        """Run the classifier; there must be one.

        Args:
            z: shape ``(samples, n, k)``.
            axes: what :meth:`axes` gives.

        Returns:
            Logits, shape ``(samples, n, classes)``.
        """
        logits: Tensor = cast(Classifier, self.classifier)(_seen(z, axes))
        return logits

    def logits(self, posterior: Posterior, noise: Tensor, axes: Tensor | None) -> Tensor:
        """What :meth:`classify` gives at draws of z; there must be a classifier.

        Args:
            posterior: e(z|x).
            noise: standard normal draws, shape ``(samples, n, k)``.
            axes: what :meth:`axes` gives.

        Returns:
            Shape ``(samples, n, classes)``.
        """
        layer = cast(Classifier, self.classifier).layer
        if isinstance(posterior, GaussianPosterior) and layer is not None:
            weight = layer.weight if axes is None else layer.weight @ axes
            return posterior.draw_affine(weight, layer.bias, noise)
        return self.classify(posterior.draw(noise), axes)

    def draws(self, outputs: Outputs, x: Tensor, y: Tensor) -> Terms:
        """R, D and C of each sample and draw, as a function of the joint output alone.

        Args:
            outputs: the joint output.
            x: images, shape ``(n, *image)``.
            y: class probabilities, shape ``(n, classes)``.

        Returns:
            Nats, each of shape ``(samples, n)``; the mean over the draws is the expectation.
        """
        posterior = outputs.posterior
        zero = outputs.z.new_zeros(outputs.z.shape[:2])
        rate = distortion = classification = zero
        if self.marginal is not None:
            analytic_or_drawn = self._call("marginal", self.marginal, outputs, posterior, outputs.z)
            rate = analytic_or_drawn.expand_as(zero)
        if self.decoder is not None:
            seen = [outputs.decoded, x]
            if outputs.scatter is not None:
                seen.append(outputs.scatter.square())
            nll = self._call("likelihood", self.decoder.likelihood, outputs, *seen)
            # a closed form is the same for all draws
            distortion = posterior.weigh(nll).expand_as(zero)
        if self.classifier is not None:
            classification = posterior.weigh(self.classifier.nll(outputs.logits, y))
        return Terms(rate, distortion, classification)

    def terms(self, outputs: Outputs, x: Tensor, y: Tensor) -> Terms:
        """R, D and C of each sample, as a function of the joint output alone.

        Args:
            outputs: the joint output.
            x: images, shape ``(n, *image)``.
            y: class probabilities, shape ``(n, classes)``.

        Returns:
            Nats, each of shape ``(n,)``, averaged over the draws.
        """
        return Terms(*(term.mean(0) for term in self.draws(outputs, x, y)))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """J of a batch, and nothing else.

        Args:
            batch: samples of p(x(t)).
            batch_idx: not used.

        Returns:
            J in nats.

        Raises:
            NonFinite: if J is not finite.
        """
        terms = self.terms(self(batch.x, self.training_noise(len(batch.x))), batch.x, batch.y)
        loss = weighted_mean(free_energy(*terms, self.lam, self.gam), batch.weight)
        if not torch.isfinite(loss):
            raise NonFinite(
                f"J: got {loss.item()} in training; allowed: a finite number; "
                "lower the learning rate, or let the process take more and smaller steps"
            )
        self._update(self.train_metrics, terms, batch)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the means of the epoch."""
        self._log_and_reset(self.train_metrics)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """R, D, C, J, accuracy and calibration error on held-out samples.

        Args:
            batch: samples of p(x(t)).
            batch_idx: seeds the noise.
        """
        self._evaluate(self.val_metrics, batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the means of the epoch."""
        self._log_and_reset(self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """The same on test samples.

        Args:
            batch: samples of p(x(t)).
            batch_idx: seeds the noise.
        """
        self._evaluate(self.test_metrics, batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the means of the epoch."""
        self._log_and_reset(self.test_metrics)

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        """Representations, class probabilities and reconstructions.

        Args:
            batch: samples of p(x(t)).
            batch_idx: not used.

        Returns:
            The prediction for each image.
        """
        return self.predict(batch.x)

    def predict(self, x: Tensor) -> Prediction:
        """Predict at the encoder's mean, without noise; a sum over its codes if it has codes.

        Args:
            x: images, shape ``(n, *image)``.

        Returns:
            The prediction for each image.
        """
        outputs = self(x, x.new_zeros(1, len(x), self.encoder.latent_dim))
        posterior = outputs.posterior
        reconstruction, probabilities = outputs.decoded, outputs.logits
        if self.decoder is not None:
            reconstruction = posterior.weigh(self.decoder.likelihood.mean(outputs.decoded)).mean(0)
        if self.classifier is not None:
            expected = outputs.logits.softmax(-1) if self.classifier.categorical else outputs.logits
            probabilities = posterior.weigh(expected).mean(0)
        return Prediction(posterior.centre, probabilities, reconstruction)

    def configure_optimizers(self) -> Any:
        """Build the optimiser and the scheduler of the config.

        Returns:
            What Lightning expects.
        """
        optimizer = self.optimizer(self.parameters())
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer)
        counted = "step" if isinstance(scheduler, MacroStepCosine) else "epoch"
        if isinstance(scheduler, MacroStepCosine):
            got, allowed = self.scheduler_interval, "step or null, with a MacroStepCosine"
            require(got != "epoch", "scheduler_interval", got, allowed)
        settings = {"scheduler": scheduler, "interval": self.scheduler_interval or counted}
        return {"optimizer": optimizer, "lr_scheduler": settings}

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
        """Check that the data fit the networks; show an encoder that whitens what it will see.

        Args:
            stage: what begins.
        """
        data = getattr(self.trainer, "datamodule", None)
        shape = getattr(data, "image_shape", None)
        if shape is not None:
            allowed = f"{list(shape)}, the shape of the images"
            image_shape = self.encoder.image_shape
            require(image_shape == tuple(shape), "encoder.image_shape", list(image_shape), allowed)
        classes = getattr(data, "n_classes", None)
        if classes is not None and self.classifier is not None:
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
        """Write down where λ and γ started.

        Args:
            checkpoint: what is being saved.
        """
        checkpoint["thermo_start"] = dict(self.start)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint that would silently overrule the config.

        Args:
            checkpoint: what is being loaded.

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
        # Lightning casts the networks to the trainer's precision only after it has loaded the
        # weights: those of a float64 run would be rounded on their way
        dtypes = {t.dtype for t in checkpoint["state_dict"].values() if t.is_floating_point()}
        weights = dtypes - {self.lam.dtype} or dtypes
        if len(weights) == 1:
            self.to(weights.pop())
        for name, value in self.start.items():
            if saved[name] != value:
                raise ConfigError(
                    f"{name}: got {value} with a checkpoint of a run that started at "
                    f"{saved[name]}; allowed: the same value, to go on with that run, or "
                    "model.initial_weights instead of --ckpt_path, to start anew from its weights"
                )

    def _direct_parts(self) -> list[tuple[str, nn.Module]]:
        # what J depends on other than through the outputs of a network
        parts: list[tuple[str, nn.Module]] = []
        if self.marginal is not None:
            parts.append(("marginal", self.marginal))
        if self.decoder is not None:
            parts.append(("likelihood", self.decoder.likelihood))
        return parts

    def _scatter(self, posterior: Posterior, axes: Tensor | None) -> Scatter | None:
        # D of a linear decoder and a quadratic likelihood needs no draws
        decoder = self.decoder
        if decoder is None or decoder.layer is None or not decoder.likelihood.quadratic:
            return None
        if not isinstance(posterior, GaussianPosterior):
            return None
        columns = decoder.layer.weight if axes is None else decoder.layer.weight @ axes
        return Scatter(torch.exp(0.5 * posterior.log_var), columns)

    @staticmethod
    def _call(name: str, part: nn.Module, outputs: Outputs, *args: Any) -> Tensor:
        # a part with its parameters taken from the joint output
        start = len(name) + 1
        own = {key[start:]: p for key, p in outputs.direct.items() if key.startswith(f"{name}.")}
        result: Tensor = functional_call(part, own, args)
        return result

    def _update(self, metrics: MetricCollection, terms: Terms, batch: Batch) -> None:
        values = [*terms, free_energy(*terms, self.lam, self.gam)]
        for name, value in zip("RDCJ", values, strict=True):
            metrics[name].update(value.detach(), batch.weight)

    def _evaluate(self, metrics: MetricCollection, batch: Batch, batch_idx: int) -> None:
        generator = torch.Generator().manual_seed(batch_idx)
        noise = self.noise(self.eval_samples, len(batch.x), generator)
        terms = self.terms(self(batch.x, noise), batch.x, batch.y)
        self._update(metrics, terms, batch)
        if self.classifies:
            probabilities = self.predict(batch.x).probabilities
            correct = probabilities.argmax(-1) == batch.y.argmax(-1)
            metrics["accuracy"].update(correct.to(batch.weight), batch.weight)
            metrics["calibration"].update(probabilities, batch.y, batch.weight)

    def _log_and_reset(self, metrics: MetricCollection) -> None:
        self.log_dict(metrics.compute())
        metrics.reset()

    def _apply(self, fn: Any, recurse: bool = True) -> FreeEnergyModel:
        # λ and γ follow the model to a device, but a cast of the networks leaves them exact
        exact = {"lam": self.lam, "gam": self.gam}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, value in exact.items():
            setattr(self, name, value.to(getattr(self, name).device))
        return self


def _seen(z: Tensor, axes: Tensor | None) -> Tensor:
    # z as the networks see it
    return z if axes is None else z @ axes.T


def _metrics(prefix: str, predictions: bool) -> MetricCollection:
    # "a NaN counts as NaN" keeps it visible; the strategy "disable" would drop the weights
    metrics: dict[str, Metric | MetricCollection] = {
        name: MeanMetric(nan_strategy=math.nan) for name in ("R", "D", "C", "J")
    }
    if predictions:
        metrics |= {"accuracy": MeanMetric(nan_strategy=math.nan), "calibration": Calibration()}
    return MetricCollection(metrics, prefix=prefix, compute_groups=False)
