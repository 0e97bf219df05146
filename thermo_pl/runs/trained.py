"""A trained model, back from its run or exported for others: weights and config, nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import pytorch_lightning as pl
import yaml
from pytorch_lightning.cli import LightningArgumentParser
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_model

from thermo_pl import __version__
from thermo_pl.checkpoints import newest_checkpoint, read_checkpoint
from thermo_pl.errors import ConfigError, require
from thermo_pl.files import write_atomic
from thermo_pl.module import FreeEnergyModel
from thermo_pl.runs.reader import parse_yaml, read_file
from thermo_pl.runs.wandb_content import portable

CONFIG, WEIGHTS = "config.yaml", "model.safetensors"
"""The two files of an exported model."""
Built = TypeVar("Built", bound=pl.LightningModule | pl.LightningDataModule)
_FILES = {"initial_weights", "weights"}  # keys of files that weights began from


def load(run: str | Path, checkpoint: str | Path | None = None) -> FreeEnergyModel:
    """A model as it was trained: its networks with θ, λ and γ.

    Args:
        run: a run directory of the command line, or what :func:`export` has written.
        checkpoint: of a run, which one, or the model at a node of a map; the newest in
            ``checkpoints`` if None.

    Returns:
        The model on the CPU, in the precision of its weights and in evaluation mode.

    Raises:
        ConfigError: if there is no such model, or the weights are not those of its config.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> import torch
        >>> import thermo_pl as tp
        >>> from safetensors.torch import save_model
        >>> directory = Path(mkdtemp())  # or runs/vib_digits/version_0
        >>> _ = (directory / "config.yaml").write_text('''model:
        ...   class_path: thermo_pl.FreeEnergyModel
        ...   init_args:
        ...     lam: 0.0
        ...     gam: 5.0
        ...     encoder:
        ...       class_path: thermo_pl.MLPEncoder
        ...       init_args: {image_shape: [4], latent_dim: 2}
        ...     classifier:
        ...       class_path: thermo_pl.LinearClassifier
        ...       init_args: {latent_dim: 2, classes: 3}
        ...     marginal: {class_path: thermo_pl.StandardNormal, init_args: {latent_dim: 2}}
        ... ''')
        >>> parts = tp.MLPEncoder([4], 2), tp.LinearClassifier(2, 3)
        >>> trained = tp.FreeEnergyModel(*parts, marginal=tp.StandardNormal(2), lam=0.0, gam=5.0)
        >>> save_model(trained, str(directory / "model.safetensors"))
        >>> x = torch.rand(5, 4)
        >>> torch.equal(tp.load(directory).predict(x).z, trained.predict(x).z)
        True
    """
    directory = Path(run).expanduser()
    model, weights = built(directory, "model", FreeEnergyModel), directory / WEIGHTS
    if weights.is_file() and checkpoint is None:
        return _filled(model, weights)
    if checkpoint is not None and Path(checkpoint).suffix == weights.suffix:
        return _filled(model, Path(checkpoint))
    file = newest_checkpoint(directory / "checkpoints") if checkpoint is None else Path(checkpoint)
    allowed = f"a run with a whole checkpoint, or a directory with a {WEIGHTS}"
    if file is None:
        raise ConfigError(f"RUN: got {str(run)!r}; allowed: {allowed}")
    content = read_checkpoint(file)
    model.on_load_checkpoint(content)  # its λ and γ began where the config says, and it fits
    model.load_state_dict(content["state_dict"])
    return model.eval()


def export(run: str | Path, to: str | Path, checkpoint: str | Path | None = None) -> Path:
    """Write a trained model for others: ``model.safetensors`` and the part of the config it needs.

    Args:
        run: a run directory of the command line.
        to: a directory; made if it is missing.
        checkpoint: as for :func:`load`.

    Returns:
        The directory, which :func:`load` takes.

    Raises:
        ConfigError: if there is no such model, or the directory cannot be written.
    """
    model, directory = load(run, checkpoint), Path(to).expanduser()
    section = _without_files(portable(_config(Path(run).expanduser())))
    told = {"thermo_pl": __version__, "lambda": repr(float(model.lam))}
    told["gamma"] = repr(float(model.gam))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump({"model": section}, sort_keys=False, allow_unicode=True)
        save_model(model, str(directory / WEIGHTS), told)
        write_atomic(directory / CONFIG, text)
    except OSError as error:
        reason = error.strerror or error
        allowed = "a directory that can be written to"
        raise ConfigError(f"--to: got {str(to)!r} ({reason}); allowed: {allowed}") from error
    return directory


def _filled(model: FreeEnergyModel, weights: Path) -> FreeEnergyModel:
    try:
        model.take_precision(load_file(weights))
        load_model(model, str(weights))
    except (SafetensorError, RuntimeError, OSError) as error:
        told = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{weights}: {told}; allowed: the weights of the model in the {CONFIG} of its run"
        ) from error
    return model.eval()


def _config(directory: Path, name: str = "model") -> dict[str, Any]:
    file = directory / CONFIG
    allowed = f"a directory with a {CONFIG}, as the command line leaves it"
    require(file.is_file(), "RUN", str(directory), allowed)
    section = read_file(file, parse_yaml, dict).get(name)
    if not isinstance(section, dict):
        raise ConfigError(f"{file}: got no {name}; allowed: the {CONFIG} of a run")
    return section


def built(directory: Path, name: str, kind: type[Built]) -> Built:
    """What a run's config makes, before anything is trained.

    Args:
        directory: the run directory.
        name: of the section, ``model`` or ``data``.
        kind: the class it has to be of.

    Returns:
        The object.

    Raises:
        ConfigError: if it cannot be made.
    """
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(kind, name, subclass_mode=True)
    section = _without_files(_config(directory, name))
    try:
        made = getattr(parser.instantiate(parser.parse_object({name: section})), name)
    except Exception as error:  # of a parser, or of any class that the config names
        told = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{directory / CONFIG}: {told}; allowed: a {name} that can be built here, its classes "
            "installed"
        ) from error
    if not isinstance(made, kind):
        got = type(made).__name__
        raise ConfigError(f"{directory / CONFIG}: got a {got}; allowed: a {kind.__name__}")
    return made


def _without_files(config: Any) -> Any:
    # all weights come with the model: those that it began from may be gone
    if isinstance(config, list):
        return [_without_files(part) for part in config]
    if not isinstance(config, dict):
        return config
    return {k: None if k in _FILES else _without_files(part) for k, part in config.items()}
