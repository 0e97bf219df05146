"""Transport of MNIST's digits 0-4 to 5-9, measured: seconds and memory, computed and cached.

    THERMO_PL_DATA=/folder/that/holds/MNIST python benchmarks/transport.py

Builds the path of lightning_configs/transfer_mnist.yaml in a fresh process with an empty cache, and
once more from that cache. Seconds count from the start of reading the images to the finished
coupling; importing the libraries, which every run does, is told apart. Peak memory is that of all
processes together, with what they share counted once (PSS, sampled ten times a second; Linux only).
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

BUILD = """
import json, time, sys
begin = time.monotonic()
from thermo_pl.datamodules import MNIST, InterpolatedDataModule, Waypoint
from thermo_pl.progress import StageBar, shown
imported = time.monotonic()
low, high = (Waypoint(list(range(first, first + 5)), source=MNIST()) for first in (0, 5))
data = InterpolatedDataModule([low, high], cache_dir=sys.argv[1])
data.setup()
done = time.monotonic()
cpu = sum(__import__("os").times()[:4])
cost = data.coupling("train").cost
print(json.dumps({
    "imports": imported - begin, "seconds": done - imported, "cpu": cpu,
    "classes": data.class_names, "pairs": len(data.coupling("train")), "W2": cost,
}))
"""


def resident(pid: int) -> int:
    """KiB of a process and of all that it started, shared pages counted by their shares."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry.name))
    total, todo = 0, [pid]
    while todo:
        here = todo.pop()
        todo += children.get(here, [])
        try:
            lines = Path(f"/proc/{here}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def measured(command: list[str], **arguments: object) -> tuple[str, float, float]:
    """Run a command: what it prints, its seconds and its peak memory in GB."""
    begin, peak = time.monotonic(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **arguments) as process:  # type: ignore[call-overload]
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            time.sleep(0.1)
        text = process.stdout.read()
    if process.returncode:
        raise SystemExit(process.returncode)
    return text, time.monotonic() - begin, peak * 1024 / 1e9


def main() -> None:
    """Measure both and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    print(f"{os.cpu_count()} cores")
    print(f"{'':<14}{'seconds':>9}{'cpu':>8}{'imports':>9}{'peak GB':>9}  result")
    with tempfile.TemporaryDirectory() as cache:
        for name in ("first time", "from the cache"):
            text, _, peak = measured([sys.executable, "-c", BUILD, cache])
            found = json.loads(text)
            print(
                f"{name:<14}{found['seconds']:>9.1f}{found['cpu']:>8.1f}{found['imports']:>9.1f}"
                f"{peak:>9.2f}  {found['pairs']} pairs, W2² = {found['W2']:.4f}, "
                f"{' '.join(found['classes'])}",
                flush=True,
            )


if __name__ == "__main__":
    main()
