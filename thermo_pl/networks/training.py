"""J of a batch, as every loop that relaxes a model takes it."""

from __future__ import annotations

import torch
from torch import Tensor

from thermo_pl.errors import NonFinite
from thermo_pl.networks.outputs import Terms
from thermo_pl.networks.parts import Networks
from thermo_pl.particles import ALONE, Batch, Reduction


def training_loss(
    networks: Networks, batch: Batch, shared: Reduction = ALONE
) -> tuple[Tensor, Terms]:
    """J of a batch at fresh noise, or at the points of the cubature.

    Args:
        networks: the networks.
        batch: examples and weights, on the device of the networks; of several ranks each has its
            share of them.
        shared: adds up over the ranks.

    Returns:
        J, 0-dimensional, and R, D, C of each example; all in nats. Over ranks J is that of all
        examples, and the mean of the ranks' gradients is its gradient.

    Raises:
        NonFinite: if J is not finite; on all ranks at once.
    """
    # drawn for all examples, so that each has the noise that it has on one rank
    noise = networks.training_noise(shared.count(len(batch.x)))[:, shared.share]
    terms = networks.terms(networks(batch.x, noise), batch.x, batch.y)
    part = (networks.objective(terms) * batch.weight).sum() / shared.sum(batch.weight.sum())
    # the number of all examples, which a line search compares, with the gradient of this rank's
    loss = part if shared.ranks == 1 else shared.ranks * (part - part.detach()) + shared.sum(part)
    if not torch.isfinite(loss):
        raise NonFinite(
            f"J: got {loss.item()} in training; allowed: a finite number; "
            "lower the learning rate, or let the process take more and smaller steps"
        )
    return loss, terms
