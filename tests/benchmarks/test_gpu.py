"""benchmarks/gpu.py goes through all its steps where there is no GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_the_dry_form_runs_every_part_and_finds_the_processor_equal_to_itself(
    tmp_path: Path,
) -> None:
    out = tmp_path / "dry.json"
    command = [sys.executable, str(FILE), "--dry", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert [found[part]["apart"] for part in ("iso_digits", "resume")] == [0, 0]
    assert found["products"]["product, relative to float64"] < 1e-5
    assert found["bf16"]["ok"]
