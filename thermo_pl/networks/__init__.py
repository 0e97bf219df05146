"""The networks of a model and their interchangeable parts."""

from thermo_pl.networks.categorical import (
    Categorical,
    CategoricalEncoder,
    CategoricalMarginal,
    TableClassifier,
    TableDecoder,
)
from thermo_pl.networks.classifier import Classifier, LinearClassifier, MLPClassifier
from thermo_pl.networks.decoder import ConvDecoder, Decoder, MLPDecoder
from thermo_pl.networks.encoder import ConvEncoder, Encoder, IdentityEncoder, MLPEncoder
from thermo_pl.networks.likelihood import Bernoulli, Gaussian, Likelihood, Scatter
from thermo_pl.networks.linear_gaussian import GaussianClassifier, LinearGaussianEncoder
from thermo_pl.networks.marginal import DiagonalGaussian, GaussianMixture, Marginal, StandardNormal
from thermo_pl.networks.modules import ModuleClassifier, ModuleDecoder, ModuleEncoder
from thermo_pl.networks.outputs import Outputs, Prediction, Terms
from thermo_pl.networks.parts import Networks
from thermo_pl.networks.posterior import CategoricalPosterior, GaussianPosterior, Posterior

__all__ = [
    "Bernoulli",
    "Categorical",
    "CategoricalEncoder",
    "CategoricalMarginal",
    "CategoricalPosterior",
    "Classifier",
    "ConvDecoder",
    "ConvEncoder",
    "Decoder",
    "DiagonalGaussian",
    "Encoder",
    "Gaussian",
    "GaussianClassifier",
    "GaussianMixture",
    "GaussianPosterior",
    "IdentityEncoder",
    "Likelihood",
    "LinearClassifier",
    "LinearGaussianEncoder",
    "MLPClassifier",
    "MLPDecoder",
    "MLPEncoder",
    "Marginal",
    "ModuleClassifier",
    "ModuleDecoder",
    "ModuleEncoder",
    "Networks",
    "Outputs",
    "Posterior",
    "Prediction",
    "Scatter",
    "StandardNormal",
    "TableClassifier",
    "TableDecoder",
    "Terms",
]
