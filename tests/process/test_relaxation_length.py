"""How long a macro-step relaxes: one epoch, or as many as J takes to come to rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from support.exact_process import make_process
from thermo_pl.networks.training import training_loss
from thermo_pl.particles import Batch, interpolate
from thermo_pl.process import ConstantSteps, Continuation, Relaxed, equilibration


class Slow:
    """Goes down J's gradient, and notes J before and after each epoch, and what is allowed."""

    def __init__(self, share: float, relaxation: Any) -> None:
        """Make a process of one long step, without a predictor: all is left to relaxation."""
        self.share = share
        process, self.exact = make_process(steps=ConstantSteps(1), predictor=False)
        settings = replace(process.settings, relaxation=relaxation, predictor=False)
        self.process: Any = Continuation(process.system, process.rule, settings, 0)
        self.optimizer = torch.optim.SGD(process.system.networks.parameters(), lr=5e-3)
        self.epochs: list[tuple[float, float]] = []

    def run(self) -> dict[str, Any]:
        """The row at the end of the step."""
        row: dict[str, Any] = [r.row for r in self.process.run(self.process.start(), self)][-1]
        return row

    def __call__(self, part: int, parts: int) -> Relaxed:
        if not self.process.system.data.t:
            return self.exact(part, parts)
        before = self._energy()[0].item()
        for _ in range(10):
            self.optimizer.zero_grad()
            self._energy()[0].backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        energy, loss = self._energy()
        allowed = self.share**2 / 2 * float(self.process.system.networks.gam) * loss
        self.epochs.append((before - energy.item(), allowed))
        return Relaxed(gradients=1)

    def _energy(self) -> tuple[torch.Tensor, float]:
        networks, data = self.process.system.networks, self.process.system.data
        batch = interpolate(data.coupling("train").all(), data.t)
        energy, terms = training_loss(networks, Batch(*(x.to(networks.dtype) for x in batch)))
        return energy, terms.classification.mean().item()


@pytest.mark.parametrize(("share", "epochs"), [(0.1, 1), (0.075, 3), (0.02, 4)])
def test_relaxation_goes_on_until_j_rests(
    share: float, epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the equilibrium of the closed form moves little: to a share of 0.3 it would rest at once
    monkeypatch.setattr(equilibration, "SHARE", share)
    one, auto = Slow(share, "epoch"), Slow(share, "auto")
    rows = one.run(), auto.run()
    at_rest = [fall <= allowed for fall, allowed in auto.epochs]
    assert (len(one.epochs), len(auto.epochs)) == (1, epochs)
    assert at_rest == [*[False] * (epochs - 1), epochs < 4]  # four in all, at rest or not
    if epochs > 1:  # what was relaxed on is counted, and leaves less behind
        assert rows[1]["gradients"] > rows[0]["gradients"]
        assert rows[1]["stationarity"] < rows[0]["stationarity"]
