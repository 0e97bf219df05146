"""The tour of a grid, and the surface measured on it against one that is known exactly."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.process_runs import (
    Run,
    fit,
    json_of,
    last_checkpoint,
    make_data,
    make_model,
    same_path,
)
from thermo_pl.callbacks import Equilibration, FreeEnergySurface, LawMonitor, Probes
from thermo_pl.datamodules import FiniteAlphabet
from thermo_pl.errors import ConfigError
from thermo_pl.exact.alphabet import Alphabet, Equilibrium
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks import (
    CategoricalEncoder,
    CategoricalMarginal,
    TableClassifier,
    TableDecoder,
)
from thermo_pl.process.surface import SurfaceRule, closed_tour
from thermo_pl.response.linear import ResponseSettings

# --- the tour ---

sizes = st.integers(1, 7)


@given(sizes, sizes, st.booleans(), st.booleans())
def test_a_tour_visits_all_nodes_by_single_steps_and_returns(
    columns: int, rows: int, lam_falls: bool, gam_falls: bool
) -> None:
    lam = [0.5 + i**1.5 for i in range(columns)][:: -1 if lam_falls else 1]
    gam = [2.0 * 1.7**i for i in range(rows)][:: -1 if gam_falls else 1]
    tour = closed_tour(lam, gam)
    assert tour[0] == tour[-1] == (lam[0], gam[0])
    assert set(tour) == set(product(lam, gam))
    for (a, b), (c, d) in pairwise(tour):
        steps = abs(lam.index(a) - lam.index(c)), abs(gam.index(b) - gam.index(d))
        assert sorted(steps) == [0, 1]
    # no node is passed twice before all have been seen
    first = tour[: columns * rows]
    assert len(set(first)) == columns * rows
    # the way back is as short as it can be
    last = first[-1]
    way = lam.index(last[0]) + gam.index(last[1])
    assert len(tour) == columns * rows + way
    assert SurfaceRule(tuple(lam), tuple(gam)).nodes == tour


REFUSED: list[tuple[dict[str, list[float]], str]] = [
    ({"lam": []}, "lam: got []; allowed: one or more numbers ≥ 0 that all rise or all fall"),
    ({"lam": [1.0, 2.0, 1.5]}, "lam: got [1.0, 2.0, 1.5]; allowed: one or more numbers ≥ 0"),
    ({"lam": [1.0, 1.0]}, "lam: got [1.0, 1.0]; allowed"),
    ({"gam": [5.0, -1.0]}, "gam: got [5.0, -1.0]; allowed"),
    ({"gam": [5.0, math.inf]}, "gam: got [5.0, inf]; allowed"),
    ({"gam": [math.nan]}, "gam: got [nan]; allowed"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_a_grid_that_is_none_is_refused(changes: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        FreeEnergySurface(**({"lam": [1.0, 2.0], "gam": [5.0, 6.0]} | changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (([1.5, 2.0], [5.0, 6.0]), "lam[0]: got 1.5; allowed: 1, where the model starts"),
        (([1.0, 2.0], [6.0, 7.0]), "gam[0]: got 6.0; allowed: 5, where the model starts"),
    ],
)
def test_a_grid_that_begins_elsewhere_is_refused_before_anything_is_trained(
    tmp_path: Path, cache: Path, grid: Any, message: str
) -> None:
    process: Any = FreeEnergySurface(*grid)
    run = fit(tmp_path, make_data(cache, (0, 1)), process=process, fails=True)
    assert isinstance(run.error, ConfigError)
    assert message in str(run.error)
    assert run.trainer.global_step == 0


# --- a surface that is known ---

P_X = [0.3, 0.15, 0.2, 0.1, 0.25]
P_Y_GIVEN_X = [[0.95, 0.05], [0.7, 0.3], [0.4, 0.6], [0.3, 0.7], [0.1, 0.9]]
PIXELS = [
    [0.50, 0.25, 0.10, 0.10, 0.05],
    [0.10, 0.20, 0.45, 0.15, 0.10],
    [0.05, 0.10, 0.10, 0.25, 0.50],
]
LABELS = [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]
# the trapezoidal rule and the central differences of the laws are off by a share of about
# (step/value)²/12 and more: steps of a tenth leave them far below the 5% that are allowed
LAM, GAM = [1.5, 1.6, 1.7], [3.0, 3.3, 3.6]


def tensor(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def exact_surface() -> Callable[[float, float], Equilibrium]:
    tables = map(tensor, (P_X, P_Y_GIVEN_X, PIXELS, LABELS, [0.3, 0.3, 0.4]))
    return Alphabet(*tables, frozenset({"marginal"})).equilibrium


def codes_model() -> FreeEnergyModel:
    torch.manual_seed(0)
    return FreeEnergyModel(
        CategoricalEncoder((1, 1, 5), 3),
        TableClassifier(3, 2, LABELS),
        TableDecoder((1, 1, 5), 3, PIXELS),
        CategoricalMarginal(3),
        lam=LAM[0],
        gam=GAM[0],
        optimizer=partial(
            torch.optim.LBFGS,
            max_iter=300,
            history_size=60,
            tolerance_grad=1e-10,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        ),
    )


def codes_run(directory: Path, *callbacks: Any, **settings: Any) -> Run:
    process: Any = FreeEnergySurface(
        LAM,
        GAM,
        Equilibration(stationarity=1e-13, max_epochs=20, check_every=1),
        response=ResponseSettings(1e-8, "hessian", 1e-8, 500),
    )
    data: Any = FiniteAlphabet(P_X, P_Y_GIVEN_X, train_batches=1)
    arguments: dict[str, Any] = {"model": codes_model(), "precision": "64-true"} | settings
    return fit(directory, data, *callbacks, process=process, **arguments)


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return codes_run(tmp_path_factory.mktemp("codes"), LawMonitor())


def test_the_path_is_the_tour(codes: Run) -> None:
    rows = codes.rows
    tour = closed_tour(LAM, GAM)
    assert len(rows) == len(tour) == 13
    for row, node in zip(rows, tour, strict=True):
        assert (row["lambda"], row["gamma"]) == pytest.approx(node, rel=1e-14)
        assert row["t"] == row["leg"] == 0
    assert [row["stroke"] for row in rows] == ["equilibration"] + 12 * ["surface"]
    assert [stroke["status"] for stroke in codes.strokes] == ["done", "done"]
    assert codes.process.macro_steps == 12


def test_the_surface_is_the_exact_one_at_every_node(codes: Run) -> None:
    exact = exact_surface()
    for row in codes.rows:
        state = exact(row["lambda"], row["gamma"])
        found = [row[name] for name in ("J", "R", "D", "C")]
        expected = [part.item() for part in (state.F, state.R, state.D, state.C)]
        assert found == pytest.approx(expected, rel=0, abs=1e-6), row["step"]
    # there is something to be seen
    for name in ("J", "R", "D", "C"):
        values = [row[name] for row in codes.rows]
        assert max(values) - min(values) > 1e-3


def test_no_law_is_violated_on_the_exact_surface(codes: Run) -> None:
    laws = {check["law"]: check for check in json_of(codes.directory / "laws.json")}
    assert {check["verdict"] for check in laws.values()} == {"holds"}
    counts = {name: check["count"] for name, check in laws.items()}
    assert counts == {
        "first law, median step": 12,
        "first law, sum": 12,
        "work at fixed data, worst step": 12,
        "second law, worst step": 12,
        "second law, total dissipation": 12,
        "second law, -H + J + log Z": 1,
        "closed loop, bookkeeping": 4,
        "closed loop, work": 4,
        "envelope, D = ∂F/∂λ": 8,
        "envelope, C = ∂F/∂γ": 4,
        "Maxwell, measured": 4,
        "Maxwell, response": 13,
        "concavity, D_λ ≤ 0": 13,
        "concavity, C_γ ≤ 0": 13,
        "concavity, worst pair": 74,  # 13·12/2 pairs, 4 of which are of one place
    }
    assert laws["second law, total dissipation"]["value"] > 0
    assert all(check["error"] == 0 for check in laws.values())


def test_a_tour_that_is_cut_goes_on_where_it_was(tmp_path: Path, codes: Run) -> None:
    cut = codes_run(tmp_path / "cut", last_checkpoint(tmp_path), max_epochs=6)
    assert 1 < len(cut.rows) < 13
    resumed = codes_run(tmp_path / "resumed", ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
    paths = [[row | {"val_C": None} for row in run.rows] for run in (resumed, codes)]
    assert same_path(*paths) == []  # val_C is accumulated in float32


def test_a_tour_on_digits_at_fixed_data(tmp_path: Path, cache: Path) -> None:
    process: Any = FreeEnergySurface(
        [1.0, 1.2],
        [5.0, 6.0],
        Equilibration(stationarity=100.0, max_epochs=20, check_every=1),
        Probes(256, 1, True, 512, 2, 512, 2),
        ResponseSettings(damping=0.5),
    )
    # the second domain is never gone to
    data = make_data(cache, (0, 1), (5, 6))
    run = fit(tmp_path, data, LawMonitor(), model=make_model(), process=process)
    assert (data.leg, data.t) == (0, 0.0)
    nodes = [(row["lambda"], row["gamma"]) for row in run.rows]
    assert nodes == [(1.0, 5.0), (1.2, 5.0), (1.2, 6.0), (1.0, 6.0), (1.0, 5.0)]
    laws = {check["law"]: check for check in json_of(tmp_path / "laws.json")}
    assert laws["closed loop, bookkeeping"]["verdict"] == "holds"
    assert laws["work at fixed data, worst step"]["verdict"] == "holds"
