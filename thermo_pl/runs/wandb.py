"""Weights & Biases as one more reader of a run: offline unless asked, and never in its way."""

from __future__ import annotations

import json
import os
import platform
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric.loggers.logger import rank_zero_experiment
from lightning_utilities.core.rank_zero import rank_zero_info, rank_zero_only, rank_zero_warn
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import DummyLogger, Logger

from thermo_pl import __version__
from thermo_pl.errors import require
from thermo_pl.runs.directory import read_csv

Mode = Literal["online", "offline", "disabled"]
STEP = "thermo/step"
"""The x-axis of everything a process measures: its macro-steps."""
SECTIONS = ("thermo/", "law/", "response/", "cycle/")
"""What is drawn over it."""
AXES = {"thermo/t": "over_t/", "thermo/phase": "over_phase/"}
"""More x-axes, each with a section of plots of its own: W&B knows one x-axis for a name."""
PATH_PLOTS = ("R", "D", "C", "J", "F", "C_target", "lambda", "gamma")
"""What those sections show."""
LIBRARIES = ("torch", "pytorch-lightning", "POT", "scikit-learn", "numpy", "wandb")
"""Whose versions a run's config tells."""


class WandbRunLogger(WandbLogger):
    """Lightning's W&B logger, made so that a run never depends on W&B and tells nothing private.

    Where W&B cannot be had (no key, no server, no package) the run is recorded offline, or not at
    all, with one warning. A run's files hold no host name, no absolute paths, no command line and
    no environment unless ``record_machine`` asks for them.
    """

    def __init__(
        self,
        project: str = "thermo_pl",
        group: str | None = None,
        job_type: str | None = None,
        tags: Sequence[str] = (),
        name: str | None = None,
        mode: Mode | None = None,
        record_machine: bool = False,
        timeout: float = 5.0,
        save_dir: str = ".",
        version: str | None = None,
    ) -> None:
        """Keep the settings; nothing is imported or written before the run begins.

        Args:
            project: the project in the web interface.
            group: group of the run there; on the command line the last part of
                ``trainer.default_root_dir`` if not given.
            job_type: kind of the run there.
            tags: its tags.
            name: its name; the last two parts of ``save_dir`` if not given.
            mode: ``online``, ``offline`` or ``disabled``; ``WANDB_MODE`` decides if not given, and
                ``offline`` holds where that is not set either.
            record_machine: record host name, paths, command line, git remote, console, hardware
                and its load as well, which W&B does by default.
            timeout: seconds that a server which does not answer may hold up a run at its start,
                and again at its end.
            save_dir: where the folder ``wandb`` is made; the run directory on the command line.
            version: id of a run to go on with.
        """
        allowed = "online, offline, disabled"
        require(mode in {None, *allowed.split(", ")}, "mode", mode, allowed)
        require(timeout > 0, "timeout", timeout, "a number > 0 (seconds)")
        settings: dict[str, Any] = {"group": group, "job_type": job_type, "tags": list(tags)}
        try:
            super().__init__(name, save_dir, version, project=project, **settings)
        except ImportError:  # told when the run begins
            Logger.__init__(self)
            self._experiment, self._name, self._id = None, name, version
            self._project, self._save_dir = project, save_dir
            self._wandb_init = settings
            self._checkpoint_callbacks, self._log_model = {}, False
        self.mode = mode
        self.record_machine = record_machine
        self.timeout = timeout
        self._config: dict[str, Any] = {}
        self._defined: set[str] = set()
        self._off = False

    def describe(
        self, config: Mapping[str, Any], job_type: str | None = None, version: str | None = None
    ) -> None:
        """What the command line knows of a run before it begins.

        Args:
            config: the whole config with all defaults, as plain data.
            job_type: kind of the run in place of the config's.
            version: id of the run that this one goes on with.
        """
        plain = config if self.record_machine else _portable(config)
        self._config = {**_by_class(plain), "seed": config.get("seed_everything")}
        self._wandb_init["job_type"] = job_type or self._wandb_init["job_type"]
        if self._wandb_init["group"] is None:  # runs of one experiment belong together
            self._wandb_init["group"] = Path(config["trainer"]["default_root_dir"] or "runs").name
        self._id = version or self._id

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """W&B's run; begun when it is first asked for. A dummy where there is none."""
        if self._experiment is None:
            self._experiment = self._start()
        return self._experiment

    @property
    def version(self) -> str | None:
        """W&B's id of the run; None before it begins and where there is no run."""
        return self._id

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Add to the run's config.

        Args:
            params: names and values.
        """
        log = super().log_hyperparams
        self._attempt(lambda run: log(params))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log scalars, each over its own x-axis.

        Args:
            metrics: names and values.
            step: the trainer's step.
        """
        values = dict(metrics)
        for axis, section in AXES.items():
            if axis in values:
                named = ((name, f"thermo/{name}") for name in PATH_PLOTS)
                values |= {section + name: values[key] for name, key in named if key in values}
        if step is not None:
            values["trainer/global_step"] = step
        self._attempt(lambda run: self._log(run, values))

    @rank_zero_only
    def log_directory(self, directory: Path) -> None:
        """Log what a run directory holds at the end of a run: tables, figures and the summary.

        Args:
            directory: the run directory.
        """
        self._attempt(lambda run: self._log_directory(run, directory))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the run. One that begins later, such as a test after a fit, goes on under its id.

        Args:
            status: how Lightning's trainer ended.
        """
        if self._experiment is not None:
            self._attempt(lambda run: run.finish(exit_code=int(status != "success")))
            self._experiment = None
            self._defined.clear()

    def _attempt(self, act: Callable[[Any], None]) -> None:
        # whatever goes wrong in there is W&B's affair: the run goes on without it
        run = self.experiment
        if self._off:
            return
        try:
            act(run)
        except Exception as error:
            self._experiment = self._without(error)

    def _start(self) -> Any:
        mode = self.mode or os.environ.get("WANDB_MODE") or "offline"
        if mode not in {"online", "offline"}:
            known = "disabled" if mode == "disabled" else f"WANDB_MODE is {mode!r}, not a mode"
            return self._without(known)
        try:
            import wandb  # half a second, so not before it is needed

            if mode == "online":
                try:
                    return self._open_online(wandb)
                except Exception as error:
                    self._warn(f"{_line(error)}; recorded offline, upload later: {self._sync()}")
            return self._open(wandb, "offline")
        except Exception as error:  # a broken install can raise anything
            return self._without(error)

    def _open_online(self, wandb: Any) -> Any:
        # silent: W&B would ask the server who is logged in, and wait, only to greet them
        wandb.setup(settings=wandb.Settings(mode="online", silent=True))
        # without a key wandb.init would ask for one on a terminal, and wait
        if not wandb.login(prompt=False, verify=False):
            raise ValueError("no API key, run: wandb login")
        try:
            run = self._open(wandb, "online")
        except Exception:
            wandb.teardown()  # else the id counts as in use
            for folder in Path(self._save_dir or ".").glob(f"wandb/run-*-{self._id}"):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        rank_zero_info(f"Weights & Biases: {run.url}")
        return run

    def _open(self, wandb: Any, mode: str) -> Any:
        place = Path(self._save_dir or ".")
        name = self._name or (None if self._id else "/".join(place.absolute().parts[-2:]))
        self._id = self._id or os.environ.get("WANDB_RUN_ID") or uuid.uuid4().hex[:8]
        settings = wandb.Settings(
            mode=mode,
            init_timeout=self.timeout / 2,  # the rest is for starting anew, offline
            finish_timeout=self.timeout / 2,  # the rest is what W&B takes to give up at exit
            finish_timeout_raises=True,
            silent=True,
            x_transaction_log_flush_interval=1.0,  # seconds that a killed run loses at most
            **({} if self.record_machine else PRIVATE),
        )
        run = wandb.init(
            project=self._project,
            name=name,
            dir=place,
            id=self._id,
            resume="allow",
            reinit="create_new",  # a run of somebody else in this process is none of ours
            config={**self._config, "versions": _versions()},
            settings=settings,
            **{key: self._wandb_init[key] for key in ("group", "job_type", "tags")},
        )
        if not self.record_machine:  # W&B's own diary names absolute paths
            shutil.rmtree(Path(run.settings.log_user).parent, ignore_errors=True)
        # what Lightning's logger defines; names of our own win over it, globs would not
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        return run

    def _log(self, run: Any, values: Mapping[str, Any]) -> None:
        for name in values.keys() - self._defined:
            if axis := _axis(name):
                run.define_metric(name, step_metric=None if name == axis else axis)
            self._defined.add(name)
        run.log(dict(values))

    def _log_directory(self, run: Any, directory: Path) -> None:
        import wandb

        tables = _tables(directory)
        media: dict[str, Any] = {}
        for name, rows in tables.items():
            if rows:
                media[f"tables/{name}"] = table = _table(wandb, rows)
                # Bound to the run beforehand: W&B would make an artifact of it, whose file lies in
                # a folder of the user's, under an absolute path that the run's files would name.
                table.bind_to_run(run, f"tables/{name}", run.step)
        for path in sorted((directory / "figures").glob("*.png")):
            media[f"figures/{path.stem}"] = wandb.Image(str(path))
        cycle = _final(_read(directory / "cycle.json") or {}, "cycle/")
        if media or cycle:  # why there is no efficiency is text, for the summary alone
            numbers = {name: x for name, x in cycle.items() if isinstance(x, int | float)}
            self._log(run, media | numbers)
        summary = _read(directory / "summary.json") or {}
        summary.pop("cycle", None)  # the same as cycle.json
        final = _final(summary, "final/")
        if laws := tables["laws"]:
            final["final/laws_violated"] = sum(law["verdict"] == "violated" for law in laws)
        run.summary.update(final | cycle)

    def _without(self, why: object) -> Any:
        rest = f"; what it has can be uploaded later: {self._sync()}" if self._experiment else ""
        self._warn(f"{_line(why)}; the run goes on without it, see {self._save_dir}{rest}")
        self._off = True
        return DummyLogger().experiment

    def _sync(self) -> str:
        return f"wandb sync {self._save_dir}/wandb/*run-*"

    def _warn(self, text: str) -> None:
        rank_zero_warn(f"Weights & Biases: {text}")


PRIVATE: dict[str, Any] = {
    "host": "",
    "program": "",
    "console": "off",
    "symlink": False,
    "disable_git": True,
    "disable_code": True,
    "x_save_requirements": False,  # the versions that matter are in the config
    "x_disable_meta": True,  # host name, paths, command line
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "allow_offline_artifacts": False,  # tables in the run directory, not in a folder of the user's
}
"""Settings of W&B under which a run's files tell nothing of the machine."""


def checkpoint_version(path: str | os.PathLike[str] | None) -> str | None:
    """Id of the W&B run that wrote a checkpoint.

    Args:
        path: the checkpoint; None for none.

    Returns:
        The id, None if it had no run.
    """
    if path is None or not Path(path).is_file():
        return None
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    found = content.get("callbacks", {}).get("PathLogger", {}).get("version")
    return None if found is None else str(found)


def _axis(name: str) -> str | None:
    # the x-axis of a name; None for the trainer's step
    if name == STEP or name in AXES:
        return name
    for axis, section in AXES.items():
        if name.startswith(section):
            return axis
    return STEP if name.startswith(SECTIONS) else None


def _line(why: object) -> str:
    return (str(why).splitlines() or [type(why).__name__])[0]


def _versions() -> dict[str, str]:
    found = {"thermo_pl": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _portable(value: Any) -> Any:
    # of an absolute path only the last part
    if isinstance(value, Mapping):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_portable(item) for item in value]
    is_path = isinstance(value, str) and Path(value).is_absolute()
    return Path(value).name if is_path else value


def _by_class(value: Any) -> Any:
    # Lists of classes as mappings from their names: the web interface can only sort and plot by
    # what has a name.
    if isinstance(value, Mapping):
        return {key: _by_class(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    if not value or not all(isinstance(item, Mapping) and "class_path" in item for item in value):
        return [_by_class(item) for item in value]
    named: dict[str, Any] = {}
    for item in value:
        name = key = str(item["class_path"]).rpartition(".")[2]
        count = 1
        while key in named:
            count += 1
            key = f"{name}_{count}"
        named[key] = _by_class(item.get("init_args", {}))
    return named


def _tables(directory: Path) -> dict[str, list[dict[str, Any]]]:
    tables = {name: _read(directory / f"{name}.json") or [] for name in ("strokes", "laws")}
    if (directory / "path.csv").is_file():
        tables["path"] = read_csv(directory / "path.csv")
    return tables


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _table(wandb: Any, rows: Sequence[Mapping[str, Any]]) -> Any:
    flat = [_columns(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    data = [[row.get(name) for name in columns] for row in flat]
    return wandb.Table(columns=columns, data=data, allow_mixed_types=True)


def _columns(row: Mapping[str, Any]) -> dict[str, Any]:
    # cells of a table are numbers and words; a pair is the start and the end of a stroke
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, list) and len(value) == 2:
            found |= {f"{name}_start": value[0], f"{name}_end": value[1]}
        else:
            found[name] = json.dumps(value) if isinstance(value, list | dict) else value
    return found


def _final(value: Any, name: str) -> dict[str, Any]:
    # the end of every pair, the number of things in any other list
    if isinstance(value, Mapping):
        start = name if name.endswith("/") else f"{name}_"
        return {k: v for key, x in value.items() for k, v in _final(x, start + key).items()}
    if isinstance(value, list):
        numbers = len(value) == 2 and not any(isinstance(x, Mapping) for x in value)
        return {name: value[1] if numbers else len(value)}
    return {name: value}
