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


def command(*words: str) -> None:
    """Run thermo_pl; what it prints goes to this program's error stream."""
    subprocess.run([sys.executable, "-m", "thermo_pl", *words], stdout=sys.stderr, check=False)


def timed(folder: Path, config: dict[str, Any]) -> tuple[Path, float]:
    """Run a config in a new folder, with nothing on the screen.

    Args:
        folder: of the run alone; ``config.yaml`` and the run directory go there.
        config: the config; its ``default_root_dir`` is set here.

    Returns:
        The run directory, and the seconds it took. A process that could not go on says so on the
        screen; what it measured is in its directory.

    Raises:
        SystemExit: if a run failed otherwise, or ended before it measured anything.
    """
    folder.mkdir(parents=True)
    config["trainer"]["default_root_dir"] = str(folder)
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config, allow_unicode=True))
    start = time.monotonic()
    words = [sys.executable, "-m", "thermo_pl", "fit", "--config", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    seconds, run = time.monotonic() - start, folder / "version_0"
    if done.returncode not in {0, 3} or not (run / "path.csv").exists():
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
    folder.mkdir(parents=True, exist_ok=True)
    config["trainer"]["default_root_dir"] = str(folder)
    file, run = folder / "config.yaml", folder / "version_0"
    file.write_text(yaml.safe_dump(config))
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
