"""When J counts as at rest, and what becomes of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from thermo_pl.errors import ConfigError, NotEquilibrated
from thermo_pl.estimate import Estimate
from thermo_pl.networks import LinearClassifier, MLPEncoder, Networks, StandardNormal
from thermo_pl.optim import MacroStepCosine
from thermo_pl.process import (
    ConstantSteps,
    Continuation,
    Equilibration,
    IsoClassificationRule,
    Probes,
    Relaxation,
    Settings,
    System,
    TensorPairs,
    TensorPath,
)
from thermo_pl.process.iso_classification import IsoCourse
from thermo_pl.process.measuring import Instruments
from thermo_pl.process.state import from_plain, to_plain
from thermo_pl.response.measurement import Measurement

R, C, GAM = 3.0, 0.02, 10.0
AUTO = Equilibration(max_epochs=100, check_every=5)


def state_of(energy: float, gam: float = GAM) -> Measurement:
    """R, C and γ as above, and the D that makes J as large as is asked for, at λ = 1."""
    terms = R, energy - R - gam * C, C
    return Measurement(*(Estimate(term, 0.0) for term in terms), lam=1.0, gam=gam, t=0.0)


def small() -> Networks:
    """Two latents of four pixels, and two classes."""
    parts = MLPEncoder([1, 2, 2], 2), LinearClassifier(2, 2)
    return Networks(*parts, marginal=StandardNormal(2), lam=0.0, gam=5.0)


def checked(energies: Sequence[float]) -> list[dict[str, float]]:
    """Checks five epochs apart."""
    checks: list[dict[str, float]] = []
    for number, energy in enumerate(energies, 1):
        found = 5 * number, 0.3, state_of(energy), 0.1
        checks.append(AUTO.check(checks, *found))
    return checks


def test_allowed_is_what_leaves_a_third_of_gamma_open() -> None:
    first, second = checked([10.0, 9.0])
    assert math.isnan(first["fall"])
    assert second["fall"] == pytest.approx(1.0 / 5)  # nats in an epoch
    # C = a/γ, so that F = -a log γ up to what does not depend on γ, and -F'' = a/γ²: as far from
    # the minimum in γ as δ nats of J allow, γ is off by (2δ γ²/a)^½
    a = GAM * C
    assert math.sqrt(2 * second["allowed"] * GAM**2 / a) == pytest.approx(0.3 * GAM)
    free = AUTO.check([], 5, 0.3, state_of(10.0, gam=0.0), 0.1)
    assert free["allowed"] == pytest.approx(0.045 * R)


def test_it_ends_where_j_rests_at_two_learning_rates() -> None:
    # falls of 0.2, 0.001, 0.02, -0.01 in an epoch, where 0.009 are allowed
    checks = checked([10.0, 9.0, 8.995, 8.895, 8.945])
    rests = [AUTO.rests(checks[:n]) for n in range(1, 6)]
    assert rests == [False, False, True, False, True]
    assert [AUTO.reached(checks[:n]) for n in range(1, 6)] == [False] * 4 + [True]
    told = Equilibration(0.5)  # by the decrement alone, which is 0.3
    assert told.reached(checks)
    assert not told.rests(checks)


def test_what_is_not_reached_says_how_fast_j_falls() -> None:
    error = AUTO.missed(checked([10.0, 9.0]), 10)
    assert isinstance(error, NotEquilibrated)
    assert "J falling by 0.2 nats in an epoch after 10" in str(error)
    with pytest.raises(ConfigError, match="stationarity: got 'soon'; allowed: a number > 0"):
        Equilibration("soon")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_epochs: got 10; allowed: at least 15"):
        Equilibration(max_epochs=10)


def rates(optimizer: Any, scheduler: Any, steps: int) -> list[float]:
    """The learning rates of so many steps."""
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_a_halved_rate_is_what_the_schedule_begins_with_and_is_put_back() -> None:
    networks = small()
    optimizer = torch.optim.SGD(networks.parameters(), lr=0.8)
    scheduler = MacroStepCosine(optimizer, steps=4)
    y = torch.eye(2).repeat(4, 1)
    x = torch.rand(8, 1, 2, 2)
    system = System(networks, TensorPath(TensorPairs(x, x, y)), optimizer, (scheduler,))
    cosine = [0.5 * (1 + math.cos(math.pi * i / 4)) for i in range(4)]
    assert rates(optimizer, scheduler, 4) == pytest.approx([0.8 * c for c in cosine])
    before = system.snapshot()
    system.halve_learning_rate()
    assert system.learning_rate == pytest.approx(0.4)
    assert rates(optimizer, scheduler, 8) == pytest.approx([0.4 * c for c in 2 * cosine])
    system.restore(before)
    assert rates(optimizer, scheduler, 4) == pytest.approx([0.8 * c for c in cosine])


def test_a_run_halves_its_rate_where_j_rests() -> None:
    torch.manual_seed(0)
    y = torch.eye(2).repeat(100, 1)
    x = 0.3 + 0.4 * y[:, :1, None, None] + 0.2 * torch.randn(200, 1, 2, 2)
    networks = small()
    optimizer = torch.optim.Adam(networks.parameters(), lr=0.02)
    system = System(networks, TensorPath(TensorPairs(x, x + 0.2, y)), optimizer)
    settings = Settings(
        Equilibration(max_epochs=40, check_every=1),
        Probes(64, control_samples=16, measuring_samples=64),
    )
    process = Continuation(system, IsoClassificationRule(k=0.0), settings, seed=0)
    state = next(process.run(process.start(), Relaxation(system, batches=40))).state
    rests = [check["fall"] <= check["allowed"] for check in state.checks]
    assert sum(rests) == 2
    assert rests[-1]
    halved = rests.index(True) + 1
    expected = [0.02] * halved + [0.01] * (len(rests) - halved)
    assert [check["learning_rate"] for check in state.checks] == expected
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


def test_probes_grow_until_they_know_c_as_well_as_is_promised() -> None:
    torch.manual_seed(0)
    y = torch.eye(2).repeat(10, 1)
    x = 0.3 + 0.4 * y[:, :1, None, None] + 0.1 * torch.randn(20, 1, 2, 2)
    networks = small()
    path = TensorPath(TensorPairs(x, x + 0.2, y))
    system = System(networks, path, torch.optim.Adam(networks.parameters(), lr=0.02))
    promise = 0.01
    settings = Settings(Equilibration(1e9, max_epochs=2, check_every=1), Probes(cubature=False))
    rule = IsoClassificationRule(k=0.0, steps=ConstantSteps(2), tolerance=promise)
    process = Continuation(system, rule, settings, seed=0)
    relaxation = Relaxation(system, batches=20)
    first = next(process.run(process.start(), relaxation))
    assert first.state.more > 1
    # the spread of C over probes of other seeds is what the error must be
    found = []
    for seed in range(1, 41):
        measuring = Instruments(system, settings, seed)
        measuring.more = first.state.more
        found.append(measuring.loss("control").value)
    spread = torch.tensor(found).std() / torch.tensor(found).mean()
    assert float(spread) == pytest.approx(promise / 4, rel=0.4)  # forty know it to 11 %
    # a resumed run has the same probes
    rows, there = [], system.snapshot()
    for state in (first.state, from_plain(to_plain(first.state), IsoCourse)):
        system.restore(there)
        again = Continuation(system, rule, settings, seed=0)
        row = next(again.run(state, relaxation)).row
        assert row is not None
        rows.append({name: value for name, value in row.items() if name != "seconds"})
    assert repr(rows[0]) == repr(rows[1])
