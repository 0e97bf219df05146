"""Weights & Biases as one more reader of a run: offline unless asked, and never in its way."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric.loggers.logger import rank_zero_experiment
from lightning_utilities.core.rank_zero import rank_zero_info, rank_zero_only, rank_zero_warn
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import DummyLogger

from thermo_pl.errors import require
from thermo_pl.runs.directory import versions
from thermo_pl.runs.wandb_content import (
    axis_of,
    by_class,
    columns_and_data,
    final_values,
    over_all_axes,
    portable,
    read_json,
    read_tables,
)

Mode = Literal["online", "offline", "disabled"]


class WandbRunLogger(WandbLogger):
    """Lightning's W&B logger, made so that a run never depends on W&B and tells nothing private.

    Where W&B cannot be had (no key, no server, no package) the run is recorded offline, or not at
    all, with one warning. A run's files hold no host name, no absolute paths, no command line and
    no environment unless ``record_machine`` asks for them.
    """

    def __init__(
        self,
        project: str | None = None,
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
            project: the project in the web interface; ``WANDB_PROJECT`` decides if not given, and
                else ``thermo_pl``.
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
        with contextlib.suppress(ImportError):  # no wandb: told when the run begins
            super().__init__()
        self._labels = {"group": group, "job_type": job_type, "tags": list(tags)}
        self._project_name = project or os.environ.get("WANDB_PROJECT") or "thermo_pl"
        self._title, self._run_id = name, version
        self._directory = save_dir
        self._run: Any = None
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
        plain = config if self.record_machine else portable(config)
        self._config = {**by_class(plain), "seed": config.get("seed_everything")}
        self._labels["job_type"] = job_type or self._labels["job_type"]
        if self._labels["group"] is None:  # runs of one experiment belong together
            self._labels["group"] = Path(config["trainer"]["default_root_dir"] or "runs").name
        self._run_id = version or self._run_id

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """W&B's run; begun when it is first asked for. A dummy where there is none."""
        if self._run is None:
            self._run = self._start()
        return self._run

    @property
    def name(self) -> str:
        """The project, as Lightning has it."""
        return self._project_name

    @property
    def save_dir(self) -> str:
        """Where the folder ``wandb`` is made."""
        return self._directory

    @property
    def version(self) -> str | None:
        """W&B's id of the run; None before it begins and where there is no run."""
        return self._run_id

    # to another process goes all but the run itself, which it goes on with under the same id
    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_run": None}

    def after_save_checkpoint(self, checkpoint_callback: object) -> None:
        """Checkpoints stay in the run directory."""

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
        values = over_all_axes(metrics)
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

        W&B's service writes the end of the run's files after this returns. They are complete when
        the program ends, or after ``wandb.teardown()``.

        Args:
            status: how Lightning's trainer ended.
        """
        if self._run is not None:
            self._attempt(lambda run: run.finish(exit_code=int(status != "success")))
            self._run = None
            self._defined.clear()

    def _attempt(self, act: Callable[[Any], None]) -> None:
        # whatever goes wrong in there is W&B's affair: the run goes on without it
        run = self.experiment
        if self._off:
            return
        try:
            act(run)
        except Exception as error:
            self._run = self._without(error)

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
            for folder in Path(self._directory or ".").glob(f"wandb/run-*-{self._run_id}"):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        rank_zero_info(f"Weights & Biases: {run.url}")
        return run

    def _open(self, wandb: Any, mode: str) -> Any:
        place = Path(self._directory or ".")
        name = self._title or (None if self._run_id else "/".join(place.absolute().parts[-2:]))
        self._run_id = self._run_id or os.environ.get("WANDB_RUN_ID") or uuid.uuid4().hex[:8]
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
            project=self._project_name,
            name=name,
            dir=place,
            id=self._run_id,
            resume="allow",
            reinit="create_new",  # a run of somebody else in this process is none of ours
            config={**self._config, "versions": versions()},
            settings=settings,
            **self._labels,
        )
        if not self.record_machine:  # W&B's own diary names absolute paths
            shutil.rmtree(Path(run.settings.log_user).parent, ignore_errors=True)
        # what Lightning's logger defines; names of our own win over it, globs would not
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        return run

    def _log(self, run: Any, values: Mapping[str, Any]) -> None:
        for name in values.keys() - self._defined:
            if axis := axis_of(name):
                run.define_metric(name, step_metric=None if name == axis else axis)
            self._defined.add(name)
        run.log(dict(values))

    def _log_directory(self, run: Any, directory: Path) -> None:
        import wandb

        tables = read_tables(directory)
        media: dict[str, Any] = {}
        for name, rows in tables.items():
            if rows:
                media[f"tables/{name}"] = table = _table(wandb, rows)
                # Bound to the run beforehand: W&B would make an artifact of it, whose file lies in
                # a folder of the user's, under an absolute path that the run's files would name.
                table.bind_to_run(run, f"tables/{name}", run.step)
        for path in sorted((directory / "figures").glob("*.png")):
            media[f"figures/{path.stem}"] = wandb.Image(str(path))
        if (page := directory / "report.html").is_file():
            media["report"] = wandb.Html(str(page), inject=False)
        cycle = final_values(read_json(directory / "cycle.json") or {}, "cycle/")
        if media or cycle:  # why there is no efficiency is text, for the summary alone
            numbers = {name: x for name, x in cycle.items() if isinstance(x, int | float)}
            self._log(run, media | numbers)
        summary = read_json(directory / "summary.json") or {}
        summary.pop("cycle", None)  # the same as cycle.json
        final = final_values(summary, "final/")
        if laws := tables["laws"]:
            final["final/laws_violated"] = sum(law["verdict"] == "violated" for law in laws)
        run.summary.update(final | cycle)

    def _without(self, why: object) -> Any:
        rest = f"; what it has can be uploaded later: {self._sync()}" if self._run else ""
        self._warn(f"{_line(why)}; the run goes on without it, see {self._directory}{rest}")
        self._off = True
        return DummyLogger().experiment

    def _sync(self) -> str:
        return f"wandb sync {self._directory}/wandb/*run-*"

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


def _line(why: object) -> str:
    return (str(why).splitlines() or [type(why).__name__])[0]


def _table(wandb: Any, rows: Sequence[Mapping[str, Any]]) -> Any:
    columns, data = columns_and_data(rows)
    return wandb.Table(columns=columns, data=data, allow_mixed_types=True)
