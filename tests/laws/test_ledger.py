"""The ledger against closed forms, exact strokes, an exact Carnot cycle, and simulated noise."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad

from support.carnot_system import CHANGES, GAM, HOT, LAM, LEGS, STROKES, carnot_rows, make_row
from thermo_pl.estimate import Estimate
from thermo_pl.laws.checks import Verdict
from thermo_pl.laws.cycle_ledger import Balance, Flow, cycle_balance, cycle_checks, summarise_cycle
from thermo_pl.laws.ledger import (
    Part,
    balance,
    change,
    integral,
    step_integrals,
    summarise_strokes,
    together,
    weights,
)
from thermo_pl.path.columns import Row
from thermo_pl.path.segments import first_law_residual, relative_first_law_residual

Array = NDArray[np.float64]
NAN = float("nan")
NOISY = ("C", "D", "J_t")


def order(errors: Sequence[float]) -> float:
    """Of convergence, from the last halving of the step."""
    return math.log2(abs(errors[-2] / errors[-1]))


# --- values with errors ---


def test_errors_on_a_leg_add_with_their_signs() -> None:
    parts = [Part(0, 1.0, 3.0), Part(1, 2.0, 4.0), Part(0, 5.0, -3.0), Part(2, 0.0, -3.0)]
    assert together(parts) == Estimate(8.0, 5.0)
    assert together([]) == Estimate(0.0, 0.0)


# --- integrals ---


def curve(n: int, x: Callable[[float], float], y: Callable[[float], float]) -> list[Row]:
    """Points of a curve at equal steps of its parameter u from 0 to 1."""
    u = np.linspace(0, 1, n + 1).tolist()
    return [{"leg": 0, "x": x(s), "y": y(s), "y_error": 0.0} for s in u]


def test_integrals_of_cubics_are_exact() -> None:
    # x = u³ - u turns around at 1/√3, y = u³ + 2u²: ∫ y x' du = ½ + 6/5 - ¼ - ⅔
    rows = curve(5, lambda u: u**3 - u, lambda u: u**3 + 2 * u**2)
    expected = 1 / 2 + 6 / 5 - 1 / 4 - 2 / 3
    assert integral(rows, "y", "x").value == pytest.approx(expected, rel=1e-12)
    # and each step for itself
    steps = step_integrals(rows, "y", "x")
    for (a, b), found in zip(pairwise(np.linspace(0, 1, 6)), steps, strict=True):
        part = quad(lambda u: (u**3 + 2 * u**2) * (3 * u**2 - 1), a, b)[0]
        assert found == pytest.approx(part, abs=1e-14)


def test_two_points_make_a_trapezoid_and_one_makes_nothing() -> None:
    rows = curve(1, lambda u: 2 * u, lambda u: 1 + u)
    assert step_integrals(rows, "y", "x") == pytest.approx([3.0])
    assert integral(rows[:1], "y", "x") == Estimate(0.0, 0.0)
    assert weights([1.0]).shape == (0, 1)


@given(
    st.lists(st.floats(-3, 3), min_size=2, max_size=9),
    st.floats(-3, 3),
)
def test_a_constant_integrates_to_the_change_of_the_control(x: list[float], y: float) -> None:
    found = weights(x) @ np.full(len(x), y)
    assert found == pytest.approx(y * np.diff(x), abs=1e-12)


def test_where_the_leg_changes_a_step_is_a_trapezoid_and_t_does_not_move() -> None:
    first, second = (curve(4, math.exp, lambda u: math.sin(3 * u)) for _ in range(2))
    for row in second:  # the same domain, measured on other particles
        row |= {"leg": 1, "x": row["x"] + math.e - 0.9, "y": row["y"] + 0.3}
    rows = [row | {"t": i % 5 / 4} for i, row in enumerate(first + second)]
    steps = step_integrals(rows, "y", "x")
    legs = [step_integrals(leg, "y", "x") for leg in (first, second)]
    assert steps[:4] == pytest.approx(legs[0])
    assert steps[5:] == pytest.approx(legs[1])
    width, mean = second[0]["x"] - first[-1]["x"], (first[-1]["y"] + second[0]["y"]) / 2
    assert width == pytest.approx(0.1)
    assert steps[4] == pytest.approx(width * mean)
    along_t = step_integrals(rows, "y", "t")
    assert along_t[4] == 0  # t falls from 1 to 0, and nothing has moved
    assert along_t[:4].sum() == pytest.approx((1 - math.cos(3)) / 3, abs=1e-2)


def test_missing_values_count_as_nothing() -> None:
    rows = [{"leg": 0, "x": x, "y": y} for x, y in ((0.0, NAN), (1.0, 0.0), (2.0, NAN))]
    assert integral(rows, "y", "x") == Estimate(0.0, 0.0)


# --- the balance of a stroke ---


@pytest.mark.parametrize("leg", range(4), ids=STROKES)
def test_the_books_of_an_exact_stroke_balance_to_fourth_order(leg: int) -> None:
    gaps = []
    for steps in (4, 8):
        found = balance(carnot_rows(steps)[leg])
        right = found["heat"].value - found["work_control"].value - found["work_domain"].value
        gaps.append(found["dF"].value - right)
    assert abs(gaps[0]) < 1e-3
    assert order(gaps) > 3, gaps


@pytest.mark.parametrize("leg", range(4), ids=STROKES)
def test_the_columns_of_a_balance_are_what_they_say(leg: int) -> None:
    rows = carnot_rows(12)[leg]
    for row in rows:
        row["time"] = 3 * row["t"] ** 2  # a clock that does not go evenly
    first, last, found = rows[0], rows[-1], balance(rows)
    for name, column in (("dR", "R"), ("dD", "D"), ("dC", "C"), ("dF", "J")):
        assert found[name].value == last[column] - first[column]
    rise = last["gamma"] - first["gamma"]
    if STROKES[leg] in HOT:
        assert found["heat"].value == pytest.approx(first["C"] * rise, rel=1e-12)
        assert found["dC"].value == pytest.approx(0, abs=1e-12)
    else:
        assert found["heat"].value == rise == 0
        assert found["S"].value == pytest.approx(0, abs=1e-11)
    assert found["S"].value == pytest.approx(found["dR"].value - found["dF"].value, abs=1e-12)

    def along(name: str, t: float) -> float:
        # λ is linear on the iso strokes, and its root on the adiabats
        lam, system = first["lambda"] + t * (last["lambda"] - first["lambda"]), LEGS[leg]
        gam = first["gamma"]
        if STROKES[leg] in HOT:
            gam = system.gamma_at(first["C"], lam, t, (0.1, 20.0))
        elif t:
            lam = system.adiabat(first["lambda"], gam, [0.0, t / 2, t])[-1].item()
        here = system.state(lam, gam, t)
        heat = lam * here.D + gam * here.C
        return {"minus_integral": -heat, "C_integral_gamma": gam * here.C}[name]

    nodes, mass = np.polynomial.legendre.leggauss(8)
    for name in ("minus_integral", "C_integral_gamma"):
        places = (1 + nodes) / 2
        exact = sum(m / 2 * along(name, s) * 6 * s for m, s in zip(mass, places, strict=True))
        assert found[name].value == pytest.approx(exact, rel=1e-4)
        assert all(value.error == 0 for value in found.values())


def test_changes_on_a_leg_share_their_noise_and_across_legs_do_not() -> None:
    rows = [{"leg": leg, "C": c, "C_error": e} for leg, c, e in ((0, 1, 0.3), (0, 3, 0.4))]
    found = change(rows, "C")
    assert (found.value, found.error) == (2, pytest.approx(0.1))
    rows[1]["leg"] = 1
    found = change(rows, "C")
    assert (found.value, found.error) == (2, pytest.approx(0.5))


# --- an exact Carnot cycle ---


def test_an_exact_carnot_cycle_has_carnots_efficiency() -> None:
    rows = carnot_rows(6)
    found = cycle_balance(rows)
    hot, cold = rows[0][0]["C"], rows[2][0]["C"]
    assert found.efficiency.value == pytest.approx(1 - cold / hot, rel=0, abs=1e-9)
    assert found.carnot_efficiency == pytest.approx(1 - cold / hot, rel=0, abs=1e-12)
    assert (found.loss_hot, found.loss_cold) == pytest.approx((hot, cold), rel=1e-12)
    rise = rows[0][-1]["gamma"] - GAM
    assert found.heat_hot.value == pytest.approx(hot * rise, rel=1e-12)
    assert found.heat_cold.value == pytest.approx(cold * rise, rel=1e-12)
    assert found.work.value == pytest.approx((hot - cold) * rise, rel=1e-11)
    assert found.clausius.value == pytest.approx(0, abs=1e-12)
    assert found.efficiency.value > 0.3  # not a small number that happens to agree


def test_both_ways_to_the_work_agree_to_fourth_order() -> None:
    gaps = []
    for steps in (4, 8, 16):
        found = cycle_balance(carnot_rows(steps))
        gaps.append(found.work_mechanical.value - found.work.value)
    assert abs(gaps[-1]) < 1e-6
    assert order(gaps) > 3.7, gaps
    # neither part alone comes near
    assert abs(found.work_control.value) > 0.3
    assert abs(found.work_domain.value) > 0.3


def test_both_works_of_a_cycle_that_is_left_open_are_compared_as_if_it_were_closed() -> None:
    rows = carnot_rows(12)
    end = rows[-1][-1]
    beyond = [
        make_row(LEGS[3], end["lambda"] + 0.01 * s, end["gamma"] + 0.02 * s, 1.0, leg=3)
        for s in (0.0, 0.5, 1.0)
    ]
    found = cycle_balance([*rows, beyond])
    rise = beyond[-1]["J"] - rows[0][0]["J"]
    assert rise > 0.02
    plain = found.work.value - found.work_mechanical.value
    assert plain == pytest.approx(rise, abs=1e-5)  # no error of either: F is not the same
    assert abs(found.works_gap.value) < 1e-5
    assert found.works_gap.error == found.work_mechanical.error == 0


def test_relaxation_is_taken_off_the_efficiency() -> None:
    rows = carnot_rows(6)
    for stroke in rows:
        for row in stroke:
            row |= {"relaxation": 0.002, "relaxation_error": 0.001}
    found = cycle_balance(rows)
    assert found.dissipation.value == pytest.approx(24 * 0.002)  # the start of a stroke is no step
    assert found.dissipation.error == pytest.approx(24**0.5 * 0.001)
    finite = (found.work.value - found.dissipation.value) / found.heat_hot.value
    assert found.finite_efficiency.value == pytest.approx(finite, rel=1e-12)
    assert found.finite_efficiency.value < found.efficiency.value < 1


def turned_back(strokes: list[list[Row]]) -> list[list[Row]]:
    return [rows[::-1] for rows in strokes][::-1]


def test_a_carnot_cycle_run_backwards_is_a_heat_pump() -> None:
    rows = turned_back(carnot_rows(6))
    hot, cold = rows[-1][0]["C"], rows[1][0]["C"]
    for row in rows[1][1:]:
        row |= {"relaxation": 0.002, "relaxation_error": 0.001}
    found = summarise_cycle(rows, None, 0.0)
    assert found["machine"] == "heat pump"
    assert found["not_applicable"] is None
    for name in ("performance", "carnot_performance"):
        assert found[name] == pytest.approx(hot / (hot - cold), rel=1e-9)
    rise = rows[1][-1]["gamma"] - rows[1][0]["gamma"]
    given, taken = hot * rise, cold * rise
    assert (found["heat_hot"], found["heat_cold"]) == pytest.approx((given, taken), rel=1e-9)
    assert found["work"] == pytest.approx(taken - given, rel=1e-9)
    # what relaxation gives off has to be put in as well
    finite = given / (given - taken + 6 * 0.002)
    assert found["finite_performance"] == pytest.approx(finite, rel=1e-9)
    assert math.isnan(found["efficiency"] + found["carnot_efficiency"] + found["finite_efficiency"])
    checks = {check["law"].split(",")[0]: check for check in found["checks"]}
    assert {check["verdict"] for check in checks.values()} == {Verdict.HOLDS}
    assert checks["Carnot"]["value"] == pytest.approx(0, abs=1e-9)


def iso_classification(k: float, backwards: bool) -> Callable[[int], list[Row]]:
    """Rows on which C is held while the data move from A to B, or back to A."""

    def rows(steps: int) -> list[Row]:
        system, held = LEGS[0], LEGS[0].state(LAM, GAM).C
        found = []
        for step in range(steps + 1):
            t = step / steps
            # forward λ goes straight; on the way back it goes round
            lam = LAM + k * (t + 2 * t * (1 - t) if backwards else t)
            gam = system.gamma_at(held, lam, t, (0.1, 20.0))
            found.append(make_row(system, lam, gam, t, C_target=held))
        return found[::-1] if backwards else found

    return rows


def test_kelvin_at_a_single_c_there_is_no_work() -> None:
    gaps = []
    for steps in (6, 12):
        there, back = (iso_classification(CHANGES[0], b)(steps) for b in (False, True))
        found = cycle_balance([there, back])
        assert found.work.value == pytest.approx(0, abs=1e-12)
        assert found.heat_hot.value > 0.5
        gaps.append(found.work_mechanical.value)
    assert abs(gaps[-1]) < 1e-3
    assert order(gaps) > 3.5, gaps
    assert abs(found.work_control.value) > 0.01  # the loop has an area
    checks = {check.law: check for check in cycle_checks(found)}
    assert checks["Kelvin, W = 0 at a single C"].verdict == Verdict.HOLDS
    assert not any(law.startswith("Carnot") for law in checks)


def loop(shape: Sequence[float], n: int, phase: float = 0.0, **others: Any) -> list[Row]:
    """A closed curve in (λ, γ) at the first domain, of two harmonics."""
    a, b, c, d, e = shape
    rows = []
    for step in range(n + 1):
        u = 2 * math.pi * (step % n) / n + phase
        lam = 1.6 + a * math.cos(u) + b * math.sin(2 * u)
        gam = 2.2 + c * math.sin(u) + d * math.cos(u) + e * math.cos(2 * u)
        rows.append(make_row(LEGS[0], lam, gam, 0.0, **others))
    return rows


ROUND = (0.4, 0.0, 0.6, 0.0, 0.0)
amount = st.floats(-0.3, 0.3)


def area(shape: Sequence[float]) -> float:
    """∮ C dγ by the trapezoidal rule, which is exact to all digits for periodic curves."""
    a, b, c, d, e = shape
    total, n = 0.0, 96
    for step in range(n):
        u = 2 * math.pi * step / n
        lam = 1.6 + a * math.cos(u) + b * math.sin(2 * u)
        gam = 2.2 + c * math.sin(u) + d * math.cos(u) + e * math.cos(2 * u)
        rate = c * math.cos(u) - d * math.sin(u) - 2 * e * math.sin(2 * u)
        total += LEGS[0].state(lam, gam).C * rate * 2 * math.pi / n
    return total


@examples(max_examples=25, deadline=None)
@given(st.tuples(amount, amount, amount, amount, amount), st.floats(0, 6))
def test_no_cycle_beats_carnot(shape: tuple[float, ...], phase: float) -> None:
    rows = loop(shape, 24, phase)
    found = cycle_balance([rows])
    if not found.heat_hot.value:
        return
    assert found.efficiency.value <= found.carnot_efficiency + 1e-12
    # and the two C between which it works are those of the path
    losses = [row["C"] for row in rows]
    room = 0.05 * (max(losses) - min(losses)) + 1e-9
    assert min(losses) - room <= found.loss_cold <= found.loss_hot <= max(losses) + room


@pytest.mark.parametrize("phase", [0.0, 0.1, math.pi / 32], ids=str)
def test_a_loop_at_one_domain_does_the_work_of_its_area(phase: float) -> None:
    # with the last phase a step lies evenly about each turning point of γ
    found = cycle_balance([loop(ROUND, 32, phase)])
    exact = area(ROUND)
    assert abs(exact) > 0.3
    assert found.work.value == pytest.approx(exact, abs=2e-4)
    assert found.work_mechanical.value == pytest.approx(exact, abs=2e-4)
    assert found.work_domain.value == 0
    assert 0.9 < found.loss_cold < found.loss_hot < 3


def test_heat_is_not_netted_where_gamma_turns() -> None:
    # the same loop begun elsewhere has the same efficiency
    values = [
        cycle_balance([loop(ROUND, 32, phase)]).efficiency.value
        for phase in (0.0, 0.05, math.pi / 32)
    ]
    assert values == pytest.approx([values[0]] * 3, abs=1e-4)


# --- errors, against noise that is drawn ---


def with_errors(strokes: Sequence[list[Row]], seed: int = 0) -> list[list[Row]]:
    """The same strokes with standard errors that differ from row to row."""
    draw = np.random.default_rng(seed)
    for row in (row for stroke in strokes for row in stroke):
        row |= {"C_error": draw.uniform(1e-4, 3e-4), "D_error": draw.uniform(2e-4, 6e-4)}
        row |= {"J_t_error": draw.uniform(1e-4, 2e-4)}
    return list(strokes)


EVALUATED = "heat_hot", "heat_cold", "work", "efficiency", "work_control", "work_domain"


def noisy(strokes: Sequence[list[Row]], generator: np.random.Generator) -> list[list[Row]]:
    """All rows of a leg shifted by the same number of their standard errors."""
    legs = {row["leg"] for stroke in strokes for row in stroke}
    shift = {leg: dict(zip(NOISY, generator.standard_normal(3), strict=True)) for leg in legs}
    return [
        [
            row | {x: row[x] + row[f"{x}_error"] * shift[row["leg"]][x] for x in NOISY}
            for row in rows
        ]
        for rows in strokes
    ]


def check_errors(strokes: Sequence[list[Row]], draws: int) -> None:
    """The standard errors are the standard deviations over the draws."""
    generator = np.random.default_rng(1)
    balances = [cycle_balance(noisy(strokes, generator)) for _ in range(draws)]
    exact = cycle_balance(strokes)
    for name in EVALUATED:
        found = float(np.std([getattr(each, name).value for each in balances]))
        # four standard errors of a standard deviation
        assert getattr(exact, name).error == pytest.approx(found, rel=4 / (2 * draws) ** 0.5), name


def test_errors_of_a_carnot_cycle_are_those_of_simulated_noise() -> None:
    check_errors(with_errors(carnot_rows(4)), 200)


def test_errors_of_a_heat_pump_are_those_of_simulated_noise() -> None:
    check_errors(with_errors(turned_back(carnot_rows(4))), 200)


@pytest.mark.parametrize("cuts", [1, 4])
def test_errors_of_a_cycle_on_one_leg_are_those_of_simulated_noise(cuts: int) -> None:
    rows = loop(ROUND, 16, 0.1)
    size = 16 // cuts
    check_errors(with_errors([rows[size * i : size * (i + 1) + 1] for i in range(cuts)]), 200)


def test_noise_that_is_the_same_everywhere_does_not_reach_the_work_of_a_loop() -> None:
    rows = loop(ROUND, 16, 0.1, C_error=0.01, D_error=0.02)
    found = cycle_balance([rows])
    assert found.heat_hot.error == pytest.approx(0.01 * 1.2, rel=1e-3)  # γ rises by 1.2
    assert found.work.error == pytest.approx(0, abs=1e-12)
    assert found.work_control.error == pytest.approx(0, abs=1e-12)


# --- cycle.json ---

CONTRACT = {
    "work",
    "heat_hot",
    "heat_cold",
    "efficiency",
    "carnot_efficiency",
    "work_control",
    "work_domain",
    "closure",
    "dissipation",
    "C_hot",
    "C_cold",
}


def test_a_summary_holds_the_contract_in_plain_json() -> None:
    strokes = with_errors(carnot_rows(6))
    found = summarise_cycle(strokes, None, 0.25)
    assert set(found) >= CONTRACT
    assert set(found["closure"]) == {"lambda", "gamma", "theta", "R", "D", "C"}
    assert json.loads(json.dumps(found)) == found
    exact = cycle_balance(strokes)
    for name in ("work", "heat_hot", "heat_cold", "efficiency", "work_control", "work_domain"):
        assert Estimate(found[name], found[f"{name}_error"]) == getattr(exact, name)
    assert found["carnot_efficiency"] == exact.carnot_efficiency
    assert [check["verdict"] for check in found["checks"]] == ["holds"] * 3
    assert found["closure"]["theta"] == pytest.approx(0.25)
    assert max(abs(found["closure"][name]) for name in ("lambda", "gamma", *"RDC")) < 1e-10


def test_a_summary_says_what_an_open_cycle_misses() -> None:
    strokes = carnot_rows(6, (0.9, -1.0))
    found = summarise_cycle(strokes, None, 0.0)
    first, last = strokes[0][0], strokes[-1][-1]
    for name in ("lambda", "gamma", *"RDC"):
        assert found["closure"][name] == last[name] - first[name]
    for name in ("lambda", "gamma"):
        values = [row[name] for stroke in strokes for row in stroke]
        share = (last[name] - first[name]) / (max(values) - min(values))
        assert found["relative_closure"][name] == pytest.approx(share, rel=1e-12)
        assert abs(share) > 1e-3
    for name in "RDC":
        share = last[name] / first[name] - 1
        assert found["relative_closure"][name] == pytest.approx(share, rel=1e-10)


def test_a_summary_closes_r_d_and_c_on_the_probe_of_the_start() -> None:
    strokes = carnot_rows(6)
    closing = strokes[0][0] | {"leg": 0, "R": strokes[0][0]["R"] + 0.01}
    found = summarise_cycle(strokes, closing, 0.0)
    assert found["closure"]["R"] == pytest.approx(0.01)
    assert found["closure"]["D"] == 0


def made_balance(hot: float, cold: float, rise: float = 1.0, fall: float = 1.0) -> Balance:
    """Heat taken in at one C and given off at another."""
    flows = [
        Flow(Part(0, hot * rise, 0.0), hot, hot),
        Flow(Part(2, -cold * fall, 0.0), cold, cold),
    ]
    work = Estimate(hot * rise - cold * fall)
    return Balance(flows, work, Estimate(0.0), Estimate(0.0), 0.0, 0.0, 0.0)


def verdicts(found: Balance) -> dict[str, Verdict]:
    return {check.law.split(",")[0]: check.verdict for check in cycle_checks(found)}


def test_the_checks_of_a_cycle_pass_and_fail() -> None:
    good = made_balance(1.4, 0.8)
    assert set(verdicts(good).values()) == {Verdict.HOLDS}
    assert list(verdicts(good)) == ["Clausius", "cycle", "Carnot"]
    # less heat is given off than the reservoirs' C and a closed cycle allow
    short = made_balance(1.4, 0.8, 1.0, 0.7)
    assert verdicts(short)["Clausius"] == Verdict.VIOLATED
    assert verdicts(short)["Carnot"] == Verdict.VIOLATED
    other = good._replace(work_control=Estimate(0.3))
    assert verdicts(other)["cycle"] == Verdict.VIOLATED
    assert verdicts(made_balance(1.4, 1.39))["Kelvin"] == Verdict.HOLDS
    assert verdicts(made_balance(1.4, 1.39, 1.0, 0.8))["Kelvin"] == Verdict.VIOLATED


# --- premises: where one of them is not met, the theorem says nothing ---


def changed(strokes: list[list[Row]], index: int, **columns: Any) -> list[list[Row]]:
    """The strokes, with columns of all rows of one of them replaced."""
    return [[row | (columns if i == index else {}) for row in s] for i, s in enumerate(strokes)]


def not_held(strokes: list[list[Row]]) -> list[list[Row]]:
    middle = strokes[2][3]
    middle["C"] *= 1.06
    return strokes


def unmoved(strokes: list[list[Row]]) -> list[list[Row]]:
    # γ goes to and fro on the cold stroke and ends where it began, to within its error
    fro = [0.0, 0.05, 0.01, -0.03, -0.01, 0.02, -0.004]
    for row, by in zip(strokes[2], fro, strict=True):
        row |= {"gamma": strokes[1][-1]["gamma"] + by, "C_error": 1e-3}
    return strokes


def wrong_sign(strokes: list[list[Row]]) -> list[list[Row]]:
    # C falls to a tenth where γ comes back: ∫ C dγ and Δγ differ in sign
    for row, gam, loss in zip(
        strokes[2], (2, 1, 0, -1, 0, 1, 2.5), (9, 9, 9, 9, 1, 1, 1), strict=True
    ):
        row |= {"gamma": gam, "C": 0.1 * loss, "C_target": 0.5}
    return strokes


PREMISES = {
    "not held": (not_held, "cold: C is 0.", {"cycle"}),
    "unmoved": (unmoved, "cold: Δγ = -0.004 ± ", set()),
    "wrong sign": (wrong_sign, "the sign is wrong", set()),
}


@pytest.mark.parametrize("name", PREMISES)
def test_without_its_premises_a_cycle_has_no_efficiency_and_carnot_no_verdict(name: str) -> None:
    change, reason, judged = PREMISES[name]
    found = summarise_cycle(change(carnot_rows(6)), None, 0.0)
    assert reason in found["not_applicable"]
    for key in ("efficiency", "carnot_efficiency", "finite_efficiency"):
        assert math.isnan(found[key])
    assert all(math.isnan(found[f"{key}_error"]) for key in ("efficiency", "finite_efficiency"))
    verdict = {c["law"].split(",")[0]: c["verdict"] for c in found["checks"]}
    assert verdict["Carnot"] == Verdict.NOT_APPLICABLE
    assert {law for law in verdict if verdict[law] == Verdict.HOLDS} == judged
    reasons = [c["reason"] for c in found["checks"] if c["law"].startswith("Carnot")]
    assert reasons == [found["not_applicable"]]


@pytest.mark.parametrize(("name", "by"), [("lambda", 0.3), ("gamma", 0.3), ("R", 0.3), ("C", 0.2)])
def test_a_cycle_that_does_not_come_back_is_judged_by_no_law(name: str, by: float) -> None:
    strokes = carnot_rows(6)
    start, end = strokes[0][0][name], strokes[-1][-1][name]
    strokes[-1][-1][name] += by
    found = summarise_cycle(strokes, None, 0.0)
    assert f"not closed: {name} {start:.4g} → {end + by:.4g}" in found["not_applicable"]
    assert {c["verdict"] for c in found["checks"]} == {Verdict.NOT_APPLICABLE}
    # what is within its error bar has not been shown to be elsewhere
    strokes[-1][-1] |= {f"{name}_error": by, "C_error": by}
    known = summarise_cycle(strokes, None, 0.0)["not_applicable"] or ""
    assert (f"not closed: {name}" in known) == (name == "lambda")


@pytest.mark.parametrize("spoil", [unmoved, wrong_sign], ids=["unmoved", "wrong sign"])
def test_hot_and_cold_are_losses_that_were_measured(spoil: Any) -> None:
    strokes = spoil(carnot_rows(6))
    found = cycle_balance(strokes)
    # Q/Δγ of the cold stroke is none: it is far below zero, or far above
    cold = [flow for flow in found.flows if flow.heat.leg == 2]
    losses = [row["C"] for row in strokes[2]]
    assert [flow.C for flow in cold] == pytest.approx([np.mean(losses)], rel=1e-12)
    everywhere = [row["C"] for stroke in strokes for row in stroke]
    assert min(everywhere) <= found.loss_cold <= found.loss_hot <= max(everywhere)


def test_a_stroke_that_holds_c_at_one_gamma_exchanges_no_heat() -> None:
    strokes = carnot_rows(6)
    for row in strokes[2]:
        row["gamma"] = strokes[1][-1]["gamma"]
    assert 2 not in {flow.heat.leg for flow in cycle_balance(strokes).flows}
    found = summarise_cycle(strokes, None, 0.0)
    assert "cold: Δγ = 0 ± 0 is not known from 0" in found["not_applicable"]


def test_a_held_c_is_judged_within_its_error() -> None:
    strokes = not_held(carnot_rows(6))
    strokes[2][3]["C_error"] = strokes[2][3]["C"]
    assert summarise_cycle(strokes, None, 0.0)["not_applicable"] is None


def test_a_cycle_without_heat_is_no_engine_and_clausius_has_nothing_to_say() -> None:
    rows = [make_row(LEGS[0], lam, GAM, 0.0) for lam in (1.0, 1.3, 1.0)]
    found = cycle_balance([rows])
    assert (found.work.value, found.heat_hot.value) == (0, 0)
    assert math.isnan(found.efficiency.value)
    assert math.isnan(found.finite_efficiency.value)
    assert found.not_applicable == ["no heat is taken in", "no heat is given off"]
    assert verdicts(found)["Clausius"] == Verdict.NOT_APPLICABLE


# --- strokes.json ---


def made(stroke: str, steps: range, leg: int = 0, cycle: int = 0) -> list[Row]:
    """Rows on the exact surface; λ follows the step."""
    rows = []
    for step in steps:
        row = make_row(LEGS[0], 1 + 0.01 * step, 1.0, 0.1, leg=leg, step=step)
        row |= {"cycle": cycle, "stroke": stroke, "stationarity": 0.1 * step, "gradients": 10}
        row |= {"time": 0.1 * step, "seconds": 0.5, "rejected": step % 2, "transition": ""}
        target = NAN if stroke == "equilibration" else row["C"] / 1.02
        rows.append(row | {"C_target": target, "length": 0.1, "relaxation": 0.01})
    return rows


ROWS = [
    *made("equilibration", range(1)),
    *made("iso", range(1, 4)),
    *made("adiabat", range(4, 6)),
    *made("iso", range(6, 8), leg=1),
]


def test_strokes_by_hand() -> None:
    found = summarise_strokes(ROWS, "running")
    assert [(s["cycle"], s["stroke"]) for s in found] == [
        (0, "equilibration"),
        (0, "iso"),
        (0, "adiabat"),
        (0, "iso"),
    ]
    assert [s["status"] for s in found] == ["done", "done", "done", "running"]
    assert [s["steps"] for s in found] == [[0, 0], [1, 3], [4, 5], [6, 7]]
    assert [s["gradients"] for s in found] == [10, 30, 20, 20]
    assert [s["seconds"] for s in found] == [0.5, 1.5, 1.0, 1.0]
    assert [s["rejected"] for s in found] == [0, 2, 1, 1]
    assert [s["leg"] for s in found] == [0, 0, 0, 1]
    assert [s["length"] for s in found] == pytest.approx([0.1, 0.3, 0.2, 0.2])
    assert [s["dissipation"] for s in found] == pytest.approx([0.01, 0.03, 0.02, 0.02])
    iso = found[1]
    # a stroke starts where the one before it ended; on another leg, where it has settled there
    for name in ("t", "lambda", "gamma", "R", "D", "C", "J"):
        assert iso[name] == [ROWS[0][name], ROWS[3][name]]
        assert found[2][name] == [ROWS[3][name], ROWS[5][name]]
        assert found[3][name] == [ROWS[6][name], ROWS[7][name]]
    # C is 2% above its target in every row of the stroke, and in no other row that counts
    assert (iso["drift_max"], iso["drift_mean"]) == pytest.approx((0.02, 0.02))
    assert math.isnan(found[0]["drift_max"])
    assert math.isnan(found[0]["first_law_residual_median"])
    assert iso["stationarity"] == pytest.approx(0.3)
    assert iso["C_target"] == ROWS[3]["C_target"]
    steps = [first_law_residual(a, b) for a, b in pairwise(ROWS[:4])]
    assert iso["first_law_residual_median"] == relative_first_law_residual(ROWS[:4])
    assert max(map(abs, steps)) > 0
    # and the balance is in it, each number with its error
    for name, found in balance(ROWS[:4]).items():
        assert Estimate(iso[name], iso[f"{name}_error"]) == found


def test_a_stopped_process_says_why_in_its_last_stroke() -> None:
    reason = "C* is infeasible"
    found = summarise_strokes(ROWS[:3], reason)
    assert [s["status"] for s in found] == ["done", reason]
    assert found[1]["steps"] == [1, 2]
    before = {"cycle": 0, "stroke": "equilibration", "status": reason}
    assert summarise_strokes([], reason) == [before]
    json.dumps(found)  # plain values only
