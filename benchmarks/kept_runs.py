"""Runs of benchmarks: timed ones, and ones that are read where they are there.

The latter let a benchmark's table be filled in parts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from thermo_pl.files import read_csv


def command(*words: str) -> None:
    """Run thermo_pl; what it prints goes to this program's error stream."""
    subprocess.run([sys.executable, "-m", "thermo_pl", *words], stdout=sys.stderr, check=False)


def written(folder: Path, config: dict[str, Any]) -> Path:
    """Write a config into the folder of its runs.

    Args:
        folder: where its run directories will lie.
        config: the config; its ``default_root_dir`` is set here.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config["trainer"]["default_root_dir"] = str(folder)
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config, allow_unicode=True))
    return file


def timed(folder: Path, config: dict[str, Any], may_stop: bool = True) -> tuple[Path, float]:
    """Run a config in a new folder, with nothing on the screen.

    Args:
        folder: of the run alone.
        config: the config; its ``default_root_dir`` is set here.
        may_stop: whether a process that cannot go on is a result, too. It says so on the screen.

    Returns:
        The run directory, and the seconds it took.

    Raises:
        SystemExit: if a run failed, or ended before it measured anything.
    """
    file = written(folder, config)
    start = time.monotonic()
    words = [sys.executable, "-m", "thermo_pl", "fit", "--config", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    seconds, run = time.monotonic() - start, folder / "version_0"
    if done.returncode not in ({0, 3} if may_stop else {0}) or not (run / "path.csv").exists():
        raise SystemExit(done.stderr)
    if done.returncode:
        print(f"{folder.name}: {done.stderr.strip().splitlines()[-1]}", flush=True)
    return run, seconds


def fitted(folder: Path, config: dict[str, Any]) -> Path:
    """Run a config if it was not run in this folder yet.

    Args:
        folder: of the run alone; it holds ``config.yaml`` and ``version_0``.
        config: the config; its ``default_root_dir`` is set here.

    Returns:
        The run directory.
    """
    file, run = written(folder, config), folder / "version_0"
    if not run.exists():
        command("fit", "--config", str(file))
    return run


def summary_of(folder: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """Run a config if it was not run in this folder yet, and read its summary.

    Args:
        folder: of the run alone.
        config: the config.

    Returns:
        summary.json; None of a run that was cut off before there was one. This program's error
        stream says so, and names every ending but "done".
    """
    run = fitted(folder, config)
    if not (run / "summary.json").exists():
        print(f"{folder}: got a run that was cut off; remove it to try again", file=sys.stderr)
        return None
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    if summary["ending"] != "done":
        print(f"{folder.name}: {summary['ending']}", file=sys.stderr)
    return summary


def tested(folder: Path) -> dict[str, Any]:
    """Test the model at the end of a run on the target, if that was not done yet.

    Args:
        folder: of the run alone, as :func:`fitted` leaves it.

    Returns:
        The metrics by name.
    """
    if not (folder / "version_1").exists():
        checkpoint = str(folder / "version_0" / "checkpoints" / "last.ckpt")
        command("test", "--config", str(folder / "config.yaml"), "--ckpt_path", checkpoint)
    metrics: dict[str, Any] = read_csv(folder / "version_1" / "metrics.csv")[-1]
    return metrics


def gone_on(folder: Path, config: dict[str, Any]) -> Path:
    """Begin a run, or go on with it, where it is not whole.

    Args:
        folder: where its run directories lie.
        config: the config.

    Returns:
        The newest run directory.
    """
    file = written(folder, config)
    runs = _by_age(folder)
    if not runs:
        command("fit", "--config", str(file))
    elif not _whole(runs[-1]):
        command("fit", "--config", str(file), "--ckpt_path", "last")
    return _by_age(folder)[-1]


def _by_age(folder: Path) -> list[Path]:
    return sorted(folder.glob("version_*"), key=lambda path: path.stat().st_mtime)


def _whole(run: Path) -> bool:
    file = run / "strokes.json"
    return file.exists() and all(s["status"] == "done" for s in json.loads(file.read_text()))
