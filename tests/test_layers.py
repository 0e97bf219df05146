"""What the packages import: arrows go one way, and the light ones stay light."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIGHTNING = {"pytorch_lightning", "lightning_fabric", "wandb", "torchvision"}
ROOMS = ("laws", "path", "process", "reports", "response", "runs", "surface", "transport")
LIGHT = ("cli.compare", "cli.report", "runs.page", "runs.report", "runs.reader")
LIGHT += ("estimate", "text", "path.segments")

ARROWS = {
    "callbacks": {"datamodules", "module", "runs", "reports", "process", "response", "laws"}
    | {"path", "networks", "surface"},
    "datamodules": {"transport", "exact", "process", "networks"},
    "runs": {"reports", "path", "configs", "module", "surface", "process", "response"}
    | {"networks"},
    "reports": {"process", "laws", "path", "surface"},
    "process": {"response", "laws", "path", "networks"},
    "response": {"networks"},
    "laws": {"path", "exact", "networks"},
    "surface": {"path"},
    "module": {"networks"},
    "networks": set(),
    "exact": set(),
    "configs": set(),
    "path": set(),
    "transport": set(),
}
"""What each room may import, beside the modules in the hall, which import no room; cli all."""


def imports() -> Iterator[tuple[str, str, str]]:
    """File, room and imported room of every import statement, also those for type checkers."""
    hall = ROOT / "thermo_pl"
    # the folders behind symbolic links are only found by name
    folders = [folder for folder in hall.iterdir() if folder.is_dir()]
    files = [*hall.glob("*.py"), *(file for folder in folders for file in folder.glob("**/*.py"))]
    for file in files:
        room = file.relative_to(hall).with_suffix("").parts[0]
        for node in ast.walk(ast.parse(file.read_text())):
            for name in imported(node):
                if name not in {room, "__version__"} and room not in {"__init__", "__main__"}:
                    yield str(file.relative_to(hall)), room, name


def imported(node: ast.AST) -> list[str]:
    """Rooms and modules in the hall that a statement imports."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "a relative import"
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return []
    return [name.split(".")[1] for name in names if name.startswith("thermo_pl.")]


def test_arrows_between_packages_go_one_way() -> None:
    hall = {path.stem for path in (ROOT / "thermo_pl").glob("*.py")} - {"module"}
    wrong = {
        f"{file} imports {name}"
        for file, room, name in imports()
        if room != "cli" and name not in ARROWS.get(room, set()) | hall
    }
    assert not wrong


def test_there_are_no_circles_between_packages() -> None:
    found: dict[str, set[str]] = {}
    for _, room, name in imports():
        found.setdefault(room, set()).add(name)
    assert len(found) > len(ARROWS)  # all rooms were read
    list(TopologicalSorter(found).static_order())  # raises, and names the circle


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


@pytest.mark.parametrize("module", LIGHT)
def test_reading_runs_needs_no_torch(module: str) -> None:
    assert not loaded(f"thermo_pl.{module}") & (LIGHTNING | {"torch", "matplotlib"})


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
