"""What may be used alone loads neither Lightning nor W&B nor torchvision."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, pkgutil, sys
from importlib import import_module
for name in json.loads(sys.argv[1]):
    found = import_module(name)
    for each in pkgutil.iter_modules(getattr(found, "__path__", []), f"{name}."):
        import_module(each.name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
HEAVY = {"lightning", "pytorch_lightning", "torchmetrics", "torchvision", "wandb"}


@pytest.mark.parametrize(
    ("names", "others"),
    [
        (["thermo_pl.estimate", "thermo_pl.text", "thermo_pl.path"], {"torch"}),
        (["thermo_pl.response", "thermo_pl.laws", "thermo_pl.exact"], set()),
    ],
    ids=["path", "laws"],
)
def test_rooms_load_no_more_than_they_need(names: list[str], others: set[str]) -> None:
    words = [sys.executable, "-c", PROGRAM, json.dumps(names)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert not (HEAVY | others) & set(json.loads(done.stdout))
