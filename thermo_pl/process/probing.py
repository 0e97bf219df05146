"""The probes of a process: which particles and which noise, drawn the same way in a resumed run."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch

from thermo_pl.errors import require
from thermo_pl.networks.checks import check_values
from thermo_pl.networks.parts import Networks
from thermo_pl.particles import ALONE, Particles, Reduction
from thermo_pl.process.data import MovingData
from thermo_pl.process.settings import Hold, Probes
from thermo_pl.process.state import State
from thermo_pl.response.objective import Probe

Kind = Literal["control", "held", "measuring", "solving", "witness"]
"""``held``: what is reported of the particles on which C is held."""


class ProbeSource:
    """Draws probes from random streams of their own, and keeps those that stay on a leg."""

    def __init__(self, settings: Probes, hold: Hold = "train", shared: Reduction = ALONE) -> None:
        """Begin without a probe.

        Args:
            settings: sizes of the probes.
            hold: the particles on which C is held. On those of training, what is measured is what
                is held.
            shared: adds up over the ranks, of which each gets its share of a probe.
        """
        self.settings, self._hold, self._shared = settings, hold, shared
        self._kept: dict[str, tuple[tuple[int, int], Probe]] = {}

    def kept(
        self, kind: Kind, model: Networks, data: MovingData, seed: int, more: int = 1
    ) -> Probe:
        """The probe of the leg, drawn when it is first asked for.

        Args:
            kind: which one.
            model: the model.
            data: the data, where they are.
            seed: root of the random streams.
            more: times as many draws as usual.

        Returns:
            The same probe at every call on a leg.
        """
        if kind == "held" and self._hold == "train":
            kind = "measuring"
        known, asked = self._kept.get(kind), (data.leg, more)
        if known is None or known[0] != asked:
            known = asked, self.drawn(kind, 0, model, data, seed, more)
            self._kept[kind] = known
        return known[1]

    def drawn(
        self, kind: Kind, key: int, model: Networks, data: MovingData, seed: int, more: int = 1
    ) -> Probe:
        """A new probe: of training particles, or of those on which C is held.

        Args:
            kind: which one; a witness has the size of the solving probe, what is held that of the
                measuring probe.
            key: tells draws of one kind apart.
            model: the model.
            data: the data, where they are.
            seed: root of the random streams.
            more: times as many draws as usual.

        Returns:
            The probe, on the device of the model; of several ranks each has its share of it.
        """
        size = {"witness": "solving", "held": "measuring"}.get(kind, kind)
        count = getattr(self.settings, f"{size}_particles")
        noise_seed = stream(seed, kind, data.leg, key)
        generator = torch.Generator().manual_seed(noise_seed)
        held_out = self._hold == "validation" and kind in {"control", "held"}
        coupling = data.coupling("val" if held_out else "train")
        # a probe that asks for all particles takes each once: only its noise is left to chance
        everything = count >= len(coupling)
        drawn = coupling.all() if everything else coupling.draw(count, generator)
        for end in (drawn.source, drawn.target):
            check_values(model.decoder, *(float(value) for value in end.aminmax()))
        n = len(drawn.weight)
        trains_on_cubature = model.cubature_seed is not None
        points = model.cubature_points
        trained_on = size == "solving" and trains_on_cubature
        if kind == "measuring" and self.settings.measuring_points == "training":
            allowed = "fresh, or training with model.cubature_seed"
            require(trains_on_cubature, "probes.measuring_points", "training", allowed)
            trained_on = True
        turned = size != "solving" and (trains_on_cubature or self._turns(size, n, model))
        samples = self.settings.samples(size, n, points if turned else 1, more)
        if trained_on:
            # what J is made of in training
            allowed = f"at least {len(coupling)}, all: with a cubature J is that of all particles"
            require(everything, f"probes.{size}_particles", count, allowed)
            noise = model.training_noise(n)
        elif turned:
            # what training never saw
            noise = model.cubature(samples, n, noise_seed)
        else:
            noise, points = model.noise(samples, n, generator), 1
        shared = self._shared
        allowed = f"at least {shared.ranks}, one for each rank; take fewer ranks"
        require(n >= shared.ranks, f"probes: particles of the {kind} probe", n, allowed)
        here = (tensor[shared.share] for tensor in drawn)
        moved = Particles(*(tensor.to(model.device, noise.dtype) for tensor in here))
        return Probe(moved, noise[:, shared.share], points, shared)

    def _turns(self, kind: str, particles: int, model: Networks) -> bool:
        gaussian = model.encoder.gaussian_draws
        return gaussian and self.settings.turns(kind, particles, model.cubature_points)


def stream(seed: int, name: str, *keys: int) -> int:
    """A seed for one purpose, independent of all others.

    Args:
        seed: root of all streams.
        name: the purpose.
        *keys: tell streams of one purpose apart.

    Returns:
        A seed for torch.
    """
    entropy = [seed, *name.encode(), *keys]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


def seed_relaxation(state: State[Any]) -> None:
    """Give an epoch its own stream of noise: a resumed run draws what this one would have.

    Args:
        state: where the process stands.
    """
    torch.manual_seed(stream(state.seed, "relax", state.epoch))
