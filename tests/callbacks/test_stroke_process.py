"""Processes of strokes: adiabats and cycles, run by the ordinary fit, against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from scipy.optimize import brentq

from support.carnot_system import CHANGES, COVARIANCES, GAM, LABELS, LAM, LEGS, NOISE, course
from support.exact_runs import make_linear_model
from support.process_runs import (
    Run,
    fit,
    json_of,
    last_checkpoint,
    make_model,
    same_model,
    same_path,
)
from thermo_pl.callbacks import (
    Adiabatic,
    CarnotCycle,
    Cycle,
    Equilibration,
    Probes,
    StrokeProcess,
)
from thermo_pl.cli import main
from thermo_pl.configs.layers import load
from thermo_pl.datamodules import GaussianDomains
from thermo_pl.errors import ConfigError
from thermo_pl.exact.alphabet import Alphabet
from thermo_pl.files import read_csv
from thermo_pl.process.cycle_rule import CycleOpen
from thermo_pl.process.data import Route
from thermo_pl.process.strokes import Stroke
from thermo_pl.response.linear import ResponseSettings

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*' does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
]

Data = Callable[..., Any]
Rows = list[dict[str, Any]]
CONFIGS = Path(__file__).parents[2] / "lightning_configs"
LOOP = (0, 1), (5, 6), (0, 1)
EXACT: dict[str, Any] = {
    "correct_above": 1e-12,
    "parts": 3,
    "equilibration": Equilibration(1e-11, max_epochs=40, check_every=1),
    "response": ResponseSettings(1e-8, "hessian", 1e-8, 500),
}
# two epochs are no equilibrium: whether C is held then is a matter of luck
ROUGH: dict[str, Any] = {
    "tolerance": math.inf,
    "equilibration": Equilibration(stationarity=100.0, max_epochs=20, check_every=1),
    "probes": Probes(256, 1, True, 512, 2, 512, 2),
    "response": ResponseSettings(damping=0.5),
}


def gaussians(first: int = 0, last: int = 4) -> GaussianDomains:
    """Domains of the exact cycle."""
    return GaussianDomains(COVARIANCES[first : last + 1], LABELS, NOISE, train_batches=3)


def run_config(config: dict[str, Any], folder: Path) -> Path:
    """Run a config on the command line; where it wrote."""
    config["trainer"]["default_root_dir"] = str(folder / "runs")
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(path)]) == 0
    return folder / "runs" / "version_0"


def there_and_back() -> list[Stroke]:
    """Data from 0, 1 to 5, 6 and back; λ returns by its change, γ is free."""
    return [
        Stroke("there", 2, lam=0.2, C=0.0),
        Stroke("wait", 1, lam=0.1, gam=0.0, moves=False),
        Stroke("back", 2, lam="return", C=0.0, clock=0.5),
    ]


# --- refusals ---


def refused(process: StrokeProcess, data: Any, **model: Any) -> str:
    """What is said before anything is trained."""
    with pytest.raises(ConfigError) as caught:
        check(process, data, **model)
    return str(caught.value)


def check(process: StrokeProcess, data: Any, **model: Any) -> None:
    """What is asked before anything is trained."""
    process.rule.check(make_model(**model), Route.of(data))


def test_an_adiabat_on_data_that_do_not_move_is_refused(data: Data, tmp_path: Path) -> None:
    message = refused(Adiabatic(k=1.0), data((0, 1)))
    assert message.startswith("stroke adiabat: got 'an adiabat on data that do not move'; ")
    assert "give two waypoints or more" in message
    still = Stroke("still", gam=0.0, S=0.0)
    assert "an adiabat on data that do not move" in refused(StrokeProcess([still]), data((0, 1)))
    message = refused(Adiabatic(k=1.0), gaussians(0, 0))
    assert message.startswith("stroke adiabat: got 'an adiabat on data that do not move'; ")
    # and by the fit, before the first epoch
    run = fit(tmp_path, data((0, 1)), process=Adiabatic(k=1.0), fails=True)  # type: ignore[arg-type]
    assert isinstance(run.error, ConfigError)
    assert run.error.exit_code == 2
    assert not run.process.state.checks


def test_a_stroke_of_gamma_and_s_that_drives_one_of_them_needs_no_moving_data(data: Data) -> None:
    driven = Stroke("driven", gam=0.0, S=0.1, moves=False)
    check(StrokeProcess([driven]), data((0, 1)))


@pytest.mark.parametrize("missing", ["decoder", "classifier"])
def test_a_model_without_decoder_or_classifier_is_refused(data: Data, missing: str) -> None:
    weight = {"decoder": "lam", "classifier": "gam"}[missing]
    message = refused(Adiabatic(k=1.0), data(), **{missing: None, weight: 0.0})
    assert message.startswith("model: got 'a model without one of them'; allowed: a Classifier and")


@pytest.mark.parametrize("name", ["lam", "gam"])
def test_a_control_of_zero_is_refused(data: Data, name: str) -> None:
    message = refused(Adiabatic(k=1.0), data(), **{name: 0.0})
    assert message.startswith(f"{name}: got 0")


@pytest.mark.parametrize("moving", [1, 3])
def test_moving_strokes_must_be_as_many_as_legs(data: Data, moving: int) -> None:
    strokes = [Stroke(f"s{i}", lam=0.1, gam=0.0) for i in range(moving)]
    strokes.append(Stroke("wait", lam=0.1, gam=0.0, moves=False))
    message = refused(StrokeProcess(strokes), data(*LOOP))
    assert message == (
        f"strokes: got '{moving} that move the data'; allowed: 2, one for each leg of the data"
    )


def test_strokes_that_do_not_move_the_data_fit_any_path(data: Data) -> None:
    strokes = [Stroke("a", lam=0.1, gam=0.0, moves=False)]
    check(StrokeProcess(strokes), data(*LOOP))
    check(StrokeProcess(strokes), data((0, 1)))


def test_a_cycle_of_an_open_path_is_refused(data: Data) -> None:
    strokes = there_and_back()
    check(Cycle(strokes), data(*LOOP))
    message = refused(Cycle(strokes), data((0, 1), (5, 6), (2, 3)))
    assert message.startswith("data: got 'a path whose last domain is not its first'")
    with pytest.raises(ConfigError, match="a path whose last domain is not its first"):
        check(Cycle(strokes), gaussians(0, 2))
    check(CarnotCycle(0.5, -0.5), gaussians())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strokes": []}, r"strokes: got \[\]"),
        ({"strokes": [Stroke("a", lam=1, gam=0)] * 2}, r"strokes: .*; allowed: names that differ"),
        ({"tolerance": 0.0}, r"tolerance: got 0"),
        ({"parts": 0}, r"parts: got 0"),
        ({"closure": (0.0, 0.1)}, r"closure: got \[0\.0, 0\.1\]"),
        ({"passes": (0, 3)}, r"passes: got \[0, 3\]"),
        ({"passes": (4, 3)}, r"passes: got \[4, 3\]"),
        ({"strokes": [Stroke("a", lam=1, gam=0, adjust="lam")]}, r"strokes with adjust: got \['a'"),
    ],
    ids=str,
)
def test_a_cycle_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Cycle(**({"strokes": there_and_back()} | arguments))


def test_a_clock_and_a_closing_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"adiabat\.clock: got -1"):
        Adiabatic(k=-1.0)
    with pytest.raises(ConfigError, match="closing: got 'two_passes'; allowed: shooting, one_pass"):
        CarnotCycle(0.5, -0.5, closing="two_passes")  # type: ignore[arg-type]


# --- the adiabat ---


@pytest.fixture(scope="module")
def adiabat(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """From the second to the third domain of the exact cycle, k = 0.7."""
    (lam, *_), (gam, *_), _ = course(*CHANGES)[1]
    torch.manual_seed(0)
    return fit(
        tmp_path_factory.mktemp("adiabat"),
        gaussians(1, 2),  # type: ignore[arg-type]
        model=make_linear_model(LEGS[1], lam, gam),
        process=Adiabatic(0.7, 4, **EXACT),  # type: ignore[arg-type]
        precision="64-true",
    )


@pytest.mark.slow
def test_an_adiabat_follows_the_exact_one(adiabat: Run) -> None:
    rows = adiabat.rows
    assert [row["t"] for row in rows] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert len({row["gamma"] for row in rows}) == 1  # to the last bit
    start = rows[0]["lambda"], rows[0]["gamma"]
    exact = LEGS[1].adiabat(*start, [row["t"] for row in rows]).tolist()
    assert [row["lambda"] for row in rows] == pytest.approx(exact, rel=0, abs=1e-6)
    assert exact[-1] > 1.5 * exact[0]  # λ had to move
    for row in rows:
        state = LEGS[1].state(row["lambda"], row["gamma"], row["t"])
        assert [row[name] for name in "RDC"] == pytest.approx(state[:3], rel=0, abs=1e-6)


@pytest.mark.slow
def test_an_adiabat_exchanges_nothing(adiabat: Run) -> None:
    rows, stroke = adiabat.rows, adiabat.strokes[-1]
    heats = [row["lambda"] * row["D"] + row["gamma"] * row["C"] for row in rows]
    assert max(abs(heat - heats[0]) for heat in heats) <= 1e-8
    assert abs(stroke["S"]) <= 1e-8
    assert stroke["heat"] == 0
    assert stroke["dR"] == pytest.approx(stroke["dF"], abs=1e-8)
    assert abs(stroke["dF"]) > 0.1
    # what is not exchanged is done as work; the quadrature is rough in four steps
    work = stroke["work_control"] + stroke["work_domain"]
    assert -work == pytest.approx(stroke["dF"], abs=1e-3)


@pytest.mark.slow
def test_the_clock_of_an_adiabat_is_that_of_lambda(adiabat: Run) -> None:
    rows = adiabat.rows
    assert rows[0]["time"] == 0
    for before, after in pairwise(rows):
        passed = abs(after["lambda"] - before["lambda"]) / 0.7
        assert after["time"] - before["time"] == pytest.approx(passed, rel=1e-12)
    assert [row["phase"] for row in rows] == [row["t"] for row in rows]


# --- the Carnot cycle ---


DRIVEN: dict[str, Any] = {"protocol": "shortcut"}
STEPS = 6
"""Of each stroke of the exact cycle; where it closes does not depend on them."""


class Cycled(NamedTuple):
    """What the shipped config of the exact cycle left behind, in six steps a stroke."""

    rows: Rows
    strokes: list[dict[str, Any]]
    ledger: dict[str, Any]


@pytest.fixture(scope="module")
def carnot(tmp_path_factory: pytest.TempPathFactory) -> Cycled:
    config = load(CONFIGS / "carnot_exact.yaml")
    assert config["data"]["init_args"]["covariances"] == COVARIANCES
    assert config["data"]["init_args"]["label_map"] == LABELS
    assert config["data"]["init_args"]["label_noise"] == NOISE
    config["trainer"]["callbacks"][-1]["init_args"]["steps"] = STEPS
    directory = run_config(config, tmp_path_factory.mktemp("carnot"))
    names = "strokes.json", "cycle.json"
    return Cycled(read_csv(directory / "path.csv"), *(json_of(directory / name) for name in names))


@pytest.mark.slow
def test_a_carnot_cycle_closes_with_the_exact_changes(carnot: Cycled) -> None:
    found = carnot.ledger
    assert found["cycle"] <= 5  # passes before the last one
    assert abs(found["closure"]["lambda"]) <= 1e-8
    assert abs(found["closure"]["gamma"]) <= 1e-8
    assert found["closure"]["theta"] < 1e-6
    changes = found["changes"]["hot"], found["changes"]["cold"]
    assert changes == pytest.approx(CHANGES, rel=0, abs=1e-7)
    for stroke in carnot.strokes:
        if stroke["stroke"] in {"cooling", "heating"}:
            assert abs(stroke["S"]) <= 1e-8
            assert stroke["gamma"][0] == stroke["gamma"][1]


@pytest.mark.slow
def test_a_carnot_cycle_has_carnots_efficiency(carnot: Cycled) -> None:
    found = carnot.ledger
    (lam, *_), (gam, *_), _ = course(*CHANGES)[2]
    hot, cold = LEGS[0].state(LAM, GAM).C, LEGS[2].state(lam, gam).C
    assert (found["C_hot"], found["C_cold"]) == pytest.approx((hot, cold), abs=1e-6)
    assert found["efficiency"] == pytest.approx(1 - cold / hot, abs=1e-6)
    assert abs(found["efficiency"] - found["carnot_efficiency"]) <= 1e-6
    assert found["work"] == pytest.approx((hot - cold) * (gam - GAM), abs=1e-6)
    # by quadrature, of fourth order in the step
    assert found["work_control"] + found["work_domain"] == pytest.approx(found["work"], abs=1e-4)
    # at finite speed: a shortcut of two drives; a sudden cycle of six steps delivers 0.07
    assert 0.39 < found["finite_efficiency"] < found["efficiency"]
    assert [check["verdict"] for check in found["checks"]] == ["holds"] * 3


@pytest.mark.slow
def test_a_carnot_cycle_settles_on_each_leg(carnot: Cycled) -> None:
    rows = carnot.rows
    for before, after in pairwise(rows):
        if before["leg"] == after["leg"] and before["cycle"] == after["cycle"]:
            continue
        if before["cycle"] == after["cycle"]:  # the same domain: nothing moves
            assert (before["t"], after["t"]) == (1.0, 0.0)
            for name in ("lambda", "gamma", "time", "phase"):
                assert before[name] == after[name], (name, after["step"])
            assert after["work"] == 0
            assert [before[x] for x in "RDC"] == pytest.approx([after[x] for x in "RDC"], abs=1e-5)
        else:  # set back to where the cycle began
            place = [after[name] for name in ("leg", "t", "phase", "time")]
            assert place == [0, 0.0, 0.0, 0.0]
            assert (after["lambda"], after["gamma"]) == pytest.approx((LAM, GAM), rel=1e-12)
        assert after["corrections"] == 0
        assert not np.isfinite(after["C_target"] or math.nan) or after["stroke"] == "closure"
    passes = [[row["stroke"] for row in rows if row["cycle"] == c] for c in range(2)]
    names = ("hot", "cooling", "cold", "heating")
    assert passes[1] == [name for name in names for _ in range(STEPS + 1)]
    assert passes[0] == ["equilibration", *passes[1][1:]]
    assert (rows[-1]["stroke"], rows[-1]["leg"], rows[-1]["t"]) == ("closure", 0, 0.0)
    assert [s["status"] for s in carnot.strokes] == ["done"] * len(carnot.strokes)


def test_a_cycle_spreads_its_steps_by_the_order_of_its_protocol() -> None:
    for settings, order in (({}, 1), (DRIVEN, 3), (DRIVEN | {"drives": 2}, 5)):
        rule: Any = CarnotCycle(0.9, -1.0, [3, 4, 5, 6], spread=True, **settings).rule
        assert rule.spread == order
        assert [stroke.steps for stroke in rule.strokes] == [3, 4, 5, 6]
    assert CarnotCycle(0.9, -1.0).rule.spread == 0
    with pytest.raises(ConfigError, match=r"steps: got \[3, 4\]; allowed: a whole number, or four"):
        CarnotCycle(0.9, -1.0, [3, 4])


@pytest.mark.slow
def test_in_one_pass_the_s_of_the_last_stroke_is_the_closure_defect(tmp_path: Path) -> None:
    torch.manual_seed(0)
    run = fit(
        tmp_path,
        gaussians(),  # type: ignore[arg-type]
        model=make_linear_model(LEGS[0], LAM, GAM),
        process=CarnotCycle(0.9, 0.0, 6, closing="one_pass", **EXACT),  # type: ignore[arg-type]
        precision="64-true",
    )
    assert {row["cycle"] for row in run.rows} == {0}
    found = json_of(tmp_path / "cycle.json")
    assert abs(found["closure"]["lambda"]) < 1e-12
    assert abs(found["closure"]["gamma"]) < 1e-12
    assert found["changes"] == {}
    # where γ is back at C_c: a root on the exact surface, one of two
    _, ((*_, lam), (*_, gam), _), *_ = course(0.9, -1.0)
    cold, system = LEGS[2].state(lam, gam).C, LEGS[3]
    back = brentq(lambda at: system.state(at, GAM).C - cold, 1.7, 5, xtol=1e-13)
    strokes = {stroke["stroke"]: stroke for stroke in run.strokes}
    end = strokes["heating"]["lambda"][0]
    assert end == pytest.approx(back, abs=1e-3)  # C hardly depends on λ there
    heat = [
        lam * state.D + GAM * state.C
        for lam, state in ((end, system.state(end, GAM)), (LAM, LEGS[0].state(LAM, GAM)))
    ]
    assert strokes["heating"]["S"] == pytest.approx(heat[0] - heat[1], abs=1e-5)
    assert abs(strokes["heating"]["S"]) > 0.01
    assert abs(strokes["cooling"]["S"]) < 1e-8
    assert found["efficiency"] == pytest.approx(1 - cold / LEGS[0].state(LAM, GAM).C, abs=1e-5)


# --- cycles at a domain that does not move ---


def alphabet_of(config: dict[str, Any]) -> Alphabet:
    """The closed form of a config with a finite alphabet, its marginal free."""
    data, model = config["data"]["init_args"], config["model"]["init_args"]
    tables = [model[part]["init_args"]["table"] for part in ("decoder", "classifier")]
    given = [data["p_x"], data["p_y_given_x"], *tables, [1 / 3] * 3]
    tensors = [torch.tensor(values, dtype=torch.float64) for values in given]
    return Alphabet(*tensors, frozenset({"marginal"}))


# C falls with λ here, so that an engine takes its heat in at the smaller one
RECTANGLE = [
    {"name": "out", "steps": 4, "lam": 0.0, "gam": 1.0, "moves": False},
    {"name": "up", "steps": 2, "lam": 0.6, "gam": 0.0, "moves": False},
    {"name": "home", "steps": 4, "lam": 0.0, "gam": "return", "moves": False},
    {"name": "down", "steps": 2, "lam": "return", "gam": 0.0, "moves": False},
]


def test_a_cycle_at_one_domain_returns_and_does_the_work_of_its_area(tmp_path: Path) -> None:
    config = load(CONFIGS / "exact_categorical.yaml")
    process = config["trainer"]["callbacks"][-1]
    settings = {key: process["init_args"][key] for key in ("equilibration", "response")}
    process["class_path"] = "Cycle"
    process["init_args"] = {"strokes": RECTANGLE, "passes": [1, 1], **settings}
    config["trainer"]["callbacks"] = [process]
    directory = run_config(config, tmp_path)
    rows, found = read_csv(directory / "path.csv"), json_of(directory / "cycle.json")
    assert len(rows) == 13
    assert (rows[-1]["lambda"], rows[-1]["gamma"]) == pytest.approx((0.8, 1.5), rel=1e-14)
    assert max(abs(found["closure"][name]) for name in "RDC") < 1e-6

    system = alphabet_of(config)
    nodes, mass = np.polynomial.legendre.leggauss(5)

    def heat(lam: float) -> float:
        values = [system.equilibrium(lam, 2.0 + 0.5 * x).C.item() for x in nodes]
        return float(0.5 * np.dot(mass, values))

    exact = heat(0.8) - heat(1.4)
    assert exact > 0.01
    assert found["work"] == pytest.approx(exact, rel=1e-3)
    assert found["work_control"] == pytest.approx(exact, rel=2e-2)  # two steps in λ
    assert found["work_domain"] == 0
    heats = found["heat_hot"], found["heat_cold"]
    assert heats == pytest.approx((heat(0.8), heat(1.4)), rel=1e-4)
    assert 0 < found["work"] < found["heat_hot"]


# --- rough runs on digits: what is written, and resuming ---


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Run:
    """Two passes there and back, not cut."""
    directory = tmp_path_factory.mktemp("straight")
    process = Cycle(there_and_back(), passes=(2, 2), **ROUGH)
    return fit(directory, data(*LOOP), last_checkpoint(directory), process=process)  # type: ignore[arg-type]


def test_the_rows_of_a_cycle_are_in_their_places(straight: Run) -> None:
    rows = straight.rows
    first = ["equilibration", "there", "there", "wait", "back", "back", "back"]
    second = ["there", *first[1:], "closure"]
    assert [row["stroke"] for row in rows] == first + second
    assert [row["cycle"] for row in rows] == [0] * 7 + [1] * 8
    phases = [0, 0.5, 1, 2, 2, 2.5, 3]
    assert [row["phase"] for row in rows] == [*phases, *phases, 3]
    places = [(0, 0.0), (0, 0.5), (0, 1.0), (0, 1.0), (1, 0.0), (1, 0.5), (1, 1.0)]
    assert [(row["leg"], row["t"]) for row in rows] == [*places, *places, (0, 0.0)]
    # a stroke without a clock takes one unit of time, one with a clock |Δλ| over it
    lams = [row["lambda"] for row in rows]
    expected = [0, 0.5, 1, 2, 2, *(2 + abs(lams[i] - lams[4]) / 0.5 for i in (5, 6))]
    assert [row["time"] for row in rows[:7]] == pytest.approx(expected, rel=1e-6)
    for start in (4, 7, 11, 14):  # what settles is not corrected
        assert rows[start]["corrections"] == 0
    for start in (4, 11):  # and moves nothing but to another leg
        assert rows[start]["work"] == 0
        for name in ("lambda", "gamma"):
            assert rows[start][name] == rows[start - 1][name]
    for back in (6, 13):  # λ returns to its start, and is set there for the second pass
        assert rows[back]["lambda"] == pytest.approx(lams[0], rel=1e-6)
    assert (rows[7]["lambda"], rows[7]["gamma"]) == pytest.approx(
        (lams[0], rows[0]["gamma"]), rel=1e-6
    )


def test_a_cycle_leaves_its_strokes_and_its_ledger(straight: Run) -> None:
    assert straight.process.ending == "done"
    found = [(s["cycle"], s["stroke"], s["status"]) for s in straight.strokes]
    names = ["there", "wait", "back"]
    assert found == [
        (0, "equilibration", "done"),
        *((0, name, "done") for name in names),
        *((1, name, "done") for name in [*names, "closure"]),
    ]
    assert [s["steps"] for s in straight.strokes[4:]] == [[7, 9], [10, 10], [11, 13], [14, 14]]
    cycle = json_of(straight.directory / "cycle.json")
    assert cycle["cycle"] == 1  # the last pass
    assert cycle["changes"] == {}
    rows = straight.rows
    assert cycle["closure"]["gamma"] == rows[13]["gamma"] - rows[7]["gamma"]
    # measured on the probe of the first leg, as the start was
    assert cycle["closure"]["C"] == rows[14]["C"] - rows[7]["C"]
    assert cycle["dissipation"] == pytest.approx(
        sum(rows[i]["relaxation"] for i in (8, 9, 10, 12, 13)), rel=1e-6
    )


# equilibrium is found at the end of the second epoch: five is within the first pass, where the data
# have moved on to the second leg; nine at the start of the second pass
@pytest.mark.parametrize("epochs", [5, pytest.param(9, marks=pytest.mark.slow)])
def test_a_cycle_that_is_cut_goes_on_exactly(
    straight: Run, tmp_path: Path, data: Data, epochs: int
) -> None:
    def cycle() -> Any:
        return Cycle(there_and_back(), passes=(2, 2), **ROUGH)

    first = fit(
        tmp_path / "cut",
        data(*LOOP),
        last_checkpoint(tmp_path / "cut"),
        process=cycle(),
        max_epochs=epochs,
    )
    assert len(first.rows) == epochs - 1
    checkpoint = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    second = fit(tmp_path / "resumed", data(*LOOP), process=cycle(), ckpt_path=checkpoint)
    assert same_path(second.rows, straight.rows) == []
    assert same_model(second.model, straight.model) == []
    ledgers = [json_of(run.directory / "cycle.json") for run in (second, straight)]
    assert ledgers[0] == ledgers[1]


def adjustable() -> list[Stroke]:
    return [
        Stroke("there", 1, lam=0.2, C=0.0, adjust="lam"),
        Stroke("back", 1, lam=-0.1, gam=0.3, adjust="gam"),
    ]


@pytest.mark.slow
def test_a_cut_cycle_keeps_what_newtons_method_has_added(tmp_path: Path, data: Data) -> None:
    def cycle() -> Any:
        return Cycle(adjustable(), passes=(1, 2), closure=(1e-9, 1e-9), **ROUGH)

    whole = fit(tmp_path / "whole", data(*LOOP), process=cycle(), fails=True)  # it stays open
    cut = tmp_path / "cut"
    fit(cut, data(*LOOP), last_checkpoint(cut), process=cycle(), max_epochs=6)
    checkpoint = cut / "checkpoints" / "last.ckpt"
    resumed = fit(
        tmp_path / "resumed", data(*LOOP), process=cycle(), ckpt_path=checkpoint, fails=True
    )
    assert same_path(resumed.rows, whole.rows) == []
    changes = [json_of(run.directory / "cycle.json")["changes"] for run in (whole, resumed)]
    assert changes[0] == changes[1] != {"there": 0.2, "back": 0.3}


def test_an_open_cycle_stops_with_everything_on_disk(tmp_path: Path, data: Data) -> None:
    process = Cycle(adjustable(), passes=(1, 1), closure=(1e-9, 1e-9), **ROUGH)
    run = fit(tmp_path, data(*LOOP), process=process, fails=True)  # type: ignore[arg-type]
    assert isinstance(run.error, CycleOpen)
    assert run.error.exit_code == 3
    message = str(run.error)
    assert "\n" not in message
    assert message.startswith("closure: got a cycle that misses its start by ")
    assert "after 1 passes; allowed: 1e-09 and 1e-09; " in message
    rows = run.rows
    assert [row["stroke"] for row in rows] == ["equilibration", "there", "back", "back"]
    assert run.strokes[-1]["status"] == f"stopped: {message}"
    cycle = json_of(tmp_path / "cycle.json")
    for name in ("lambda", "gamma"):
        assert cycle["closure"][name] == rows[-1][name] - rows[0][name]
        share = f"{abs(cycle['relative_closure'][name]):.3g} of its range in {name}"
        assert share.replace(" of its range", "") in message.replace(" of its range", "")
