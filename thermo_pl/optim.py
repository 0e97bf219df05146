"""Optimisers for relaxation, where λ, γ, the data and θ are moved between two steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from thermo_pl.errors import require


class QuasiStaticLBFGS(torch.optim.LBFGS):
    """L-BFGS that relaxes until J falls no further, and that may be moved between its steps.

    torch's own takes the change of the gradient from one step to the next for curvature, although
    a process has moved θ, λ, γ or the data meanwhile; one such pair in its memory can send it
    anywhere. Here pairs come from within a step only. The memory is kept: the curvature of a nearby
    equilibrium is nearly that of this one.

    How long relaxation takes varies along a path: near a transition some directions are soft. A
    step therefore goes on, round by round, as long as a round gains something.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        max_iter: int = 20,
        rounds: int = 50,
        gain: float = 1e-5,
        history_size: int = 40,
        tolerance_grad: float = 1e-7,
    ) -> None:
        """Keep the settings; the line search is strong Wolfe's.

        Args:
            params: the parameters.
            max_iter: iterations of a round.
            rounds: rounds of a step, at most.
            gain: fall of J in a round, in nats, below which the step ends.
            history_size: pairs kept.
            tolerance_grad: largest entry of the gradient at which a round ends.
        """
        super().__init__(
            params,
            lr=1.0,  # the first trial of each line search: the whole quasi-Newton step
            max_iter=max_iter,
            tolerance_grad=tolerance_grad,
            tolerance_change=0.0,
            history_size=history_size,
            line_search_fn="strong_wolfe",
        )
        require(rounds > 0, "rounds", rounds, "a whole number > 0")
        require(gain >= 0, "gain", gain, "a number ≥ 0, in nats")
        self.param_groups[0] |= {"rounds": rounds, "gain": gain}

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Relax.

        Args:
            closure: evaluates J and its gradient.

        Returns:
            J before the first iteration.
        """
        group = self.param_groups[0]
        state = self.state[group["params"][0]]
        moved = bool(state.get("n_iter"))
        known: tuple[Tensor, Any] | None = None

        def asked() -> Any:
            nonlocal moved, known
            theta = parameters_to_vector(group["params"]).detach()
            if known is not None and torch.equal(known[0], theta):  # where the last round ended
                return known[1]
            known = theta, closure()
            if moved:  # no change of the gradient since the last step, no pair
                state["prev_flat_grad"] = self._gather_flat_grad()  # type: ignore[no-untyped-call]
                moved = False
            return known[1]

        before = None
        for _ in range(group["rounds"]):
            start = float(super().step(asked).detach())  # type: ignore[no-untyped-call]
            before = start if before is None else before
            # J before the last iteration of the round
            if start - float(state.get("prev_loss", start)) < group["gain"]:
                break
        return before


class MacroStepCosine(CosineAnnealingWarmRestarts):
    """Each macro-step relaxes from large steps to small ones, and the next one begins anew.

    After i of the n optimiser steps of a macro-step the learning rate is
    η_min + ½ (η - η_min) (1 + cos(π i / n)), as in Loshchilov & Hutter, SGDR, ICLR 2017, with the
    macro-step (an epoch of Lightning's) as the period.
    :class:`~thermo_pl.module.FreeEnergyModel` counts its steps and says how many a macro-step has.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, eta_min: float = 0.0, steps: int | None = None
    ) -> None:
        """Keep the settings.

        Args:
            optimizer: whose learning rate η is changed.
            eta_min: η_min.
            steps: n, if nobody is going to say it.
        """
        self.told = steps is not None
        super().__init__(optimizer, T_0=steps or 1, eta_min=eta_min)

    def begin(self, steps: int) -> None:
        """Say how long a macro-step is.

        Args:
            steps: n, optimiser steps.
        """
        require(steps > 0, "steps", steps, "a whole number > 0")
        self.told = True
        self.T_0 = self.T_i = steps

    def step(self, epoch: float | None = None) -> None:
        """Go on by a step.

        Args:
            epoch: as for the base class.
        """
        begun = self.last_epoch >= 0
        require(self.told or not begun, "steps", None, "the optimiser steps of a macro-step")
        super().step(epoch)
