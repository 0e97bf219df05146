"""The end of a run: figures, summary.json and a short table on stdout."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from torch import Tensor

from thermo_pl.callbacks.adiabatic import Adiabatic
from thermo_pl.callbacks.cycle import Cycle
from thermo_pl.callbacks.quasi_static import QuasiStatic, find_process, is_fitting
from thermo_pl.callbacks.stroke_process import StrokeProcess
from thermo_pl.files import write_json
from thermo_pl.module import FreeEnergyModel
from thermo_pl.particles import Batch, Particles, interpolate, weighted_mean
from thermo_pl.path.columns import CLOSURE, Row
from thermo_pl.reports.cycle_figures import (
    adiabat_figure,
    cycle_figure,
    domains_figure,
    stroke_space_figure,
    terms_figure,
)
from thermo_pl.reports.figures import DPI, control_figure, space_figure, strip_figure
from thermo_pl.reports.ledger import ledger_table, summarise_ledger
from thermo_pl.reports.summary import moving, strokes_of_pass, summarise, table

Frame = tuple[float, Tensor, Tensor | None]
"""Path coordinate, images and what the model makes of them."""


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
        self._strip: dict[int, Frame] = {}  # by the step of its row
        self._accuracy: dict[str, list[float]] = {}
        self._there: dict[str, float] = {}

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
        if model.classifies and _is_round_trip(data) and process.last["t"] == 0:
            leg = process.last["leg"]
            self._there[_letter(leg)] = _accuracy_at(model, data, leg, 0.0)
        if data.class_names:
            self._strip[process.last["step"]] = _frame(model, data)

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
        return {"strip": self._strip, "accuracy": self._accuracy, "there": self._there}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up again.

        Args:
            state_dict: what :meth:`state_dict` gave.
        """
        self._strip, self._accuracy = state_dict["strip"], state_dict["accuracy"]
        self._there = state_dict["there"]

    def _report(self, trainer: pl.Trainer, model: Any) -> None:
        process: QuasiStatic = find_process(trainer)
        rows, data = process.state.rows, trainer.datamodule  # type: ignore[attr-defined]
        if not rows or not trainer.is_global_zero:
            return
        directory, ending = Path(trainer.default_root_dir), process.ending
        found = process.summary if isinstance(process, Cycle) else None
        strokes = isinstance(process, StrokeProcess)
        summary = summarise_ledger(rows, ending, found) if strokes else summarise(rows)
        now = _accuracies(model, data) if self._accuracy else {}
        summary["accuracy"] = {name: [*start, now[name]] for name, start in self._accuracy.items()}
        summary |= {"accuracy_there": self._there, "ending": ending}
        write_json(directory / "summary.json", summary)
        cycles = isinstance(process, Cycle) and summary["strokes"]
        figures = self._cycle(summary, rows, data) if cycles else self._path(process, data)
        for name, figure in figures.items():
            save_figure(figure, directory / "figures" / f"{name}.png")
        text = ledger_table if strokes else table
        print(text(summary, ending, str(directory)), flush=True)

    def _path(self, process: QuasiStatic, data: Any) -> dict[str, Figure]:
        path = moving(process.state.rows)
        control = adiabat_figure if isinstance(process, Adiabatic) else control_figure
        figures = {"control": control(path), "rdc_space": space_figure(path)}
        if self._strip:
            frames = list(self._strip.values())
            last, count = len(frames) - 1, min(self.frames, len(frames))
            chosen = [frames[round(i * last / max(count - 1, 1))] for i in range(count)]
            figures["images"] = strip_figure([*map(_arrays, chosen)], _class_names(data))
        return figures

    def _cycle(self, summary: dict[str, Any], rows: list[Row], data: Any) -> dict[str, Figure]:
        cycle = summary["pass"]
        figures = {
            "cycle": cycle_figure(rows, summary["cycle"], cycle),
            "cycle_terms": terms_figure(rows, cycle),
            "rdc_space": stroke_space_figure(rows, cycle),
        }
        starts = [stroke.path[0] for stroke in strokes_of_pass(rows, cycle)]
        places = {_letter(row["leg"]): row["step"] for row in starts if row["t"] == 0}
        if rows[-1]["stroke"] == CLOSURE:
            places["A, at the end"] = rows[-1]["step"]
        seen = {name: self._strip[step] for name, step in places.items() if step in self._strip}
        if seen:
            frames = [*map(_arrays, seen.values())]
            figures["domains"] = domains_figure(frames, list(seen), _class_names(data))
        return figures


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG.

    Args:
        figure: the figure.
        path: the file; its folder is made if need be.
    """
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=DPI)


def _accuracies(model: FreeEnergyModel, data: Any) -> dict[str, float]:
    # on the test images of the first and of the last domain; of a round trip, on those of all
    ends = {"A": (0, 0.0), "B": (data.n_legs - 1, 1.0)}
    if _is_round_trip(data):
        ends = {_letter(leg): (leg, 0.0) for leg in range(data.n_legs)}
    return {name: _accuracy_at(model, data, *place) for name, place in ends.items()}


def _is_round_trip(data: Any) -> bool:
    return bool(data.closed and data.n_legs > 1)


def _accuracy_at(model: FreeEnergyModel, data: Any, leg: int, t: float) -> float:
    return accuracy(model, interpolate(data.coupling("test", leg).all(), t))


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


def _letter(leg: int) -> str:
    # of the domain that a leg begins at
    return chr(ord("A") + leg)


def _class_names(data: Any) -> list[str]:
    # domains that follow each other with the same class are named once
    names = (data.class_names[c].split("→") for c in _one_of_each_class(data))
    return ["→".join(name for name, _ in groupby(parts)) for parts in names]


def _arrays(frame: Frame) -> tuple[float, Any, Any]:
    s, images, decoded = frame
    return s, images.numpy(), None if decoded is None else decoded.numpy()


def _one_of_each_class(data: Any) -> dict[int, int]:
    # index of the first validation particle of each class that the leg starts from
    labels = data.coupling("val").all().source_label.argmax(-1).tolist()
    return {label: labels.index(label) for label in sorted(set(labels))}


@torch.no_grad()
def _frame(model: FreeEnergyModel, data: Any) -> Frame:
    # one validation particle of each class, and what the model makes of it
    particles = data.coupling("val").all()
    chosen = list(_one_of_each_class(data).values())
    t = round(data.t) if data.mixture else data.t  # of a mixture, the end that most images are of
    x = interpolate(Particles(*(part[chosen] for part in particles)), t).x
    images = x.mean(1)  # grey, whatever the number of channels
    if model.decoder is None:
        return data.leg + data.t, images, None
    decoded = model.predict(x.to(model.device, cast(torch.dtype, model.dtype))).reconstruction.cpu()
    return data.leg + data.t, images, decoded.mean(1)
