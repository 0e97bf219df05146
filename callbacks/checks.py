"""What a trainer, a model and data must be to carry a process."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from thermo_pl.callbacks.ranks import check_strategy
from thermo_pl.errors import require
from thermo_pl.process.rule import Rule
from thermo_pl.process.settings import Settings
from thermo_pl.process.system import System


def check_trainer(trainer: pl.Trainer) -> None:
    """Refuse a trainer that cannot carry a process; the command line asks before it launches.

    Args:
        trainer: the trainer. It must not split θ over devices, run on after the process, or have
            too low a precision.
    """
    check_strategy(trainer)
    allowed = "none: the process ends the run"
    require((trainer.min_epochs or 0) <= 1, "trainer.min_epochs", trainer.min_epochs, allowed)
    require(not trainer.min_steps, "trainer.min_steps", trainer.min_steps, allowed)
    precise = not trainer.precision.endswith("16-true")
    allowed = "32-true, 64-true or a mixed one: a process takes differences of means"
    require(precise, "trainer.precision", trainer.precision, allowed)


def check_system(name: str, system: System, rule: Rule[Any], settings: Settings) -> None:
    """Refuse settings that do not fit the model or the data.

    Args:
        name: of the process.
        system: model and data.
        rule: of the process.
        settings: of the process.
    """
    mixed = rule.solves and system.data.mixture
    allowed = f"false: {name} moves the examples themselves"
    require(not mixed, "data.mixture", mixed, allowed)
    if settings.probes.cubature:
        drawn = system.networks.encoder.gaussian_draws
        require(drawn, "probes.cubature", True, "false: this encoder draws no Gaussian z")
