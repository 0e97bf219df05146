"""Predictor-corrector continuation of equilibria: a system, a rule, and what drives them."""

from typing import TYPE_CHECKING

from thermo_pl.lazy import on_demand

if TYPE_CHECKING:
    from thermo_pl.process.continuation import Continuation
    from thermo_pl.process.cycle_rule import CycleRule
    from thermo_pl.process.data import MovingData, Route, TensorPairs, TensorPath
    from thermo_pl.process.domain_steps import DomainStepsRule
    from thermo_pl.process.equilibration import Equilibration
    from thermo_pl.process.iso_classification import Accuracy, IsoClassificationRule
    from thermo_pl.process.probing import seed_relaxation
    from thermo_pl.process.relaxation import Relaxation
    from thermo_pl.process.rule import Equilibrium, Point, Relaxed, Rule
    from thermo_pl.process.settings import Probes, Settings
    from thermo_pl.process.state import Course, Motion, Proposal, State, from_plain, to_plain
    from thermo_pl.process.step_control import (
        AdaptiveSteps,
        ConstantSteps,
        EqualLengthSteps,
        Pace,
        Place,
        StepControl,
    )
    from thermo_pl.process.steps import Result, Step
    from thermo_pl.process.stroke_rule import StrokeRule
    from thermo_pl.process.strokes import Stroke, closing_step, motion
    from thermo_pl.process.surface import Nodes, SurfaceRule
    from thermo_pl.process.system import System
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        continuation=["Continuation"],
        cycle_rule=["CycleRule"],
        data=["MovingData", "Route", "TensorPairs", "TensorPath"],
        domain_steps=["DomainStepsRule"],
        iso_classification=["Accuracy", "IsoClassificationRule"],
        probing=["seed_relaxation"],
        relaxation=["Relaxation"],
        rule=["Equilibrium", "Point", "Relaxed", "Rule"],
        equilibration=["Equilibration"],
        settings=["Probes", "Settings"],
        state=["Course", "Motion", "Proposal", "State", "from_plain", "to_plain"],
        step_control=[
            "AdaptiveSteps",
            "ConstantSteps",
            "EqualLengthSteps",
            "Pace",
            "Place",
            "StepControl",
        ],
        steps=["Result", "Step"],
        stroke_rule=["StrokeRule"],
        strokes=["Stroke", "closing_step", "motion"],
        surface=["Nodes", "SurfaceRule"],
        system=["System"],
    )

__all__ = [
    "Accuracy",
    "AdaptiveSteps",
    "ConstantSteps",
    "Continuation",
    "Course",
    "CycleRule",
    "DomainStepsRule",
    "EqualLengthSteps",
    "Equilibration",
    "Equilibrium",
    "IsoClassificationRule",
    "Motion",
    "MovingData",
    "Nodes",
    "Pace",
    "Place",
    "Point",
    "Probes",
    "Proposal",
    "Relaxation",
    "Relaxed",
    "Result",
    "Route",
    "Rule",
    "Settings",
    "State",
    "Step",
    "StepControl",
    "Stroke",
    "StrokeRule",
    "SurfaceRule",
    "System",
    "TensorPairs",
    "TensorPath",
    "closing_step",
    "from_plain",
    "motion",
    "seed_relaxation",
    "to_plain",
]
