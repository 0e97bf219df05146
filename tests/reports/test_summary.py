"""The summary of a path, its table, and its pictures."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from thermo_pl.laws.promise import Promise, promise
from thermo_pl.path.columns import COLUMNS, Row
from thermo_pl.path.segments import relative_first_law_residual
from thermo_pl.reports.figures import column, control_figure, space_figure, strip_figure
from thermo_pl.reports.summary import carried_classes, moving, summarise, table

NAN = float("nan")
PROMISE = {"promise": asdict(Promise("not held", "C", -0.1, 0.02, 3, 0.01, 3))}


def row(step: int, stroke: str, t: float, loss: float, **others: Any) -> Row:
    """A row of every column, plain numbers."""
    made: Row = dict.fromkeys(COLUMNS, 0.0)
    made |= {"step": step, "cycle": 0, "stroke": stroke, "leg": 0, "t": t, "C": loss}
    made |= {"C_held": loss}
    made |= {"lambda": 0.5 + t, "gamma": 2 + t, "R": 3 + t, "D": 9 - t, "C_target": 0.5}
    made |= {"C_predicted": loss + 0.05, "C_error": 0.01, "val_C": loss + 0.1, "J_t": 0.2}
    made |= {"length": 0.2, "relaxation": 0.01, "transition": ""}
    made |= {"stationarity": 0.01 * (step + 1), "gradients": 100 + step, "seconds": 1.5}
    return made | {"solver_status": "converged"} | others


ROWS = [
    row(0, "equilibration", 0.0, 0.9, C_target=NAN, C_predicted=NAN),
    row(1, "approach", 0.0, 0.5, C_predicted=5.0),
    row(2, "iso_classification", 0.1, 0.52, rejected=2),
    row(3, "iso_classification", 0.3, 0.45, C_predicted=0.44),
    row(4, "iso_classification", 0.6, 0.51),
]


def drawn(figure: Figure) -> Figure:
    """The figure, drawn once: what cannot be drawn raises here."""
    figure.savefig(io.BytesIO(), dpi=30)
    return figure


def test_the_path_starts_at_the_last_row_of_its_preparation() -> None:
    assert [r["step"] for r in moving(ROWS)] == [1, 2, 3, 4]
    assert [r["step"] for r in moving(ROWS[1:])] == [1, 2, 3, 4]
    assert [r["step"] for r in moving(ROWS[2:])] == [2, 3, 4]
    assert [r["step"] for r in moving(ROWS[:1])] == [0]
    assert moving([]) == []
    assert moving(ROWS)[0] is ROWS[1]


def test_summary_by_hand() -> None:
    found = summarise(ROWS)
    law = found.pop("first_law_residual_median")
    assert law == relative_first_law_residual(ROWS[1:])
    # the first step: ΔR = 0.1, mean λ ΔD = -0.055, mean γ ΔC = 0.041, minus 0.2·0.1
    first = abs(0.1 - 0.055 + 2.05 * 0.02 - 0.02) / (0.1 + 0.05 + 2 * 0.02)
    assert relative_first_law_residual(ROWS[1:3]) == pytest.approx(first)
    expected = {
        "steps": 3,
        "C_target": 0.5,
        "drift_max": 0.1,  # 0.45 against 0.5
        "drift_mean": (0.04 + 0.1 + 0.02) / 3,  # the approach's end is not counted
        "predictor_miss_max": 0.14,  # 0.57 against 0.5; the approach's 5.0 is not the path's
        "val_C": [0.6, 0.61],
        "lambda": [0.5, 1.1],
        "gamma": [2.0, 2.6],
        "stationarity": [0.02, 0.05],
        "length": 0.6,  # steps 2 to 4; that of the approach is not the path's
        "dissipation": 0.03,
        "rejected": 2,
        "transitions": [],
        "hysteresis": {},
        "gradients": 510,  # all the work, preparation included
        "seconds": 7.5,
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    json.dumps(summarise(ROWS))  # plain numbers only


def test_summary_of_a_run_that_never_left_its_preparation() -> None:
    found = summarise(ROWS[:1])
    assert found["steps"] == 0
    assert found["gamma"] == [2.0, 2.0]
    for name in ("drift_max", "drift_mean", "predictor_miss_max", "first_law_residual_median"):
        assert math.isnan(found[name])
    nothing = {"accuracy": {}, "promise": asdict(promise(ROWS[:1], math.inf))}
    text = table(found | nothing, "stopped", "runs/version_0")
    assert "0 steps" in text
    assert text.splitlines()[1].endswith("not promised")


def test_table_says_each_number_with_its_unit() -> None:
    summary = summarise(ROWS) | PROMISE | {"accuracy": {"A": (0.9, 0.25), "B": (0.5, 0.98765)}}
    text = table(summary, "done", "runs/version_3")
    found = dict(re.split(r"\s{2,}", line.strip()) for line in text.splitlines())
    law = f"median {summary['first_law_residual_median']:.2%} of |dR| + λ|dD| + γ|dC|"
    for name, value in {
        "process": "done, 3 steps, 8 s",
        "promise": "not held: at worst -10.00% ± 2.00% in C at step 3, allowed 1.00%",
        "C*": "0.5 nats",
        "drift |C/C*-1|": "max 10.00%, mean 5.33%",
        "after predictor": "max 14.00%",
        "C on validation": "0.6 → 0.61 nats",
        "lambda": "0.5 → 1.1",
        "gamma": "2 → 2.6",
        "stationarity": "0.02 → 0.05 nats",
        "dissipation": "0.03 nats, length 0.6 nats^½",
        "first-law residual": law,
        "test accuracy A": "0.9000 → 0.2500",
        "test accuracy B": "0.5000 → 0.9877",
        "files": "runs/version_3",
    }.items():
        assert found[name] == value
    assert len(found) == 14
    # one column: a space stands before where every value starts, and nowhere a space there
    start = text.index("done")
    assert {line[start - 2 : start] for line in text.splitlines()} == {"  "}
    assert " " not in {line[start] for line in text.splitlines()}


def test_table_without_accuracies() -> None:
    text = table(summarise(ROWS) | PROMISE | {"accuracy": {}}, "gamma ran off", "runs/version_3")
    assert "accuracy" not in text
    assert text.splitlines()[0].endswith("gamma ran off, 3 steps, 8 s")


def test_a_column_is_an_array_and_s_counts_the_legs() -> None:
    rows = [{"leg": leg, "t": t, "C": c} for leg, t, c in [(0, 0.5, 1), (1, 0.25, NAN), (2, 1, 3)]]
    np.testing.assert_array_equal(column(rows, "s"), [0.5, 1.25, 3.0])
    np.testing.assert_array_equal(column(rows, "C"), [1, NAN, 3])
    assert column(rows, "C").dtype == np.float64


def lines_of(axes: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in axes.get_lines()}


LEGENDS = [
    {"after the predictor", "after relaxation"},
    {"measuring probe (± standard error)", "validation examples"},
]


def test_control_figure_shows_the_rows() -> None:
    figure = drawn(control_figure(ROWS[1:]))
    held, loss, gamma, lam = figure.axes
    s = [0.0, 0.1, 0.3, 0.6]
    expected = [
        # C_predicted = 5, 0.57, 0.44, 0.56 and C = 0.5, 0.52, 0.45, 0.51 against C* = 0.5
        {"after the predictor": [900, 14, -12, 12], "after relaxation": [0, 4, -10, 2]},
        {
            "measuring probe (± standard error)": [0.5, 0.52, 0.45, 0.51],
            "validation examples": [0.6, 0.62, 0.55, 0.61],
        },
    ]
    for axes, panel in zip((held, loss), expected, strict=True):
        lines = lines_of(axes)
        assert {name for name in lines if not name.startswith("_")} == set(panel)
        for name, values in panel.items():
            np.testing.assert_allclose(lines[name].get_xdata(), s)
            # percentages of order 1e3: 1e-12 of them is what rounding may take
            np.testing.assert_allclose(lines[name].get_ydata(), values, rtol=1e-12, atol=1e-11)
    (target,) = (line for name, line in lines_of(held).items() if name.startswith("_"))
    assert list(target.get_ydata()) == [0, 0]  # C = C*
    (band,) = loss.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.44, 0.53))
    for axes, values in ((gamma, [2, 2.1, 2.3, 2.6]), (lam, [0.5, 0.6, 0.8, 1.1])):
        (line,) = axes.get_lines()
        np.testing.assert_allclose(line.get_xdata(), s)
        np.testing.assert_allclose(line.get_ydata(), values)


def test_control_figure_names_its_axes_with_units() -> None:
    held, loss, gamma, lam = control_figure(ROWS).axes
    assert (held.get_ylabel(), loss.get_ylabel()) == ("C/C* - 1 (%)", "C (nats)")
    # λ, γ and t are numbers without a unit
    assert (gamma.get_ylabel(), lam.get_ylabel()) == ("γ", "λ")
    assert lam.get_xlabel() == "domain coordinate t"
    for axes, names in zip((held, loss), LEGENDS, strict=True):
        assert {text.get_text() for text in axes.get_legend().get_texts()} == names


def test_figures_of_several_legs_say_so() -> None:
    rows = [*ROWS[1:], row(5, "iso_classification", 0.25, 0.5, leg=1)]
    lam = control_figure(rows).axes[3]
    assert lam.get_xlabel() == "path coordinate leg + t"
    np.testing.assert_allclose(lam.get_lines()[0].get_xdata(), [0, 0.1, 0.3, 0.6, 1.25])
    points, bar = space_figure(rows).axes
    np.testing.assert_allclose(points.collections[0].get_array(), [0, 0.1, 0.3, 0.6, 1.25])
    assert bar.get_ylabel() == "path coordinate leg + t"


def test_nothing_that_is_plotted_falls_outside() -> None:
    held, loss, gamma, lam = drawn(control_figure(ROWS)).axes
    low, high = held.get_ylim()
    assert low < -12  # the smallest prediction, in percent
    assert high > 900  # and the largest
    assert loss.get_ylim()[0] == 0
    assert loss.get_ylim()[1] > 1.0  # C on validation examples in the first row
    assert gamma.get_ylim()[0] == 0
    assert gamma.get_ylim()[1] > 2.6
    low, high = lam.get_ylim()
    assert low < 0.5 < 1.1 < high


@pytest.mark.parametrize("missing", [("val_C",), ("val_C", "C_error", "C_predicted", "C_target")])
@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.filterwarnings("error")
def test_missing_values_do_not_break_the_figure(missing: tuple[str, ...], everywhere: bool) -> None:
    gaps = [
        r | (dict.fromkeys(missing, NAN) if everywhere or i == 2 else {})
        for i, r in enumerate(ROWS[1:])
    ]
    if everywhere and "C_error" in missing:
        gaps[0]["C_error"] = 0.01  # the probe always has one somewhere
    held, loss = drawn(control_figure(gaps)).axes[:2]
    lost = 4 if everywhere else 1
    shown = np.asarray(lines_of(loss)["validation examples"].get_ydata())
    assert np.isnan(shown).sum() == lost
    for name in LEGENDS[0]:
        shown = np.asarray(lines_of(held)[name].get_ydata())
        assert np.isnan(shown).sum() == (lost if "C_target" in missing else 0)
    assert math.isfinite(held.get_ylim()[1])
    assert math.isfinite(loss.get_ylim()[1])
    np.testing.assert_allclose(
        lines_of(loss)["measuring probe (± standard error)"].get_ydata(), [0.5, 0.52, 0.45, 0.51]
    )


def test_figures_of_a_single_row() -> None:
    for make in (control_figure, space_figure):
        figure = drawn(make(ROWS[1:2]))
        assert len(figure.axes[0].get_lines()) > 0


def test_space_figure_shows_the_path_and_its_shadow() -> None:
    figure = drawn(space_figure(ROWS[1:]))
    axes: Any = figure.axes[0]
    shadow, path = axes.get_lines()
    rate, distortion = [3, 3.1, 3.3, 3.6], [9, 8.9, 8.7, 8.4]
    for line, height in ((shadow, [0.0] * 4), (path, [0.5, 0.52, 0.45, 0.51])):
        for found, expected in zip(line.get_data_3d(), (rate, distortion, height), strict=True):
            np.testing.assert_allclose(found, expected)
    labels = axes.get_xlabel(), axes.get_ylabel(), axes.get_zlabel()
    assert labels == ("rate R (nats)", "distortion D (nats)", "classification loss C (nats)")
    (points,) = axes.collections
    np.testing.assert_allclose(points.get_array(), [0, 0.1, 0.3, 0.6])
    assert figure.axes[1].get_ylabel() == "domain coordinate t"
    texts = {text.get_text(): text for text in axes.texts}
    assert set(texts) == {"start", "end"}
    # each stands over its own end of the path
    for name, x, y, z in (("start", 3, 9, 0.5), ("end", 3.6, 8.4, 0.51)):
        at = texts[name].get_position_3d()
        assert at[:2] == pytest.approx((x, y))
        assert z < at[2] < 1.25 * z
    low, high = axes.get_zlim()
    assert low <= 0
    assert high > 0.52


def frames(count: int, classes: int, decoded: bool) -> list[tuple[float, Any, Any]]:
    random = np.random.default_rng(0)
    images = random.random((count, classes, 4, 5))
    return [(i / 8, images[i], 1 - images[i] if decoded else None) for i in range(count)]


@pytest.mark.parametrize("decoded", [True, False])
@pytest.mark.parametrize(("count", "classes"), [(3, 2), (1, 1), (1, 3), (4, 1)])
def test_strip_figure_has_a_tile_for_each_image(count: int, classes: int, decoded: bool) -> None:
    strip, names = frames(count, classes, decoded), [f"{c}→{c + 5}" for c in range(classes)]
    figure = drawn(strip_figure(strip, names))
    lines = classes * (2 if decoded else 1)
    assert len(figure.axes) == count * lines
    grid = np.array(figure.axes, dtype=object).reshape(lines, count)
    for j, (t, images, reconstructions) in enumerate(strip):
        assert grid[0, j].get_title() == f"t = {t:.2f}"
        for c in range(classes):
            tile = grid[2 * c if decoded else c, j]
            np.testing.assert_array_equal(tile.get_images()[0].get_array(), images[c])
            assert tile.get_ylabel() == (f"{names[c]}\nx(t)" if j == 0 else "")
            assert tile.get_images()[0].get_clim() == (0, 1)
            if decoded:
                tile = grid[2 * c + 1, j]
                np.testing.assert_array_equal(tile.get_images()[0].get_array(), reconstructions[c])
                assert tile.get_ylabel() == ("decoded" if j == 0 else "")


def test_classes_that_are_carried_along_are_lines_of_the_table() -> None:
    names = [f"{k}→{9 - k}→{k}→{9 - k}" for k in range(10)]
    lines = carried_classes({"classes": names})
    assert ", ".join(text for _, text in lines).replace(",,", ",").split(", ") == names
    assert [label for label, _ in lines] == ["classes", ""]
    assert max(len(text) for _, text in lines) <= 80
    assert carried_classes({"classes": ["0", "1"]}) == carried_classes({}) == []


def test_what_is_held_is_not_hidden_under_the_frame() -> None:
    rows = [row(i, "iso_classification", t, 1.43, val_C=1.43) for i, t in enumerate((0.0, 0.5, 1))]
    _, loss, gamma, _ = control_figure(rows).axes
    assert loss.get_ylim()[1] > 1.03 * 1.43
    assert gamma.get_ylim()[1] > 1.03 * 3
