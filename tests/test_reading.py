"""YAML files that are bombs, circles or too deep are told in one line, at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from thermo_pl.configs.layers import load
from thermo_pl.configs.reading import parse
from thermo_pl.errors import ConfigError, DataError
from thermo_pl.runs.reader import read_run

BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join(9 * [f'*a{n - 1}'])}]\n" for n in range(1, 12)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join(9 * [f'*a{n - 1}'])}]}}\n" for n in range(1, 12)
)
BROKEN = {
    "bomb": (BOMB, "more than 20000 values, aliases counted"),
    "merges": (MERGES, "more than 20000 values, aliases counted"),
    "circle": ("a: &a [*a]", "a circle"),
    "deep": ("[" * 100 + "]" * 100, "more than 60 levels"),
    "long": ("[" + "1," * 30_000 + "]", "more than 20000 values"),
    "twice": ("model: 1\nmodel: 2", "the key 'model' twice"),
    "control": ("a: \x01", "characters are not allowed"),
    "date": ("a: 2024-02-31", "day"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_told_of_a_file(tmp_path: Path, kind: str) -> None:
    text, told = BROKEN[kind]
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"config.yaml.*: got broken YAML .*{told}") as caught:
        load(tmp_path / "config.yaml")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=told):  # by libyaml, which reads runs
        read_run(tmp_path)


@pytest.mark.parametrize("file", ["config.yaml", "path.csv", "strokes.json", "summary.json"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path, file: str) -> None:
    (tmp_path / "config.yaml").write_text("trainer: {}")
    (tmp_path / "path.csv").write_text("stroke,leg,t,lambda,gamma,R,D,C\n")
    (tmp_path / file).unlink(missing_ok=True)
    os.mkfifo(tmp_path / file)
    with pytest.raises(DataError, match=f"{file}: .*a pipe or a device, not a file"):
        read_run(tmp_path)
    with pytest.raises(ConfigError, match="a pipe or a device, not a file"):
        load(tmp_path / file)


def test_deep_json_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("trainer: {}")
    (tmp_path / "path.csv").write_text("stroke,leg,t,lambda,gamma,R,D,C\n")
    (tmp_path / "strokes.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"strokes.json: .*; allowed: a json file of a run"):
        read_run(tmp_path)


@pytest.mark.parametrize("steps", [(0, 2, 1), (0, 1, 1), (0, 2)])
def test_rows_that_are_out_of_order_or_doubled_do_not_count(
    tmp_path: Path, steps: tuple[int, ...]
) -> None:
    (tmp_path / "config.yaml").write_text("trainer: {}")
    rows = "".join(f"{step},iso,0,0.5,1,2,1,2,3\n" for step in steps)
    (tmp_path / "path.csv").write_text(f"step,stroke,leg,t,lambda,gamma,R,D,C\n{rows}")
    with pytest.raises(DataError, match="got rows that are lost, doubled or out of order"):
        read_run(tmp_path)


def test_aliases_of_a_usual_size_are_read() -> None:
    text = "a: &a {x: [1, 2]}\nb: [*a, *a]\nc: {<<: *a, y: 3}"
    assert parse(text) == yaml.safe_load(text)
