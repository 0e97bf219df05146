"""Names of slopes against the matrix they are read from."""

from __future__ import annotations

import torch

from thermo_pl.process.state import Motion
from thermo_pl.response.slopes import CONTROLS, Slopes


def test_each_entry_has_the_name_of_its_row_and_column() -> None:
    rows = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]], dtype=torch.float64) / 7
    found = Slopes.of(rows)
    assert found.R._asdict() == {"lam": 1 / 7, "gam": 2 / 7, "t": 3 / 7}
    assert (found.D.lam, found.D.gam, found.D.t) == (4 / 7, 5 / 7, 6 / 7)
    assert (found.C.lam, found.C.gam, found.C.t) == (7 / 7, 8 / 7, 9 / 7)
    assert torch.equal(found.tensor(), rows)  # to the last bit


def test_a_motion_is_in_the_order_of_the_directions() -> None:
    assert Motion._fields == CONTROLS
