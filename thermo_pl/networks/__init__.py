"""The interchangeable parts of a model: encoders, decoders, classifiers, marginals."""

from thermo_pl.networks.classifier import Classifier, LinearClassifier, MLPClassifier
from thermo_pl.networks.decoder import (
    Bernoulli,
    ConvDecoder,
    Decoder,
    Gaussian,
    Likelihood,
    MLPDecoder,
)
from thermo_pl.networks.encoder import ConvEncoder, Encoder, IdentityEncoder, MLPEncoder
from thermo_pl.networks.marginal import DiagonalGaussian, GaussianMixture, Marginal, StandardNormal

__all__ = [
    "Bernoulli",
    "Classifier",
    "ConvDecoder",
    "ConvEncoder",
    "Decoder",
    "DiagonalGaussian",
    "Encoder",
    "Gaussian",
    "GaussianMixture",
    "IdentityEncoder",
    "Likelihood",
    "LinearClassifier",
    "MLPClassifier",
    "MLPDecoder",
    "MLPEncoder",
    "Marginal",
    "StandardNormal",
]
