"""The configs of lightning_configs/, as benchmarks change and run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

CONFIGS = Path(__file__).parents[1] / "lightning_configs"


def shipped(name: str, *over: str) -> dict[str, Any]:
    """A shipped config, with files of the folder of its name laid over it.

    Args:
        name: of the config, without the ending.
        over: of the files, likewise, each laid over those before it.

    Returns:
        What the command line would make of them.
    """
    files = [CONFIGS / f"{name}.yaml", *(CONFIGS / name / f"{other}.yaml" for other in over)]
    config: dict[str, Any] = {}
    for file in files:
        config = _merged(config, yaml.safe_load(file.read_text()))
    return config


def _merged(base: Any, over: Any) -> Any:
    # as the command line lays one config over another: lists are replaced
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return base | {key: _merged(base.get(key), value) for key, value in over.items()}
