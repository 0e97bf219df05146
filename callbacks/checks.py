"""What a trainer, a model and data must be to carry a process."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer

from thermo_pl.callbacks.attached import callbacks_of
from thermo_pl.callbacks.ranks import check_strategy
from thermo_pl.errors import require
from thermo_pl.process.rule import Rule
from thermo_pl.process.settings import Settings
from thermo_pl.process.system import System

_AVERAGES = "none that moves θ beside a process; average the weights of its checkpoints afterwards"
REFUSED = {
    "StochasticWeightAveraging": _AVERAGES,
    "WeightAveraging": _AVERAGES,
    "ModelPruning": "none that changes the networks of a process; prune before or after it",
    "BaseFinetuning": "the same parameters throughout; freeze them in the networks themselves",
    "LearningRateFinder": "none: it looks for model.lr; the learning rate is model.optimizer.lr",
    "BatchSizeFinder": "none that trains before a process; take a number for data.batch_size",
    "EarlyStopping": "none: J changes along a path, and a process ends by itself",
    "GradientAccumulationScheduler": "trainer.accumulate_grad_batches, the same number throughout",
}
"""Callbacks of Lightning that a process cannot stand, and what to do instead.

By name: not every release of Lightning has all of them.
"""


def check_trainer(trainer: pl.Trainer) -> None:
    """Refuse a trainer that cannot carry a process; the command line asks before it launches.

    Args:
        trainer: the trainer. It must not split θ over devices, run on after the process, have too
            low a precision, draw other batches or let another callback move θ.
    """
    check_strategy(trainer)
    allowed = "none: the process ends the run"
    require((trainer.min_epochs or 0) <= 1, "trainer.min_epochs", trainer.min_epochs, allowed)
    require(not trainer.min_steps, "trainer.min_steps", trainer.min_steps, allowed)
    precise = not trainer.precision.endswith("16-true")
    allowed = "32-true, 64-true or a mixed one: a process takes differences of means"
    require(precise, "trainer.precision", trainer.precision, allowed)
    overfit: float = trainer.overfit_batches  # type: ignore[attr-defined]
    limit = trainer.limit_train_batches
    allowed = (
        "0: it replaces the draws by mass; take data.train_batches, or per_class in a waypoint"
    )
    require(not overfit, "trainer.overfit_batches", overfit, allowed)
    allowed = "a number of batches from 1, or a share of them above 0: relaxation needs some"
    require(limit != 0, "trainer.limit_train_batches", limit, allowed)
    for callback in callbacks_of(trainer):
        for kind in type(callback).__mro__:
            ok = kind.__name__ not in REFUSED
            allowed = REFUSED.get(kind.__name__, "")
            require(ok, "trainer.callbacks", type(callback).__name__, allowed)


def check_relaxation(trainer: pl.Trainer, settings: Settings) -> None:
    """Refuse what the trainer would relax θ by, once its optimisers are built.

    Args:
        trainer: the trainer, in a fit.
        settings: of the process.
    """
    together, automatic = (
        trainer.accumulate_grad_batches,
        trainer.lightning_module.automatic_optimization,
    )
    allowed = "True, which has one optimiser: the response follows its relaxation"
    require(automatic, "model.automatic_optimization", automatic, allowed)
    allowed = "1 with process.parts > 1: a correction must not fall between two gradients of a step"
    ok = together == 1 or settings.parts == 1
    require(ok, "trainer.accumulate_grad_batches", together, allowed)
    for config in trainer.lr_scheduler_configs:
        name, ends = type(config.scheduler).__name__, hasattr(config.scheduler, "total_steps")
        allowed = "one without an end, such as MacroStepCosine: nobody knows how long a process is"
        require(not ends, "model.scheduler", name, allowed)
    clip, auto = trainer.gradient_clip_val, settings.response.damping == "auto"
    ok = not (clip and auto and isinstance(trainer.optimizers[0], torch.optim.SGD))
    allowed = "null with SGD and response.damping: auto, which takes no step for shorter than it is"
    require(ok, "trainer.gradient_clip_val", clip, allowed)


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
    if settings.probes.cubature is True:
        drawn = system.networks.encoder.gaussian_draws
        require(drawn, "probes.cubature", True, "false: this encoder draws no Gaussian z")


def who_stopped(trainer: pl.Trainer) -> str:
    """What ended a fit before the process did.

    Args:
        trainer: the trainer, at the end of a fit.

    Returns:
        The limit by its name, or that it was a callback.
    """
    epochs, steps = trainer.max_epochs, trainer.max_steps
    timers = [c for c in callbacks_of(trainer) if isinstance(c, Timer)]
    limits = {
        "max_epochs": epochs is not None and 0 <= epochs <= trainer.current_epoch,
        "max_steps": 0 <= steps <= trainer.global_step,
        "max_time": any((t.time_remaining() or 1.0) <= 0 for t in timers),
    }
    met = [name for name, is_met in limits.items() if is_met]
    return f"the trainer's limits ({', '.join(met)})" if met else "a callback of the trainer"
