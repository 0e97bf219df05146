"""What happens between the steps of training: processes and monitors."""

if __name__ != "thermo_pl.callbacks":  # ruff: ignore[non-empty-init-module] - the guard must come first
    raise ImportError(f"{__name__!r} is not a package of its own; import 'thermo_pl.callbacks'")

from thermo_pl.callbacks.adiabatic import Adiabatic
from thermo_pl.callbacks.carnot_cycle import CarnotCycle
from thermo_pl.callbacks.cycle import Cycle
from thermo_pl.callbacks.domain_steps import DomainSteps
from thermo_pl.callbacks.entropy_report import EntropyReport
from thermo_pl.callbacks.feedback_control import FeedbackControl
from thermo_pl.callbacks.free_energy_surface import FreeEnergySurface
from thermo_pl.callbacks.iso_classification import IsoClassification
from thermo_pl.callbacks.law_monitor import LawMonitor
from thermo_pl.callbacks.monitor import Monitor
from thermo_pl.callbacks.path_logger import PathLogger
from thermo_pl.callbacks.prediction_writer import PredictionWriter
from thermo_pl.callbacks.progress import ProcessProgress
from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.callbacks.report_page import ReportPage
from thermo_pl.callbacks.retention import Retention
from thermo_pl.callbacks.run_report import RunReport
from thermo_pl.callbacks.stroke_process import StrokeProcess
from thermo_pl.process.equilibration import Equilibration
from thermo_pl.process.settings import Probes
from thermo_pl.process.step_control import (
    AdaptiveSteps,
    ConstantSteps,
    EqualLengthSteps,
    StepControl,
)
from thermo_pl.process.strokes import Stroke

__all__ = [
    "AdaptiveSteps",
    "Adiabatic",
    "CarnotCycle",
    "ConstantSteps",
    "Cycle",
    "DomainSteps",
    "EntropyReport",
    "EqualLengthSteps",
    "Equilibration",
    "FeedbackControl",
    "FreeEnergySurface",
    "IsoClassification",
    "LawMonitor",
    "Monitor",
    "PathLogger",
    "PredictionWriter",
    "Probes",
    "ProcessProgress",
    "QuasiStatic",
    "ReportPage",
    "Retention",
    "RunReport",
    "StepControl",
    "Stroke",
    "StrokeProcess",
]
