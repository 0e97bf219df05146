"""A quiet trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl


def trainer(root: Path, *callbacks: pl.Callback, **changes: Any) -> pl.Trainer:
    """A trainer of one epoch that leaves nothing behind and says nothing."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu", "devices": 1}
    settings = quiet | {"max_epochs": 1} | changes
    return pl.Trainer(default_root_dir=root, callbacks=list(callbacks), **settings)
