"""Split expressions, held to what TensorFlow Datasets makes of the same text."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch.data import splits
from keras_arch.errors import DataError

SIZES = {"train": 60000, "test": 10000}

_bound = st.one_of(
    st.just(""), st.integers(0, 60000).map(str), st.integers(-100, 100).map("{}%".format)
)
_part = st.one_of(st.just("test"), st.builds("train[{}:{}]".format, _bound, _bound))
# TensorFlow Datasets does not read [:].
_part = _part.filter(lambda part: "[:]" not in part)


@settings(deadline=None, max_examples=150)
@given(parts=st.lists(_part, min_size=1, max_size=3))
def test_slices_equal_those_of_tensorflow_datasets(parts):
    import tensorflow_datasets as tfds

    expression = "+".join(parts)
    infos = {name: SimpleNamespace(num_examples=size) for name, size in SIZES.items()}
    read = tfds.core.ReadInstruction.from_spec
    try:
        found = [read(part).to_absolute(infos)[0] for part in parts]
    except ValueError:
        found = []
    expected = [
        (each.splitname, each.from_ or 0, SIZES[each.splitname] if each.to is None else each.to)
        for each in found
    ]
    # TensorFlow Datasets takes train[2:1] for all images from the second on.
    if not expected or any(start >= stop for _, start, stop in expected):
        with pytest.raises(DataError):
            splits.parse(expression, SIZES, "set")
        return
    assert splits.parse(expression, SIZES, "set") == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("train", [("train", 0, 60000)]),
        ("train[:90%]", [("train", 0, 54000)]),
        ("train[100:200]", [("train", 100, 200)]),
        ("train[-10:]", [("train", 59990, 60000)]),
        ("train[99%:]+test[:1]", [("train", 59400, 60000), ("test", 0, 1)]),
        ("train + test", [("train", 0, 60000), ("test", 0, 10000)]),
    ],
)
def test_slices(expression, expected):
    assert splits.parse(expression, SIZES, "set") == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("validation", "has no split 'validation'; it has train, test"),
        ("train[:0]", "selects no image"),
        ("train[50%:10%]", "selects no image"),
        ("train[:60001]", "goes beyond 60000"),
        ("train[:101%]", "goes beyond 100%"),
        ("train[", "cannot be read; write for example"),
        ("train[5]", "cannot be read"),
        ("train[::2]", "cannot be read"),
        ("", "cannot be read"),
        ("train+", "cannot be read"),
    ],
)
def test_wrong_expressions_are_named_in_one_line(expression, message):
    with pytest.raises(DataError, match=message) as caught:
        splits.parse(expression, SIZES, "set")
    assert "\n" not in str(caught.value)
