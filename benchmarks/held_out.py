"""C on test images along a path, with C held on training images and on validation images.

    THERMO_PL_DATA=... python benchmarks/held_out.py
    python benchmarks/held_out.py --config iso_digits

Runs a shipped iso-classification twice, with ``hold: train`` and with ``hold: validation``. After
each macro-step C and the accuracy are taken on the coupled test images, which nothing else sees.
The table has both ends of the path, and the largest |C/C(0) - 1| on each kind of images. Runs that
are there are read.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from pathlib import Path

import pytorch_lightning as pl
import torch
from kept_runs import fitted
from shipped_configs import shipped
from typing_extensions import override

from thermo_pl.callbacks import Monitor, QuasiStatic
from thermo_pl.callbacks.attached import data_of, model_of
from thermo_pl.files import read_csv
from thermo_pl.particles import interpolate
from thermo_pl.path.columns import Row
from thermo_pl.response.measurement import accuracy, classification_draws
from thermo_pl.response.objective import Probe

DRAWS = 64


class OnTest(Monitor):
    """Writes C and the accuracy on test images beside path.csv."""

    def __init__(self) -> None:
        """Begin without rows."""
        self._rows: list[dict[str, float]] = []

    @override
    @torch.no_grad()
    def on_row(self, trainer: pl.Trainer, process: QuasiStatic, row: Row) -> None:
        networks, data = model_of(trainer.lightning_module), data_of(trainer)
        particles = data.coupling("test").all()
        generator = torch.Generator().manual_seed(7)
        noise = networks.noise(DRAWS, len(particles.weight), generator)
        loss = float(classification_draws(networks, Probe(particles, noise), data.t).mean())
        right = accuracy(networks, interpolate(particles, data.t))
        self._rows.append({"t": data.leg + data.t, "C": loss, "accuracy": right})
        with (Path(trainer.default_root_dir) / "on_test.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["t", "C", "accuracy"])
            writer.writeheader()
            writer.writerows(self._rows)


def away(values: list[float]) -> float:
    """Largest |C/C(0) - 1|."""
    return max(abs(value / values[0] - 1) for value in values)


def line(root: Path, name: str, hold: str) -> str:
    """Run once, and describe it."""
    config = shipped(name)
    callbacks = config["trainer"]["callbacks"]
    assert callbacks[-1]["class_path"] == "IsoClassification"
    callbacks[-1]["init_args"]["hold"] = hold
    callbacks.insert(0, {"class_path": "held_out.OnTest"})
    run = fitted(root / f"{name}_{hold}", config)
    rows = read_csv(run / "path.csv")
    first = next(i for i, row in enumerate(rows) if row["C_target"]) if rows else 0
    on_test = read_csv(run / "on_test.csv")[first:]
    train, val = ([row[c] for row in rows[first:]] for c in ("C", "val_C"))
    test = [float(row["C"]) for row in on_test]
    right = [float(row["accuracy"]) for row in on_test]
    ending = json.loads((run / "summary.json").read_text())["ending"]
    cells = [f"{x[0]:>8.4f} → {x[-1]:.4f}{away(x):>8.1%}" for x in (train, val, test)]
    gamma = f"{rows[first]['gamma']:.3g} → {rows[-1]['gamma']:.3g}"
    return (
        f"{hold:<12}" + "".join(f"{cell:>28}" for cell in cells) + f"{right[0]:>9.4f} → "
        f"{right[-1]:.4f}{gamma:>16}  {ending[:60]}"
    )


def main() -> None:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="transfer_mnist")
    parser.add_argument("--root", type=Path, default=Path("runs/held_out"))
    arguments = parser.parse_args()
    here = str(Path(__file__).parent)  # the run finds OnTest by this module's name
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    titles = ("C train", "C validation", "C test")
    print(
        f"{'C held on':<12}"
        + "".join(f"{t + ' (away)':>28}" for t in titles)
        + f"{'accuracy':>18}{'gamma':>16}",
        flush=True,
    )
    for hold in ("train", "validation"):
        print(line(arguments.root, arguments.config, hold), flush=True)


if __name__ == "__main__":
    main()
