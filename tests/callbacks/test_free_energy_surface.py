"""The tour of a grid, and the surface measured on it against one that is known exactly."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

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
from thermo_pl.exact.alphabet import Alphabet
from thermo_pl.exact.alphabet import Equilibrium as Exact
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks import (
    CategoricalEncoder,
    CategoricalMarginal,
    TableClassifier,
    TableDecoder,
)
from thermo_pl.process.data import Route
from thermo_pl.process.rule import Equilibrium, Point
from thermo_pl.process.surface import Nodes, SurfaceCourse, SurfaceRule, promised
from thermo_pl.response.linear import ResponseSettings
from thermo_pl.response.measurement import measure
from thermo_pl.response.objective import Probe
from thermo_pl.surface.table import node_file, read_table

# --- the walk ---

sizes = st.integers(1, 7)


Terms = Callable[[float, float], dict[str, float]]


def linear(rate: float, distortion: float, loss: float) -> Terms:
    """J of a model that stays as it is, at any λ and γ."""

    def terms(lam: float, gam: float) -> dict[str, float]:
        slopes = dict.fromkeys(("D_lambda", "D_gamma", "C_lambda", "C_gamma"), 0.0)
        energy = rate + lam * distortion + gam * loss
        return {"R": rate, "D": distortion, "C": loss, "J": energy, **slopes}

    return terms


ONE = linear(1.0, 2.0, 0.5)


def walked(
    rule: SurfaceRule,
    branches: list[Terms],
    settle: Callable[[int, float], int] = lambda branch, lam: branch,
) -> tuple[SurfaceCourse, list[dict[str, Any]], list[tuple[int, int, bool]]]:
    """Walk without networks: θ is the number of a branch, which relaxation may leave.

    Returns:
        The course at the end, the rows, and of each step from where, to where and whether θ went
        along.
    """
    lam, gam = rule.nodes.places[0]
    branch, rows, course, moves = 0, [], None, []
    while True:
        branch = settle(branch, lam)
        row = {"step": len(rows), "lambda": lam, "gamma": gam, **branches[branch](lam, gam)}
        rows.append(row)
        theta, point = torch.tensor([float(branch)]), Point(lam, gam, row["D"], row["C"], None)
        here = Equilibrium(point, 0, 0.0, Route(1, False, True), None, theta, rows)
        course = rule.begin(here) if course is None else course
        proposal = rule.propose(course, here)
        if proposal is None:
            return rule.noted(course, here), rows, moves
        start, course = course.node, proposal.course
        branch = branch if proposal.theta is None else int(proposal.theta)
        moves.append((start, course.node, proposal.theta is None))
        lam, gam = lam + proposal.motion.lam, gam + proposal.motion.gam
        assert (lam, gam) == pytest.approx(rule.nodes.places[course.node], rel=1e-12)


@given(sizes, sizes, st.booleans(), st.booleans())
def test_each_node_is_visited_along_both_axes_by_single_steps(
    columns: int, rows: int, lam_falls: bool, gam_falls: bool
) -> None:
    lam = [0.5 + i**1.5 for i in range(columns)][:: -1 if lam_falls else 1]
    gam = [2.0 * 1.7**i for i in range(rows)][:: -1 if gam_falls else 1]
    rule = SurfaceRule(Nodes.grid(lam, gam))
    course, found, moves = walked(rule, [ONE])
    count = columns * rows
    assert set(rule.nodes.places) == set(product(lam, gam))
    assert len(found) == 2 * count - 1
    assert set(course.visits[:count]) == set(course.visits[count - 1 :]) == set(range(count))
    for start, end, walks in moves:
        assert walks
        assert end in rule.nodes.around(start)


def test_a_list_is_walked_there_and_back() -> None:
    rule = SurfaceRule(Nodes.along([[1.0, 1.0], [2.0, 3.0], [0.5, 4.0]]))
    assert walked(rule, [ONE])[0].visits == (0, 1, 2, 1, 0)
    once = SurfaceRule(rule.nodes, passes=1)
    assert walked(once, [ONE])[0].visits == (0, 1, 2)


@pytest.mark.parametrize(("passes", "revisits"), [(1, 0.0), (1, 1.0), (2, 0.0)])
def test_of_two_branches_the_lower_one_is_kept(passes: int, revisits: float) -> None:
    # they cross at λ = 1; rising, the first one is left at λ = 4 only
    branches = [linear(0.0, 3.0, 1.0), linear(1.0, 2.0, 1.0)]

    def settle(branch: int, lam: float) -> int:
        return 1 if lam > 4 else branch

    rule = SurfaceRule(Nodes.grid([0.3, 0.5, 2.0, 3.0, 5.0], [1.0]), passes, revisits=revisits)
    course, rows, _ = walked(rule, branches, settle)
    found = [rows[best]["J"] for best in course.best]
    lowest = [min(branch(lam, gam)["J"] for branch in branches) for lam, gam in rule.nodes.places]
    late = [0, 0, 1, 2, 0]  # what one way alone pays: it is late at 2 and 3
    assert found == pytest.approx([
        low + extra * (passes == 1 and not revisits)
        for low, extra in zip(lowest, late, strict=True)
    ])
    assert len(rows) == {(1, 0.0): 5, (1, 1.0): 7, (2, 0.0): 9}[passes, revisits]


def test_a_map_ends_at_its_contours() -> None:
    # R = λ: a node beyond the contour is measured, and no other one is reached through it
    def terms(lam: float, gam: float) -> dict[str, float]:
        return linear(lam, 2.0 - lam, 0.5)(lam, gam)

    nodes = Nodes.grid([0.1, 0.2, 0.3, 0.4, 0.5], [1.0, 2.0, 3.0])
    course, _, moves = walked(SurfaceRule(nodes, within={"R": (0.0, 0.25)}), [terms])
    assert sorted(set(course.visits)) == [0, 1, 2, 5, 6, 7, 10, 11, 12]
    assert {start for start, _, walks in moves if walks} <= {0, 1, 5, 6, 10, 11}


def test_what_a_node_promises_is_the_expansion_of_f() -> None:
    # F = -(λ² + λγ + γ²)/2 + 3λ + 2γ: exact to second order
    def row(lam: float, gam: float) -> dict[str, float]:
        d, c = 3 - lam - gam / 2, 2 - gam - lam / 2
        f = 3 * lam + 2 * gam - (lam**2 + lam * gam + gam**2) / 2
        names = ("lambda", "gamma", "J", "D", "C", "D_lambda", "D_gamma", "C_lambda", "C_gamma")
        return dict(zip(names, (lam, gam, f, d, c, -1, -0.5, -0.5, -1), strict=True))

    assert promised(row(0.4, 0.7), 0.9, 0.5) == pytest.approx(row(0.9, 0.5)["J"], rel=1e-14)
    bare = row(0.4, 0.7) | dict.fromkeys(("D_lambda", "D_gamma", "C_lambda", "C_gamma"), math.nan)
    assert promised(bare, 0.9, 0.5) == pytest.approx(bare["J"] + 0.5 * bare["D"] - 0.2 * bare["C"])


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"lam": []}, "lam: got []; allowed: one or more numbers ≥ 0 that all rise or all fall"),
    ({"lam": [1.0, 2.0, 1.5]}, "lam: got [1.0, 2.0, 1.5]; allowed: one or more numbers ≥ 0"),
    ({"lam": [1.0, 1.0]}, "lam: got [1.0, 1.0]; allowed"),
    ({"gam": [5.0, -1.0]}, "gam: got [5.0, -1.0]; allowed"),
    ({"gam": [5.0, math.inf]}, "gam: got [5.0, inf]; allowed"),
    ({"gam": [math.nan]}, "gam: got [nan]; allowed"),
    ({"gam": None}, "lam, gam: got ([1.0, 2.0], None); allowed: values of λ and of γ, or nodes"),
    ({"nodes": [[1.0, 2.0]]}, "lam: got [1.0, 2.0]; allowed: null with nodes, which say all"),
    ({"lam": None, "gam": None, "nodes": [[1.0]]}, "nodes: got [[1.0]]; allowed: one or more diff"),
    ({"within": {"J": [0.0, 1.0]}}, "within: got 'J: [0.0, 1.0]'; allowed: R, D or C, each with"),
    ({"within": {"C": [1.0]}}, "within.C: got [1.0]; allowed: its lowest and its highest value"),
    ({"passes": 3}, "passes: got 3; allowed: 1, or 2 to come from two sides"),
    ({"gain": 0.0}, "gain: got 0.0; allowed: a number > 0, in nats"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_nodes_that_are_none_are_refused(changes: dict[str, Any], message: str) -> None:
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


def exact_surface() -> Callable[[float, float], Exact]:
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


def codes_run(
    directory: Path, *callbacks: Any, responses: bool = True, nodes: Any = None, **settings: Any
) -> Run:
    process: Any = FreeEnergySurface(
        LAM if nodes is None else None,
        GAM if nodes is None else None,
        Equilibration(stationarity=1e-13, max_epochs=20, check_every=1),
        response=ResponseSettings(1e-8, "hessian", 1e-8, 500),
        nodes=nodes,
        passes=2 if responses else 1,
        responses=responses,
    )
    data: Any = FiniteAlphabet(P_X, P_Y_GIVEN_X, train_batches=1)
    arguments: dict[str, Any] = {"model": codes_model(), "precision": "64-true"} | settings
    return fit(directory, data, *callbacks, process=process, **arguments)


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return codes_run(tmp_path_factory.mktemp("codes"), LawMonitor())


VISITED = [(x, GAM[0]) for x in LAM] + [(x, GAM[1]) for x in LAM[::-1]]
VISITED += [(x, GAM[2]) for x in LAM]
VISITED += [(LAM[2], GAM[1]), (LAM[2], GAM[0])]
VISITED += [(LAM[1], x) for x in GAM] + [(LAM[0], x) for x in GAM[::-1]]


def test_the_path_goes_along_lam_and_then_along_gam(codes: Run) -> None:
    rows = codes.rows
    assert len(rows) == len(VISITED) == 17
    for row, node in zip(rows, VISITED, strict=True):
        assert (row["lambda"], row["gamma"]) == pytest.approx(node, rel=1e-14)
        assert row["t"] == row["leg"] == 0
    assert [row["stroke"] for row in rows] == ["equilibration"] + 16 * ["surface"]
    assert [stroke["status"] for stroke in codes.strokes] == ["done", "done"]
    assert codes.process.macro_steps == 16


def test_the_table_has_the_exact_surface_and_the_models_are_those_of_the_nodes(codes: Run) -> None:
    exact, rows = exact_surface(), read_table(codes.directory)
    assert [(row["lambda"], row["gamma"]) for row in rows] == [(a, b) for b in GAM for a in LAM]
    data: Any = codes.trainer.datamodule  # type: ignore[attr-defined]
    for row in rows:
        state = exact(row["lambda"], row["gamma"])
        found = [row[name] for name in "FRDC"]
        assert found == pytest.approx(
            [float(x) for x in (state.F, state.R, state.D, state.C)], abs=1e-6
        )
        assert row["visits"] == (1 if row["node"] == 8 else 2)
        assert 0 <= row["hysteresis"] < 1e-9
        model = codes_model().double()
        weights = load_file(codes.directory / node_file(row["node"]))
        model.load_state_dict(weights)
        particles = data.coupling("train").all()
        probe = Probe(particles, model.noise(1, len(particles.weight)))
        again = measure(model, probe, 0.0, 1)
        assert again.free_energy.value == pytest.approx(row["F"], abs=1e-12)


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
        "first law, median step": 16,
        "first law, sum": 16,
        "work at fixed data, worst step": 16,
        "second law, worst step": 16,
        "second law, total dissipation": 16,
        "second law, -H + J + log Z": 1,
        "closed loop, bookkeeping": 8,
        "closed loop, work": 8,
        "envelope, D = ∂F/∂λ": 8,
        "envelope, C = ∂F/∂γ": 8,
        "Maxwell, measured": 4,
        "Maxwell, response": 17,
        "concavity, D_λ ≤ 0": 17,
        "concavity, C_γ ≤ 0": 17,
        "concavity, worst pair": 128,  # 17·16/2 pairs, 8 of which are of one place
    }
    assert laws["second law, total dissipation"]["value"] > 0
    assert all(check["error"] == 0 for check in laws.values())


def test_without_responses_relaxation_alone_finds_the_surface(tmp_path: Path) -> None:
    exact = exact_surface()
    run = codes_run(tmp_path, responses=False)
    rows = read_table(run.directory)
    assert len(rows) == len(run.rows) == 9
    for row in rows:
        state = exact(row["lambda"], row["gamma"])
        assert row["F"] == pytest.approx(float(state.F), abs=1e-6)
        assert math.isnan(row["D_lambda"])
        assert math.isnan(row["stationarity"])


def test_the_table_has_the_nodes_as_they_were_given(tmp_path: Path) -> None:
    # lines of nodes are found by values that are equal, and 1.5 + (0.3 - 1.5) is not 0.3
    run = codes_run(tmp_path, responses=False, nodes=[[LAM[0], GAM[0]], [0.3, GAM[0]]])
    assert abs(run.rows[1]["lambda"] - 0.3) > 0
    assert [row["lambda"] for row in read_table(run.directory)] == [LAM[0], 0.3]


def test_a_map_that_is_cut_goes_on_where_it_was(tmp_path: Path, codes: Run) -> None:
    cut = codes_run(tmp_path / "cut", last_checkpoint(tmp_path), max_epochs=6)
    assert 1 < len(cut.rows) < 17
    resumed = codes_run(tmp_path / "resumed", ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
    paths = [[row | {"val_C": None} for row in run.rows] for run in (resumed, codes)]
    assert same_path(*paths) == []  # val_C is accumulated in float32


def test_a_map_of_digits_at_fixed_data(tmp_path: Path, cache: Path) -> None:
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
    walk = [(1.0, 5.0), (1.2, 5.0), (1.2, 6.0), (1.0, 6.0), (1.0, 5.0), (1.2, 5.0), (1.2, 6.0)]
    assert nodes[:7] == walk
    assert len(nodes) <= 11  # no node is visited again more than once, on average
    laws = {check["law"]: check for check in json_of(tmp_path / "laws.json")}
    assert laws["closed loop, bookkeeping"]["verdict"] == "holds"
    assert laws["work at fixed data, worst step"]["verdict"] == "holds"
