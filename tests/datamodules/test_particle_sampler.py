"""Data sets of pairs and the sampler that draws from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from thermo_pl.datamodules import CoupledImages, ParticleSampler
from thermo_pl.datamodules.coupled import CurrentLeg, CurrentLegBatches, Position, WholeLeg
from thermo_pl.errors import ConfigError
from thermo_pl.particles import Reduction
from thermo_pl.transport.couplings import Coupling


def pairs(mass: list[float]) -> CoupledImages:
    """Pairs (i, n-1-i) of images whose pixel is their index."""
    n = len(mass)
    index = np.arange(n)
    coupling = Coupling(index, index[::-1].copy(), np.array(mass), 0.0)
    images = torch.arange(n, dtype=torch.float32).reshape(-1, 1, 1, 1)
    labels = one_hot(torch.arange(n) % 2, 2).float()
    return CoupledImages(images, 100 + images, labels, labels, coupling)


UNEVEN = [0.05, 0.1, 0.15, 0.3, 0.4]


def test_pairs_are_gathered_by_index() -> None:
    data = pairs(UNEVEN)
    assert len(data) == 5
    batch = data.__getitems__([3, 0, 3])
    assert batch.source.flatten().tolist() == [3, 0, 3]
    assert batch.target.flatten().tolist() == [101, 104, 101]
    assert batch.source_label.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert batch.target_label.tolist() == [[0, 1], [1, 0], [0, 1]]
    torch.testing.assert_close(batch.weight, torch.tensor([1.5, 0.25, 1.5]))
    assert data[3].source.shape == (1, 1, 1, 1)
    everything = data.all()
    assert everything.source.flatten().tolist() == [0, 1, 2, 3, 4]
    torch.testing.assert_close(everything.weight, data.weight)
    torch.testing.assert_close(data.weight.mean(), torch.tensor(1.0))


def chi_square_bound(categories: int) -> float:
    """Mean plus six standard deviations of chi-square with one degree of freedom less."""
    return categories - 1 + 6 * (2 * (categories - 1)) ** 0.5


def chi_square(drawn: torch.Tensor, mass: list[float]) -> float:
    expected = len(drawn) * torch.tensor(mass)
    counts = torch.bincount(drawn, minlength=len(mass))
    return float(((counts - expected) ** 2 / expected).sum())


def test_draws_follow_the_mass() -> None:
    sampler = ParticleSampler(CurrentLeg([pairs(UNEVEN)], Position()), size=20_000, seed=0)
    drawn = torch.tensor(list(sampler))
    assert len(drawn) == len(sampler) == 20_000
    assert chi_square(drawn, UNEVEN) < chi_square_bound(5)
    assert chi_square(drawn, [0.2] * 5) > 100 * chi_square_bound(5)  # the test tells them apart
    # Independent of the draw before: lag-one products of the centred draws, six standard errors.
    centred = drawn - drawn.double().mean()
    lag = (centred[1:] * centred[:-1]).mean() / centred.square().mean()
    assert abs(lag) < 6 / 20_000**0.5


def test_draw_gives_unit_weights_by_the_mass() -> None:
    data = pairs(UNEVEN)
    particles = data.draw(20_000, torch.Generator().manual_seed(1))
    assert (particles.weight == 1).all()
    assert chi_square(particles.source.flatten().long(), UNEVEN) < chi_square_bound(5)
    again = data.draw(20_000, torch.Generator().manual_seed(1))
    assert torch.equal(particles.source, again.source)


def test_epochs_do_not_depend_on_history() -> None:
    data = CurrentLeg([pairs(UNEVEN)], Position())
    run = ParticleSampler(data, size=50, seed=3)
    epochs = []
    for epoch in range(4):
        run.set_epoch(epoch)
        epochs.append(list(run))
        torch.rand(epoch)  # the global generator plays no part
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert list(ParticleSampler(data, size=50, seed=3, epoch=2)) == epochs[2]
    run.set_epoch(1)
    assert list(run) == epochs[1]
    assert list(ParticleSampler(data, size=50, seed=4)) != epochs[0]


def test_ranks_share_one_draw() -> None:
    data = CurrentLeg([pairs(UNEVEN)], Position())
    whole = list(ParticleSampler(data, size=60, seed=3, epoch=1))
    parts = [list(ParticleSampler(data, 20, 3, 1, ranks=3, rank=rank)) for rank in range(3)]
    assert [len(part) for part in parts] == [20, 20, 20]
    assert [index for triple in zip(*parts, strict=True) for index in triple] == whole


def test_the_current_leg_is_looked_up_when_it_is_used() -> None:
    position = Position()
    data = CurrentLeg([pairs([1.0]), pairs(UNEVEN)], position)
    sampler = ParticleSampler(data, size=200, seed=0)
    assert (len(data), set(sampler)) == (1, {0})
    position.leg = 1
    assert (len(data), set(sampler)) == (5, {0, 1, 2, 3, 4})
    batch = data.__getitems__([4])
    assert batch.source.item() == 4
    assert batch.weight.item() == 1


@pytest.mark.parametrize("batch_size", [2, 3, 5, 100])
def test_batches_of_any_leg_are_complete_and_as_many(batch_size: int) -> None:
    position = Position()
    legs = [pairs(UNEVEN), pairs([1 / 9] * 9)]
    batches = CurrentLegBatches(legs, position, batch_size)
    for leg, data in enumerate(legs):
        position.leg = leg
        parts = [batches[k] for k in range(len(batches))]
        assert all(1 <= len(part.weight) <= batch_size for part in parts)
        for field, expected in zip(zip(*parts, strict=True), data.all(), strict=True):
            assert torch.equal(torch.cat(field), expected)
    with pytest.raises(IndexError):
        batches[len(batches)]


def test_batches_smaller_than_the_legs_allow() -> None:
    with pytest.raises(ConfigError, match=r"eval_batch_size: got 1 .* allowed: at least 2"):
        CurrentLegBatches([pairs(UNEVEN), pairs([1 / 9] * 9)], Position(), 1)


def test_ranks_share_out_whole_legs_and_batches() -> None:
    legs, shares = [pairs(UNEVEN)], [Reduction(rank, 2) for rank in range(2)]
    makers = (
        lambda shared: WholeLeg(legs, Position(), 1, shared),
        lambda shared: CurrentLegBatches(legs, Position(), 5, shared),
    )
    for make in makers:
        parts = [make(shared)[0] for shared in shares]
        assert [part.source.flatten().tolist() for part in parts] == [[0, 2, 4], [1, 3]]
        for field, whole in zip(zip(*parts, strict=True), legs[0].all(), strict=True):
            assert torch.equal(torch.cat(field), whole[[0, 2, 4, 1, 3]])
        with pytest.raises(ConfigError, match=r"examples of a batch: got 5; allowed: at least 6"):
            make(Reduction(0, 6))
