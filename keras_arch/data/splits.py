"""Split expressions such as `train[:90%]`, as in TensorFlow Datasets."""

import re

from keras_arch.errors import DataError

_PART = re.compile(r"(?P<name>[\w.-]+)(?:\[(?P<start>-?\d+%?)?:(?P<stop>-?\d+%?)?\])?")


def parse(expression: str, sizes: dict[str, int], source: str) -> list[tuple[str, int, int]]:
    """Resolve a split expression to ranges of examples.

    Args:
        expression: A split's name, optionally with a slice of examples (`train[100:200]`) or of
            percents (`train[:90%]`, rounded to the nearest example; negative numbers count from
            the end), or several of these joined by `+`.
        sizes: The number of examples in each split.
        source: Name of the source in messages.

    Returns:
        `(split, start, stop)` for each part.

    Raises:
        DataError: If the expression cannot be read, names no split or selects nothing.

    Example:
        >>> parse("train[:90%]+test", {"train": 50, "test": 10}, "digits")
        [('train', 0, 45), ('test', 0, 10)]
    """
    parts = []
    for text in expression.split("+"):
        match = _PART.fullmatch(text.strip())
        if not match:
            raise DataError(
                f"split {expression!r} cannot be read; write for example train, train[:90%], "
                "train[100:200] or train+test"
            )
        name = match["name"]
        if name not in sizes:
            raise DataError(f"{source} has no split {name!r}; it has {', '.join(sizes)}")
        # A percent sign on either side is for both, as in TensorFlow Datasets.
        size, percent = sizes[name], "%" in text
        limit = 100 if percent else size
        bounds = [0, size]
        for side, given in enumerate(match.group("start", "stop")):
            if given is None:
                continue
            value = int(given.rstrip("%"))
            if abs(value) > limit:
                beyond = "100%" if percent else f"{size}, the size of {name}"
                raise DataError(
                    f"split {expression!r} of {source} goes beyond {beyond}: name a smaller part, "
                    f"or {name!r} for all of it (in a config data.train, data.validation or "
                    "data.test)"
                )
            index = round(value * size / 100) if percent else value
            bounds[side] = index + size if value < 0 else index
        start, stop = bounds
        if start >= stop:
            raise DataError(f"split {expression!r} of {source} selects no image: {name} has {size}")
        parts.append((name, start, stop))
    return parts
