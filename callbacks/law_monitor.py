"""Holds a measured path against the laws of learning, and says at its end how they stand."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytorch_lightning as pl
import torch

from thermo_pl.callbacks.attached import data_of, model_of, particles_of
from thermo_pl.callbacks.entropy_report import why_nothing
from thermo_pl.callbacks.monitor import Monitor
from thermo_pl.callbacks.processes import find_process
from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.datamodules.base import PathDataModule
from thermo_pl.errors import require
from thermo_pl.files import is_due, write_json
from thermo_pl.laws.checks import Check, table
from thermo_pl.laws.model_entropy import data_entropy
from thermo_pl.laws.partition import log_partition
from thermo_pl.laws.path_laws import SOLVER_TOLERANCE, TOLERANCE, check_path
from thermo_pl.laws.second_law import second_law_checks
from thermo_pl.laws.trajectories import energies, sample_trajectories
from thermo_pl.module import FreeEnergyModel
from thermo_pl.path.columns import Row
from thermo_pl.reports.summary import moving

SAMPLES = 16
"""Noise draws for each particle on which J is taken for the second law."""
PARTITION_DRAWS = 65_536
"""Draws from q(z) for log Z."""


class LawMonitor(Monitor):
    """Checks the laws on the rows of a process; any config with a process can add it.

    laws.json is rewritten after every macro-step, from the hundredth on now and then, and a table
    is printed when the run ends, also when it ends early. At the end of a run the second law with
    log Z joins them, on the training particles of the last point. The monitor reads; it steers
    nothing and stops nothing.
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
        self._checked = 0
        self._last: list[Check] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a run without a process."""
        find_process(trainer)

    def on_row(self, trainer: pl.Trainer, process: QuasiStatic, row: Row) -> None:
        """Write laws.json; on a long path not at every row, as all rows are gone through."""
        checks = self._due(process)
        if trainer.is_global_zero:
            _write(trainer, checks)

    def on_ending(self, trainer: pl.Trainer, process: QuasiStatic) -> None:
        """Add the second law, and print the table; after an exception what was measured before."""
        if not trainer.is_global_zero:
            return
        checks = self.checks(process)
        if not trainer.interrupted:
            checks += _second_law(model_of(trainer.lightning_module), data_of(trainer))
        _write(trainer, checks)
        if checks:
            print(table(checks), flush=True)

    def checks(self, process: QuasiStatic) -> list[Check]:
        """What the laws say of the path so far.

        Args:
            process: the process.

        Returns:
            One check for each law that the rows can be held against.
        """
        return check_path(moving(process.rows), self.tolerance, self.solver_tolerance)

    def metrics(self, process: QuasiStatic) -> dict[str, float]:
        """The value of each law, under ``law/``.

        Args:
            process: the process.

        Returns:
            By the name in the loggers.
        """
        return {f"law/{_plain(check.law)}": check.value for check in self._due(process)}

    def _due(self, process: QuasiStatic) -> list[Check]:
        # once for each row, whoever asks first; nothing where it is not due
        count = len(process.rows)
        if count != self._checked:
            if not is_due(count, self._checked):
                return []
            self._checked, self._last = count, self.checks(process)
        return self._last


def _write(trainer: pl.Trainer, checks: list[Check]) -> None:
    if checks:
        write_json(Path(trainer.default_root_dir) / "laws.json", list(map(asdict, checks)))


def _plain(name: str) -> str:
    # "concavity, D_λ ≤ 0" becomes "concavity_D_lambda", a name for a metric
    spelled = name.partition("≤")[0].replace("λ", "lambda").replace("γ", "gamma")
    return re.sub(r"[^A-Za-z0-9]+", "_", spelled).strip("_")


@torch.no_grad()
def _second_law(model: FreeEnergyModel, data: PathDataModule) -> list[Check]:
    if why_nothing(model, data):
        return []
    batch, labels = particles_of(model, data, "train"), model.classifier is not None
    generator = torch.Generator().manual_seed(0)
    entropy = data_entropy(model, batch, labels, generator, data.data_entropy(labels))
    drawn = sample_trajectories(model, batch, SAMPLES, generator)
    energy = energies(drawn, float(model.lam), float(model.gam))["J"]
    log_z = log_partition(model, PARTITION_DRAWS, generator)
    # without the short form, no law in general
    return second_law_checks(entropy, energy, log_z)[:-1]
