"""The page of one run: its verdict first, then the path, the ledger, the laws and the cost.

It is made of files alone, so that it can be made of a run that was killed, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thermo_pl.errors import DataError
from thermo_pl.files import write_atomic
from thermo_pl.path.segments import total
from thermo_pl.reports.law_plots import laws_figure
from thermo_pl.reports.path_plots import (
    along_figure,
    column,
    held_figure,
    plane_figure,
    space_figure,
)
from thermo_pl.reports.plots import axis, figure, line
from thermo_pl.reports.surface_plots import surface_figures
from thermo_pl.reports.web import Drawn, Raw, cards, html, page, plots, table, verdict
from thermo_pl.reports.web_tables import cycle_table, laws_table, strokes_table, tallies
from thermo_pl.runs.headline import key_numbers, told
from thermo_pl.runs.record import Record, read_record

FILE = "report.html"
"""Its name in the run directory."""

SHOWN = (
    ("λ", "lambda"),
    ("γ", "gamma"),
    ("R, nats", "R"),
    ("D, nats", "D"),
    ("C, nats", "C"),
    ("error of C", "C_error"),
    ("C*, nats", "C_target"),
    ("off C*, %", "off"),
    ("J, nats", "J"),
    ("stationarity", "stationarity"),
    ("validation C", "val_C"),
    ("accuracy", "val_accuracy"),
    ("taken back", "rejected"),
)
"""The state at the slider: what it is called there, and the column."""
TERMS = ("J", "R", "D", "C", "accuracy")
"""What a training without a process is drawn by."""


def write_report(directory: Path, file: Path | None = None) -> Path:
    """Write the page of a run.

    Args:
        directory: the run directory.
        file: where to; ``report.html`` in the run directory if None.

    Returns:
        The file.

    Raises:
        DataError: if a file of the run is not what a run writes.
    """
    target = directory / FILE if file is None else file
    record = read_record(directory)
    try:
        text = report(record)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        got = f"{type(error).__name__} {error}"
        raise DataError(f"{directory}: got {got}; allowed: files as a run writes them") from error
    write_atomic(target, text)
    return target


def report(record: Record) -> str:
    """The page of a run.

    Args:
        record: what lies in its directory.

    Returns:
        HTML without a reference to anything outside it.
    """
    name = "/".join(record.run.directory.parts[-2:])
    shown, first = _pictures(record)
    law_plot = laws_figure(record.laws)
    laws = [Drawn("laws", "Laws with their error bars", _LAWS, law_plot)] if law_plot else []
    surface = _surface(record)
    body = [
        f"<h1>{html(name)}</h1>",
        verdict(*told(record)),
        cards(key_numbers(record)),
        _SYMBOLS,
        *_section(
            "The surface",
            plots(surface) if surface else Raw(),
            tallies(record.surface, record.run.path),
        ),
        *first,
        *_section("Strokes and ledger", strokes_table(record.strokes), cycle_table(record.cycle)),
        *_section("Laws", plots(laws) if laws else Raw(), laws_table(record.laws)),
        *_section("Entropy production", _pairs(record.entropy)),
        *_section("Cost", _cost(record)),
        *_section("Versions", _pairs(record.versions)),
    ]
    if record.config:
        text = html(record.config)
        body.append(f"<details><summary>config.yaml</summary><pre>{text}</pre></details>")
    data = {"path": _path(record), "frames": record.frames if record.run.path else {}}
    return page(
        name, "\n".join(body), [*surface, *shown, *laws], {k: v or None for k, v in data.items()}
    )


_SYMBOLS = (
    '<p class="soft">Of the trained networks R is the rate, D the distortion, C the classification '
    "loss, each in nats and as a mean over examples. Training minimises J = R + λD + γC; ± is a "
    "standard error over the noise draws.</p>"
)
_LAWS = (
    "On the scale of what is allowed without noise: the green band. An equality has to touch it, "
    "an inequality not to lie left of it."
)


def _surface(record: Record) -> list[Drawn]:
    return (
        [Drawn(*parts) for parts in surface_figures(record.surface)] if record.surface[1:] else []
    )


def _section(title: str, *parts: Raw) -> list[str]:
    return [f"<h2>{html(title)}</h2>", *parts] if any(parts) else []


def _pictures(record: Record) -> tuple[list[Drawn], list[str]]:
    if record.run.path:
        drawn = list(_path_figures(record))
        slider = _slider(record)
        return drawn, ["<h2>The path</h2>", slider, plots(drawn)]
    training = list(_training_figures(record))
    if not training:
        return [], ["<p>Nothing has been measured yet: there is no path to draw.</p>"]
    title = "Equilibration" if record.checks else "Training"
    return training, [f"<h2>{title}</h2>", plots(training)]


def _path_figures(record: Record) -> Iterator[Drawn]:
    rows = record.run.path
    allowed = record.summary.get("promise", {}).get("allowed")
    closed = bool(record.cycle)
    held = held_figure(rows, allowed)
    if held is not None:
        note = "Each point is a macro-step with its standard error; the green band is allowed."
        yield Drawn("held", "Was it held?", note, held)
    area = " The area is the work W = ∮ C dγ." if closed else ""
    band = " Dashed: C*, green: what is allowed around it." if held is not None else ""
    yield Drawn(
        "gamma_C",
        "The path in the (γ, C) plane",
        f"As entropy and temperature.{area}{band}",
        plane_figure(rows, "gamma", "C", allowed, closed),
    )
    yield Drawn(
        "lambda_D",
        "The path in the (λ, D) plane",
        "As volume and pressure (minus D)." + (" The area is -∮ D dλ." if closed else ""),
        plane_figure(rows, "lambda", "D", None, closed),
    )
    yield Drawn(
        "space",
        "Rate, distortion, classification loss",
        "Turn it with the pointer. Grey: its shadow on the floor C = 0.",
        space_figure(rows),
    )
    note = "Measured on a probe that steers nothing; the dot is where the slider stands."
    yield Drawn("along", "Along the path", note, along_figure(rows), across=True)


def _slider(record: Record) -> Raw:
    last = len(record.run.path) - 1
    state = "".join(
        f'<span><i>{html(label)}</i><b data-column="{name}"></b></span>' for label, name in SHOWN
    )
    return Raw(
        '<div class="slider"><div><button id="play" type="button">▶ play</button>'
        f'<input id="step" type="range" min="0" max="{last}" value="0" step="1" '
        'aria-label="row of the path"></div><output id="where" for="step"></output></div>'
        f'<div class="state">{state}</div>{_tiles(record.frames)}'
    )


def _tiles(frames: dict[str, Any]) -> Raw:
    # a canvas for each line of the sheet of images, into which the script draws
    if not frames:
        return Raw('<p class="soft">No examples of x(t) were kept in this run.</p>')
    lines, vectors = frames["lines"], frames["kind"] == "vector"
    scale = 1 if vectors else max(1, round(72 / max(frames["width"], frames["height"])))
    width, height = scale * frames["width"], scale * frames["height"]
    parts = []
    for number, name in enumerate(frames["classes"]):
        rows = range(number * len(lines), (number + 1) * len(lines))
        drawn = "".join(
            f'<canvas width="{width}" height="{height}" data-tile="{row}" title="{html(line)}">'
            "</canvas>"
            for row, line in zip(rows, lines, strict=True)
        )
        parts.append(f'<div class="tile">{html(name)}{drawn}</div>')
    what = "one column for each number, dark is high" if vectors else "one example of each class"
    below = f": above {lines[0]}, below {lines[1]}" if len(lines) > 1 else f": {lines[0]}"
    kind = " vectors" if vectors else ""
    return Raw(
        f'<p class="soft">Validation examples, {html(what + below)}.</p>'
        f'<div class="tiles{kind}">{"".join(parts)}</div>'
    )


def _path(record: Record) -> dict[str, list[Any]]:
    # the columns that the slider reads
    rows = record.run.path
    if not rows:
        return {}
    names = [name for _, name in SHOWN if name != "off"]
    found = {name: column(rows, name) for name in ("step", "stroke", "s", *names)}
    found["off"] = [100 * (row["C_held"] / row["C_target"] - 1) for row in rows]
    return found


def _training_figures(record: Record) -> Iterator[Drawn]:
    if record.checks:
        x = [row["epoch"] for row in record.checks]
        for name, unit in (("J", "J (nats)"), ("stationarity", "stationarity (nats)")):
            y = [row.get(name) for row in record.checks]
            known = [float("nan") if value is None else float(value) for value in y]
            axes = {"xaxis": axis("epoch"), "yaxis": axis(unit)}
            yield Drawn(f"check_{name}", name, "", figure([line(x, known, name)], axes))
        return
    for term in TERMS:
        traces = []
        for index, part in enumerate(("train", "val")):
            points = [
                (row["epoch"], row[key])
                for row in record.epochs
                if row.get(key := f"{part}/{term}") is not None and row.get("epoch") is not None
            ]
            if any(value for _, value in points):  # a part that the model has not is zero
                epochs, values = ([point[i] for point in points] for i in range(2))
                name = {"train": "training batches", "val": "validation examples"}[part]
                traces.append(line(epochs, values, name, index))
        if traces:
            unit = "" if term == "accuracy" else " (nats)"
            axes = {"xaxis": axis("epoch"), "yaxis": axis(term + unit)}
            yield Drawn(f"term_{term}", term, "", figure(traces, axes, 300))


def _cost(record: Record) -> Raw:
    results, rows = record.run.results, record.run.path
    if "gradients" not in results:
        return Raw()
    path = rows[1:]
    parts = [
        ("wall time, preparation included", f"{results['seconds']:.1f} s"),
        ("of it on the path", f"{total(path, 'seconds'):.1f} s"),
        ("gradients of one image and draw, preparation included", f"{results['gradients']:,.0f}"),
        ("macro-steps on the path", str(len(path))),
        ("longer steps that were taken back", f"{total(path, 'rejected'):.0f}"),
        ("products with the curvature", f"{total(path, 'solver_iterations'):,.0f}"),
    ]
    return table(("", ""), parts, ("text", "number"))


def _pairs(values: dict[str, Any]) -> Raw:
    if not values:
        return Raw()
    shown = [
        (name, f"{value:.6g}" if isinstance(value, float) else str(value))
        for name, value in values.items()
    ]
    return table(("", ""), shown, ("text", "text"))
