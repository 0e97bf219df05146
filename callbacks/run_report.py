"""The end of a run: figures, summary.json, examples along the path, a short table on stdout."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from torch import Tensor

from thermo_pl.callbacks.attached import data_of, model_of
from thermo_pl.callbacks.monitor import Monitor
from thermo_pl.callbacks.processes import find_process
from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.datamodules.base import PathDataModule
from thermo_pl.files import write_json, write_whole
from thermo_pl.laws.promise import promise
from thermo_pl.module import FreeEnergyModel
from thermo_pl.particles import Particles, interpolate
from thermo_pl.path.columns import Row
from thermo_pl.reports import kinds
from thermo_pl.reports.figures import DPI
from thermo_pl.reports.kinds import REPORTS, letter
from thermo_pl.reports.sheet import sheet
from thermo_pl.response.measurement import accuracy

Frame = tuple[float, Tensor, Tensor | None]
"""Path coordinate, one example of each class and what the model makes of them."""


class RunReport(Monitor):
    """Reports a process when it ends, also when it stops early.

    The rule of the process says by its ``report`` which numbers and figures these are. Accuracies
    are those of test images, at each end of the path by itself. Nothing in the run is chosen or
    steered by them.
    """

    def __init__(self, frames: int = 9) -> None:
        """Say how many moments the strip of images has; of data that are no images there is none.

        The page of the run shows vectors, too.

        Args:
            frames: moments in the strip of images, at most.
        """
        self.frames = frames
        self._strip: dict[int, Frame] = {}  # by the step of its row
        self._accuracy: dict[str, list[float]] = {}
        self._there: dict[str, float] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a run without a process."""
        find_process(trainer)

    def on_row(self, trainer: pl.Trainer, process: QuasiStatic, row: Row) -> None:
        """Look at the model on held-out images."""
        model, data = model_of(trainer.lightning_module), data_of(trainer)
        if not self._accuracy and model.classifies:
            self._accuracy = {name: [value] for name, value in _accuracies(model, data).items()}
        if model.classifies and _is_round_trip(data) and row["t"] == 0:
            self._there[letter(row["leg"])] = _accuracy_at(model, data, row["leg"], 0.0)
        if data.class_names:
            self._strip[row["step"]] = _frame(model, data)
            self._thin_out()

    def on_ending(self, trainer: pl.Trainer, process: QuasiStatic) -> None:
        """Write the report and print the table; after an exception what was measured before."""
        if not process.rows or not trainer.is_global_zero:
            return
        model, data = model_of(trainer.lightning_module), data_of(trainer)
        directory, report = Path(trainer.default_root_dir), REPORTS[process.rule.report]
        rows, ending = process.rows, process.ending
        summary = report.summarise(rows, ending, process.results.get("cycle"))
        now = _accuracies(model, data) if self._accuracy else {}
        summary["accuracy"] = {name: [*start, now[name]] for name, start in self._accuracy.items()}
        summary |= {"accuracy_there": self._there, "ending": ending, "classes": data.class_names}
        summary["promise"] = asdict(promise(rows, process.rule.promise))
        write_json(directory / "summary.json", summary)
        print(report.table(summary, ending, str(directory)), flush=True)
        if self._strip:
            self._write_sheet(directory, _class_names(data))
        for name, figure in report.figures(rows, summary, self._seen(data)).items():
            save_figure(figure, directory / "figures" / f"{name}.png")

    def state_dict(self) -> dict[str, Any]:
        """What has been seen so far, for a checkpoint.

        Returns:
            Plain values and tensors.
        """
        return {"strip": self._strip, "accuracy": self._accuracy, "there": self._there}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up again.

        Args:
            state_dict: what :meth:`state_dict` gave.
        """
        self._strip, self._accuracy = state_dict["strip"], state_dict["accuracy"]
        self._there = state_dict["there"]

    def _thin_out(self) -> None:
        # A strip has few frames, and checkpoints hold all that are kept. The ends of legs stay.
        if len(self._strip) > 16 * self.frames:
            steps = list(self._strip)
            for step in steps[1:-1:2]:
                if self._strip[step][0] % 1:
                    del self._strip[step]

    def _seen(self, data: PathDataModule) -> kinds.Seen:
        images = (len(frame[1].shape) > 2 for frame in self._strip.values())
        frames = self._frames() if all(images) else {}  # vectors are no strip of images
        return kinds.Seen(frames, _class_names(data) if frames else [], self.frames)

    def _frames(self) -> dict[int, kinds.Frame]:
        return {step: _arrays(frame) for step, frame in self._strip.items()}

    def _write_sheet(self, directory: Path, names: list[str]) -> None:
        picture, content = sheet(self._frames(), names)
        write_whole(directory / "frames.png", picture)
        write_json(directory / "frames.json", content)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG.

    Args:
        figure: the figure.
        path: the file; its folder is made if need be.
    """
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=DPI)


def _accuracies(model: FreeEnergyModel, data: PathDataModule) -> dict[str, float]:
    # on the test images of the first and of the last domain; of a round trip, on those of all
    ends = {"A": (0, 0.0), "B": (data.n_legs - 1, 1.0)}
    if _is_round_trip(data):
        ends = {letter(leg): (leg, 0.0) for leg in range(data.n_legs)}
    return {name: _accuracy_at(model, data, *place) for name, place in ends.items()}


def _is_round_trip(data: PathDataModule) -> bool:
    return data.closed and data.n_legs > 1


def _accuracy_at(model: FreeEnergyModel, data: PathDataModule, leg: int, t: float) -> float:
    return accuracy(model, interpolate(data.coupling("test", leg).all(), t))


def _class_names(data: PathDataModule) -> list[str]:
    # domains that follow each other with the same class are named once
    names = (data.class_names[c].split("→") for c in _one_of_each_class(data))
    return ["→".join(name for name, _ in groupby(parts)) for parts in names]


def _arrays(frame: Frame) -> kinds.Frame:
    s, images, decoded = frame
    return s, images.numpy(), None if decoded is None else decoded.numpy()


def _one_of_each_class(data: PathDataModule) -> dict[int, int]:
    # index of the first validation particle of each class that the leg starts from
    labels = data.coupling("val").all().source_label.argmax(-1).tolist()
    return {label: labels.index(label) for label in sorted(set(labels))}


@torch.no_grad()
def _frame(model: FreeEnergyModel, data: PathDataModule) -> Frame:
    # one validation particle of each class, and what the model makes of it
    particles = data.coupling("val").all()
    chosen = list(_one_of_each_class(data).values())
    t = round(data.t) if data.mixture else data.t  # of a mixture, the end that most images are of
    x = interpolate(Particles(*(part[chosen] for part in particles)), t).x
    decoded = None
    if model.decoder is not None:
        prediction = model.predict(x.to(model.device, model.dtype))
        decoded = _drawable(prediction.reconstruction.cpu().to(x.dtype))
    return data.leg + data.t, _drawable(x), decoded


def _drawable(x: Tensor) -> Tensor:
    # (n, height, width) in grey, (n, height, width, 3) in colour, (n, numbers) of any other shape
    if x.ndim != 4:
        return x.flatten(1)
    return x.movedim(1, -1) if x.shape[1] == 3 else x.mean(1)
