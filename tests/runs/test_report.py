"""The page of a run: its numbers are those of the files, whatever became of the run."""

from __future__ import annotations

import io
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.run_directories import Page, config_of, metrics_run, path_of, write_run
from thermo_pl.callbacks import ReportPage, report_page
from thermo_pl.cli import main
from thermo_pl.errors import DataError
from thermo_pl.files import read_csv
from thermo_pl.reports.law_plots import laws_figure
from thermo_pl.reports.sheet import MOST_BYTES, sheet
from thermo_pl.runs.record import read_record
from thermo_pl.runs.report import report, write_report

HELD = {"verdict": "held", "quantity": "C", "miss": 0.0099, "error": 0.007, "step": 4}
SUMMARY = {"promise": HELD | {"allowed": 0.01, "count": 10}, "accuracy": {"A": [0.9, 0.8]}}
LAW = {"law": "first law", "statement": "|x| = 0", "value": 0.02, "error": 0.001}
LAWS = [
    LAW | {"tolerance": 0.05, "verdict": "holds", "count": 9, "reason": ""},
    LAW | {"law": "second law", "value": -3.0, "tolerance": 0.0, "verdict": "violated", "count": 1},
    LAW | {"law": "third", "value": None, "tolerance": 0.1, "verdict": "unknown", "count": 0},
]


def read_page(directory: Path) -> Page:
    return Page(report(read_record(directory)))


def box(page: Page) -> tuple[str, str]:
    """Class and text of the verdict."""
    (kind,) = [attrs["class"] for _, attrs in page.tags if "verdict" in (attrs.get("class") or "")]
    return str(kind), next(text for text in page.text if text[:2] in {"✓ ", "✗ ", "● "})


def test_numbers_of_the_page_are_those_of_the_files(tmp_path: Path) -> None:
    page = read_page(write_run(tmp_path, summary=SUMMARY, laws=LAWS))
    page.stands_alone()
    assert page.open == []
    rows = read_csv(tmp_path / "path.csv")[1:]  # from the end of the approach
    path, figures = page.data["path"], page.data["figures"]
    for name in ("step", "lambda", "gamma", "R", "D", "C", "C_error", "J", "stationarity", "val_C"):
        assert path[name] == [row[name] for row in rows]
    for name, x, y in (("gamma_C", "gamma", "C"), ("lambda_D", "lambda", "D")):
        shown = [t for t in figures[name]["data"] if t.get("name") == "iso classification"]
        assert [(t["x"], t["y"]) for t in shown] == [(path[x], path[y])]
    (line,) = [t for t in figures["space"]["data"] if "name" in t]
    assert (line["x"], line["y"], line["z"]) == (path["R"], path["D"], path["C"])
    (miss,) = figures["held"]["data"]
    held = [100 * (float(str(row["C"])) / 0.1 - 1) for row in rows[1:]]  # C* = 0.1
    assert miss["y"] == pytest.approx(held, rel=1e-12)
    assert box(page) == ("verdict good", f"✓ Held: C within {max(map(abs, held)):.2f}% of its "
                         f"target, over {len(held)} steps")  # fmt: skip
    text = " ".join(page.text)
    assert "Held against its noise, step 4 is the worst: +0.99% ± 0.70% in C." in text
    assert "0.900 → 0.800" in text
    assert f"{sum(range(1000, 1012)):,}" in text  # gradients, preparation included


def test_laws_have_their_verdicts_and_error_bars(tmp_path: Path) -> None:
    page = read_page(write_run(tmp_path, laws=LAWS))
    rows = {row[0]: row for row in page.cells if len(row) == 6}
    assert rows["first law"][2:] == ["0.02 ± 0.001", "0.05", "holds", "9"]
    assert rows["third"][2:] == ["?", "0.1", "unknown", "0"]
    assert "2 of 3" not in " ".join(page.text)
    assert {"1 of 3", "violated: second law"} <= set(page.text)
    figure = laws_figure(LAWS)
    assert figure is not None
    good, bad = figure["data"]
    assert good["x"] == pytest.approx([0.02 / 0.05])  # linear within what is allowed
    assert good["error_x"]["array"] == pytest.approx([0.001 / 0.05])
    assert bad["x"] == pytest.approx([-1 - math.log10(3.0 / 0.001)])  # no tolerance: in errors
    assert laws_figure(LAWS[2:]) is None


@pytest.mark.parametrize(
    ("status", "verdict", "kind", "begins"),
    [
        ("done", "held", "good", "✓ Held: C within"),
        ("done", "not held", "bad", "✗ Not held: C off by up to"),
        ("done", "not promised", "open", "● Done; nothing was promised. Found: C within"),
        ("done", None, "open", "● Done in 10 steps"),
        ("stopped: γ > 10", "held", "bad", "✗ Stopped after 10 steps"),
        ("cut off by max_epochs after 9 epochs", "held", "open", "● Cut off after 10 steps"),
        ("running", None, "open", "● Not finished after 10 steps"),
    ],
)
def test_the_verdict_comes_first(
    tmp_path: Path, status: str, verdict: str | None, kind: str, begins: str
) -> None:
    promise = {"promise": SUMMARY["promise"] | {"verdict": verdict}} if verdict else {}  # type: ignore[operator]
    found = box(read_page(write_run(tmp_path, status=status, summary=promise)))
    assert found[0] == f"verdict {kind}"
    assert found[1].startswith(begins)


def test_a_run_that_was_cut_off_shows_what_there_is(tmp_path: Path) -> None:
    run = write_run(tmp_path / "killed", status="running")
    (run / "config.yaml").unlink()  # as of a trainer of one's own
    page = read_page(run)
    assert "No examples of x(t) were kept in this run." in page.text
    assert {"held", "space", "along"} <= set(page.data["figures"])
    (run / "path.csv").write_text((run / "path.csv").read_text().splitlines()[0] + "\n")
    (run / "equilibration.csv").write_text("epoch,J,stationarity\n20,3.5,\n40,3.25,0.5\n")
    page = read_page(run)
    assert page.data["path"] is None
    assert page.data["figures"]["check_J"]["data"][0]["y"] == [3.5, 3.25]
    assert box(page) == ("verdict open", "● Running or killed")
    page = read_page(metrics_run(tmp_path / "begun", 3, "epoch,val/J\n"))
    assert box(page) == ("verdict open", "● Nothing measured")
    assert page.data["figures"] == {}


def test_a_training_without_a_process_shows_its_curves(tmp_path: Path) -> None:
    lines = "epoch,train/J,val/J,val/R,val/C\n0,,7.5,2.5,0\n0,8.0,,,\n1,,6.5,1.25,0\n"
    page = read_page(metrics_run(tmp_path / "vae", 2, lines))
    curves = page.data["figures"]
    train, val = curves["term_J"]["data"]
    assert (train["x"], train["y"], val["x"], val["y"]) == ([0], [8.0], [0, 1], [7.5, 6.5])
    assert set(curves) == {"term_J", "term_R"}  # without a classifier C is zero
    assert "6.5" in page.text


def test_what_a_run_says_is_text_and_no_markup(tmp_path: Path) -> None:
    evil = '</script><script>alert("1")</script>\'&amp;<b>'
    rows = path_of(4)
    for row in rows[2:]:
        row["stroke"] = evil
    frames = {"steps": [1], "classes": [evil], "lines": [evil], "width": 8, "height": 8}
    run = write_run(
        tmp_path,
        config_of(note=evil),
        rows,
        f"stopped: {evil}",
        laws=[LAWS[0] | {"law": evil, "reason": evil}],
        frames=frames | {"kind": "image"},
    )
    (run / "frames.png").write_bytes(b"png")
    page = read_page(run)
    assert page.open == []
    assert [tag for tag, _ in page.tags].count("script") == 3  # data, library, ours
    assert page.data["path"]["stroke"][-1] == evil
    assert evil in page.text  # above its tile
    named = [t["name"] for f in page.data["figures"].values() for t in f["data"] if "name" in t]
    assert not any("<" in name for name in named)  # Plotly reads markup in names


def test_two_thousand_rows_and_a_full_sheet_stay_below_six_megabytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((50, 4, 28, 28))
    frames = {step: (0.0, noise[step % 50], noise[step % 49]) for step in range(2001)}
    picture, content = sheet(frames, list("abcd"))
    run = write_run(tmp_path, rows=path_of(2000), frames=content)
    (run / "frames.png").write_bytes(picture)
    assert write_report(run).stat().st_size < 6_000_000


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (6,)])
def test_the_sheet_has_each_example_in_its_place(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 256, (2, 3, 2, *shape)) / 255
    values.flat[:2] = 0, 1
    frames = {10 * k: (0.5 * k, *values[k].swapaxes(0, 1)) for k in range(2)}
    picture, content = sheet(frames, ["a", "b", "c"])  # type: ignore[arg-type]
    pixels = np.asarray(Image.open(io.BytesIO(picture))) / 255
    height, width = content["height"], content["width"]
    assert (height, width) == (shape[:2] if len(shape) > 1 else (1, 6))
    assert (content["steps"], content["lines"]) == ([0, 10], ["x(t)", "its decoding"])
    assert content["kind"] == ("image" if len(shape) > 1 else "vector")
    for k in range(2):
        for c in range(3):
            for part in range(2):
                row = (2 * c + part) * height
                tile = pixels[row : row + height, k * width : (k + 1) * width]
                shown = values[k, c, part].reshape(tile.shape)
                np.testing.assert_allclose(tile, shown if len(shape) == 3 else 1 - shown)


def test_a_sheet_keeps_its_size() -> None:
    large = np.zeros((1, 400, 300))
    _, content = sheet(dict.fromkeys(range(500), (0.0, large, None)), ["a"])
    assert (content["height"], content["width"]) == (80, 60)
    assert (content["steps"][0], content["steps"][-1]) == (0, 499)
    assert len(content["steps"]) * 80 * 60 <= MOST_BYTES


@pytest.mark.parametrize(
    "files", [{"laws": [{"verdict": "holds"}]}, {"strokes": [{"status": "done", "dF": 1}]}]
)
def test_a_file_that_no_run_writes_is_told(tmp_path: Path, files: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"got KeyError .*; allowed: files as a run writes them"):
        write_report(write_run(tmp_path, **files))


# --- who writes it ---


def test_the_command_writes_where_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_run(tmp_path / f"version_{i}") for i in range(2)]
    assert main(["report", str(tmp_path)]) == 0
    files = [run / "report.html" for run in runs]
    assert capsys.readouterr().out == "".join(f"report  {file}\n" for file in files)
    assert main(["report", str(runs[0]), "--html", str(tmp_path / "x.html")]) == 0
    assert (tmp_path / "x.html").read_text() == files[0].read_text()


def test_mistakes_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / f"version_{i}") for i in range(2)]
    for words, told in (
        ([], "report: the following arguments are required: RUN; allowed: thermo-pl report"),
        ([str(tmp_path / "none")], "RUN: got"),
        ([str(tmp_path), "--html", "x"], "has 2 runs"),
        ([str(runs[0]), "--html", str(tmp_path / "no" / "x.html")], "a directory that exists"),
    ):
        assert main(["report", *words]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1


def test_a_page_that_cannot_be_made_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(directory: Path) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr(report_page, "write_report", full)
    trainer: Any = SimpleNamespace(
        callbacks=[],
        is_global_zero=True,
        fast_dev_run=False,
        loggers=[],
        default_root_dir=str(tmp_path),
    )
    with pytest.warns(UserWarning, match="ReportPage failed with OSError: no space left"):
        ReportPage().on_fit_end(trainer, None)  # type: ignore[arg-type]
