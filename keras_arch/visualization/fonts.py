"""Fonts for letters that Matplotlib's own font lacks, such as Korean, Chinese and Japanese ones."""

import contextlib
import functools
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Fonts of Linux distributions, Windows and macOS, in the order of their use.
FAMILIES = (
    "NanumGothic",
    "NanumBarunGothic",
    "Noto Sans KR",
    "Noto Sans CJK KR",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans CJK TC",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "AppleGothic",
    "Hiragino Sans",
    "Yu Gothic",
    "Meiryo",
    "IPAexGothic",
    "TakaoGothic",
    "PingFang SC",
    "PingFang HK",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "Microsoft JhengHei",
    "SimHei",
    "Source Han Sans",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Arial Unicode MS",
    "Unifont",
)
_MISSING = re.compile(r"Glyph (\d+) .*missing from")
_log = logging.getLogger("keras_arch")


@contextlib.contextmanager
def fallback_fonts(figure: Any) -> Iterator[None]:
    """Context in which a figure is drawn with further fonts for the letters that its own lacks.

    Letters that no installed font has are boxes, as ever; one line of the log says so, once in a
    process.

    Args:
        figure: A `matplotlib.figure.Figure` with all its texts.

    Example:
        >>> from keras_arch.visualization.figures import new_figure
        >>> figure = new_figure(1, 1)
        >>> with fallback_fonts(figure):
        ...     figure.canvas.draw()
    """
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    if not any(not text.get_text().isascii() for text in texts):
        # Ticks whose texts come into being when they are drawn are numbers.
        yield
        return
    found = installed()
    for text in texts:
        text.set_fontfamily([*text.get_fontfamily(), *found])
    # It tells of each family that has no bold face.
    finder = logging.getLogger("matplotlib.font_manager")
    level = finder.level
    finder.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        finder.setLevel(level)
    missing = {}
    for warning in caught:
        if match := _MISSING.match(str(warning.message)):
            missing[chr(int(match[1]))] = None
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    if missing:
        _report("".join(missing))


@functools.cache
def installed() -> tuple[str, ...]:
    """Those of `FAMILIES` that are installed, fonts that Matplotlib has not listed yet included."""
    from matplotlib import font_manager

    wanted = {family.replace(" ", "").lower() for family in FAMILIES}
    manager = font_manager.fontManager
    known = {entry.fname for entry in manager.ttflist}
    for path in font_manager.findSystemFonts():
        name = Path(path).stem.replace("-", "").replace("_", "").lower()
        if path not in known and any(name.startswith(family) for family in wanted):
            # A damaged file is no reason to draw nothing.
            with contextlib.suppress(RuntimeError, OSError):
                manager.addfont(path)
    families = {entry.name for entry in manager.ttflist}
    return tuple(family for family in FAMILIES if family in families)


@functools.cache
def _warned() -> list[str]:
    return []


def _report(letters: str) -> None:
    if not _warned():
        _log.warning(
            "no installed font has the letters %s, which are drawn as boxes; install one such as "
            "Noto Sans CJK or NanumGothic",
            letters[:20],
        )
        _warned().append(letters)
