"""``import thermo_pl as tp``: light, complete, and each name with an example that holds."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from pathlib import Path

import pytest

import thermo_pl as tp

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", tp.__all__)
def test_each_name_has_an_example_that_holds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # no names but those that the example imports itself: it can be copied as it is
    (found,) = doctest.DocTestFinder(recurse=False).find(getattr(tp, name), name, globs={})
    assert found.examples
    assert not any(doctest.SKIP in example.options for example in found.examples)
    told: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=FLAGS).run(found, out=told.append)
    assert not outcome.failed, "".join(told)


def test_the_face_is_light_and_lists_its_names() -> None:
    code = (
        "import json, sys; import thermo_pl as tp; "
        "print(json.dumps([dir(tp), sorted(m.split('.')[0] for m in sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    listed, modules = json.loads(done.stdout)
    assert {*tp.__all__, "__version__"} <= set(listed)
    assert not {"torch", "numpy", "pytorch_lightning"} & set(modules)


def test_a_name_is_the_object_of_its_package() -> None:
    from thermo_pl.callbacks import IsoClassification
    from thermo_pl.transport.column_generation import optimal_plan

    assert tp.IsoClassification is IsoClassification
    assert tp.optimal_plan is optimal_plan
    with pytest.raises(AttributeError, match="'thermo_pl' has no attribute 'nothing'"):
        _ = tp.nothing
