"""Every shipped config runs: shortened here, and the main job for real as a slow test."""

from __future__ import annotations

import json
import math
import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from thermo_pl.callbacks import run_report
from thermo_pl.cli import main
from thermo_pl.configs.layers import load
from thermo_pl.files import read_csv
from thermo_pl.networks import ConvEncoder

FOLDER = Path(__file__).parents[1] / "lightning_configs"
# a sweep of W&B is no config; see tests/runs/test_wandb.py
CONFIGS = sorted(path for path in FOLDER.glob("*.yaml") if path.stem != "sweep")
COMMANDS = ("validate", "predict")
CYCLES = {"CarnotCycle", "Cycle"}
CARNOT = ("hot", "cooling", "cold", "heating")
# what is done in place of a config, or laid over it, in a folder of its name
VARIANTS = sorted(path for path in FOLDER.glob("*/*.yaml") if path.parent.name != "base")


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's digits, enlarged and written as the files of MNIST, and of Fashion-MNIST."""
    root = tmp_path_factory.mktemp("data")
    images, labels = load_digits(return_X_y=True)
    pixels = np.kron(images.reshape(-1, 8, 8), np.ones((3, 3))) * 255 / 16
    pixels = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, part in (("train", slice(0, 1400)), ("t10k", slice(1400, None))):
        for kind, values in (("images-idx3", pixels[part]), ("labels-idx1", labels[part])):
            header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
            (raw / f"{name}-{kind}-ubyte").write_bytes(header + values.astype(np.uint8).tobytes())
    (root / "FashionMNIST").symlink_to(root / "MNIST")
    return root


@pytest.fixture(autouse=True)
def _shortened_runs(
    request: pytest.FixtureRequest, small_mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if request.node.get_closest_marker("slow"):
        return
    # what is run here is whether a config works, with whatever digits
    monkeypatch.setenv("THERMO_PL_DATA", str(small_mnist))
    if "[iso_digits]" not in request.node.name:  # one with W&B and with figures drawn is enough
        monkeypatch.setenv("WANDB_MODE", "disabled")
        monkeypatch.setattr(run_report, "save_figure", leave_undrawn)


def leave_undrawn(figure: Figure, path: Path) -> None:
    """Make the file of a figure and draw nothing, which would take longest."""
    path.parent.mkdir(exist_ok=True)
    path.touch()


def write(config: dict[str, Any], folder: Path) -> Path:
    """Write a config that keeps everything in the folder."""
    config["trainer"]["default_root_dir"] = str(folder / "runs")
    if has_pictures(config):
        config["data"]["init_args"]["cache_dir"] = str(folder / "cache")
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def shortened(folder: Path, *files: Path) -> Path:
    """A shipped config with few and short steps, otherwise as it is."""
    config = load(*files)
    config["threads"] = 1  # two wait for each other where other tests run beside them
    if config["trainer"].get("max_epochs", -1) > 0:
        config["trainer"]["max_epochs"] = 2
    narrow(config, folder)
    turned = "cubature_seed" in config["model"]["init_args"]  # which asks for all particles
    if turned:
        config["model"]["init_args"]["optimizer"]["init_args"]["rounds"] = 1
        config["model"]["init_args"]["samples"] = 1
    elif has_pictures(config):
        config["data"]["init_args"] |= {"train_batches": 4, "batch_size": 32}
    else:  # exact to the last digits, which takes short steps: two checks, two steps, and a cut
        config["trainer"]["max_epochs"] = 4
    shorten_processes(config, turned)
    return write(config, folder)


def shorten_processes(config: dict[str, Any], turned: bool) -> None:
    """Few steps, small probes and nothing to wait for, in what moves a model."""
    pictures = has_pictures(config)
    for name, arguments in callbacks_of(config).items():
        if "equilibration" in arguments:
            arguments |= {
                "equilibration": {"stationarity": 1e9, "max_epochs": 4, "check_every": 1},
                "probes": {
                    f"{kind}_{what}": number
                    for kind in ("solving", "control", "measuring")
                    for what, number in (("particles", 64), ("samples", 1 if turned else 4))
                    if not turned or what == "samples"
                },
            }
            if pictures:
                loose = {"max_iterations": 60, "tolerance": 0.3}
                arguments["response"] = arguments.get("response", {}) | loose
        if name in {"IsoClassification", "Adiabatic", *CYCLES}:
            arguments["tolerance"] = math.inf  # wherever so short a training leaves θ
        if name in {"IsoClassification", "Adiabatic"} and pictures:
            arguments["steps"] = min(arguments["steps"], 2)
        if name in CYCLES:
            shorten_cycle(arguments, pictures)
        if name == "FreeEnergySurface" and pictures:  # not positive so far from equilibrium
            arguments["response"]["curvature"] = "gauss_newton"
        if name == "DomainSteps":
            probes = {"measuring_particles": 64, "measuring_samples": 4}
            arguments |= {"source_epochs": 2, "probes": probes}
            arguments |= {key: min(arguments[key], 2) for key in ("steps", "epochs")}
        if name == "FreeEnergySurface":
            arguments |= {axis: arguments[axis][:2] for axis in ("lam", "gam")}


def shorten_cycle(arguments: dict[str, Any], pictures: bool) -> None:
    """A step a stroke of images, and a single pass."""
    if pictures:
        for each in arguments.get("strokes", [arguments]):
            each["steps"] = 1
        # the Hessian is not positive so far from equilibrium
        arguments["response"]["curvature"] = "gauss_newton"
    # so short a cycle closes in no number of passes
    arguments |= {"closure": [10.0, 10.0], "passes": [1, 1]}


def narrow(config: dict[str, Any], folder: Path) -> None:
    """Images stay as large, but are few; solves, plans and streams take no time."""
    encoder = config["model"]["init_args"]["encoder"]["init_args"]
    if "channels" in encoder:
        encoder["channels"] = [4, 4]
    elif encoder.get("image_shape") == [1, 28, 28]:
        encoder["hidden"] = [16]
    for waypoint in config["data"]["init_args"].get("waypoints", []):
        waypoint["per_class"] = 20
        if waypoint.get("transform", {}).get("class_path") == "Latents":
            arguments = waypoint["transform"]["init_args"]
            arguments["checkpoint"] = encoder_of_no_training(arguments, folder)
        if waypoint.get("transform", {}).get("class_path") == "Features":
            line = {"in_features": 64, "out_features": encoder["image_shape"][0]}
            few = {"module": "torch.nn.Linear", "arguments": line, "seed": 0, "flatten": True}
            waypoint["transform"]["init_args"] = few
    if config["data"]["class_path"] == "GradualDataModule":
        images = config["data"]["init_args"]["images"]
        images.setdefault("init_args", {})["sizes"] = [200, 50, 300, 50]
        config["data"]["init_args"]["windows"] = 2


def callbacks_of(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The arguments of each callback, by its name; changing them changes the config."""
    callbacks = config["trainer"].get("callbacks", [])
    return {c["class_path"]: c.setdefault("init_args", {}) for c in callbacks}


def has_pictures(config: dict[str, Any]) -> bool:
    """Whether the data are images of classes with names, rather than points or letters."""
    return config["data"]["class_path"] in {"InterpolatedDataModule", "GradualDataModule"}


def check_run(run: Path, config: dict[str, Any]) -> None:
    """What the processes and reports of a shortened config must have left behind."""
    callbacks = callbacks_of(config)
    processes = {"IsoClassification", "FreeEnergySurface", "Adiabatic", "DomainSteps", *CYCLES}
    if not processes & set(callbacks):
        return
    rows = read_csv(run / "path.csv")
    for row in rows:
        assert np.isfinite([row[name] for name in "RDCJ"]).all()
        parts = row["R"] + row["lambda"] * row["D"] + row["gamma"] * row["C"]
        assert row["J"] == pytest.approx(parts, rel=1e-5)
    if CYCLES & set(callbacks) and has_pictures(config):
        strokes = callbacks.get("Cycle", {}).get("strokes")
        names = [stroke["name"] for stroke in strokes] if strokes else list(CARNOT)
        check_cycle(run, rows, names, len(config["data"]["init_args"]["waypoints"]) - 1)
        return
    if CYCLES & set(callbacks):  # cut off by the trainer
        assert not (run / "cycle.json").exists()
        return
    if "Adiabatic" in callbacks:
        assert len({row["gamma"] for row in rows}) == 1
        assert [row["t"] for row in rows] == [0.0, 0.5, 1.0]
    elif "IsoClassification" in callbacks:
        steps = callbacks["IsoClassification"]["steps"]
        assert [row["t"] for row in rows] == [0.0, 1 / steps, 2 / steps]
    elif "DomainSteps" in callbacks:  # the labelled images, and the windows after them
        assert [(row["leg"], row["t"]) for row in rows] == [(0, 0), (0, 1), (1, 1), (2, 1)]
    else:
        check_map(run, rows, callbacks["FreeEnergySurface"])
    figures = {"control", "rdc_space"} if "RunReport" in callbacks else set()
    shape = config["model"]["init_args"]["encoder"]["init_args"]["image_shape"]
    if figures and has_pictures(config) and len(shape) == 3:
        figures.add("images")
    assert {path.stem for path in (run / "figures").glob("*.png")} == figures
    assert (run / "laws.json").exists() == ("LawMonitor" in callbacks)


def check_map(run: Path, rows: list[dict[str, Any]], arguments: dict[str, Any]) -> None:
    """What a shortened map must have left behind: the nodes of its grid, visited in order."""
    places = list(product(arguments["lam"], arguments["gam"]))
    # along λ first; of two values in both around the one cell of the grid, from both sides
    walk = sorted(places, key=lambda place: (place[1], arguments["lam"].index(place[0])))
    walk[2:] = walk[:1:-1]
    if arguments.get("passes", 2) == 2:
        walk += walk[:3]
    found = [(row["lambda"], row["gamma"]) for row in rows]
    assert found[: len(walk)] == pytest.approx(np.array(walk))
    assert {row["t"] for row in rows} == {0.0}
    assert len(read_csv(run / "surface.csv")) == len(places)
    assert len(list((run / "nodes").iterdir())) == len(places)


def check_cycle(run: Path, rows: list[dict[str, Any]], strokes: list[str], legs: int) -> None:
    """What a shortened cycle must have left behind."""
    names = [row["stroke"] for row in rows]
    assert list(dict.fromkeys(names)) == ["equilibration", *strokes, "closure"]
    # a step for each stroke, one to settle on each leg after the first, and one to close
    assert len(rows) == 1 + len(strokes) + legs - 1 + 1
    found = json.loads((run / "cycle.json").read_text())
    for name in ("lambda", "gamma", "R", "D", "C"):
        assert found["closure"][name] == pytest.approx(rows[-1][name] - rows[0][name])
    # a step a stroke leaves θ anywhere, and no heat or efficiency follows from it. But what is
    # called a temperature is one of the losses that were measured
    measured = [row["C"] for row in rows]
    for name in ("C_hot", "C_cold"):
        assert found[name] is None or min(measured) <= found[name] <= max(measured)
    figures = {"cycle", "cycle_terms", "rdc_space", "domains"}
    assert {path.stem for path in (run / "figures").glob("*.png")} == figures


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_fits_and_its_checkpoint_serves_the_other_commands(
    path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = shortened(tmp_path, path)
    assert main(["fit", "--config", str(config)]) == 0, capfd.readouterr().err
    runs = tmp_path / "runs"
    saved = (runs / "version_0" / "checkpoints").glob("*.ckpt")
    (checkpoint,) = (path for path in saved if path.name != "last.before.ckpt")
    check_run(runs / "version_0", yaml.safe_load(config.read_text()))
    # evaluations differ in the split alone
    for command in ("validate", "test", "predict") if path.stem == "iso_digits" else COMMANDS:
        words = [command, "--config", str(config), "--ckpt_path", str(checkpoint)]
        assert main(words) == 0, capfd.readouterr().err
    printed = capfd.readouterr().out
    assert ("test/J" in printed) == (path.stem == "iso_digits")
    assert "val/J" in printed
    (predictions,) = runs.glob("*/predictions.npz")
    arrays = np.load(predictions)
    model = yaml.safe_load(config.read_text())["model"]["init_args"]
    parts = {"probabilities": "classifier", "reconstruction": "decoder"}
    expected = {"z"} | {array for array, part in parts.items() if part in model}
    if "classifier" in model and "Gaussian" not in model["classifier"]["class_path"]:
        expected.add("classes")  # else the label is a vector
    assert set(arrays) == expected


def stack(path: Path) -> list[Path]:
    """The files of the last command in the head of a variant."""
    (*_, command) = path.read_text().split(" fit ")
    return [FOLDER.parent / name for name in re.findall(r"--config (\S+)", command)]


def run_variant(path: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Run a variant, shortened: its run, and its config."""
    file = shortened(folder, *stack(path))
    config = yaml.safe_load(file.read_text())
    for name, arguments in callbacks_of(config).items():
        if name == "IsoClassification":  # so short a training holds nothing
            arguments["restoring"] = False
    file.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(file)]) == 0
    return folder / "runs" / "version_0", config


def encoder_of_no_training(arguments: dict[str, Any], folder: Path) -> str:
    """A checkpoint with the weights that an encoder begins with."""
    encoder = ConvEncoder(**arguments["encoder"]["init_args"])
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    path = folder / "encoder.ckpt"
    torch.save({"state_dict": state}, path)
    return str(path)


def moves_by_domains(path: Path) -> bool:
    """Whether the process of a variant is `DomainSteps`."""
    return "DomainSteps" in callbacks_of(load(*stack(path)))


@pytest.mark.parametrize(
    "path", [path for path in VARIANTS if moves_by_domains(path)], ids=lambda path: path.stem
)
def test_another_method_runs(path: Path, tmp_path: Path) -> None:
    run, config = run_variant(path, tmp_path)
    arguments, data = callbacks_of(config)["DomainSteps"], config["data"]["init_args"]
    rows = read_csv(run / "path.csv")
    if "waypoints" not in data:  # the labelled images, and the windows after them
        assert [(row["leg"], row["t"]) for row in rows] == [(0, 0), (0, 1), (1, 1), (2, 1)]
        return
    steps = 0 if len(data["waypoints"]) == 1 else arguments["steps"]
    assert [row["t"] for row in rows] == [k / max(steps, 1) for k in range(steps + 1)]
    # images of 4 batches of 32 in each epoch; a mixture shows both ends of each pair on the way
    twice = [1 + (data.get("mixture", False) and 0 < row["t"] < 1) for row in rows]
    counts = [row["gradients"] / (4 * 32 * factor) for row, factor in zip(rows, twice, strict=True)]
    assert counts[0] == 2
    assert all(1 <= count <= arguments["epochs"] and count % 1 == 0 for count in counts[1:])


@pytest.mark.parametrize(
    "path",
    [path for path in VARIANTS if not moves_by_domains(path)],
    ids=lambda path: path.stem,
)
def test_another_path_or_network_runs(path: Path, tmp_path: Path) -> None:
    run, config = run_variant(path, tmp_path)
    data, rows = config["data"]["init_args"], read_csv(run / "path.csv")
    # a stream has a leg to each of its windows, and one of the labelled images at rest
    legs = data["windows"] + 1 if "windows" in data else len(data["waypoints"]) - 1
    assert {row["leg"] for row in rows} == set(range(legs))
    assert rows[-1]["t"] == 1
    assert all(row["C_target"] == rows[0]["C_target"] for row in rows)


def said(path: Path) -> dict[str, Any]:
    """What a file says itself; its bases as a list."""
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    if isinstance(config.get("base"), str):
        config["base"] = [config["base"]]
    return config


@pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.stem)
def test_a_variant_is_like_its_config_but_for_what_it_names(path: Path) -> None:
    assert stack(path)[-1] == path
    over, below = load(*stack(path)), load(FOLDER / f"{path.parent.name}.yaml")
    named = load(path) if len(stack(path)) > 1 else yaml.safe_load(path.read_text())
    different = {"callbacks", "default_root_dir"}
    for section in ("model", "data"):
        parts = named.get(section, {}).get("init_args", {})
        if path.stem == "latents_from_scratch":  # by way of latents.yaml, too
            parts |= yaml.safe_load((path.parent / "latents.yaml").read_text())[section][
                "init_args"
            ]
        same = over[section]["init_args"].keys() - parts.keys()
        for part in same:
            assert over[section]["init_args"][part] == below[section]["init_args"][part]
    for key in over["trainer"].keys() - different:
        assert over["trainer"][key] == below["trainer"][key]
    name = path.parent.name.removesuffix("_mnist")
    assert over["trainer"]["default_root_dir"] == f"runs/{name}_{path.stem}"
    processes = {"IsoClassification", "DomainSteps"}
    assert len(processes & {c["class_path"] for c in over["trainer"]["callbacks"]}) == 1


@pytest.mark.parametrize("path", [*CONFIGS, *VARIANTS], ids=lambda path: path.stem)
def test_the_saved_config_is_the_one_that_was_laid_together(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [path] if path in CONFIGS else stack(path)
    words = [word for file in files for word in ("--config", str(file))]
    assert main(["fit", *words, "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert "base" not in printed
    check_within(load(*files), printed)
    parts = printed["model"]["init_args"]
    for name in ("decoder", "classifier", "marginal"):
        if parts[name] is not None and path.stem != "logistic_digits":
            size = parts["encoder"]["init_args"]["latent_dim"]
            assert parts[name]["init_args"]["latent_dim"] == size


def check_within(part: Any, whole: Any) -> None:
    """Everything in a config is in the resolved one, classes by their full names."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "class_path":
                assert whole[key].rpartition(".")[2] == value.rpartition(".")[2]
            else:
                check_within(value, whole[key])
    elif isinstance(part, list):
        assert len(part) == len(whole)
        for one, other in zip(part, whole, strict=True):
            check_within(one, other)
    else:
        assert part == whole


@pytest.mark.parametrize("path", [*CONFIGS, *VARIANTS], ids=lambda path: path.stem)
def test_a_config_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 45


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_is_named_after_its_runs_and_says_what_it_does(path: Path) -> None:
    assert path.read_text().startswith("# ")
    assert load(path)["trainer"]["default_root_dir"] == f"runs/{path.stem}"


@pytest.mark.slow
def test_main_job_holds_the_classification_loss_on_real_digits(tmp_path: Path) -> None:
    (path,) = (path for path in CONFIGS if path.stem == "iso_digits")
    config = write(load(path), tmp_path)
    assert main(["fit", "--config", str(config)]) == 0
    run = tmp_path / "runs" / "version_0"
    rows = read_csv(run / "path.csv")
    # the bounds of the project's own promise, on every row
    assert max(abs(row["C"] / row["C_target"] - 1) for row in rows) <= 0.02
    assert max(abs(row["C_predicted"] / row["C_target"] - 1) for row in rows[1:]) <= 0.05
    summary = json.loads((run / "summary.json").read_text())
    assert summary["first_law_residual_median"] <= 0.05
    assert summary["accuracy"]["B"][1] >= 0.97
    assert summary["accuracy"]["B"][0] < 0.5  # it was not there from the start
    assert rows[-1]["lambda"] == pytest.approx(1.5, abs=1e-9)
    assert summary["ending"] == "done"
