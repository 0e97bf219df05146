"""The command line, from the words typed to what is on disk."""

from __future__ import annotations

import copy
import errno
import io
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml
from jsonargparse import Namespace

from support import command_line
from thermo_pl import __version__
from thermo_pl.cli import lightning, main
from thermo_pl.cli.front import COMMANDS, script
from thermo_pl.configs.layers import load
from thermo_pl.errors import ProcessStopped
from thermo_pl.files import read_csv
from thermo_pl.module import FreeEnergyModel

CONFIG: dict[str, Any] = copy.deepcopy(command_line.CONFIG)
CONFIG["model"]["init_args"].pop("decoder")
CONFIG["model"]["init_args"] |= {"lam": 0.0, "gam": 2.0}
CONFIG["data"]["init_args"] |= {"waypoints": [{"classes": [0, 1]}], "cache_dir": "cache"}
CONFIG["data"]["init_args"] |= {"batch_size": 8, "train_batches": 2}
CONFIG["trainer"] = {
    "accelerator": "cpu",
    "max_epochs": 1,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "callbacks": [
        {"class_path": "test_cli.Spy", "init_args": {"number": 3}},
        {"class_path": "ModelCheckpoint"},
    ],
}


class Spy(pl.Callback):
    """Remembers the model of a run."""

    model: Any = None

    def __init__(self, number: int = 0, pair: tuple[float, float] | None = None) -> None:
        """Take arguments to be mistaken in."""
        self.number = number
        self.pair = pair

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        Spy.model = pl_module


class Two(FreeEnergyModel):
    """Trains by two optimisers."""

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(part.parameters()) for part in (self.encoder, self.classifier)]


class Prints(pl.Callback):
    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        print("γ =", float(pl_module.gam))


class Raises(pl.Callback):
    def __init__(self, what: str) -> None:
        """Raise ``what``."""
        self.what = what

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        raise {
            "stop": ProcessStopped("gamma: got -1\n  at step 3; allowed: > 0"),
            "bug": ValueError("a bug"),
            "disk": OSError(errno.ENOSPC, "No space left on device", "runs/path.csv"),
            "interrupt": KeyboardInterrupt(),
        }[self.what]


class KeepsHyperparameters(pl.LightningModule):
    """A model whose checkpoints hold hyperparameters that LightningCLI would load."""

    def __init__(self, number: int = 1) -> None:
        """Keep ``number``."""
        super().__init__()
        self.save_hyperparameters()
        self.number = number
        self.linear = torch.nn.Linear(1, 1)

    def validation_step(self, *_: Any) -> None: ...


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("THERMO_PL_RUN_DIR", raising=False)


def changed(path: str, to: Any) -> dict[str, Any]:
    """CONFIG with the value at a place set, or removed."""
    config = copy.deepcopy(CONFIG)
    node: Any = config
    *keys, last = [int(k) if k.isdigit() else k for k in re.findall(r"[^.[\]]+", path)]
    for key in keys:
        node = node[key] if isinstance(key, int) else node.setdefault(key, {})
    if to is ...:
        del node[last]
    else:
        node[last] = to
    return config


def write(config: dict[str, Any], name: str = "config.yaml") -> str:
    Path(name).write_text(yaml.safe_dump(config))
    return name


def call(*flags: str, command: str = "fit", config: dict[str, Any] = CONFIG) -> int:
    return main([command, "--config", write(config), *flags])


# --- the front ---


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["-h"], []])
def test_the_front_imports_neither_torch_nor_lightning(words: list[str]) -> None:
    code = (
        "import sys; from thermo_pl.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'pytorch_lightning', 'jsonargparse', 'numpy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0 if words else 2, "")
    assert done.stdout


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"thermo-pl {__version__}\n"
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)


def test_the_script_finds_a_network_where_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(sys, "argv", ["thermo-pl", "--version"])
    Path("net_of_ones_own.py").write_text("")
    assert script() == 0
    assert find_spec("net_of_ones_own")


def test_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--help"]) == 0
    assert "--trainer.max_epochs" in capsys.readouterr().out


# --- runs ---


def test_two_runs_do_not_collide_and_a_config_repeats_its_run() -> None:
    assert call() == 0
    first = Path("runs/version_0")
    names = {str(path.relative_to(first)) for path in first.rglob("*") if path.is_file()}
    assert {"config.yaml", "metrics.csv", "report.html", "versions.json"} <= names
    assert [name for name in names if name.startswith("checkpoints/") and name.endswith(".ckpt")]
    weights = Spy.model.state_dict()
    page = Path(first, "report.html").read_text()
    losses = [row["val/J"] for row in read_csv(first / "metrics.csv") if row["val/J"] is not None]
    assert f"<b>{losses[-1]:.4g}</b>" in page  # metrics.csv was whole by then

    assert main(["fit", "--config", str(first / "config.yaml")]) == 0
    again = Path("runs/version_1")
    assert (again / "config.yaml").read_text() == (first / "config.yaml").read_text()
    assert (
        yaml.safe_load((again / "config.yaml").read_text())["trainer"]["default_root_dir"] == "runs"
    )
    for name, value in Spy.model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert {path.name for path in Path().iterdir()} <= {"cache", "config.yaml", "runs"}


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_every_command_has_a_directory(command: str) -> None:
    assert call("--trainer.default_root_dir", "elsewhere", command=command) == 0
    assert Path("elsewhere/version_0/config.yaml").is_file()
    assert not Path("runs").exists()


def test_fast_dev_run() -> None:
    assert call("--trainer.fast_dev_run", "true") == 0
    left = sorted(path.name for path in Path("runs/version_0").iterdir())
    assert left == ["config.yaml", "versions.json"]


def test_a_logger_without_a_place_of_its_own_writes_into_the_run() -> None:
    config = changed("trainer.logger", to={"class_path": "test_cli.PlacedLogger"})
    assert call("--trainer.fast_dev_run", "false", config=config) == 0
    assert PlacedLogger.seen == str(Path("runs/version_0"))
    assert list(Path("runs/version_0/checkpoints").glob("*.ckpt"))


class PlacedLogger(pl.loggers.CSVLogger):
    seen = ""

    def __init__(self, save_dir: str = ".") -> None:
        """Remember the place."""
        super().__init__(save_dir)
        PlacedLogger.seen = save_dir


@pytest.mark.parametrize(("given", "batches"), [("1", 1), ("1.0", 2), ("0.5", 1), ("2", 2)])
def test_one_batch_is_not_all_of_them(given: str, batches: int) -> None:
    assert call("--trainer.limit_train_batches", given) == 0
    assert Spy.model.trainer.num_training_batches == batches
    saved = load("runs/version_0/config.yaml")
    assert str(saved["trainer"]["limit_train_batches"]) == given


def test_a_file_of_torch_that_is_no_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weights": torch.zeros(2)}, "weights.pt")
    assert call("--ckpt_path", "weights.pt") == 2
    assert "ckpt_path: got 'weights.pt'; allowed: a whole checkpoint" in capsys.readouterr().err


@pytest.mark.slow  # imports everything anew
def test_a_poor_console_and_a_notebook_that_is_not_here() -> None:
    strange = {"MPLBACKEND": "module://of.a.notebook", "PYTHONIOENCODING": "cp1252"}
    command = [sys.executable, "-m", "thermo_pl", "fit", "--help"]
    ran = subprocess.run(command, env=os.environ | strange, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert b"--trainer.max_epochs" in ran.stdout


def test_a_console_without_greek_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", console)
    print_all = {"class_path": "test_cli.Prints"}
    assert call(config=changed("trainer.callbacks", to=[print_all])) == 0
    console.flush()
    assert b"? = 2.0" in console.buffer.getvalue()  # type: ignore[attr-defined]


def test_flags_win_over_the_file() -> None:
    assert call("--model.init_args.gam", "3.5", "--trainer.fast_dev_run", "true") == 0
    assert float(Spy.model.gam) == pytest.approx(3.5)
    saved = yaml.safe_load(Path("runs/version_0/config.yaml").read_text())
    assert saved["model"]["init_args"]["gam"] == pytest.approx(3.5)


def test_hyperparameters_in_a_checkpoint_do_not_overrule_the_config() -> None:
    config = changed("model", to={"class_path": "test_cli.KeepsHyperparameters"})
    model = KeepsHyperparameters(number=7)
    trainer = pl.Trainer(logger=False, accelerator="cpu", enable_progress_bar=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint("seven.ckpt")
    assert torch.load("seven.ckpt")["hyper_parameters"] == {"number": 7}
    config["model"]["init_args"] = {"number": 2}
    # This base class stands in for the model's, which takes no other.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lightning, "FreeEnergyModel", pl.LightningModule)
        assert call("--ckpt_path", "seven.ckpt", command="validate", config=config) == 0
    assert Spy.model.number == 2
    assert torch.equal(Spy.model.linear.weight, model.linear.weight)
    saved = yaml.safe_load(Path("runs/version_0/config.yaml").read_text())
    assert saved["model"]["init_args"]["number"] == 2
    assert saved["ckpt_path"] == "seven.ckpt"


def test_a_process_that_stops(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--trainer.callbacks+={class_path: test_cli.Raises, init_args: {what: stop}}") == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "error: gamma: got -1 at step 3; allowed: > 0"
    assert Path("runs/version_0/config.yaml").is_file()


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="a bug"):
        call("--trainer.callbacks+={class_path: test_cli.Raises, init_args: {what: bug}}")
    assert Path("runs/version_0/config.yaml").is_file()


def test_a_disk_that_is_full_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--trainer.callbacks+={class_path: test_cli.Raises, init_args: {what: disk}}") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: runs/path.csv: got No space left on device; allowed: files and")


def test_an_interrupt_keeps_what_is_on_disk() -> None:
    flag = "--trainer.callbacks+={class_path: test_cli.Raises, init_args: {what: interrupt}}"
    assert call(flag, "--trainer.log_every_n_steps", "1") == 130
    assert Path("runs/version_0/config.yaml").is_file()
    assert len(Path("runs/version_0/metrics.csv").read_text().splitlines()) > 1


def test_another_rank_takes_the_directory_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("given").mkdir()
    monkeypatch.setenv("THERMO_PL_RUN_DIR", "given")
    monkeypatch.setattr(lightning.rank_zero_only, "rank", 1)
    cli = object.__new__(lightning.ThermoCLI)
    cli.settings = Namespace(threads=None, trainer=Namespace(default_root_dir="runs", logger=None))
    cli._ckpt_path, cli._root = None, "runs"
    cli.before_instantiate_classes()
    assert cli.run_dir == Path("given")
    assert not Path("runs").exists()


# --- mistakes ---

MODEL = "model.init_args"
ENCODER = f"{MODEL}.encoder"
OPTIMIZER = f"{MODEL}.optimizer"
DATA = "data.init_args"
WAYPOINT = f"{DATA}.waypoints[0]"
CALLBACK = "trainer.callbacks[0]"
CSV = {"class_path": "CSVLogger"}

# what is set in the config, to what, and what the line that says so allows
IN_YAML: list[tuple[str, Any, str]] = [
    ("trainers", {"a": 1}, "no such key"),
    ("trainer.max_epoch", 3, "max_epochs"),
    ("trainer.max_epochs", "abc", "int, null"),
    ("trainer.max_epochs", None, "max_steps, max_time, or a process in trainer.callbacks"),
    ("trainer", 3, "max_epochs"),
    ("trainer.precision", "17", "'16-mixed'"),
    ("trainer.accelerator", "gpux", "cpu"),
    ("trainer.devices", -5, "int > 0"),
    ("trainer.max_steps", -8, "non-negative"),
    ("trainer.strategy", "x", "ddp"),
    ("trainer.logger", "Foo", "WandbRunLogger"),
    ("trainer.default_root_dir", "config.yaml", "a local directory"),
    ("seed_everything", "x", "bool, int"),
    ("ckpt_path", "no.ckpt", "an existing checkpoint file"),
    ("ckpt_path", "last", "a checkpoint file"),
    ("ckpt_path", "config.yaml", "a whole checkpoint"),
    ("model", ..., "--config FILE"),
    ("data", ..., "--config FILE"),
    ("model.class_path", "NoSuch", "FreeEnergyModel"),
    ("model", "NoSuch", "FreeEnergyModel"),
    ("model", [1], "FreeEnergyModel"),
    ("model.lam", 3, "beside class_path"),
    (MODEL, 3, "arguments"),
    (f"{MODEL}.lam", "abc", "float"),
    (f"{MODEL}.lam", -1.0, "≥ 0"),
    (f"{MODEL}.lambda", 1.0, "lam"),
    (f"{MODEL}.scheduler_interval", "x", "'epoch', 'step'"),
    (f"{MODEL}.marginal", None, "a Marginal"),
    (ENCODER, ..., "Encoder"),
    (ENCODER, 3, "Encoder"),
    (f"{ENCODER}.class_path", "MLPEncodr", "MLPEncoder"),
    (f"{ENCODER}.class_path", "os.Nope", "MLPEncoder"),
    (f"{ENCODER}.class_path", "no.such.X", "MLPEncoder"),
    (f"{ENCODER}.class_path", 3, "name of a class"),
    (f"{ENCODER}.init_args", None, "arguments"),
    (f"{ENCODER}.init_args.hidden[0]", "x", "int"),
    (f"{ENCODER}.init_args.hidden", "abc", "Sequence[int]"),
    (f"{ENCODER}.init_args.hiden", [4], "hidden"),
    (f"{ENCODER}.init_args.latent_dim", ..., "int"),
    (f"{ENCODER}.init_args.latent_dim", -2, "> 0"),
    (f"{OPTIMIZER}.class_path", "Adamm", "Adam"),
    (f"{OPTIMIZER}.class_path", "torch.nn.Linear", "Adam"),
    (f"{OPTIMIZER}.init_args.lr", "abc", "float"),
    (f"{OPTIMIZER}.init_args.lr", -1.0, "Invalid learning rate"),
    (f"{OPTIMIZER}.init_args.lrr", 0.1, "lr"),
    (OPTIMIZER, [1, 2], "Adam"),
    ("model.init_args.scheduler", [1, 2], "MacroStepCosine"),
    ("threads", 10**18, "from 1 to 1024"),
    ("data.class_path", "Digit", "InterpolatedDataModule"),
    (f"{DATA}.batch_size", 0, "from 1"),
    (f"{DATA}.waypoints", 3, "list[Waypoint]"),
    (f"{WAYPOINT}.classes", "abc", "list[int | str]"),
    (f"{WAYPOINT}.classes[1]", [1], "int"),
    (f"{WAYPOINT}.clases", [1], "classes"),
    (f"{WAYPOINT}.source.class_path", "Digitz", "Digits"),
    ("trainer.callbacks", 3, "list[Callback]"),
    (f"{CALLBACK}.class_path", "ModelCheckpont", "ModelCheckpoint"),
    (f"{CALLBACK}.init_args.number", "x", "int"),
    (f"{CALLBACK}.init_args.numbr", 1, "number"),
    (f"{CALLBACK}.init_args.pair", [1], "tuple[float, float], null"),
    ("trainer.callbacks[1].init_args.save_top_k", -7, ">= -1"),
]
# the same, where the line begins elsewhere
DEEPER: list[tuple[str, Any, str, str]] = [
    ("trainer.logger", CSV, "trainer.logger.init_args.save_dir: got nothing", "str"),
    (
        "trainer.logger",
        [CSV | {"init_args": {"save_dirr": "x"}}],
        "trainer.logger[0].init_args.save_dirr: got 'x'",
        "save_dir",
    ),
    (f"{WAYPOINT}.classes", [0, 77], "waypoints[0]", "77"),
    ("model.init_args.eval_samples", 10**18, "memory: got ", "model.eval_samples"),
    (
        f"{OPTIMIZER}.init_args",
        {"lr": 0.1, "fused": True, "foreach": True},
        f"{OPTIMIZER}.init_args.fused: got True",
        "cannot be `True` together",
    ),
    (
        ENCODER,
        {"class_path": "Encoder", "init_args": {"image_shape": [1, 8, 8], "latent_dim": 2}},
        f"{ENCODER}.class_path: got 'Encoder'",
        "MLPEncoder",
    ),
    (f"{CALLBACK}.init_args.pair", [1, "b"], f"{CALLBACK}.init_args.pair[1]: got 'b'", "float"),
]


def check_mistake(code: int, err: str, parts: list[str]) -> None:
    lines = err.splitlines()
    assert code == 2
    assert len(lines) <= 6, err
    assert lines[-1].startswith("error: ")
    for part in parts:
        assert part in lines[-1]


@pytest.mark.parametrize(
    ("path", "value", "told", "allowed"),
    [(p, v, f"{p}: got {'nothing' if v is ... else repr(v)}", a) for p, v, a in IN_YAML] + DEEPER,
    ids=lambda part: str(part),
)
def test_a_mistake_in_the_file_is_told_in_one_line(
    path: str, value: Any, told: str, allowed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = call(config=changed(path, to=value))
    check_mistake(code, capsys.readouterr().err, [told, allowed])


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--trainer.max_epoch", "3"], ["trainer.max_epoch: got 3", "max_epochs"]),
        (["--trainer.max_epoch=3"], ["trainer.max_epoch: got 3", "max_epochs"]),
        (["--nonsense", "3"], ["nonsense: got 3", "no such key", "trainer"]),
        (["--trainer.max_epochs"], ["--trainer.max_epochs"]),
        (["--trainer.max_epochs", "abc"], ["trainer.max_epochs: got 'abc'", "int, null"]),
        (["--model.gam", "abc"], ["model.init_args.gam: got 'abc'", "float"]),
        (["--model.gamm", "1"], ["model.init_args.gamm: ", "gam"]),
        (["--model.encoder.latent_dim", "w"], ["encoder.init_args.latent_dim: got 'w'", "int"]),
        (["--model", "Nope"], ["model.class_path: got 'Nope'", "FreeEnergyModel"]),
        (["--model", "os.Nope"], ["model.class_path: got 'os.Nope'", "FreeEnergyModel"]),
        (["--trainer.callbacks.numbr", "3"], ["numbr", "3"]),
        (["--trainer.callbacks+=Nope"], ["trainer.callbacks", "got 'Nope'", "class"]),
        (["--trainer", "no.yaml"], ["trainer: got 'no.yaml'", "max_epochs"]),
        (["extra"], ["extra: got a word too many", "--KEY VALUE"]),
    ],
    ids=" ".join,
)
def test_a_mistake_in_the_flags_is_told_in_one_line(
    flags: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    check_mistake(call(*flags), capsys.readouterr().err, parts)


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_abbreviated_flags_are_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = call("--trainer.fast_dev", "true", command=command)
    check_mistake(code, capsys.readouterr().err, ["trainer.fast_dev", "fast_dev_run"])


@pytest.mark.parametrize(
    ("words", "content", "parts"),
    [
        (["ft"], None, ["got 'ft'", "did you mean 'fit'", "validate"]),
        (["--config", "x.yaml", "fit"], "", ["got '--config'", "fit, validate"]),
        (["fit"], None, ["model: got nothing", "--config FILE"]),
        (["fit", "--config"], None, ["--config: got ''", "a YAML file"]),
        (["fit", "--config", "no.yaml"], None, ["--config: ", "no.yaml", "YAML"]),
        (["fit", "--config", "."], None, ["--config: got '.'", "directory", "a YAML file"]),
        (["fit", "--config", "x.yaml"], "model:\n  a: [1\n b: 2\n", ["x.yaml, line 3, column 3"]),
        (["fit", "--config=x.yaml"], "trainer:\n\ta: 3\n", ["x.yaml, line 2, column 1"]),
        (["fit", "-c", "x.yaml"], "- 1\n", ["x.yaml: got [1]", "model, data, trainer"]),
        (["fit", "-c", ""], None, ["--config: got ''", "a YAML file"]),
        (["fit", "-c", "x.yaml"], "", ["x.yaml: got None", "model, data, trainer"]),
    ],
)
def test_a_mistake_around_the_file_is_told_in_one_line(
    words: list[str],
    content: str | None,
    parts: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    if content is not None:
        Path("x.yaml").write_text(content)
    check_mistake(main(words), capsys.readouterr().err, parts)


@pytest.mark.parametrize(
    "flag", [["max_steps", "1"], ["max_time", "00:00:00:01"], ["fast_dev_run", "true"]], ids=str
)
def test_a_fit_without_epochs_may_end_otherwise(flag: list[str]) -> None:
    name, value = flag
    assert call(f"--trainer.{name}", value, config=changed("trainer.max_epochs", to=None)) == 0


def test_a_process_is_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    config = changed("trainer", to={"accelerator": "cpu", "min_epochs": 3})
    assert call(config=config) == 2
    assert "error: trainer.max_epochs: got None" in capsys.readouterr().err
    process = {"class_path": "IsoClassification", "init_args": {"k": 1.0, "steps": 1}}
    config["trainer"]["callbacks"] = [process]
    assert call(config=config) == 2  # the next thing that is wrong with it
    assert "error: trainer.min_epochs: got 3; allowed: none" in capsys.readouterr().err
    # Lightning's 1,000 epochs are not its end either
    del config["trainer"]["min_epochs"]
    config["trainer"]["callbacks"] = [{"class_path": "test_cli.Spy"}, process]
    config["data"]["init_args"]["mixture"] = True  # refused once a trainer is there
    assert call(config=config) == 2
    assert Spy.model.trainer.max_epochs == -1
    told = capsys.readouterr().err
    assert "max_epochs" not in told
    assert "error: data.mixture: got True" in told


def test_several_optimisers_are_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(config=changed("model.class_path", to="test_cli.Two")) == 2
    assert "model: got several optimisers; allowed: one" in capsys.readouterr().err


def test_a_module_that_cannot_be_imported_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken_networks.py").write_text("from torch import Nothing\n")
    monkeypatch.syspath_prepend(Path.cwd())
    config = changed("model.init_args.encoder.class_path", to="broken_networks.Mine")
    assert call(config=config) == 2
    told = capsys.readouterr().err
    assert "got 'broken_networks.Mine', whose module raises ImportError: cannot import name" in told


def test_a_file_that_is_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.yaml").write_bytes(b"\xff\xfe")
    check_mistake(main(["fit", "-c", "x.yaml"]), capsys.readouterr().err, ["x.yaml: got", "UTF-8"])


@pytest.mark.parametrize("key", ["tolerance", "passes", "equilibration"])
def test_keys_that_a_constructor_hands_on_to_its_bases_are_known(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(__file__).parents[2] / "lightning_configs"
    config = load(folder / "carnot_exact.yaml")
    arguments = config["trainer"]["callbacks"][-1]["init_args"]
    arguments[key[:-1]] = 1  # a slip
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    place = f"trainer.callbacks[3].init_args.{key[:-1]}"
    assert line.startswith(f"error: {place}: got 1, but there is no such key; allowed: {key}, ")
