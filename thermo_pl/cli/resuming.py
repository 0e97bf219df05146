"""Which checkpoint a command goes on from: a file, or the newest one of the last run."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from thermo_pl.checkpoints import newest_checkpoint, read_checkpoint
from thermo_pl.errors import ConfigError, DataError, require
from thermo_pl.runs.directory import run_directories
from thermo_pl.runs.reader import parse_yaml, read_file

LAST = "last"


def checkpoint(given: Any, root: Path) -> Any:
    """Look at the checkpoint that a command was given.

    Args:
        given: ``ckpt_path``: a file, ``last``, something remote, or None.
        root: the parent of the run directories.

    Returns:
        The file; what is remote or a directory of shards as it is; None for none.

    Raises:
        ConfigError: if there is none, or it is not whole, or the path is empty.
    """
    require(given is None or str(given).strip(".") != "", "ckpt_path", given, "a file, or null")
    if given is None or "://" in str(given) or Path(given).is_dir():
        return given
    if str(given) == LAST:
        return str(_last(root))
    if not Path(given).is_file():
        allowed = f"an existing checkpoint file, or {LAST} for the newest one of the last run"
        raise ConfigError(f"ckpt_path: got {str(given)!r}, no such file; allowed: {allowed}")
    read_checkpoint(Path(given), mmap=True)
    return given


def requeued(root: Path, config: str) -> str | None:
    """Where a command goes on that SLURM runs again: in the last run of the same config.

    Args:
        root: the parent of the run directories.
        config: the whole config, as a run directory has it.

    Returns:
        The checkpoint; None for a job that is not requeued, or has saved nothing yet.
    """
    if not SLURMEnvironment.detect():
        return None
    again = int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
    wanted = parse_yaml(config) | {"ckpt_path": None}
    for run in run_directories(root):
        theirs = _config(run)
        if theirs | {"ckpt_path": None} != wanted:
            continue
        if again or any(run.glob("hpc_ckpt_*.ckpt")):  # which Lightning leaves when it requeues
            found = newest_checkpoint(run / "checkpoints")
            if found is not None:
                return str(found)
        if theirs.get("ckpt_path") is None:  # what lies before it is another run
            break
    if again:
        warnings.warn(
            f"SLURM has requeued this job, and its last run under {root} has no whole checkpoint: "
            "it begins anew",
            stacklevel=2,
        )
    return None


def _last(root: Path) -> Path:
    runs = run_directories(root)
    allowed = f"a checkpoint file; or no --ckpt_path, to start anew under {root}"
    require(bool(runs), "ckpt_path", LAST, f"{allowed}, where there is no run yet")
    found = newest_checkpoint(runs[0] / "checkpoints")
    source = _config(runs[0]).get("ckpt_path")
    if found is None and source is not None:  # resumed, and cut off before it saved anything
        try:
            read_checkpoint(Path(str(source)), mmap=True)
            return Path(str(source))
        except ConfigError:
            found = newest_checkpoint(Path(str(source)).parent)
    if found is None:
        raise ConfigError(
            f"ckpt_path: got {LAST!r}, and {runs[0]} has no whole checkpoint; allowed: {allowed}"
        )
    return found


def _config(run: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_file(run / "config.yaml", parse_yaml, dict)
    except DataError:  # cut off before it was written, or not ours
        return {}
    return content
