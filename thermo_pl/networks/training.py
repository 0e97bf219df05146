"""J of a batch, as every loop that relaxes a model takes it."""

from __future__ import annotations

import torch
from torch import Tensor

from thermo_pl.errors import NonFinite
from thermo_pl.networks.outputs import Terms
from thermo_pl.networks.parts import Networks
from thermo_pl.particles import Batch, weighted_mean


def training_loss(networks: Networks, batch: Batch) -> tuple[Tensor, Terms]:
    """J of a batch at fresh noise, or at the points of the cubature.

    Args:
        networks: the networks.
        batch: examples and weights, on the device of the networks.

    Returns:
        J, 0-dimensional, and R, D, C of each example; all in nats.

    Raises:
        NonFinite: if J is not finite.
    """
    terms = networks.terms(
        networks(batch.x, networks.training_noise(len(batch.x))), batch.x, batch.y
    )
    loss = weighted_mean(networks.objective(terms), batch.weight)
    if not torch.isfinite(loss):
        raise NonFinite(
            f"J: got {loss.item()} in training; allowed: a finite number; "
            "lower the learning rate, or let the process take more and smaller steps"
        )
    return loss, terms
