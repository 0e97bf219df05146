"""The second law and the entropy production of the model that ``validate`` was given."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn

from thermo_pl.callbacks.attached import (
    callbacks_of,
    data_of,
    datamodule_of,
    model_of,
    particles_of,
)
from thermo_pl.datamodules.base import PathDataModule
from thermo_pl.errors import require
from thermo_pl.estimate import Estimate
from thermo_pl.files import write_json
from thermo_pl.laws.checks import Check, table
from thermo_pl.laws.model_entropy import DataEntropy, data_entropy
from thermo_pl.laws.partition import log_partition
from thermo_pl.laws.production import Production, production, production_checks
from thermo_pl.laws.second_law import second_law_checks
from thermo_pl.laws.trajectories import energies, sample_trajectories
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks import Gaussian
from thermo_pl.particles import Batch
from thermo_pl.text import aligned, number, wrapped

WHOLE, LABELLED = "whole system", "with labels"


@dataclass(frozen=True)
class _Findings:
    # what there is to say of a model on a batch
    entropies: dict[str, DataEntropy]
    energies: dict[str, Estimate]
    productions: dict[str, Production]
    checks: list[Check]
    notes: list[str]


class EntropyReport(pl.Callback):
    """Prints H, log Z, the second law and the entropy production at the end of ``validate``.

    All of it is of the model as loaded, on all validation particles of the current leg and t. Each
    number has its standard error over the random draws, and each law its verdict. There are two
    systems: the whole one of x and z, and the subsystem with labels. Each has H, βW = -H,
    βΔF = -(R + D), with labels -(R + D + C), and σ_tot = βW - βΔF with its parts σ_sys and σ_bath.
    The second law is that of all parts the model has. See :mod:`thermo_pl.laws`.

    entropy.json in the run directory has all digits. The callback acts in ``validate`` only. The
    random draws are the same in every run. The command line adds one with the default settings by
    itself; one in a config takes its place.
    """

    def __init__(self, noise_draws: int = 10_000, partition_draws: int = 65_536) -> None:
        """Say how many draws the report rests on.

        Args:
            noise_draws: noise draws in each of three independent sets, for all particles
                together; each particle gets the same number of them, at least 2.
            partition_draws: draws of z for log Z.

        Raises:
            ConfigError: if a number is below 2.
        """
        for name, got in (("noise_draws", noise_draws), ("partition_draws", partition_draws)):
            require(got >= 2, name, got, "a whole number ≥ 2")
        self.noise_draws, self.partition_draws = noise_draws, partition_draws

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure, print and write."""
        reports = [c for c in callbacks_of(trainer) if isinstance(c, EntropyReport)]
        # one in a config goes before the one that the command line adds
        first = reports[0] is self and trainer.is_global_zero
        if trainer.state.fn != TrainerFn.VALIDATING or not first:
            return
        if reason := why_nothing(pl_module, datamodule_of(trainer)):
            line = f"no second law and no entropy production: {reason}"
            print(f"\n{_wrapped([line])}", flush=True)
            return
        model, data = model_of(pl_module), data_of(trainer)
        batch = particles_of(model, data, "val")
        found = self._measure(model, batch, data)
        place = {
            "particles": len(batch.x),
            "leg": data.leg,
            "t": data.t,
            "lambda": float(model.lam),
            "gamma": float(model.gam),
        }
        path = Path(trainer.default_root_dir) / "entropy.json"
        write_json(path, place | asdict(found, dict_factory=_without_draws))
        print(f"\n{_wrapped(_text(place, found))}\nentropy  {path}", flush=True)

    def _measure(self, model: FreeEnergyModel, batch: Batch, data: PathDataModule) -> _Findings:
        generator = torch.Generator().manual_seed(0)
        lam, gam = float(model.lam), float(model.gam)
        entropies = {
            name: data_entropy(model, batch, labels, generator, data.data_entropy(labels))
            for name, labels in _systems(model).items()
        }
        samples = max(2, round(self.noise_draws / len(batch.x)))
        drawn = sample_trajectories(model, batch, samples, generator)
        measured = energies(drawn, lam, gam)
        measured["log Z"] = log_partition(model, self.partition_draws, generator)
        productions = {
            name: production(drawn, entropies[name], labels)
            for name, labels in _systems(model).items()
            if model.decoder is not None
        }
        # labels are part of the second law as soon as there is a classifier
        entropy = list(entropies.values())[-1]
        checks = second_law_checks(entropy, measured["J"], measured["log Z"])
        for name, found in productions.items():
            checks += production_checks(name, found)
        notes = _notes(model, entropy, measured["log Z"], len(batch.x))
        return _Findings(entropies, measured, productions, checks, notes)


def why_nothing(model: pl.LightningModule, data: pl.LightningDataModule | None) -> str:
    """Why there is no second law to report on, if so.

    Args:
        model: the model.
        data: the DataModule.

    Returns:
        The reason; empty where there is one.
    """
    if not isinstance(model, FreeEnergyModel):
        return f"the model is a {type(model).__name__}, not a FreeEnergyModel"
    if model.marginal is None:
        return "the encoder is deterministic, so that there is no rate R and no q(z)"
    if model.decoder is None and model.classifier is None:
        return "the model has neither a decoder nor a classifier"
    if not isinstance(data, PathDataModule):
        return f"the data are a {type(data).__name__}, not a PathDataModule"
    return ""


def _systems(model: FreeEnergyModel) -> dict[str, bool]:
    # name of each system that the model has, and whether labels are part of it
    systems = {WHOLE: False} if model.decoder is not None else {}
    return systems | ({LABELLED: True} if model.classifier is not None else {})


def _without_draws(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in fields if name != "draws"}


def _notes(model: FreeEnergyModel, entropy: DataEntropy, log_z: Estimate, n: int) -> list[str]:
    lam, gam = float(model.lam), float(model.gam)
    notes = {
        "log Z = ∞: at λ = 0 (or γ = 0) a density has no bound, and the second law says nothing": (
            math.isinf(log_z.value)
        ),
        "log Z rests on so few draws that it is too low by an unknown amount": math.isnan(
            log_z.error
        ),
        "Z > 1: J ≥ H is no law here, the second law is -H + J + log Z ≥ 0": (
            1e-9 < log_z.value < math.inf
        ),
        "σ is that of λ = 1 (and γ = 1 with labels): a divergence at any λ and γ, but not what J "
        "weighs here": (model.decoder is not None and (lam != 1 or gam not in {0, 1})),
        f"{entropy.symbol} is not known, and without it no law can be judged": (
            math.isnan(entropy.value)
        ),
        "no decoder: x is not generated, so that H is that of the labels, and there is no σ": (
            model.decoder is None
        ),
        f"x is continuous and p(z) a mixture of {n} encoders, so I(x;z) ≤ {math.log(n):.2f}: where "
        "R comes near it, σ_sys is too high and σ_bath too low": (
            model.decoder is not None and isinstance(model.decoder.likelihood, Gaussian)
        ),
    }
    return [note for note, applies in notes.items() if applies]


def _text(place: dict[str, Any], found: _Findings) -> list[str]:
    head = (
        f"second law and entropy production: {place['particles']} val particles, "
        f"leg {place['leg']}, t = {place['t']:.4g}, λ = {place['lambda']:.4g}, "
        f"γ = {place['gamma']:.4g}; in nats"
    )
    rows = [(e.symbol, _number(e), e.method) for e in found.entropies.values()]
    rows += [(name, _number(energy), "") for name, energy in found.energies.items()]
    for name, part in found.productions.items():
        rows.append(("βW", _number(part.work), name))
        rows.append(("βΔF", _number(part.free_energy_change), name))
    laws = table(found.checks).splitlines() if found.checks else []
    return [head, *aligned(rows).splitlines(), *laws, *found.notes]


def _number(found: Estimate) -> str:
    # an error far below the last digit shown is that of arithmetic
    return number(found.value, 0.0 if found.error < 1e-9 else found.error, ".4f")


def _wrapped(lines: list[str]) -> str:
    return "\n".join(map(wrapped, lines))
