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
def test_round_trip(tmp_path, values):
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
    read = safetensors.read(path)["a"]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, (halves.astype("u4") << 16).view("f4"))
    np.testing.assert_allclose(read, values, rtol=2**-7)


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"dtype": "F8_E5M2", "shape": [8]}, "'a' of type F8_E5M2; readable are F64, F32"),
        ({"dtype": "F7"}, "unknown variant `F7`"),
        ({"shape": [3]}, "invalid shape, data type, or offset for tensor"),
        ({"shape": [-2]}, "integer `-2`"),
        ({"shape": [2**40, 2**40]}, "overflow"),
        ({"data_offsets": [0, 1 << 60]}, "invalid shape, data type, or offset for tensor"),
        ({"data_offsets": [8, 0]}, "invalid offset for tensor `a`"),
        ({"data_offsets": [0]}, "invalid length 1"),
        ({"data_offsets": "ab"}, "invalid type: string"),
    ],
)
def test_damaged_header(tmp_path, facts, word):
    path = written(
        tmp_path / "w.safetensors",
        {"a": np.zeros(2, "f4")},
        lambda header: header["a"].update(facts),
    )
    with pytest.raises(ConvertError, match=word) as caught:
        safetensors.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "header too small"),
        (b"\xff" * 8, "header too large"),
        (b"\x00\x94\x35\x77\0\0\0\0{}", "header too large"),
        (b"\x02\0\0\0\0\0\0\0[]", "invalid JSON in header"),
        (b"\x02\0\0\0\0\0\0\0{x", "invalid JSON in header"),
        (b"\x07\0\0\0\0\0\0\0" + b'{"a":1}', "invalid type: integer `1`"),
    ],
)
def test_other_files_are_refused(tmp_path, content, word):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ConvertError, match=f"damaged or cut short, or no .safetensors.*{word}"):
        safetensors.read(path)


@pytest.mark.parametrize("end", [-1, -9, 40])
def test_truncated_file_is_refused(tmp_path, end):
    path = written(tmp_path / "w.safetensors", {"a": np.zeros(9, "f4")})
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(ConvertError, match="damaged or cut short"):
        safetensors.read(path)


@given(cut=st.integers(0, 200), flip=st.integers(0, 200))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_damage_is_a_convert_error_or_harmless(tmp_path, cut, flip):
    path = written(tmp_path / "w.safetensors", {"a": np.zeros(9, "f4"), "b": np.ones(3, "i8")})
    content = bytearray(path.read_bytes())
    content[flip % len(content)] ^= 0x55
    path.write_bytes(bytes(content[: len(content) - cut]))
    # Anything else that it raised would fail here; and it reads no more than the file holds.
    with contextlib.suppress(ConvertError):
        read = safetensors.read(path)
        assert all(values.nbytes <= len(content) for values in read.values())


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ConvertError, match="No such file"):
        safetensors.read(tmp_path / "absent.safetensors")
    with pytest.raises(ConvertError, match="Is a directory"):
        safetensors.read(tmp_path)
