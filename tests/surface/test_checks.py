"""The tallies of a map on an exact surface, and on ones with a planted fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from support.exact_surface import exact_nodes
from thermo_pl.surface.checks import check_surface, table

LAM, GAM = np.geomspace(0.6, 3.0, 9), np.geomspace(0.5, 3.0, 9)


def rows() -> list[dict[str, Any]]:
    return exact_nodes(LAM, GAM)


def tallies(nodes: list[dict[str, Any]], visits: Any = ()) -> dict[str, Any]:
    return {tally.law: tally for tally in check_surface(nodes, visits)}


def test_an_exact_surface_keeps_all_laws() -> None:
    nodes = rows()
    found = tallies(nodes, [*nodes, *nodes])
    counts = {law: len(tally.values) for law, tally in found.items()}
    inner = 7 * 9
    assert counts == {
        "two-point test": 2 * 8 * 9,
        "D = ∂F/∂λ": inner,
        "C = ∂F/∂γ": inner,
        "Maxwell": 49,
        "Maxwell, around cells": 64,
        "concavity": 49,
        "hysteresis": 81,
    }
    assert {law: tally.share for law, tally in found.items()} == dict.fromkeys(counts, 1.0)
    assert found["D = ∂F/∂λ"].median < 1e-3
    assert max(found["hysteresis"].values) < 1e-12
    assert "two-point test          144  144" in table(list(found.values()))


@pytest.mark.parametrize(
    ("name", "change", "law"),
    [
        ("F", 0.3, "two-point test"),
        ("F", 0.3, "D = ∂F/∂λ"),
        ("F", 0.3, "C = ∂F/∂γ"),
        ("D", 0.5, "Maxwell"),
        ("D", 3.0, "concavity"),
    ],
)
def test_a_node_that_is_off_is_found(name: str, change: float, law: str) -> None:
    nodes = rows()
    middle = nodes[4 * 9 + 4]
    middle[name] += change
    tally = tallies(nodes)[law]
    place = middle["lambda"], middle["gamma"]
    broken = [where for where, kept in zip(tally.places, tally.kept, strict=True) if not kept]
    assert broken
    if law != "Maxwell":  # whose error, of the polynomial through the node, is largest beside it
        assert tally.places[tally.worst] in broken
    # on the lines of the node, or a pair that ends at it, and nowhere else
    assert all(lam == place[0] or gam == place[1] for lam, gam in broken)


@pytest.mark.parametrize(("power", "least", "most"), [(0.0, 0.95, 1.0), (0.1, 0.0, 0.6)])
def test_around_a_cell_maxwell_holds_where_latents_switch_on(
    power: float, least: float, most: float
) -> None:
    nodes = exact_nodes(np.geomspace(0.08, 3.0, 10), np.geomspace(0.02, 3.0, 10))
    assert {row["latents_in_use"] for row in nodes} == {0, 1, 2, 3}
    for row in nodes:
        row |= {"C_error": 0.0, "D_error": 0.0}
        row["C"] *= row["lambda"] ** power  # no derivative of one function with D, unless 0
    found = tallies(nodes)
    assert len(found["Maxwell, around cells"].values) == 81
    assert least <= found["Maxwell, around cells"].share <= most
    assert found["Maxwell"].share < 1  # differences across a switch are no derivatives


def test_a_visit_that_differs_is_hysteresis() -> None:
    nodes = rows()
    again = [{**row} for row in nodes]
    again[7]["C"] *= 1.05
    tally = tallies(nodes, [*nodes, *again])["hysteresis"]
    assert sum(tally.kept) == 80
    assert tally.values[tally.worst] == pytest.approx(0.05)
