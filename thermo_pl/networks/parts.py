"""The networks of a model as one ``nn.Module``, with λ and γ: joint output, R, D, C and J."""

from __future__ import annotations

import math
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from thermo_pl.errors import require
from thermo_pl.functionals import free_energy
from thermo_pl.networks.checks import check_parts
from thermo_pl.networks.classifier import Classifier
from thermo_pl.networks.cubature import turned_cubature
from thermo_pl.networks.decoder import Decoder
from thermo_pl.networks.encoder import Encoder
from thermo_pl.networks.layers import Axes, Frame
from thermo_pl.networks.marginal import Marginal
from thermo_pl.networks.outputs import Outputs, Prediction, Terms
from thermo_pl.networks.posterior import GaussianPosterior, Posterior


class Networks(nn.Module):
    """Encoder, decoder, classifier and marginal under one objective J = R + λD + γC.

    All that a process asks of a model, without a trainer: any loop that lowers J relaxes it.
    λ and γ are buffers: state that a process moves, saved and restored with the weights. They
    are 0-dimensional float64, so that many small steps add up without loss; they do not change
    the dtype of J.

    Special cases are plain configurations: λ = 1, γ = 0 is the VAE, λ = 1/β the β-VAE, λ = 0
    the variational information bottleneck, an :class:`~thermo_pl.networks.IdentityEncoder` with
    a linear classifier logistic regression.

    Attributes:
        encoder: e(z|x).
        classifier: c(y|z), or None.
        decoder: d(x|z), or None.
        marginal: q(z), or None.
        frame: how the axes of z turn, or None.
        lam: λ.
        gam: γ.
        start: λ and γ as they were given.
        samples: noise draws per image in training.
        cubature_seed: of the points that take the place of draws in training, or None.

    Example:
        >>> import torch
        >>> import thermo_pl as tp
        >>> encoder, classifier = tp.MLPEncoder((1, 2, 2), 2), tp.LinearClassifier(2, 3)
        >>> made = tp.Networks(encoder, classifier, marginal=tp.StandardNormal(2), lam=0.0, gam=5.0)
        >>> x, y = torch.rand(4, 1, 2, 2), torch.eye(3)[[0, 1, 2, 0]]
        >>> terms = made.terms(made(x, made.training_noise(4)), x, y)
        >>> made.objective(terms).mean().backward()
        >>> made.predict(x).probabilities.shape
        torch.Size([4, 3])
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
        cubature_seed: int | None = None,
        turning: bool = False,
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
            cubature_seed: train on fixed points, those of a cubature turned at random for each
                particle, in place of fresh draws; ``samples`` then counts rotations, of 4
                ``latent_dim`` points each. J is a function of θ with an equilibrium of its own,
                which a quasi-Newton method can find. The batches must be all particles.
            turning: let the axes of z turn against those of the networks, see
                :class:`~thermo_pl.networks.layers.Frame`: the same models, but equilibria at which
                latents turn into each other are found far sooner.
        """
        super().__init__()
        require(0 <= lam < math.inf, "lam", lam, "a finite number ≥ 0")
        require(0 <= gam < math.inf, "gam", gam, "a finite number ≥ 0")
        require(samples > 0, "samples", samples, "a whole number > 0")
        require(decoder is not None or lam == 0, "lam", lam, "0, as the model has no decoder")
        require(classifier is not None or gam == 0, "gam", gam, "0, as the model has no classifier")
        _require_fit(encoder, classifier, decoder, marginal)
        if cubature_seed is not None:
            allowed = "null: this encoder has no Gaussian draws to replace"
            require(encoder.gaussian_draws, "cubature_seed", cubature_seed, allowed)
            require(cubature_seed >= 0, "cubature_seed", cubature_seed, "an integer from 0")
        if turning:
            ok = encoder.family is GaussianPosterior and not encoder.deterministic
            require(ok, "turning", turning, "false: this encoder has no axes that could turn")
        self.encoder = encoder
        self.decoder = decoder
        self.classifier = classifier
        self.marginal = marginal
        self.frame = Frame(encoder.latent_dim) if turning else None
        check_parts(self.train())
        self.samples = samples
        self.cubature_seed = cubature_seed
        self._training_points = torch.empty(0, 0, encoder.latent_dim)
        self.start = {"lam": float(lam), "gam": float(gam)}
        self.register_buffer("lam", torch.tensor(lam, dtype=torch.float64))
        self.register_buffer("gam", torch.tensor(gam, dtype=torch.float64))

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.lam.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the networks; torch's default if none has a parameter."""
        return next((p.dtype for p in self.parameters()), torch.get_default_dtype())

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
        return self.encoder.noise(samples, n, generator).to(self.device, self.dtype)

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
        return self._training_points.to(self.device, self.dtype)

    def cubature(self, samples: int, n: int, seed: int) -> Tensor:
        """The points of a cubature in place of draws.

        Args:
            samples: rotations of the cubature for each image.
            n: number of images.
            seed: of the rotations.

        Returns:
            Shape ``(4 latent_dim samples, n, latent_dim)``, on the device of the model.
        """
        points = turned_cubature(n, self.encoder.latent_dim, seed, samples, self.dtype)
        return points.to(self.device)

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
        z = noise[..., :0] if self.affine else posterior.draw(noise)
        decoded = logits = z.new_zeros(0)
        scatter = None
        if self.decoder is not None:
            decoded, scatter = self.decoder.of_posterior(posterior, z, axes)
        if self.classifier is not None:
            logits = self.logits(posterior, noise, axes)
        direct: dict[str, Tensor] = {
            f"{name}.{key}": parameter
            for name, part in self._direct_parts()
            for key, parameter in part.named_parameters()
        }
        return Outputs(posterior, z, decoded, logits, direct, scatter)

    @property
    def affine(self) -> bool:
        """Whether R and D have closed forms and the scores are affine in the noise."""
        closed = self.marginal is not None and self.marginal.closed
        closed = closed and (self.decoder is None or self.decoder.closed)
        return closed and (self.classifier is None or self.classifier.affine)

    def axes(self) -> Axes:
        """How the axes of z are turned against those of the networks; taken once for many calls.

        Returns:
            The axes.
        """
        return Axes(None if self.frame is None else self.frame())

    def encode(self, x: Tensor, axes: Axes) -> Posterior:
        """Run the encoder.

        Args:
            x: images, shape ``(n, *image)``.
            axes: what :meth:`axes` gives.

        Returns:
            e(z|x).
        """
        posterior: Posterior = self.encoder(x)
        return posterior.turned(axes)

    def decode(self, z: Tensor, axes: Axes) -> Tensor:
        """Run the decoder; there must be one.

        Args:
            z: shape ``(samples, n, k)``.
            axes: what :meth:`axes` gives.

        Returns:
            Parameters of d(x|z), shape ``(samples, n, *image)``.
        """
        decoded: Tensor = cast(Decoder, self.decoder)(axes.seen(z))
        return decoded

    def classify(self, z: Tensor, axes: Axes) -> Tensor:
        """Run the classifier; there must be one.

        Args:
            z: shape ``(samples, n, k)``.
            axes: what :meth:`axes` gives.

        Returns:
            Logits, shape ``(samples, n, classes)``.
        """
        logits: Tensor = cast(Classifier, self.classifier)(axes.seen(z))
        return logits

    def logits(self, posterior: Posterior, noise: Tensor, axes: Axes) -> Tensor:
        """What :meth:`classify` gives at draws of z; there must be a classifier.

        Args:
            posterior: e(z|x).
            noise: standard normal draws, shape ``(samples, n, k)``.
            axes: what :meth:`axes` gives.

        Returns:
            Shape ``(samples, n, classes)``.
        """
        return cast(Classifier, self.classifier).of_posterior(posterior, noise, axes)

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
        rate = distortion = classification = zero = outputs.z.new_zeros(outputs.z.shape[:2])
        # what has a closed form is the same for all draws
        if self.marginal is not None:
            rate = _call("marginal", self.marginal, outputs, posterior, outputs.z).expand_as(zero)
        if self.decoder is not None:
            seen = outputs.decoded, x, outputs.scatter
            nll = _call("likelihood", self.decoder.likelihood, outputs, *seen)
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

    def objective(self, terms: Terms) -> Tensor:
        """J = R + λD + γC at the model's λ and γ.

        Args:
            terms: R, D and C in nats.

        Returns:
            J in nats, of the shape of the terms.
        """
        return free_energy(*terms, self.lam, self.gam)

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
            probabilities = posterior.weigh(self.classifier.expected(outputs.logits)).mean(0)
        return Prediction(posterior.centre, probabilities, reconstruction)

    def _direct_parts(self) -> list[tuple[str, nn.Module]]:
        # what J depends on other than through the outputs of a network
        parts: list[tuple[str, nn.Module]] = []
        if self.marginal is not None:
            parts.append(("marginal", self.marginal))
        if self.decoder is not None:
            parts.append(("likelihood", self.decoder.likelihood))
        return parts

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        # λ and γ follow the model to a device, but a cast of the networks leaves them exact
        exact = {"lam": self.lam, "gam": self.gam}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, value in exact.items():
            setattr(self, name, value.to(getattr(self, name).device))
        return self


def _call(name: str, part: nn.Module, outputs: Outputs, *args: Any) -> Tensor:
    # a part with its parameters taken from the joint output
    start = len(name) + 1
    own = {key[start:]: p for key, p in outputs.direct.items() if key.startswith(f"{name}.")}
    result: Tensor = functional_call(part, own, args)
    return result


def _require_fit(
    encoder: Encoder,
    classifier: Classifier | None,
    decoder: Decoder | None,
    marginal: Marginal | None,
) -> None:
    # the parts must be of one size and one family
    if encoder.deterministic:
        require(marginal is None, "marginal", marginal, "none: this encoder has no rate")
    else:
        require(marginal is not None, "marginal", None, "a Marginal: this encoder has a rate")
    k = encoder.latent_dim
    parts = {"decoder": decoder, "classifier": classifier, "marginal": marginal}
    for name, part in parts.items():
        size = k if part is None else part.latent_dim
        expected = f"{k}, the size of the encoder's representation"
        require(size == k, f"{name}.latent_dim", size, expected)
    if marginal is not None:
        expected = f"one of {encoder.family.__name__}, what {type(encoder).__name__} gives"
        same = marginal.family is encoder.family
        require(same, "marginal", type(marginal).__name__, expected)
    if decoder is not None:
        expected = f"{list(encoder.image_shape)}, the shape that the encoder takes"
        same = decoder.image_shape == encoder.image_shape
        require(same, "decoder.image_shape", list(decoder.image_shape), expected)
