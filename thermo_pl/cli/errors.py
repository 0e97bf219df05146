"""One line out of the parser's many: which key, what was got, what is allowed.

jsonargparse reports a mistake in a nested class as a tree of up to 67 lines with the cause
somewhere inside, and without the place in a list. The chain of exceptions behind that text names
the keys from the outside in; looking them up in the user's own files gives the full path and the
value as it was written.
"""

from __future__ import annotations

import difflib
import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import yaml

from thermo_pl.cli.lookup import MISSING, leaves, locate, one_line, search, short, value_at

_KEY = re.compile(r'Parser key "([^"]+)"')
_OWNER = re.compile(r"(?:given class_path |class_path=)'([^']+)'")
_UNKNOWN = re.compile(r"(?:Option|accept option) '([^']+)'")
_CLASS = re.compile(
    r"Expected a dot import path string: (\S+)|Import path (\S+) does not|(No module named .*)"
    r"|(module \S+ has no attribute .*)|Expected an instantiatable class, but (\S+)"
    r"|Expected '?(?:<class ')?([\w.]+)\W* to be a subclass"
)
_GOT = re.compile(r"Got value: (.*)|Given value: (.*)")


@dataclass
class _Mistake:
    """What the chain of exceptions says."""

    keys: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)  # import paths of the classes around it
    union: str = ""  # the types allowed for it, where there are several
    last: str = ""  # the innermost message


def explain(
    message: str,
    cause: BaseException | None,
    documents: Mapping[str, Any],
    known: Iterable[str],
    bases: Mapping[str, Any],
    flags: Mapping[str, str],
) -> str:
    """Distil a parser's complaint.

    Args:
        message: the parser's text.
        cause: the exception behind it, if there was one.
        documents: content of each config file that was given, by its name.
        known: dotted names of the keys at the top of a config, such as ``trainer.max_epochs``.
        bases: type expected at a top key, such as ``model``.
        flags: value of each flag of the command line, by its key; it wins over a file's.

    Returns:
        One line: key, value got, what is allowed.
    """
    mistake = _follow(message, cause)
    if broken := _broken_yaml(cause, documents):
        return broken
    if mistake.keys[:1] == ["config"]:
        return f"--config: {mistake.last}; allowed: a YAML file that can be read"
    if found := re.search(r"unrecognized arguments: (\S+)(.*)", message):
        return _unknown_flag(found[1], found[2], known)
    if found := re.search(r"arguments are required: (.*)", mistake.last):
        return _missing(mistake, found[1].split(", "), documents)
    if found := _UNKNOWN.search(mistake.last):
        return _unknown_key(mistake, found[1], documents, known)
    is_number = re.search(r"\b(?:int|float|str)\b", mistake.union)
    if not is_number and (found := _CLASS.search(mistake.last) or _CLASS.search(message)):
        named = next(group for group in found.groups() if group)
        return _unknown_class(mistake, named.strip(". "), documents, bases)
    if mistake.keys and "Unable to load config" not in message:
        return _wrong_type(mistake, documents, flags)
    return _other(message)


def hints(target: Any) -> dict[str, Any]:
    """The type hints of a constructor's arguments, those handed on to a base class included.

    Args:
        target: a class.

    Returns:
        Type by argument; empty if the annotations cannot be resolved.
    """
    found: dict[str, Any] = {}
    try:
        for constructor in _constructors(target):
            found = typing.get_type_hints(constructor) | found
    except (TypeError, NameError):  # no annotations, or ones that name something not imported
        return {}
    return found


def _constructors(target: Any) -> Iterator[Any]:
    # the constructor, and those of the base classes that its **arguments are handed on to
    if not inspect.isclass(target):
        yield target
        return
    for kind in target.__mro__:
        constructor = vars(kind).get("__init__")
        if constructor is None:
            continue
        yield constructor
        parameters = inspect.signature(constructor).parameters.values()
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _broken_yaml(cause: BaseException | None, documents: Mapping[str, Any]) -> str | None:
    for error in _chain(cause):
        if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark):
            name = next((name for name, data in documents.items() if data is None), "YAML")
            where = f"line {mark.line + 1}, column {mark.column + 1}"
            return f"{name}, {where}: got broken YAML ({error.problem}); allowed: valid YAML"
    return None


def _follow(message: str, cause: BaseException | None) -> _Mistake:
    mistake = _Mistake(last=message)
    previous = ""
    for text in [message, *map(str, _chain(cause))]:
        text = text.strip("'\"") if text.startswith("'") else text  # str(KeyError) is a repr
        if text != previous and (key := _KEY.match(text)):
            mistake.keys += key[1].split(".")
            mistake.union = ""
        elif union := re.search(r"^Subtypes: \[(.*)\]$", text, re.MULTILINE):
            mistake.union = union[1]
        if owner := _OWNER.search(text.splitlines()[0] if text else ""):
            mistake.owners.append(owner[1])
        mistake.last = text if _says_something(text) else mistake.last
        previous = text
    # Where several types are allowed the chain follows the first; another may have come further.
    _, found, rest = message.partition("Not a valid subclass of")
    if found and mistake.last.startswith(found) and "given class_path" in rest:
        lines = rest[rest.index("Problem with given") :].splitlines()
        for line in (line.strip(" -") for line in lines):
            if owner := _OWNER.search(line):
                mistake.owners.append(owner[1])
            elif key := _KEY.match(line):
                mistake.keys.append(key[1])
            else:
                mistake.last = line
                mistake.union = ""
                break
    return mistake


def _says_something(text: str) -> bool:
    return bool(text) and not text.startswith("[Errno")


def _path(keys: list[str], got: str | None, documents: Mapping[str, Any]) -> str:
    # The full path of a value: from a file, else, for a flag, the canonical spelling.
    for data in reversed(list(documents.values())):
        if path := locate(keys, got, data):
            return path
    return ".".join(keys) if keys[:1] == ["trainer"] else ".init_args.".join(keys)


def _unknown_key(
    mistake: _Mistake, name: str, documents: Mapping[str, Any], known: Iterable[str]
) -> str:
    if mistake.keys:
        path = _path([*mistake.keys, name], None, documents)
        siblings = _arguments(mistake.owners[-1])
    else:
        # At the top: the first part of the dotted name that is not known.
        parts, names = name.split("."), set(known)
        prefixes = {".".join(n.split(".")[:i]) for n in names for i in range(1, 9)}
        depth = next((i for i in range(1, len(parts)) if ".".join(parts[:i]) not in prefixes), 0)
        path = ".".join(parts[: depth or len(parts)])
        parent = path.rpartition(".")[0]
        start = f"{parent}." if parent else ""
        siblings = sorted({n[len(start) :].split(".")[0] for n in names if n.startswith(start)})
        name = path.rpartition(".")[2]
    value = value_at(path, documents)
    got = "" if value is MISSING else f"got {short(value)}, but "
    return f"{path}: {got}there is no such key; allowed: {_choices(name, siblings)}"


def _unknown_flag(flag: str, rest: str, known: Iterable[str]) -> str:
    if not flag.startswith("-"):
        return f"{flag}: got a word too many; allowed: --KEY VALUE pairs after the command"
    name, _, value = flag.partition("=")
    value = value or rest.strip().split(" ")[0]
    got = f"got {value!r}, but " if value and not value.startswith("--") else ""
    flags = sorted(f"--{key}" for key in known)
    close = difflib.get_close_matches(name, flags, 3) or [key for key in flags if "." not in key]
    return f"{name}: {got}there is no such flag; allowed, in full only: {', '.join(close)}, …"


def _other(message: str) -> str:
    if found := re.search(r'Parser key "(.+)": Unable to load config "(.*)"', message):
        return f"{found[1]}: got {found[2]!r}; allowed: an existing YAML file, or its keys"
    if found := re.match(r"argument (?:-\w/)?(\S+): expected (.*)", message):
        return f"{found[1]}: got nothing; allowed: {found[2]}"
    if found := re.match(r"Unexpected config: *(.*)", message):
        return f"--config: got {found[1]!r}; allowed: a YAML file"
    return one_line(message)


def _missing(mistake: _Mistake, names: list[str], documents: Mapping[str, Any]) -> str:
    if mistake.keys:
        (name, *_) = names
        parent = _path_without(mistake.keys, name, documents) or _path(
            mistake.keys, None, documents
        )
        node = value_at(parent, documents)
        if isinstance(node, dict) and "class_path" in node:
            parent += ".init_args"
        kind = _allowed_type(mistake.owners, name) or "a value"
        return f"{parent}.{name}: got nothing; allowed: {kind}, which it needs"
    wanted = " and ".join(sorted(name.partition(".")[2] or name for name in names))
    return f"{wanted}: got nothing; allowed: a class with its init_args, in --config FILE"


def _path_without(keys: list[str], name: str, documents: Mapping[str, Any]) -> str | None:
    # The entry at or below ``keys`` that lacks ``name``; only for dicts without a class path.
    for data in documents.values():
        for path, value in search(data, keys, ""):
            for where, item in [(path, value), *leaves(value, path)]:
                if isinstance(item, dict) and name not in {**item, **(item.get("init_args") or {})}:
                    return where
    return None


def _unknown_class(
    mistake: _Mistake, named: str, documents: Mapping[str, Any], bases: Mapping[str, Any]
) -> str:
    # Where the import itself failed, the message tells the module and not the class path.
    got = mistake.owners[-1] if re.match(r"(no )?module ", named, re.IGNORECASE) else named
    path = _path(mistake.keys, got, documents)
    owner = next((owner for owner in reversed(mistake.owners) if owner != got), "")
    base = bases.get(".".join(mistake.keys)) or hints(_import(owner)).get(mistake.keys[-1])
    return f"{path}: got {short(got)}; allowed: {_classes(got, base)}"


def _wrong_type(mistake: _Mistake, documents: Mapping[str, Any], flags: Mapping[str, str]) -> str:
    found = _GOT.search(mistake.last)
    got = (found[1] or found[2] or "") if found else None
    path = _path(mistake.keys, got, documents)
    value = flags.get(path, value_at(path, documents))
    shown = value if got is None or str(value) == got else got
    exact = mistake.last.partition(". Got value")[0].partition("\n")[0]
    if path.endswith("]"):  # an item of a list: the other texts speak of the whole list
        kinds = _readable(exact)
    elif mistake.union:
        kinds = _readable(mistake.union)
    else:
        kinds = _allowed_type(mistake.owners, mistake.keys[-1]) or _readable(exact)
    return f"{path}: got {short(shown)}; allowed: {kinds}"


def _readable(kinds: str) -> str:
    # Type names as a YAML writer knows them.
    kinds = re.sub(r"^(Expected an? |Not a valid subclass of )", "", kinds)
    kinds = re.sub(r"<(?:class|enum) '([^']+)'>", r"\1", kinds)
    kinds = re.sub(r"\b(?:[A-Za-z_]\w*\.)+(\w+)", r"\1", kinds)
    kinds = re.sub(r"Literal\[([^\]]*)\]", r"\1", kinds)
    kinds = re.sub(r"^Optional\[(.*)\]$", r"\1, null", kinds)
    kinds = re.sub(r"^Union\[(.*)\]$", r"\1", kinds)
    kinds = kinds.replace("PositiveInt", "a whole number > 0")
    return re.sub(r"\bNone(Type)?\b", "null", kinds.replace(" | ", ", "))


def _import(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return None


def _allowed_type(owners: list[str], key: str) -> str:
    hint = hints(_import(owners[-1])).get(key) if owners else None
    return "" if hint is None else _readable(hint.__name__ if type(hint) is type else str(hint))


def _arguments(owner: str) -> list[str]:
    target = _import(owner)
    try:
        parameters = [
            parameter
            for constructor in _constructors(target)
            for parameter in inspect.signature(constructor).parameters.values()
        ]
    except (TypeError, ValueError):
        return []
    several = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return [p.name for p in parameters if p.name != "self" and p.kind not in several]


def _classes(got: str, hint: Any) -> str:
    # Names of classes that fit a type hint: the close ones, else a few, our own first.
    todo, seen = [hint], set()
    while todo:
        kind = todo.pop()
        # What a Callable takes comes as a list, which is no class; what it returns is wanted.
        todo += typing.get_args(kind)
        if inspect.isclass(kind) and kind not in seen and not typing.get_origin(kind):
            seen.add(kind)
            todo += type.__subclasses__(kind)
    names = {
        kind.__name__: kind
        for kind in seen
        if not (kind.__name__.startswith("_") or kind.__module__ == "builtins")
        and not inspect.isabstract(kind)
    }
    own_first = sorted(names, key=lambda n: (not names[n].__module__.startswith("thermo_pl"), n))
    close = difflib.get_close_matches(got.rpartition(".")[2], names, 3)
    some = close or own_first
    listed = ", ".join(some[:12]) + (", …" if len(some) > 12 or (close and len(names) > 3) else "")
    return f"an importable class, such as {listed}" if some else "the path of an importable class"


def _choices(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, 3)
    if close:
        return f"{', '.join(close)}, …" if len(names) > len(close) else ", ".join(close)
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
