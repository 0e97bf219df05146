"""What is asked of a fitted surface: the inverse, contours, and the shortest ways on it."""

from __future__ import annotations

import numpy as np
from contourpy import contour_generator
from scipy.optimize import least_squares, minimize

from thermo_pl.errors import ConfigError, require
from thermo_pl.surface.fit import Fit, State
from thermo_pl.surface.kernel import Array

NAMES = ("lam", "gam", "F", "R", "D", "C")
"""What a point can be asked for by."""
MET = 1e-6
"""Share of a target by which a point may miss it."""
STARTS = 25
"""Points along each axis from which the best is taken to start from."""
FINE = 101
"""Points along each axis on which contours are drawn."""


def at(fit: Fit, targets: dict[str, float]) -> State:
    """The point with given values.

    Args:
        fit: the surface.
        targets: as many of :data:`NAMES` as λ and γ vary, two on a grid.

    Returns:
        The point; where there are several, one of them.

    Raises:
        ConfigError: if no point of the mapped region has these values.
    """
    known = [name for name in targets if name in NAMES]
    count = len(fit.axes)
    allowed = f"{count} of {', '.join(NAMES)}, as many as λ and γ vary"
    require(len(known) == len(targets) == count, "at", dict(targets), allowed)
    asked = np.array([targets[name] for name in known])

    def values(place: Array) -> Array:
        found = _values(fit, place[None])
        return np.array([found[name][0] for name in known])

    grid = fit.grid(STARTS)
    grid = grid[fit.covers(grid)]
    table = _values(fit, grid)
    all_values = np.stack([table[name] for name in known], 1)
    scale = np.maximum(np.ptp(all_values, axis=0), 1e-12)
    order = np.square((all_values - asked) / scale).sum(1).argsort()
    low, high = fit.places.min(0)[fit.axes], fit.places.max(0)[fit.axes]
    base = fit.places[0].copy()

    def missed(free: Array) -> Array:
        place = base.copy()
        place[fit.axes] = free
        found: Array = (values(place) - asked) / scale
        return found

    for start in grid[order[:3]]:
        solved = least_squares(missed, start[fit.axes].clip(low, high), bounds=(low, high))
        place = base.copy()
        place[fit.axes] = solved.x
        if np.abs(solved.fun).max() <= MET and fit.inside(place):
            return fit(*place)
    limits = zip(known, all_values.min(0), all_values.max(0), strict=True)
    told = ", ".join(f"{name} from {a:.4g} to {b:.4g}" for name, a, b in limits)
    raise ConfigError(
        f"at: got {', '.join(f'{k}={v:g}' for k, v in targets.items())}; allowed: a pair that the "
        f"mapped region has, {told}"
    )


def contour(fit: Fit, name: str, value: float) -> list[Array]:
    """Where a quantity has a value.

    Args:
        fit: the surface, over λ and γ.
        name: ``R``, ``D``, ``C`` or ``F``.
        value: nats.

    Returns:
        Lines of λ and γ, each of shape ``(m, 2)``; none where it has the value nowhere.

    Raises:
        ConfigError: if only one of λ and γ varies.
    """
    require(name in NAMES[2:], "quantity", name, ", ".join(NAMES[2:]))
    require(len(fit.axes) == 2, "map", "one that varies in one of λ, γ", "one that varies in both")
    lam, gam = fit.line(0, FINE), fit.line(1, FINE)
    places = fit.grid(FINE)
    values = _values(fit, places)[name]
    inside = fit.covers(places)
    shape = (len(gam), len(lam))
    masked = np.ma.masked_array(values.reshape(shape), ~inside.reshape(shape))
    lines = contour_generator(lam, gam, masked).lines(value)
    return [np.asarray(line, float) for line in lines]


def geodesic(fit: Fit, start: tuple[float, float], end: tuple[float, float], points: int) -> Array:
    """The shortest way in the metric -∇²F, in steps of equal length.

    Such a way gives off the least, L²/2N over N steps. What is made least is the sum of
    -(w' - w)·(Φ' - Φ) over its steps, with w = (λ, γ) and Φ = (D, C): the square of each step's
    length, and of its dissipation twice.

    Args:
        fit: the surface, over λ and γ.
        start: λ and γ.
        end: λ and γ.
        points: of the way, both ends included.

    Returns:
        λ and γ, shape ``(points, 2)``.

    Raises:
        ConfigError: if an end lies outside the mapped region.
    """
    require(len(fit.axes) == 2, "map", "one that varies in one of λ, γ", "one that varies in both")
    require(points > 2, "points", points, "a whole number > 2")
    for place in (start, end):
        require(fit.inside(place), "lam, gam", place, fit.region)
    ends = np.log(np.array([start, end]))
    share = np.linspace(0, 1, points)[1:-1, None]
    straight = (1 - share) * ends[0] + share * ends[1]

    def way(free: Array) -> Array:
        places: Array = np.exp(np.concatenate([ends[:1], free.reshape(-1, 2), ends[1:]]))
        return places

    def paid(free: Array) -> tuple[float, Array]:
        places = way(free)
        _, slope, curvature = fit.derivatives(places)
        moved, fell = np.diff(places, axis=0), -np.diff(slope, axis=0)
        # of the sum of moved·fell: by places, both through moved and through fell
        by_place = np.zeros_like(places)
        by_place[1:] += fell
        by_place[:-1] -= fell
        by_slope = np.zeros_like(places)
        by_slope[1:] -= moved
        by_slope[:-1] += moved
        total = by_place + np.einsum("nij,nj->ni", curvature, by_slope)
        return float((moved * fell).sum()), (total * places)[1:-1].ravel()

    low, high = np.log(fit.places.min(0)), np.log(fit.places.max(0))
    bounds = [(low[i], high[i]) for _ in range(points - 2) for i in (0, 1)]
    found = minimize(paid, straight.ravel(), jac=True, method="L-BFGS-B", bounds=bounds)
    return way(found.x)


def _values(fit: Fit, places: Array) -> dict[str, Array]:
    energy, slopes, _ = fit.derivatives(places)
    found: dict[str, Array] = {"F": energy, "lam": places[:, 0], "gam": places[:, 1]}
    rate = energy.copy()
    for column, axis in enumerate(fit.axes):
        found["DC"[axis]] = slopes[:, column]
        rate -= slopes[:, column] * places[:, axis]
    for axis in {0, 1} - set(fit.axes):
        alone = np.array([fit.alone(axis, place) for place in places])
        found["DC"[axis]] = alone
        rate -= alone * places[:, axis]
    return found | {"R": rate}
