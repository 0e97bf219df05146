"""Data and networks that nobody tuned a setting for, all under one process and one optimiser.

    python benchmarks/gauntlet.py                          # all cases that were not run yet
    python benchmarks/gauntlet.py digits_noise mnist_mlp_1 # some of them, by name
    python benchmarks/gauntlet.py --list

A case is data and networks, nothing else: λ, γ, the optimiser, the relaxation and all settings of
the process are those of COMMON for every one of them. The table says how each run ended, what its
verdict on the measuring probe is, how far C went from C*, and what the run cost. Runs lie below
``--root``, and are read where they are there. Exit code 1 if a run says "done" and the verdict is
anything but held.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kept_runs import written
from shipped_configs import shipped

from thermo_pl.cli.flags import with_flags
from thermo_pl.configs.layers import follow
from thermo_pl.files import read_csv
from thermo_pl.module import FreeEnergyModel
from thermo_pl.path.segments import drift

Config = dict[str, Any]

MODEL = {"lam": 0.2, "gam": 20.0}
"""λ and γ where every case begins."""
PROCESS: Config = {"class_path": "IsoClassification", "init_args": {"k": 0.05}}
"""The process of every case; what is not said is what the framework takes."""


def named(kind: str, **arguments: Any) -> Config:
    """A class of a config."""
    return {"class_path": kind, "init_args": arguments}


def case(waypoints: list[Config], encoder: Config, decoder: Config, classes: int) -> Config:
    """A config of data and networks, laid under what all cases share."""
    config = shipped("base/process", "base/adam")
    config["model"]["init_args"] |= MODEL | {
        "encoder": encoder,
        "decoder": decoder,
        "classifier": named("LinearClassifier", classes=classes),
        "marginal": named("StandardNormal"),
    }
    config["data"] = named("InterpolatedDataModule", waypoints=waypoints, labels="matched")
    config["trainer"]["callbacks"].append(copy.deepcopy(PROCESS))
    follow(config, {}, FreeEnergyModel)
    return config


def mlp(shape: list[int], hidden: int = 64, latent: int = 8) -> tuple[Config, Config]:
    """An encoder with a hidden layer, and a linear decoder."""
    encoder = named("MLPEncoder", image_shape=shape, latent_dim=latent, hidden=[hidden])
    return encoder, named("MLPDecoder", hidden=[])


def conv(shape: list[int], channels: list[int], latent: int = 8) -> tuple[Config, Config]:
    """Convolutions both ways."""
    encoder = named("ConvEncoder", image_shape=shape, latent_dim=latent, channels=channels)
    return encoder, named("ConvDecoder", channels=channels[::-1])


def digits(
    first: list[int], second: list[int], transform: Config | None = None, **more: Any
) -> Config:
    """scikit-learn's digits, the second domain with a transform."""
    waypoints: list[Config] = [{"classes": first, **more}, {"classes": second, **more}]
    if transform:
        waypoints[1]["transform"] = transform
    return case(waypoints, *mlp([1, 8, 8]), len(first))


def table() -> Config:
    """scikit-learn's table of tumours, and the same with another instrument's gains and noise."""
    drifted = named("Drift", gain=0.2, offset=0.5, noise=0.3)
    waypoints = [{"source": named("BreastCancer"), **more} for more in ({}, {"transform": drifted})]
    return numbers(waypoints, 30, 4, 2)


def embeddings() -> Config:
    """What a network with random weights makes of the digits: 32 numbers each."""
    network = named(
        "Features",
        module="torchvision.models.resnet18",
        arguments={"num_classes": 32},
        seed=0,
        channels=3,
        size=[32, 32],
    )
    waypoints = [{"classes": classes, "transform": network} for classes in (LOW, HIGH)]
    return numbers(waypoints, 32, 8, 5)


def numbers(waypoints: list[Config], features: int, latent: int, classes: int) -> Config:
    """Examples of real numbers, standardised by the first domain."""
    encoder, decoder = mlp([features], 64, latent)
    decoder["init_args"]["likelihood"] = named("Gaussian", variance=0.5)
    config = case(waypoints, encoder, decoder, classes)
    config["data"]["init_args"]["transform"] = named("Standardise")
    return config


def colours(kind: str) -> Config:
    """Blue digits on white paper become yellow ones on black."""
    inks = ([0.1, 0.2, 0.8], [1.0, 1.0, 1.0]), ([1.0, 0.9, 0.2], [0.0, 0.0, 0.0])
    waypoints = [
        {"classes": classes, "transform": named("Colour", ink=ink, paper=paper)}
        for classes, (ink, paper) in zip((LOW, HIGH), inks, strict=True)
    ]
    shape, latent = [3, 8, 8], 8
    networks = mlp(shape, 64, latent)
    if kind == "resnet":
        resnet = named(
            "ModuleEncoder",
            image_shape=shape,
            latent_dim=latent,
            module="torchvision.models.resnet18",
            arguments={"num_classes": 2 * latent},
            group_norm=True,
        )
        networks = resnet, networks[1]
    return case(waypoints, *networks, 5)


def vision(source: str, first: list[int], second: list[int], kind: str, **more: Any) -> Config:
    """MNIST or Fashion-MNIST."""
    shape = [1, 28, 28]
    networks = mlp(shape, 256, 16) if kind == "mlp" else conv(shape, [8, 16], 16)
    waypoints = [{"classes": c, "source": named(source), **more} for c in (first, second)]
    return case(waypoints, *networks, len(first))


LOW, HIGH, EVEN, ODD = [0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [0, 2, 4, 6, 8], [1, 3, 5, 7, 9]
SPLITS = ((LOW, HIGH), (EVEN, ODD), ([0, 1, 2], [7, 8, 9]))
"""Classes of both domains, for MNIST and Fashion-MNIST."""
SOME = 1000
"""Images of each class of MNIST and Fashion-MNIST; ``mnist_all`` has all of them."""
CASES: dict[str, Callable[[], Config]] = {
    "digits_even_odd": lambda: digits(EVEN, ODD),
    "digits_three": lambda: digits([0, 1, 2], [7, 8, 9]),
    "digits_noise": lambda: digits(LOW, HIGH, named("GaussianNoise", std=0.3)),
    "digits_rotated": lambda: digits(LOW, HIGH, named("Rotation", degrees=30.0)),
    "digits_occluded": lambda: digits(LOW, HIGH, named("Occlusion", rows=[0.0, 0.4])),
    "digits_few": lambda: digits(LOW, HIGH, per_class=20),
    "digits_unbalanced": lambda: digits(LOW, HIGH, per_class=[100, 10, 30, 60, 100]),
    "table": table,
    "embeddings": embeddings,
    "colours": lambda: colours("mlp"),
    "colours_resnet": lambda: colours("resnet"),
    **{
        f"{source.lower()}_{kind}_{number}": lambda s=source, k=kind, c=classes: vision(
            s, *c, k, per_class=SOME
        )
        for source in ("MNIST", "FashionMNIST")
        for kind in ("mlp", "conv")
        for number, classes in enumerate(SPLITS, 1)
    },
    "mnist_all": lambda: vision("MNIST", LOW, HIGH, "mlp"),
}


def fitted(folder: Path, config: Config) -> tuple[int, float]:
    """Run a case if it was not run here yet: its exit code and the seconds it took."""
    done = folder / "exit.json"
    if not done.exists():
        file, start = written(folder, config), time.monotonic()
        words = [sys.executable, "-m", "thermo_pl", "fit", "--config", str(file)]
        with (folder / "printed.txt").open("w") as printed:
            run = subprocess.run(words, stdout=printed, stderr=subprocess.STDOUT, check=False)
        done.write_text(json.dumps([run.returncode, time.monotonic() - start]))
    code, seconds = json.loads(done.read_text())
    return code, seconds


def line(name: str, folder: Path, code: int, seconds: float) -> tuple[str, bool]:
    """A row of the table, and whether the run said done over a constraint that was not held."""
    runs = sorted(folder.glob("version_*"))
    rows = read_csv(runs[-1] / "path.csv") if runs and (runs[-1] / "path.csv").exists() else []
    held = [row for row in rows if row["C_target"]]
    summary = runs[-1] / "summary.json" if runs else folder
    verdict = json.loads(summary.read_text())["promise"]["verdict"] if summary.is_file() else None
    told = verdict or "none"
    if code:
        told += ": " + (folder / "printed.txt").read_text().strip().splitlines()[-1][:110]
    worst = "{:>9.2%}{:>8.2%}".format(*drift(held)) if held else f"{'':>17}"
    spent = sum(row["gradients"] for row in rows)
    reached = f"{rows[-1]['t']:>6.2f}" if rows else f"{'':>6}"
    text = f"{name:<22}{code:>5}{reached}{worst}{len(rows):>6}{spent:>11.2e}{seconds:>9.0f}  {told}"
    return text, code == 0 and verdict != "held"


def main() -> int:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help="names; all if none is given")
    parser.add_argument("--root", type=Path, default=Path("runs/gauntlet"))
    parser.add_argument("--list", action="store_true", help="only the names")
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"))
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(CASES))
        return 0
    unknown = set(arguments.cases) - CASES.keys()
    if unknown:
        parser.error(f"got {', '.join(sorted(unknown))}; allowed: {', '.join(CASES)}")
    print(
        f"{'case':<22}{'exit':>5}{'t':>6}{'max':>9}{'mean':>8}{'rows':>6}{'gradients':>11}"
        f"{'seconds':>9}  verdict",
        flush=True,
    )
    lost = False
    for name in arguments.cases or CASES:
        config = with_flags(CASES[name](), dict(arguments.set))
        text, silent = line(name, arguments.root / name, *fitted(arguments.root / name, config))
        print(text, flush=True)
        lost = lost or silent
    return int(lost)


if __name__ == "__main__":
    raise SystemExit(main())
