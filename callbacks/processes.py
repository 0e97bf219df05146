"""The process among the callbacks of a trainer."""

from __future__ import annotations

import pytorch_lightning as pl

from thermo_pl.callbacks.attached import callbacks_of
from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.errors import ConfigError


def find_process(trainer: pl.Trainer) -> QuasiStatic:
    """The process among the trainer's callbacks.

    Args:
        trainer: the trainer.

    Returns:
        The process.

    Raises:
        ConfigError: if there is none, or more than one.
    """
    found = [c for c in callbacks_of(trainer) if isinstance(c, QuasiStatic)]
    if len(found) != 1:
        raise ConfigError(
            f"trainer.callbacks: got {len(found)} processes; allowed: exactly one, such as "
            "IsoClassification"
        )
    return found[0]
