"""What machines and people do to runs: kills, corrupt files, wrong configs, numbers that are none.

    python benchmarks/faults.py kills --cases 100
    python benchmarks/faults.py            # the counts so far, and what went wrong

Each case has a number, which is its seed. What is done lies in ``--out``, and is not done again: a
benchmark that is stopped goes on where it was. Exit code 1 if a case went wrong.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

KINDS = {
    "kills": ("kill -9, then --ckpt_path last: identical", 100),
    "nans": ("numbers that are none: no row of them, exit 0 or 3", 50),
    "ranks": ("one of two ranks killed: the other ends in a minute, and not with 0", 20),
    "long": ("2,000 macro-steps: seconds of the last rows ≤ 1.2 × the first ones", 1),
    "configs": ("changed configs: 0, 2 or 3, six lines, no traceback, in time", 2000),
    "files": ("torn, foreign and hostile files: told in a line, or of no effect", 200),
}
"""Name of a kind → what is counted, and how many cases are asked for."""


def main() -> int:
    """Run cases of a kind, or print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", nargs="?", choices=KINDS)
    parser.add_argument("--cases", type=int, metavar="N", help="the first N; all by default")
    parser.add_argument("--out", type=Path, default=Path("runs/faults"), metavar="DIR")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.kind is not None:
        cases = asked.cases or KINDS[asked.kind][1]
        run_cases(asked.kind, cases, asked.out.resolve())
    return 0 if counted(asked.out) else 1


def run_cases(kind: str, cases: int, out: Path) -> None:
    """Run what has not been run yet."""
    importlib.import_module("thermo_pl.cli.lightning")  # once, for all forks
    case = importlib.import_module(f"fault_{kind}").case
    file = out / f"{kind}.jsonl"
    done = {result["number"] for result in results(file)}
    for number in sorted(set(range(cases)) - done):
        start = time.monotonic()
        result = {"number": number} | case(number, out / kind)
        result["seconds"] = round(time.monotonic() - start, 1)
        with file.open("a") as lines:
            lines.write(json.dumps(result) + "\n")


def results(file: Path) -> list[dict[str, Any]]:
    """What has been found so far."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def counted(out: Path) -> bool:
    """Print the counts; whether nothing went wrong."""
    wrong = []
    for kind, (what, cases) in KINDS.items():
        found = results(out / f"{kind}.jsonl")
        fine = sum(result["ok"] for result in found)
        print(f"{kind:<8}{fine:>6} of {len(found):<6}{what} ({cases} asked for)")
        wrong += [(kind, result) for result in found if not result["ok"]]
    for kind, result in wrong[:20]:
        print(f"  {kind} {result['number']}: {result['told']}")
    return not wrong


if __name__ == "__main__":
    sys.exit(main())
