"""Otto's and Stirling's cycle and the heat pump, as shipped, against closed forms."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad

from support.carnot_system import GAM, LAM, make_leg
from support.cycle_process import run_cycle
from thermo_pl.configs.layers import load
from thermo_pl.process import Stroke

CONFIGS = Path(__file__).parents[2] / "lightning_configs"
BOUNDS = (0.1, 20.0)


def run(name: str, steps: int) -> tuple[list[Any], dict[str, Stroke], dict[str, Any]]:
    """Covariances and strokes of a shipped config, and cycle.json in so many steps a stroke."""
    config = load(CONFIGS / f"{name}.yaml")
    ends = config["data"]["init_args"]["covariances"]
    given = config["trainer"]["callbacks"][-1]["init_args"]["strokes"]
    strokes = [Stroke(**{**stroke, "steps": steps}) for stroke in given]
    assert (config["model"]["init_args"]["lam"], config["model"]["init_args"]["gam"]) == (LAM, GAM)
    found = run_cycle(ends, (LAM, GAM), strokes, protocol="shortcut", drives=2)
    return ends, {stroke.name: stroke for stroke in strokes}, found


def test_ottos_heats_are_those_of_two_domains_at_rest() -> None:
    (hot, cold, _), strokes, found = run("otto_exact", 4)
    assert strokes["hot"].changes["lam"] == strokes["cold"].changes["lam"] == 0
    rise, wide = strokes["hot"].gam, LAM + strokes["expansion"].lam
    taken = quad(lambda g: make_leg(hot, None).state(LAM, g).C, GAM, GAM + rise)[0]
    given = quad(lambda g: make_leg(cold, None).state(wide, g).C, GAM, GAM + rise)[0]
    # splines through five points: the fourth power of a quarter
    assert found["heat_hot"] == pytest.approx(taken, rel=1e-3)
    assert found["heat_cold"] == pytest.approx(given, rel=1e-3)
    assert found["efficiency"] == pytest.approx(1 - given / taken, abs=1e-3)
    assert 0.1 < found["efficiency"] < found["carnot_efficiency"] - 0.1
    assert found["machine"] == "engine"
    assert found["closure"]["lambda"] == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_stirlings_efficiency_is_that_of_the_exact_strokes() -> None:
    ends, strokes, found = run("stirling_exact", 6)
    legs = [make_leg(*pair) for pair in pairwise(ends)]
    wide = LAM + strokes["hot"].lam
    high = legs[0].state(LAM, GAM).C
    low = high + strokes["cooling"].C
    t = np.linspace(0, 1, 65)
    ways = [  # λ and C along each stroke
        (LAM + t * (wide - LAM), high + 0 * t),
        (wide + 0 * t, high + t * (low - high)),
        (wide + t * (LAM - wide), low + 0 * t),
        (LAM + 0 * t, low + t * (high - low)),
    ]
    taken = given = 0.0
    for leg, (lams, losses) in zip(legs, ways, strict=True):
        places = zip(losses, lams, t, strict=True)
        gammas = [leg.gamma_at(float(c), float(lam), float(s), BOUNDS) for c, lam, s in places]
        heat = (losses[1:] + losses[:-1]) / 2 * np.diff(gammas)
        taken, given = taken + heat[heat > 0].sum(), given - heat[heat < 0].sum()
    assert gammas[-1] == pytest.approx(GAM, rel=1e-9)  # back at A
    # γ turns around within a stroke that joins the isotherms, on which six steps are few
    assert found["heat_hot"] == pytest.approx(taken, rel=1e-2)
    assert found["efficiency"] == pytest.approx(1 - given / taken, rel=1e-2)
    assert found["carnot_efficiency"] == pytest.approx(1 - low / high, rel=1e-2)
    assert 0.1 < found["efficiency"] < found["carnot_efficiency"] - 0.1


@pytest.mark.slow
def test_the_heat_pump_has_carnots_performance() -> None:
    ends, _, found = run("heat_pump_exact", 4)
    high, leg = make_leg(ends[0], None).state(LAM, GAM).C, make_leg(*ends[:2])
    lam = leg.adiabat(LAM, GAM, [0.0, 0.5, 1.0])[-1].item()
    low = leg.state(lam, GAM, 1.0).C
    assert found["machine"] == "heat pump"
    assert found["work"] < 0
    assert found["performance"] == pytest.approx(found["carnot_performance"], rel=1e-6)
    # C_c is where four steps of an adiabat lead
    assert found["performance"] == pytest.approx(high / (high - low), rel=1e-3)
    # what is given off is put in on top of it
    assert 0.8 * found["performance"] < found["finite_performance"] < found["performance"]
