"""What a process moves: networks with their λ and γ, and data with their place on the path."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from thermo_pl.errors import NonFinite
from thermo_pl.networks.parts import Networks
from thermo_pl.particles import ALONE, Reduction
from thermo_pl.process.data import MovingData
from thermo_pl.process.state import Motion, Snapshot
from thermo_pl.response.objective import flatten, shift_parameters, unflatten


@dataclass(frozen=True)
class System:
    """Networks and data, and the few things that a process does to them.

    Attributes:
        networks: the networks, with λ and γ.
        data: the data.
        optimizer: what relaxes θ. Its state is put back with θ, and it is asked where the damping
            of the response is its own (``response.damping: auto``).
        schedulers: of its learning rate; likewise put back.
        shared: adds up over the ranks that move the same system together.

    Example:
        >>> import torch
        >>> import thermo_pl as tp
        >>> from thermo_pl.process import Motion
        >>> x, y = torch.rand(8, 1, 2, 2), torch.eye(2).repeat(4, 1)
        >>> parts = tp.MLPEncoder([1, 2, 2], 2), tp.LinearClassifier(2, 2)
        >>> networks = tp.Networks(*parts, marginal=tp.StandardNormal(2), lam=0.0, gam=5.0)
        >>> system = tp.System(networks, tp.TensorPath(tp.TensorPairs(x, 1 - x, y)))
        >>> before = system.snapshot()
        >>> system.move(Motion(gam=0.5, t=0.1))
        >>> float(networks.gam), system.data.t
        (5.5, 0.1)
        >>> system.restore(before)  # a rejected try leaves nothing behind
        >>> float(networks.gam), system.data.t
        (5.0, 0.0)
    """

    networks: Networks
    data: MovingData
    optimizer: torch.optim.Optimizer | None = None
    schedulers: tuple[LRScheduler, ...] = ()
    shared: Reduction = ALONE

    @property
    def learning_rate(self) -> float:
        """Of the first group of parameters, where a macro-step begins; nan without an optimizer."""
        if self.schedulers:
            return float(self.schedulers[0].base_lrs[0])
        return math.nan if self.optimizer is None else float(self.optimizer.param_groups[0]["lr"])

    def halve_learning_rate(self) -> None:
        """From here on, what the schedulers begin with, too."""
        for scheduler in self.schedulers:
            scheduler.base_lrs = [rate / 2 for rate in scheduler.base_lrs]
        for group in () if self.optimizer is None else self.optimizer.param_groups:
            group["lr"] = group["lr"] / 2

    def check_optimizer(self) -> None:
        """Refuse an optimizer that remembers what is not finite: it would never move θ again.

        The square of a large gradient overflows in Adam before anything else does.

        Raises:
            NonFinite: if it does.
        """
        states = () if self.optimizer is None else self.optimizer.state.values()
        for name, value in (pair for state in states for pair in state.items()):
            if isinstance(value, Tensor) and not bool(value.isfinite().all()):
                raise NonFinite(
                    f"optimizer: got a {name} that is not finite, after a gradient too large for "
                    "it; allowed: finite numbers; take smaller steps or a lower learning rate"
                )

    def snapshot(self) -> Snapshot:
        """Copy all that a macro-step moves.

        Returns:
            The copy.
        """
        networks, data, optimizer = self.networks, self.data, self.optimizer
        return Snapshot(
            [p.detach().clone() for p in networks.parameters()],
            [b.detach().clone() for b in networks.buffers()],
            data.leg,
            data.t,
            None if optimizer is None else copy.deepcopy(optimizer.state_dict()),
            [copy.deepcopy(scheduler.state_dict()) for scheduler in self.schedulers],
        )

    @torch.no_grad()
    def restore(self, saved: Snapshot) -> None:
        """Put everything back, in place, to the last bit.

        Args:
            saved: what :meth:`snapshot` gave.
        """
        networks = self.networks
        self.recover(saved)
        for buffer, value in zip(networks.buffers(), saved.buffers, strict=True):
            buffer.copy_(value)
        self.data.move_to(saved.leg, saved.t)
        if self.optimizer is not None and saved.optimizer is not None:
            # a copy: the optimizer keeps what it is given, and writes on it
            self.optimizer.load_state_dict(copy.deepcopy(saved.optimizer))
        for scheduler, state in zip(self.schedulers, saved.schedulers, strict=True):
            scheduler.load_state_dict(copy.deepcopy(state))

    @torch.no_grad()
    def recover(self, saved: Snapshot) -> None:
        """Put θ back, in place, to the last bit.

        Args:
            saved: what :meth:`snapshot` gave.
        """
        for parameter, value in zip(self.networks.parameters(), saved.parameters, strict=True):
            parameter.copy_(value)

    def settle(self, leg: int, t: float) -> None:
        """Go to another place of the path, and label what has no labels there.

        Args:
            leg: the leg.
            t: domain coordinate on it.
        """
        self.data.move_to(leg, t)
        self.data.label_with(self._probabilities)

    def move(self, motion: Motion, end: float | None = None) -> None:
        """Move the control and the data; θ stays.

        Args:
            motion: the step.
            end: t at its end, where it must be met to the last bit.
        """
        self.networks.lam += motion.lam
        self.networks.gam += motion.gam
        if motion.t:
            self.data.move_to(self.data.leg, self.data.t + motion.t if end is None else end)

    def follow(self, motion: Motion, directions: Tensor) -> None:
        """Carry θ along its response to a step of the control.

        Args:
            motion: the step.
            directions: θ_λ, θ_γ, θ_t, shape ``(3, p)``.
        """
        directions = directions.to(self.networks.lam.device)
        amounts = torch.tensor(motion, dtype=directions.dtype, device=directions.device)
        shift_parameters(self.networks, amounts @ directions)

    def shift(self, change: Tensor) -> None:
        """Carry θ somewhere else.

        Args:
            change: of all parameters, shape ``(p,)``.
        """
        shift_parameters(self.networks, change)

    def place(self, theta: Tensor) -> None:
        """Put θ somewhere, in place.

        Args:
            theta: all parameters in a row, as :meth:`theta` gives them.
        """
        own = list(self.networks.parameters())
        with torch.no_grad():
            for parameter, piece in zip(own, unflatten(theta, own), strict=True):
                parameter.copy_(piece)

    def theta(self) -> Tensor:
        """All parameters in a row, on the CPU.

        Returns:
            A copy.
        """
        return flatten(self.networks.parameters()).cpu()

    def _probabilities(self, x: Tensor) -> Tensor:
        return self.networks.predict(x.to(self.networks.lam.device)).probabilities
