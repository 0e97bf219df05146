"""Checkpoints on disk: the one before is kept, and what is torn or hostile is not read."""

from __future__ import annotations

import contextlib
import io
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from thermo_pl.checkpoint_files import WholeCheckpoints
from thermo_pl.checkpoints import INSIDE, newest_checkpoint, read_checkpoint
from thermo_pl.errors import ConfigError


def content(epoch: int, **more: Any) -> dict[str, Any]:
    weights = {"w": torch.arange(5.0) + epoch}
    return {"state_dict": weights, "pytorch-lightning_version": "2.6.6", "loops": {}} | {
        "epoch": epoch,
        **more,
    }


def save(folder: Path, *checkpoints: dict[str, Any]) -> Path:
    for checkpoint in checkpoints:
        WholeCheckpoints().save_checkpoint(checkpoint, folder / "last.ckpt")
    return folder / "last.ckpt"


def test_the_one_before_is_kept_and_taken_if_the_last_is_torn(tmp_path: Path) -> None:
    path = save(tmp_path, content(1), content(2), content(3))
    assert sorted(os.listdir(tmp_path)) == ["last.before.ckpt", "last.ckpt"]
    assert newest_checkpoint(tmp_path) == path
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"^passed over.*last.ckpt'; allowed: a whole checkpoint"):
        found = newest_checkpoint(tmp_path)
    assert found == tmp_path / "last.before.ckpt"
    assert read_checkpoint(found)["epoch"] == 2


@pytest.mark.parametrize("fails", ["save", "replace"])
def test_a_save_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = save(tmp_path, content(1))

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(*((torch, "save") if fails == "save" else (os, "replace")), refuse)
    with pytest.raises(OSError, match="disk full"):
        save(tmp_path, content(2))
    assert read_checkpoint(path)["epoch"] == 1
    assert not [name for name in os.listdir(tmp_path) if "last.ckpt." in name]


def test_a_checkpoint_from_inside_a_macro_step_is_passed_over(tmp_path: Path) -> None:
    save(tmp_path, content(1), content(2, **{INSIDE: True}))
    with pytest.warns(UserWarning, match="one from between two macro-steps"):
        assert newest_checkpoint(tmp_path) == tmp_path / "last.before.ckpt"


def test_no_flipped_bit_is_accepted(tmp_path: Path) -> None:
    whole = save(tmp_path, content(1)).read_bytes()
    expected, draw, accepted = content(1), random.Random(0), 0
    for _ in range(150):
        place, bit = draw.randrange(len(whole)), 1 << draw.randrange(8)
        (tmp_path / "x.ckpt").write_bytes(
            whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :]
        )
        with contextlib.suppress(ConfigError):
            found = read_checkpoint(tmp_path / "x.ckpt")
            # in the padding between records, or in their dates
            assert torch.equal(found["state_dict"].pop("w"), torch.arange(5.0) + 1)
            assert found == expected | {"state_dict": {}}
            accepted += 1
    assert accepted < 75


class Hostile:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        """Say which."""
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def foreign(kind: str, folder: Path) -> bytes:
    buffer = io.BytesIO()
    if kind == "compressed":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("archive/data.pkl", bytes(10**6))
    elif kind == "text":
        buffer.write(b"weights\n")
    elif kind == "script":
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), buffer)
    else:
        whole: dict[str, Any] = {
            "list": [1],
            "dict": {},
            "tensor": torch.zeros(2),
            "weights": content(1)["state_dict"],
            "pickle": content(1, extra=Hostile(folder / "made")),
        }
        torch.save(whole[kind], buffer)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("list", "which this is not"),
        ("dict", "which this is not"),
        ("tensor", "which this is not"),
        ("weights", "which this is not"),
        ("text", ""),
        ("script", "it is compressed"),
        ("compressed", "it is compressed"),
        ("pickle", "more than plain data, which could run code: .*posix.mkdir"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path, kind: str, told: str) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(foreign(kind, tmp_path))
    with pytest.raises(
        ConfigError, match=f"^ckpt_path: got '.*x.ckpt'; allowed: .*{told}"
    ) as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "made").exists()


def test_a_pipe_is_no_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.ckpt")
    with pytest.raises(ConfigError, match="an existing checkpoint file"):  # at once
        read_checkpoint(tmp_path / "x.ckpt")
