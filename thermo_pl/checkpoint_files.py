"""Checkpoints on disk: whole at every moment, and read without trust."""

from __future__ import annotations

import io
import os
import uuid
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from typing_extensions import override

from thermo_pl.checkpoints import read_checkpoint
from thermo_pl.files import write_whole


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the one that it replaces, which is kept as ``NAME.before.ckpt``.

    Lightning writes to the folder of temporary files and moves the result. From another file system
    that is a copy, which a kill leaves half done. A remote place is left to Lightning.
    """

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        if _is_remote(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()  # of a disk that is full torch would tell in its own way
        torch.save(checkpoint, content)
        write_whole(target, content.getbuffer(), first=_keep)

    @override
    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        if _is_remote(path) or weights_only is False:  # the caller trusts the file
            trusts = weights_only is False
            return super().load_checkpoint(path, map_location, weights_only=not trusts)
        return read_checkpoint(Path(path))

    @override
    def remove_checkpoint(self, path: str | Path) -> None:
        super().remove_checkpoint(path)
        if not _is_remote(path):
            _before(Path(path)).unlink(missing_ok=True)


def keep_whole(trainer: pl.Trainer) -> None:
    """Let a trainer write and read checkpoints in this way, unless it was given another one.

    Args:
        trainer: the trainer.
    """
    strategy = getattr(trainer, "strategy", None)
    if strategy is not None and type(strategy.checkpoint_io) is TorchCheckpointIO:
        strategy.checkpoint_io = WholeCheckpoints()


def _keep(target: Path) -> None:
    # A second name for the same file, so that at every moment there is one by the first name. A
    # file system without hard links has none for the moment between two renamings.
    before = _before(target)
    link = before.with_name(f".{before.name}.{uuid.uuid4().hex}")
    try:
        os.link(target, link)
    except OSError:
        os.replace(target, before)
    else:
        os.replace(link, before)


def _before(target: Path) -> Path:
    return target.with_name(f"{target.stem}.before{target.suffix}")


def _is_remote(path: str | Path) -> bool:
    return "://" in str(path)
