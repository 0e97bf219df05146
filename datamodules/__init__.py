"""Domains p(x(t)) on optimal-transport geodesics, as Lightning DataModules."""

if __name__ != "thermo_pl.datamodules":  # ruff: ignore[non-empty-init-module] - the guard must come first
    raise ImportError(f"{__name__!r} is not a package of its own; import 'thermo_pl.datamodules'")

from thermo_pl.datamodules.arrays import ArraySource
from thermo_pl.datamodules.base import PathDataModule
from thermo_pl.datamodules.coupled import CoupledImages, ParticleSampler
from thermo_pl.datamodules.datasets import DatasetSource, HuggingFaceSource
from thermo_pl.datamodules.digits import Digits
from thermo_pl.datamodules.domains import Waypoint
from thermo_pl.datamodules.exact import FiniteAlphabet, GaussianDomains
from thermo_pl.datamodules.features import Features
from thermo_pl.datamodules.gradual import GradualDataModule
from thermo_pl.datamodules.interpolated import InterpolatedDataModule
from thermo_pl.datamodules.latents import Latents
from thermo_pl.datamodules.rotated import ColourShiftMNIST, RotatedMNIST
from thermo_pl.datamodules.scales import Drift, Standardise
from thermo_pl.datamodules.sources import GradualImages, GradualSource, ImageSource, Split
from thermo_pl.datamodules.tables import BreastCancer
from thermo_pl.datamodules.transforms import (
    Binarise,
    Blur,
    Colour,
    GaussianNoise,
    Inversion,
    Occlusion,
    Rotation,
)
from thermo_pl.datamodules.vision import MNIST, FashionMNIST, VisionDataset
from thermo_pl.transport.couplings import Transport

__all__ = [
    "MNIST",
    "ArraySource",
    "Binarise",
    "Blur",
    "BreastCancer",
    "Colour",
    "ColourShiftMNIST",
    "CoupledImages",
    "DatasetSource",
    "Digits",
    "Drift",
    "FashionMNIST",
    "Features",
    "FiniteAlphabet",
    "GaussianDomains",
    "GaussianNoise",
    "GradualDataModule",
    "GradualImages",
    "GradualSource",
    "HuggingFaceSource",
    "ImageSource",
    "InterpolatedDataModule",
    "Inversion",
    "Latents",
    "Occlusion",
    "ParticleSampler",
    "PathDataModule",
    "RotatedMNIST",
    "Rotation",
    "Split",
    "Standardise",
    "Transport",
    "VisionDataset",
    "Waypoint",
]
