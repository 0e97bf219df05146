"""Rows in a checkpoint: all of them, to the last bit, and told once."""

from __future__ import annotations

import math
from typing import Any

import pytest

from thermo_pl.errors import DataError
from thermo_pl.process import state as state_module
from thermo_pl.process.iso_classification import IsoCourse
from thermo_pl.process.state import BLOCK, RowBlocks, State, from_plain, to_plain

ODD = {"a": 0.1 + 0.2, "b": math.nan, "c": -math.inf, "d": None, "e": 'é, "ü"', "f": True, "g": 1}


def rows_of(count: int) -> list[dict[str, Any]]:
    return [ODD | {"step": step, "t": step / 7} for step in range(count)]


@pytest.mark.parametrize("count", [0, 1, BLOCK, 2 * BLOCK + 3])
def test_rows_come_back_to_the_last_bit_with_their_types(count: int) -> None:
    rows = rows_of(count)
    found = from_plain(to_plain(State(0, rows=rows)), IsoCourse).rows
    assert repr(found) == repr(rows)


def test_what_was_told_is_not_told_again_unless_it_is_another_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told, real = [], state_module._told
    monkeypatch.setattr(state_module, "_told", lambda rows: told.append(len(rows)) or real(rows))
    blocks, rows = RowBlocks(), rows_of(2 * BLOCK)
    blocks.told(rows)
    rows = [*rows, *rows_of(2)]
    blocks.told(rows)
    assert told == [BLOCK, BLOCK, 0, 2]
    other = [*rows[: BLOCK - 1], rows[0] | {"a": 5.0}, *rows[BLOCK:]]
    again = from_plain(to_plain(State(0, rows=other), blocks), IsoCourse).rows
    assert repr(again) == repr(other)


def test_rows_of_an_older_version_are_refused() -> None:
    plain = to_plain(State(0, rows=rows_of(3)))
    with pytest.raises(DataError, match="allowed: one saved by this version"):
        from_plain(plain | {"rows": {"a": [1.0]}}, IsoCourse)
