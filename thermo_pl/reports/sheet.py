"""Examples along a path as one sheet of tiles, for the slider of a run's page."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from thermo_pl.reports.kinds import Frame

MOST_FRAMES = 101
MOST_CLASSES = 20
MOST_BYTES = 3_000_000
"""Of the sheet before it is packed; a page keeps below 6 MB even where it cannot be packed."""
LARGEST = 96
"""Pixels of the longer side of an image; of larger ones each second, third, … is shown."""
LONGEST = 1024
"""Numbers of a vector that are shown."""

Pixels = NDArray[np.uint8]


def sheet(frames: Mapping[int, Frame], names: Sequence[str]) -> tuple[bytes, dict[str, Any]]:
    """Tiles of one size: a column for each frame; for each class x(t) and, below it, its decoding.

    Args:
        frames: by the step of their rows, at least one.
        names: of the classes.

    Returns:
        A PNG file, and what is where in it: the ``steps`` of the columns, ``classes``, ``lines``
        of each class, ``width`` and ``height`` of a tile, and whether it is an ``image``.
    """
    steps = _chosen(frames)
    columns = [_lines(frames[step]) for step in steps]
    kind = "vector" if columns[0].ndim == 2 else "image"
    grid = np.stack(columns, axis=1)  # (lines, frames, ...)
    tiles = grid[:, :, None] if kind == "vector" else grid
    height, width = tiles.shape[2:4]
    # a line of tiles, then its pixels, then the frames beside each other
    joined = tiles.swapaxes(1, 2).reshape(len(tiles) * height, len(steps) * width, *tiles.shape[4:])
    file = io.BytesIO()
    Image.fromarray(_pixels(joined)).save(file, "PNG", optimize=True)
    _, _, decoded = frames[steps[0]]
    lines = ["x(t)"] if decoded is None else ["x(t)", "its decoding"]
    return file.getvalue(), {
        "steps": steps,
        "classes": list(names[:MOST_CLASSES]),
        "lines": lines,
        "width": width,
        "height": height,
        "kind": kind,
    }


def _lines(frame: Frame) -> NDArray[Any]:
    # x(t) and its decoding by turns: (lines, height, width), with a colour perhaps, or (lines, n)
    _, images, decoded = frame
    few = (part[:MOST_CLASSES] for part in (images, decoded) if part is not None)
    parts = [_thinned(np.asarray(part)) for part in few]
    return np.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])


def _thinned(images: NDArray[Any]) -> NDArray[Any]:
    if images.ndim == 2:
        return images[:, :LONGEST]
    every = math.ceil(max(images.shape[1:3]) / LARGEST)
    return images[:, ::every, ::every]


def _chosen(frames: Mapping[int, Frame]) -> list[int]:
    # evenly, the first and the last among them, and as many as there is room for
    steps = list(frames)
    room = MOST_BYTES // _lines(frames[steps[0]]).size
    count = max(2, min(len(steps), MOST_FRAMES, room))
    places = np.linspace(0, len(steps) - 1, count).round().astype(int)
    return [steps[place] for place in dict.fromkeys(places.tolist())]


def _pixels(values: NDArray[Any]) -> Pixels:
    # values of another range than [0, 1], as standardised ones are, are shown in full
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    light = (values - low) / (high - low)
    grey = values.ndim == 2
    return np.asarray(np.round(255 * (1 - light if grey else light)), dtype=np.uint8)
