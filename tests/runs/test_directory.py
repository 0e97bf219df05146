"""Run directories."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from thermo_pl.errors import ConfigError
from thermo_pl.runs.directory import create_run_directory


def test_run_directories_are_numbered_after_the_highest(tmp_path: Path) -> None:
    root = tmp_path / "a" / "runs"
    assert create_run_directory(root) == root / "version_0"
    (root / "version_7").mkdir()
    (root / "version_x").mkdir()
    assert create_run_directory(root) == root / "version_8"
    assert list((root / "version_8").iterdir()) == []


def test_parallel_runs_get_different_directories(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create_run_directory, [tmp_path] * 40))
    assert len(set(made)) == 40


@pytest.mark.parametrize("root", ["file", "s3://bucket/runs"])
def test_a_root_that_is_no_local_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(ConfigError, match=r"default_root_dir: got .*allowed: a local directory"):
        create_run_directory(root)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
