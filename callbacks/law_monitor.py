"""Holds a measured path against the laws of learning, and says at its end how they stand."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch

from thermo_pl.callbacks.entropy_report import particles_of, why_nothing
from thermo_pl.callbacks.quasi_static import find_process, is_fitting
from thermo_pl.errors import require
from thermo_pl.files import write_json
from thermo_pl.laws.checks import Check, table
from thermo_pl.laws.path_laws import SOLVER_TOLERANCE, TOLERANCE, check_path
from thermo_pl.laws.second_law import (
    data_entropy,
    energies,
    log_partition,
    sample_trajectories,
    second_law_checks,
)
from thermo_pl.module import FreeEnergyModel
from thermo_pl.reports.summary import moving

SAMPLES = 16
"""Noise draws for each particle on which J is taken for the second law."""
PARTITION_DRAWS = 65_536
"""Draws from q(z) for log Z."""


class LawMonitor(pl.Callback):
    """Checks the laws on the rows of a process; any config with a process can add it.

    laws.json is rewritten after every macro-step, and a table is printed when the run ends, also
    when it ends early. At the end of a run the second law with log Z joins them, on the training
    particles of the last point. The monitor reads; it steers nothing and stops nothing.
    """

    def __init__(
        self, tolerance: float = TOLERANCE, solver_tolerance: float = SOLVER_TOLERANCE
    ) -> None:
        """Keep the tolerances.

        Args:
            tolerance: relative tolerance of the laws that finite steps and finite relaxation meet
                only nearly: first law, envelope and Maxwell's relation.
            solver_tolerance: relative tolerance of the checks of the responses.
        """
        for name, value in (("tolerance", tolerance), ("solver_tolerance", solver_tolerance)):
            require(0 <= value < 1, name, value, "a number from 0 to below 1")
        self.tolerance = tolerance
        self.solver_tolerance = solver_tolerance

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write laws.json.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        self._write(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the second law, and print the table.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        self._print(self._write(trainer, _second_law(trainer, pl_module)))

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Print the table of what was measured before the run stopped.

        Args:
            trainer: the trainer.
            pl_module: the model.
            exception: what stopped it.
        """
        if is_fitting(trainer):
            self._print(self._write(trainer))

    def _write(self, trainer: pl.Trainer, more: list[Check] | None = None) -> list[Check]:
        if not trainer.is_global_zero:
            return []
        rows = moving(find_process(trainer).state.rows)
        checks = check_path(rows, self.tolerance, self.solver_tolerance) + (more or [])
        if checks:
            write_json(Path(trainer.default_root_dir) / "laws.json", list(map(asdict, checks)))
        return checks

    def _print(self, checks: list[Check]) -> None:
        if checks:
            print(table(checks), flush=True)


@torch.no_grad()
def _second_law(trainer: pl.Trainer, pl_module: pl.LightningModule) -> list[Check]:
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not trainer.is_global_zero or why_nothing(pl_module, data):
        return []
    model = cast(FreeEnergyModel, pl_module)
    batch, labels = particles_of(model, data, "train"), model.classifier is not None
    generator = torch.Generator().manual_seed(0)
    entropy = data_entropy(model, batch, labels, generator, data.data_entropy(labels))
    drawn = sample_trajectories(model, batch, SAMPLES, generator)
    energy = energies(drawn, float(model.lam), float(model.gam))["J"]
    log_z = log_partition(model, PARTITION_DRAWS, generator)
    return second_law_checks(entropy, energy, log_z)[
        :-1
    ]  # without the short form, no law in general
