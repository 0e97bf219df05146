"""Rotated MNIST with labels at 0-5° only: gradual self-training of J, and what its parts are worth.

    THERMO_PL_DATA=... python benchmarks/rotated_mnist.py --variants gradual no_decoder --seeds 0

Each run is lightning_configs/rotated_mnist.yaml with one thing changed, `controlled` by a file laid
over it. The accuracy at 55-60° is that on 2,000 held-out images, before the stream (source only)
and after it; nothing steers by it.
Runs lie under --root; one that is there is read, not run again. A run takes two minutes of one
core, with control six.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kept_runs import summary_of
from shipped_configs import shipped

HEAD = f"{'variant':<16}{'seed':>5}{'before':>9}{'55-60°':>9}{'0-5°':>9}" + (
    f"{'gradients':>12}{'seconds':>9}"
)
Config = dict[str, Any]


def data(config: Config) -> Config:
    """The arguments of the DataModule."""
    arguments: Config = config["data"]["init_args"]
    return arguments


def no_decoder(config: Config) -> None:
    """R + γC alone: an information bottleneck."""
    config["model"]["init_args"] |= {"decoder": None, "lam": 0.0}


def transported(config: Config) -> None:
    """Labels by exact plans between windows, which are blind to labels."""
    data(config)["labels"] = "transported"


def interpolated(config: Config) -> None:
    """Also halfway between two windows, at the same cost: half of the batches at each place."""
    config["trainer"]["callbacks"][-1]["init_args"]["steps"] = 2
    data(config)["train_batches"] //= 2


def at_once(config: Config) -> None:
    """Self-training on 2,000 unlabelled images at 55-60° with nothing between, for as long."""
    images = {"sizes": [5000, 1000, 2000, 2000], "stream": [55.0, 60.0]}
    data(config)["images"]["init_args"] = images
    data(config)["windows"] = 1
    config["trainer"]["callbacks"][-1]["init_args"]["epochs"] = 21


VARIANTS: dict[str, Callable[[Config], None]] = {
    "gradual": lambda config: None,
    "no_decoder": no_decoder,
    "all_labels": lambda config: data(config).update(drop=0.0),
    "no_translations": lambda config: data(config).update(shift=0),
    "interpolated": interpolated,
    "transported": transported,
    "at_once": at_once,
}
OVERLAYS = ("controlled",)
"""Variants that are a file of lightning_configs/rotated_mnist/."""
NAMES = [*VARIANTS, *OVERLAYS]


def config_of(variant: str) -> Config:
    """The config of a variant."""
    if variant in OVERLAYS:
        return shipped(f"rotated_mnist/{variant}")
    config = shipped("rotated_mnist")
    VARIANTS[variant](config)
    return config


def main() -> None:
    """Run what is asked for and print the table, line by line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark_rotated_mnist"))
    parser.add_argument("--variants", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    print(HEAD, flush=True)
    for variant in arguments.variants:
        for seed in arguments.seeds:
            config = config_of(variant)
            config["seed_everything"] = seed
            found = summary_of(arguments.root / f"{variant}_{seed}", config)
            if found is None or found["ending"] != "done":
                print(f"{variant:<16}{seed:>5}  failed", flush=True)
                continue
            before, after = found["accuracy"]["B"]
            print(
                f"{variant:<16}{seed:>5}{before:>9.4f}{after:>9.4f}{found['accuracy']['A'][1]:>9.4f}"
                f"{found['gradients']:>12,.0f}{found['seconds']:>9.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
