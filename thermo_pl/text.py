"""Numbers with errors and aligned tables, as plain text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from textwrap import fill

WIDTH = 100
"""Characters of a line, at most."""
EXACT = 1e-12
"""An error below this share of its number is that of arithmetic."""

Cells = Sequence[str]


def number(
    value: float | None,
    error: float | None = 0.0,
    digits: str = ".4g",
    error_digits: str = ".1g",
) -> str:
    """A number for a reader.

    Args:
        value: the number; None or nan where it is not known.
        error: its standard error; 0 or None where no noise enters, nan where it is not known.
        digits: format of the number.
        error_digits: format of the error.

    Returns:
        The number, and the error if there is one beyond rounding; a question mark for what is not
        known.
    """
    if value is None or math.isnan(value):
        return "?"
    shown = format(value, digits)
    if not float(shown):
        shown = shown.removeprefix("-")
    if not error or error <= EXACT * abs(value):
        return shown
    return f"{shown} ± {'?' if math.isnan(error) else format(error, error_digits)}"


def number_to_error(value: float, error: float) -> str:
    """A number to the digits that its error allows: two of the error.

    Args:
        value: the number.
        error: its standard error, not 0.

    Returns:
        For example ``0.0968 ± 0.0007``.
    """
    digits = 1 - math.floor(math.log10(abs(error)))
    if not 0 <= digits <= 8:
        return number(value, error, ".4g", ".2g")
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def aligned(rows: Iterable[Cells], align: str = "", width: int | None = None) -> str:
    """A table, its columns two spaces apart.

    Args:
        rows: cells of each line, as many in each.
        align: for each column ``<`` or ``>``; all to the left if not given.
        width: of the table at most, in characters: the first column is cut to fit.

    Returns:
        Lines of text, nothing behind the last word of each.
    """
    rows = list(rows)
    widths = _widths(rows)
    if width is not None:
        widths[0] = min(widths[0], width - sum(widths[1:]) - 2 * (len(widths) - 1))
    align = align or "<" * len(widths)
    columns = list(zip(align, widths, strict=True))
    return "\n".join(
        "  ".join(f"{cell[:w]:{a}{w}}" for cell, (a, w) in zip(row, columns, strict=True)).rstrip()
        for row in rows
    )


def blocks(rows: Sequence[Cells], align: str, width: int) -> str:
    """A table in blocks one below another where it is too wide; each begins with the first column.

    Args:
        rows: cells of each line, as many in each.
        align: for each column ``<`` or ``>``.
        width: of a block at most, in characters, unless one column alone is wider.

    Returns:
        Lines of text, an empty one between two blocks.
    """
    widths = _widths(rows)
    groups = [[0]]
    for column in range(1, len(widths)):
        used = sum(widths[i] + 2 for i in groups[-1])
        if used + widths[column] > width and len(groups[-1]) > 1:
            groups.append([0])
        groups[-1].append(column)
    return "\n\n".join(
        aligned(([row[i] for i in group] for row in rows), "".join(align[i] for i in group))
        for group in groups
    )


def wrapped(line: str) -> str:
    """A sentence in lines of :data:`WIDTH` at most, indented from the second on.

    Args:
        line: the sentence.

    Returns:
        Lines of text.
    """
    return fill(line, WIDTH, subsequent_indent="  ")


def _widths(rows: Sequence[Cells]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]
