"""The end of a run: figures, summary.json and a short table on stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from torch import Tensor

from thermo_pl.callbacks.quasi_static import QuasiStatic, find_process, is_fitting
from thermo_pl.figures import DPI, control_figure, space_figure, strip_figure
from thermo_pl.module import FreeEnergyModel
from thermo_pl.particles import Batch, Particles, interpolate, weighted_mean
from thermo_pl.report import moving, summarise, table
from thermo_pl.rundir import write_json


class RunReport(pl.Callback):
    """Reports a process when it ends, also when it stops early.

    Accuracies are those of test images, each end of the path by itself; nothing in the run is
    chosen or steered by them.
    """

    def __init__(self, frames: int = 9) -> None:
        """Keep the settings.

        Args:
            frames: moments in the strip of images, at most.
        """
        self.frames = frames
        self._strip: list[tuple[float, Tensor, Tensor | None]] = []
        self._accuracy: dict[str, list[float]] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the model on held-out images.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        process = find_process(trainer)
        if not process.state.rows:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        model: Any = pl_module
        if not self._accuracy and model.classifies:
            self._accuracy = {name: [value] for name, value in _accuracies(model, data).items()}
        if data.class_names:
            self._strip.append(_frame(model, data))

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the report and print the table.

        Args:
            trainer: the trainer.
            pl_module: the model.
        """
        self._report(trainer, pl_module)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Report what was measured before the run stopped.

        Args:
            trainer: the trainer.
            pl_module: the model.
            exception: what stopped it.
        """
        if is_fitting(trainer):
            self._report(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """What has been seen so far, for a checkpoint.

        Returns:
            Plain values and tensors.
        """
        return {"strip": self._strip, "accuracy": self._accuracy}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up again.

        Args:
            state_dict: what :meth:`state_dict` gave.
        """
        self._strip, self._accuracy = state_dict["strip"], state_dict["accuracy"]

    def _report(self, trainer: pl.Trainer, model: Any) -> None:
        process: QuasiStatic = find_process(trainer)
        rows, data = process.state.rows, trainer.datamodule  # type: ignore[attr-defined]
        if not rows or not trainer.is_global_zero:
            return
        directory = Path(trainer.default_root_dir)
        summary = summarise(rows)
        now = _accuracies(model, data) if self._accuracy else {}
        summary["accuracy"] = {name: [*start, now[name]] for name, start in self._accuracy.items()}
        summary["ending"] = process.ending
        write_json(directory / "summary.json", summary)
        path = moving(rows)
        save_figure(control_figure(path), directory / "figures" / "control.png")
        save_figure(space_figure(path), directory / "figures" / "rdc_space.png")
        if self._strip:
            names = [data.class_names[c] for c in _one_of_each_class(data)]
            figure = strip_figure(self._chosen_frames(), names)
            save_figure(figure, directory / "figures" / "images.png")
        print(table(summary, process.ending, str(directory)), flush=True)

    def _chosen_frames(self) -> list[tuple[float, Any, Any]]:
        last = len(self._strip) - 1
        count = min(self.frames, last + 1)
        chosen = [self._strip[round(i * last / max(count - 1, 1))] for i in range(count)]
        return [(s, x.numpy(), None if y is None else y.numpy()) for s, x, y in chosen]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG.

    Args:
        figure: the figure.
        path: the file; its folder is made if need be.
    """
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=DPI)


def _accuracies(model: FreeEnergyModel, data: Any) -> dict[str, float]:
    # on the test images of the first and of the last domain
    place = (data.leg, data.t)
    ends = {"A": (0, 0.0), "B": (data.n_legs - 1, 1.0)}
    result = {}
    for name, (leg, t) in ends.items():
        data.move_to(leg, t)
        result[name] = accuracy(model, interpolate(data.coupling("test").all(), t))
    data.move_to(*place)
    return result


@torch.no_grad()
def accuracy(model: FreeEnergyModel, batch: Batch) -> float:
    """Share of the mass that is classified right at the encoder's mean.

    Args:
        model: the model.
        batch: samples.

    Returns:
        A number in [0, 1].
    """
    probabilities = model.predict(
        batch.x.to(model.device, cast(torch.dtype, model.dtype))
    ).probabilities.cpu()
    right = probabilities.argmax(-1) == batch.y.argmax(-1)
    return float(weighted_mean(right.to(batch.weight), batch.weight))


def _one_of_each_class(data: Any) -> dict[int, int]:
    # index of the first validation particle of each class that the leg starts from
    labels = data.coupling("val").all().source_label.argmax(-1).tolist()
    return {label: labels.index(label) for label in sorted(set(labels))}


@torch.no_grad()
def _frame(model: FreeEnergyModel, data: Any) -> tuple[float, Tensor, Tensor | None]:
    # one validation particle of each class, and what the model makes of it
    particles = data.coupling("val").all()
    chosen = list(_one_of_each_class(data).values())
    x = interpolate(Particles(*(part[chosen] for part in particles)), data.t).x
    images = x.mean(1)  # grey, whatever the number of channels
    if model.decoder is None:
        return data.leg + data.t, images, None
    decoded = model.predict(x.to(model.device, cast(torch.dtype, model.dtype))).reconstruction.cpu()
    return data.leg + data.t, images, decoded.mean(1)
