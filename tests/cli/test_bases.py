"""Config files laid one over another, and the sizes that follow from the encoder's."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.command_line import CONFIG
from thermo_pl.cli import main
from thermo_pl.cli.flags import split, without_replaced_lists
from thermo_pl.configs.layers import load
from thermo_pl.errors import ConfigError
from thermo_pl.networks import StandardNormal


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("THERMO_PL_RUN_DIR", raising=False)


def write(name: str, content: Any) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return name


# --- the rules ---


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ({"data.waypoints": "[{}]"}, {"data": {"class_path": "D", "init_args": {"seed": 1}}}),
        ({"data.waypoints": "3"}, None),
        ({"data.waypoints+": "[{}]"}, None),
        ({"model.encoder.hidden": "[64]"}, None),
    ],
)
def test_a_list_of_the_command_line_replaces_the_configs(flag: Any, expected: Any) -> None:
    # the parser merges lists entry by entry: the classes below would stay where a flag names none
    arguments = {"waypoints": [{"classes": [0]}], "seed": 1}
    config = {"data": {"class_path": "D", "init_args": arguments}}
    assert without_replaced_lists(config, flag) == (expected or config)


def test_what_an_entry_of_a_flag_does_not_say_is_the_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    waypoints = "[{source: {class_path: Digits}}, {source: {class_path: Digits}}]"
    words = ["--config", write("c.yaml", CONFIG), "--data.waypoints", waypoints]
    assert main(["fit", *words, "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]["waypoints"]
    assert [waypoint["classes"] for waypoint in printed] == [None, None]


@pytest.mark.parametrize(
    ("below", "over", "expected"),
    [
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": [1, 2]}, {"a+": [3]}, {"a": [1, 2, 3]}),
        ({"a": {"class_path": "A"}}, {"a+": [3]}, {"a": [{"class_path": "A"}, 3]}),
        ({"a": True}, {"a+": {"class_path": "A"}}, {"a": [{"class_path": "A"}]}),
        ({}, {"a": {"b+": [3]}}, {"a": {"b": [3]}}),
        ({"a": {"x": 1}}, {"a": None}, {"a": None}),
        ({"a": 1}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        (
            {"a": {"class_path": "p.A", "init_args": {"x": 1}}},
            {"a": {"class_path": "A", "init_args": {"y": 2}}},
            {"a": {"class_path": "A", "init_args": {"x": 1, "y": 2}}},
        ),
        (
            {"a": {"class_path": "A", "init_args": {"x": 1}}},
            {"a": {"init_args": {"y": 2}}},
            {"a": {"class_path": "A", "init_args": {"x": 1, "y": 2}}},
        ),
        (
            {"a": {"class_path": "A", "init_args": {"x": 1}}},
            {"a": {"class_path": "B", "init_args": {"y": 2}}},
            {"a": {"class_path": "B", "init_args": {"y": 2}}},
        ),
    ],
)
def test_a_file_lies_on_its_base_and_on_the_file_named_before_it(
    below: dict[str, Any], over: dict[str, Any], expected: dict[str, Any]
) -> None:
    write("below.yaml", below)
    write("over.yaml", over)
    write("based.yaml", {"base": "below.yaml", **over})
    assert load("based.yaml") == load("below.yaml", "over.yaml") == expected


def test_bases_lie_in_order_and_by_their_place_beside_the_file() -> None:
    write("some/where/first.yaml", {"a": 1, "b": 1, "list": [1]})
    write("some/second.yaml", {"b": 2, "list+": [2]})
    write("some/top.yaml", {"base": ["where/first.yaml", "second.yaml"], "c": 3, "list+": [3]})
    assert load("some/top.yaml") == {"a": 1, "b": 2, "c": 3, "list": [1, 2, 3]}


def test_a_file_that_is_named_twice_is_laid_once() -> None:
    write("run.yaml", {"seed": 0, "list": [0]})
    write("left.yaml", {"base": "run.yaml", "seed": 1, "list+": [1]})
    write("right.yaml", {"base": "run.yaml", "list+": [2]})
    write("both.yaml", {"base": ["left.yaml", "right.yaml"]})
    expected = {"seed": 1, "list": [0, 1, 2]}
    assert load("both.yaml") == load("left.yaml", "right.yaml") == expected


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ({"base": "no.yaml"}, ["top.yaml: base: got 'no.yaml'", "No such file", "--print_config"]),
        ({"base": 3}, ["top.yaml: base: got 3", "the path of a YAML file"]),
        ({"base": [3]}, ["top.yaml: base: got [3]", "or a list"]),
        ({"base": "top.yaml"}, ["got a circle, top.yaml → top.yaml"]),
        ({"base": "around.yaml"}, ["got a circle, top.yaml → around.yaml → top.yaml"]),
        ({"base": "list.yaml"}, ["list.yaml: got [1]", "model, data, trainer"]),
        ({"base": "."}, ["top.yaml: base: got '.'", "directory"]),
    ],
)
def test_a_mistake_with_bases_is_told_in_one_line(
    content: dict[str, Any], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write("around.yaml", {"base": "top.yaml"})
    write("list.yaml", [1])
    assert main(["fit", "--config", write("top.yaml", content)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(part in line for part in parts), line


@pytest.mark.parametrize(
    "words",
    [
        ["--config", "a", "--config", "b", "--k", "1"],
        ["--config=a", "--k", "1", "-c", "b"],
        ["-ca", "--k", "1", "-c=b"],
    ],
)
def test_config_files_are_found_in_every_spelling(words: list[str]) -> None:
    assert split(words) == (["a", "b"], ["--k", "1"])


# --- on the command line ---


def config(*path: str, **values: Any) -> dict[str, Any]:
    """A config whose parts say nothing of sizes, with values set at a path."""
    made = copy.deepcopy(CONFIG)
    parts = made["model"]["init_args"]
    parts["decoder"]["init_args"] = {"hidden": [10]}
    parts["classifier"]["init_args"].pop("latent_dim")
    parts["marginal"].pop("init_args")
    node: Any = made
    for key in path:
        node = node[key]
    node |= values
    return made


def resolved(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["fit", *words, "--print_config"]) == 0
    found: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return found


def sizes(whole: dict[str, Any]) -> list[int]:
    parts = whole["model"]["init_args"]
    names = ("encoder", "decoder", "classifier", "marginal")
    return [parts[name]["init_args"]["latent_dim"] for name in names]


@pytest.mark.parametrize(
    "flag",
    [
        [],
        ["--model.encoder.latent_dim", "5"],
        ["--model.init_args.encoder.init_args.latent_dim=5"],
    ],
)
def test_sizes_follow_the_encoder(flag: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = resolved(capsys, "--config", write("config.yaml", config()), *flag)
    assert sizes(found) == [5 if flag else 3] * 4
    decoder = found["model"]["init_args"]["decoder"]["init_args"]
    assert decoder["image_shape"] == [1, 8, 8]


def test_a_size_of_ones_own_that_does_not_fit_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = config("model", "init_args", "classifier", "init_args", latent_dim=4)
    assert sizes(resolved(capsys, "--config", write("config.yaml", own))) == [3, 3, 4, 3]
    assert main(["fit", "--config", "config.yaml"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "latent_dim: got 4; allowed: 3, the size of the encoder's" in line


class Fixed(StandardNormal):
    """A marginal that takes no size."""

    def __init__(self) -> None:
        """Three latents."""
        super().__init__(3)


def test_a_part_that_takes_no_size_is_given_none(capsys: pytest.CaptureFixture[str]) -> None:
    own = config("model", "init_args", "marginal", class_path="test_bases.Fixed")
    found = resolved(capsys, "--config", write("config.yaml", own))
    assert not found["model"]["init_args"]["marginal"].get("init_args")


def test_a_flag_wins_over_the_files_wherever_it_stands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("below.yaml", config())
    write("over.yaml", config("model", "init_args", gam=7.0))
    files = ["--config", "below.yaml", "--config", "over.yaml"]
    for words in ([*files, "--model.gam", "9"], ["--model.gam", "9", *files]):
        assert resolved(capsys, *words)["model"]["init_args"]["gam"] == 9
    assert resolved(capsys, *files)["model"]["init_args"]["gam"] == 7


def test_a_resolved_config_needs_no_base(capsys: pytest.CaptureFixture[str]) -> None:
    write("here/base/whole.yaml", config())
    write("here/top.yaml", {"base": "base/whole.yaml", "trainer": {"max_epochs": 1}})
    found = resolved(capsys, "--config", "here/top.yaml")
    with pytest.raises(ConfigError, match="base: got"):  # a copy elsewhere has no base beside it
        load(write("top.yaml", Path("here/top.yaml").read_text()))
    assert resolved(capsys, "--config", write("copy.yaml", found)) == found
