"""What a trainer holds, with its types: callbacks, data and model."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn

from thermo_pl.datamodules.base import PathDataModule
from thermo_pl.errors import ConfigError
from thermo_pl.module import FreeEnergyModel
from thermo_pl.particles import Batch, Particles


def callbacks_of(trainer: pl.Trainer) -> list[pl.Callback]:
    """The trainer's callbacks.

    Args:
        trainer: the trainer.

    Returns:
        In the order of the list.
    """
    found: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return found


def datamodule_of(trainer: pl.Trainer) -> pl.LightningDataModule | None:
    """The DataModule of the run.

    Args:
        trainer: the trainer.

    Returns:
        The DataModule; None where the trainer was given loaders.
    """
    found: pl.LightningDataModule | None = trainer.datamodule  # type: ignore[attr-defined]
    return found


def data_of(trainer: pl.Trainer) -> PathDataModule:
    """The data of the run, which lie on a path of domains.

    Args:
        trainer: the trainer.

    Returns:
        The DataModule.

    Raises:
        ConfigError: if it is another one, or there is none.
    """
    data = datamodule_of(trainer)
    if not isinstance(data, PathDataModule):
        raise ConfigError(
            "data: got no DataModule with domains; allowed: an InterpolatedDataModule"
        )
    return data


def model_of(pl_module: pl.LightningModule) -> FreeEnergyModel:
    """The model of the run, whose λ and γ a process moves.

    Args:
        pl_module: what the trainer trains.

    Returns:
        The model.

    Raises:
        ConfigError: if it is a model of another kind.
    """
    if not isinstance(pl_module, FreeEnergyModel):
        raise ConfigError(
            f"model: got {type(pl_module).__name__!r}; allowed: a FreeEnergyModel: a process moves "
            "its λ and γ"
        )
    return pl_module


def particles_of(model: FreeEnergyModel, data: PathDataModule, split: str) -> Batch:
    """All particles of a split where the data are, on the device of the model.

    Args:
        model: the model.
        data: the DataModule, at (leg, t).
        split: "train", "val" or "test".

    Returns:
        The batch.
    """
    particles = data.coupling(split).all()
    return data.formed(Particles(*(part.to(model.device, model.dtype) for part in particles)))


def is_fitting(trainer: pl.Trainer) -> bool:
    """Whether what the trainer does is a fit, and not a test or a prediction after one.

    Args:
        trainer: the trainer.

    Returns:
        Whether it is.
    """
    return trainer.state.fn == TrainerFn.FITTING
