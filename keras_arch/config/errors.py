"""Errors of a config in one line: the key, its value and what is allowed."""

import difflib
from typing import Any, get_args

import pydantic

from keras_arch.config.base import Builder, Section

# Keys of earlier versions.
RENAMED = {
    "judge": "generator_evaluation",
    "figures": "metrics",
    "cut": "crop_mode",
    "tiles_per_image": "crops_per_image",
    "keep": "checkpoint",
    "stage_decay": "layer_decay",
}
# Pydantic speaks of Python's types, a config of YAML's.
_IN_YAML = {
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "too_short": "must not be empty",
}


def explain(error: pydantic.ValidationError, content: dict[str, Any], schema: type[Section]) -> str:
    """The first error in one line.

    Args:
        error: As pydantic raised it.
        content: The config as the user wrote it.
        schema: The config's class.

    Returns:
        A message that names the key, the value and what is allowed.
    """
    problems = error.errors(include_url=False)
    problem = problems[0]
    if problem["type"] == "missing":
        # A missing key was often only misspelt.
        unknown = (each for each in problems if each["type"] == "extra_forbidden")
        problem = next(
            (each for each in unknown if each["loc"][:-1] == problem["loc"][:-1]), problem
        )
    absent = problem["type"] in ("extra_forbidden", "missing")
    # Pydantic puts the chosen member of a union into the path; users know only their own keys.
    path = _users_path(problem["loc"], content, keep_last=absent)
    key = ".".join(map(str, path)) or "config"
    value = problem.get("input")
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r} with value {_short(value)}; {_hint(path[-1], problem, schema)}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    if problem["type"].startswith("union_tag"):
        tags = problem.get("ctx", {}).get("expected_tags") or _names(problem["loc"], schema)
        got = value.get("name") if isinstance(value, dict) else value
        return f"{key}.name must be one of {tags}, got {_short(got)}"
    message = problem["msg"].removeprefix("Value error, ")
    message = _IN_YAML.get(problem["type"], message[0].lower() + message[1:])
    # Our own messages name the one value of a section that is wrong.
    names_value = problem["type"] == "value_error" and ", got " in message
    if names_value and not path:
        return message
    return f"{key}: {message}" + ("" if names_value else f", got {_short(value)}")


def _hint(key: Any, problem: Any, schema: type[Section]) -> str:
    known = sorted(_section_at(problem["loc"][:-1], schema).model_fields)
    if RENAMED.get(str(key)) in known:
        return f"its name is {RENAMED[str(key)]} now"
    if len(problem["loc"]) == 1:
        return _top_hint(str(key), known, schema)
    close = difflib.get_close_matches(str(key), known, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"


def _top_hint(key: str, known: list[str], schema: type[Section]) -> str:
    """The hint for a key that may lack the names of the sections that it is in."""
    paths = _paths(schema)
    names = [path.rpartition(".")[2] for path in paths]
    meant = difflib.get_close_matches(key, names, n=1, cutoff=0.7)
    if meant:
        found = [path for path, name in zip(paths, names, strict=True) if name in meant]
        return f"did you mean {' or '.join(found[:3])}?"
    networks = [
        f"{name}.arguments.{key}"
        for name, field in schema.model_fields.items()
        if Builder in _sections(field.annotation)
    ]
    as_argument = f"; an argument of a network is {' or '.join(networks)}" if networks else ""
    return f"known are {', '.join(known)}{as_argument}"


def _paths(schema: type[Section]) -> list[str]:
    """The dotted paths of all keys of a config."""
    found: dict[str, None] = {}
    for name, field in schema.model_fields.items():
        found[name] = None
        for section in _sections(field.annotation):
            found |= {f"{name}.{path}": None for path in _paths(section)}
    return list(found)


def _users_path(location: tuple[Any, ...], content: Any, keep_last: bool) -> list[Any]:
    """The part of pydantic's path that exists in the user's config, and an absent last key."""
    path: list[Any] = []
    for position, key in enumerate(location):
        last = keep_last and position == len(location) - 1
        if isinstance(content, dict) and (key in content or last):
            path.append(key)
            content = content.get(key)
        elif isinstance(content, list | tuple) and isinstance(key, int) and key < len(content):
            path.append(key)
            content = content[key]
    return path


def _section_at(location: tuple[Any, ...], schema: type[Section]) -> type[Section]:
    """The section at a path of pydantic's, in which names of union members are keys as well."""
    section, members = schema, [schema]
    for key in location:
        if key in section.model_fields:
            members = _sections(section.model_fields[key].annotation)
            section = members[0] if members else section
        else:
            section = next((each for each in members if key in _literal_name(each)), section)
    return section


def _names(location: tuple[Any, ...], schema: type[Section]) -> str:
    """The names of the members of a union, quoted."""
    section = _section_at(location[:-1], schema)
    field = section.model_fields.get(location[-1])
    members = _sections(field.annotation) if field else []
    return ", ".join(repr(name) for each in members for name in _literal_name(each))


def _literal_name(section: type[Section]) -> tuple[Any, ...]:
    field = section.model_fields.get("name")
    return get_args(field.annotation) if field else ()


def _sections(annotation: Any) -> list[type[Section]]:
    """The sections among the types that a key may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections(part)]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
