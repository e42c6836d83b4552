import contextlib
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keras_arch.convert import safetensors
from keras_arch.errors import ConvertError

NAMES = {"f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32", "u1": "U8"}


def written(path, tensors, change=None):
    """The format in its own words: length, header, bytes."""
    header, data = {}, b""
    for name, values in tensors.items():
        header[name] = {
            "dtype": NAMES[values.dtype.str[1:]],
            "shape": list(values.shape),
            "data_offsets": [len(data), len(data) + values.nbytes],
        }
        data += values.tobytes()
    if change:
        change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@given(
    values=arrays.arrays(
        st.sampled_from(sorted(NAMES)), arrays.array_shapes(min_dims=0, max_dims=4, max_side=3)
    )
)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_was_written_is_read(tmp_path, values):
    path = written(tmp_path / "w.safetensors", {"a": values, "b.weight": np.ones(2, "f4")})
    read = safetensors.read(path)
    assert list(read) == ["a", "b.weight"]
    assert read["a"].dtype == values.dtype
    np.testing.assert_array_equal(read["a"], values)


def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path):
    values = np.array([1.0, -2.5, 3e38], "f4")
    halves = (values.view("u4") >> 16).astype("u2")
    text = b'{"a": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}'
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + halves.tobytes())
    np.testing.assert_allclose(safetensors.read(path)["a"], values, rtol=2**-7)


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"dtype": "F8_E5M2"}, "of type 'F8_E5M2'; readable are F64, F32"),
        ({"shape": [3]}, "which do not fit"),
        ({"shape": [-2]}, "without a shape"),
        ({"shape": [10**30, 10**30]}, "which do not fit"),
        ({"data_offsets": [0, 1 << 60]}, "which do not fit"),
        ({"data_offsets": [8, 0]}, "which do not fit"),
        ({"data_offsets": [0]}, "two offsets"),
        ({"data_offsets": "ab"}, "two offsets"),
    ],
)
def test_a_header_is_not_trusted(tmp_path, facts, word):
    path = written(
        tmp_path / "w.safetensors",
        {"a": np.zeros(2, "f4")},
        lambda header: header["a"].update(facts),
    )
    with pytest.raises(ConvertError, match=word) as caught:
        safetensors.read(path)
    assert "'a'" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "longer than the file of 0"),
        (b"\xff" * 8, "longer than the file of 8"),
        (b"\x02\0\0\0\0\0\0\0[]", "no table of tensors"),
        (b"\x02\0\0\0\0\0\0\0{x", "no JSON"),
        (b"\x0d\0\0\0\0\0\0\0" + b'{"a":1,"a":2}', "occurs twice"),
        (b"\x07\0\0\0\0\0\0\0" + b'{"a":1}', "of type None"),
    ],
)
def test_files_that_are_none(tmp_path, content, word):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ConvertError, match=word):
        safetensors.read(path)


@given(cut=st.integers(0, 200), flip=st.integers(0, 200))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damage_is_an_error_of_ours_or_harmless(tmp_path, cut, flip):
    path = written(tmp_path / "w.safetensors", {"a": np.zeros(9, "f4"), "b": np.ones(3, "i8")})
    content = bytearray(path.read_bytes())
    content[flip % len(content)] ^= 0x55
    path.write_bytes(bytes(content[: len(content) - cut]))
    # Anything else that it raised would fail here; and it reads no more than the file holds.
    with contextlib.suppress(ConvertError):
        read = safetensors.read(path)
        assert all(values.nbytes <= len(content) for values in read.values())


def test_a_missing_file(tmp_path):
    with pytest.raises(ConvertError, match="No such file"):
        safetensors.read(tmp_path / "absent.safetensors")
