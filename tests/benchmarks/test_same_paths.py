"""What benchmarks/same_paths.py compares, excuses and sets."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "same_paths.py"


@pytest.fixture(scope="module")
def same_paths() -> ModuleType:
    """The benchmark, which is no part of a package."""
    spec = spec_from_file_location("same_paths", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_first_value_that_differs_is_named_and_seconds_are_not_compared(
    same_paths: ModuleType,
) -> None:
    older = {"path.csv C": ["1.0", "2.0", "3.0"], "path.csv seconds": ["4.0", "5.0", "6.0"]}
    newer = {"path.csv C": ["1.0", "2.5", "3.5"], "path.csv seconds": ["7.0", "8.0", "9.0"]}
    compared, faults = same_paths.compare(older, newer)
    assert compared == ["path.csv C"]
    assert faults == ["path.csv C, row 1: 2.0 | 2.5"]
    assert same_paths.compare(older, older) == (["path.csv C"], [])


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({"path.csv C": ["1.0"]}, {}),
        ({}, {"path.csv C": ["1.0"]}),
        ({"path.csv C": ["1.0"]}, {"path.csv C": ["1.0", "1.0"]}),
        ({"path.csv C": ["1.0"]}, {"path.csv C": ["1.00"]}),
        ({"laws.json 0.value": [0.0]}, {"laws.json 0.value": [-0.0]}),
        ({"cycle.json efficiency": [0.1]}, {"cycle.json efficiency": [0.2]}),
        ({"laws.json 0.reason": [""]}, {}),
    ],
)
def test_what_no_entry_of_the_table_excuses_is_a_fault(
    same_paths: ModuleType, older: dict[str, Any], newer: dict[str, Any]
) -> None:
    assert len(same_paths.compare(older, newer)[1]) == 1


@pytest.mark.parametrize(("gamma", "excused"), [("1 2 3 2 4", False), ("1 2 1 1 4", True)])
def test_the_c_of_a_reservoir_may_differ_only_where_gamma_turns(
    same_paths: ModuleType, gamma: str, excused: bool
) -> None:
    # two passes: the start of the second one is no step of its stroke
    path = {
        "path.csv cycle": ["0", "0", "0", "1", "1"],
        "path.csv stroke": ["equilibration", "hot", "hot", "hot", "hot"],
        "path.csv C_target": ["", "1", "1", "1", "1"],
        "path.csv gamma": gamma.split(),
    }
    older, newer = ({**path, "cycle.json C_hot": [value]} for value in (1.0, 2.0))
    compared, faults = same_paths.compare(older, newer)
    assert faults == ([] if excused else ["cycle.json C_hot, row 0: 1.0 | 2.0"])
    assert ("cycle.json C_hot" in compared) is not excused


def test_what_is_renamed_is_compared_under_its_new_name(
    same_paths: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed = same_paths.Known("RENAMED", "path.csv C", "a better word", "path.csv loss")
    monkeypatch.setattr(same_paths, "TABLE", (renamed,))
    older = {"path.csv C": ["1.0"]}
    assert same_paths.compare(older, {"path.csv loss": ["1.0"]}) == (["path.csv loss"], [])
    faults = ["path.csv loss, row 0: 1.0 | 2.0"]
    assert same_paths.compare(older, {"path.csv loss": ["2.0"]})[1] == faults


def test_keys_are_set_by_the_end_of_their_place(same_paths: ModuleType) -> None:
    process = {"class_path": "Process", "init_args": {"lam": [1.0], "steps": 40}}
    config = {"model": {"init_args": {"lam": 0.5}}, "trainer": {"callbacks": [process]}}
    unused = {"callbacks.lam", "steps", "callbacks.gam"}
    changes = {"callbacks.lam": [2.0], "steps": 2, "callbacks.gam": [3.0]}
    found = same_paths.shortened(config, changes, unused)
    assert found["model"] == config["model"]
    assert found["trainer"]["callbacks"][0]["init_args"] == {"lam": [2.0], "steps": 2}
    assert unused == {"callbacks.gam"}
