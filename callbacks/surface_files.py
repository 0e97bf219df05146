"""The files of a map of the free energy: a table of its nodes, and the model at each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from thermo_pl.files import write_csv, write_whole
from thermo_pl.particles import Batch, interpolate
from thermo_pl.path.columns import Row
from thermo_pl.process.surface import SurfaceCourse, SurfaceRule
from thermo_pl.process.system import System
from thermo_pl.response.measurement import latent_rates
from thermo_pl.surface.table import NODES, TABLE, columns, node_file, node_row


class SurfaceFiles:
    """Brings surface.csv and the folder of models to what a map has found."""

    def __init__(self, directory: Path, rule: SurfaceRule) -> None:
        """Begin with nothing written.

        Args:
            directory: the run directory.
            rule: what maps.
        """
        self._directory, self._rule = directory, rule
        self._rates: dict[int, tuple[int, list[float]]] = {}

    def write(self, system: System, course: SurfaceCourse, rows: Sequence[Row]) -> None:
        """Write what is new.

        Args:
            system: networks and data; θ is as before afterwards.
            course: how far the map has come.
            rows: the path.
        """
        (self._directory / NODES).mkdir(parents=True, exist_ok=True)
        here = system.theta()
        for node, (best, theta) in enumerate(zip(course.best, course.states, strict=True)):
            known = self._rates.get(node)
            if theta is not None and (known is None or known[0] != best):
                system.place(theta)
                self._rates[node] = best, latent_rates(system.networks, _examples(system))
                self._save(system, node)
        system.place(here)
        lines = []
        for node in sorted(set(course.visits)):
            visits = [rows[i] for i, place in enumerate(course.visits) if place == node]
            inside = self._rule.inside(rows[course.best[node]])
            # λ and γ of a row are sums of steps, and a digit may be off: lines of nodes are found
            # by those that are equal
            place = dict(zip(("lambda", "gamma"), self._rule.nodes.places[node], strict=True))
            lines.append(node_row(node, visits, inside, self._rates[node][1]) | place)
        latents = max(len(rates) for _, rates in self._rates.values())
        write_csv(self._directory / TABLE, lines, columns(latents))

    def _save(self, system: System, node: int) -> None:
        lam, gam = self._rule.nodes.places[node]
        weights: dict[str, Tensor] = {
            name: tensor.detach().cpu().contiguous().clone()
            for name, tensor in system.networks.state_dict().items()
        }
        weights["lam"].fill_(lam)
        weights["gam"].fill_(gam)
        write_whole(self._directory / node_file(node), save(weights))


def _examples(system: System) -> Batch:
    return interpolate(system.data.coupling("train").all(), system.data.t)
