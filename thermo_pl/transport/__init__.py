"""Exact couplings of two sets of points, checked and kept on disk; without torch."""

from typing import TYPE_CHECKING

from thermo_pl.lazy import on_demand

if TYPE_CHECKING:
    from thermo_pl.transport.cache import ArrayCache, content_hash
    from thermo_pl.transport.column_generation import optimal_plan
    from thermo_pl.transport.couplings import (
        Coupling,
        Transport,
        check_marginals,
        exact_coupling,
        exact_couplings,
        identity_coupling,
        wasserstein2,
    )
    from thermo_pl.transport.matching import match_classes, matched_coupling
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        cache=["ArrayCache", "content_hash"],
        column_generation=["optimal_plan"],
        couplings=[
            "Coupling",
            "Transport",
            "check_marginals",
            "exact_coupling",
            "exact_couplings",
            "identity_coupling",
            "wasserstein2",
        ],
        matching=["match_classes", "matched_coupling"],
    )

__all__ = [
    "ArrayCache",
    "Coupling",
    "Transport",
    "check_marginals",
    "content_hash",
    "exact_coupling",
    "exact_couplings",
    "identity_coupling",
    "match_classes",
    "matched_coupling",
    "optimal_plan",
    "wasserstein2",
]
