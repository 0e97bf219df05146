"""Numbers and tables as text, letter by letter."""

from __future__ import annotations

import math

import pytest

from thermo_pl.text import WIDTH, aligned, blocks, number, number_to_error, wrapped

ROWS = [("run", "C", "method"), ("a", "0.5", "exact"), ("long", "12", "")]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.123456, 0.0, "0.1235"),
        (-1234567.0, 0.0, "-1.235e+06"),
        (-0.0, 0.0, "0"),
        (0.123456, 0.0123, "0.1235 ± 0.01"),
        (2.0, None, "2"),
        (2.0, math.nan, "2 ± ?"),
        (1.728, 3e-16, "1.728"),  # draws that differ by rounding only: it is exact
        (0.0, 3e-16, "0 ± 3e-16"),
        (math.inf, 0.0, "inf"),
        (math.nan, 1.0, "?"),
        (None, None, "?"),
    ],
)
def test_numbers_for_a_reader(value: float | None, error: float | None, text: str) -> None:
    assert number(value, error) == text


def test_digits_may_be_asked_for() -> None:
    assert number(2.0, 0.123, ".4f", ".2g") == "2.0000 ± 0.12"
    assert number(-4e-5, 0.0, ".4f") == "0.0000"  # no minus before what is shown as zero
    assert number(0.5, 0.25, "+.4g") == "+0.5 ± 0.2"


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.096847, 0.000712, "0.09685 ± 0.00071"),
        (21.1568, 0.0212, "21.157 ± 0.021"),
        (-3.0, 0.5, "-3.00 ± 0.50"),
        (1234.0, 56.0, "1234 ± 56"),
        (123456.0, 1234.0, "1.235e+05 ± 1.2e+03"),
        (1e-12, 1e-13, "1e-12 ± 1e-13"),
    ],
)
def test_the_error_has_two_digits(value: float, error: float, text: str) -> None:
    assert number_to_error(value, error) == text


def test_columns_are_aligned() -> None:
    assert aligned(ROWS).split("\n") == ["run   C    method", "a     0.5  exact", "long  12"]
    right = ["run     C  method", "a     0.5   exact", "long   12"]
    assert aligned(ROWS, "<>>").split("\n") == right


def test_the_first_column_is_cut_to_fit() -> None:
    assert aligned([("x" * 50, "1"), ("y", "22")], "<>", 20).split("\n") == [
        "x" * 16 + "   1",
        "y" + " " * 15 + "  22",
    ]


def test_a_wide_table_comes_in_blocks_that_begin_with_the_first_column() -> None:
    whole = "run     C  method\na     0.5  exact\nlong   12"
    assert blocks(ROWS, "<><", 17) == whole
    parts = "run     C\na     0.5\nlong   12", "run   method\na     exact\nlong"
    for width in (16, 1):  # a column that is wider alone cannot be helped
        assert blocks(ROWS, "<><", width) == "\n\n".join(parts)


def test_a_sentence_is_wrapped_and_indented() -> None:
    lines = wrapped("word " * 30).split("\n")
    assert len(lines) == 2
    assert len(lines[0]) <= WIDTH
    assert lines[1].startswith("  word")
