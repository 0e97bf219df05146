"""Files that are never half written; tables that read back."""

from __future__ import annotations

import io
import json
import math
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermo_pl import files
from thermo_pl.errors import DataError
from thermo_pl.files import GrowingCsv, is_due, read_csv, write_atomic, write_csv, write_json


def test_a_failed_write_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "path.csv"
    write_atomic(path, "old")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_written_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_atomic(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_json_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "cycle.json"
    write_json(path, {"a": math.nan, "b": [np.float64(0.1), (-math.inf, 1)], "c": np.int64(3)})

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    read = json.loads(path.read_text(), parse_constant=refuse)
    assert read == {"a": None, "b": [0.1, [None, 1]], "c": 3}
    assert '\n  "a"' in path.read_text()


def test_csv_has_a_header_even_without_rows(tmp_path: Path) -> None:
    write_csv(tmp_path / "path.csv", [], ["step", "R"])
    assert (tmp_path / "path.csv").read_text() == "step,R\n"
    assert read_csv(tmp_path / "path.csv") == []


def test_csv_cells(tmp_path: Path) -> None:
    path = tmp_path / "path.csv"
    row = {
        "step": 3,
        "R": np.float64(0.1),
        "D": math.nan,
        "stroke": 'a, "b"',
        "C": np.float32("nan"),
    }
    write_csv(path, [row], ["step", "R", "D", "C", "stroke", "lacking"])
    assert path.read_text().splitlines()[1] == '3,0.1,,,"a, ""b""",'
    assert read_csv(path) == [
        {"step": 3, "R": 0.1, "D": None, "C": None, "stroke": 'a, "b"', "lacking": None}
    ]
    assert isinstance(read_csv(path)[0]["step"], int)


@given(
    st.lists(
        st.tuples(
            st.integers(),
            st.floats(allow_nan=False),
            st.text("abcxyz-_ ,\"'\n→é", min_size=1).filter(lambda text: text != "_"),
        )
    )
)
def test_csv_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple]) -> None:
    path = tmp_path_factory.mktemp("csv") / "path.csv"
    written = [dict(zip(("n", "x", "name"), row, strict=True)) for row in rows]
    write_csv(path, written, ["n", "x", "name"])
    assert read_csv(path) == written


def test_csv_refuses_unknown_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"got keys \['Q'\]; allowed: step, R"):
        write_csv(tmp_path / "path.csv", [{"Q": 1}], ["step", "R"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"a,b\n1\n", "row 2: got 1 cells; allowed: 2"), (b"\xff", "decode")],
)
def test_csv_that_cannot_be_read(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "path.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_csv(path)


def rows_of(*steps: int) -> list[dict[str, float]]:
    return [{"step": step, "C": step / 3} for step in steps]


def test_a_table_grows_without_being_written_again(tmp_path: Path) -> None:
    path, whole, rows = tmp_path / "path.csv", tmp_path / "whole.csv", rows_of(*range(5))
    table = GrowingCsv(path, ["step", "C"])
    places = []
    for count in (0, 1, 1, 3, 5):
        table.write(rows[:count])
        places.append(path.stat().st_ino)
        write_csv(whole, rows[:count], ["step", "C"])
        assert path.read_bytes() == whole.read_bytes()
    assert len(set(places)) == 1  # one and the same file throughout


@pytest.mark.parametrize("why", ["other rows", "fewer", "gone", "touched", "a new writer"])
def test_a_table_that_is_not_the_one_that_was_written_is_replaced(tmp_path: Path, why: str) -> None:
    path, rows = tmp_path / "path.csv", rows_of(0, 1, 2)
    table = GrowingCsv(path, ["step", "C"])
    table.write(rows)
    if why == "gone":
        path.unlink()
    elif why == "touched":
        path.write_text("step,C\n")
    elif why == "a new writer":
        table = GrowingCsv(path, ["step", "C"])
    after = {"other rows": rows_of(0, 1, 2, 3), "fewer": rows[:2]}.get(why, [*rows, *rows_of(3)])
    table.write(after)
    assert read_csv(path) == after


def test_a_full_disk_leaves_the_table_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, rows = GrowingCsv(tmp_path / "path.csv", ["step", "C"]), rows_of(0, 1)
    table.write(rows[:1])

    class Full(io.FileIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            return super().write(data[:3])

    monkeypatch.setattr(files, "open", lambda path, mode, **_: Full(path, mode), raising=False)
    with pytest.raises(OSError, match="No space left"):
        table.write(rows)
    monkeypatch.undo()
    assert read_csv(table.path) == rows[:1]
    table.write(rows)
    assert read_csv(table.path) == rows


def test_a_line_that_was_cut_off_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "path.csv"
    path.write_text("step,C\n0,0.5\n1,0.2")
    with pytest.warns(UserWarning, match=r"path.csv: its last line has no end; .* is left out"):
        assert read_csv(path) == [{"step": 0, "C": 0.5}]


def test_what_costs_as_much_as_all_rows_is_done_rarely() -> None:
    last, done = 0, []
    for count in range(1, 2001):
        if is_due(count, last):
            last = count
            done.append(count)
    assert done[:100] == list(range(1, 101))
    assert len(done) < 300
    assert all(later - earlier <= 0.02 * later + 1 for earlier, later in pairwise(done))
