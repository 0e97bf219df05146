"""What the response that a process solves is worth: the same config with each of them.

    python benchmarks/responses.py
    python benchmarks/responses.py --configs iso_digits transfer_mnist --responses hessian_auto

Runs shipped iso-classifications with a Gauss-Newton matrix and one damping for all parameters, with
that of the relaxation itself (``auto``), and with the exact Hessian and the latter. The miss of the
predictor is what a response is for: |C/C* - 1| before relaxation, in the mean over the macro-steps.
The first-law residual is the median over the steps. Runs that are there are read.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from kept_runs import fitted
from shipped_configs import shipped

from thermo_pl.files import read_csv
from thermo_pl.path.segments import drift

HESSIAN = {"damping": "auto", "curvature": "hessian", "solver": "minres", "max_iterations": 60}
RESPONSES: dict[str, dict[str, Any] | None] = {
    "as_shipped": None,
    "gauss_newton_auto": {"damping": "auto", "max_iterations": 100},
    "hessian_auto": HESSIAN,
    "hessian_auto_4": HESSIAN,
}
"""By name; None leaves the config as it is. The last one takes four draws for each particle."""
DRAWS = {"hessian_auto_4": 4}


def line(root: Path, name: str, response: str, seed: int) -> str:
    """Run a config once with a response, and describe the run."""
    config = shipped(name)
    config["seed_everything"] = seed
    process = config["trainer"]["callbacks"][-1]
    assert process["class_path"] == "IsoClassification"
    arguments = process["init_args"]
    if RESPONSES[response] is not None:
        arguments["response"] = RESPONSES[response]
    if response in DRAWS:
        arguments.setdefault("probes", {})["solving_samples"] = DRAWS[response]
    run = fitted(root / f"{name}_{response}_{seed}", config)
    rows = [row for row in read_csv(run / "path.csv") if row["C_target"]]
    summary = json.loads((run / "summary.json").read_text())
    misses = [row["predictor_miss"] for row in rows if row["predictor_miss"]]
    largest, mean = drift(rows)
    return (
        f"{name:<18}{response:<19}{seed:>4}{sum(misses) / len(misses):>10.2%}{max(misses):>9.2%}"
        f"{largest:>9.2%}{mean:>8.2%}"
        f"{summary['first_law_residual_median']:>10.1%}{summary['gradients']:>11.2e}"
        f"{summary['rejected']:>4}{summary['seconds']:>7.0f}  {summary['ending'][:50]}"
    )


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark_responses"))
    parser.add_argument(
        "--configs", nargs="+", default=["iso_digits", "iso_digits_conv", "transfer_mnist"]
    )
    parser.add_argument("--responses", nargs="+", default=list(RESPONSES), choices=list(RESPONSES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    print(
        f"{'config':<18}{'response':<19}{'seed':>4}{'predictor':>10}{'max':>9}{'drift':>9}"
        f"{'mean':>8}{'1st law':>10}{'gradients':>11}{'rej':>4}{'s':>7}  ending"
    )
    for name in arguments.configs:
        for response in arguments.responses:
            for seed in arguments.seeds:
                print(line(arguments.root, name, response, seed), flush=True)


if __name__ == "__main__":
    main()
