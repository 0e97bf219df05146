"""What a checkpoint brings: its weights, and nothing that would overrule a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

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


def is_checkpoint(path: Path) -> bool:
    """Whether a file that torch has written is a checkpoint of Lightning.

    Args:
        path: the file.

    Returns:
        Whether it is, or holds objects that are not read without trust.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UnpicklingError:
        return True
    except (RuntimeError, EOFError):
        return False
    return isinstance(content, dict) and {"state_dict", "pytorch-lightning_version"} <= set(content)


def settings_of(value: object, name: str) -> dict[str, str]:
    """What was set, as text by its place, to compare the settings of two runs.

    Args:
        value: a setting, or an object that has some: dataclasses and containers are gone through,
            of any other object what its constructor was told, as far as it keeps it by name.
        name: its place.

    Returns:
        By dotted names; what cannot be compared is left out.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return {name: repr(value)}
    if isinstance(value, Mapping):
        parts = {str(key): part for key, part in value.items()}
    elif isinstance(value, list | tuple):
        parts = {str(index): part for index, part in enumerate(value)}
    elif is_dataclass(value) or type(value).__module__.startswith("thermo_pl."):
        parts = {key: part for key, part in vars(value).items() if key[0] != "_"}
        return {name: type(value).__name__} | settings_of(parts, name)
    else:
        return {}
    found: dict[str, str] = {}
    for key, part in parts.items():
        found |= settings_of(part, f"{name}.{key}")
    return found


def check_resumed(here: Mapping[str, str], saved: Mapping[str, str]) -> None:
    """Refuse a checkpoint whose state would go on with other settings than those of the config.

    Args:
        here: settings of the config, by name.
        saved: those of the run of the checkpoint.

    Raises:
        ConfigError: if one differs.
    """
    for name in dict.fromkeys([*here, *saved]):
        got, was = here.get(name, "nothing"), saved.get(name, "nothing")
        if got != was:
            raise ConfigError(
                f"{name}: got {got} with a checkpoint of a run that started with {was}; allowed: "
                "the same, to go on with that run, or model.initial_weights instead of "
                "--ckpt_path, to start anew from its weights"
            )


def optimizer_settings(
    optimizer: torch.optim.Optimizer, scheduler: object | None
) -> dict[str, str]:
    """The settings of an optimiser and its scheduler, both fresh.

    Args:
        optimizer: the optimiser.
        scheduler: the scheduler, or None.

    Returns:
        As text, by name.
    """
    name = "model.optimizer"
    found = {name: type(optimizer).__name__, "model.scheduler": type(scheduler).__name__}
    for index, group in enumerate(optimizer.param_groups):
        place = f"{name}[{index}]" if index else name
        own = {k: v for k, v in group.items() if k not in {"params", "initial_lr"}}
        found |= settings_of(own, place)
    state: Any = {} if scheduler is None else scheduler.state_dict()  # type: ignore[attr-defined]
    return found | settings_of(state, "model.scheduler")


def check_same_networks(module: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Refuse weights of other networks, by the first name that does not fit.

    Args:
        module: the networks.
        saved: the weights.

    Raises:
        ConfigError: if they are not those of the module.
    """
    own = module.state_dict()
    for name in sorted(own.keys() | saved.keys()):
        one, other = (tuple(of[name].shape) if name in of else None for of in (own, saved))
        if one != other:
            raise ConfigError(
                f"ckpt_path: got a checkpoint with {other or 'no'} {name}; allowed: one of these "
                f"networks, with {one or 'no'} {name}"
            )
