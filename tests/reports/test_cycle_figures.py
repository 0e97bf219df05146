"""Pictures of a cycle: what the artists hold against the rows."""

from __future__ import annotations

import io
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.path import Path

from support.cycle_rows import CORNERS, NAMES, STROKES, one_pass, two_passes
from thermo_pl.laws.cycle_ledger import summarise_cycle
from thermo_pl.path.columns import Row
from thermo_pl.reports.cycle_figures import (
    adiabat_figure,
    cycle_figure,
    domains_figure,
    stroke_space_figure,
    styles,
    terms_figure,
)
from thermo_pl.reports.path_plots import plane_figure
from thermo_pl.reports.summary import strokes_of_pass

NAN = float("nan")
ROWS = two_passes()
SECOND = [row for row in ROWS if row["cycle"] == 1 and row["stroke"] in STROKES]
FOUND = summarise_cycle([s.path for s in strokes_of_pass(ROWS, 1)], ROWS[-1], 0.1)
PLANES = (("gamma", "C"), ("lambda", "D"))


def drawn(figure: Figure) -> Figure:
    """The figure, drawn once: what cannot be drawn raises here."""
    figure.savefig(io.BytesIO(), dpi=30)
    return figure


def lines_of(axes: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in axes.get_lines()}


def of_stroke(name: str, column: str) -> list[float]:
    return [row[column] for row in SECOND if row["stroke"] == name]


def texts_of(axes: Any) -> dict[str, Any]:
    return {text.get_text(): text for text in axes.texts if text.get_text()}


@pytest.fixture(scope="module")
def cycle() -> Figure:
    return drawn(cycle_figure(ROWS, FOUND, 1))


def test_strokes_are_told_apart_without_colours_too() -> None:
    for a, b in combinations(styles(strokes_of_pass(ROWS, 1)), 2):
        assert a.color != b.color
        assert a.linestyle != b.linestyle
        assert a.marker != b.marker
    # more strokes than styles go on from the first one, and differ in something
    many = styles(strokes_of_pass(ROWS, 1) * 3)
    assert len(many) == len(set(many)) == 12


@pytest.mark.parametrize("plane", [0, 1])
def test_each_stroke_is_a_line_of_its_rows_in_both_planes(cycle: Figure, plane: int) -> None:
    lines, (x, y) = lines_of(cycle.axes[plane]), PLANES[plane]
    for name in STROKES:
        assert list(lines[name].get_xdata()) == of_stroke(name, x)
        assert list(lines[name].get_ydata()) == of_stroke(name, y)


@pytest.mark.parametrize("plane", [0, 1])
def test_the_area_is_that_of_the_loop(cycle: Figure, plane: int) -> None:
    (area,) = cycle.axes[plane].patches
    x, y = np.array(area.get_path().vertices).T
    enclosed = abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2
    # the rectangle of γ from 1 to 2 and C from 0.4 to 0.8, and the trapezoidal -∮ D dλ
    assert enclosed == pytest.approx((0.4, 0.95)[plane])
    assert FOUND["work"] == pytest.approx(0.4)


@pytest.mark.parametrize("plane", [0, 1])
def test_an_arrow_points_along_each_stroke(cycle: Figure, plane: int) -> None:
    x, y = (NAMES.index(name) for name in PLANES[plane])
    arrows = [text for text in cycle.axes[plane].texts if not text.get_text()]
    assert len(arrows) == 4
    for arrow, start, end in zip(arrows, CORNERS[:4], CORNERS[1:], strict=True):
        way = np.array(arrow.xy) - np.array(arrow.xyann)
        whole = np.array([end[x] - start[x], end[y] - start[y]])
        assert way @ whole > 0
        assert np.linalg.det([way, whole]) == pytest.approx(0, abs=1e-12)


def test_what_rounding_does_to_a_held_loss_does_not_choose_where_the_arrow_is() -> None:
    # γ makes a step of 0.9 and one of 0.1 back, C one of 1e-15 only in the latter
    changes = {0.0: (1.0, 0.8), 0.5: (1.9, 0.8), 1.0: (1.8, 0.8 + 1e-15)}
    rows = [
        made | dict(zip(("gamma", "C"), changes[made["phase"]], strict=True))
        if made["stroke"] in {"hot", "equilibration"}
        else made
        for made in one_pass(0)
    ]
    arrows = [text for text in cycle_figure(rows, None, 0).axes[0].texts if not text.get_text()]
    assert arrows[0].xy == pytest.approx((1 + 0.6 * 0.9, 0.8))
    assert arrows[0].xyann == (1.0, 0.8)
    plane = plane_figure(rows, "gamma", "C", None, area=True)  # of the page: the same step
    arrow = plane["layout"]["annotations"][0]
    assert (arrow["ax"], arrow["x"]) == pytest.approx((1.0, 1.9))


@pytest.mark.parametrize("plane", [0, 1])
def test_corners_are_named_outside_the_area(cycle: Figure, plane: int) -> None:
    axes = cycle.axes[plane]
    x, y = (NAMES.index(name) for name in PLANES[plane])
    loop = Path(axes.transData.transform([(corner[x], corner[y]) for corner in CORNERS]))
    texts = texts_of(axes)
    for letter, corner in zip("ABCD", CORNERS, strict=False):
        assert texts[letter].xy == (corner[x], corner[y])
        box = texts[letter].get_window_extent()
        place = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        assert not loop.contains_point(place)
        here = axes.transData.transform((corner[x], corner[y]))
        assert np.hypot(*(place - here)) < 25  # near it


def test_the_reservoirs_are_dashed_lines_with_their_values(cycle: Figure) -> None:
    heat, work = cycle.axes
    flat = [line for line in heat.get_lines() if list(line.get_xdata()) == [0, 1]]
    assert [line.get_ydata()[0] for line in flat] == pytest.approx([0.8, 0.4])
    assert all(line.is_dashed() for line in flat)
    assert {"C$_h$ = 0.8", "C$_c$ = 0.4"} <= set(texts_of(heat))
    assert all(list(line.get_xdata()) != [0, 1] for line in work.get_lines())


def test_titles_say_work_and_efficiency_with_errors(cycle: Figure) -> None:
    heat, work = cycle.axes
    assert heat.get_title() == "∮ C dγ = 0.4 ± 0.01 nats, the work W"
    assert work.get_title() == "-∮ D dλ = -0.95 ± 0.1 nats, the work of the control"
    title = cycle.get_suptitle()
    assert "η = W/Q$_h$ = 0.5 ± 0.01" in title
    assert title.endswith("= 0.5")
    assert heat.get_xlabel().startswith("γ")
    assert "C (nats)" in heat.get_ylabel()
    assert work.get_xlabel().startswith("λ")
    assert "D (nats)" in work.get_ylabel()


def test_standard_errors_are_bands(cycle: Figure) -> None:
    bands = cycle.axes[0].collections[0], cycle.axes[1].collections[0]
    for band, (low, high) in zip(bands, ((0.79, 0.81), (4.9, 6.1)), strict=True):
        heights = band.get_paths()[0].vertices[:, 1]
        assert (heights.min(), heights.max()) == pytest.approx((low, high))


def test_the_pass_that_ran_the_model_in_is_thin_and_grey(cycle: Figure) -> None:
    for axes, (x, y) in zip(cycle.axes, PLANES, strict=True):
        grey = [line for line in axes.get_lines() if line.get_linewidth() < 0.8]
        assert len(grey) == 4
        assert [line.get_label() for line in grey].count("earlier passes") == 1
        for stroke, line in zip(strokes_of_pass(ROWS, 0), grey, strict=True):
            assert list(line.get_xdata()) == [row[x] for row in stroke.path]
            assert list(line.get_ydata()) == [row[y] for row in stroke.path]
    (legend,) = cycle.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == [*STROKES, "earlier passes"]


def test_a_pass_that_is_not_whole_has_no_area_and_no_efficiency() -> None:
    figure = drawn(cycle_figure(ROWS[:6], None, 0))
    for axes in figure.axes:
        assert not axes.patches
        assert {"hot", "cooling"} <= set(lines_of(axes))
        assert axes.get_title() == ""
        assert set(texts_of(axes)) == {"A", "B"}
    assert figure.get_suptitle() == ""


def test_a_title_says_why_there_is_no_efficiency() -> None:
    rows = [r | {"lambda": r["lambda"] + 0.3} if r["phase"] == 4 else r for r in ROWS]
    found = summarise_cycle([s.path for s in strokes_of_pass(rows, 1)], rows[-1], 0.1)
    title = drawn(cycle_figure(rows, found, 1)).get_suptitle()
    assert title == "η is not applicable: not closed: lambda 1 → 1.3"


def test_terms_over_the_phase() -> None:
    panels = drawn(terms_figure(ROWS, 1)).axes
    for axes, name in zip(panels, "RDCJ", strict=False):
        lines = lines_of(axes)
        for stroke in STROKES:
            assert list(lines[stroke].get_xdata()) == of_stroke(stroke, "phase")
            assert list(lines[stroke].get_ydata()) == of_stroke(stroke, name)
        marks = [line for line in axes.get_lines() if list(line.get_ydata()) == [0, 1]]
        assert [line.get_xdata()[0] for line in marks] == [0, 1, 2, 3]
        assert "(nats)" in axes.get_ylabel()
    assert panels[-1].get_xlabel() == "phase (strokes done)"
    # R of the pass before is 1.5 everywhere
    grey = [line for line in panels[0].get_lines() if line.get_linewidth() < 0.6]
    assert {y for line in grey for y in line.get_ydata()} == {1.5}
    (top,) = panels[0].child_axes
    assert [text.get_text() for text in top.get_xticklabels()] == list(STROKES)
    assert list(top.get_xticks()) == [0.5, 1.5, 2.5, 3.5]


def test_terms_show_the_loss_that_is_held() -> None:
    loss = terms_figure(ROWS, 1).axes[2]
    black = [line for line in loss.get_lines() if line.get_color() == "black"]
    held = [np.asarray(line.get_ydata()) for line in black]
    np.testing.assert_allclose(held[0], 0.8)
    np.testing.assert_allclose(held[2], 0.4)
    assert np.isnan(held[1]).all()
    assert np.isnan(held[3]).all()


def test_space_figure_is_coloured_by_stroke() -> None:
    figure = drawn(stroke_space_figure(ROWS, 1))
    axes: Any = figure.axes[0]
    shadows, paths = axes.get_lines()[::2], axes.get_lines()[1::2]
    for name, shadow, path in zip(STROKES, shadows, paths, strict=True):
        expected = [of_stroke(name, column) for column in "RDC"]
        np.testing.assert_allclose(path.get_data_3d(), expected)
        np.testing.assert_allclose(shadow.get_data_3d(), [*expected[:2], [0, 0, 0]])
        assert path.get_label() == name
    assert len({path.get_color() for path in paths}) == 4
    for text, corner in zip(axes.texts, CORNERS, strict=False):
        x, y, z = text.get_position_3d()
        assert (x, y) == pytest.approx((corner[2], corner[3]))
        assert corner[4] < z < corner[4] + 0.1
    assert [text.get_text() for text in axes.texts] == list("ABCD")
    assert axes.get_zlim()[1] > 0.8
    assert axes.get_zlabel() == "classification loss C (nats)"


@pytest.mark.parametrize("decoded", [True, False])
def test_domains_are_named_above_their_images(decoded: bool) -> None:
    random = np.random.default_rng(0)
    images, answers = random.random((2, 3, 2, 4, 5))
    frames = [(j, images[j], answers[j] if decoded else None) for j in range(3)]
    figure = drawn(domains_figure(frames, ["A", "B", "A, at the end"], ["0→5", "1→7"]))
    grid = np.array(figure.axes, dtype=object).reshape(4 if decoded else 2, 3)
    assert [axes.get_title() for axes in grid[0]] == ["A", "B", "A, at the end"]
    assert not any(axes.get_title() for axes in grid[1:].flat)
    for j in range(3):
        for c in range(2):
            tile = grid[2 * c if decoded else c, j].get_images()[0]
            np.testing.assert_array_equal(tile.get_array(), images[j][c])
            if decoded:
                tile = grid[2 * c + 1, j].get_images()[0]
                np.testing.assert_array_equal(tile.get_array(), answers[j][c])


def test_adiabat_figure_shows_what_stays_and_what_compensates() -> None:
    rows = strokes_of_pass(ROWS, 1)[1].path
    lam, gamma, loss, heat = drawn(adiabat_figure(rows)).axes
    for axes, name in ((lam, "lambda"), (gamma, "gamma"), (loss, "C")):
        (line,) = axes.get_lines()
        assert list(line.get_xdata()) == [1, 1.5, 2]
        assert list(line.get_ydata()) == [row[name] for row in rows]
    assert gamma.get_ylim()[0] == 0  # what is constant shows as such
    # λD from 1.5·5 over 1.75·4 to 2·3, γC from 2·0.8 over 2·0.6 to 2·0.4
    lines = lines_of(heat)
    for name, values in {"λD": [0, -0.5, -1.5], "γC": [0, -0.4, -0.8]}.items():
        np.testing.assert_allclose(lines[name].get_ydata(), values, atol=1e-12)
    np.testing.assert_allclose(lines["λD + γC"].get_ydata(), [0, -0.9, -2.3], atol=1e-12)
    assert heat.get_xlabel() == "path coordinate leg + t"
    (band,) = loss.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.39, 0.81))


def blank(rows: list[Row], *names: str) -> list[Row]:
    return [row | dict.fromkeys(names, NAN) for row in rows]


@pytest.mark.filterwarnings("error")
def test_missing_errors_and_single_rows_can_be_drawn() -> None:
    gaps = blank(ROWS, "R_error", "D_error", "C_error", "J_error", "C_target")
    start = one_pass(0)[:2]  # the first step of the first stroke
    settled = [row for row in ROWS if row["step"] <= 12]  # a stroke of one row
    for rows, cycle in ((gaps, 1), (start, 0), (settled, 1)):
        drawn(cycle_figure(rows, None, cycle))
        drawn(terms_figure(rows, cycle))
        drawn(stroke_space_figure(rows, cycle))
    drawn(adiabat_figure(ROWS[:1]))
