"""NaN and infinities in θ, gradients, J, responses, probes and measurements, at random moments."""

from __future__ import annotations

import csv
import json
import math
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from fault_runs import run

CONFIG = Path(__file__).resolve().parent / "small_configs" / "iso.yaml"
PLACES = ("theta", "gradient", "J", "response", "control", "measured", "data")
WORDS = ["fit", "--config", str(CONFIG), "--trainer.callbacks.tolerance", "0.2"]


class Spoiler(pl.Callback):
    """Spoils one kind of numbers at a batch of an epoch, or the first ones after so many."""

    def __init__(self, draw: random.Random, what: str, injected: Path) -> None:
        """Draw the moment and the value.

        Args:
            draw: the draws.
            what: one of PLACES.
            injected: the file that says that it was done.
        """
        self.what, self.injected = what, injected
        self.epoch, self.batch = draw.randrange(8), draw.randrange(8)
        self.value = draw.choice((math.nan, math.inf, -math.inf))
        self.lasts = draw.random() < 0.3
        self._calls, self._now = 0, False

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Spoil θ or the batch."""
        moment, now = (self.epoch, self.batch), (trainer.current_epoch, batch_idx)
        self._now = now == moment or (self.lasts and now > moment)
        if self._now and self.what == "theta":
            self.injected.touch()
            with torch.no_grad():
                next(pl_module.parameters()).view(-1)[0] = self.value
        if self._now and self.what == "data":
            self.injected.touch()
            batch.x[0] = self.value

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Spoil a gradient."""
        if self._now and self.what == "gradient":
            self.injected.touch()
            next(pl_module.parameters()).grad.view(-1)[0] = self.value

    def sometimes(
        self, function: Callable[..., Any], spoil: Callable[[Any], Any]
    ) -> Callable[..., Any]:
        """A function whose results are spoilt once, or from then on."""

        def spoilt(*args: Any, **kwargs: Any) -> Any:
            found = function(*args, **kwargs)
            self._calls += 1
            if self._calls == self.epoch + 1 or (self.lasts and self._calls > self.epoch):
                self.injected.touch()
                return spoil(found)
            return found

        return spoilt


def case(number: int, place: Path) -> dict[str, Any]:
    """Put a NaN or an infinity into a run, once or for good.

    Args:
        number: of the case; it is the seed, too.
        place: where files lie.

    Returns:
        What came of it.
    """
    draw = random.Random(number)
    what = PLACES[number % len(PLACES)]
    shutil.rmtree(place / "runs", ignore_errors=True)
    if not (place / "expected").exists():
        ran = run(WORDS, place)
        if ran.code != 0:
            raise SystemExit(f"got {ran.code} from a run that nobody disturbs; {ran.err}")
        (place / "runs").rename(place / "expected")
    injected = place / "injected"
    injected.unlink(missing_ok=True)
    spoiler = Spoiler(draw, what, injected)
    ran = run(WORDS, place, before=lambda: _spoil(spoiler))
    told = _judged(place, ran.code) if injected.exists() else ""
    if not ran.is_plain or ran.code == 2:
        told = f"exit code {ran.code}: {ran.told[:200]}"
    found = {"place": what, "epoch": spoiler.epoch, "batch": spoiler.batch}
    found |= {"value": str(spoiler.value), "lasts": spoiler.lasts}
    return {"ok": not told, "told": told, "exit": ran.code, "hit": injected.exists()} | found


def _judged(place: Path, code: int | None) -> str:
    runs = [place / name / "version_0" for name in ("expected", "runs")]
    paths = []
    for folder in runs:
        with (folder / "path.csv").open(newline="") as lines:
            paths.append(list(csv.DictReader(lines)))
    for number, row in enumerate(paths[1]):
        for name in ("R", "D", "C", "J", "lambda", "gamma", "t", "J_t", "stationarity", "C_lambda"):
            if not row[name] or not math.isfinite(float(row[name])):
                return f"row {number} has {name} = {row[name] or 'nan'}"
    tried = [number for number, row in enumerate(paths[1]) if row["rejected"] != "0"]
    before = tried[0] if tried else len(paths[1])
    for number in range(min(before, len(paths[0]))):
        one, other = (path[number] | {"seconds": "", "gradients": ""} for path in paths)
        if one != other:
            return f"row {number} is another one, and says nothing of a try that was taken back"
    status = json.loads((runs[1] / "strokes.json").read_text())[-1]["status"]
    if (code == 0) != (status == "done"):
        return f"exit code {code} with the status {status}"
    return ""


def _spoil(spoiler: Spoiler) -> None:
    # in the fork, before the command
    from thermo_pl.cli import lightning
    from thermo_pl.networks import Networks
    from thermo_pl.process import measuring

    made = lightning.ThermoCLI.instantiate_trainer

    def instantiate_trainer(self: Any, **kwargs: Any) -> Any:
        trainer = made(self, **kwargs)
        trainer.callbacks.insert(0, spoiler)
        return trainer

    lightning.ThermoCLI.instantiate_trainer = instantiate_trainer  # type: ignore[method-assign]

    def directions(response: Any) -> Any:
        return replace(response, directions=response.directions * spoiler.value)

    def times(number: Any) -> Any:
        return spoiler.value * number

    functions: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
        "control": (measuring, "classification_draws", times),
        "measured": (measuring, "data_force", times),
        "response": (measuring, "linear_response", directions),
    }
    if spoiler.what == "J":
        whole = Networks.objective
        spoilt = spoiler.sometimes(whole, times)

        def objective(self: Networks, terms: Any) -> Any:
            trains = sys._getframe(1).f_code.co_name == "training_loss"  # and not metrics
            return (spoilt if trains else whole)(self, terms)

        Networks.objective = objective  # type: ignore[method-assign]
    if spoiler.what in functions:
        module, name, spoil = functions[spoiler.what]
        setattr(module, name, spoiler.sometimes(getattr(module, name), spoil))
