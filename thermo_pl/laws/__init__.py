"""What thermodynamics says of the rows of a path, and of a model on its data."""

from typing import TYPE_CHECKING

from thermo_pl.lazy import on_demand

if TYPE_CHECKING:
    from thermo_pl.laws.checks import Check, Verdict
    from thermo_pl.laws.cycle_ledger import summarise_cycle
    from thermo_pl.laws.ledger import summarise_strokes
    from thermo_pl.laws.partition import log_partition
    from thermo_pl.laws.path_laws import check_path
    from thermo_pl.laws.production import EntropyProduction, entropy_production
    from thermo_pl.laws.trajectories import sample_trajectories
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        checks=["Check", "Verdict"],
        cycle_ledger=["summarise_cycle"],
        ledger=["summarise_strokes"],
        partition=["log_partition"],
        path_laws=["check_path"],
        production=["EntropyProduction", "entropy_production"],
        trajectories=["sample_trajectories"],
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
