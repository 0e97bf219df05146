"""Symmetric feedback on γ: against the controller written as one sum, row by row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.process_runs import fit
from thermo_pl.callbacks import FeedbackControl, Probes
from thermo_pl.errors import ConfigError

Data = Callable[..., Any]
PROBES = Probes(
    measuring_particles=200, measuring_samples=4, control_particles=200, control_samples=4
)


def control(**arguments: Any) -> Any:
    gains = {"proportional": 0.4, "integral": 0.2, "smoothing": 0.3}
    return FeedbackControl(
        **({"steps": 6, "source_epochs": 3, "probes": PROBES} | gains | arguments)
    )


def test_gamma_follows_the_error(tmp_path: Path, data: Data) -> None:
    run = fit(tmp_path, data(), process=control())
    assert [row["t"] for row in run.rows] == pytest.approx(np.arange(7) / 6)
    error = np.log([row["C_control"] / run.rows[0]["C_control"] for row in run.rows])
    smoothed = [0.0]
    for e in error:
        smoothed.append(0.3 * smoothed[-1] + 0.7 * e)
    # the sum of all errors, and the last one, as a controller is written
    expected = 5.0 * np.exp(0.2 * np.cumsum(error) + 0.4 * np.array(smoothed[1:]))
    np.testing.assert_allclose([row["gamma"] for row in run.rows[1:]], expected[:-1], rtol=1e-5)
    # C falls as the model goes on learning, which one-sided feedback would not answer
    assert run.rows[-1]["gamma"] < 5.0
    # what steers is not what is reported
    assert all(row["C_control"] != row["C"] for row in run.rows)
    assert {row["C_target"] for row in run.rows} == {run.rows[0]["C"]}


def test_gamma_stays_in_its_range(tmp_path: Path, data: Data) -> None:
    narrow = control(gamma_range=(4.9, 5.1), integral=2.0)
    gammas = [row["gamma"] for row in fit(tmp_path, data(), process=narrow).rows]
    assert min(gammas) > 4.9 - 1e-5
    assert max(gammas) < 5.1 + 1e-5
    assert min(abs(gam - end) for gam in gammas for end in (4.9, 5.1)) < 1e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"integral": -0.1}, "integral: got -0.1; allowed: a finite number"),
        ({"smoothing": 1.0}, "smoothing: got 1.0; allowed: a number from 0 to below 1"),
        ({"gamma_range": (2.0, 1.0)}, "gamma_range: got .* two numbers > 0"),
    ],
)
def test_settings(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        control(**arguments)
