"""Optimisers for relaxation, where λ, γ, the data and θ are moved between two steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class QuasiStaticLBFGS(torch.optim.LBFGS):
    """L-BFGS that may be moved between its steps.

    torch's own takes the change of the gradient from one step to the next for curvature, although
    a process has moved θ, λ, γ or the data meanwhile; one such pair in its memory can send it
    anywhere. Here pairs come from within a step only. The memory is kept: the curvature of a nearby
    equilibrium is nearly that of this one.
    """

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Take up to ``max_iter`` iterations.

        Args:
            closure: evaluates J and its gradient.

        Returns:
            J before the first of them.
        """
        state = self.state[self.param_groups[0]["params"][0]]
        if state.get("n_iter"):
            with torch.enable_grad():
                closure()
            # no change of the gradient, no pair
            state["prev_flat_grad"] = self._gather_flat_grad()  # type: ignore[no-untyped-call]
        return super().step(closure)  # type: ignore[no-untyped-call]
