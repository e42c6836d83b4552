"""Classes of a data set as classes of a model, which are compared by their names."""

import logging
import urllib.parse
from collections.abc import Mapping, Sequence

from keras_arch.errors import ArgumentError, DataError

_log = logging.getLogger("keras_arch")
_SHOWN = 10
# What masks of 0 and 255 are called where nobody named them.
_UNNAMED_MASKS = ("background", "foreground")


def read_class_map(text: str | Mapping[str, str] | None) -> dict[str, str]:
    """A map from classes of a data set to those of a model, from `"cat=Katze,dog=Hund"`.

    In names, percent encoding stands for the characters `,=%`.

    Raises:
        ArgumentError: If it is not of that form, or names a class twice.

    Example:
        >>> read_class_map("cat=Katze,dog=Hund")
        {'cat': 'Katze', 'dog': 'Hund'}
    """
    if text is None or isinstance(text, Mapping):
        return dict(text or {})
    found: dict[str, str] = {}
    for entry in text.split(","):
        name, equals, label = (urllib.parse.unquote(part.strip()) for part in entry.partition("="))
        if not (name and equals and label) or name in found:
            raise ArgumentError(
                "class_map is written NAME=LABEL,... (classes of the data, each once, and labels "
                f"of the model; %2C is a comma in a name), got {entry!r}"
            )
        found[name] = label
    return found


def class_numbers(
    classes: Sequence[str] | None,
    labels: Sequence[str] | None,
    outputs: int,
    *,
    source: str,
    model: str,
    class_map: Mapping[str, str] | None = None,
    partly: bool = True,
) -> list[int]:
    """The number in the model of each class of a data set.

    Names are compared, in any order. Where one side has no names but numbers, `"0"` to `"9"`, the
    classes are in order, and there must be as many.

    Args:
        classes: Names of the data set's classes by label, or `None`.
        labels: Names of the model's classes, or `None`.
        outputs: Number of the model's classes.
        source: The data set, for messages.
        model: The model, for messages.
        class_map: Label of the model for classes that have other names.
        partly: Whether classes of the model may be missing from the data set.

    Raises:
        DataError: If a class is none of the model's, with both lists; or their numbers differ.
        ArgumentError: If `class_map` has other names.

    Example:
        >>> class_numbers(["dog", "cat"], ["cat", "dog"], 2, source="folder:pets", model="pets")
        [1, 0]
    """
    classes, class_map = tuple(classes or ()), class_map or {}
    if class_map and not classes:
        raise ArgumentError(f"class_map is for data with classes; {source} has none")
    if not class_map and (_unnamed(classes) or labels is None or _unnamed(labels)):
        if len(classes) != outputs:
            raise DataError(f"{source} has {len(classes) or 'no'} classes, the model {outputs}")
        if labels is not None and _unnamed(classes) != _unnamed(labels):
            # Nothing tells whether they are the same.
            pairs = [f"{a} is {b}" for a, b in zip(classes, labels, strict=True)]
            _log.warning(
                "the classes of %s are taken for those of %s by their numbers: %s",
                *(source, model, _listed(pairs)),
            )
        return list(range(outputs))
    labels = tuple(labels or map(str, range(outputs)))
    for names, known, where in (
        (class_map, classes, source),
        (class_map.values(), labels, model),
    ):
        if unknown := [name for name in names if name not in known]:
            raise ArgumentError(
                f"class_map has {unknown[0]!r}, which is no class of {where}: {_listed(known)}"
            )
    renamed = [class_map.get(name, name) for name in classes]
    strange = [name for name in renamed if name not in labels]
    missing = [label for label in labels if label not in renamed]
    if strange or (missing and not partly):
        example = f"{(strange or classes)[0]}={(missing or labels)[0]}"
        raise DataError(
            f"{source} has the classes {_listed(classes)}; {model} has {_listed(labels)}; say "
            f"which is which: --class-map {example!r}, or class_map in Python"
        )
    if missing:
        _log.info("%s has no image of %s", source, _listed(missing))
    numbers = [labels.index(name) for name in renamed]
    if numbers != list(range(len(labels))):
        _log.info("the classes of %s are matched with those of %s by name", source, model)
    return numbers


def _unnamed(names: Sequence[str]) -> bool:
    numbers = tuple(map(str, range(len(names))))
    return tuple(names) in (numbers, _UNNAMED_MASKS)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)
