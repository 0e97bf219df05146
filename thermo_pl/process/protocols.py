r"""Protocols: in which order a macro-step moves the control, the data and θ, and what work that is.

``sudden`` moves λ, γ and the data at fixed θ; then θ goes along its response, and relaxes. What
J falls by while θ moves is given off. To second order that is ½ ΔwᵀgΔw, g being the metric of the
thermodynamic length: L²/2N for N steps.

``shortcut`` moves half of the control, drives θ along its response θ_p = θ + θ'Δw, and moves the
other half. θ_p misses the next equilibrium by O(Δw²), so that relaxation gives off O(Δw⁴): N steps
waste O(1/N³). The drive is work like any other. J at mid-control is as high at θ as it is at θ_p
but for O(Δw³), so that it costs next to nothing there. What it needs is the response, a linear
solve: this is counterdiabatic driving, with A⁻¹ in place of a Hamiltonian.

Source: Demirplak & Rice 2003 and Berry, "Transitionless quantum driving", 2009, for the drive;
Strang 1968 for the halves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_pl.process.rows import Work
from thermo_pl.process.settings import Protocol
from thermo_pl.process.state import Motion
from thermo_pl.process.system import System
from thermo_pl.response.measurement import Measurement

Ahead = Callable[[Motion, Tensor], tuple[Tensor, int]]
"""Solves where θ goes along a motion, from a guess of it: θ'Δw, and the gradient evaluations."""


class Carried(NamedTuple):
    """What a motion came to.

    Attributes:
        work: what it did to J.
        there: R, D and C as they were measured last: with ``sudden`` before θ moved.
        gradients: gradient evaluations of the response that was solved on the way.
    """

    work: Work
    there: Measurement
    gradients: int = 0


class Carrier(NamedTuple):
    """Carries a system along a motion of the control, by a protocol.

    Attributes:
        system: what is moved.
        measure: says R, D and C where the system is.
        protocol: the order of things.
    """

    system: System
    measure: Callable[[], Measurement]
    protocol: Protocol

    def carry(
        self,
        motion: Motion,
        here: Measurement,
        directions: Tensor | None,
        end: float | None = None,
        ahead: Ahead | None = None,
    ) -> Carried:
        """Move the control, the data and θ.

        Args:
            motion: of the control and the data.
            here: R, D and C before.
            directions: θ_λ, θ_γ, θ_t, shape ``(3, p)``; None where θ stays.
            end: t at the end, where it must be met to the last bit.
            ahead: solves the drive anew at mid-control; None for a single drive.

        Returns:
            What it came to.
        """
        if self.protocol == "sudden" or directions is None:
            work, there = self._moved(motion, here, end)
            if directions is not None:
                self.system.follow(motion, directions)
            return Carried(work, there)
        half = Motion(*(x / 2 for x in motion))
        first, middle = self._moved(half, here)
        gradients = self._driven(motion, directions, ahead)
        driven = self.measure()
        drive = driven.free_energy - middle.free_energy
        last, there = self._moved(half, driven, end)
        both = first.and_then(last)
        work = both._replace(total=both.total + drive, drive=drive)
        return Carried(work, there, gradients)

    def _driven(self, motion: Motion, directions: Tensor, ahead: Ahead | None) -> int:
        if ahead is None:
            self.system.follow(motion, directions)
            return 0
        half = Motion(*(x / 2 for x in motion))
        self.system.follow(half, directions)
        amounts = torch.tensor(motion, dtype=directions.dtype, device=directions.device)
        guess = amounts @ directions
        whole, gradients = ahead(motion, guess)
        self.system.shift(whole - guess / 2)
        return gradients

    def _moved(
        self, motion: Motion, here: Measurement, end: float | None = None
    ) -> tuple[Work, Measurement]:
        # at fixed θ J is linear in λ and γ: only the data ask for a measurement
        networks = self.system.networks
        self.system.move(motion, end)
        control = there = replace(here, lam=float(networks.lam), gam=float(networks.gam))
        if motion.t:
            there = self.measure()
        total, domain = (there.free_energy - x.free_energy for x in (here, control))
        return Work(total, 0.0 * total, domain), there
