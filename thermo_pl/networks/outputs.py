"""What the networks give: the joint output, the terms of J, and predictions."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from thermo_pl.networks.likelihood import Scatter
from thermo_pl.networks.posterior import Posterior


class Outputs(NamedTuple):
    """The joint output of the networks, in which the Gauss-Newton matrix of J is taken.

    Attributes:
        posterior: e(z|x) of each image.
        z: draws from it, shape ``(samples, n, k)``; ``(samples, n, 0)`` where no term needs them.
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
