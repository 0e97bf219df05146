"""Configs with one to three things wrong: 0, 2 or 3, in six lines, without a traceback, in time."""

from __future__ import annotations

import copy
import io
import random
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import yaml
from fault_runs import run

CONFIG = Path(__file__).resolve().parent / "small_configs" / "iso.yaml"
LONGEST = 60.0
"""Seconds of a run that takes two with the right config."""
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    3,
    10**18,
    -0.5,
    0.5,
    1e-18,
    1e18,
    float("nan"),
    float("inf"),
    "",
    "abc",
    "γ",
    "../../nowhere",
    "os.system",
    [],
    {},
    [1, 2],
    ["a"],
    [[]],
    {"class_path": "NoSuch"},
    {"class_path": "torch.optim.SGD", "init_args": {"lr": -1}},
    [0.1] * 1000,
)
UNBOUND = ("max_epochs", "max_steps", "steps", "train_batches", "check_every", "rounds")
"""Numbers that may be as large as a user has time."""


def case(number: int, place: Path) -> dict[str, Any]:
    """Change a config at random, and run it.

    Args:
        number: of the case; it is the seed, too.
        place: where files lie.

    Returns:
        What came of it.
    """
    draw = random.Random(number)
    place.mkdir(parents=True, exist_ok=True)
    whole = place / "whole.yaml"
    if not whole.exists():
        from thermo_pl.cli import main

        with redirect_stdout(io.StringIO()) as text:
            main(["fit", "--config", str(CONFIG), "--trainer.max_epochs", "4", "--print_config"])
        whole.write_text(text.getvalue())
    config = yaml.safe_load(whole.read_text())
    changes = [_changed(config, draw) for _ in range(draw.choice((1, 1, 2, 3)))]
    (place / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True))
    ran = run(["fit", "--config", "config.yaml"], place, longest=LONGEST)
    told = ""
    if not ran.is_plain:
        what = "hangs" if ran.code is None else f"exit code {ran.code}"
        told = f"{what}, {len(ran.err.splitlines())} lines: {ran.told[:200]} ({'; '.join(changes)})"
    return {"ok": ran.is_plain, "told": told, "exit": ran.code, "changes": changes}


def _changed(config: Any, draw: random.Random) -> str:
    places = [(at, node, key) for at, node, key in _places(config, "")]
    at, node, key = draw.choice(places)
    kind = draw.randrange(8)
    if kind == 0:
        del node[key]
        return f"{at} is missing"
    if kind == 1 and isinstance(node, dict):
        node[f"{key}x"] = node.pop(key)
        return f"{at}x in place of {at}"
    if kind == 2 and isinstance(node, list):
        node.append(copy.deepcopy(node[key]))
        return f"{at} twice"
    if kind == 3:
        value = copy.deepcopy(draw.choice(places)[1])
    else:
        value = copy.deepcopy(draw.choice(VALUES))
        if any(name in at for name in UNBOUND) and isinstance(value, int | float) and value > 9:
            value = 9
    node[key] = value
    return f"{at}: {str(value)[:60]}"


def _places(node: Any, at: str) -> list[tuple[str, Any, Any]]:
    pairs: Any = ()
    if isinstance(node, dict):
        pairs = node.items()
    elif isinstance(node, list):
        pairs = enumerate(node)
    found = []
    for key, value in pairs:
        here = f"{at}.{key}".lstrip(".")
        found += [(here, node, key), *_places(value, here)]
    return found
