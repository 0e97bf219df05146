"""The model of carnot_digits.yaml and its digits, for benchmarks without a trainer."""

from __future__ import annotations

import tempfile
from typing import Any

from thermo_pl.datamodules import InterpolatedDataModule, Waypoint
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks import Gaussian, LinearClassifier, MLPDecoder, MLPEncoder, StandardNormal
from thermo_pl.particles import Particles

K = 8
"""Latents."""


def cycle_model(whiten: bool = False, **settings: Any) -> FreeEnergyModel:
    """The networks of the cycle in float32, with weights drawn by torch's global generator."""
    return FreeEnergyModel(
        MLPEncoder([1, 8, 8], K, [], whiten=whiten),
        LinearClassifier(K, 5),
        MLPDecoder([1, 8, 8], K, [], Gaussian(0.3)),
        StandardNormal(K),
        **settings,
    )


def digits(*classes: list[int]) -> InterpolatedDataModule:
    """Clean digits, one waypoint for each list of classes, matched in the order given."""
    with tempfile.TemporaryDirectory() as cache:
        waypoints = [Waypoint(of) for of in classes]
        data = InterpolatedDataModule(waypoints, labels="ordered", cache_dir=cache)
        data.prepare_data()
        data.setup("fit")
    return data


def training_particles(data: InterpolatedDataModule) -> Particles:
    """All training particles of the current leg, in float64."""
    return Particles(*(part.double() for part in data.coupling("train").all()))
