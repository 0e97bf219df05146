"""A number with its standard error, and how both add up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add as plus
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Draws(NamedTuple):
    """The noise draws behind a number that is the mean over few of them plus one over many.

    Attributes:
        few: one value for each draw, float64, shape ``(n,)``; a single one where it is exact.
        many: the same, over these draws and more, shape ``(m,)`` with m ≥ n.
    """

    few: Tensor
    many: Tensor


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error.

    Sums and differences are taken draw by draw where the draws of all terms are known. Common
    noise then cancels, as it should (common random numbers). Where they are not known the errors
    count as independent, and add in quadrature.

    Attributes:
        value: the number.
        error: its standard error; 0 where it is exact, nan where it is not known.
        draws: the noise draws that value and error come from, where they are known.

    Example:
        >>> import thermo_pl as tp
        >>> tp.Estimate(2.0, 0.3) - 2 * tp.Estimate(0.5, 0.2)
        Estimate(value=1.0, error=0.5)
    """

    value: float
    error: float = 0.0
    draws: Draws | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of_draws(cls, few: Tensor, many: Tensor) -> Estimate:
        """The sum of a mean over few noise draws and of one over many.

        Args:
            few: one value for each draw, float64, shape ``(n,)``; a single one where it is exact.
            many: the same, over these draws and more, shape ``(m,)`` with m ≥ n.

        Returns:
            The sum of both means. Its error is over the draws, the particles being given.
        """
        value = float(few.mean() + many.mean())
        return Estimate(value, _standard_error(few, many), Draws(few, many))

    def __add__(self, other: Estimate) -> Estimate:
        """Add.

        Args:
            other: the other term.

        Returns:
            The sum.
        """
        return add(self, other)

    def __sub__(self, other: Estimate) -> Estimate:
        """Subtract.

        Args:
            other: what is taken away.

        Returns:
            The difference.
        """
        return add(self, -other)

    def __neg__(self) -> Estimate:
        """The number with the other sign.

        Returns:
            It.
        """
        return -1.0 * self

    def __rmul__(self, factor: float) -> Estimate:
        """Scale.

        Args:
            factor: a number without an error.

        Returns:
            The product.
        """
        if self.draws is not None:
            return Estimate.of_draws(factor * self.draws.few, factor * self.draws.many)
        return Estimate(factor * self.value, abs(factor) * self.error)


def add(*terms: Estimate) -> Estimate:
    """Sum of several numbers.

    Args:
        *terms: the numbers.

    Returns:
        Their sum: draw by draw if the draws of all are known, else with the errors in quadrature.
    """
    draws = [term.draws for term in terms if term.draws is not None]
    if terms and len(draws) == len(terms):
        few, many = zip(*draws, strict=True)
        return Estimate.of_draws(reduce(plus, few), reduce(plus, many))
    return Estimate(sum(t.value for t in terms), math.hypot(*(t.error for t in terms)))


def with_errors(found: Mapping[str, Estimate]) -> dict[str, float]:
    """Numbers as they are written to files.

    Args:
        found: estimates by name.

    Returns:
        The values by name, and behind them their errors by ``{name}_error``.
    """
    values = {name: each.value for name, each in found.items()}
    return values | {f"{name}_error": each.error for name, each in found.items()}


def _standard_error(few: Tensor, many: Tensor) -> float:
    n, m = len(few), len(many)
    if min(n, m) == 1:
        parts = [part.var() / len(part) for part in (few, many) if len(part) > 1]
        return math.sqrt(sum(map(float, parts)))
    # what each of the first n draws adds to the sum of both means, and each of the others
    first, other = few / n + many[:n] / m, many / m
    return math.sqrt(n * float(first.var()) + (m - n) * float(other.var()))
