"""Tables and arrays in files: what is read, how classes are named, what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from thermo_pl.datamodules import (
    ArraySource,
    BreastCancer,
    Drift,
    InterpolatedDataModule,
    Standardise,
    Waypoint,
)
from thermo_pl.datamodules.domains import load_domains
from thermo_pl.errors import ConfigError, DataError

X = np.random.default_rng(0).normal(size=(60, 3)) * [1, 10, 100]
NAMES = np.repeat(["rose", "iris", "lily"], 20)


def write_csv(path: Path, labels: Any = NAMES, x: Any = X) -> Path:
    """A table with a column of labels in the middle."""
    lines = ["width,kind,height,depth"]
    lines += [f"{a},{y},{b},{c}" for (a, b, c), y in zip(x, labels, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_npz(path: Path) -> Path:
    np.savez(path, x=X, kind=NAMES)
    return path


def write_npy(path: Path) -> Path:
    np.save(path, X)
    np.save(path.with_name("kinds.npy"), NAMES)
    return path


def write_parquet(path: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = dict(zip(("width", "height", "depth"), X.T, strict=True))
    parquet.write_table(pyarrow.table({"kind": NAMES} | columns), path)
    return path


WRITERS = {"csv": write_csv, "npz": write_npz, "npy": write_npy, "parquet": write_parquet}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_of_file_gives_the_same_examples(kind: str, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path / f"table.{kind}")
    labels = str(tmp_path / "kinds.npy") if kind == "npy" else "kind"
    source = ArraySource(path, labels, test=0.25, val=0.25)
    splits = source.load()
    assert source.names == ("iris", "lily", "rose")
    rows = {
        tuple(row): name for row, name in zip(X.astype(np.float32).tolist(), NAMES, strict=True)
    }
    found: dict[tuple[float, ...], str] = {}
    for split in splits.values():
        assert split.images.dtype == torch.float32
        for row, label in zip(split.images.tolist(), split.labels.tolist(), strict=True):
            found[tuple(row)] = source.names[label]
        # every class in the same proportion
        assert len(set(split.labels.bincount().tolist())) == 1
    assert found == rows
    assert [len(split.labels) for split in splits.values()] == [30, 15, 15]


def test_columns_can_be_chosen_and_test_examples_be_of_another_file(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "train.csv")
    test = write_csv(tmp_path / "test.csv", np.repeat(["iris", "tulip"], 30), X + 1)
    source = ArraySource(train, "kind", ["depth", "width"], test)
    splits = source.load()
    assert source.names == ("iris", "lily", "rose", "tulip")  # of both files
    np.testing.assert_allclose(splits["test"].images, X[:, [2, 0]] + 1, rtol=1e-6)
    assert splits["test"].labels.tolist() == [0] * 30 + [3] * 30
    assert len(splits["train"].labels) + len(splits["val"].labels) == 60


def test_arrays_may_have_any_shape(tmp_path: Path) -> None:
    path = tmp_path / "cubes.npz"
    np.savez(path, x=X.reshape(30, 1, 2, 3), y=np.arange(30) % 2 * 2.0 - 1, other=np.zeros(7))
    splits = ArraySource(path, "y", "x").load()
    assert splits["train"].images.shape[1:] == (1, 2, 3)
    assert set(splits["train"].labels.tolist()) == {-1, 1}


@pytest.mark.parametrize(
    ("labels", "classes", "names"),
    [
        (np.array(["3", "-1", " 3"], dtype=object), [3, -1, 3], ()),
        (np.array([True, False, True]), [1, 0, 1], ()),
        (np.array(["b", "a", "b"]), [1, 0, 1], ("a", "b")),
    ],
)
def test_labels_of_any_kind_are_classes(
    labels: Any, classes: list[int], names: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=X, y=np.tile(labels.astype(str) if labels.dtype == object else labels, 20))
    source = ArraySource(path, "y")
    found = torch.cat([split.labels for split in source.load().values()])
    assert sorted(found.tolist()) == sorted(20 * classes)
    assert source.names == names


def spoilt(row: int, column: int, value: object) -> Any:
    """The table with one other value."""
    x = X.astype(object)
    x[row, column] = value
    return x


def of_csv(**changes: Any) -> Callable[[Path], ArraySource]:
    return lambda folder: ArraySource(write_csv(folder / "t.csv", **changes), "kind")


REFUSED: list[tuple[Callable[[Path], ArraySource], str]] = [
    (of_csv(x=spoilt(4, 1, "nan")), "t.csv: got nan in line 6, column height; allowed: finite"),
    (of_csv(x=spoilt(0, 2, "")), "t.csv: got  in line 2, column depth; allowed: finite numbers"),
    (of_csv(x=spoilt(0, 0, "red")), "t.csv: got red in line 2, column width; allowed: finite"),
    (of_csv(x=spoilt(7, 0, "1,2")), "(line 9 has 5 values for 4 columns); allowed: .npz, .npy"),
    (of_csv(labels=[*NAMES[:59], ""]), "t.csv: got no label in row 59; allowed: whole numbers or"),
    (of_csv(labels=[*NAMES[:59], "tulip"]), "1 of the rarest one, to hold out 9 of them"),
    (lambda folder: ArraySource(folder / "no.npz", "y"), "no.npz: got no file that can be read"),
    (
        lambda folder: ArraySource(write_csv(folder / "t.csv"), "sort"),
        "labels: got 'sort', which",
    ),
    (
        lambda folder: ArraySource(write_npz(folder / "t.npz"), "kind", ["x", "kind"]),
        "column kind; allowed: finite numbers",
    ),
    (
        lambda folder: ArraySource(write_csv(folder / "t.csv"), "width"),
        "t.csv: got rose in line 2, column kind",
    ),
    (
        lambda folder: ArraySource(write_csv(folder / "t.csv", NAMES), "depth", ["width"]),
        "to hold out",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_file_that_does_not_fit_is_told_in_one_line(
    make: Callable[[Path], ArraySource], message: str, tmp_path: Path
) -> None:
    source = make(tmp_path)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        source.load()
    assert "\n" not in str(caught.value)


def test_measured_numbers_are_no_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=X[:, 0])
    with pytest.raises(DataError, match=r"got the label .* in row 0; allowed: whole numbers"):
        ArraySource(tmp_path / "a.npz", "y").load()


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"got a Parquet file, and pyarrow .*pip install pyarrow"):
        ArraySource(tmp_path / "t.parquet", "kind").load()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "a.xls"}, "path: got 'a.xls'; allowed: a file that ends in .npz, .npy, .csv"),
        ({"features": []}, "features: got []; allowed: one or more names"),
        ({"test": 0.9, "val": 0.2}, "test: got 0.9; allowed: what has the test examples, or"),
        ({"path": "a.npy", "test": "b.npy"}, "test: got 'b.npy'; allowed: a share"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        ArraySource(**{"path": "a.csv", "labels": "kind"} | arguments)


def test_standardising_is_that_of_scikit_learn_on_the_training_rows(tmp_path: Path) -> None:
    source = ArraySource(write_csv(tmp_path / "t.csv"), "kind")
    train, test = (source.load()[name].images.numpy() for name in ("train", "test"))
    reference = StandardScaler().fit(train.astype(np.float64))
    # in a sequence it learns from what comes before it; here that changes nothing
    for transform in (Standardise(), nn.Sequential(nn.Identity(), Standardise())):
        (domain,) = load_domains([Waypoint(source=source, transform=transform)])
        for split, rows in (("train", train), ("test", test)):
            np.testing.assert_allclose(
                domain.splits[split].images, reference.transform(rows), atol=1e-5
            )


def test_one_scale_for_all_domains_or_one_for_each(tmp_path: Path) -> None:
    near = ArraySource(write_csv(tmp_path / "near.csv"), "kind")
    far = ArraySource(write_csv(tmp_path / "far.csv", x=2 * X + 5), "kind")
    one = InterpolatedDataModule(
        [Waypoint(source=near), Waypoint(source=far)], transform=Standardise()
    )
    a, b = (domain.splits["train"].images for domain in one._loaded())
    torch.testing.assert_close(a.std(0, correction=0), torch.ones(3))
    torch.testing.assert_close(b.std(0, correction=0), 2 * torch.ones(3))
    each = [Waypoint(source=source, transform=Standardise()) for source in (near, far)]
    c, d = (domain.splits["train"].images for domain in load_domains(each))
    torch.testing.assert_close(c, a)
    torch.testing.assert_close(d, a, atol=1e-5, rtol=0)


def test_another_instrument_has_gains_offsets_and_noise() -> None:
    splits, twin = BreastCancer().load(), BreastCancer().load()
    assert torch.equal(splits["test"].images, twin["test"].images)
    x = splits["train"].images.double()
    mean, scale = x.mean(0), x.std(0, correction=0)
    clean, noisy = Drift(0.2, 0.5, 0.0, seed=3), Drift(0.2, 0.5, 0.3, seed=3)
    for transform in (clean, noisy):
        transform.learn(splits["train"].images)
    seen = (clean(x) - mean) / scale
    # of the same gain and offset for all rows: two points tell the line of each feature
    z = (x - mean) / scale
    top, low = z.argmax(0), z.argmin(0)

    def at(values: Tensor, index: Tensor) -> Tensor:
        return values.gather(0, index[None])[0]

    gain = (at(seen, top) - at(seen, low)) / (at(z, top) - at(z, low))
    offset = at(seen, low) - gain * at(z, low)
    torch.testing.assert_close(seen, gain * z + offset, atol=1e-3, rtol=0)
    # 30 draws each: five standard errors of a standard deviation
    for drawn, size in ((gain - 1, 0.2), (offset, 0.5)):
        assert abs(drawn.std() - size) < 5 * size / 60**0.5
    drawn = (noisy(x) - clean(x)) / scale
    assert abs(drawn.std() - 0.3) < 5 * 0.3 / (2 * drawn.numel()) ** 0.5
    # the same instrument, other noise, for other tumours
    test = splits["test"].images
    torch.testing.assert_close(
        (clean(test) - mean) / scale, gain * (test - mean) / scale + offset, atol=1e-3, rtol=0
    )
    with pytest.raises(ConfigError, match="noise: got -1; allowed: a finite number from 0"):
        Drift(noise=-1)


def test_constant_columns_and_channels() -> None:
    flat, channels = Standardise(), Standardise(per="channel")
    x = torch.cat([torch.full((50, 1), 0.1), torch.randn(50, 1)], 1)
    flat.learn(x)
    torch.testing.assert_close(flat(x)[:, 0], torch.zeros(50), atol=1e-6, rtol=0)
    images = 3 + torch.randn(50, 2, 4, 4) * torch.tensor([1.0, 7.0]).reshape(2, 1, 1)
    channels.learn(images)
    seen = channels(images)
    torch.testing.assert_close(seen.mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.std((0, 2, 3), correction=0), torch.ones(2))
    with pytest.raises(ConfigError, match="per: got 'row'; allowed: feature, channel"):
        Standardise(per="row")  # type: ignore[arg-type]
