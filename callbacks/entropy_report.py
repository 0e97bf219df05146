"""The second law and the entropy production of the model that ``validate`` was given."""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn

from thermo_pl.datamodules.base import PathDataModule
from thermo_pl.errors import require
from thermo_pl.files import write_json
from thermo_pl.laws.checks import Check, table
from thermo_pl.laws.second_law import (
    DataEntropy,
    Measured,
    Production,
    data_entropy,
    energies,
    log_partition,
    production,
    production_checks,
    sample_trajectories,
    second_law_checks,
)
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks import Gaussian
from thermo_pl.particles import Batch, Particles

WHOLE, LABELLED = "whole system", "with labels"


@dataclass(frozen=True)
class _Findings:
    # what there is to say of a model on a batch
    entropies: dict[str, DataEntropy]
    energies: dict[str, Measured]
    productions: dict[str, Production]
    checks: list[Check]
    notes: list[str]


class EntropyReport(pl.Callback):
    """Prints H, log Z, the second law and the entropy production at the end of ``validate``.

    They are those of the model as loaded, on all validation particles of the current leg and t,
    with standard errors over the random draws. For each system (the whole one of x and z, and the
    subsystem with labels) there are H, βW = -H, βΔF = -(R + D), with labels -(R + D + C), and
    σ_tot = βW - βΔF with its parts σ_sys and σ_bath; each law has its verdict. The second law is
    that of all parts the model has. See :mod:`thermo_pl.laws.second_law`.

    entropy.json in the run directory has all digits. The callback acts in ``validate`` only, never
    inside a fit; the random draws are the same in every run. The command line adds one with the
    default settings by itself; one in a config takes its place.
    """

    def __init__(self, noise_draws: int = 10_000, partition_draws: int = 65_536) -> None:
        """Keep the settings.

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
        """Measure, print and write.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        reports = [c for c in trainer.callbacks if isinstance(c, EntropyReport)]  # type: ignore[attr-defined]
        # one in a config goes before the one that the command line adds
        first = reports[0] is self and trainer.is_global_zero
        if trainer.state.fn != TrainerFn.VALIDATING or not first:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        if reason := why_nothing(pl_module, data):
            line = f"no second law and no entropy production: {reason}"
            print(f"\n{_wrapped([line])}", flush=True)
            return
        model = cast(FreeEnergyModel, pl_module)
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
        write_json(path, place | asdict(found))
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


def why_nothing(model: pl.LightningModule, data: Any) -> str:
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


def particles_of(model: FreeEnergyModel, data: PathDataModule, split: str) -> Batch:
    """All particles of a split where the data are, on the device of the model.

    Args:
        model: the model.
        data: the DataModule, at (leg, t).
        split: "train", "val" or "test".

    Returns:
        The batch.
    """
    dtype = cast(torch.dtype, model.dtype)
    particles = data.coupling(split).all()
    moved = Particles(*(p.to(model.device, dtype) for p in particles))
    return data.formed(moved)


def _notes(model: FreeEnergyModel, entropy: DataEntropy, log_z: Measured, n: int) -> list[str]:
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
    rows = [(e.symbol, _number(e.value, e.error), e.method) for e in found.entropies.values()]
    rows += [(name, _number(m.value, m.error), "") for name, m in found.energies.items()]
    for name, p in found.productions.items():
        work, change = p.work, p.free_energy_change
        rows.append(("βW", _number(work.value, work.error), name))
        rows.append(("βΔF", _number(change.value, change.error), name))
    width = [max(len(row[i]) for row in rows) for i in (0, 1)]
    quantities = [f"{a:<{width[0]}}  {b:<{width[1]}}  {c}".rstrip() for a, b, c in rows]
    laws = table(found.checks).splitlines() if found.checks else []
    return [head, *quantities, *laws, *found.notes]


def _wrapped(lines: list[str]) -> str:
    return "\n".join(textwrap.fill(line, 100, subsequent_indent="  ") for line in lines)


def _number(value: float, error: float) -> str:
    shown = f"{round(value, 4) + 0.0:.4f}"  # no negative zero
    if math.isnan(error):
        return f"{shown} ± ?"
    return shown if error < 1e-9 else f"{shown} ± {error:.1g}"
