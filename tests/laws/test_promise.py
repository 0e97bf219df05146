"""The verdict of a run on rows written by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from thermo_pl.laws.promise import Promise, promise
from thermo_pl.path.columns import COLUMNS, Row

NAN = math.nan


def row(step: int, stroke: str, **values: Any) -> Row:
    made: Row = dict.fromkeys(COLUMNS, 0.0)
    made |= {"step": step, "cycle": 0, "stroke": stroke, "leg": 0, "lambda": 1.0, "gamma": 2.0}
    made |= {"D": 3.0, "C": 0.5, "C_error": 0.001, "C_target": NAN, "S_target": NAN}
    made |= values
    # what is held is C of the training particles
    return made | {"C_held": made["C"], "C_held_error": made["C_error"]}


def held(step: int, loss: float, **values: Any) -> Row:
    return row(step, "iso_classification", **({"C": loss, "C_target": 0.5} | values))


START = [row(0, "equilibration", C=0.9), row(1, "approach", C=0.7, C_target=0.5)]


def test_the_worst_miss_of_the_path_is_judged() -> None:
    found = promise([*START, held(2, 0.502), held(3, 0.496), held(4, 0.501)], 0.01)
    expected = Promise("held", "C", pytest.approx(-0.008), pytest.approx(0.002), 3, 0.01, 3)
    assert found == expected


@pytest.mark.parametrize(
    ("loss", "error", "verdict"),
    [
        (0.5049, 0.0, "held"),
        (0.506, 0.0, "not held"),
        (0.506, 0.0015, "held"),  # 1.2 % ± 0.3 %
        (0.520, 0.0015, "not held"),
        (0.506, NAN, "not held"),
        (NAN, 0.1, "not held"),
    ],
)
def test_a_miss_is_allowed_the_tolerance_and_twice_its_error(
    loss: float, error: float, verdict: str
) -> None:
    assert promise([*START, held(2, loss, C_error=error)], 0.01).verdict == verdict


def test_a_precise_row_is_not_excused_by_a_noisy_one() -> None:
    rows = [*START, held(2, 0.45, C_error=0.1), held(3, 0.49, C_error=0.0)]
    found = promise(rows, 0.01)
    assert (found.verdict, found.step, found.miss) == ("not held", 3, pytest.approx(-0.02))


def test_the_preparation_promises_nothing_and_neither_does_an_infinite_tolerance() -> None:
    assert promise(START, 0.01) == replace(promise([], 0.01))
    assert promise([], 0.01).verdict == "not judged"
    found = promise([*START, held(2, 0.9)], math.inf)
    assert (found.verdict, found.miss) == ("not promised", pytest.approx(0.8))


def test_s_is_judged_by_the_noise_that_is_not_common() -> None:
    # S = -(λD + γC) is to be -4; γC = 1 ± 0.002 at both ends
    start = row(0, "equilibration", D_error=0.3)
    adiabat = row(1, "adiabat", S_target=-4.0, D=3.03, D_error=0.31)
    found = promise([start, adiabat], 0.01)
    assert (found.quantity, found.step, found.count) == ("S", 1, 1)
    assert found.miss == pytest.approx(-0.03)
    # of λD not 0.31, as the draws of both are the same
    assert found.error == pytest.approx(0.01 + 2**0.5 * 0.002)
    assert found.verdict == "held"  # 3 % against 1 % and two errors
    assert promise([start, adiabat | {"D": 3.05}], 0.01).verdict == "not held"


def test_of_a_cycle_the_last_pass_is_the_result() -> None:
    passes = [held(1, 0.6) | {"cycle": 0}, held(2, 0.501) | {"cycle": 1}]
    assert promise([*START, *passes], 0.01).verdict == "held"
    assert promise([*START, *passes[::-1]], 0.01).verdict == "not held"
