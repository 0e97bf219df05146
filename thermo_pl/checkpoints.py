"""What a checkpoint brings: its weights, and nothing that would overrule a config."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from thermo_pl.errors import ConfigError, require

INSIDE = "thermo_inside_a_macro_step"
"""Key of checkpoints: whether they were taken where no process can go on."""


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
    found = read(path, argument, f"a checkpoint of {allowed}")
    try:
        state = found.get("state_dict", found)
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        module.load_state_dict(own | dict(instead or {}))
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{argument}: got {str(path)!r}; allowed: a checkpoint of {allowed} ({_reason(error)})"
        ) from error


def read(path: Path, argument: str, allowed: str, mmap: bool = False) -> Any:
    """What a file of torch holds: plain data, and whole to the last bit.

    Nothing in the file is executed. torch writes checksums, but does not look at them; here they
    are compared.

    Args:
        path: the file.
        argument: name of the argument that named it, for errors.
        allowed: what is allowed there, likewise.
        mmap: leave tensors on disk until they are used.

    Returns:
        The content, on the CPU.

    Raises:
        ConfigError: if there is no such file, if it is torn, or holds anything but plain data.
    """
    require(path.is_file(), argument, str(path), "an existing checkpoint file")
    try:
        if zipfile.is_zipfile(path):  # else it is of the older format, which has no checksums
            _compare_checksums(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # of bytes that torch did not write anything may come
        raise ConfigError(
            f"{argument}: got {str(path)!r}; allowed: {allowed} ({_reason(error)})"
        ) from error


def read_checkpoint(path: Path, mmap: bool = False) -> dict[str, Any]:
    """What a checkpoint of Lightning holds.

    Args:
        path: the file.
        mmap: leave tensors on disk until they are used.

    Returns:
        The content, on the CPU.

    Raises:
        ConfigError: if it is torn, or no checkpoint.
    """
    allowed = "a whole checkpoint, or last for the newest one of the last run"
    content = read(path, "ckpt_path", allowed, mmap)
    kinds = {"state_dict": dict, "pytorch-lightning_version": str, "loops": dict, "epoch": int}
    ok = isinstance(content, dict)
    ok = ok and all(isinstance(content.get(name), kind) for name, kind in kinds.items())
    require(ok, "ckpt_path", str(path), f"{allowed}, which this is not")
    whole: dict[str, Any] = content
    return whole


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint that a process can go on from; others are named in a warning.

    Args:
        folder: where checkpoints lie.

    Returns:
        The file, or None.
    """
    files = sorted(folder.glob("*.ckpt"), key=lambda file: file.lstat().st_mtime_ns)
    for file in reversed(files):
        try:
            require(
                not read_checkpoint(file, mmap=True).get(INSIDE),
                "ckpt_path",
                str(file),
                "one from between two macro-steps",
            )
        except ConfigError as error:
            warnings.warn(f"passed over, for an older checkpoint: {error}", stacklevel=2)
        else:
            return file
    return None


def _compare_checksums(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        # torch compresses nothing in a checkpoint: what is small on disk cannot grow in memory
        if any(one.compress_type for one in file.infolist()):
            raise zipfile.BadZipFile("it is compressed, as torch's checkpoints are not")
        if torn := file.testzip():
            raise zipfile.BadZipFile(f"{torn} is torn: its checksum is not that of its bytes")


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, UnpicklingError):  # torch's advice is to trust the file
        told = next((line for line in lines if "nsupported" in line), "")
        return f"it holds more than plain data, which could run code: {told}"
    return lines[-1][:200] if lines else type(error).__name__


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
