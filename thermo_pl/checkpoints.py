"""Weights from a checkpoint, refused in one line where they do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from thermo_pl.errors import ConfigError, require


def load_weights(
    module: nn.Module,
    path: Path,
    argument: str,
    allowed: str,
    prefix: str = "",
    instead: Mapping[str, Tensor] | None = None,
) -> None:
    """Load the weights of a module from a checkpoint of a model.

    Args:
        module: what they are loaded into.
        path: the checkpoint, as Lightning writes it, or a plain ``state_dict``.
        argument: name of the argument that named it, for errors.
        allowed: what it must be a checkpoint of, for errors.
        prefix: what the names of the module's entries begin with there.
        instead: entries that take the place of those in the checkpoint.

    Raises:
        ConfigError: if there is no such file, or its weights are not those of the module.
    """
    require(path.is_file(), argument, str(path), "an existing checkpoint file")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        state = found.get("state_dict", found)
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        module.load_state_dict(own | dict(instead or {}))
    except (RuntimeError, UnpicklingError, EOFError, AttributeError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
        raise ConfigError(
            f"{argument}: got {str(path)!r}; allowed: a checkpoint of {allowed} ({reason})"
        ) from error
