"""Numbers with errors: sums of draws, of independent terms, and what is written of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.numbers import randn
from thermo_pl.estimate import Estimate, add, with_errors

CLOSE = {"rel": 1e-12, "abs": 1e-12}  # float64 sums of a few terms
ONE = torch.zeros(1, dtype=torch.float64)


@given(st.integers(2, 6), st.integers(0, 6), st.integers(0, 10_000))
def test_the_error_of_a_sum_of_few_and_many_draws_is_that_of_its_terms(
    few: int, more: int, seed: int
) -> None:
    # each draw i < few adds a_i/few + b_i/many, each other one b_i/many
    many = few + more
    a, b = randn(few, seed=seed), randn(many, seed=seed + 1)
    first = [(a[i] / few + b[i] / many).item() for i in range(few)]
    variance = few * np.var(first, ddof=1) + more * np.var((b / many).numpy(), ddof=1)
    found = Estimate.of_draws(a, b)
    assert found.error == pytest.approx(math.sqrt(variance), rel=1e-10)
    assert found.value == pytest.approx((a.mean() + b.mean()).item(), **CLOSE)


@pytest.mark.parametrize("exact_first", [True, False])
def test_what_is_exact_adds_no_error(exact_first: bool) -> None:
    draws = randn(5, seed=3)
    pair = (ONE, draws) if exact_first else (draws, ONE)
    expected = np.std(draws.numpy(), ddof=1) / math.sqrt(5)
    assert Estimate.of_draws(*pair).error == pytest.approx(expected, rel=1e-12)
    assert Estimate.of_draws(ONE, ONE + 3.0) == Estimate(3.0, 0.0)


def test_estimates_are_added_and_scaled_draw_by_draw() -> None:
    a, b = (Estimate.of_draws(randn(3, seed=s), randn(5, seed=s + 1)) for s in (0, 10))
    mixed = 2.0 * a - 3.0 * b + a
    assert a.draws is not None
    assert b.draws is not None
    assert mixed.draws is not None
    assert torch.equal(mixed.draws.few, 2 * a.draws.few - 3 * b.draws.few + a.draws.few)
    assert mixed.value == pytest.approx(3 * a.value - 3 * b.value, **CLOSE)
    assert (0.0 * a).error == 0
    assert (a - a).error == 0  # common draws cancel
    assert add(a, b, -a).error == pytest.approx(b.error, **CLOSE)


def test_independent_errors_add_in_quadrature() -> None:
    assert add(Estimate(1.0, 3.0), Estimate(-4.0, 4.0)) == Estimate(-3.0, 5.0)
    assert Estimate(1.0, 2.0) - Estimate(4.0, 1.5) == Estimate(-3.0, 2.5)
    assert add() == Estimate(0, 0.0)
    assert -Estimate(2.0, 0.5) == Estimate(-2.0, 0.5)
    scaled = -2.0 * Estimate(2.0, 0.5)
    assert scaled == Estimate(-4.0, 1.0)


def test_where_the_draws_of_a_term_are_lost_it_counts_as_independent() -> None:
    known, other = Estimate.of_draws(randn(4, seed=7), ONE), Estimate(1.0, 3.0)
    both = known + other
    assert both.draws is None
    assert both.error == pytest.approx(math.hypot(known.error, 3.0), rel=1e-12)
    assert math.isnan((other + Estimate(0.0, math.nan)).error)


def test_values_are_written_before_their_errors() -> None:
    found = with_errors({"D": Estimate(1.0, 0.1), "C": Estimate(2.0)})
    assert list(found.items()) == [("D", 1.0), ("C", 2.0), ("D_error", 0.1), ("C_error", 0.0)]
