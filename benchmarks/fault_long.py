"""A path of 2,000 macro-steps: the time of a row and the memory stay what they were."""

from __future__ import annotations

import csv
import shutil
import statistics
from pathlib import Path
from typing import Any

from fault_runs import run

CONFIG = Path(__file__).resolve().parent / "small_configs" / "iso.yaml"
STEPS = 2000
SHORT = {
    "steps": STEPS,
    "gamma_range": [1e-12, 1e12],  # so few examples, for so long, are learnt by heart
    "probes": "{solving_particles: 16, control_particles: 16, control_samples: 2, "
    "measuring_particles: 16, measuring_samples: 2}",
    "response": "{damping: 5.0, max_iterations: 6, tolerance: 0.4}",
}


def case(number: int, place: Path) -> dict[str, Any]:
    """Run a long path, with all that is written at each of its steps.

    Args:
        number: of the case; it is the seed, too.
        place: where files lie.

    Returns:
        Medians of the seconds of a row, and resident memory, at the start and at the end.
    """
    shutil.rmtree(place / "runs", ignore_errors=True)
    words = ["fit", "--config", str(CONFIG), "--data.train_batches", "2"]
    words += ["--seed_everything", str(number), "--model.optimizer.lr", "1e-6"]
    words += ["--trainer.limit_val_batches", "0"]
    for key, value in SHORT.items():
        words += [f"--trainer.callbacks.{key}", str(value)]
    memory: list[tuple[int, float]] = []
    path = place / "runs" / "version_0" / "path.csv"

    def look(process: int, seconds: float) -> bool:
        if len(memory) < int(seconds / 2) and path.exists():
            taken = resident(process)
            with path.open() as lines:
                memory.extend((sum(1 for _ in lines) - 1, mib) for mib in taken)
        return False

    ran = run(words, place, longest=3600, disturb=look)
    with path.open(newline="") as lines:
        seconds = [float(row["seconds"]) for row in csv.DictReader(lines)]
    # the first fifty load what is needed, and write everything at each row
    first, last = statistics.median(seconds[50:250]), statistics.median(seconds[-200:])
    early = next(mib for rows, mib in memory if rows >= 100)
    found = {"rows": len(seconds), "first": first, "last": last}
    found |= {"MiB at 100 rows": early, "MiB at the end": memory[-1][1]}
    flat = memory[-1][1] <= 1.1 * early
    ok = ran.code == 0 and len(seconds) == STEPS + 1 and last <= 1.2 * first and flat
    told = f"exit code {ran.code}, {found}"
    return {"ok": ok, "told": "" if ok else told, **found}


def resident(process: int) -> list[float]:
    """Resident memory that is a process's own, without pages of libraries, MiB; [] at its end."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    own = [line for line in lines if line.startswith("RssAnon")]
    return [round(int(line.split()[1]) / 1024, 1) for line in own]
