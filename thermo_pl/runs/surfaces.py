"""A mapped surface of the free energy, back from its run: asked, and walked on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from thermo_pl.errors import ConfigError, require
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks.training import training_loss
from thermo_pl.particles import Batch, Particles, interpolate
from thermo_pl.path.columns import Row
from thermo_pl.process import Motion, Relaxation, System
from thermo_pl.response import (
    Objective,
    Probe,
    ResponseSettings,
    linear_response,
    relaxation_damping,
)
from thermo_pl.response.objective import flatten
from thermo_pl.runs.reader import parse_yaml, read_file
from thermo_pl.runs.trained import CONFIG, built, load
from thermo_pl.surface.fit import Fit, State
from thermo_pl.surface.kernel import Array
from thermo_pl.surface.table import node_file, read_table
from thermo_pl.surface.walks import at, contour, geodesic

SOLVING = 2048
"""Particles on which the response of a node is solved, unless the model trains on a cubature."""
PART = 1000
"""Examples on which J is taken at a time."""
STEPS = 100
"""Batches of the short relaxation, unless all particles are in each."""
THERE = 0.01
"""Share of R and of C by which a model may differ from the surface and needs no relaxation."""


class Surface:
    """F, R, D and C at any (λ, γ) that a run has mapped, and the models behind them.

    Attributes:
        nodes: the lines of surface.csv, those between the contours of the map.
        fit: what is between them; called with λ and γ it gives a
            :class:`~thermo_pl.surface.fit.State`.

    Example:
        >>> import thermo_pl as tp
        >>> tp.Surface.load("runs/no_such_map")
        Traceback (most recent call last):
        thermo_pl.errors.ConfigError: RUN: got 'runs/no_such_map'; allowed: the run directory of...
    """

    def __init__(self, nodes: Sequence[Row], directory: Path | None = None) -> None:
        """Fit the nodes.

        Args:
            nodes: lines with ``lambda``, ``gamma``, ``F``, ``D`` and ``C``.
            directory: of the run; without it there are no models.
        """
        self.nodes = [row for row in nodes if row.get("inside", 1)]
        columns = ([row[name] for row in self.nodes] for name in ("lambda", "gamma", *"FDC"))
        self.fit = Fit(*columns)
        self._directory = directory
        self._data: LightningDataModule | None = None

    @classmethod
    def load(cls, run: str | Path) -> Surface:
        """Read a map.

        Args:
            run: the run directory of a ``FreeEnergySurface``, which may still be running.

        Returns:
            The surface.

        Raises:
            ConfigError: if there is no map.
            DataError: if there are fewer than two nodes.
        """
        directory = Path(run).expanduser()
        return cls(read_table(directory), directory)

    def __call__(self, lam: float, gam: float | None = None) -> State:
        """The surface at a point.

        Args:
            lam: λ.
            gam: γ; that of the nodes if there is only one.

        Returns:
            F, R, D and C, and the second derivatives of F.

        Raises:
            ConfigError: outside the mapped region.
        """
        return self.fit(lam, gam)

    def at(self, **targets: float) -> State:
        """The point with given values, such as ``at(R=3.0, C=0.2)``.

        Args:
            **targets: two of lam, gam, F, R, D and C; one where the map varies in one of λ and γ.

        Returns:
            The point.

        Raises:
            ConfigError: if no point of the mapped region has them.
        """
        return at(self.fit, targets)

    def contour(self, **value: float) -> list[Array]:
        """Where one quantity has a value: ``contour(C=0.1)`` is an iso-classification's course.

        Args:
            **value: one of R, D, C or F in nats.

        Returns:
            Lines of λ and γ, each of shape ``(m, 2)``.

        Raises:
            ConfigError: if it is not one of these.
        """
        require(len(value) == 1, "contour", value, "one of R, D, C, F")
        ((name, level),) = value.items()
        return contour(self.fit, name, level)

    def geodesic(
        self, start: tuple[float, float], end: tuple[float, float], points: int = 20
    ) -> Array:
        """The way that gives off the least, in steps of equal thermodynamic length.

        Args:
            start: λ and γ.
            end: λ and γ.
            points: of the way, both ends included.

        Returns:
            λ and γ, shape ``(points, 2)``.
        """
        return geodesic(self.fit, start, end, points)

    def nearest(self, lam: float, gam: float) -> int:
        """The node from which a point is best reached.

        Args:
            lam: λ.
            gam: γ.

        Returns:
            Its place in :attr:`nodes`: where J of its θ is lowest at the point.
        """
        promised = [row["R"] + lam * row["D"] + gam * row["C"] for row in self.nodes]
        return int(np.argmin(promised))

    def node(self, index: int) -> FreeEnergyModel:
        """The trained model at a node.

        Args:
            index: its place in :attr:`nodes`.

        Returns:
            The model at its λ and γ.

        Raises:
            ConfigError: if it is not there.
        """
        directory = self._run()
        return load(directory, directory / node_file(self.nodes[index]["node"]))

    def model_at(
        self, lam: float, gam: float, steps: int | None = None
    ) -> tuple[FreeEnergyModel, int]:
        """A trained model at any point, from where J is lowest before, shortly relaxed if need be.

        Tried are θ of the nearest node, θ between those of the nodes around, and, where the map
        solves responses, θ of the nearest node carried along its own. Where the best of them has R
        and C of the surface to 1 %, on all training examples, it is the model.

        Args:
            lam: λ.
            gam: γ.
            steps: calls of the optimizer of the run's config, whatever R and C are before. If it is
                not given, one if the optimizer sees all particles in each, else 100; and none where
                R and C are those of the surface.

        Returns:
            The model, and the gradient evaluations that it took, each of one particle and one draw.

        Raises:
            ConfigError: outside the mapped region, or if the data cannot be had.
        """
        require(self.fit.inside([lam, gam]), "lam, gam", (lam, gam), self.fit.region)
        model = self.node(self.nearest(lam, gam))
        system, batch_size = self.system(model)
        motion = Motion(lam - float(model.lam), gam - float(model.gam))
        count = steps or (1 if batch_size is None else STEPS)
        settings, spent, starts = self._settings(), 0, [system.theta(), self._blend(lam, gam)]
        if settings is not None:
            directions, spent = self._response(system, settings, count)
            system.follow(motion, directions)
            starts.append(system.theta())
        system.move(motion)
        spent += len(starts) * len(system.data.coupling("train")) * model.training_draws
        found = [(self._terms(system, theta), theta) for theta in starts]
        terms, theta = min(found, key=lambda one: one[0]["J"])
        system.place(theta)
        known = self(lam, gam)
        off = [abs(terms[name] - known.value(name)) - THERE * known.value(name) for name in "RC"]
        if steps is not None or max(off) > 0:
            spent += Relaxation(system, count, batch_size)(0, 1).gradients
        return model.eval(), spent

    def _blend(self, lam: float, gam: float) -> Tensor:
        # θ between those of the nodes around: neighbours were reached from each other
        corners = self.fit.corners([lam, gam])
        return sum((w * self._theta(n) for n, w in corners), torch.zeros(()))

    def _theta(self, index: int) -> Tensor:
        return flatten(self.node(index).parameters())

    @torch.no_grad()
    def _terms(self, system: System, theta: Tensor) -> dict[str, float]:
        # J, R and C on all training examples, the same noise for each θ
        system.place(theta)
        networks, pairs = system.networks, system.data.coupling("train").all()
        batch = interpolate(pairs, system.data.t)
        torch.manual_seed(0)
        total = dict.fromkeys("JRC", 0.0)
        if networks.cubature_seed is not None:
            parts = [batch]
        else:
            parts = [
                Batch(*part) for part in zip(*(torch.split(x, PART) for x in batch), strict=True)
            ]
        for part in parts:
            moved = Batch(*(x.to(networks.device, networks.dtype) for x in part))
            loss, (rate, _, classification) = training_loss(networks, moved)
            share = moved.weight / batch.weight.sum().to(moved.weight)
            total["J"] += float(loss * share.sum())
            total["R"] += float(rate @ share)
            total["C"] += float(classification @ share)
        return total

    def system(self, model: FreeEnergyModel) -> tuple[System, int | None]:
        """A model with the data and the optimizer of the run, for a process of one's own.

        Args:
            model: of a node.

        Returns:
            The system, and how many particles the run has in a batch; None for all.

        Raises:
            ConfigError: if the data of the config cannot be had.
        """
        if self._data is None:
            data = built(self._run(), "data", LightningDataModule)
            data.prepare_data()
            data.setup("fit")
            self._data = data
        moving: Any = self._data
        optimizer = model.optimizer(model.parameters())
        return System(model.train(), moving, optimizer), moving.batch_size

    def _response(
        self, system: System, settings: ResponseSettings, steps: int
    ) -> tuple[Tensor, int]:
        # of a node: θ_λ, θ_γ, θ_t, and what they took
        networks, damping = system.networks, None
        if settings.damping == "auto" and system.optimizer is not None:
            damping = relaxation_damping(networks, system.optimizer, steps * system.learning_rate)
        pairs = system.data.coupling("train")
        if networks.cubature_seed is None and len(pairs) > SOLVING:
            particles = pairs.draw(SOLVING)
        else:
            particles = pairs.all()
        noise = networks.training_noise(len(particles.weight))
        moved = Particles(*(part.to(networks.device, noise.dtype) for part in particles))
        single = torch.float32 if settings.single else None
        objective = Objective(networks, Probe(moved, noise), single)
        found = linear_response(objective, system.data.t, settings, damping=damping)
        return found.directions, found.gradients * noise.shape[:2].numel()

    def _settings(self) -> ResponseSettings | None:
        # of the process of the run; None where it solves no response
        trainer = read_file(self._run() / CONFIG, parse_yaml, dict).get("trainer") or {}
        for callback in trainer.get("callbacks") or []:
            if str(callback.get("class_path", "")).endswith("FreeEnergySurface"):
                given = callback.get("init_args") or {}
                if not given.get("responses", True):
                    return None
                return ResponseSettings(**(given.get("response") or {}))
        return ResponseSettings()

    def _run(self) -> Path:
        if self._directory is None:
            raise ConfigError(
                "surface: got nodes without a run; allowed: Surface.load(RUN) for its models"
            )
        return self._directory
