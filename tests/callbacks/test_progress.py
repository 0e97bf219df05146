"""What a user sees while a process runs."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.process_runs import Disturb, fit, make_process
from thermo_pl.callbacks import Equilibration, ProcessProgress
from thermo_pl.callbacks.progress import describe_row

Data = Callable[..., Any]
LINE = re.compile(
    r" +(\d+)/(\d+)  (\w+) t=(\d\.\d{3}) λ=([\d.]+) γ=([\d.e+-]+) C/C\*=(\d\.\d{4})  (\S+) left"
)


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def progress_lines(err: str) -> list[str]:
    return [line for line in err.splitlines() if re.match(r" +\d+/\d+ ", line)]


def test_plain_lines(tmp_path: Path, data: Data) -> None:
    run = fit(tmp_path, data(), ProcessProgress())
    lines = progress_lines(run.err)
    assert max(map(len, lines)) <= 100
    assert "\r" not in run.err
    check, *others = lines
    assert re.fullmatch(
        r" +1/20  equilibration J=[\d.]+ stationarity \S+ → 100 nats  ~\d+:\d\d left", check
    )
    found = [LINE.fullmatch(line) for line in others]
    assert all(found), others
    assert len(found) == len(run.rows) == 4
    for match, row in zip(found, run.rows, strict=True):
        assert match is not None
        done, total, stroke, t, lam, gam, ratio, _ = match.groups()
        assert (int(done), int(total)) == (row["step"], 3)
        assert stroke == ("iso" if row["step"] else "equilibration")
        assert float(t) == pytest.approx(row["t"], abs=5e-4)
        assert float(lam) == pytest.approx(row["lambda"], rel=6e-3)
        assert float(gam) == pytest.approx(row["gamma"], rel=6e-3)
        assert float(ratio) == pytest.approx(row["C"] / row["C_target"], abs=1e-4)
    times = [match[8] for match in found if match]
    assert times[0] == "?:??"
    assert all(re.fullmatch(r"\d+:\d\d", time) for time in times[1:])
    assert times[-1] == "0:00"


def test_checks_alone_are_shown_during_equilibration(tmp_path: Path, data: Data) -> None:
    process = make_process(equilibration=Equilibration(1e-9, max_epochs=20, check_every=3), steps=1)
    run = fit(tmp_path, data(), ProcessProgress(), process=process, max_epochs=7)
    assert [line.split()[0] for line in progress_lines(run.err)] == ["3/20", "6/20"]


def test_the_count_goes_on_through_an_approach(tmp_path: Path, data: Data) -> None:
    process = make_process(c_target=0.45, steps=2, approach_tolerance=1e-4)
    run = fit(tmp_path, data((0, 1)), ProcessProgress(), process=process)
    found = [LINE.fullmatch(line) for line in progress_lines(run.err)]
    counts = [(int(match[1]), int(match[2])) for match in found if match]
    assert len(counts) == len(run.rows)
    assert counts[-1][0] == counts[-1][1]
    # not done before it is done
    assert all(done < total for done, total in counts[:-1])


def test_a_line_is_never_wider_than_the_screen() -> None:
    row = {"stroke": "iso_classification", "leg": 12, "t": 0.123456}
    row |= {"lambda": 1.23456e-11, "gamma": 9999.99, "C_held": 123.456, "C_target": 1e-3}
    line = f"{1000:>4}/{1000}  {describe_row(row)}  {1000}:00 left"
    assert len(line) <= 100


def test_bar_on_a_terminal(tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = bar_frames(tmp_path, data, monkeypatch)
    assert max(map(len, frames)) <= 100
    assert any("equilibration J=" in frame and "2/20" not in frame for frame in frames)
    last = [frame for frame in frames if frame.strip()][-1]
    assert "iso t=1.000 λ=2 " in last
    assert "3/3" in last


def bar_frames(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch, *callbacks: Any
) -> list[str]:
    screen = Terminal()
    progress = ProcessProgress()
    start = progress.on_train_start

    def on_screen(*arguments: Any) -> None:
        monkeypatch.setattr(sys, "stderr", screen)
        start(*arguments)

    monkeypatch.setattr(progress, "on_train_start", on_screen)
    fit(tmp_path, data(), progress, *callbacks, fails=bool(callbacks))
    text = screen.getvalue()
    assert "\r" in text
    assert text.endswith("\n")  # whatever comes next begins on a line of its own
    assert progress._bar is None
    return re.split(r"[\r\n]", text)


@pytest.mark.parametrize("how", ["interrupt", pytest.param("bug", marks=pytest.mark.slow)])
def test_bar_is_closed_when_a_run_stops(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    frames = bar_frames(tmp_path, data, monkeypatch, Disturb(3, how))
    assert any("iso t=0.333" in frame for frame in frames)


@pytest.mark.slow
def test_disabled(tmp_path: Path, data: Data) -> None:
    progress = ProcessProgress()
    progress.disable()
    run = fit(tmp_path, data(), progress, process=make_process(steps=1))
    assert progress_lines(run.err) == []
