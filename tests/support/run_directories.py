"""Run directories by hand, and pages read back."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import yaml

from thermo_pl.path.columns import COLUMNS


def config_of(k: float = 0.5, seed: int = 0, **model: Any) -> dict[str, Any]:
    """A config like those that runs keep, in small."""
    process = {"class_path": "thermo_pl.callbacks.IsoClassification", "init_args": {"k": k}}
    encoder = {"class_path": "thermo_pl.networks.MLPEncoder", "init_args": {"hidden": [8]}}
    return {
        "seed_everything": seed,
        "trainer": {
            "max_epochs": -1,
            "default_root_dir": f"runs/{k}",
            "callbacks": [process, {"class_path": "thermo_pl.callbacks.RunReport"}],
        },
        "model": {"class_path": "FreeEnergyModel", "init_args": {"encoder": encoder} | model},
    }


def path_of(steps: int, k: float = 0.5) -> list[dict[str, Any]]:
    """Rows of path.csv: an equilibration, an approach and a path of some steps."""
    rows = []
    for i in range(steps + 2):
        t = max(i - 1, 0) / steps
        wave = math.sin(7 * t + k)
        row: dict[str, Any] = dict.fromkeys(COLUMNS, 0.25)
        row |= {"step": i, "cycle": 0, "leg": 0, "t": t, "stroke": "iso_classification"}
        row |= {"lambda": 1 + k * t, "gamma": 2 + wave, "R": 4 - t, "D": 20 + k * t}
        row |= {"C": 0.1 + 0.001 * wave, "C_error": 0.0007, "C_target": 0.1, "C_predicted": 0.11}
        row |= {
            "C_held": row["C"],
            "S_target": math.nan,
            "relaxation": 0.1 + 0.02 * wave,
            "solver_status": "converged",
            "transition": "",
        }
        row |= {"val_C": 0.2 + t, "gradients": 1000 + i, "seconds": 1.5}
        rows.append(row)
    for row, stroke in zip(rows, ("equilibration", "approach"), strict=False):
        row["stroke"] = stroke
    return rows


def write_rows(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    with open(file, "w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_run(
    directory: Path,
    config: dict[str, Any] | None = None,
    rows: Sequence[dict[str, Any]] | None = None,
    status: str = "done",
    **files: Any,
) -> Path:
    """A run directory by hand; further files by their stem."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.yaml").write_text(yaml.safe_dump(config or config_of()))
    write_rows(directory / "path.csv", path_of(10) if rows is None else rows)
    files = {"strokes": [{"status": "done"}, {"status": status}], **files}
    for name, content in files.items():
        (directory / f"{name}.json").write_text(json.dumps(content))
    return directory


def metrics_run(directory: Path, epochs: int, lines: str) -> Path:
    """A run without a process."""
    directory.mkdir(parents=True)
    config = config_of() | {"trainer": {"max_epochs": epochs}}
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    (directory / "metrics.csv").write_text(lines)
    return directory


class Page(HTMLParser):
    """A page read back: cells, attributes, what its script reads, and whether tags are closed."""

    VOID = frozenset({"meta", "input", "path"})

    def __init__(self, text: str) -> None:
        """Read the page."""
        super().__init__()
        self.open: list[str] = []
        self.cells: list[list[str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.data: dict[str, Any] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in {"td", "th"}:
            self.cells[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data
        if not self.open:
            return
        if self.open[-1] == "script" and self.tags[-1][1].get("id") == "page-data":
            self.data = json.loads(data)
        elif self.open[-1] not in {"script", "style"}:
            self.text.append(data)

    def found(self, tag: str, name: str) -> list[str]:
        return [attrs[name] or "" for t, attrs in self.tags if t == tag and name in attrs]

    def stands_alone(self) -> None:
        """Fail if the page refers to anything outside it, or does not forbid itself the network."""
        assert not {"src", "href", "srcset", "action"} & {
            n for _, attrs in self.tags for n in attrs
        }
        policy = self.found("meta", "content")[0]
        assert policy.startswith("default-src 'none'; ")
        assert "http" not in f"{policy} {' '.join(self.text)} {json.dumps(self.data)}"
