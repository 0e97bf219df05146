"""YAML of people as plain data: no bombs, no circles, no key twice."""

from __future__ import annotations

from typing import Any

import yaml

LARGEST = 20_000
"""Values in a file, each counted as often as it is referred to; shipped configs have up to 200."""
DEEPEST = 60
"""Levels of a file."""


def parse(text: str, loader: Any = yaml.SafeLoader) -> Any:
    """Read YAML.

    A file of a few lines can stand for more values than memory holds, by aliases of aliases. They
    are counted before they are built.

    Args:
        text: the YAML.
        loader: a safe loader of PyYAML.

    Returns:
        Plain data.

    Raises:
        MarkedYAMLError: if it is no YAML, too large or too deep, or names a key twice.
    """
    if len(text) > 100 * LARGEST:
        raise yaml.MarkedYAMLError(problem=f"{len(text)} characters; at most {100 * LARGEST}")
    try:
        reader = loader(text)
    except yaml.reader.ReaderError as error:
        raise yaml.MarkedYAMLError(problem=error.reason) from error
    try:
        node = reader.get_single_node()
        if node is None:
            return None
        _count(node, {}, 0)
        return reader.construct_document(node)
    except RecursionError as error:
        raise yaml.MarkedYAMLError(problem=f"more than {DEEPEST} levels") from error
    except (ValueError, OverflowError) as error:  # such as a date that there is not
        raise yaml.MarkedYAMLError(problem=str(error)) from error
    finally:
        reader.dispose()


def _count(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    # how many values a node stands for; 0 marks those that are being counted
    if id(node) in known:
        if not known[id(node)]:
            raise yaml.MarkedYAMLError(problem="a circle", problem_mark=node.start_mark)
        return known[id(node)]
    if depth > DEEPEST:
        raise yaml.MarkedYAMLError(
            problem=f"more than {DEEPEST} levels", problem_mark=node.start_mark
        )
    known[id(node)], size = 0, 1
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        size += sum(_count(value, known, depth + 1) for pair in node.value for value in pair)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_count(value, known, depth + 1) for value in node.value)
    if size > LARGEST:
        raise yaml.MarkedYAMLError(
            problem=f"more than {LARGEST} values, aliases counted", problem_mark=node.start_mark
        )
    known[id(node)] = size
    return size


def _check_keys(node: yaml.MappingNode) -> None:
    names: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in names:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} twice", problem_mark=key.start_mark
                )
            names.add(key.value)
