"""Runs side by side: the table against the files, the page as it stands."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from support.run_directories import (
    Page,
    config_of,
    metrics_run,
    path_of,
    write_run,
)
from thermo_pl.cli import main
from thermo_pl.configs.layers import load
from thermo_pl.files import read_csv, strict_json
from thermo_pl.path.columns import COLUMNS
from thermo_pl.reports.curves import coordinate
from thermo_pl.reports.plots import COLOURS, DASHES, band, line
from thermo_pl.runs.page import page
from thermo_pl.runs.reader import Run, find_runs, flatten, read_run
from thermo_pl.runs.table import (
    Cell,
    Table,
    compare,
    differing,
    names,
    shorten,
    text_table,
)

ROOT = Path(__file__).parents[2]
NAN = math.nan


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    # whatever the terminal of who runs the tests: a row on each line
    monkeypatch.setenv("COLUMNS", "10000")


def three(root: Path) -> list[Path]:
    """Runs that differ in k, the seed and how they ended."""
    return [
        write_run(root / "version_0", config_of(0.25), path_of(12, 0.25)),
        write_run(root / "version_2", config_of(0.5, seed=1), path_of(9), "stopped: γ > 10"),
        write_run(root / "version_10", config_of(0.125), path_of(12, 0.125)[:6], "running"),
    ]


def table_of(*directories: Path) -> Table:
    return compare([read_run(directory) for directory in directories])


def column(table: Table, name: str) -> list[Any]:
    return [row[name].value for row in table.rows]


def texts(table: Table, name: str) -> list[str]:
    return [row[name].text for row in table.rows]


# --- what the table says ---


def test_numbers_of_the_table_are_those_of_the_files(tmp_path: Path) -> None:
    runs = three(tmp_path)
    found = table_of(*runs)
    for directory, row in zip(runs, found.rows, strict=True):
        with open(directory / "path.csv", newline="") as file:
            lines = list(csv.DictReader(file))
        along = [line for line in lines if line["stroke"] == "iso_classification"]
        for name in ("lambda", "gamma", "R", "D", "C", "t", "val_C", "stationarity"):
            assert row[name].value == pytest.approx(float(lines[-1][name]), rel=1e-15)
        assert row["steps"].value == len(along)
        drift = max(abs(float(line["C"]) / 0.1 - 1) for line in along)
        assert row["drift_max"].value == pytest.approx(drift, rel=1e-12)
        dissipated = sum(float(line["relaxation"]) for line in along)
        assert row["dissipation"].value == pytest.approx(dissipated, rel=1e-12)
        # what was spent on the preparation was spent, too
        assert row["seconds"].value == pytest.approx(1.5 * len(lines))
        assert row["gradients"].value == sum(range(1000, 1000 + len(lines)))


def test_columns_are_the_keys_that_differ_then_the_results(tmp_path: Path) -> None:
    found = table_of(*three(tmp_path))
    assert list(found.columns)[:5] == ["run", "seed_everything", "k", "status", "steps"]
    assert found.columns["k"] == "trainer.callbacks.IsoClassification.k"
    assert column(found, "k") == [0.25, 0.5, 0.125]
    assert texts(found, "run") == ["version_0", "version_2", "version_10"]
    assert all(found.columns.values()), "each has its meaning"


def test_a_value_comes_with_its_error(tmp_path: Path) -> None:
    found = table_of(write_run(tmp_path, rows=path_of(4)))
    value = found.rows[0]["C"].value
    assert texts(found, "C") == [f"{value:.5f} ± 0.00070"]
    assert texts(found, "drift_max") == [f"{100 * column(found, 'drift_max')[0]:.2f}%"]
    assert texts(found, "R") == ["3.00 ± 0.25"]


def test_a_run_that_was_cut_off_is_compared_as_far_as_it_got(tmp_path: Path) -> None:
    found = table_of(*three(tmp_path))
    assert column(found, "status") == ["done", "stopped: γ > 10", "running or killed"]
    assert column(found, "steps") == [12, 9, 4]
    assert column(found, "t")[2] == pytest.approx(4 / 12)


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    begun = write_run(tmp_path / "version_0", status="running")
    (begun / "path.csv").write_text(",".join(COLUMNS) + "\n")
    bare = write_run(tmp_path / "version_1")
    (bare / "strokes.json").unlink()
    nothing = write_run(tmp_path / "version_2")
    for file in ("path.csv", "strokes.json"):
        (nothing / file).unlink()
    found = table_of(begun, bare, nothing)
    expected = ["running or killed", "unknown: no strokes.json", "nothing measured"]
    assert column(found, "status") == expected
    assert column(found, "steps") == [0, 10, None]
    assert column(found, "C")[::2] == [None, None]


def test_the_first_point_of_a_path_has_no_step_before_it(tmp_path: Path) -> None:
    rows = path_of(3)[1:]
    rows[0] |= {"stroke": "equilibration", "relaxation": "", "length": ""}
    found = table_of(write_run(tmp_path, rows=rows))
    assert column(found, "length") == [0.75]
    assert column(found, "dissipation") == [pytest.approx(sum(r["relaxation"] for r in rows[1:]))]


def test_a_path_of_an_older_version_lacks_columns_and_says_nothing_of_them(tmp_path: Path) -> None:
    late = {"relaxation", "length", "C_error", "J_t", "transition", "C_held", "C_held_error"}
    rows = [{n: v for n, v in row.items() if n not in late} for row in path_of(5)]
    found = table_of(write_run(tmp_path, rows=rows))
    assert not {"dissipation", "length", "first_law"} & set(found.columns)
    assert texts(found, "C") == [f"{rows[-1]['C']:.4g}"]
    assert texts(found, "drift_max") == texts(table_of(write_run(tmp_path)), "drift_max")


def test_results_of_the_other_files(tmp_path: Path) -> None:
    cycle = {
        "work": 0.125,
        "work_error": 0.01,
        "efficiency": None,
        "carnot_efficiency": 0.5,
        "closure": {"gamma": -0.03, "gamma_error": 0.02, "C": 1e-3},
        "dissipation": 3.0,
    }
    laws = [{"verdict": verdict} for verdict in ("holds", "violated", "unknown", "violated")]
    summary = {"accuracy": {"A": [0.9, 0.7], "B": [0.1, 0.95]}}
    run = write_run(tmp_path, cycle=cycle, laws=laws, summary=summary)
    row = table_of(run).rows[0]
    assert (row["accuracy_A"].value, row["accuracy_B"].value) == (0.7, 0.95)
    assert row["violated"].value == 2
    assert row["work"].text == "0.125 ± 0.010"
    assert row["carnot_efficiency"].text == "0.5"
    assert row["closure_gamma"].text == "-0.030 ± 0.020"
    assert row["closure_C"].text == "0.001"
    assert "efficiency" not in row
    assert row["dissipation"].text != "3", "one column, one definition: that of the path"


def test_an_efficiency_that_is_not_applicable_is_said_so(tmp_path: Path) -> None:
    cycle = {"work": 0.125, "efficiency": None, "carnot_efficiency": None, "C_cold": 0.1}
    bare = write_run(tmp_path / "a", cycle=cycle | {"not_applicable": "not closed: R 1 → 2"})
    good = write_run(tmp_path / "b", cycle=cycle | {"efficiency": 0.25, "not_applicable": None})
    found = table_of(bare, good)
    assert texts(found, "efficiency") == ["not applicable", "0.25"]
    assert texts(found, "carnot_efficiency") == ["not applicable", ""]
    assert found.order("efficiency") == [1, 0]  # numbers come first


def test_a_run_without_a_process_shows_its_last_validation(tmp_path: Path) -> None:
    lines = "epoch,step,train/J,val/J,val/calibration\n0,9,,7.5,\n0,9,8.0,,\n1,19,,6.5,nan\n"
    done = metrics_run(tmp_path / "a", 2, lines)
    cut = metrics_run(tmp_path / "b", 40, lines)
    found = table_of(done, cut, write_run(tmp_path / "c"))
    assert column(found, "val_J") == [6.5, 6.5, None]
    assert column(found, "epochs") == [2, 2, None]
    assert column(found, "status") == ["done", "2 of 40 epochs", "done"]
    assert "train_J" not in found.columns
    assert "val_calibration" not in found.columns, "not a number is no result"


# --- which keys differ ---


def config_keys(*configs: Any) -> list[str]:
    return differing([flatten(config) for config in configs])


def test_only_what_differs_is_shown_and_no_places() -> None:
    assert config_keys(config_of(), config_of()) == []
    assert config_keys(config_of()) == []
    assert config_keys(config_of(lam=1.0), config_of(lam=2.0)) == ["model.lam"]
    assert config_keys(*(config_of(hidden=[n]) for n in (1, 2))) == ["model.hidden"]


def test_an_object_that_only_some_have_is_said_once() -> None:
    monitor = {"class_path": "a.LawMonitor", "init_args": {"tolerance": 0.1, "deep": {"x": 1}}}
    with_monitor = config_of()
    with_monitor["trainer"]["callbacks"].insert(0, monitor)
    assert config_keys(config_of(), with_monitor) == ["trainer.callbacks.LawMonitor"]
    # and of another class: what both have is compared, what one has is not
    one = {"class_path": "a.MLP", "init_args": {"hidden": [8], "latent": 2}}
    other = {"class_path": "a.Conv", "init_args": {"channels": [8], "latent": 3}}
    found = config_keys(config_of(encoder=one), config_of(encoder=other))
    assert found == ["model.encoder", "model.encoder.latent"]


def test_null_and_missing_are_one_but_a_filled_block_shows_its_values() -> None:
    assert config_keys({"a": {"x": None}}, {"a": {}}) == []
    assert config_keys({"a": None}, {"a": {"x": 1, "y": None}}) == ["a.x"]


def test_objects_of_one_class_and_lists_of_mappings_keep_their_places() -> None:
    savers = [{"class_path": "Saver", "init_args": {"every": n}} for n in (1, 2)]
    ways = [{"classes": [0]}, {"classes": [1, 2]}]
    assert flatten({"callbacks": savers, "ways": ways, "plain": [1, 2]}) == {
        "callbacks.Saver": "Saver",
        "callbacks.Saver.every": 1,
        "callbacks.Saver_2": "Saver",
        "callbacks.Saver_2.every": 2,
        "ways.0.classes": [0],
        "ways.1.classes": [1, 2],
        "plain": [1, 2],
    }


words = st.sampled_from("ab")
dotted = st.lists(words, min_size=1, max_size=4).map(".".join)


@given(st.lists(dotted, unique=True))
def test_short_keys_are_tails_that_tell_the_keys_apart(keys: list[str]) -> None:
    short = shorten(keys, set())
    assert len(set(short.values())) == len(keys)
    assert all(f".{key}".endswith(f".{name}") for key, name in short.items())


def test_short_keys_keep_clear_of_the_results() -> None:
    assert shorten(["a.steps", "b.k"], {"steps"}) == {"a.steps": "a.steps", "b.k": "k"}


@given(st.lists(st.lists(words, min_size=1, max_size=4), min_size=1, unique_by=tuple))
def test_names_of_runs_are_parts_of_paths_that_tell_them_apart(
    parts: list[list[str]],
) -> None:
    found = names([Path("/r", *part) for part in parts])
    assert len(set(found)) == len(found)
    for part, name in zip(parts, found, strict=True):
        assert f"/{name}/" in f"//r/{'/'.join(part)}/"


def test_what_all_paths_share_is_no_part_of_a_name() -> None:
    assert names([Path("/r/x/a/v"), Path("/r/x/b/v")]) == ["a", "b"]
    assert names([Path("/r/x/a/v_0"), Path("/r/x/b/v_1")]) == ["a/v_0", "b/v_1"]
    assert names([Path("/r/x/v_0")]) == ["v_0"]


# --- sorting ---


def one_column(values: Sequence[float | str | None]) -> Table:
    return Table({"x": ""}, [{"x": Cell(value, str(value))} for value in values])


@given(st.lists(st.none() | st.integers(-3, 3) | st.floats(allow_nan=False)), st.booleans())
def test_sorting_is_what_sorted_gives_with_missing_values_last(
    values: list[float | None], descending: bool
) -> None:
    order = one_column(values).order("x", descending)
    known = [i for i, value in enumerate(values) if value is not None]
    expected = sorted(known, key=lambda i: values[i], reverse=descending)  # type: ignore[arg-type,return-value]
    assert order == expected + [i for i, value in enumerate(values) if value is None]


@given(st.lists(st.none() | st.integers(-3, 3) | st.text("a1 ", max_size=3)))
def test_ranks_sort_as_the_order_does(values: list[float | str | None]) -> None:
    table = one_column(values)
    known = [i for i in table.order("x") if values[i] is not None]
    ranks = table.ranks("x")
    for before, after in pairwise(known):
        assert (ranks[before] == ranks[after]) == (values[before] == values[after])
        assert ranks[before] <= ranks[after]


def test_digits_in_texts_count_as_numbers_and_texts_come_after_numbers() -> None:
    values: list[float | str | None] = ["version_10", 5.0, "version_2", None, "Version_1", -1.0]
    assert one_column(values).order("x") == [5, 1, 4, 2, 0, 3]


def test_every_column_can_be_sorted_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = three(tmp_path)
    found = table_of(*runs)
    for name in found.columns:
        for flags in ([], ["--descending"]):
            assert main(["compare", str(tmp_path), "--sort", name, *flags]) == 0
            lines = capsys.readouterr().out.splitlines()[1:]
            order = found.order(name, bool(flags))
            assert [line.split()[0] for line in lines] == [texts(found, "run")[i] for i in order]
    assert [texts(found, "run")[i] for i in found.order("k")] == [
        "version_10",
        "version_0",
        "version_2",
    ]


# --- the terminal ---


@pytest.mark.parametrize("width", [40, 72, 100, 10_000])
def test_a_table_fits_its_terminal_and_loses_no_column(tmp_path: Path, width: int) -> None:
    found = table_of(*three(tmp_path))
    columns = [name for name in found.columns if name != "run"]
    text = text_table(found, columns, width)
    blocks = [block.splitlines() for block in text.split("\n\n")]
    assert max(map(len, text.splitlines())) <= width
    assert all(
        line.split()[0] == name
        for block in blocks
        for line, name in zip(block, ["run", *texts(found, "run")], strict=True)
    )
    assert [word for block in blocks for word in block[0].split()[1:]] == columns
    assert (len(blocks) == 1) == (width == 10_000)


def test_columns_are_those_asked_for_in_their_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three(tmp_path)
    assert main(["compare", str(tmp_path), "--columns", "C_target, k,run,k"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["run", "C_target", "k"]
    assert lines[1] == ["version_0", "0.1", "0.25"]


def test_a_long_text_is_cut_and_a_missing_value_is_a_dash() -> None:
    rows = [{"run": Cell("a", "a"), "x": Cell(text, text)} for text in ("y" * 99, "two\nlines")]
    table = Table({"run": "", "x": ""}, [*rows, {"run": Cell("b", "b"), "x": Cell(None, "")}])
    lines = text_table(table, ["x"], 80).splitlines()
    assert lines == ["run  x", f"a    {'y' * 31}…", "a    two lines", "b    -"]


# --- which runs are meant ---


def test_a_parent_stands_for_its_runs_in_the_order_of_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = three(tmp_path)
    (tmp_path / "version_3").mkdir()  # no run: nothing is in it
    write_run(tmp_path / "version_x")
    assert find_runs([str(tmp_path)]) == runs
    monkeypatch.chdir(tmp_path)
    assert find_runs(["version_2", str(tmp_path), "version_0"]) == [runs[1], runs[0], runs[2]]


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["compare", *words]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.count("\n") == 1
    assert streams.err.startswith("error: ")
    return streams.err


def test_mistakes_in_the_words_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three(tmp_path)
    here, elsewhere = str(tmp_path), str(tmp_path / "version_0" / "none")
    assert "RUN" in complaint(capsys)
    assert f"RUN: got {elsewhere!r}; allowed: a run dir" in complaint(capsys, here, elsewhere)
    assert "did you mean 'gamma'?" in complaint(capsys, here, "--sort", "gama")
    assert "--columns: got 'Q'; allowed: run, " in complaint(capsys, here, "--columns", "k,Q")
    assert "only with --sort" in complaint(capsys, here, "--descending")
    assert "unrecognized arguments: --htm" in complaint(capsys, here, "--htm", "x")
    assert "--html: got" in complaint(capsys, here, "--html", f"{elsewhere}/x.html")
    assert "--html: got" in complaint(capsys, here, "--html", here)


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("config.yaml", "a: [", "config.yaml: "),
        ("config.yaml", "- 1", "got a list"),
        ("path.csv", "", "got no column stroke"),
        ("path.csv", "\0\xff", "can't decode"),
        ("path.csv", "step,t\n1,2\n", "got no column stroke, leg"),
        ("path.csv", "stroke,leg,t,lambda,gamma,R,D,C\na,0,0,1,2,3,4\n", "row 2: got 7 cells"),
        ("path.csv", "stroke,leg,t,lambda,gamma,R,D,C\na,0,0,1,2,3,4,x\n", "got C = 'x'"),
        ("strokes.json", "{", "strokes.json: "),
        ("strokes.json", "{}", "got a dict"),
        ("strokes.json", "[{}]", "got no status"),
        ("strokes.json", "[3]", "got no status"),
        ("laws.json", "[{}]", "got no verdicts"),
        ("laws.json", "[", "laws.json: "),
        ("summary.json", '{"accuracy": {"A": [1]}}', "got accuracy = "),
        ("summary.json", '{"accuracy": [1]}', "got accuracy = "),
        ("summary.json", '{"promise": "held"}', "promise = 'held'"),
        ("summary.json", '{"accuracy": {"A": [1, "x"]}}', "got accuracy_A = 'x'"),
        ("cycle.json", "[]", "got a list"),
        ("cycle.json", '{"closure": 3}', "got closure = 3"),
        ("cycle.json", '{"work": "much"}', "got work = 'much'"),
    ],
)
def test_a_broken_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, content: str, told: str
) -> None:
    run = write_run(tmp_path)
    (run / file).write_text(content, encoding="latin-1")
    line = complaint(capsys, str(tmp_path))
    assert str(run / file) in line
    assert told in line
    assert "; allowed: " in line


@pytest.mark.parametrize("lines", ["epoch,val/J\n0,x\n", "epoch,val/J\nx,1\n", "epoch,val/J\n0\n"])
def test_broken_metrics_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: str
) -> None:
    run = metrics_run(tmp_path / "version_0", 2, lines)
    assert str(run / "metrics.csv") in complaint(capsys, str(run))


# --- the page ---


def read_page(*directories: Path) -> tuple[Page, Table, list[Run]]:
    runs = [read_run(directory) for directory in directories]
    table = compare(runs)
    return Page(page(table, [n for n in table.columns if n != "run"], runs)), table, runs


def test_the_page_stands_alone_and_holds_the_table(tmp_path: Path) -> None:
    found, table, _ = read_page(*three(tmp_path))
    assert found.open == []
    head, *rows = found.cells
    assert head == list(table.columns)
    assert rows == [[row[name].text for name in table.columns] for row in table.rows]
    found.stands_alone()


def test_cells_carry_the_rank_by_which_the_page_sorts(tmp_path: Path) -> None:
    cut, done, *_ = three(tmp_path)
    write_run(done, config_of(0.5, seed=1), path_of(9), summary={"accuracy": {"A": [0, 1.0]}})
    found, table, _ = read_page(cut, done)
    cells = [attrs for tag, attrs in found.tags if tag == "td"]
    columns = list(table.columns)
    for i, row in enumerate(table.rows):
        for j, name in enumerate(columns):
            rank = cells[i * len(columns) + j].get("data-rank")
            assert rank == (None if row[name].value is None else str(table.ranks(name)[i]))
    assert None in [cell.get("data-rank") for cell in cells], "one lacks its accuracy"


def test_curves_of_the_page_are_the_paths_on_disk(tmp_path: Path) -> None:
    runs = three(tmp_path)
    found, table, _ = read_page(*runs)
    figures = [found.data["figures"][f"runs_{name}"] for name in ("C", "gamma", "paid")]
    for i, directory in enumerate(runs):
        rows = read_csv(directory / "path.csv")[1:]  # from the end of the approach
        t, gamma, c, error = ([row[n] for row in rows] for n in ("t", "gamma", "C", "C_error"))
        (band, loss, _), (_, control, _), (paid, _) = (
            [trace for trace in figure["data"] if trace["meta"] == i] for figure in figures
        )
        assert (loss["x"], loss["y"]) == (t, c)
        assert (control["x"], control["y"]) == (gamma, c)
        assert (paid["x"][-1], paid["y"][0]) == (t[-1], 0)
        assert paid["y"][-1] == pytest.approx(table.rows[i]["dissipation"].value, rel=1e-12)
        edges = [value + e for value, e in zip(c, error, strict=True)]  # type: ignore[operator]
        assert band["y"][: len(c)] == edges


def test_a_missing_value_breaks_the_line_and_has_no_band() -> None:
    broken = line([0, 1, 2], [1, NAN, 2], "run")
    assert json.loads(strict_json(broken))["y"] == [1, None, 2]
    (shade,) = band([0, 1, 2], [1, NAN, 2], [0.5, 0.5, NAN])
    assert (shade["x"], shade["y"]) == ([0, 0], [1.5, 0.5])
    assert band([0, 1], [2, 4], [0, 0]) == []


def test_curves_go_over_t_where_it_goes_forward_and_else_over_the_steps() -> None:
    forward = [{"leg": 0, "t": 0.0}, {"leg": 0, "t": 1.0}, {"leg": 1, "t": 0.0}]
    still = [{"leg": 0, "t": 0.0}] * 3
    back = [{"leg": 0, "t": t} for t in (0.0, 1.0, 0.5)]
    assert coordinate([forward, still[:1], []]) == "t"
    assert coordinate([forward, still]) == "step"
    assert coordinate([back]) == "step"


def test_a_page_without_a_path_has_its_table_only(tmp_path: Path) -> None:
    found, _, _ = read_page(metrics_run(tmp_path / "a", 1, "epoch,val/J\n0,7.5\n"))
    assert "figure" not in {tag for tag, _ in found.tags}
    assert len(found.cells) == 2


def test_what_a_run_says_is_text_on_the_page_and_no_markup(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>\'&amp;'
    runs = [
        write_run(tmp_path / f"version_{i}", config_of(note=note), status=f"stopped: {note}")
        for i, note in enumerate((evil, "{braces}"))
    ]
    found, table, _ = read_page(*runs)
    assert [tag for tag, _ in found.tags].count("script") == 3  # data, library, ours
    assert found.cells[1] == [table.rows[0][name].text for name in table.columns]
    assert evil in table.rows[0]["note"].text
    assert "{braces}" in found.cells[2]


def test_lines_differ_in_colour_and_in_dashes() -> None:
    styles = {(COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]) for i in range(28)}
    assert len(styles) == 28
    assert all(a != b for a, b in pairwise(DASHES))


# --- the command ---


def test_ten_runs_are_compared_within_a_second_and_a_half(tmp_path: Path) -> None:
    for i in range(10):
        write_run(tmp_path / f"version_{i}", config_of(k=i / 8), path_of(118, i / 8))
    words = [sys.executable, "-m", "thermo_pl", "compare", str(tmp_path), "--html", "page.html"]
    environment, taken = {**os.environ, "PYTHONPATH": str(ROOT)}, []
    for _ in range(3):  # the best of three, and of processor time: other processes may be at work
        start = os.times()
        done = subprocess.run(
            words, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
        )
        taken.append(sum(os.times()[2:4]) - sum(start[2:4]))  # of children
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.splitlines()) == 11
    assert min(taken) < 1.5
    assert (tmp_path / "page.html").stat().st_size < 2_500_000  # of it 1.8 MB are Plotly's


@pytest.mark.slow
def test_real_runs_are_compared_by_what_they_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("THERMO_PL_RUN_DIR", raising=False)
    config = load(ROOT / "lightning_configs" / "exact_categorical.yaml")
    config["trainer"]["default_root_dir"] = str(tmp_path / "runs")
    callbacks = config["trainer"]["callbacks"]
    callbacks[-1]["init_args"] |= {"steps": 2, "equilibration": {"stationarity": 1e-6}}
    for k in (0.25, 0.5):
        callbacks[-1]["init_args"]["k"] = k
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        assert main(["fit", "--config", str(tmp_path / "config.yaml")]) == 0
    capsys.readouterr()
    table = table_of(*find_runs([str(tmp_path / "runs")]))
    assert list(table.columns)[:3] == ["run", "k", "status"]
    for i, row in enumerate(table.rows):
        run = tmp_path / "runs" / f"version_{i}"
        summary = json.loads((run / "summary.json").read_text())
        for name in ("steps", "drift_max", "dissipation", "length", "gradients", "C_target"):
            assert row[name].value == summary[name]
        assert row["first_law"].value == summary["first_law_residual_median"]
        assert row["gamma"].value == summary["gamma"][1]
        assert row["accuracy_B"].value == summary["accuracy"]["B"][1]
        assert row["promise"].value == summary["promise"]["verdict"]
        assert row["status"].value == summary["ending"] == "done"
