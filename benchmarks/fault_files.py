"""Files that are torn, foreign, swapped or hostile: told in one line, and nothing is executed."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from fault_runs import Ran, run
from PIL import Image
from sklearn.datasets import load_digits

CONFIG = Path(__file__).resolve().parent / "small_configs" / "iso.yaml"
SHORT = ["--trainer.max_epochs", "5"]
Damage = Callable[[Path, Path, random.Random], None]
"""Spoils a file; the second one is whole, of the same kind."""


class Hostile:
    """Makes a folder where it is unpickled."""

    def __reduce__(self) -> Any:
        """What unpickling does."""
        return os.mkdir, ("executed",)


def flip(file: Path, _: Path, draw: random.Random) -> None:
    """One to four bits, anywhere."""
    content = bytearray(file.read_bytes())
    for _ in range(draw.randint(1, 4)):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


def flip_the_head(file: Path, _: Path, draw: random.Random) -> None:
    """A bit among those that say what follows."""
    content = bytearray(file.read_bytes())
    content[draw.randrange(8)] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


def cut(file: Path, _: Path, draw: random.Random) -> None:
    """The end is missing."""
    content = file.read_bytes()
    file.write_bytes(content[: draw.randrange(len(content) - 1)])


def garbage(file: Path, _: Path, draw: random.Random) -> None:
    """Random bytes."""
    file.write_bytes(draw.randbytes(draw.choice((0, 10, 1000, 100_000))))


def other(file: Path, whole: Path, _: random.Random) -> None:
    """Another file of the same kind under its name."""
    shutil.copy(whole, file)


def pipe(file: Path, _: Path, __: random.Random) -> None:
    """A pipe that nobody writes to."""
    file.unlink()
    os.mkfifo(file)


def folder(file: Path, _: Path, __: random.Random) -> None:
    """A folder."""
    file.unlink()
    file.mkdir()


def hostile(file: Path, _: Path, draw: random.Random) -> None:
    """A pickle that does something, by itself or within what torch or numpy write."""
    kind = draw.randrange(3)
    if kind == 0:
        file.write_bytes(pickle.dumps(Hostile()))
    elif kind == 1:
        torch.save({"state_dict": {}, "more": Hostile()}, file)
    else:
        buffer = io.BytesIO()
        np.savez(buffer, rows=np.array([Hostile()], dtype=object))
        file.write_bytes(buffer.getvalue())


def bomb(file: Path, _: Path, draw: random.Random) -> None:
    """Text that stands for more than memory holds, or is deeper than a stack."""
    lines = [f"a{n}: &a{n} [{', '.join(9 * [f'*a{n - 1}'])}]" for n in range(1, 15)]
    texts = ("\n".join(["a0: &a0 [x]", *lines]), "[" * 50_000, "a: &a {b: *a}", '{"a": ' * 20_000)
    file.write_text(draw.choice(texts))


def rows(file: Path, _: Path, draw: random.Random) -> None:
    """Rows in another order, or one of them twice, or one missing."""
    head, *body = file.read_text().splitlines(keepends=True)
    one, two = sorted(draw.sample(range(len(body)), 2))
    kind = draw.randrange(3)
    if kind == 0:
        body[one], body[two] = body[two], body[one]
    elif kind == 1:
        body.insert(one, body[one])
    else:
        del body[draw.randrange(1, len(body) - 1)]
    file.write_text("".join([head, *body]))


def words(file: Path, _: Path, draw: random.Random) -> None:
    """Words, nothing, or bytes that are no text in the place of numbers."""
    head, *body = file.read_bytes().splitlines()
    index = draw.randrange(len(body))
    cells = body[index].split(b",")
    cells[5] = draw.choice((b"nan", b"many", b"\xff\xfe", b"1,2", b"9" * 5000, b"\x00"))
    body[index] = b",".join(cells)
    file.write_bytes(b"\n".join([head, *body]))


def black(file: Path, _: Path, __: random.Random) -> None:
    """A file of the right size without any contrast."""
    content = file.read_bytes()
    file.write_bytes(content[:16] + bytes(len(content) - 16))


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        file: its place, or a pattern for it.
        whole: another file of the same kind.
        words: the command that reads it.
        damages: what is done to it.
    """

    file: str
    whole: str
    words: list[str]
    damages: tuple[Damage, ...]


FIT = ["fit", "--config", "iso.yaml", *SHORT]
SOURCE = "--data.init_args.waypoints"


def of_source(kind: str, **arguments: Any) -> list[str]:
    """The flag for a path between two halves of the same source."""
    source = {"class_path": kind, "init_args": arguments}
    halves = [{"source": source, "classes": half} for half in ([0, 1], [5, 6])]
    return [*FIT, SOURCE, json.dumps(halves), "--data.init_args.labels", "ordered"]


def shape(*sizes: int) -> list[str]:
    """The flag for examples of a shape."""
    return ["--model.init_args.encoder.image_shape", str(list(sizes))]


VISION = of_source(
    "VisionDataset", dataset="torchvision.datasets.ImageFolder", root="images", channels=1
)
MNIST = [*of_source("MNIST", root="idx"), *shape(1, 28, 28)]
BYTES = (flip, cut, garbage, other, pipe, folder, hostile)
TEXT = (cut, garbage, pipe, folder, bomb)
RUN = "seen/version_0"
KINDS = {
    "config": Kind("iso.yaml", "iso.yaml", FIT, (garbage, pipe, folder, bomb)),
    "checkpoint": Kind(
        "x.ckpt",
        "other.pt",
        ["fit", "--config", "iso.yaml", "--ckpt_path", "x.ckpt", "--trainer.max_epochs", "6"],
        BYTES,
    ),
    "weights": Kind(
        "x.ckpt", "other.pt", [*FIT, "--model.init_args.initial_weights", "x.ckpt"], BYTES
    ),
    "cache": Kind("cache/*.npz", "other.npz", FIT, (*BYTES, other)),
    "idx": Kind(
        "idx/MNIST/raw/t*-ubyte",
        "idx/other",
        MNIST,
        (flip_the_head, cut, garbage, other, pipe, folder, hostile, black),
    ),
    "npz": Kind("x.npz", "other.npz", of_source("ArraySource", path="x.npz", labels="y"), BYTES),
    "csv": Kind(
        "x.csv",
        "other.csv",
        [*of_source("ArraySource", path="x.csv", labels="y"), *shape(64)],
        (garbage, other, pipe, folder, words, bomb),
    ),
    "image": Kind("images/*/1.png", "other.png", VISION, (cut, garbage, pipe, hostile)),
    "path.csv": Kind(
        f"{RUN}/path.csv", "other.csv", ["compare", "seen"], (*TEXT[1:], rows, rows, words, other)
    ),
    "json": Kind(f"{RUN}/s*.json", "x.csv", ["compare", "seen"], (*TEXT, other)),
    "config.yaml": Kind(f"{RUN}/config.yaml", "x.csv", ["compare", "seen"], TEXT[1:]),
}


def case(number: int, place: Path) -> dict[str, Any]:
    """Spoil a file, and run what reads it.

    Args:
        number: of the case; it is the seed, too.
        place: where files lie.

    Returns:
        What came of it.
    """
    draw = random.Random(number)
    whole = place / "whole"
    if not (whole / "other.png").exists():
        _prepare(whole)
    name = list(KINDS)[number % len(KINDS)]
    kind = KINDS[name]
    damage = draw.choice(kind.damages)
    expected = place / f"expected-{name}"
    if not expected.exists():
        shutil.copytree(whole, expected)
        ran = run(kind.words, expected)
        if ran.code != 0:
            raise SystemExit(f"{name}: got {ran.code} from whole files; {ran.told}")
    here = place / "here"
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(whole, here)
    file = draw.choice(sorted(here.glob(kind.file)))
    damage(file, here / kind.whole, draw)
    ran = run(kind.words, here, longest=60)
    told = _judged(ran, here, expected, name)
    found = {"file": name, "damage": damage.__name__, "exit": ran.code}
    return {"ok": not told, "told": told and f"{name}, {damage.__name__}: {told}"} | found


def _judged(ran: Ran, here: Path, expected: Path, name: str) -> str:
    if (here / "executed").exists():
        return "its payload was executed"
    if ran.code is None:
        return "hangs"
    if not ran.is_plain:
        return f"exit code {ran.code}, {len(ran.err.splitlines())} lines: {ran.told[:200]}"
    if ran.code == 0 and "unreadable cache file" not in ran.err:
        # it may be read only if it says the same as before
        if ran.out != (expected / "out.txt").read_text():
            return f"accepted: {ran.out[-200:]}"
        if not name.endswith(("csv", "json", "yaml")) and not _same_path(here, expected):
            return "accepted, and the path is another one"
    return ""


def _same_path(here: Path, expected: Path) -> bool:
    paths = []
    for folder_ in (here, expected):
        with (folder_ / "runs" / "version_0" / "path.csv").open(newline="") as lines:
            paths.append([row | {"seconds": ""} for row in csv.DictReader(lines)])
    return paths[0] == paths[1]


def _prepare(whole: Path) -> None:
    shutil.rmtree(whole, ignore_errors=True)
    (whole / "idx" / "MNIST" / "raw").mkdir(parents=True)
    text = CONFIG.read_text().replace("../..", str(CONFIG.parents[2]))
    (whole / "iso.yaml").write_text(text)
    ran = run(FIT, whole)
    if ran.code != 0:
        raise SystemExit(f"got {ran.code} from a run that nobody disturbs; {ran.err}")
    (whole / "runs").rename(whole / "seen")
    shutil.copy(whole / RUN / "checkpoints" / "last.ckpt", whole / "x.ckpt")
    torch.save({"state_dict": {"weight": torch.zeros(2)}, "epoch": 1}, whole / "other.pt")
    images, labels = load_digits(return_X_y=True)
    chosen = np.isin(labels, (0, 1, 5, 6))
    images, labels = images[chosen][:300] / 16, labels[chosen][:300]
    np.savez(whole / "x.npz", x=images.reshape(-1, 1, 8, 8), y=labels)
    np.savez(whole / "other.npz", x=images[:, :9], y=labels)
    for name, columns in (("x", 64), ("other", 9)):
        with (whole / f"{name}.csv").open("w", newline="") as lines:
            writer = csv.writer(lines)
            writer.writerow([*(f"p{k}" for k in range(columns)), "y"])
            writer.writerows([*row[:columns], y] for row, y in zip(images, labels, strict=True))
    pixels = np.pad(
        np.kron(images.reshape(-1, 8, 8), np.ones((3, 3))) * 255, ((0, 0), (2, 2), (2, 2))
    )
    for part in ("train", "t10k"):
        for kind, values in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
            file = whole / "idx" / "MNIST" / "raw" / f"{part}-{kind}-ubyte"
            file.write_bytes(head + values.astype(np.uint8).tobytes())
    (whole / "idx" / "other").write_bytes(
        bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4])
    )
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        file = whole / "images" / str(label) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image.reshape(8, 8) * 255).astype(np.uint8)).save(file)
    for file in (whole / "images").iterdir():
        min(file.iterdir()).rename(file / "1.png")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(whole / "other.png")
