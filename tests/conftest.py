"""Settings of all tests."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# the same examples in every run: what is checked before a change lands is what lands
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def _nobodys_account() -> Iterator[None]:
    # whatever W&B account, mode or sweep the tests are started under: they record offline
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        yield
