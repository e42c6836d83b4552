"""Titles and legends of sheets of images, and letters of any language."""

import itertools
import logging
import warnings

import numpy as np
import pytest
from PIL import Image

from keras_arch import visualization
from keras_arch.errors import ArgumentError
from keras_arch.visualization import fonts


def test_a_sheet_keeps_its_pixels():
    sheet = np.random.default_rng(0).integers(0, 256, (50, 301, 3), np.uint8)
    found = visualization.annotate(sheet, titles=["image", "truth"], legend={"cell": (9, 8, 7)})
    head = found.shape[0] - 50 - 22
    np.testing.assert_array_equal(found[head : head + 50], sheet)
    assert found.shape == (18 + 50 + 22, 301, 3)
    # The color itself is in the legend, and each half of the head has a title in its middle.
    assert (found[head + 50 :] == (9, 8, 7)).all(-1).sum() == 100
    dark = np.flatnonzero((found[:head] < 128).any((0, 2)))
    for middle, inked in ((75, dark[dark < 150]), (226, dark[dark > 150])):
        assert abs((inked.min() + inked.max()) / 2 - middle) < 3


def test_a_legend_has_as_many_lines_as_it_needs():
    sheet = np.zeros((10, 20, 1), np.uint8)
    legend = {f"a class {number}": (number, 0, 0) for number in range(1, 13)}
    found = visualization.annotate(sheet, legend=legend)
    assert found.shape[1] == 240
    for number in range(1, 13):
        assert (found[10:] == (number, 0, 0)).all(-1).any()


def test_wide_letters_stay_clear_of_the_next_color():
    sheet = np.zeros((10, 900, 1), np.uint8)
    colors = {"m" * 20: (250, 0, 0), "W" * 20: (0, 250, 0), "i" * 20: (0, 0, 250)}
    strip = visualization.annotate(sheet, legend=colors)[10:]
    for color in list(colors.values())[1:]:
        left = np.flatnonzero((strip == color).all(-1).any(0)).min()
        # One column is the frame of the square.
        assert (strip[:, left - 9 : left - 1] == 255).all()


def test_what_is_no_sheet_is_refused():
    with pytest.raises(ArgumentError, match="uint8 pixels"):
        visualization.annotate(np.zeros((4, 4), np.uint8), titles=["a"])


def test_signs_of_vector_arithmetic(tmp_path):
    def generator(latents):
        return np.zeros((len(latents), 64, 64, 1), np.uint8)

    rng = np.random.default_rng(0)
    found = visualization.vector_arithmetic(
        generator, *rng.normal(size=(3, 3, 5)), path=tmp_path / "sum.png"
    )
    plain = visualization.grid(np.zeros((28, 64, 64, 1), np.uint8), columns=7)
    assert found.sheet.shape == (18 + plain.shape[0] + 18, plain.shape[1], 3)
    assert (found.sheet[:18] < 128).any()


@pytest.fixture
def korean_font(tmp_path, monkeypatch):
    """A font named NanumGothic in which every Korean letter is a full square."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen
    from matplotlib import font_manager

    pen = TTGlyphPen(None)
    for number, point in enumerate([(0, 0), (0, 800), (900, 800), (900, 0)]):
        (pen.lineTo if number else pen.moveTo)(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap(dict.fromkeys(range(0xAC00, 0xD7A4), "square"))
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "NanumGothic", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, sTypoDescender=-200)
    builder.setupPost()
    builder.save(tmp_path / "NanumGothic.ttf")
    manager = font_manager.fontManager
    monkeypatch.setattr(manager, "ttflist", list(manager.ttflist))
    # Installed after Matplotlib has listed the fonts of the machine.
    found = [str(tmp_path / "NanumGothic.ttf")]
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: found)
    fonts.installed.cache_clear()
    yield
    fonts.installed.cache_clear()


def ink(path):
    return (np.asarray(Image.open(path).convert("L")) < 128).sum()


@pytest.mark.usefixtures("korean_font")
def test_korean_names_are_drawn_in_a_font_that_has_them(tmp_path, caplog):
    assert fonts.installed() == ("NanumGothic",)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for names in (["가나", "다라"], ["ab", "cd"]):
            path = tmp_path / f"{names[0]}.png"
            visualization.confusion_matrix([[9, 1], [2, 8]], names, path)
    # Eight full squares of about 10 pixels a side.
    assert ink(tmp_path / "가나.png") > ink(tmp_path / "ab.png") + 8 * 60
    assert "boxes" not in caplog.text


def test_without_such_a_font_one_line_says_so(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(fonts, "installed", lambda: ())
    fonts._warned.cache_clear()
    caplog.set_level(logging.WARNING, "keras_arch")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("a.png", "b.png"):
            visualization.bar_chart([1, 2], ["고양이", "개"], tmp_path / name)
    (record,) = caplog.records
    assert "고양이개" in record.getMessage()
    assert "install" in record.getMessage()


QUICK = [(1, 30), (2, 1), (3, 30), (10, 1), (21, 30), (41, 30)]


@pytest.mark.parametrize(
    ("classes", "length"),
    [
        pytest.param(*each, marks=() if each in QUICK else pytest.mark.slow)
        for each in itertools.product((1, 2, 3, 10, 21, 41), (1, 30))
    ],
)
def test_no_text_of_a_confusion_matrix_is_cut(classes, length, tmp_path):
    names = [f"{number}".rjust(length, "m") for number in range(classes)]
    path = visualization.confusion_matrix(np.eye(classes, dtype=int), names, tmp_path / "m.png")
    pixels = np.asarray(Image.open(path).convert("L"))
    # Nothing touches the border.
    for edge in (pixels[:4], pixels[-4:], pixels[:, :4], pixels[:, -4:]):
        assert (edge == 255).all()
