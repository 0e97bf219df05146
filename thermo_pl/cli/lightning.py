"""The commands that train and evaluate: LightningCLI, told plainly what is wrong, tidy on disk."""

from __future__ import annotations

import inspect
import logging
import os
import re
import signal
import traceback
import typing
import warnings
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NoReturn, cast

import pytorch_lightning as pl
import torch
import yaml
from jsonargparse.typing import PositiveInt
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.callbacks import ModelCheckpoint, Timer
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException

from thermo_pl.callbacks import (
    EntropyReport,
    PathLogger,
    PredictionWriter,
    QuasiStatic,
    ReportPage,
)
from thermo_pl.callbacks.checks import check_trainer
from thermo_pl.cli import ranks, resuming
from thermo_pl.cli.flags import read_flags, split, with_flags, without_replaced_lists
from thermo_pl.configs import layers, mistakes
from thermo_pl.configs.tree import check
from thermo_pl.errors import ConfigError, ProcessStopped, RankLost, ThermoError, require
from thermo_pl.files import write_atomic, write_json
from thermo_pl.module import FreeEnergyModel
from thermo_pl.runs.directory import create_run_directory, versions
from thermo_pl.runs.wandb import WandbRunLogger, checkpoint_version

# Short class names in a config resolve only to classes that were imported before it is parsed.
for _package in ("networks", "callbacks", "datamodules", "optim"):
    import_module(f"thermo_pl.{_package}")

BATCHES = re.compile(r"limit_(train|val|test|predict)_batches|overfit_batches")
MOST_THREADS = 1024
"""More than any processor that torch runs on has cores."""
RUN_DIR_VARIABLE = "THERMO_PL_RUN_DIR"
CHECKPOINT_VARIABLE = "THERMO_PL_CKPT_PATH"

_NOISE = (
    # Images are in memory and a step is cheap: worker processes would slow it down.
    r"The '\w+' does not have many workers",
    # Small data sets have few batches; the loggers' interval does not matter to path.csv.
    r"The number of training batches \(\d+\) is smaller than the logging interval",
    # The directory is this run's own and holds its config.yaml; nothing gets overwritten.
    r"Experiment logs directory .* exists and is not empty",
    # A directory made for this run, empty but for what ModelCheckpoint itself put there.
    r"Checkpoint directory .* exists and is not empty",
    # So it has, with every run: a run writes to a directory of its own.
    r"The dirpath has changed from",
    # PyTorch's own, when it first loads its forward-mode derivatives.
    r"`torch.jit.script` is deprecated",
    # Predictions are written in the loader's order; nobody asks for batch indices.
    r"Couldn't infer the batch indices",
    # PyTorch's deprecation inside Lightning, nothing a user can act on.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


_RESTORING = {"_restore_modules_and_callbacks", "restore_training_state"}
"""Where Lightning takes over what a checkpoint holds; it may hold anything."""


class _Refused(SystemExit):
    """A parser's complaint on its way out; SystemExit, as jsonargparse may catch ValueErrors."""

    def __init__(self, told: str) -> None:
        super().__init__(2)
        self.told = told


class ThermoParser(LightningArgumentParser):
    """A parser that takes no abbreviated flags and leaves the wording of errors to others."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Build a parser, as the base class does."""
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})

    def add_class_arguments(self, theclass: Any, nested_key: Any = None, **kwargs: Any) -> Any:
        """Add the arguments of a class; of a trainer, ``1`` stays a number of batches.

        Lightning takes 1 for one batch and 1.0 for all of them. Python does not tell the unions of
        int and float from those of float and int, and the parser reads them in either order.

        Args:
            theclass: the class.
            nested_key: where its arguments stand.
            **kwargs: as for the base class.

        Returns:
            As the base class.
        """
        if theclass is not pl.Trainer:
            return super().add_class_arguments(theclass, nested_key, **kwargs)
        found = inspect.signature(pl.Trainer).parameters
        batches = {name: found[name].default for name in found if BATCHES.fullmatch(name)}
        skip = {*kwargs.pop("skip", ()), *batches}
        added = super().add_class_arguments(theclass, nested_key, skip=skip, **kwargs)
        told = "a number of batches, or a share of them with a decimal point"
        for name, default in batches.items():
            key = f"--{nested_key}.{name}"
            self.add_argument(key, type=int | float | None, default=default, help=told)
        return added

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Refuse what was given.

        Args:
            message: the complaint.
            ex: the exception behind it.

        Raises:
            _Refused: always, unless the parser is one of jsonargparse's inner ones.
        """
        if not self.exit_on_error:
            super().error(message, ex)
        raise _Refused(message) from ex


class ThermoCLI(LightningCLI):
    """LightningCLI with a fresh directory per run and one-line errors.

    Attributes:
        run_dir: the directory of this run.
    """

    run_dir: Path

    def init_parser(self, **kwargs: Any) -> ThermoParser:
        """Build a parser; older releases of Lightning take no class of it.

        Args:
            **kwargs: of the parser.

        Returns:
            A parser that knows ``--config``.
        """
        header = [f"pytorch_lightning=={metadata.version('pytorch-lightning')}"]
        parser = ThermoParser(**{"dump_header": header, **kwargs})
        parser.add_argument("-c", "--config", action="config", help="a YAML file")
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the key that Lightning lacks."""
        parser.add_argument(
            "--threads",
            type=PositiveInt | None,
            default=None,
            help="threads of torch on the CPU; one is the fastest for small networks",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the words of the command line.

        Args:
            parser: the top parser.
            args: the words, the subcommand first.

        Raises:
            ConfigError: if anything in them, or in the files they name, is wrong.
        """
        words = cast(list[str], args)  # as run() gives them
        files, others = split(words[1:])
        config, flags = layers.load(*files), read_flags(others)
        check(config)
        layers.follow(config, flags, FreeEnergyModel)
        if files:  # one text, below the flags
            below = yaml.safe_dump(without_replaced_lists(config, flags), sort_keys=False)
            words = [words[0], "--config", below, *others]
        try:
            self.config = parser.parse_args(words)
        except _Refused as refused:
            whole, types = with_flags(config, flags), self._types(words[0])
            raise ConfigError(mistakes.explain(whole, types, refused.told)) from refused.__cause__
        self.settings = self.config[words[0]]
        # LightningCLI would let the hyperparameters in a checkpoint overrule the config: λ, γ are
        # state, so it does not get to see the path.
        given = self.settings.pop("ckpt_path", None)
        trusts = self.settings.get("weights_only") is False
        allowed = "true: a checkpoint is read as plain data, and nothing in it is executed"
        require(not trusts, "weights_only", False, allowed)
        self._root = self.settings.trainer.default_root_dir or "runs"
        inherited = os.environ.get(CHECKPOINT_VARIABLE) if _rank() else None
        self._ckpt_path = inherited or resuming.checkpoint(given, Path(self._root).expanduser())

    def _types(self, command: str) -> dict[str, Any]:
        # of each key at the top; LightningCLI has no public way to the parser of a command
        keys = vars(self._parser(command).get_defaults()).keys() - {"config"}
        hints = typing.get_type_hints(getattr(pl.Trainer, command))
        hints |= {"seed_everything": bool | int, "threads": PositiveInt | None}
        hints |= {"model": self._model_class, "data": self._datamodule_class}
        return {key: hints.get(key) for key in sorted(keys)} | {"trainer": (pl.Trainer,)}

    def before_instantiate_classes(self) -> None:
        """Make the run directory and write ``config.yaml``, so that even a failed run has one."""
        settings = self.settings
        settings.ckpt_path = self._ckpt_path
        if settings.threads is not None:
            allowed = f"a whole number from 1 to {MOST_THREADS}, or null"
            require(settings.threads <= MOST_THREADS, "threads", settings.threads, allowed)
            torch.set_num_threads(settings.threads)
        if _rank() == 0:
            text = self._parser(self.subcommand).dump(settings, skip_unset=False)
            if self.subcommand == "fit" and self._ckpt_path is None:
                root = Path(self._root).expanduser()
                self._ckpt_path = settings.ckpt_path = resuming.requeued(root, text)
                text = self._parser(self.subcommand).dump(settings, skip_unset=False)
            self.run_dir = create_run_directory(self._root)
            write_atomic(self.run_dir / "config.yaml", text)
            write_json(self.run_dir / "versions.json", versions())
            # Lightning's launcher runs this command again for every other rank.
            os.environ[RUN_DIR_VARIABLE] = str(self.run_dir)
            os.environ[CHECKPOINT_VARIABLE] = str(self._ckpt_path or "")
        else:
            if RUN_DIR_VARIABLE in os.environ:
                ranks.watch_the_first()
            # Under other launchers a rank is on its own; only rank zero writes.
            self.run_dir = Path(os.environ.get(RUN_DIR_VARIABLE, self._root))
        loggers = settings.trainer.logger
        for logger in loggers if isinstance(loggers, list) else [loggers]:
            arguments = getattr(logger, "init_args", {})
            if arguments.get("save_dir", "") in {None, "."}:  # nobody chose a place
                arguments["save_dir"] = str(self.run_dir)

    def instantiate_classes(self) -> None:
        """Build data, model and trainer; what one of them refuses becomes a one-line error."""
        # Kept as plain data: classes take their arguments out of the settings.
        text = self._parser(self.subcommand).dump(self.settings, skip_unset=False)
        self._plain = yaml.safe_load(text)
        try:
            super().instantiate_classes()
        except (TypeError, ValueError, ImportError, MisconfigurationException) as error:
            told = mistakes.refusal(error, self._plain)
            raise told from error

    def fit(self, model: pl.LightningModule, **kwargs: Any) -> None:
        """Train; LightningCLI calls this in place of the trainer's method.

        Raises:
            ConfigError: if nothing ends the fit, or if the model has several optimisers, which
                Lightning tells as a bug.
            RuntimeError: any other that no optimiser has raised, as it is.
        """
        self._check_end()
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, QuasiStatic):
                check_trainer(self.trainer)  # before other processes are launched
        try:
            self.trainer.fit(model, **kwargs)
        except (RuntimeError, TypeError, ValueError) as error:
            if "multiple optimizers" in str(error):
                raise ConfigError(
                    "model: got several optimisers; allowed: one, of all its parameters"
                ) from error
            # An optimiser is built from the config too, but only once the fit has begun, and some
            # look at their arguments only when they step.
            frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
            ours = "configure_optimizers" in {frame.f_code.co_name for frame in frames}
            ours |= str(frames[-1].f_globals.get("__name__")).startswith("torch.optim")
            told = mistakes.refusal(error, self._plain) if ours else error
            raise told from told.__cause__

    def _check_end(self) -> None:
        # Lightning would train for 1,000 epochs.
        asked = self._plain["trainer"]
        ends = asked["max_epochs"] is not None or asked["max_steps"] != -1 or asked["fast_dev_run"]
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        ends = ends or any(isinstance(c, QuasiStatic | Timer) for c in callbacks)  # max_time too
        allowed = "a number of epochs; or max_steps, max_time, or a process in trainer.callbacks"
        require(bool(ends), "trainer.max_epochs", None, f"{allowed}, which ends the fit by itself")

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Build the trainer, with everything it writes in the run directory.

        Args:
            **kwargs: overrides of the config's trainer section.

        Returns:
            The trainer.
        """
        kwargs["default_root_dir"] = str(self.run_dir)
        asked = self._get(self.config_init, "trainer")
        given = asked.callbacks if isinstance(asked.callbacks, list) else [asked.callbacks]
        if asked.max_epochs is None and any(isinstance(c, QuasiStatic) for c in given):
            kwargs["max_epochs"] = -1  # a process ends the run; Lightning would after 1,000 epochs
        if asked.logger in (None, True):
            # Empty name and version: metrics.csv lies in the run directory itself.
            kwargs["logger"] = CSVLogger(self.run_dir, name="", version="")
        trainer = super().instantiate_trainer(**kwargs)
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(self.run_dir / "checkpoints")
        for logger in trainer.loggers:
            if isinstance(logger, WandbRunLogger):
                # a resumed fit goes on with the run of its checkpoint; other commands are new ones
                fits = self.subcommand == "fit"
                version = checkpoint_version(self._ckpt_path) if fits else None
                logger.describe(self._plain, None if fits else self.subcommand, version)
        return trainer


def run(args: list[str]) -> int:
    """Run one of Lightning's commands.

    Args:
        args: the words of the command line, the command first.

    Returns:
        0, or 143 where SIGTERM ended the run in order; every failure is an exception.

    Raises:
        ConfigError: for a mistake in flags or config.
        ProcessStopped: if a process cannot go on.
        RankLost: if another rank has gone.
    """
    for message in _NOISE:
        warnings.filterwarnings("ignore", message)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(_useful)
    logging.getLogger("pytorch_lightning.callbacks.model_summary").addFilter(_asked_for)
    try:
        ThermoCLI(
            FreeEnergyModel,
            pl.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,  # config.yaml is written before anything can fail
            trainer_defaults={
                "default_root_dir": "runs",
                "enable_model_summary": False,
                # for predict, for validate, and the others for fit
                "callbacks": [PredictionWriter(), EntropyReport(), ReportPage(), PathLogger()],
            },
            seed_everything_default=0,
            auto_configure_optimizers=False,  # the model has its own
            args=args,
        )
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error
    except SIGTERMException:  # an exit without a code, as if the run were done
        return 128 + signal.SIGTERM
    except ProcessStopped:  # raised by all ranks at once
        if _rank() and RUN_DIR_VARIABLE in os.environ:
            ranks.wait_for_the_first()
        raise
    except Exception as error:
        if ranks.is_lost(error):
            raise RankLost(
                f"rank {_rank()}: got no answer of another rank, which has ended or lost its "
                "connection; allowed: all ranks to the end; what was measured is on disk: "
                "--ckpt_path last goes on"
            ) from error
        names = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
        if isinstance(error, ThermoError) or not names & _RESTORING:
            raise
        raise ConfigError(
            f"ckpt_path: got a checkpoint that does not fit ({type(error).__name__}: {error}); "
            "allowed: one of a run of this config, with its optimiser"
        ) from error
    return 0


def _useful(record: logging.LogRecord) -> bool:
    # Whether a line of Lightning's log tells a user something.
    #
    # Dropped: hardware that is absent, and tips that advertise other products.
    text = record.getMessage()
    return not re.match(r"TPU available: False|HPU available: False|💡|Tip:", text)


def _asked_for(record: logging.LogRecord) -> bool:
    # A table that a user has asked for is no complaint: it goes to where results go.
    print(record.getMessage())
    return False


def _rank() -> int:
    return getattr(rank_zero_only, "rank", 0) or 0
