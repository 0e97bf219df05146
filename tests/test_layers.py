"""What the packages import: the light ones stay light, one module at a time."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIGHTNING = {"pytorch_lightning", "lightning_fabric", "wandb", "torchvision"}
ROOMS = ("laws", "path", "process", "reports", "response", "runs", "transport")
PAGES = ("thermo_pl.cli.compare", "thermo_pl.reports.page", "thermo_pl.runs.reader")


def loaded(*modules: str) -> set[str]:
    """Top-level packages in a fresh interpreter after these imports, and our own modules."""
    code = f"import json, sys, {', '.join(modules)}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    names = json.loads(done.stdout)
    return {name if name.startswith("thermo_pl") else name.split(".")[0] for name in names}


def modules_of(room: str) -> list[str]:
    folder = ROOT / "thermo_pl" / room
    return [f"thermo_pl.{room}.{p.stem}" for p in sorted(folder.glob("*.py")) if p.stem[0] != "_"]


def test_transport_needs_numpy_scipy_and_pot_alone() -> None:
    found = loaded(*modules_of("transport"))
    assert "numpy" in found
    assert not found & (LIGHTNING | {"torch", "matplotlib", "thermo_pl.module"})


@pytest.mark.parametrize("room", ["path", "process", "exact", "networks", "response", "laws"])
def test_what_knows_no_trainer_loads_no_lightning(room: str) -> None:
    ours = modules_of(room)
    found = loaded(*ours)
    assert set(ours) <= found
    assert not found & (LIGHTNING | {"torchmetrics", "matplotlib", "thermo_pl.module"})


@pytest.mark.parametrize("module", PAGES)
def test_reading_runs_needs_no_torch(module: str) -> None:
    assert not loaded(module) & (LIGHTNING | {"torch", "matplotlib"})


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_loads_nothing_until_it_is_asked(room: str) -> None:
    ours = {name for name in loaded(f"thermo_pl.{room}") if name.startswith("thermo_pl.")}
    assert ours == {"thermo_pl.lazy", f"thermo_pl.{room}"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_hands_on_what_it_says(room: str) -> None:
    package = importlib.import_module(f"thermo_pl.{room}")
    modules = {name.rpartition(".")[2] for name in modules_of(room)}
    assert not modules & set(package.__all__)  # a name is a module or what it holds, not both
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


def test_few_modules_lie_in_the_hall() -> None:
    assert len(list((ROOT / "thermo_pl").glob("*.py"))) <= 15
