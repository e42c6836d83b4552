"""What a folder of images holds, in one line: what is taken, what is left out and why."""

import functools
import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from keras_arch.data import image_files
from keras_arch.data.image_reading import head
from keras_arch.errors import listed

_log = logging.getLogger("keras_arch")
_SHOWN = 5


def log_opened(
    path: Path, groups: Mapping[str, Iterable[Path]], masks: Collection[Path] = ()
) -> None:
    """Log what a source of files takes of a folder, once for each state of the folder.

    Args:
        path: The folder.
        groups: The image files that are taken by class, split or domain.
        masks: The masks of the images.
    """
    log_once(describe(path, groups, masks))


def describe(path: Path, groups: Mapping[str, Iterable[Path]], masks: Collection[Path] = ()) -> str:
    """The line that `log_opened` logs.

    Args:
        path: The folder.
        groups: The image files that are taken by class, split or domain.
        masks: The masks of the images.

    Example:
        >>> from PIL import Image
        >>> for name in ("cat/1.png", "cat/2.webp", "cat/notes.txt", "dog/.hidden.png"):
        ...     Path("pets", name).parent.mkdir(parents=True, exist_ok=True)
        ...     _ = Path("pets", name).write_text("no image")
        >>> for name in ("cat/1.png", "cat/2.webp"):
        ...     Image.new("RGB", (4, 4)).save(Path("pets", name))
        >>> taken = image_files.images_below(Path("pets"))
        >>> describe(Path("pets"), {"cat": taken})
        'pets: 2 images (cat 2); left out: 1 that is no image (.txt), 1 hidden'
    """
    files = {name: list(found) for name, found in groups.items()}
    taken = {file for found in files.values() for file in found}
    heads = image_files.in_threads(head, taken)
    parts = [f"{path}: {_counted(len(taken), 'image')} ({_listed(files)})"]
    if masks:
        parts[0] += f" with {_counted(len(masks), 'mask')}"
    turned = sum(found.is_turned for found in heads)
    if turned:
        parts.append(f"{turned} rotated by EXIF")
    transparent = sum(found.has_alpha for found in heads)
    if transparent:
        parts.append(f"{transparent} with an alpha channel, which is left out")
    depths = Counter(found.dtype for found in heads)
    if set(depths) != {"uint8"}:
        kinds = ", ".join(f"{count} of {dtype}" for dtype, count in sorted(depths.items()))
        parts.append(f"values: {kinds}")
    if left_out := _left_out(path, taken | set(masks)):
        parts.append(f"left out: {left_out}")
    return "; ".join(parts)


def _left_out(path: Path, taken: set[Path]) -> str:
    """The files below a folder that are not taken, by the reason."""
    hidden, unused = 0, 0
    strange: Counter[str] = Counter()
    seen = set()
    for folder, inner, names in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        # A link to a folder above it has no end.
        inner[:] = [] if real in seen else sorted(inner)
        if real in seen:
            continue
        seen.add(real)
        is_hidden = any(part.startswith(".") for part in Path(folder).relative_to(path).parts)
        for name in names:
            file = Path(folder, name)
            if file in taken:
                continue
            if is_hidden or name.startswith("."):
                hidden += 1
            elif file.suffix.lower() not in image_files.SUFFIXES:
                strange[file.suffix.lower() or name] += 1
            else:
                unused += 1
    reasons = []
    if strange:
        suffixes = ", ".join(name for name, _ in strange.most_common(_SHOWN))
        more = ", ..." * (len(strange) > _SHOWN)
        verb = "that is no image" if strange.total() == 1 else "that are no images"
        reasons.append(f"{strange.total()} {verb} ({suffixes}{more})")
    if hidden:
        reasons.append(f"{hidden} hidden")
    if unused:
        reasons.append(f"{_counted(unused, 'image')} in other folders")
    return ", ".join(reasons)


def _listed(files: Mapping[str, list[Path]]) -> str:
    return listed([f"{name} {len(found)}" for name, found in files.items()], _SHOWN)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


@functools.cache
def log_once(line: str) -> None:
    """Log a line, but not again when the same data are opened a second time."""
    _log.info("%s", line)
