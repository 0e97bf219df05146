"""Entropy production: against written-out sums, and the Pythagorean theorem."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from thermo_pl.errors import ConfigError
from thermo_pl.laws.production import EntropyProduction, entropy_production

seeds = st.integers(0, 10_000)
letters = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 5))
sharpness = st.floats(0, 5)


def distributions(*shape: int, seed: int, sharp: float = 1.0) -> Tensor:
    """Random distributions over the last axis; a larger sharpness is nearer to certainty."""
    generator = torch.Generator().manual_seed(seed)
    return (sharp * torch.randn(shape, generator=generator, dtype=torch.float64)).softmax(-1)


def arguments(seed: int, x: int = 4, y: int = 3, z: int = 3, sharp: float = 1.0) -> list[Tensor]:
    """p(x), e, d, q, p(y|x), c of a random system."""
    shapes = [(x,), (x, z), (z, x), (z,), (x, y), (z, y)]
    return [distributions(*s, seed=seed + i, sharp=sharp) for i, s in enumerate(shapes)]


@pytest.mark.parametrize("labels", [False, True])
def test_every_part_is_its_sum_over_all_letters(labels: bool) -> None:
    p_x, e, d, q, p_y, c = (p.tolist() for p in arguments(0))
    if not labels:  # one label, which is sure
        p_y, c = [[1.0, 0.0, 0.0]] * 4, [[1.0, 0.0, 0.0]] * 3
    p_z = [sum(p_x[x] * e[x][z] for x in range(4)) for z in range(3)]
    total = system = bath = entropy = losses = 0.0
    for x, y, z in product(range(4), range(3 if labels else 1), range(3)):
        chance = p_x[x] * e[x][z] * p_y[x][y]
        total += chance * math.log(chance / (d[z][x] * c[z][y] * q[z]))
        system += chance * math.log(p_z[z] / q[z])
        bath += chance * math.log(chance / (d[z][x] * c[z][y] * p_z[z]))
        entropy -= chance * math.log(p_x[x] * p_y[x][y])
        losses += chance * (math.log(e[x][z] / q[z]) - math.log(d[z][x]) - math.log(c[z][y]))
    found = [value.item() for value in entropy_production(*arguments(0)[: 6 if labels else 4])]
    assert found == pytest.approx([total, system, bath, -entropy, -losses], abs=1e-13)


@given(seeds, letters, sharpness, st.booleans())
@settings(deadline=None)  # the first call of torch is slow
def test_the_pythagorean_theorem_holds_for_any_system(
    seed: int, sizes: tuple[int, int, int], sharp: float, labelled: bool
) -> None:
    found = entropy_production(*arguments(seed, *sizes, sharp)[: 6 if labelled else 4])
    assert found.total.item() == pytest.approx((found.system + found.bath).item(), abs=1e-12)
    work = found.work - found.free_energy_change
    assert found.total.item() == pytest.approx(work.item(), abs=1e-12)
    assert min(found[:3]) > -1e-13  # divergences; zero where a system has one letter
    assert found.work < 1e-15


@given(seeds, seeds, st.booleans())
@settings(deadline=None)
def test_the_bath_is_what_the_best_marginal_leaves(seed: int, other: int, labelled: bool) -> None:
    p_x, e, d, q, *labels = arguments(seed)[: 6 if labelled else 4]
    found = entropy_production(p_x, e, d, q, *labels)
    best = entropy_production(p_x, e, d, p_x @ e, *labels)
    assert best.total.item() == pytest.approx(found.bath.item(), abs=1e-13)
    assert abs(best.system) < 1e-14
    worse = entropy_production(p_x, e, d, distributions(3, seed=other, sharp=3), *labels)
    assert worse.total >= found.bath - 1e-13
    assert worse.bath.item() == pytest.approx(found.bath.item(), abs=1e-13)


def test_bayes_decoder_and_aggregate_marginal_are_reversible() -> None:
    p_x, e, *_ = arguments(2)
    p_z = p_x @ e
    found = entropy_production(p_x, e, (p_x[:, None] * e / p_z).mT, p_z)
    assert max(abs(value) for value in found[:3]) < 1e-15


def test_what_the_backward_process_cannot_do_costs_infinitely_much() -> None:
    p_x, e, d, q = arguments(4)[:4]
    impossible = d.clone()
    impossible[0, 1] = 0
    found = entropy_production(p_x, e, impossible / impossible.sum(-1, keepdim=True), q)
    assert math.isinf(found.total)
    assert math.isinf(found.bath)
    assert math.isfinite(found.system)
    # where the forward process does not go either, it costs nothing
    e = e.clone()
    e[1, 0] = 0
    e = e / e.sum(-1, keepdim=True)
    found = entropy_production(p_x, e, impossible / impossible.sum(-1, keepdim=True), q)
    assert found.total.item() == pytest.approx((found.system + found.bath).item(), abs=1e-13)


def test_systems_in_a_batch_are_systems_one_by_one() -> None:
    one, two = arguments(5), arguments(6)
    batch = entropy_production(*(torch.stack(pair) for pair in zip(one, two, strict=True)))
    for i, single in enumerate((one, two)):
        expected = entropy_production(*single)
        found = EntropyProduction(*(value[i] for value in batch))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_half_of_the_labels_is_refused() -> None:
    with pytest.raises(ConfigError, match="both or neither"):
        entropy_production(*arguments(0)[:5])


def test_what_is_no_distribution_is_refused_by_name() -> None:
    p_x, e, d, q = arguments(0)[:4]
    with pytest.raises(ConfigError, match="decoder"):
        entropy_production(p_x, e, d.mT, q)
