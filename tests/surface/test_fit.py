"""The fitted surface against linear-Gaussian ones, which are known in closed form."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import numpy as np
import pytest

from support.exact_surface import exact, exact_nodes
from thermo_pl.errors import ConfigError, DataError
from thermo_pl.surface.fit import Fit
from thermo_pl.surface.walks import at, contour, geodesic


def fitted(lam: object, gam: object) -> Fit:
    nodes = exact_nodes(lam, gam)
    return Fit(*([row[name] for row in nodes] for name in ("lambda", "gamma", *"FDC")))


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fitted(np.geomspace(0.6, 3.0, 8), np.geomspace(0.5, 3.0, 8))  # all latents are on


def inner(count: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).uniform(0, 1, (count, 2))
    low, high = np.log([[0.6, 0.5], [3.0, 3.0]])
    return np.exp(low + drawn * (high - low))


def test_between_the_nodes_it_is_the_exact_surface(fit: Fit) -> None:
    bent = []
    for lam, gam in inner(50):
        found, state = fit(lam, gam), exact().state(lam, gam)
        assert pytest.approx(state.F, abs=1e-3) == found.F
        assert pytest.approx((state.D, state.C), rel=2e-3) == (found.D, found.C)
        assert pytest.approx(state.R, abs=5e-3) == found.R
        slopes = exact().derivatives(lam, gam)[1:, :2]
        bent.append(np.abs(found.curvature / slopes.numpy() - 1).max())
    assert np.median(bent) < 0.02
    share, _, _ = fit.curved(21)
    assert share > 0.98  # second derivatives are known least at the edges


def test_its_parts_are_derivatives_of_one_function(fit: Fit) -> None:
    h = 1e-4
    for lam, gam in inner(10, 1):
        here = fit(lam, gam)
        by_lam = [fit(lam + s * h, gam) for s in (-1, 1)]
        by_gam = [fit(lam, gam + s * h) for s in (-1, 1)]
        for (low, high), column in ((by_lam, 0), (by_gam, 1)):
            slope = (high.F - low.F) / (2 * h)
            assert slope == pytest.approx((here.D, here.C)[column], rel=1e-6)
            bent = [(getattr(high, x) - getattr(low, x)) / (2 * h) for x in "DC"]
            assert bent == pytest.approx(here.curvature[:, column], rel=1e-4, abs=1e-5)
        assert here.R + lam * here.D + gam * here.C == pytest.approx(here.F, rel=1e-14)


def test_at_its_nodes_it_is_what_was_measured(fit: Fit) -> None:
    for lam, gam in fit.places:
        found, state = fit(lam, gam), exact().state(lam, gam)
        assert pytest.approx((state.F, state.D, state.C), rel=1e-6) == (found.F, found.D, found.C)


def test_a_point_lies_between_its_corners(fit: Fit) -> None:
    for place in inner(20, 3):
        corners = fit.corners(place)
        assert sum(weight for _, weight in corners) == pytest.approx(1.0)
        assert min(weight for _, weight in corners) >= -1e-9
        between = sum(weight * np.log(fit.places[n]) for n, weight in corners)
        assert np.exp(between) == pytest.approx(place)
        assert max(np.ptp(np.log(fit.places[[n for n, _ in corners]]), axis=0)) < 0.3  # one cell
    line = fitted(np.geomspace(0.2, 2.0, 9), 1.0)
    assert sum(w * math.log(line.places[n, 0]) for n, w in line.corners([0.77, 1.0])) == (
        pytest.approx(math.log(0.77))
    )


def test_a_single_gamma_has_no_derivative_in_it() -> None:
    fit = fitted(np.geomspace(0.2, 2.0, 9), 1.0)
    found, state = fit(0.77), exact().state(0.77, 1.0)
    assert pytest.approx((state.F, state.D, state.R), rel=3e-3) == (found.F, found.D, found.R)
    assert pytest.approx(state.C, rel=5e-3) == found.C
    assert math.isnan(found.curvature[1, 1])
    assert at(fit, {"R": state.R}).lam == pytest.approx(0.77, rel=0.01)


def test_a_grid_may_begin_at_zero() -> None:
    fit = fitted([0.6, 0.9, 1.3], [0.0, 0.2, 0.5, 1.0])
    found, state = fit(0.7, 0.1), exact().state(0.7, 0.1)
    assert pytest.approx((state.F, state.D), rel=5e-3) == (found.F, found.D)


@pytest.mark.parametrize("names", [("R", "C"), ("R", "D"), ("C", "lam"), ("F", "gam")])
def test_the_inverse_finds_the_point(fit: Fit, names: tuple[str, str]) -> None:
    for lam, gam in inner(5, 2):
        asked = fit(lam, gam)
        found = at(fit, {name: asked.value(name) for name in names})
        for name in names:
            assert found.value(name) == pytest.approx(asked.value(name), rel=1e-5)


def test_a_contour_of_c_is_the_exact_one(fit: Fit) -> None:
    level = exact().state(1.3, 1.2).C
    (line,) = contour(fit, "C", level)
    assert len(line) > 50
    for lam, gam in line[::10]:
        assert pytest.approx(level, rel=3e-3) == exact().state(lam, gam).C


def test_a_geodesic_is_shorter_than_other_ways_and_even(fit: Fit) -> None:
    start, end = (0.7, 2.8), (2.8, 0.6)
    way = geodesic(fit, start, end, 17)
    assert way[0] == pytest.approx(start)
    assert way[-1] == pytest.approx(end)

    def lengths(places: np.ndarray) -> np.ndarray:
        steps = []
        for one, two in pairwise(places):
            metric = -exact().derivatives(*(one + two) / 2)[1:, :2].numpy()
            steps.append(math.sqrt((two - one) @ metric @ (two - one)))
        return np.array(steps)

    found, straight = lengths(way), lengths(np.linspace(start, end, 17))
    even = lengths(np.geomspace(start, end, 17))
    assert np.ptp(found) < 0.1 * found.mean()
    assert found.sum() < min(straight.sum(), even.sum())


REFUSED = [
    ("fit(9.0, 1.0)", "lam, gam: got (9.0, 1.0); allowed: λ from 0.6 to 3 and γ from 0.5 to 3"),
    ("fit(1.0, math.nan)", "lam, gam: got (1.0, nan); allowed: λ from 0.6 to 3"),
    ("at(fit, {'R': 100.0, 'C': 1.0})", "at: got R=100, C=1; allowed: a pair that the mapped"),
    ("at(fit, {'R': 1.0})", "at: got {'R': 1.0}; allowed: 2 of lam, gam, F, R, D, C"),
    ("contour(fit, 'Q', 1.0)", "quantity: got 'Q'; allowed: F, R, D, C"),
    ("geodesic(fit, (1.0, 1.0), (9.0, 1.0), 9)", "lam, gam: got (9.0, 1.0); allowed: λ from"),
]


@pytest.mark.parametrize(("asked", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_what_is_not_mapped_is_refused_in_one_line(fit: Fit, asked: str, message: str) -> None:
    known = {"fit": fit, "at": at, "contour": contour, "geodesic": geodesic, "math": math}
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        eval(asked, known)
    assert "\n" not in str(caught.value)


def test_a_single_node_is_no_surface() -> None:
    with pytest.raises(DataError, match="got 1 nodes; allowed: two different ones or more"):
        Fit([1.0], [1.0], [1.0], [1.0], [1.0])
