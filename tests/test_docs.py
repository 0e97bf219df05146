"""Each command on a page is run by a test, or says here why not; tutorials print what they show."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import thermo_pl as tp
from thermo_pl.cli import main

REPO = Path(__file__).parents[1]
PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").rglob("*.md"))]
FIT = "python -m thermo_pl fit "
MAIN_JOB = f"pip install . && {FIT}--config lightning_configs/carnot_digits.yaml"
RUN_ELSEWHERE = {
    MAIN_JOB: "configs",
    "pip install '.[test]' && python -m pytest": ".ci/run",
    "pip install .": ".ci/run",
    "pip install '.[dev]'": ".ci/run",
    "ruff check . && ruff format --check .": ".ci/run",
    "mypy --strict -p thermo_pl": ".ci/run",
    "python -m build && twine check --strict dist/*": ".ci/run",
    "python -m pytest": ".ci/run",
    "python -m pytest -m slow": ".ci/run",
    "python -m thermo_pl --version": ".ci/run",
    "python -m thermo_pl compare runs/carnot_digits": "real_runs_are_compared",
    "python -m thermo_pl compare runs/iso_digits --sort C "
    "--columns k,gam,status,steps,gamma,C,drift_max,val_C": "columns_are_those_asked_for",
    "python -m thermo_pl report runs/iso_digits/version_0": "report",
}
"""The command, and the part of a test's name or the script that runs it, there on a shorter run."""
NOT_RUN = {
    "pip install '.[docs]' && mkdocs serve": "a server; .ci/run builds the site",
    "mkdocs serve": "a server; .ci/run builds the site",
    "bash .ci/run": "it is what runs the tests",
    "python -m venv .venv && . .venv/bin/activate": ".ci/run makes environments of its own",
    "pre-commit install": "changes the checkout; its hooks are steps of .ci/run",
    "python -m pytest -n 0 tests/laws": "a part of the tests",
    "pip install uv && uv pip install --system --torch-backend cpu .": "asks PyTorch's own index",
    "sudo apt install python3-venv python3-torch python3-torchvision": "changes the machine",
    "python3 -m venv --system-site-packages .venv && .venv/bin/pip install .": "after it",
    r"printf 'triton\nnvidia-cusolver\nnvidia-nvtx\ncuda-bindings\n' > excludes.txt": "a list",
    "uv pip install --system --excludes excludes.txt .": "downloads gigabytes; run by hand",
    'python -c "import torch, torchvision; print(torch.__version__, torchvision.__version__)"': (
        "shows versions"
    ),
    "dask scheduler": "a server",
    "wandb leet runs/iso_digits/version_0/wandb": "a screen of W&B's",
    "for k in 0.5 0.25; do": "a loop of the shell",
    "done": "a loop of the shell",
    "python -m thermo_pl fit --config lightning_configs/iso_digits.yaml --trainer.callbacks.k $k": (
        "in that loop"
    ),
    "mkdir compare && ln -s $PWD/runs/iso_digits/version_*/wandb/offline-run-* compare/": "links",
    "wandb leet compare": "a screen of W&B's",
    "wandb login": "asks for an account",
    "WANDB_MODE=online python -m thermo_pl fit --config …": "asks for an account",
    "wandb sync runs/*/version_*/wandb/*run-*": "asks for an account",
    "wandb sweep lightning_configs/sweep.yaml": "asks for an account; test_wandb.py parses it",
    "wandb agent …": "asks for an account",
}
"""The command, and why no test runs it."""


PATTERN = re.compile(r"\b(FILE|RUN|DIRECTORY|CONFIG|ADDRESS)\b")
"""What a reader puts something in place of; tests of the command line run such commands."""
INDENTED = re.compile(r"^    (?:\$ )?((?:[A-Z_]+=\S+ )?(?:python|torchrun|dask|srun) .+)$", re.M)


def commands() -> set[str]:
    """Every line of every block of shell on the pages, without comments, patterns left out."""
    found = set()
    for page in PAGES:
        text = page.read_text("utf-8").replace("\\\n", " ")
        lines = INDENTED.findall(text)
        for block in re.findall(r"^```(?:sh|bash)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            lines += block.splitlines()
        found |= {" ".join(re.sub(r"(^|\s)#.*", "", line).split()) for line in lines}
    return {line for line in found if line and not PATTERN.search(line)}


SHOWN = commands()
FITS = {line for line in SHOWN if line.startswith(FIT) and line not in NOT_RUN}
PLAIN = {line for line in FITS if not line.replace("--config ", "").count("--")}
"""Configs as they are, which tests/test_configs.py runs, shortened; others have flags as well."""


def test_every_command_is_run_or_says_why_not() -> None:
    told = RUN_ELSEWHERE.keys() | NOT_RUN.keys()
    assert told == SHOWN - FITS  # nothing is missing or left over from a page that changed
    names = " ".join(
        f"{file}::{name}"
        for file in REPO.glob("tests/**/*.py")
        for name in re.findall(r"def test_(\w+)", file.read_text("utf-8"))
    )
    assert all(where == ".ci/run" or where in names for where in RUN_ELSEWHERE.values())


def test_every_config_has_its_page() -> None:
    folder, pages = REPO / "lightning_configs", REPO / "docs/configs"
    shipped = {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml")}
    shipped = {name for name in shipped if not name.startswith(("base/", "sweep"))}
    found = {str(path.relative_to(pages).with_suffix("")) for path in pages.rglob("*.md")}
    assert found == shipped
    index = (REPO / "docs/configs.md").read_text("utf-8")
    for name in shipped:
        file = rf"lightning_configs/{name}\.yaml"
        form = rf"""# \S+\n
\*\*.*\?\*\*\n
```sh\n{FIT}.*--config {file}\n```\n
(?:.+\n)+
(?:!\[.+\n\n)?\*\*Time\*\*: (?:.+\n)+
## The file\n
```yaml\n--8<-- "{file}"\n```\n"""
        assert re.fullmatch(form, (pages / f"{name}.md").read_text("utf-8")), name
        assert f"(configs/{name}.md)" in index


def test_a_command_names_configs_that_are_there() -> None:
    for line in PLAIN:
        words = shlex.split(line.removeprefix(FIT))
        assert all((REPO / word).is_file() for word in words if word != "--config"), line


@pytest.mark.parametrize("line", sorted(FITS - PLAIN))
def test_a_command_with_flags_is_understood(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPO)
    assert main([*shlex.split(line)[3:], "--print_config"]) == 0, capsys.readouterr().err


def test_every_file_that_a_page_includes_or_names_is_there() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    assert "--8 <" not in text  # what a formatter of Python makes of the line that includes a file
    assert all((REPO / name).is_file() for name in re.findall(r'--8<-- "(.*)"', text))
    assert all((REPO / name).is_file() for name in re.findall(r"benchmarks/\w+\.py", text))
    links = re.findall(r"\]\(([^)#:]+)", (REPO / "README.md").read_text("utf-8"))  # not of the site
    assert [name for name in links if not (REPO / name).is_file()] == []


def test_every_slide_has_its_row_and_every_row_its_test() -> None:
    page = (REPO / "docs/slides.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", page, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(2, 27))
    names = "".join(
        f"{file.stem}::{name}\n"
        for file in REPO.glob("tests/**/*.py")
        for name in re.findall(r"def test_\w+", file.read_text("utf-8"))
    )
    for _, row in rows:
        command, test, _ = (cell.strip() for cell in row.split("|")[2:])
        for config in re.findall(r"`(\S+\.yaml)`", command):
            assert (REPO / "lightning_configs" / config).is_file()
        assert all(name in names for name in re.findall(r"`(\w+)`", test)), row


def test_the_version_is_the_same_wherever_it_stands() -> None:
    cited = yaml.safe_load((REPO / "CITATION.cff").read_text())["version"]
    assert cited == tp.__version__
    assert f"\n## {tp.__version__}" in (REPO / "CHANGELOG.md").read_text("utf-8")
    git = ["git", "tag", "--points-at", "HEAD", "--list", "v[0-9]*"]
    tags = subprocess.run(git, cwd=REPO, capture_output=True, text=True, check=False).stdout.split()
    assert tags in ([], [f"v{tp.__version__}"])


def shown_by(script: Path) -> Iterator[str]:
    """The lines that a tutorial says it prints."""
    text = re.sub(r"^# ?", "", script.read_text("utf-8"), flags=re.MULTILINE)
    for block in re.findall(r"^```text\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from block.splitlines()


def check_tutorial(name: str) -> None:
    script = REPO / "docs" / "tutorials" / f"{name}.py"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runpy.run_path(str(script))
    lines = iter(printed.getvalue().splitlines())
    for line in shown_by(script):  # in this order; a run may print more between them
        assert line in lines, f"{name} does not print {line!r}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        *("isotherm", "carnot"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("own_network", "surface")),
    ],
)
def test_a_tutorial_prints_what_it_shows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    check_tutorial(name)


@pytest.mark.filterwarnings("ignore")
def test_a_table_is_carried_and_its_run_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    check_tutorial("own_table")
    check_tutorial("reading_runs")
