"""Switches of latents on the linear VAE, and a jump that is planted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from thermo_pl.errors import ConfigError
from thermo_pl.exact.linear_vae import vae_state
from thermo_pl.surface.transitions import order_parameter, round_trip, switches

TAU, SIGMA = (4.0, 2.5, 1.6), 0.5


def nodes(lam: Any) -> list[dict[str, Any]]:
    found = []
    for value in lam:
        state = vae_state(torch.tensor(TAU), value, SIGMA, 3)
        rates = {
            f"rate_{i}": max(0.0, 0.5 * math.log(value * tau / SIGMA))
            for i, tau in enumerate(TAU, 1)
        }
        assert sum(rates.values()) == pytest.approx(state.R)
        found.append({"lambda": value, "gamma": 0.0, "D": state.D, **rates})
    return found


def test_latents_switch_on_where_they_must_with_the_exponent_a_half() -> None:
    found = switches(nodes(np.geomspace(0.1, 0.7, 30)))
    assert [switch.latent for switch in found] == [1, 2, 3]
    for switch, tau in zip(found, TAU, strict=True):
        critical = SIGMA / tau
        assert switch.lam.value == pytest.approx(critical, rel=1e-4)
        assert switch.exponent.value == pytest.approx(0.5, rel=1e-3)
        assert switch.amplitude == pytest.approx(1.0, rel=1e-3)
        assert switch.jump == pytest.approx(-1 / (2 * critical**2), rel=1e-3)


def test_another_exponent_is_found_and_noise_gives_it_an_error() -> None:
    lam = np.geomspace(0.1, 0.7, 40)
    generator = np.random.default_rng(0)
    order = np.maximum(1 - 0.2 / lam, 0) ** 0.8
    order = np.where(order > 0, order + 0.003 * generator.standard_normal(40), 0).clip(0, 0.99)
    rate = -0.5 * np.log1p(-(order**2))
    assert order_parameter(rate) == pytest.approx(order)
    rows = [
        {"lambda": a, "gamma": 1.0, "D": 1.0, "rate_1": r} for a, r in zip(lam, rate, strict=True)
    ]
    (switch,) = switches(rows)
    assert 0 < switch.exponent.error < 0.05
    assert abs(switch.exponent.value - 0.8) < 4 * switch.exponent.error


def test_what_is_always_on_or_hardly_ever_is_no_switch() -> None:
    assert switches(nodes([0.5, 0.6, 0.7, 0.8, 0.9])) == []
    assert switches(nodes([0.10, 0.11, 0.12, 0.13])) == []
    with pytest.raises(ConfigError, match="got several γ; allowed: a line of nodes"):
        switches([{"lambda": 1.0, "gamma": 1.0}, {"lambda": 1.0, "gamma": 2.0}])


def test_a_jump_has_its_place_its_heat_and_its_hysteresis() -> None:
    # C is 2 below and 1 above; rising it is lost at γ = 1.5, falling at γ = 1.1
    gam = np.linspace(0.6, 2.0, 8)

    def row(value: float, low: bool) -> dict[str, float]:
        c, d = (1.0, 5.0) if low else (2.0, 3.7)
        return {"lambda": 1.0, "gamma": value, "C": c, "D": d, "R": 0.0}

    visits = [row(x, x > 1.5) for x in gam] + [row(x, x > 1.1) for x in gam[-2::-1]]
    found = round_trip(visits)
    assert (found.up, found.down) == (pytest.approx(1.5), pytest.approx(1.1))
    assert (found.loss, found.distortion) == (-1.0, pytest.approx(1.3))
    assert found.area == pytest.approx(0.4)
    assert found.heat == pytest.approx(-1.3)
    with pytest.raises(ConfigError, match="got no walk along γ and back"):
        round_trip(visits[:8])
