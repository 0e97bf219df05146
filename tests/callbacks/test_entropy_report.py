"""What validate says of the second law and the entropy production, and when it says nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml
from torch.utils.data import DataLoader

from support.process_runs import SHAPE, make_model
from support.trainers import trainer
from thermo_pl.callbacks import EntropyReport
from thermo_pl.cli import main
from thermo_pl.configs.layers import load
from thermo_pl.datamodules import FiniteAlphabet
from thermo_pl.errors import ConfigError
from thermo_pl.exact import alphabet
from thermo_pl.laws.model_entropy import data_entropy
from thermo_pl.laws.production import entropy_production
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks import (
    CategoricalEncoder,
    CategoricalMarginal,
    Gaussian,
    GaussianClassifier,
    IdentityEncoder,
    LinearClassifier,
    MLPDecoder,
    TableClassifier,
    TableDecoder,
)
from thermo_pl.particles import interpolate

Data = Callable[..., Any]

LAWS = ["σ_tot ≥ 0", "σ_sys ≥ 0", "σ_bath ≥ 0", "Pythagoras"]
SECOND_LAW = ["second law, -H + J + log Z", "J ≥ H (where Z ≤ 1)"]


@pytest.fixture(autouse=True)
def _same_models() -> None:
    torch.manual_seed(0)


def report(**arguments: int) -> EntropyReport:
    return EntropyReport(**({"noise_draws": 2000, "partition_draws": 2000} | arguments))


def validated(folder: Path, model: Any, data: Any, **arguments: Any) -> dict[str, Any]:
    """entropy.json, with what Lightning itself logged."""
    logged = trainer(folder, report(), **arguments).validate(model, datamodule=data, verbose=False)
    found = json.loads((folder / "entropy.json").read_text())
    return dict(found) | {"logged": logged[0]}


def names(found: dict[str, Any]) -> list[str]:
    return [check["law"] for check in found["checks"]]


def test_the_table_and_the_file(
    tmp_path: Path, data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    model, source = make_model(lam=1.5), data()
    source.move_to(0, 0.25)
    found = validated(tmp_path, model, source)
    place = {"leg": 0, "t": 0.25, "lambda": 1.5, "gamma": 5.0}
    assert {key: found[key] for key in place} == place
    assert found["particles"] == len(source.coupling("val"))
    assert list(found["energies"]) == ["R", "D", "C", "J", "log Z"]
    # Lightning's own metrics are a mean over 8 draws on the same particles; within 5 errors
    for name in "RDCJ":
        measured = found["energies"][name]
        error = measured["error"] * math.sqrt(1 + 2000 / found["particles"] / 8)
        assert abs(measured["value"] - found["logged"][f"val/{name}"]) < 5 * error + 1e-4
    for system, labels in (("whole system", False), ("with labels", True)):
        part = found["productions"][system]
        used = ("R", "D", "C") if labels else ("R", "D")
        cost = sum(found["energies"][name]["value"] for name in used)
        assert part["free_energy_change"]["value"] == pytest.approx(-cost, abs=1e-9)
        assert part["work"]["value"] == -found["entropies"][system]["value"]
        gap = part["discrepancy"]
        assert abs(gap["value"]) < 5 * gap["error"] < 1
    system_parts = [found["productions"][name]["system"] for name in found["productions"]]
    assert system_parts[0] == system_parts[1]  # y does not enter it
    systems = ("whole system", "with labels")
    assert names(found) == SECOND_LAW + [f"{law}, {s}" for s in systems for law in LAWS]
    verdicts = {check["law"]: check["verdict"] for check in found["checks"]}
    assert verdicts[SECOND_LAW[0]] == verdicts["σ_tot ≥ 0, with labels"] == "holds"

    printed = capsys.readouterr().out
    assert all(len(line) <= 100 for line in printed.splitlines() if "entropy.json" not in line)
    for word in ("H(x)", "H(x, y)", "binarised images", "log Z", "βW", "βΔF", *names(found)):
        assert word in printed
    assert "t = 0.25, λ = 1.5, γ = 5" in printed
    assert "σ is that of λ = 1" in printed
    assert str(tmp_path / "entropy.json") in printed


def test_the_particles_are_those_of_the_moment(tmp_path: Path, data: Data) -> None:
    model, source = make_model(), data()
    values = []
    for t in (0.0, 1.0):
        source.move_to(0, t)
        found = validated(tmp_path, model, source)["entropies"]["whole system"]
        batch = interpolate(source.coupling("val").all(), t)
        generator = torch.Generator().manual_seed(5)
        expected = data_entropy(model, batch, labels=False, generator=generator)
        error = math.hypot(found["error"], expected.error)
        assert abs(found["value"] - expected.value) < 5 * error
        values.append((found["value"], found["error"]))
    (before, error), (after, other) = values
    assert abs(before - after) > 5 * math.hypot(error, other)  # other images


def test_the_same_model_gives_the_same_report(tmp_path: Path, data: Data) -> None:
    model = make_model()
    once = validated(tmp_path, model, data())
    torch.rand(3)
    assert validated(tmp_path, model, data()) == once


def test_at_lambda_one_without_labels_the_second_law_is_the_entropy_production(
    tmp_path: Path, data: Data
) -> None:
    found = validated(tmp_path, make_model(classifier=None, gam=0.0), data())
    assert names(found) == SECOND_LAW + [f"{law}, whole system" for law in LAWS]
    assert list(found["energies"]) == ["R", "D", "J", "log Z"]
    assert abs(found["energies"]["log Z"]["value"]) < 1e-12
    total = found["productions"]["whole system"]["total"]
    assert found["checks"][0]["value"] == pytest.approx(total["value"], abs=1e-9)
    assert found["checks"][0]["error"] == pytest.approx(total["error"], rel=1e-9)
    assert found["notes"] == []


def test_a_finite_alphabet_is_exact(tmp_path: Path) -> None:
    p_x, p_y = [0.3, 0.2, 0.5], [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]
    d, c, q = [[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]], [[0.8, 0.2], [0.3, 0.7]], [0.4, 0.6]
    model = FreeEnergyModel(
        CategoricalEncoder([1, 1, 3], 2),
        decoder=TableDecoder([1, 1, 3], 2, d),
        classifier=TableClassifier(2, 2, c),
        marginal=CategoricalMarginal(2, q),
        lam=0.5,
        gam=1.5,
    )
    found = validated(tmp_path, model, FiniteAlphabet(p_x, p_y), precision="64-true")
    with torch.no_grad():
        letters: Any = model.encoder(torch.eye(3).double().reshape(3, 1, 1, 3))
    table = [torch.tensor(t, dtype=torch.float64) for t in (p_x, d, q, p_y, c)]
    p, decoder, marginal, labels, classifier = table
    system = (p, letters.logits.softmax(-1), decoder, marginal)
    for name, more in (("whole system", ()), ("with labels", (labels, classifier))):
        expected = entropy_production(*system, *more)
        for part in expected._fields:
            measured = found["productions"][name][part]
            assert measured["value"] == pytest.approx(getattr(expected, part).item(), abs=1e-12)
            assert measured["error"] == 0
    log_z = alphabet.log_partition(decoder, classifier, marginal, 0.5, 1.5).item()
    assert found["energies"]["log Z"]["value"] == pytest.approx(log_z, abs=1e-12)
    assert log_z > 0
    assert any(note.startswith("Z > 1") for note in found["notes"])


def test_without_a_decoder_there_are_the_labels(tmp_path: Path, data: Data) -> None:
    found = validated(tmp_path, make_model(decoder=None, lam=0.0), data())
    assert found["productions"] == {}
    assert [entropy["symbol"] for entropy in found["entropies"].values()] == ["H(y)"]
    # matched classes carry the same mass at both ends
    assert found["entropies"]["with labels"]["value"] == pytest.approx(math.log(2), abs=1e-6)
    assert names(found) == SECOND_LAW
    assert any("no decoder" in note for note in found["notes"])


def test_gaussian_pixels_without_a_bound(tmp_path: Path, data: Data) -> None:
    decoder = MLPDecoder(SHAPE, 3, [10], Gaussian(0.1))
    found = validated(tmp_path, make_model(decoder=decoder, lam=0.0), data())
    # no infinities in JSON
    assert found["energies"]["log Z"] == {"value": None, "error": 0.0}
    assert names(found)[0] == SECOND_LAW[1]
    assert any("log Z = ∞" in note for note in found["notes"])
    assert any("x is continuous" in note for note in found["notes"])
    entropy = found["entropies"]["whole system"]
    assert entropy["error"] is None
    assert "Kozachenko-Leonenko" in entropy["method"]
    short, *others = found["checks"]
    assert short["verdict"] == "not applicable"  # Z is infinite
    unjudged = {check["verdict"] for check in others} - {"holds"}
    assert unjudged <= {"unknown", "within error"}  # nothing is violated by an unknown error


def test_an_entropy_that_is_not_known_is_said(
    tmp_path: Path, data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    found = validated(tmp_path, make_model(classifier=GaussianClassifier(3, 2)), data())
    whole, labelled = found["entropies"].values()
    assert whole["value"] > 0
    assert (labelled["value"], labelled["error"]) == (None, None)
    expected = [f"{law}, whole system" for law in LAWS]
    assert names(found) == [*expected, "σ_sys ≥ 0, with labels", "Pythagoras, with labels"]
    printed = capsys.readouterr().out
    assert "not known: the labels are vectors" in printed
    assert "H(x, y) is not known" in printed


class Foreign(pl.LightningDataModule):
    """Batches that come from somewhere else."""

    def __init__(self, source: Any) -> None:
        """Keep the source of the batches."""
        super().__init__()
        self.source = source

    def val_dataloader(self) -> DataLoader[Any]:
        batch = interpolate(self.source.coupling("val").all(), 0.0)
        return DataLoader([batch], batch_size=None)  # type: ignore[arg-type]


class Own(pl.LightningModule):
    """Not a model of this library."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass


@pytest.mark.parametrize(
    ("model", "foreign", "reason"),
    [
        (
            lambda: FreeEnergyModel(IdentityEncoder(SHAPE), LinearClassifier(64, 2), lam=0.0),
            False,
            "deterministic",
        ),
        (
            lambda: make_model(decoder=None, classifier=None, lam=0.0, gam=0.0),
            False,
            "neither a decoder nor a classifier",
        ),
        (make_model, True, "Foreign"),
        (Own, False, "Own"),
    ],
    ids=["no noise", "only a rate", "other data", "other model"],
)
def test_where_there_is_nothing_to_report_one_line_says_why(
    tmp_path: Path,
    data: Data,
    capsys: pytest.CaptureFixture[str],
    model: Callable[[], Any],
    foreign: bool,
    reason: str,
) -> None:
    source = data()
    source.prepare_data()
    used = Foreign(source) if foreign else source
    trainer(tmp_path, report()).validate(model(), datamodule=used, verbose=False)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    printed = " ".join(out.split())
    assert printed.startswith("no second law and no entropy production: ")
    assert reason in printed
    assert not (tmp_path / "entropy.json").exists()


def test_it_is_silent_inside_a_fit_and_in_a_test(
    tmp_path: Path, data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    source = data(train_batches=1)
    runner = trainer(tmp_path, report(), max_epochs=1)
    runner.fit(make_model(), datamodule=source)
    runner.test(make_model(), datamodule=source, verbose=False)
    assert "second law" not in capsys.readouterr().out
    assert not (tmp_path / "entropy.json").exists()


def test_of_two_reports_the_first_speaks(
    tmp_path: Path, data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    model, callbacks = make_model(), [report(noise_draws=300), report(noise_draws=3000)]
    trainer(tmp_path, *callbacks).validate(model, datamodule=data(), verbose=False)
    assert capsys.readouterr().out.count("βΔF") == 2  # one for each system
    few = json.loads((tmp_path / "entropy.json").read_text())["energies"]["D"]["error"]
    trainer(tmp_path, callbacks[1]).validate(model, datamodule=data(), verbose=False)
    many = json.loads((tmp_path / "entropy.json").read_text())["energies"]["D"]["error"]
    assert 2 < few / many < 5  # about √10


@pytest.mark.parametrize("name", ["noise_draws", "partition_draws"])
def test_a_single_draw_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: got 1"):
        EntropyReport(**{name: 1})


def test_the_command_line_reports_by_itself(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = Path(__file__).parents[2] / "lightning_configs" / "iso_digits.yaml"
    config = load(shipped)
    config["trainer"] = {
        "accelerator": "cpu",
        "default_root_dir": str(tmp_path),
        "enable_progress_bar": False,
        "callbacks": [{"class_path": "EntropyReport", "init_args": {"noise_draws": 400}}],
    }
    config["data"]["init_args"]["cache_dir"] = str(cache)
    path = tmp_path / "config.yaml"
    for number, callbacks in enumerate((config["trainer"].pop("callbacks"), [])):
        path.write_text(
            yaml.safe_dump(config | {"trainer": config["trainer"] | {"callbacks": callbacks}})
        )
        assert main(["validate", "--config", str(path)]) == 0
        printed = capsys.readouterr().out
        assert printed.count("Pythagoras, whole system") == 1
        assert "val/J" in printed
        found = json.loads((tmp_path / f"version_{number}" / "entropy.json").read_text())
        assert found["particles"] > 100
