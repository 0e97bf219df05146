"""Whether two states of the code measure the same: short processes of both, compared to the digit.

    python benchmarks/same_paths.py --against 96f1775 --keep ~/same_paths

The older side is a commit, the newer one this working tree as it is. The command line of each side
resolves the configs that it ships; the same keys are then set to the small values of
same_paths.yaml in both. What the runs write is compared as text, all but seconds; ``--keep`` holds
what the commit measured for the next time. Runs as short as that mean nothing as physics, they only
go through the code. Exit code 1 if anything differs that TABLE does not name, or if a run fails.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import io
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parents[1]
FILES = ("path.csv", "equilibration.csv", "strokes.json", "cycle.json", "laws.json")
LONGEST = 300
"""Seconds of CPU time after which a run is ended."""
Values = dict[str, list[Any]]
"""What a run wrote: by file and column its cells, by file and dotted key the one value there."""


def no_premise(name: str, newer: Values) -> bool:
    """Whether the newer side says that a law is not applicable, or gives no number."""
    return newer.get(name) in ([None], ["not applicable"])


def turns(name: str, newer: Values) -> bool:
    """Whether γ goes both ways on a stroke that holds C."""
    columns = (newer[f"path.csv {c}"] for c in ("cycle", "stroke", "C_target", "gamma"))
    signs: dict[tuple[str, str], set[bool]] = {}
    for (before, *_, start), (cycle, stroke, target, gamma) in pairwise(zip(*columns, strict=True)):
        if target and before == cycle and start != gamma:
            signs.setdefault((cycle, stroke), set()).add(float(gamma) > float(start))
    return any(len(found) == 2 for found in signs.values())


class Known(NamedTuple):
    """A difference that is meant.

    Attributes:
        kind: ADDED, RENAMED or CHANGED.
        name: file and column, or file and dotted key; a pattern, but for what is renamed.
        reason: why.
        new: the new name of what is renamed.
        where: where the change is excused, by its name and all that the newer side wrote.
    """

    kind: str
    name: str
    reason: str
    new: str = ""
    where: Callable[[str, Values], bool] | None = None


TABLE = (
    Known("ADDED", "equilibration.csv fall", "of J in an epoch, by which auto stops"),
    Known("ADDED", "equilibration.csv allowed", "what it may fall by"),
    Known("ADDED", "equilibration.csv learning_rate", "which auto lowers"),
    Known("ADDED", "path.csv rejection", "why the last try was taken back"),
    Known("ADDED", "path.csv S_target", "where a stroke holds or drives S"),
    Known("ADDED", "*.json *.reason", "why a law is not applicable"),
    Known("ADDED", "cycle.json not_applicable", "why η is not applicable"),
    Known("CHANGED", "cycle.json *efficiency*", "null: a premise fails", where=no_premise),
    Known("CHANGED", "cycle.json checks.*.verdict", "a premise fails", where=no_premise),
    Known("CHANGED", "cycle.json C_*", "a mean of C, not Q/Δγ, where γ turns", where=turns),
    Known("CHANGED", "cycle.json checks.0.tolerance", "of Clausius, by these C", where=turns),
    Known("CHANGED", "cycle.json checks.2.value", "of Carnot, by these C", where=turns),
)

SETTINGS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
SMALL, CASES = SETTINGS["small"], SETTINGS["cases"]


def main() -> int:
    """Compare the working tree with a commit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", default="HEAD", metavar="COMMIT", help="the older side")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where its results stay")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    parser.add_argument("--run", nargs=2, type=Path, help=argparse.SUPPRESS)  # see `start`
    asked = parser.parse_args()
    if asked.run:
        run_cases(*asked.run, asked.cases)
        return 0
    git = ["git", "-C", str(ROOT)]
    words = [*git, "rev-parse", "--verify", f"{asked.against}^{{commit}}"]
    commit = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory(prefix="same_paths_") as name:
        folder = Path(name).resolve()
        older = (asked.keep or folder).resolve() / f"{commit[:12]}-torch-{torch.__version__}"
        todo = [case for case in asked.cases if not place(older, case).exists()]
        if todo:
            archive = subprocess.run([*git, "archive", commit], capture_output=True, check=True)
            with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
                files.extractall(folder / "code", filter="data")
            start(folder / "code", older, todo)
        start(ROOT, folder / "newer", asked.cases)
        return 0 if judged(older, folder / "newer", asked.cases) else 1


def place(work: Path, case: str) -> Path:
    """The folder of a case: another one for other settings of it."""
    settings = json.dumps([CASES[case], SMALL], sort_keys=True)
    return work / f"{case}-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"


def start(root: Path, work: Path, cases: list[str]) -> None:
    """Run cases on one thread, in a process that has the thermo_pl of a side."""
    work.mkdir(parents=True, exist_ok=True)
    write_digits_as_mnist(work / "data" / "MNIST" / "raw")
    places = {"PYTHONPATH": str(root), "THERMO_PL_DATA": str(work / "data")}
    environment = os.environ | places | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    words = [sys.executable, __file__, "--run", str(root), str(work), "--cases", *cases]
    subprocess.run(words, cwd=work, env=environment, check=True)


def write_digits_as_mnist(raw: Path) -> None:
    """scikit-learn's digits, enlarged and written as the files of MNIST: to read those is slow."""
    images, labels = load_digits(return_X_y=True)
    pixels = np.kron(images.reshape(-1, 8, 8), np.ones((3, 3))) * 255 / 16
    pixels = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))
    raw.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", slice(0, 1400)), ("t10k", slice(1400, None))):
        for kind, values in (("images-idx3", pixels[part]), ("labels-idx1", labels[part])):
            header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
            (raw / f"{name}-{kind}-ubyte").write_bytes(header + values.astype(np.uint8).tobytes())


def run_cases(root: Path, work: Path, cases: list[str]) -> None:
    """Run cases with the thermo_pl of this process; each in a fork, as imports take seconds."""
    import thermo_pl
    from thermo_pl.cli import main as command

    if Path(thermo_pl.__path__[0]) != root / "thermo_pl":
        raise SystemExit(f"thermo_pl: got the one in {thermo_pl.__path__[0]}; allowed: {root}")
    for case in cases:
        changes = SMALL | CASES[case]["set"]
        folder = Path(tempfile.mkdtemp(prefix="running-", dir=work))
        words = [f"--config={file}" for file in laid(root / "lightning_configs", CASES[case])]
        with contextlib.redirect_stdout(io.StringIO()) as text:
            if command(["fit", *words, "--print_config"]):
                raise SystemExit(f"{case}: its config is refused")
        changes |= {"default_root_dir": str(folder), "cache_dir": str(work / "couplings")}
        changes |= {"scheduler.T_0": changes["data.train_batches"]}
        unused = {*CASES[case]["set"]}
        config = shortened(yaml.safe_load(text.getvalue()), changes, unused)
        if unused:
            raise SystemExit(f"{case}: its config has no {', '.join(sorted(unused))}")
        (folder / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        fork = multiprocessing.get_context("fork").Process(target=fit, args=(command, folder))
        fork.start()
        fork.join()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        result = {"exit code": fork.exitcode, "seconds": seconds}
        (folder / "result.json").write_text(json.dumps(result))
        with contextlib.suppress(OSError):  # another comparison has just kept the same
            folder.rename(place(work, case))


def laid(configs: Path, case: dict[str, Any]) -> list[Path]:
    """The files of a case: one that names its base stands alone, others lie over those before."""
    files: list[Path] = []
    for name in case["files"]:
        file = configs / f"{name}.yaml"
        alone = "base" in yaml.safe_load(file.read_text())
        files = [file] if alone else [*files, file]
    return files


def shortened(config: Any, changes: dict[str, Any], unused: set[str], at: str = "") -> Any:
    """A config with other values wherever a dotted place ends like the name of a change."""
    if isinstance(config, list):
        return [shortened(value, changes, unused, at) for value in config]
    if not isinstance(config, dict):
        return config
    new = {}
    if at.endswith(".callbacks") and {"tolerance", "min_step"} <= config.keys():
        config = config | {"tolerance": float("inf")}  # runs so short hold nothing
    for key, value in config.items():
        here = at if key == "init_args" else f"{at}.{key}"
        names = [name for name in changes if here.endswith(f".{name}")]
        new[key] = changes[names[-1]] if names else shortened(value, changes, unused, here)
        unused.difference_update(names)
    return new


def fit(command: Callable[[list[str]], int], folder: Path) -> None:
    """Run the config of a folder, and end this process."""
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST))
    with (folder / "log.txt").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        sys.exit(command(["fit", "--config", str(folder / "config.yaml")]))


def judged(older: Path, newer: Path, cases: list[str]) -> bool:
    """Print a line for each case, with CPU seconds of both sides; whether all is the same."""
    print("case                  rows  columns  keys  exit  older s  newer s  identical")
    verdicts = []
    for case in cases:
        folders = place(older, case), place(newer, case)
        results = [json.loads((folder / "result.json").read_text()) for folder in folders]
        left, right = (read(folder / "version_0") for folder in folders)
        compared, faults = compare(left, right)
        codes = [result["exit code"] for result in results]
        if codes[0] != codes[1] or codes[0] not in {0, 3}:
            logs = " | ".join((folder / "log.txt").read_text()[-300:].strip() for folder in folders)
            faults.insert(0, f"exit codes {codes}; allowed: 0 or 3 on both sides; {logs}")
        rows, columns = len(right.get("path.csv step", [])), sum(".csv " in c for c in compared)
        seconds = "".join(f"{result['seconds']:>9.1f}" for result in results)
        line = f"{rows:>6}{columns:>9}{len(compared) - columns:>6}{codes[1]:>6}{seconds}"
        verdicts.append(rows > 0 and not faults)
        print(f"{case:<20}{line}  {'yes' if verdicts[-1] else 'NO'}", flush=True)
        print("".join(f"    {fault}\n" for fault in faults[:5]), end="")
    print("".join(f"{known.kind:<8} {known.name} {known.new}: {known.reason}\n" for known in TABLE))
    return all(verdicts)


def read(run: Path) -> Values:
    """What a run wrote; nothing of a file that is not there."""
    values: Values = {}
    for path in (run / file for file in FILES if (run / file).exists()):
        if path.suffix == ".csv":
            with path.open(newline="") as lines:
                head, *rows = csv.reader(lines)
            values |= {f"{path.name} {c}": [row[i] for row in rows] for i, c in enumerate(head)}
        else:
            content = json.loads(path.read_text())
            values |= {f"{path.name} {key}": [value] for key, value in leaves(content)}
    return values


def leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """The values within a value, by their dotted keys."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, f"{at}.{key}" if at else str(key))
    else:
        yield at, value


def compare(older: Values, newer: Values) -> tuple[list[str], list[str]]:
    """The names of what was compared, and what differs: names of one side, then a first value."""
    renamed = {known.name: known.new for known in TABLE if known.kind == "RENAMED"}
    older = {renamed.get(name, name): values for name, values in older.items()}
    compared, faults, first = [], [], ""
    for name in dict.fromkeys([*older, *newer]):
        if name.endswith((" seconds", ".seconds")) or is_meant(name, older, newer):
            continue
        if not (name in older and name in newer):
            faults.append(f"{name}: only on the {'older' if name in older else 'newer'} side")
            continue
        compared.append(name)
        pairs = zip_longest(older[name], newer[name], fillvalue="no such row")
        for row, (a, b) in enumerate(pairs):
            if not first and repr(a) != repr(b):  # 0.0 is not -0.0, nor 1 True
                first = f"{name}, row {row}: {a} | {b}"
    return compared, [*([first] if first else []), *faults]


def is_meant(name: str, older: Values, newer: Values) -> bool:
    """Whether TABLE excuses a difference."""
    for known in (known for known in TABLE if fnmatchcase(name, known.name)):
        if known.kind == "ADDED" and name not in older:
            return True
        if known.kind == "CHANGED" and (known.where is None or known.where(name, newer)):
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
