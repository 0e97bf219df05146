"""Slopes of R, D and C along the surface of equilibria, read by name: ``slopes.C.gam`` is C_γ."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Gradient(NamedTuple):
    """Total derivatives of one quantity.

    Attributes:
        lam: with respect to λ.
        gam: with respect to γ.
        t: with respect to the domain coordinate.
    """

    lam: float
    gam: float
    t: float


CONTROLS = Gradient._fields
"""λ, γ, t: the order of everything that has one row for each of them."""


class Slopes(NamedTuple):
    """Total derivatives of R, D and C, in nats per unit of the control.

    Attributes:
        R: those of the rate.
        D: those of the distortion.
        C: those of the classification loss.
    """

    R: Gradient
    D: Gradient
    C: Gradient

    @classmethod
    def of(cls, rows: Tensor) -> Slopes:
        """Name the entries of a matrix.

        Args:
            rows: one row for each of R, D, C, one column for each of λ, γ, t; shape ``(3, 3)``.

        Returns:
            The slopes.
        """
        return cls(*(Gradient(*row) for row in rows.tolist()))

    def tensor(self) -> Tensor:
        """The inverse of :meth:`of`.

        Returns:
            Rows R, D, C, columns λ, γ, t; float64, shape ``(3, 3)``.
        """
        return torch.tensor(self, dtype=torch.float64)
