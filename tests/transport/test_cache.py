"""The disk cache: what it saves, what it refuses, what it survives."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import ot
import pytest

from thermo_pl import transport
from thermo_pl.transport.cache import ArrayCache, content_hash, default_cache_dir


@pytest.fixture
def points() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((12, 3)), rng.standard_normal((9, 3))


@pytest.fixture
def solves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every call of ot.emd."""
    calls: list[int] = []
    honest = ot.emd

    def counted(*args: object, **kwargs: object) -> object:
        calls.append(1)
        return honest(*args, **kwargs)

    monkeypatch.setattr(ot, "emd", counted)
    return calls


def assert_same(one: transport.Coupling, other: transport.Coupling) -> None:
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.cols, other.cols)
    np.testing.assert_array_equal(one.mass, other.mass)
    assert one.cost == other.cost


def only_file(directory: Path) -> Path:
    (file,) = directory.iterdir()  # and no temporary file left
    return file


def test_a_hit_is_the_same_and_solves_nothing(
    points: tuple[np.ndarray, np.ndarray], tmp_path: Path, solves: list[int]
) -> None:
    first = transport.exact_coupling(*points, ArrayCache(tmp_path))
    second = transport.exact_coupling(*points, ArrayCache(tmp_path))
    assert len(solves) == 1
    assert_same(first, second)
    assert_same(first, transport.exact_coupling(*points))
    assert only_file(tmp_path).suffix == ".npz"


def test_matching_keeps_costs_and_plans(
    points: tuple[np.ndarray, np.ndarray], tmp_path: Path, solves: list[int]
) -> None:
    a, b = points
    y_a, y_b = np.arange(12) % 3, np.arange(9) % 3
    data = (a, y_a, b, y_b)
    cache = ArrayCache(tmp_path)
    matching = transport.match_classes(*data, range(3), range(3), cache)
    assert len(solves) == 9
    assert transport.match_classes(*data, range(3), range(3), cache) == matching
    transport.matched_coupling(*data, matching, cache)
    assert len(solves) == 9  # the plans of the matching are those of the coupling


def plan_of(a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    plan = transport.exact_coupling(a, b)
    return {"rows": plan.rows, "cols": plan.cols, "mass": plan.mass}


@pytest.mark.parametrize(
    "damage", ["cut", "garbage", "empty", "marginals", "no mass", "pickle", "flipped", "permuted"]
)
def test_a_damaged_file_is_computed_again(
    points: tuple[np.ndarray, np.ndarray], tmp_path: Path, solves: list[int], damage: str
) -> None:
    cache = ArrayCache(tmp_path)
    good = transport.exact_coupling(*points, cache)
    file = only_file(tmp_path)
    content = file.read_bytes()
    arrays = dict(np.load(file))
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "garbage":
        file.write_bytes(b"no npz" * 100)
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "marginals":
        np.savez(file, **{**arrays, "mass": np.roll(arrays["mass"], 1)})
    elif damage == "no mass":
        del arrays["mass"]
        np.savez(file, **arrays)
    elif damage == "flipped":
        place = content.index(arrays["rows"].tobytes()) + 8
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    elif damage == "permuted":  # another plan of the same marginals
        np.savez(file, **{**arrays, **plan_of(points[0][::-1], points[1])})
    else:
        np.savez(file, **{**arrays, "mass": arrays["mass"].astype(object)})
    with pytest.warns(UserWarning, match="unreadable cache file") as caught:
        again = transport.exact_coupling(*points, cache)
    assert str(file) in str(caught[0].message)
    assert_same(good, again)
    solved = len(solves)
    assert solved == 2 + (damage == "permuted")
    assert_same(good, transport.exact_coupling(*points, cache))  # without a warning
    assert len(solves) == solved
    assert only_file(tmp_path) == file


def test_a_plan_under_the_name_of_another_is_not_taken(
    points: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    (a, b), cache = points, ArrayCache(tmp_path)
    good = transport.exact_coupling(a, b, cache)
    file = only_file(tmp_path)
    transport.exact_coupling(a[::-1], b, cache)
    (other,) = set(tmp_path.iterdir()) - {file}
    other.replace(file)
    with pytest.warns(UserWarning, match="its checksum is not that of its content"):
        assert_same(good, transport.exact_coupling(a, b, cache))


def test_any_change_of_content_changes_the_hash() -> None:
    x = np.arange(6, dtype=np.float32)
    changed = x.copy()
    changed[3] = np.nextafter(changed[3], 9)
    keys = [
        content_hash("exact", [x, x]),
        content_hash("other", [x, x]),
        content_hash("exact", [x]),
        content_hash("exact", [x, changed]),
        content_hash("exact", [changed, x]),
        content_hash("exact", [x, x.reshape(2, 3)]),
        content_hash("exact", [x, x.view(np.int32)]),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == content_hash("exact", [x.copy(), np.asfortranarray(x)])
    strided = np.repeat(x, 2)[::2]
    assert keys[0] == content_hash("exact", [strided, x])


def test_other_points_are_solved(
    points: tuple[np.ndarray, np.ndarray], tmp_path: Path, solves: list[int]
) -> None:
    a, b = points
    cache = ArrayCache(tmp_path)
    transport.exact_coupling(a, b, cache)
    transport.exact_coupling(a + 1e-12, b, cache)
    transport.exact_coupling(b, a, cache)
    assert len(solves) == 3


def test_writers_at_the_same_time_leave_one_sound_file(
    points: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    results: list[transport.Coupling] = []

    def work() -> None:
        results.append(transport.exact_coupling(*points, ArrayCache(tmp_path)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for result in results:
        assert_same(result, results[0])
    only_file(tmp_path)


def test_a_write_that_fails_leaves_nothing_and_says_so(
    points: tuple[np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match="no space left"):
        transport.exact_coupling(*points, ArrayCache(tmp_path))
    assert not list(tmp_path.iterdir())


def test_default_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == ArrayCache().directory == tmp_path / "thermo_pl" / "couplings"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for unusable in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert default_cache_dir() == tmp_path / "home/.cache/thermo_pl/couplings"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_dir() == tmp_path / "home/.cache/thermo_pl/couplings"
