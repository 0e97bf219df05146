"""How long the plans of transfer_mnist.yaml take, the first time and from the cache.

    THERMO_PL_DATA=... python benchmarks/transport.py

Reading MNIST is part of each line. The plans use all cores, so let nothing else run.
"""

from __future__ import annotations

import argparse
import tempfile
import time

from thermo_pl.datamodules import MNIST, InterpolatedDataModule, Waypoint

DIGITS = ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])
"""The domains, as in the config."""


def seconds(cache: str) -> float:
    """Wall time until all splits are coupled."""
    start = time.monotonic()
    waypoints = [Waypoint(classes, MNIST()) for classes in DIGITS]
    data = InterpolatedDataModule(waypoints, labels="matched", cache_dir=cache)
    data.prepare_data()
    data.setup("fit")
    return time.monotonic() - start


def main() -> None:
    """Time both."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as cache:
        for name in ("first time", "from the cache", "once more"):
            print(f"{name:<16}{seconds(cache):>7.1f} s", flush=True)


if __name__ == "__main__":
    main()
