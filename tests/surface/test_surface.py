"""A map of a system that is known exactly, read back, asked, and walked on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import thermo_pl as tp
from thermo_pl.cli import main
from thermo_pl.configs.layers import load
from thermo_pl.errors import ConfigError
from thermo_pl.exact.alphabet import Alphabet
from thermo_pl.files import read_csv
from thermo_pl.response.measurement import measure

CONFIG = Path(__file__).parents[2] / "lightning_configs" / "exact_categorical.yaml"
LAM, GAM = [0.8, 0.92, 1.05, 1.2, 1.35], [1.5, 1.7, 1.95, 2.2, 2.5]


def run_of(directory: Path, process: str, settings: dict[str, Any]) -> Path:
    """The shipped config of a finite system, with another process or fewer steps."""
    config = load(CONFIG)
    callback = config["trainer"]["callbacks"][-1]
    kept = {"equilibration": callback["init_args"]["equilibration"]}
    kept["response"] = callback["init_args"]["response"]
    callback["class_path"], callback["init_args"] = process, kept | settings
    config["data"]["init_args"]["train_batches"] = 1
    config["trainer"] |= {"logger": False, "default_root_dir": str(directory)}
    config["trainer"]["callbacks"] = [callback]
    file = directory / "asked.yaml"
    directory.mkdir()
    file.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(file)]) == 0
    return directory / "version_0"


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surface") / "map"
    return run_of(folder, "FreeEnergySurface", {"lam": LAM, "gam": GAM, "passes": 1})


def exact(lam: float, gam: float) -> Any:
    arguments = load(CONFIG)
    model, data = arguments["model"]["init_args"], arguments["data"]["init_args"]
    tables = [data["p_x"], data["p_y_given_x"], model["decoder"]["init_args"]["table"]]
    tables += [model["classifier"]["init_args"]["table"], [0.3, 0.3, 0.4]]
    held = (torch.tensor(table, dtype=torch.float64) for table in tables)
    return Alphabet(*held, frozenset({"marginal"})).equilibrium(lam, gam)


def test_what_is_asked_of_a_map_is_the_exact_surface(mapped: Path) -> None:
    surface = tp.Surface.load(mapped)
    assert len(surface.nodes) == len(LAM) * len(GAM)
    for lam, gam in ((0.85, 1.6), (1.1, 2.35), (1.3, 1.55)):
        found, state = surface(lam, gam), exact(lam, gam)
        for name in "FRDC":
            assert found.value(name) == pytest.approx(float(getattr(state, name)), abs=1e-3)
        again = surface.at(R=found.R, C=found.C)
        assert (again.lam, again.gam) == pytest.approx((lam, gam), rel=1e-3)


def test_a_model_between_the_nodes_is_the_equilibrium_there(mapped: Path) -> None:
    surface = tp.Surface.load(mapped)
    model, gradients = surface.model_at(1.12, 2.07, steps=1)
    assert (float(model.lam), float(model.gam)) == (1.12, 2.07)
    system, batch_size = surface.system(model)
    assert batch_size is None
    particles = system.data.coupling("train").all()
    probe = tp.Probe(particles, model.noise(1, len(particles.weight)))
    state = exact(1.12, 2.07)
    assert measure(model, probe, 0.0, 1).free_energy.value == pytest.approx(
        float(state.F), abs=1e-8
    )
    # where θ between the nodes has R and C of the surface, nothing is trained
    shared, few = surface.model_at(1.12, 2.07)
    assert 0 < few < gradients
    found = measure(shared, probe, 0.0, 1)
    for terms, name in ((found.rate, "R"), (found.classification, "C")):
        assert terms.value == pytest.approx(float(getattr(state, name)), rel=0.01)


def test_a_contour_of_c_is_the_course_of_an_iso_classification(mapped: Path) -> None:
    surface = tp.Surface.load(mapped)
    target = surface(0.8, 2.0).C
    settings = {"k": 0.3, "steps": 4, "c_target": target}
    run = run_of(mapped.parent.parent / "iso", "IsoClassification", settings)
    rows: list[dict[str, Any]] = list(read_csv(run / "path.csv"))
    held = [row for row in rows if surface.fit.inside([row["lambda"], row["gamma"]])]
    held = [row for row in held if row["stroke"] == "iso_classification"]
    assert len(held) >= 3
    (line,) = surface.contour(C=target)
    order = line[:, 0].argsort()
    for row in held:
        predicted = np.interp(row["lambda"], line[order, 0], line[order, 1])
        assert predicted == pytest.approx(row["gamma"], rel=5e-3)


def test_what_is_no_map_is_refused(tmp_path: Path, mapped: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape("with a surface.csv")):
        tp.Surface.load(tmp_path)
    surface = tp.Surface.load(mapped)
    told = "lam, gam: got (3.0, 2.0); allowed: λ from 0.8 to 1.35 and γ from 1.5 to 2.5"
    with pytest.raises(ConfigError, match=re.escape(told)):
        surface.model_at(3.0, 2.0)
    bare = tp.Surface(surface.nodes)
    with pytest.raises(ConfigError, match="got nodes without a run; allowed: Surface"):
        bare.node(0)
