"""Many plans at once, matchings on samples, and plans that are too large."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import ot
import pytest

from thermo_pl import transport
from thermo_pl.datamodules import MNIST, InterpolatedDataModule, Transport, Waypoint
from thermo_pl.errors import ConfigError, DataError
from thermo_pl.transport import column_generation, matching
from thermo_pl.transport.cache import ArrayCache

Pairs = list[tuple[np.ndarray, np.ndarray]]


@pytest.fixture
def pairs() -> Pairs:
    rng = np.random.default_rng(0)
    return [(rng.standard_normal((n, 3)), rng.standard_normal((m, 3))) for n, m in SIZES]


SIZES = [(5, 6), (20, 30), (40, 10)]


def couplings(
    pairs: Pairs, cache: ArrayCache | None, settings: Transport
) -> list[transport.Coupling]:
    """The plan of each pair."""
    sets_a, sets_b = [a for a, _ in pairs], [b for _, b in pairs]
    which = [(k, k) for k in range(len(pairs))]
    return transport.exact_couplings(sets_a, sets_b, which, cache, settings)


def clusters(centres: list[float], n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points around a centre for each class 0, 1, …, and the classes."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(centres)), n)
    return np.array(centres)[labels][:, None] + rng.standard_normal((len(labels), 2)), labels


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many processes were asked for; nothing is sent to any."""
    asked: list[int] = []

    def here(n: int, **arguments: Any) -> Callable[[Iterable[Any]], Iterable[Any]]:
        asked.append(n)
        return lambda tasks: (function(*args) for function, args, _ in tasks)

    monkeypatch.setattr(joblib, "Parallel", here)
    monkeypatch.setattr("thermo_pl.transport.couplings.WORTH_PROCESSES", 0)
    # what a process of its own sets is set in this one here: to be undone, it must have been known
    monkeypatch.setenv("POT_BACKEND_DISABLE_PYTORCH", "1")
    return asked


def test_processes_find_the_plans_of_this_one(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [transport.exact_coupling(a, b) for a, b in pairs]
    monkeypatch.setattr("thermo_pl.transport.couplings.WORTH_PROCESSES", 0)
    monkeypatch.setattr(ot, "emd", None)  # not here
    cache = ArrayCache(tmp_path)
    found = couplings(pairs, cache, Transport(processes=2))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(one.cols, other.cols)
        np.testing.assert_array_equal(one.mass, other.mass)
        assert one.cost == other.cost
    assert len(list(tmp_path.iterdir())) == 3
    assert "POT_BACKEND_DISABLE_PYTORCH" not in os.environ


@pytest.mark.slow
def test_a_dask_cluster_finds_the_plans_of_this_process(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    expected = [transport.exact_coupling(a, b) for a, b in pairs]
    monkeypatch.setattr("thermo_pl.transport.couplings.WORTH_PROCESSES", 0)
    monkeypatch.setattr(ot, "emd", None)  # not here
    cluster = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**cluster, local_directory=tmp_path) as workers:
        address = {"scheduler-address": workers.scheduler_address}  # as the environment gives it
        with importlib.import_module("dask").config.set(address):
            found = couplings(pairs, ArrayCache(tmp_path / "plans"), Transport(backend="dask"))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(one.cols, other.cols)
        np.testing.assert_array_equal(one.mass, other.mass)
    assert len(list((tmp_path / "plans").iterdir())) == 3


def test_a_scheduler_that_is_not_there_is_told(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thermo_pl.transport.couplings.WORTH_PROCESSES", 0)
    with pytest.raises(ConfigError, match=r"transport\.backend: got 'ray', .*; allowed: loky"):
        couplings(pairs, None, Transport(backend="ray"))
    pytest.importorskip("distributed", reason="Dask is not installed")
    with pytest.raises(ConfigError, match=r"got 'dask', and no scheduler .* DASK_SCHEDULER_ADD"):
        couplings(pairs, None, Transport(backend="dask"))


@pytest.mark.parametrize(
    ("gib", "processes", "expected"),
    [
        (1.0, 3, 3),
        (1.0, 2, 2),
        (1.0, 8, 3),
        # the two largest need 1,000 pairs, the largest 600
        (1001 * 40 / 2**30, 3, 2),
        (999 * 40 / 2**30, 3, None),
        (1.0, 1, None),
    ],
)
def test_no_more_plans_at_once_than_memory_allows(
    pairs: Pairs, at_once: list[int], gib: float, processes: int, expected: int | None
) -> None:
    found = couplings(pairs, None, Transport(gib, processes))
    assert at_once == ([] if expected is None else [expected])
    assert [len(plan) > 0 for plan in found] == [True] * 3
    for plan, (a, b) in zip(found, pairs, strict=True):
        assert plan.cost == pytest.approx(transport.exact_coupling(a, b).cost, rel=1e-12)


def test_the_dearest_plans_must_fit_together_whatever_their_order(
    pairs: Pairs, at_once: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # 30, 600 and 400 pairs: the largest plan takes least
    monkeypatch.setattr(column_generation, "memory", lambda a, b: 1000 - len(a) * len(b))
    couplings(pairs, None, Transport(1571, 3))  # 970 + 600
    couplings(pairs, None, Transport(1569, 3))
    assert at_once == [2]


def test_small_plans_are_not_worth_a_process(
    pairs: Pairs, at_once: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thermo_pl.transport.couplings.WORTH_PROCESSES", 30 + 600 + 400 + 1)
    couplings(pairs, None, Transport(processes=2))
    assert at_once == []


def test_a_plan_that_is_too_large_is_refused(tmp_path: Path) -> None:
    a, b = np.zeros((1000, 1)), np.ones((2000, 1))
    # 2,000,000 pairs of 40 bytes
    with pytest.raises(DataError) as refused:
        transport.exact_coupling(a, b, None, Transport(memory=0.07))
    message = str(refused.value)
    for said in ("got 0.07 GiB", "1000 × 2000", "about 0.0745", "labels: matched"):
        assert said in message
    assert "per_class" in message
    small = Transport(memory=0.08)
    cache = ArrayCache(tmp_path)
    assert transport.exact_coupling(a, b, cache, small).cost == pytest.approx(1)
    # one that is known takes no memory
    assert transport.exact_coupling(a, b, cache, Transport(memory=1e-6)).cost == pytest.approx(1)


def test_the_config_says_how_much_memory(tmp_path: Path) -> None:
    waypoints = [Waypoint([0, 1, 2]), Waypoint([5, 6, 7])]
    tight = Transport(memory=40 * 150**2 / 2**30)  # a class has about 110 images
    pooled = InterpolatedDataModule(waypoints, "soft", cache_dir=tmp_path, transport=tight)
    with pytest.raises(DataError, match=r"transport\.memory: got"):
        pooled.setup()
    matched = InterpolatedDataModule(waypoints, "matched", cache_dir=tmp_path, transport=tight)
    matched.setup()
    waypoints = [Waypoint([0, 1, 2], per_class=20), Waypoint([5, 6, 7], per_class=20)]
    fewer = InterpolatedDataModule(waypoints, "soft", cache_dir=tmp_path, transport=tight)
    fewer.setup()
    assert len(fewer.coupling("train")) < 120


def test_matching_on_samples_is_that_on_all_points_where_it_is_clear() -> None:
    x_a, y_a = clusters([0, 10, 20, 30], 40, 0)
    x_b, y_b = clusters([21, 1, 31, 11], 35, 1)
    data = (x_a, y_a, x_b, y_b, range(4), range(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = transport.match_classes(*data, settings=Transport(matching_points=12))
    assert found == {0: 1, 1: 3, 2: 0, 3: 2}
    assert found == transport.match_classes(*data)


def test_samples_of_a_class_are_small_and_two(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    honest = ot.emd

    def seen(w_a: Any, w_b: Any, cost: np.ndarray, **arguments: Any) -> Any:
        shapes.append(cost.shape)
        return honest(w_a, w_b, cost, **arguments)

    monkeypatch.setattr(ot, "emd", seen)
    x_a, y_a = clusters([0, 10], 40, 0)
    x_b, y_b = clusters([0, 10], 9, 1)  # smaller than a sample: all of it
    data = (x_a, y_a, x_b, y_b, range(2), range(2))
    transport.match_classes(*data, settings=Transport(matching_points=12))
    assert shapes == [(12, 9)] * 8
    groups = [x_a[y_a == 0]]
    one, other = (matching._sampled(groups, 12, half)[0] for half in range(2))
    assert not {tuple(p) for p in one} & {tuple(p) for p in other}


def test_a_matching_that_is_not_certain_says_so() -> None:
    x_a, y_a = clusters([0] * 4, 40, 0)  # classes that do not differ
    x_b, y_b = clusters([0] * 4, 40, 1)
    few = Transport(matching_points=5)
    said = r"is not certain: two samples of 5 examples.*labels: ordered"
    with pytest.warns(UserWarning, match=said):
        found = transport.match_classes(x_a, y_a, x_b, y_b, range(4), range(4), settings=few)
    assert sorted(found.values()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"memory": 0.0}, r"transport\.memory: got 0\.0; allowed"),
        ({"memory": float("nan")}, r"transport\.memory: got nan"),
        ({"processes": 0}, r"transport\.processes: got 0; allowed: an integer from 1, or null"),
        ({"backend": "spark"}, r"transport\.backend: got 'spark'; allowed: one of loky, dask"),
        ({"matching_points": 0}, r"transport\.matching_points: got 0"),
    ],
    ids=str,
)
def test_settings_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Transport(**arguments)


@pytest.mark.slow
@pytest.mark.skipif(
    not (Path(os.environ.get("THERMO_PL_DATA", "nowhere")) / "MNIST" / "raw").is_dir(),
    reason="MNIST is not there: set THERMO_PL_DATA to a folder that holds MNIST/raw",
)
def test_matching_of_mnist_on_samples_is_that_of_all_images() -> None:
    (images, y), *_ = MNIST().load().values()
    x, labels = images.numpy(), y.numpy()
    low, high = labels < 5, labels >= 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # both samples agree
        found = transport.match_classes(
            x[low], labels[low], x[high], labels[high], range(5), range(5, 10)
        )
    # by exact plans between all images of these classes: 0→6, 2→8, 3→5 come to 216.40 together;
    # the runner-up 0→5, 2→6, 3→8 comes to 217.81
    assert found == {0: 6, 1: 7, 2: 8, 3: 5, 4: 9}
