"""Settings of all tests."""

import os
import random
from collections.abc import Iterator

# before torch is imported, here or by what a test starts: one thread for each process, however many
# tests run beside each other
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings

# the same examples in every run: what is checked before a change lands is what lands. How long an
# example takes says more of the machine than of the code
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an order of one's own, the same in all processes."""
    told = "run the files, and the tests of each, in a random order"
    parser.addoption("--shuffle", type=int, metavar="SEED", help=told)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle the tests if asked to; those of a file stay together, as they share fixtures."""
    if (seed := config.getoption("--shuffle")) is None:
        return
    draw = random.Random(seed)
    draw.shuffle(items)
    place = {path: draw.random() for path in sorted({item.path for item in items})}
    items.sort(key=lambda item: place[item.path])


def pytest_runtest_setup() -> None:
    """Start every test from the same state, whatever ran before it in this process."""
    torch.set_num_threads(1)  # a config may have asked for more
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    os.environ.pop("THERMO_PL_RUN_DIR", None)  # left by a run on the command line


@pytest.fixture(scope="session", autouse=True)
def _nobodys_account() -> Iterator[None]:
    # whatever W&B account, mode or sweep the tests are started under: they record offline
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 64) in float64 and labels of the train split."""
    from thermo_pl.datamodules import Digits  # here: most tests need no DataModule

    images, labels = Digits().load()["train"]
    return images.reshape(len(images), -1).numpy().astype(np.float64), labels.numpy()
