"""F between the nodes of a map: an interpolant of F together with its gradient, D and C.

As R = F - λD - γC and D, C are derivatives of one function, dF = D dλ + C dγ holds everywhere, and
with it the first law and Maxwell's relation. Concavity is not built in; :meth:`Fit.curved` checks
it.

What is left of a polynomial of degree two is a sum of kernels, :mod:`thermo_pl.surface.kernel`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from thermo_pl.errors import DataError, require
from thermo_pl.surface.kernel import Array, best_weights, kernel_sum

EDGE = 1e-9
"""How far outside the mapped region, in distances between neighbours, counts as inside."""


@dataclass(frozen=True)
class State:
    """A point of the surface, in nats.

    Attributes:
        lam: λ.
        gam: γ.
        F: R + λD + γC.
        R: rate.
        D: distortion, ∂F/∂λ.
        C: classification loss, ∂F/∂γ.
        curvature: second derivatives of F in (λ, γ), shape ``(2, 2)``: D_λ, D_γ = C_λ, C_γ.
    """

    lam: float
    gam: float
    F: float
    R: float
    D: float
    C: float
    curvature: Array

    def value(self, name: str) -> float:
        """One of its numbers.

        Args:
            name: ``lam``, ``gam``, ``F``, ``R``, ``D`` or ``C``.

        Returns:
            Its value.
        """
        return float(getattr(self, name))


class Fit:
    """F, R, D, C and their derivatives at any (λ, γ) of a mapped region.

    Coordinates are log λ and log γ; where 0 is among the nodes, log(λ + s) with s the smallest
    other value. An axis with a single value is left out: D or C is then only known at the nodes'
    own value of it, and C is interpolated along λ by itself.

    Attributes:
        places: the nodes, shape ``(n, 2)``.
        axes: which of λ and γ vary, 0 and 1.
        width: of the kernel, in distances between neighbours.

    Example:
        >>> import numpy as np
        >>> lam, gam = (axis.ravel() for axis in np.meshgrid([1.0, 1.5, 2.0], [2.0, 3.0, 4.0]))
        >>> fit = Fit(lam, gam, np.log(lam * gam), 1 / lam, 1 / gam)
        >>> state = fit(1.2, 2.5)
        >>> abs(state.F - np.log(1.2 * 2.5)) < 1e-3, abs(state.D - 1 / 1.2) < 1e-2
        (True, True)
    """

    def __init__(
        self,
        lam: Sequence[float] | Array,
        gam: Sequence[float] | Array,
        energy: Sequence[float] | Array,
        distortion: Sequence[float] | Array,
        loss: Sequence[float] | Array,
    ) -> None:
        """Fit.

        Args:
            lam: λ of each node.
            gam: γ.
            energy: F, nats.
            distortion: D = ∂F/∂λ, nats.
            loss: C = ∂F/∂γ, nats.

        Raises:
            DataError: if there are fewer than two nodes, or a number is not finite.
        """
        self.places = np.stack([np.asarray(lam, float), np.asarray(gam, float)], 1)
        values = np.asarray(energy, float)
        slopes = np.stack([np.asarray(distortion, float), np.asarray(loss, float)], 1)
        finite = all(np.isfinite(part).all() for part in (self.places, values, slopes))
        self.axes = [i for i in (0, 1) if np.ptp(self.places[:, i]) > 0]
        if not finite or not self.axes:
            raise DataError(
                f"surface: got {len(values)} nodes; allowed: two different ones or more, with "
                "finite F, D and C"
            )
        self._shift = [_shift(self.places[:, i]) for i in self.axes]
        raw = self._raw(self.places)
        self._origin = raw.mean(0)
        self._unit = np.array([_spacing(column) for column in raw.T])
        x = (raw - self._origin) / self._unit
        self._x = x
        self._hull = (
            Delaunay(x) if len(self.axes) == 2 and np.linalg.matrix_rank(x - x[0]) > 1 else None
        )
        steps = (self.places[:, self.axes] + self._shift) * self._unit
        gradient = slopes[:, self.axes] * steps
        self._trend = _trend(x, values, gradient)
        rest = np.concatenate([values[:, None], gradient], 1) - _polynomial(x, self._trend)
        self.width, self._weights = best_weights(x, rest)
        self._slopes = slopes

    def __call__(self, lam: float, gam: float | None = None) -> State:
        """The surface at a point.

        Args:
            lam: λ.
            gam: γ; that of the nodes if there is only one.

        Returns:
            The state.

        Raises:
            ConfigError: outside the mapped region.
        """
        place = np.array([lam, self.places[0, 1] if gam is None else gam], float)
        require(self.inside(place), "lam, gam", tuple(map(float, place)), self.region)
        values, gradient, hessian = self.derivatives(place[None])
        slope, curvature = np.full(2, math.nan), np.full((2, 2), math.nan)
        slope[self.axes] = gradient[0]
        curvature[np.ix_(self.axes, self.axes)] = hessian[0]
        for missing in {0, 1} - set(self.axes):
            slope[missing] = self.alone(missing, place)
        rate = values[0] - slope @ place
        lam, gam = map(float, place)
        distortion, loss = map(float, slope)
        energy = float(values[0])
        return State(lam, gam, energy, float(rate), distortion, loss, curvature)

    @property
    def region(self) -> str:
        """What is mapped, in words."""
        low, high = self.places.min(0), self.places.max(0)
        limits = (f"{n} from {a:g} to {b:g}" for n, a, b in zip("λγ", low, high, strict=True))
        return " and ".join(limits) + ", between the nodes of the map"

    def inside(self, place: Sequence[float] | Array) -> bool:
        """Whether a point lies in the mapped region.

        Args:
            place: λ and γ.

        Returns:
            Whether it does.
        """
        return bool(self.covers(np.asarray(place, float)[None])[0])

    def covers(self, places: Array) -> NDArray[np.bool_]:
        """Which points lie in the mapped region, the convex hull of the nodes.

        Args:
            places: λ and γ, shape ``(m, 2)``.

        Returns:
            Shape ``(m,)``.
        """
        low, high = self.places.min(0), self.places.max(0)
        span = EDGE * (1 + np.abs(high))
        within: NDArray[np.bool_] = ((places >= low - span) & (places <= high + span)).all(1)
        if self._hull is not None and within.any():
            found = self._hull.find_simplex(self._scaled(places[within]), tol=EDGE)
            within[within] = found >= 0
        return within

    def corners(self, place: Sequence[float] | Array) -> list[tuple[int, float]]:
        """The nodes around a point, and how much each of them counts there.

        Args:
            place: λ and γ, in the mapped region.

        Returns:
            Numbers of nodes and weights, which add up to 1: linear in the coordinates of the fit.
        """
        x = self._scaled(np.asarray(place, float)[None])[0]
        if self._hull is None:
            order = self._x[:, 0].argsort()
            right = int(np.searchsorted(self._x[order, 0], x[0]).clip(1, len(order) - 1))
            low, high = order[right - 1], order[right]
            share = float((x[0] - self._x[low, 0]) / (self._x[high, 0] - self._x[low, 0]))
            return [(int(low), 1 - share), (int(high), share)]
        cell = int(self._hull.find_simplex(x[None], tol=EDGE)[0])
        transform = self._hull.transform[cell]
        part = transform[:-1] @ (x - transform[-1])
        weights = [*part, 1 - part.sum()]
        return [
            (int(n), float(w)) for n, w in zip(self._hull.simplices[cell], weights, strict=True)
        ]

    def derivatives(self, places: Array) -> tuple[Array, Array, Array]:
        """F and its derivatives in those of λ and γ that vary, whether inside or not.

        Args:
            places: λ and γ, shape ``(m, 2)``.

        Returns:
            Shapes ``(m,)``, ``(m, a)`` and ``(m, a, a)``.
        """
        x = self._scaled(places)
        poly = _polynomial(x, self._trend)
        value, gradient, hessian = kernel_sum(x, self._x, self._weights, self.width)
        value, gradient = value + poly[:, 0], gradient + poly[:, 1:]
        hessian = hessian + _quadratic(self._trend, x.shape[1])
        # from x to λ, γ: dw = (w + s) h dx
        step = (places[:, self.axes] + self._shift) * self._unit
        diagonal = gradient / step * self._unit  # of d²w/dx² = h dw/dx
        curved = hessian / (step[:, :, None] * step[:, None])
        index = np.arange(x.shape[1])
        curved[:, index, index] -= diagonal / step
        return value, gradient / step, curved

    def curved(self, points: int = 41) -> tuple[float, float, State]:
        """Whether F is concave between the nodes, too.

        Args:
            points: along each axis at which it is looked at.

        Returns:
            The share of points at which it is; the largest second derivative, in nats per unit of
            log λ or log γ, which has to be negative; and where that is.
        """
        grid = self.grid(points)
        grid = grid[self.covers(grid)]
        step = grid[:, self.axes] + self._shift
        curved = self.derivatives(grid)[2] * step[:, :, None] * step[:, None]
        highest = np.linalg.eigvalsh(curved)[:, -1]
        worst = int(highest.argmax())
        return float((highest <= 0).mean()), float(highest[worst]), self(*grid[worst])

    def grid(self, points: int) -> Array:
        """Points spread over the box of the nodes, evenly in the coordinates of the fit.

        Args:
            points: along each axis that varies.

        Returns:
            λ and γ, shape ``(m, 2)``, the second axis slowest.
        """
        lines = [self.line(i, points) for i in (0, 1)]
        lam, gam = np.meshgrid(*lines)
        return np.stack([lam.ravel(), gam.ravel()], 1)

    def line(self, axis: int, points: int) -> Array:
        """Values of λ or γ, evenly spread in the coordinates of the fit.

        Args:
            axis: 0 for λ, 1 for γ.
            points: how many; one where it does not vary.

        Returns:
            The values, rising.
        """
        low, high = self.places[:, axis].min(), self.places[:, axis].max()
        if axis not in self.axes:
            return np.array([low])
        shift = self._shift[self.axes.index(axis)]
        inner = np.exp(np.linspace(np.log(low + shift), np.log(high + shift), points)) - shift
        inner[0], inner[-1] = low, high
        return inner

    def alone(self, missing: int, place: Array) -> float:
        """D of a map with one λ, or C of one with one γ: no derivative of F there.

        Args:
            missing: 0 for D, 1 for C.
            place: λ and γ.

        Returns:
            Nats, between those of the nodes.
        """
        other = self.axes[0]
        order = self.places[:, other].argsort()
        x = self._raw(self.places)[order, 0]
        return float(np.interp(self._raw(place[None])[0, 0], x, self._slopes[order, missing]))

    def _raw(self, places: Array) -> Array:
        found: Array = np.log(places[:, self.axes] + self._shift)
        return found

    def _scaled(self, places: Array) -> Array:
        found: Array = (self._raw(places) - self._origin) / self._unit
        return found


def _shift(values: Array) -> float:
    # log needs a number > 0
    return 0.0 if values.min() > 0 else float(values[values > 0].min())


def _spacing(values: Array) -> float:
    steps = np.diff(np.unique(values.round(12)))
    return float(np.median(steps))


def _terms(x: Array) -> Array:
    # a polynomial of degree two and its gradient, shape (n, 1 + a, terms)
    n, a = x.shape
    pairs = [(i, j) for i in range(a) for j in range(i, a)]
    made = np.zeros((n, 1 + a, 1 + a + len(pairs)))
    made[:, 0, 0] = 1
    for i in range(a):
        made[:, 0, 1 + i], made[:, 1 + i, 1 + i] = x[:, i], 1
    for column, (i, j) in enumerate(pairs, 1 + a):
        made[:, 0, column] = x[:, i] * x[:, j]
        made[:, 1 + i, column] += x[:, j]
        made[:, 1 + j, column] += x[:, i]
    return made


def _trend(x: Array, energy: Array, gradient: Array) -> Array:
    terms = _terms(x)
    values = np.concatenate([energy[:, None], gradient], 1)
    found: Array = np.linalg.lstsq(terms.reshape(-1, terms.shape[-1]), values.ravel())[0]
    return found


def _polynomial(x: Array, trend: Array) -> Array:
    found: Array = _terms(x) @ trend
    return found


def _quadratic(trend: Array, a: int) -> Array:
    pairs = [(i, j) for i in range(a) for j in range(i, a)]
    found = np.zeros((a, a))
    for weight, (i, j) in zip(trend[1 + a :], pairs, strict=True):
        found[i, j] += weight
        found[j, i] += weight
    return found
