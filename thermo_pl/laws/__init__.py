"""What thermodynamics says of the rows of a path, and of a model on its data."""

from typing import TYPE_CHECKING

from thermo_pl.lazy import on_demand

if TYPE_CHECKING:
    from thermo_pl.laws.checks import Check, Verdict
    from thermo_pl.laws.cycle_ledger import summarise_cycle
    from thermo_pl.laws.ledger import summarise_strokes
    from thermo_pl.laws.path_laws import check_path
    from thermo_pl.laws.production import EntropyProduction, entropy_production
    from thermo_pl.laws.second_law import log_partition, sample_trajectories
else:
    __getattr__ = on_demand(
        __name__,
        checks=["Check", "Verdict"],
        cycle_ledger=["summarise_cycle"],
        ledger=["summarise_strokes"],
        path_laws=["check_path"],
        production=["EntropyProduction", "entropy_production"],
        second_law=["log_partition", "sample_trajectories"],
    )

__all__ = [
    "Check",
    "EntropyProduction",
    "Verdict",
    "check_path",
    "entropy_production",
    "log_partition",
    "sample_trajectories",
    "summarise_cycle",
    "summarise_strokes",
]
