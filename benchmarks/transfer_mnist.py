"""MNIST's digits 0-4 to 5-9, measured against the bars: transport, whole runs, memory.

    THERMO_PL_DATA=/folder/that/holds/MNIST python benchmarks/transfer_mnist.py

Builds the path of lightning_configs/transfer_mnist.yaml in a fresh process with an empty cache, once
more from that cache, and then runs the config (and its conv variant with --conv), from an empty cache
again. Prints seconds, processor seconds and peak memory of all processes together, with what they
share counted once (PSS, sampled ten times a second; Linux only). Seconds of the transport count from
reading the images to the finished coupling; importing the libraries, which every run does, is told
apart. What a run held and reached is read from its own path.csv and summary.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from thermo_pl.rundir import read_csv

CONFIGS = Path(__file__).parents[1] / "lightning_configs"
BUILD = """
import json, time, sys
begin = time.monotonic()
from thermo_pl.datamodules import MNIST, InterpolatedDataModule, Waypoint
imported = time.monotonic()
low, high = (Waypoint(list(range(first, first + 5)), source=MNIST()) for first in (0, 5))
data = InterpolatedDataModule([low, high])
data.setup()
done = time.monotonic()
print(json.dumps({
    "imports": imported - begin,
    "seconds": done - imported,
    "classes": data.class_names,
    "pairs": len(data.coupling("train")),
    "W2": data.coupling("train").cost,
}))
"""
HEADER = f"{'':<16}{'seconds':>9}{'cpu':>8}{'peak GB':>9}"


class Cost(NamedTuple):
    """What a command took: wall and processor seconds, peak memory in GB, and what it printed."""

    seconds: float
    cpu: float
    peak: float
    text: str

    def line(self, name: str) -> str:
        """The first columns of a table."""
        return f"{name:<16}{self.seconds:>9.1f}{self.cpu:>8.1f}{self.peak:>9.2f}"


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it is gone
            continue
        children.setdefault(parent, []).append(int(entry.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def measured(command: list[str], cache: str) -> Cost:
    """Run a command with the couplings' cache in a folder."""
    begin, peak, cpu = time.monotonic(), 0, {}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "XDG_CACHE_HOME": cache}
    )
    ticks = os.sysconf("SC_CLK_TCK")
    while process.poll() is None:
        total = 0
        for pid in family(process.pid):
            try:
                memory = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in memory if line.startswith("Pss:"))
            cpu[pid] = sum(map(int, times)) / ticks
        peak = max(peak, total)
        time.sleep(0.1)
    seconds = time.monotonic() - begin
    assert process.stdout is not None
    text = process.stdout.read()
    if process.returncode not in {0, 3}:
        raise SystemExit(process.returncode)
    return Cost(seconds, sum(cpu.values()), peak * 1024 / 1e9, text)


def transport() -> None:
    """Measure the coupling, computed and from the cache."""
    with tempfile.TemporaryDirectory() as cache:
        for name in ("transport", "from the cache"):
            cost = measured([sys.executable, "-c", BUILD], cache)
            found = json.loads(cost.text)
            print(
                f"{cost._replace(seconds=found['seconds']).line(name)}  and {found['imports']:.1f} s "
                f"of imports; {found['pairs']} pairs, W2² = {found['W2']:.4f}, "
                f"{' '.join(found['classes'])}",
                flush=True,
            )


def transfer(config: str, root: Path, seed: int) -> None:
    """Measure a whole run from nothing."""
    with tempfile.TemporaryDirectory() as cache:
        directory = root / f"{config}_{seed}"
        words = ["--seed_everything", str(seed), "--trainer.default_root_dir", str(directory)]
        file = str(CONFIGS / f"{config}.yaml")
        command = [sys.executable, "-m", "thermo_pl", "fit", "--config", file, *words]
        cost = measured(command, cache)
    (run,) = directory.glob("version_*")
    rows = read_csv(run / "path.csv")
    summary = json.loads((run / "summary.json").read_text())
    drifts = [abs(row["C"] / row["C_target"] - 1) for row in rows if row["C_target"] is not None]
    first, last = summary["accuracy"]["B"]
    print(
        f"{cost.line(f'{config[9:]}, seed {seed}')}  drift max {max(drifts):.2%}, mean "
        f"{sum(drifts) / len(drifts):.2%}; accuracy on 5-9 {first:.4f} → {last:.4f}; "
        f"{len(rows) - 1} steps; {summary['ending'][:60]}",
        flush=True,
    )


def main() -> None:
    """Measure all and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark_transfer_mnist"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--conv", action="store_true", help="the conv variant, too")
    arguments = parser.parse_args()
    root = arguments.root / time.strftime("%Y%m%d-%H%M%S")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(HEADER, flush=True)
    transport()
    for config in ["transfer_mnist", *["transfer_mnist_conv"] * arguments.conv]:
        for seed in arguments.seeds:
            transfer(config, root, seed)


if __name__ == "__main__":
    main()
