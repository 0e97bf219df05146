"""One script for a GPU: the same short runs on the CPU and on it, products, bf16, resuming.

    python benchmarks/gpu.py --out gpu.json      # under 8 minutes; needs a GPU, MNIST, curvlinops
    python benchmarks/gpu.py --out dry.json --dry   # the same steps, small, both times on the CPU

Results go to a JSON file as they come, so that what was measured is kept if the time runs out.
Noise is drawn by generators of the CPU: both devices see the same numbers, and paths differ by
rounding only. Exit code 1 if something is not as it must be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from process_memory import with_memory
from response import LATENT, SHAPE, curvlinops_matrix, trained

from thermo_pl.cli import main
from thermo_pl.files import read_csv
from thermo_pl.networks import Networks
from thermo_pl.particles import Particles
from thermo_pl.response.curvature import gauss_newton
from thermo_pl.response.linear import ResponseSettings, linear_response
from thermo_pl.response.objective import Objective, Probe

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parent / "lightning_configs"
PATH = 0.02
"""Largest relative difference of λ, γ, R, D, C and J between two devices, over all rows."""
COMPARED = ("lambda", "gamma", "R", "D", "C", "J")
SHORT = {
    "steps": 4,
    "tolerance": ".inf",
    "equilibration": "{stationarity: 1000.0, max_epochs: 8, check_every: 2}",
}


class Job(NamedTuple):
    """What is run.

    Attributes:
        iso: config of the digits.
        transfer: config of MNIST; None for none.
        particles: of the probe on which products are taken.
        steps: of training before.
        repeats: of what is timed.
    """

    iso: Path
    transfer: Path | None
    particles: int
    steps: int
    repeats: int


WHOLE = Job(CONFIGS / "iso_digits.yaml", HERE / "small_configs" / "transfer.yaml", 2048, 200, 20)
DRY = Job(HERE / "small_configs" / "iso.yaml", None, 32, 2, 2)


def fitted(config: Path, folder: Path, device: str, *flags: str) -> dict[str, Any]:
    """A short run: its path, seconds, and peak memory in GiB where it ran."""
    words = ["fit", "--config", str(config), "--trainer.default_root_dir", str(folder)]
    words += ["--trainer.accelerator", "cpu" if device == "cpu" else "gpu", *flags]
    for key, value in SHORT.items():
        words += [f"--trainer.callbacks.{key}", str(value)]
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    code, seconds, peak = with_memory(lambda: main(words))
    if device != "cpu":
        peak = torch.cuda.max_memory_allocated() / 2**30
    run = max(folder.glob("version_*"), key=lambda path: int(path.name[8:]))
    rows = list(read_csv(run / "path.csv"))
    return {"exit": code, "seconds": round(seconds, 1), "peak_gib": round(peak, 3), "rows": rows}


def difference(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> float:
    """Largest relative difference of two paths; infinite if one is longer."""
    if len(one) != len(other) or not one:
        return float("inf")
    pairs = ((a[k], b[k]) for a, b in zip(one, other, strict=True) for k in COMPARED)
    return max(abs(a - b) / abs(a) for a, b in pairs if a)


def side_by_side(config: Path, folder: Path, devices: tuple[str, str]) -> dict[str, Any]:
    """The same run on both devices."""
    one, other = (fitted(config, folder / str(k), d) for k, d in enumerate(devices))
    apart = difference(one.pop("rows"), other.pop("rows"))
    fine = apart <= PATH and one["exit"] == other["exit"] == 0
    return {"ok": fine, "apart": apart, devices[0]: one, f"second, {devices[1]}": other}


def bf16(config: Path, folder: Path, device: str) -> dict[str, Any]:
    """Relaxation in bf16; what is reported are means over the path."""
    found = fitted(config, folder, device, "--trainer.precision", "bf16-mixed")
    rows = found.pop("rows")
    drift = max(abs(row["C_control"] / rows[0]["C_control"] - 1) for row in rows)
    return {"ok": found["exit"] == 0 and len(rows) == SHORT["steps"] + 1, "drift": drift} | found


def resumed(config: Path, folder: Path, device: str) -> dict[str, Any]:
    """A run that is cut off and goes on, against one that is not."""
    whole = fitted(config, folder / "whole", device)
    fitted(config, folder / "cut", device, "--trainer.max_epochs", "4")
    rest = fitted(config, folder / "cut", device, "--ckpt_path", "last")
    apart = difference(whole["rows"], rest["rows"])
    return {"ok": apart <= (0.0 if device == "cpu" else PATH), "apart": apart}


def drawn(n: int, device: str) -> Probe:
    """Random images of MNIST's shape, labels and noise."""
    draw = torch.Generator().manual_seed(1)
    ends = [torch.rand(n, *SHAPE, generator=draw) for _ in range(2)]
    y = torch.eye(10)[torch.arange(n) % 10]
    particles = Particles(*(part.to(device) for part in (*ends, y, y, torch.ones(n))))
    return Probe(particles, torch.randn(1, n, LATENT, generator=draw).to(device))


def seconds_of(job: Callable[[], Any], device: str, repeats: int) -> float:
    """Median of wall times."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        if device != "cpu":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return sorted(taken)[len(taken) // 2]


def products(job: Job, device: str) -> dict[str, Any]:
    """Gauss-Newton product and solve: against the CPU in float64, and against curvlinops."""
    probe = drawn(job.particles, "cpu")
    made: Networks = trained(probe.particles.source, probe.particles.source_label, job.steps)
    rows = torch.randn(
        3, len(Objective(made, probe).theta), generator=torch.Generator().manual_seed(2)
    )
    exact = gauss_newton(Objective(made, probe, torch.float64), 0.0)(rows.double())
    made, probe = made.to(device), drawn(job.particles, device)
    matrix, there = gauss_newton(Objective(made, probe), 0.0), rows.to(device)
    found = matrix(there)
    gap = float((found.cpu() - exact).norm() / exact.norm())
    settings = ResponseSettings(damping=1.0, tolerance=1e-3, max_iterations=300)
    solved = linear_response(Objective(made, probe), 0.0, settings)
    result = {
        "product, relative to float64": gap,
        "solve": str(solved.solution.message),
        "seconds of a product": seconds_of(lambda: matrix(there[:1]), device, job.repeats),
        "ok": gap <= 1e-4 and solved.solution.residual.max().item() <= 1e-3,
    }
    if find_spec("curvlinops") is None:
        return result | {"curvlinops": "not installed"}
    theirs, column = curvlinops_matrix(made, probe, 1024), there[0].contiguous()
    apart = float((theirs @ column - found[0]).norm() / found[0].norm())
    took = seconds_of(lambda: theirs @ column, device, job.repeats)
    told = {"curvlinops, apart": apart, "curvlinops, seconds of a product": took}
    return result | told | {"ok": bool(result["ok"]) and apart <= 1e-4}


def work() -> int:
    """Run all parts, and write down what they find."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--dry", action="store_true", help="small, and on the CPU alone")
    asked = parser.parse_args()
    if not asked.dry and not torch.cuda.is_available():
        parser.error("there is no GPU here; --dry goes through the same steps on the CPU")
    job, device = (DRY, "cpu") if asked.dry else (WHOLE, "cuda")
    card = "none" if asked.dry else torch.cuda.get_device_name()
    results: dict[str, Any] = {"card": card, "torch": torch.__version__}
    results |= {"python": platform.python_version(), "dry": asked.dry}
    out, both = asked.out.resolve(), ("cpu", device)
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):  # plans are kept there, too
        folder = Path(name)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "products": lambda: products(job, device),
            "iso_digits": lambda: side_by_side(job.iso, folder / "iso", both),
            "bf16": lambda: bf16(job.iso, folder / "bf16", device),
            "resume": lambda: resumed(job.iso, folder / "resume", device),
        }
        if job.transfer is not None:
            config = job.transfer
            parts["transfer_mnist"] = lambda: side_by_side(config, folder / "transfer", both)
        for part, run in parts.items():
            start = time.monotonic()
            results[part] = run() | {"took": round(time.monotonic() - start, 1)}
            out.write_text(json.dumps(results, indent=2))
            print(part, json.dumps(results[part]), flush=True)
    return 0 if all(results[part]["ok"] for part in parts) else 1


if __name__ == "__main__":
    sys.exit(work())
