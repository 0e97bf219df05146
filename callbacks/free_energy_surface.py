"""A map of the free energy as a callback; see :mod:`thermo_pl.process.surface`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
from typing_extensions import override

from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.callbacks.surface_files import SurfaceFiles
from thermo_pl.errors import require
from thermo_pl.process.equilibration import Equilibration
from thermo_pl.process.settings import Probes, Protocol, Settings
from thermo_pl.process.surface import Nodes, RelaxedSurfaceRule, SurfaceCourse, SurfaceRule
from thermo_pl.process.transitions import OnTransition
from thermo_pl.response.linear import ResponseSettings


class FreeEnergySurface(QuasiStatic):
    """Maps F(λ, γ): visits nodes from neighbour to neighbour, and keeps each one's best model.

    The first pass goes along λ, the second one along γ; nodes at which both disagree show
    hysteresis. Then a node is visited again from a neighbour as long as that promises a lower J.
    ``surface.csv`` has a line for each node, ``nodes`` the model at each; ``tp.Surface.load`` reads
    both. The data stay at the first domain, t = 0.

    Example:
        >>> import thermo_pl as tp
        >>> process = tp.FreeEnergySurface(lam=[1.0, 1.5], gam=[2.0, 3.0])
        >>> process.rule.nodes.places
        ((1.0, 2.0), (1.5, 2.0), (1.0, 3.0), (1.5, 3.0))
    """

    rule: SurfaceRule

    def __init__(
        self,
        lam: list[float] | None = None,
        gam: list[float] | None = None,
        equilibration: Equilibration | None = None,
        probes: Probes | None = None,
        response: ResponseSettings | None = None,
        predictor: bool = True,
        on_transition: OnTransition = "mark",
        protocol: Protocol = "sudden",
        drives: int = 1,
        nodes: list[list[float]] | None = None,
        within: dict[str, list[float]] | None = None,
        passes: int = 2,
        gain: float = 1e-4,
        revisits: float = 1.0,
        responses: bool = True,
    ) -> None:
        """Lay out the nodes: a grid of ``lam`` and ``gam``, or a list.

        Args:
            lam: values of λ, which rise or fall; the first one is that of the model.
            gam: values of γ, likewise.
            equilibration: how the run is brought to equilibrium first.
            probes: the solving, the control and the measuring probe.
            response: how the linear response is solved.
            predictor: move θ by the response before each relaxation.
            on_transition: ``mark``, ``continue`` or ``stop``; see :class:`Settings`.
            protocol: ``sudden`` moves the control first and θ after it; ``shortcut`` drives θ along
                its response while the control moves, and gives off far less; see :class:`Settings`.
            drives: drives of θ in a step of the shortcut, 1 or 2; with 2 the response is solved
                at mid-control, too.
            nodes: pairs [λ, γ] in the order of the first pass, in place of a grid.
            within: of R, D or C the lowest and the highest value: the map ends at these contours. A
                node beyond them is measured, but not gone on from.
            passes: 2 to come to each node from two sides, or 1.
            gain: fall of J in nats below which a visit is no better than another.
            revisits: visits after the passes, at most, as a multiple of the number of nodes.
            responses: solve the linear response at each node. Without it θ stays between two nodes
                and relaxation does all; derivatives and stationarity are not known. The first node
                then has ``equilibration.check_every`` epochs.
        """
        settings = Settings.of(
            equilibration,
            probes,
            response,
            predictor=predictor,
            on_transition=on_transition,
            protocol=protocol,
            drives=drives,
        )
        limits = {name: _pair(name, values) for name, values in (within or {}).items()}
        kind = SurfaceRule if responses else RelaxedSurfaceRule
        rule = kind(_nodes(lam, gam, nodes), passes, gain, limits, revisits)
        super().__init__(rule, settings)
        self._surface: SurfaceFiles | None = None

    @override
    def _write(self, trainer: pl.Trainer) -> None:
        super()._write(trainer)
        course, process = self.state.course, self._process
        if not trainer.is_global_zero or process is None or not isinstance(course, SurfaceCourse):
            return
        if self._surface is None:
            self._surface = SurfaceFiles(Path(trainer.default_root_dir), self.rule)
        course = self.rule.noted(course, process.here(self.state))
        self._surface.write(process.system, course, self.rows)


def _nodes(
    lam: Sequence[float] | None,
    gam: Sequence[float] | None,
    nodes: Sequence[Sequence[float]] | None,
) -> Nodes:
    if nodes is not None:
        given = {"lam": lam, "gam": gam}
        for name, values in given.items():
            require(values is None, name, values, "null with nodes, which say all")
        return Nodes.along(nodes)
    allowed = "values of λ and of γ, or nodes"
    if lam is None or gam is None:
        require(False, "lam, gam", (lam, gam), allowed)
    return Nodes.grid(lam or (), gam or ())


def _pair(name: str, values: Sequence[float]) -> tuple[float, float]:
    require(len(values) == 2, f"within.{name}", list(values), "its lowest and its highest value")
    return values[0], values[1]
