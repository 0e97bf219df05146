"""The figures of a map against the exact surface that its nodes are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.exact_surface import exact, exact_nodes
from support.run_directories import Page, write_rows, write_run
from thermo_pl.reports.surface_plots import plane_figure, surface_figures
from thermo_pl.runs.record import read_record
from thermo_pl.runs.report import report

LAM, GAM = np.geomspace(0.6, 3.0, 7), np.geomspace(0.5, 3.0, 6)


def test_along_each_line_of_the_plane_a_quantity_is_constant() -> None:
    figure = plane_figure(exact_nodes(LAM, GAM))
    seen = {"F": 0, "D": 0, "C": 0}
    for trace in figure["data"]:
        name = trace["name"].removeprefix("constant ")
        points = [p for p in zip(trace["x"], trace["y"], strict=True) if None not in p][::7]
        if name not in seen:
            assert len(trace["x"]) == len(LAM) * len(GAM)
            continue
        values = [getattr(exact().state(*point), name) for point in points]
        assert np.ptp(values) < 0.01 * abs(np.mean(values))
        seen[name] += 1
    assert min(seen.values()) >= 7


def test_a_page_shows_the_surface_and_the_laws_at_its_nodes(tmp_path: Path) -> None:
    nodes = exact_nodes(LAM, GAM)
    write_rows(write_run(tmp_path) / "surface.csv", nodes)
    page = Page(report(read_record(tmp_path)))
    page.stands_alone()
    figures = page.data["figures"]
    assert {"surface", "energy", "phases", "curve", "rates"} <= set(figures)
    sheet = figures["surface"]["data"][0]
    whole = np.array([[row[name] for row in nodes] for name in "RDC"]).reshape(3, 6, 7)
    assert np.array([sheet["x"], sheet["y"], sheet["z"]]) == pytest.approx(whole)
    lowest = figures["curve"]["data"][0]
    assert (lowest["x"], lowest["y"]) == tuple([row[n] for row in nodes[:7]] for n in "RD")
    table = {row[0]: row for row in page.cells if len(row) == 7}
    assert table["two-point test"][2:4] == ["71", "71"]


@pytest.mark.parametrize(
    ("lam", "gam", "names"),
    [(LAM, 1.0, ["curve", "rates"]), (1.0, GAM, [])],
)
def test_a_map_along_one_axis_has_what_makes_sense_there(
    lam: Any, gam: Any, names: list[str]
) -> None:
    assert [found[0] for found in surface_figures(exact_nodes(lam, gam))] == names
