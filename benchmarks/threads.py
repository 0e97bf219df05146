"""Threads of the shipped cycles: seconds of a macro-step, alone and beside a busy process.

    python benchmarks/threads.py                 # carnot_digits.yaml
    python benchmarks/threads.py carnot_mnist    # data in $THERMO_PL_DATA

Every setting takes the first macro-steps of the config, each with the same number of iterations of
the optimiser, so that the work is the same. The settings take turns; the median over all steps of
all turns is shown, with its ratio to that of one thread alone. A busy process is a loop that ends
with this program.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import yaml
from shipped_configs import shipped

from thermo_pl.files import read_csv

SETTINGS: dict[str, tuple[int, dict[str, str]]] = {
    "1 thread": (1, {}),
    "2 threads": (2, {}),
    "2, OMP_WAIT_POLICY=PASSIVE": (2, {"OMP_WAIT_POLICY": "PASSIVE"}),
    "2, GOMP_SPINCOUNT=1000": (2, {"GOMP_SPINCOUNT": "1000"}),
}
"""Threads and variables of the environment, which OpenMP reads when torch is imported."""
LOOP = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000): pass
"""
"""A busy process: it ends once its parent is gone, whatever ended that one."""


def shortened(name: str, steps: int, folder: Path) -> Path:
    """The config, with a few macro-steps of equal work and no reports."""
    config = shipped(name)
    trainer = config["trainer"]
    process = trainer["callbacks"][-1]
    settled = {"stationarity": 1e3, "max_epochs": 4, "check_every": 1}  # two checks, whatever θ is
    process["init_args"] |= {"equilibration": settled, "tolerance": float("inf")}
    trainer |= {"max_epochs": 2 + steps, "logger": False, "callbacks": [process]}
    trainer |= {"enable_checkpointing": False, "default_root_dir": str(folder / "runs")}
    config["model"]["init_args"]["optimizer"]["init_args"] |= {"rounds": 2, "gain": 0.0}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@contextmanager
def busy_processes(count: int) -> Generator[None, None, None]:
    """As many loops as asked, ended when the block is left."""
    loops: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            loops.append(subprocess.Popen([sys.executable, "-c", LOOP, str(os.getpid())]))
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def seconds(config: Path, threads: int, variables: dict[str, str], busy: int) -> list[float]:
    """Of each macro-step of a run in a process of its own, beside as many busy ones."""
    words = ["fit", "--config", str(config), "--threads", str(threads)]
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    with busy_processes(busy):
        subprocess.run(
            [sys.executable, "-m", "thermo_pl", *words],
            env=plain | variables,
            check=True,
            capture_output=True,
        )
    runs = (config.parent / "runs").iterdir()
    run = max(runs, key=lambda path: int(path.name.rpartition("_")[2]))
    return [row["seconds"] for row in read_csv(run / "path.csv")[1:]]


def main() -> None:
    """Run the settings in turn and print the table."""
    # by default SIGTERM ends Python at once: blocks are not left, the run and its folder stay
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", default="carnot_digits")
    parser.add_argument("--steps", type=int, default=3, help="macro-steps of each run")
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    found: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        config = shortened(asked.name, asked.steps, Path(folder))
        for _ in range(asked.turns):
            for busy in (0, 1):
                for name, (threads, variables) in SETTINGS.items():
                    taken = seconds(config, threads, variables, busy)
                    found.setdefault((name, busy), []).extend(taken)
    middle = {place: statistics.median(taken) for place, taken in found.items()}
    unit = middle["1 thread", 0]
    print(f"{asked.name}, {os.cpu_count()} cores; seconds of a macro-step and ratio to 1 thread")
    print(f"{'':<28}{'alone':>14}{'beside a busy process':>28}")
    for name in SETTINGS:
        each = [f"{middle[name, busy]:.2f} ({middle[name, busy] / unit:.2f})" for busy in (0, 1)]
        print(f"{name:<28}{each[0]:>14}{each[1]:>28}")


if __name__ == "__main__":
    main()
