"""A process on several ranks: all of them take the same steps, and that is checked, not hoped for.

Every rank draws the same probes from the same seeds and holds its share of the particles. What is
summed over particles, be it a mean, a gradient or a product with the curvature, is summed over the
ranks. So all of them solve the same systems, and θ stays the same without being sent.
"""

from __future__ import annotations

import zlib

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor

from thermo_pl.errors import SolverBreakdown, require
from thermo_pl.process.system import System
from thermo_pl.response.linear import Response


class RanksDiffer(SolverBreakdown):
    """Ranks that must have the same numbers do not."""


def check_strategy(trainer: pl.Trainer) -> None:
    """Refuse to spread a process over ranks in a way that does not keep θ whole on each.

    Args:
        trainer: the trainer.
    """
    if trainer.world_size > 1:
        ok = isinstance(trainer.strategy, DDPStrategy)
        allowed = "ddp: every rank of a process needs all of the parameters"
        require(ok, "trainer.strategy", type(trainer.strategy).__name__, allowed)


def check_same(trainer: pl.Trainer, system: System, response: Response | None) -> None:
    """Compare what the ranks have found, to the last bit.

    It is to be called at the end of every epoch: ranks that differ may not agree on whether a
    response is to be solved.

    Args:
        trainer: the trainer.
        system: networks and data.
        response: the response; None where none was solved.

    Raises:
        RanksDiffer: if a rank has other numbers than rank 0; raised on all ranks.
    """
    if trainer.world_size == 1:
        return
    theta = torch.cat([p.detach().flatten() for p in system.networks.parameters()])
    names = ("theta", "theta_lambda", "theta_gamma", "theta_t", "the slopes")
    found = [] if response is None else [*response.directions, response.slopes.tensor()]
    digests = [digest(part) for part in (theta, *found)]
    here = torch.tensor(digests + [0] * (len(names) - len(digests)), device=theta.device)
    gathered = trainer.strategy.all_gather(here)
    for rank, theirs in enumerate(gathered):
        same = (theirs == gathered[0]).tolist()
        if differing := [name for name, ok in zip(names, same, strict=True) if not ok]:
            raise RanksDiffer(
                f"linear response at t = {system.data.t:.4g}: got other numbers on rank {rank} "
                f"than on rank 0 for {', '.join(differing)}; allowed: the same to the last bit; "
                "give all ranks the same threads and hardware, trainer.deterministic: true, and no "
                "callback that changes the model on one of them"
            )


def digest(tensor: Tensor) -> int:
    """A checksum of the bits of a tensor.

    Args:
        tensor: any tensor.

    Returns:
        A whole number.
    """
    return zlib.crc32(tensor.detach().cpu().contiguous().numpy().tobytes())
