"""The programs of docs/examples do what they say, and are as short as they say."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from sklearn.datasets import load_breast_cancer
from torch.nn.functional import cross_entropy

from support.command_line import CONFIG, PROCESS
from thermo_pl.cli import main
from thermo_pl.files import read_csv

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
LINES = {"without_trainer.py": 30, "own_process.py": 50}


def test_the_examples_are_short() -> None:
    found = {file.name: len(file.read_text().splitlines()) for file in EXAMPLES.glob("*.py")}
    assert found.keys() == LINES.keys()
    assert all(lines <= LINES[name] for name, lines in found.items()), found


def test_c_is_held_without_a_trainer(capsys: pytest.CaptureFixture[str]) -> None:
    made = runpy.run_path(str(EXAMPLES / "without_trainer.py"))
    pattern = r"t = (\S+), gamma = (\S+), C = (\S+)\n"
    rows = [[float(x) for x in row] for row in re.findall(pattern, capsys.readouterr().out)]
    assert [t for t, _, _ in rows] == [i / 10 for i in range(11)]
    first = rows[0][2]
    assert all(abs(C / first - 1) < 0.03 for _, _, C in rows)

    # the same C on other noise, by torch alone; at the start of the path, where the images are as
    # they were, it is another one: the control has changed
    networks = made["networks"]

    @torch.no_grad()
    def loss(x: torch.Tensor) -> float:
        mean, log_var = networks.encoder(x)
        z = mean + (0.5 * log_var).exp() * torch.randn(200, *mean.shape)
        logits = networks.classifier(z)
        return float(cross_entropy(logits.flatten(0, 1), made["y"].repeat(200, 1)))

    assert abs(loss(made["x_b"]) / first - 1) < 0.03
    assert abs(loss(made["x_a"]) / first - 1) > 0.1
    assert float(networks.lam) == pytest.approx(1.5)


def test_a_process_of_ones_own_is_named_in_a_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.syspath_prepend(EXAMPLES)  # "put the file where Python finds it"
    settings = {"lam": 2.0, "steps": 3, "equilibration": PROCESS["equilibration"]}
    process = {"class_path": "own_process.SlowCompression", "init_args": settings}
    trainer = CONFIG["trainer"] | {"callbacks": [process], "default_root_dir": "runs/own"}
    Path("config.yaml").write_text(yaml.safe_dump(CONFIG | {"trainer": trainer}))
    try:
        assert main(["fit", "--config", "config.yaml"]) == 0
    finally:
        sys.modules.pop("own_process", None)
    rows = read_csv("runs/own/version_0/path.csv")
    assert [row["stroke"] for row in rows] == ["equilibration", *3 * ["compression"]]
    expected = {"t": [0, 1 / 3, 2 / 3, 1], "lambda": [1, 4 / 3, 5 / 3, 2], "gamma": 4 * [5]}
    for name, values in expected.items():
        assert [row[name] for row in rows] == pytest.approx(values)


def test_the_page_of_the_engine_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (EXAMPLES.parent / "engine.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    # "the same to the last bit, but for the seconds"
    whole, by_hand, resumed = (
        [{k: repr(v) for k, v in row.items() if k != "seconds"} for row in names[path]]
        for path in ("rows", "by_hand", "resumed")
    )
    assert len(whole) == 5
    assert by_hand == whole
    assert resumed == whole


def test_the_shortest_config_carries_a_table_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = EXAMPLES / "own_table.yaml"
    text = file.read_text()
    assert text in (EXAMPLES.parents[1] / "README.md").read_text()
    assert len(text.splitlines()) <= 25
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = load_breast_cancer()
    for name, rows, gain in (("a", slice(0, 200), 1.0), ("b", slice(200, 400), 1.15)):
        head = [*(feature.replace(" ", "_") for feature in found.feature_names), "outcome"]
        lines = [
            [*(f"{gain * value:.6g}" for value in x), found.target_names[y]]
            for x, y in zip(found.data[rows], found.target[rows], strict=True)
        ]
        whole = "\n".join(",".join(line) for line in [head, *lines])
        Path(f"clinic_{name}.csv").write_text(whole)
    short: dict[str, Any] = {"steps": 1, "tolerance": ".inf", "equilibration.stationarity": 1e3}
    short |= {"equilibration.check_every": 1, "equilibration.max_epochs": 2}
    flags = [word for key, x in short.items() for word in (f"--trainer.callbacks.{key}", str(x))]
    assert main(["fit", "--config", str(file), "--data.train_batches", "5", *flags]) == 0
    rows = read_csv(Path("runs/version_0/path.csv"))
    assert [row["t"] for row in rows] == [0, 1]
    summary = json.loads(Path("runs/version_0/summary.json").read_text())
    assert summary["classes"] == ["benign→benign", "malignant→malignant"]
