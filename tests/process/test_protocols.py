"""Protocols on the exact system: works, and how fast the dissipation falls with the steps."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from support.carnot_system import CHANGES, LEGS, course
from support.cycle_process import RESPONSE, dissipated, make_system, run_strokes, settle
from thermo_pl.errors import ConfigError
from thermo_pl.particles import interpolate
from thermo_pl.path.columns import Row
from thermo_pl.process import (
    Continuation,
    Equilibration,
    Probes,
    Relaxed,
    Settings,
    Stroke,
    StrokeRule,
)
from thermo_pl.process.measuring import Instruments
from thermo_pl.process.probing import ProbeSource
from thermo_pl.process.protocols import Carrier
from thermo_pl.process.state import Motion
from thermo_pl.process.stroke_rule import StrokeCourse
from thermo_pl.response import ResponseSettings
from thermo_pl.response.measurement import measure

PLACES = [(lams[0], gams[0]) for lams, gams, _ in course(*CHANGES)]
"""(λ, γ) where each stroke begins."""
TWO_DRIVES = {"protocol": "shortcut", "drives": 2}


HOT, COOLING = PLACES[0], PLACES[1]


def two_strokes(steps: int, **settings: Any) -> list[Row]:
    """The hot stroke of the cycle, a corner, and the adiabat behind it."""
    strokes = [
        Stroke("hot", steps, lam=CHANGES[0], C=0.0),
        Stroke("cooling", steps, gam=0.0, S=0.0),
    ]
    return run_strokes([0, 1], HOT, strokes, **settings)


@pytest.fixture(scope="module")
def sudden() -> list[list[Row]]:
    return [two_strokes(n, protocol="sudden") for n in (4, 8)]


@pytest.fixture(scope="module")
def shortcut() -> list[list[Row]]:
    return [two_strokes(n, protocol="shortcut") for n in (6, 12)]


PARTS = {
    "hot": ["equilibration", "hot"],
    "cooling": ["cooling"],
    "both and the corner": ["equilibration", "hot", "cooling"],
}


def order(paths: list[list[Row]], strokes: list[str]) -> float:
    """P of a dissipation ~ N^-p, from N to 2N steps."""
    few, many = (dissipated([r for r in rows if r["stroke"] in strokes]) for rows in paths)
    return math.log2(few / many)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_sudden_steps_give_off_one_nth(sudden: list[list[Row]], part: str) -> None:
    assert order(sudden, PARTS[part]) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("part", PARTS)
def test_a_shortcut_gives_off_the_third_power(shortcut: list[list[Row]], part: str) -> None:
    assert order(shortcut, PARTS[part]) == pytest.approx(3, rel=0.1)


def test_the_first_step_after_a_corner_is_as_good_as_any(shortcut: list[list[Row]]) -> None:
    # of N steps each one gives off N^-4: the response is solved anew where a leg begins
    few, many = (
        next(b["relaxation"] for a, b in pairwise(rows) if a["stroke"] == "cooling")
        for rows in shortcut
    )
    assert math.log2(few / many) == pytest.approx(4, rel=0.1)


@pytest.mark.slow
def test_a_shortcut_of_two_drives_gives_off_the_fifth_power() -> None:
    hot = [
        run_strokes([0], HOT, [Stroke("hot", n, lam=CHANGES[0], C=0.0)], **TWO_DRIVES)
        for n in (6, 12)
    ]
    assert order(hot, PARTS["hot"]) == pytest.approx(5, rel=0.1)


def test_each_row_balances_and_its_relaxation_gives_off(shortcut: list[list[Row]]) -> None:
    jumps = run_strokes([0], HOT, [Stroke("hot", 4, lam=CHANGES[0], C=0.0)], protocol="sudden")
    for rows, driven in ((jumps, False), (shortcut[0], True)):
        for before, after in pairwise(rows):
            if before["leg"] == after["leg"]:
                balance = after["work"] - after["relaxation"]
                assert after["J"] - before["J"] == pytest.approx(balance, rel=0, abs=1e-12)
                assert after["relaxation"] > 1e-7
                assert abs(after["domain_work"]) > 1e-5
                assert (after["drive_work"] != 0) == driven


# --- a single motion ---

MOTION = Motion(0.2, -0.3, 0.25)
START = COOLING


def energy(system: Any, lam: float, gam: float, t: float) -> float:
    """J of the weights as they are, by the networks themselves."""
    networks = system.networks
    x, y, weight = interpolate(system.data.coupling("train").all(), t)
    noise = networks.noise(1, len(x))
    rate, distortion, loss = networks.terms(networks(x.double(), noise), x.double(), y.double())
    total: Tensor = (rate + lam * distortion + gam * loss) @ weight.double()
    return float(total.detach() / weight.sum())


def carried(protocol: Any, respond: Any = None) -> tuple[Any, dict[str, float]]:
    """The work of a motion, and J at the places and weights that it passes through."""
    system, places = make_system([1], *START), {}
    settle(system, 1)
    probes = ProbeSource(Probes())

    def here() -> Any:
        probe = probes.kept("measuring", system.networks, system.data, 0)
        return measure(system.networks, probe, system.data.t, 2)

    generator = torch.Generator().manual_seed(1)
    size = (3, sum(p.numel() for p in system.networks.parameters()))
    directions = 0.1 * torch.randn(size, generator=generator, dtype=torch.float64)
    lam, gam = START
    middle, end = ((lam + s * 0.2, gam - s * 0.3, s * 0.25) for s in (0.5, 1.0))
    for when, follows in (("before", False), ("after", True)):
        if follows:
            system.follow(MOTION, directions)
        places |= {
            f"{when} start": energy(system, *START, 0.0),
            f"{when} middle": energy(system, *middle),
            f"{when} middle still": energy(system, *middle[:2], 0.0),
            f"{when} end": energy(system, *end),
            f"{when} end still": energy(system, *end[:2], 0.0),
            f"{when} end late": energy(system, *end[:2], 0.125),
        }
    settle(system, 1)
    with torch.no_grad():
        found = Carrier(system, here, protocol).carry(MOTION, here(), directions, None, respond)
    assert energy(system, *end) == pytest.approx(places["after end"], rel=1e-12)
    return found.work, places


def test_the_works_of_a_shortcut_are_differences_of_j() -> None:
    work, j = carried("shortcut")
    assert work.total.value == pytest.approx(j["after end"] - j["before start"], abs=1e-9)
    drive = j["after middle"] - j["before middle"]
    assert work.drive.value == pytest.approx(drive, abs=1e-9)
    first = j["before middle"] - j["before middle still"]
    second = j["after end"] - j["after end late"]
    assert work.domain.value == pytest.approx(first + second, abs=1e-9)
    assert min(abs(x) for x in (drive, first, second)) > 1e-3


def test_the_works_of_a_sudden_motion_leave_theta_out() -> None:
    work, j = carried("sudden")
    assert work.total.value == pytest.approx(j["before end"] - j["before start"], abs=1e-9)
    assert work.domain.value == pytest.approx(j["before end"] - j["before end still"], abs=1e-9)
    assert work.drive.value == 0


@pytest.mark.parametrize("size", [0.1, 3.0])
def test_a_second_drive_leaves_no_more_to_relax_than_none(size: float) -> None:
    # a guess of any size; with a large one the response at mid-control is that of no equilibrium
    system = make_system([1], *START)
    settle(system, 1)
    generator = torch.Generator().manual_seed(2)
    count = sum(p.numel() for p in system.networks.parameters())
    guess = size * torch.randn(count, generator=generator, dtype=torch.float64)
    half, end = Motion(*(x / 2 for x in MOTION)), (START[0] + 0.2, START[1] - 0.3, 0.25)
    start = [p.detach().clone() for p in system.networks.parameters()]
    still, along = (after(system, start, x, end) for x in (torch.zeros_like(guess), guess))
    shift_to(system, start, guess / 2)
    system.move(half)
    settings = Settings(response=RESPONSE, protocol="shortcut", drives=2)
    driven, _ = Instruments(system, settings, 0).drive(0, MOTION, guess)
    assert after(system, start, driven, end) <= min(still, along) + 1e-9


def shift_to(system: Any, start: list[Tensor], shift: Tensor) -> None:
    """Put θ at a place beside another one."""
    with torch.no_grad():
        for parameter, value in zip(system.networks.parameters(), start, strict=True):
            parameter.copy_(value)
    system.shift(shift)


def after(
    system: Any, start: list[Tensor], shift: Tensor, end: tuple[float, float, float]
) -> float:
    """J at the end of a motion, with θ driven there."""
    shift_to(system, start, shift)
    return energy(system, *end)


def test_descents_come_down_where_nothing_else_relaxes() -> None:
    system, leg = make_system([0], *HOT), LEGS[0]
    settle(system, 0)
    rule = StrokeRule[StrokeCourse]((Stroke("hot", 3, lam=0.3, gam=0.2),))
    settings = Settings(Equilibration(1e-9, 4, 1), Probes(), RESPONSE, descents=3)
    process = Continuation(system, rule, settings, seed=0)
    rows = [r.row for r in process.run(process.start(), lambda part, parts: Relaxed(1)) if r.row]
    assert rows[-1]["t"] == 1
    for row in rows[1:]:
        least = leg.state(row["lambda"], row["gamma"], row["t"]).F
        assert row["J"] == pytest.approx(least, abs=1e-9)
        assert row["relaxation"] > 1e-3  # what they come down by is given off


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"protocol": "slow"}, "protocol: got 'slow'; allowed: sudden or shortcut"),
        ({"protocol": "shortcut", "predictor": False}, "predictor is off"),
        ({"drives": 2}, "drives: got 2; allowed: 1, or 2 with protocol: shortcut"),
        ({"protocol": "shortcut", "drives": 3}, "drives: got 3"),
        ({"descents": -1}, "descents: got -1; allowed: a whole number"),
        ({"descents": 2, "response": ResponseSettings("auto")}, "descents: got 2; allowed: 0 with"),
    ],
)
def test_what_is_no_protocol_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Settings(**settings)
