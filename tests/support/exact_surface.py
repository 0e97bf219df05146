"""Nodes of a linear-Gaussian surface, as a map would leave them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from thermo_pl.exact.gaussian import LinearGaussian

COVARIANCE = [[4.0, 0.6, 0.2], [0.6, 2.5, -0.3], [0.2, -0.3, 1.6]]
LABELS = [[1.0, 0.3, -0.2], [0.1, -0.8, 0.4]]


def exact() -> LinearGaussian:
    """Three latents, all on from λ = 0.6 and γ = 0.5 on."""
    noise = 0.125 * torch.eye(2, dtype=torch.float64)
    covariance, labels = (torch.tensor(x, dtype=torch.float64) for x in (COVARIANCE, LABELS))
    return LinearGaussian(covariance, None, labels, noise, 0.5, 0.3, 3)


def exact_nodes(lam: Any, gam: Any) -> list[dict[str, Any]]:
    """Lines of surface.csv, row by row."""
    found: list[dict[str, Any]] = []
    for b in np.atleast_1d(gam):
        for a in np.atleast_1d(lam):
            state = exact().state(a, b)
            terms = {name: getattr(state, name) for name in "FRDC"}
            more = {"C_error": 1e-3, "D_error": 1e-3, "rate_1": state.R, "rate_2": 0.0}
            active = exact().active_latents(a, b)
            place = {"node": len(found), "lambda": float(a), "gamma": float(b)}
            found.append({**place, **terms, **more, "latents_in_use": active, "inside": 1})
    return found
