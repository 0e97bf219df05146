"""Thermodynamics of representation learning on PyTorch Lightning.

``import thermo_pl as tp`` is cheap on purpose. It loads neither torch nor Lightning, so that
``--version`` and the help answer at once; each name below loads what it needs when it is asked for.
What is not needed first stays in the packages: ``thermo_pl.networks``, ``thermo_pl.process``,
``thermo_pl.callbacks``, ``thermo_pl.datamodules``, ``thermo_pl.laws`` and others.
"""

from typing import TYPE_CHECKING

from thermo_pl.lazy import on_demand

__version__ = "0.1.0"

if TYPE_CHECKING:
    from thermo_pl.callbacks import Adiabatic, CarnotCycle, FreeEnergySurface, IsoClassification
    from thermo_pl.datamodules import InterpolatedDataModule, Waypoint
    from thermo_pl.estimate import Estimate
    from thermo_pl.module import FreeEnergyModel
    from thermo_pl.networks import (
        LinearClassifier,
        MLPDecoder,
        MLPEncoder,
        Networks,
        StandardNormal,
    )
    from thermo_pl.process import (
        Accuracy,
        AdaptiveSteps,
        ConstantSteps,
        Continuation,
        Equilibration,
        IsoClassificationRule,
        Probes,
        Relaxation,
        Settings,
        System,
        TensorPairs,
        TensorPath,
    )
    from thermo_pl.response import Objective, Probe, ResponseSettings, linear_response
    from thermo_pl.runs import Surface, compare, load, read_run
    from thermo_pl.transport import optimal_plan
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        callbacks=["Adiabatic", "CarnotCycle", "FreeEnergySurface", "IsoClassification"],
        datamodules=["InterpolatedDataModule", "Waypoint"],
        estimate=["Estimate"],
        module=["FreeEnergyModel"],
        networks=["LinearClassifier", "MLPDecoder", "MLPEncoder", "Networks", "StandardNormal"],
        process=[
            "Accuracy",
            "AdaptiveSteps",
            "ConstantSteps",
            "Continuation",
            "Equilibration",
            "IsoClassificationRule",
            "Probes",
            "Relaxation",
            "Settings",
            "System",
            "TensorPairs",
            "TensorPath",
        ],
        response=["Objective", "Probe", "ResponseSettings", "linear_response"],
        runs=["Surface", "compare", "load", "read_run"],
        transport=["optimal_plan"],
    )

__all__ = [
    "Accuracy",
    "AdaptiveSteps",
    "Adiabatic",
    "CarnotCycle",
    "ConstantSteps",
    "Continuation",
    "Equilibration",
    "Estimate",
    "FreeEnergyModel",
    "FreeEnergySurface",
    "InterpolatedDataModule",
    "IsoClassification",
    "IsoClassificationRule",
    "LinearClassifier",
    "MLPDecoder",
    "MLPEncoder",
    "Networks",
    "Objective",
    "Probe",
    "Probes",
    "Relaxation",
    "ResponseSettings",
    "Settings",
    "StandardNormal",
    "Surface",
    "System",
    "TensorPairs",
    "TensorPath",
    "Waypoint",
    "compare",
    "linear_response",
    "load",
    "optimal_plan",
    "read_run",
]
