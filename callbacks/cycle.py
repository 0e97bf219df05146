"""Cycles: strokes that lead back to where they began, closed by Newton's method over passes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.nn.utils import parameters_to_vector

from thermo_pl.callbacks.settings import Motion
from thermo_pl.callbacks.stroke_process import StrokeProcess
from thermo_pl.errors import ProcessStopped, require
from thermo_pl.files import write_json
from thermo_pl.laws.cycle_ledger import summarise_cycle
from thermo_pl.module import FreeEnergyModel
from thermo_pl.path.columns import CLOSURE, Row
from thermo_pl.path.segments import stroke_paths
from thermo_pl.process.strokes import Point, Stroke, closing_step


class CycleOpen(ProcessStopped):
    """The cycle did not close within the passes that are allowed."""


class Cycle(StrokeProcess):
    """Carries a model around a cycle of strokes, until it closes.

    The data come back to their first domain; (λ, γ) must be brought back. Two of the strokes'
    changes, those with ``adjust``, are found by Newton's method on the closure defect: its
    derivative follows from the responses at the corners of the cycle, which are known anyway. After
    a pass that does not close, λ and γ are set back to where the cycle began, θ following by the
    response, and the next pass takes up the adjusted changes; so the model is also run in, until
    the cycle repeats itself. Without adjustable changes there is nothing to find, and what is
    missing is reported.

    The last pass is the result: path.csv has all of them, cycle.json the ledger of the last.

    Attributes:
        summary: what cycle.json has; None before the end of the first pass.
    """

    def __init__(
        self,
        strokes: list[Stroke],
        closure: tuple[float, float] = (0.01, 0.03),
        passes: tuple[int, int] = (1, 6),
        **settings: Any,
    ) -> None:
        """Keep the settings.

        Args:
            strokes: in order; two of them have ``adjust``, or none.
            closure: how near λ and γ must come to where they began, as a share of their ranges
                over the cycle; a single pass is not held to it.
            passes: passes at least and at most. Nothing is adjusted before the least is done: the
                first passes run the model in.
            **settings: of any :class:`StrokeProcess`.
        """
        super().__init__(strokes, **settings)
        adjusted = [stroke.name for stroke in strokes if stroke.adjust]
        require(len(adjusted) in {0, 2}, "strokes with adjust", adjusted, "two of them, or none")
        ok = min(closure) > 0
        require(ok, "closure", list(closure), "two numbers > 0, for lambda and gamma")
        least, most = passes
        require(1 <= least <= most, "passes", list(passes), "two whole numbers, 1 ≤ least ≤ most")
        self.closure, self.passes = closure, passes
        self.summary: dict[str, Any] | None = None
        self._given = strokes

    def check(self, model: FreeEnergyModel, data: Any) -> None:
        """Refuse data that do not come back, and what any strokes are refused for.

        Args:
            model: the model.
            data: the DataModule.
        """
        super().check(model, data)
        require(data.closed, "data", "a path whose last domain is not its first", "a closed path")

    def length(self, data: Any) -> int:
        """Macro-steps of the passes up to the present one, or to the least that are made.

        Args:
            data: the DataModule.

        Returns:
            The count; a settling step ends each pass where data moved.
        """
        passes = max(self.passes[0], self.state.cycle + 1)
        return passes * (super().length(data) + 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a state again, with the changes as they were adjusted.

        Args:
            state_dict: what :meth:`state_dict` gave.
        """
        super().load_state_dict(state_dict)
        self._adjust()

    def plan(self, model: FreeEnergyModel, data: Any) -> Motion | None:
        """The next step of the stroke under way, or what comes after it.

        Args:
            model: the model, at (λ, γ).
            data: the DataModule; moved on to its next leg at the end of a stroke.

        Returns:
            The motion, or None at the end of the process.
        """
        if "theta" not in self.state.memory:
            step = super().plan(model, data)
            self.state.memory["added"] = [0.0, 0.0]
            self._note_start(model)
            return step
        if self.state.memory["index"] == 0 and not self.state.memory["anchor"]:
            self._note_start(model)
        return super().plan(model, data)

    def finish(self, model: FreeEnergyModel, data: Any) -> Motion | None:
        """Close the cycle, or set it back and adjust it for another pass.

        Args:
            model: the model.
            data: the DataModule.

        Returns:
            A motion, or None at the end of the process.

        Raises:
            CycleOpen: if the last pass allowed does not close.
        """
        memory, (least, most) = self.state.memory, self.passes
        defect = self._defect(model)
        adjustable = any(stroke.adjust for stroke in self.strokes)
        closed = self._closes(defect) or not adjustable
        if closed and self.state.cycle + 1 >= least:
            memory["index"] = len(self.strokes)
            memory |= {"u": 0.0, "anchor": {}}
            self.state.stroke = CLOSURE
            self.state.target = self.state.control_target = math.nan
            if (data.leg, data.t) == (0, 0.0):
                return None
            data.move_to(0, 0.0)
            return Motion()
        if self.state.cycle + 1 >= most:
            shares = [abs(gap) / width for gap, width in zip(defect, self._ranges(), strict=True)]
            raise CycleOpen(
                f"closure: got a cycle that misses its start by {shares[0]:.3g} of its range in "
                f"lambda and {shares[1]:.3g} in gamma after {most} passes; allowed: "
                f"{self.closure[0]:.3g} and {self.closure[1]:.3g}; allow more passes or a wider "
                "closure, start from other changes or at another lambda and gamma, or relax more"
            )
        if not closed and self.state.cycle + 1 >= least:
            more = closing_step(self.strokes, self._corners(), defect, self._allowed())
            memory["added"] = [a + b for a, b in zip(memory["added"], more, strict=True)]
            self._adjust()
        self.state.cycle += 1
        self._begin(data, 0, to=(0, 0.0))
        return Motion(-defect[0], -defect[1])

    def _note_start(self, model: FreeEnergyModel) -> None:
        self.state.memory["theta"] = parameters_to_vector(model.parameters()).detach().cpu().clone()

    def _adjust(self) -> None:
        # the strokes as given, with what Newton's method has added so far
        more = iter(self.state.memory.get("added", ()))
        self.strokes = [
            replace(stroke, **{stroke.adjust: getattr(stroke, stroke.adjust) + next(more, 0.0)})
            if stroke.adjust
            else stroke
            for stroke in self._given
        ]

    def _defect(self, model: FreeEnergyModel) -> tuple[float, float]:
        # (λ, γ) here less those at the start; and how far θ is from where it was
        memory = self.state.memory
        theta = parameters_to_vector(model.parameters()).detach().cpu()
        gap = torch.linalg.vector_norm(theta - memory["theta"])
        memory["theta_gap"] = float(gap / torch.linalg.vector_norm(memory["theta"]))
        home = memory["home"]
        return float(model.lam) - home["lam"], float(model.gam) - home["gam"]

    def _ranges(self) -> list[float]:
        rows = [row for rows in self._paths() for row in rows]
        return [
            max(row[name] for row in rows) - min(row[name] for row in rows)
            for name in ("lambda", "gamma")
        ]

    def _allowed(self) -> tuple[float, float]:
        lam, gam = self._ranges()
        return self.closure[0] * lam, self.closure[1] * gam

    def _closes(self, defect: tuple[float, float]) -> bool:
        return all(abs(gap) <= most for gap, most in zip(defect, self._allowed(), strict=True))

    def _paths(self) -> list[list[Row]]:
        # the rows of the strokes of the last pass
        names, cycle = {stroke.name for stroke in self.strokes}, self.last["cycle"]
        found = stroke_paths(self.state.rows)
        return [s.path for s in found if s.cycle == cycle and s.name in names]

    def _corners(self) -> list[tuple[Point, Point]]:
        return [(_point(rows[0]), _point(rows[-1])) for rows in self._paths()]

    def _write(self, trainer: pl.Trainer) -> None:
        super()._write(trainer)
        rows = self.state.rows
        if not rows or rows[-1]["phase"] < len(self.strokes) or not trainer.is_global_zero:
            return
        closing = rows[-1] if rows[-1]["stroke"] == CLOSURE else None
        gap = self.state.memory.get("theta_gap", math.nan)
        summary = summarise_cycle(self._paths(), closing, gap)
        summary["cycle"] = rows[-1]["cycle"]
        summary["changes"] = {
            stroke.name: getattr(stroke, stroke.adjust) for stroke in self.strokes if stroke.adjust
        }
        write_json(Path(trainer.default_root_dir) / "cycle.json", summary)
        self.summary = summary


def _point(row: Row) -> Point:
    slopes = [[row[f"{x}_{a}"] for a in ("lambda", "gamma", "t")] for x in "DC"]
    return Point(row["lambda"], row["gamma"], row["D"], row["C"], np.array(slopes))
