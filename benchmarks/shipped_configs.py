"""The configs of lightning_configs/, as benchmarks change and run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from thermo_pl.configs.layers import follow, load
from thermo_pl.module import FreeEnergyModel

CONFIGS = Path(__file__).parents[1] / "lightning_configs"


def shipped(name: str, *over: str) -> dict[str, Any]:
    """A shipped config, with others laid over it.

    Args:
        name: of the config, without the ending; with its folder if it lies in one.
        over: of the others, likewise, each laid over those before it.

    Returns:
        What the command line would make of them.
    """
    config = load(*(CONFIGS / f"{file}.yaml" for file in (name, *over)))
    follow(config, {}, FreeEnergyModel)
    return config
