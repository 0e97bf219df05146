"""One cache of couplings for all runs, and quiet ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.process_runs import make_data
from thermo_pl.datamodules import InterpolatedDataModule


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("couplings")


@pytest.fixture(scope="session")
def data(cache: Path) -> Callable[..., InterpolatedDataModule]:
    """Makes fresh DataModules that share the couplings."""

    def make(*classes: tuple[int, ...], **arguments: Any) -> InterpolatedDataModule:
        return make_data(cache, *classes, **arguments)

    return make
