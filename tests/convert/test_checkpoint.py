"""Files of `torch.save`, written here in the format's own words, and by PyTorch where it is."""

import collections
import contextlib
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keras_arch.convert import checkpoint
from keras_arch.errors import ConvertError, KerasArchError, UnsafeContentError
from tests.convert import files, states

QUICK = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
STATE = {"a.weight": np.arange(6, dtype="f4").reshape(2, 3), "b": np.ones(3, "i8")}


def read(tmp_path, content, name="w.pth"):
    path = tmp_path / name
    path.write_bytes(content)
    return checkpoint.read(path)


def assert_read(found, expected):
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("layout", ["zip", "row"])
@given(
    values=arrays.arrays(
        st.sampled_from(sorted(files.STORAGES)),
        arrays.array_shapes(min_dims=0, max_dims=4, max_side=3),
    )
)
@QUICK
def test_round_trip(tmp_path, layout, values):
    storages = files.Storages() if layout == "zip" else files.Storages(None)
    state = storages.state_dict({"x": values, "transposed": values.T, "b": np.ones(2, "f4")})
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    write = files.zipped if layout == "zip" else files.row
    expected = {"x": values, "transposed": values.T, "b": np.ones(2, "f4")}
    assert_read(read(tmp_path, write(state, storages)), expected)


def test_big_endian_files_and_bfloat16(tmp_path):
    storages = files.Storages()
    content = {"x": storages.tensor(np.array([1.5, -2], "f4"))}
    storages.arrays["0"] = storages.arrays["0"].astype(">f4")
    found = read(tmp_path, files.zipped(content, storages, order=b"big"))
    np.testing.assert_array_equal(found["x"], [1.5, -2])
    storages = files.Storages()
    halves = (np.array([1.0, -2.5, 3e38], "f4").view("u4") >> 16).astype("i2")
    content = {"x": storages.tensor(halves, kind=files.name("torch", "BFloat16Storage"))}
    found = read(tmp_path, files.zipped(content, storages))["x"]
    np.testing.assert_allclose(found, [1.0, -2.5, 3e38], rtol=2**-7)


def test_tensors_that_share_a_storage_and_parts_of_one(tmp_path):
    storages = files.Storages()
    whole = np.arange(12, dtype="f4")
    first = storages.tensor(whole.reshape(3, 4))
    middle = storages.tensor(whole[:1], key="0", count=12, offset=5, size=(2, 2), stride=(4, 1))
    found = read(tmp_path, files.zipped({"a": first, "b": middle}, storages))
    np.testing.assert_array_equal(found["b"], [[5, 6], [9, 10]])
    # In a row of pickles a storage may itself be a part of another.
    storages = files.Storages(("view", 4, 6))
    part = storages.tensor(whole, size=(2, 3), stride=(3, 1))
    found = read(tmp_path, files.row({"a": part}, storages))
    np.testing.assert_array_equal(found["a"], [[4, 5, 6], [7, 8, 9]])


def test_parameters_and_the_newest_way_to_write_a_tensor(tmp_path):
    storages = files.Storages()
    values = np.arange(3, dtype="f4")
    hooks = files.call("collections", "OrderedDict")
    parameter = files.call(
        "torch._utils", "_rebuild_parameter", storages.tensor(values), True, hooks
    )
    by_bytes = storages.tensor(
        values, kind=files.name("torch.storage", "UntypedStorage"), count=12,
        function="_rebuild_tensor_v3",
    )  # fmt: skip
    by_bytes.arguments += (files.name("torch", "float32"),)
    found = read(tmp_path, files.zipped({"p": parameter, "q": by_bytes}, storages))
    assert_read(found, {"p": values, "q": values})


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"epoch": 90, "state_dict": state, "best_prec1": 91.7},
        lambda state: {"model": state, "optimizer": {"param_groups": [{"lr": 0.1}]}},
        lambda state: {"state_dict": {f"module.{name}": v for name, v in state.items()}},
        lambda state: {f"module._orig_mod.{name}": v for name, v in state.items()},
    ],
)
@pytest.mark.parametrize("layout", ["zip", "row"])
def test_a_network_from_what_training_scripts_save(tmp_path, wrap, layout):
    state = states.drawn(states.convolution("net.0", 2, 3, 1, bias=True))
    state |= states.drawn(states.convolution("net.2", 4, 2, 1, bias=True))
    state |= states.drawn(states.convolution("net.5", 1, 4, 1, bias=True))
    storages = files.Storages() if layout == "zip" else files.Storages(None)
    write = files.zipped if layout == "zip" else files.row
    path = tmp_path / "latest.pth"
    path.write_bytes(write(wrap(dict(storages.state_dict(state))), storages))
    states.assert_reads_as(path, state, input_shape=(8, 8, 3))


# -- nothing runs ---------------------------------------------------------------------------------


class Leaves:
    """Unpickled by the book, it would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("layout", ["zip", "row"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_calls_in_a_pickle_are_named_and_not_run(tmp_path, layout, protocol):
    made = tmp_path / "made"
    content = pickle.dumps({"state_dict": Leaves(str(made))}, protocol)
    file = io.BytesIO()
    if layout == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", content)
    else:
        head = files.row({}, files.Storages())
        file.write(head[: head.index(files.dumps({}))] + content + pickle.dumps([], 2))
    with pytest.raises(UnsafeContentError, match=r"a pickled (posix|nt)\.mkdir, which may run"):
        read(tmp_path, file.getvalue())
    assert not made.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torchvision.models.resnet", "ResNet"),
        ("builtins", "eval"),
        ("collections", "OrderedDict.fromkeys"),
        ("collections", "defaultdict"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("numpy", "load"),
        ("keras_arch.convert.pickled", "Table"),
        ("argparse", "Namespace"),
    ],
)
def test_every_other_name_is_refused_by_name(tmp_path, module, name):
    content = files.zipped({"model": files.call(module, name)}, files.Storages())
    with pytest.raises(UnsafeContentError) as caught:
        read(tmp_path, content)
    assert f"a pickled {module}.{name}, which may run code" in str(caught.value)
    assert "torch.save(model.state_dict(), ...)" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "instructions",
    [
        b"\x80\x02ccollections\nOrderedDict\n)\x81.",  # NEWOBJ
        b"\x80\x02(icollections\nOrderedDict\n.",  # INST
        b"\x80\x02(ccollections\nOrderedDict\no.",  # OBJ
        b"\x80\x02\x82\x01.",  # EXT1
        b"I1\n.",  # Protocol 0
    ],
)
def test_instructions_that_no_state_dict_needs_are_refused(tmp_path, instructions):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", instructions)
    with pytest.raises(UnsafeContentError, match="with the instruction"):
        read(tmp_path, file.getvalue())


def test_stand_ins_cannot_be_changed_for_the_next_file(tmp_path):
    """A pickle may set attributes of what it got: of a function, its defaults for everyone."""
    good = files.checkpoint(STATE)
    for target in (
        files.name("torch._utils", "_rebuild_tensor_v2"),
        files.name("torch", "FloatStorage"),
        files.name("collections", "OrderedDict"),
    ):
        changed = files._Called(target, state=(None, {"__defaults__": (1,), "name": "int64"}))
        bare = files.dumps(changed).replace(pickle.EMPTY_TUPLE + pickle.REDUCE, b"", 1)
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", bare)
        with pytest.raises(ConvertError):
            read(tmp_path, file.getvalue())
        assert_read(read(tmp_path, good), STATE)


# -- what is not whole ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"offset": 1}, "'x' of .* damaged or cut short: shape"),
        ({"size": (4,), "stride": (1,)}, "shape"),
        ({"size": (10**9, 10**9), "stride": (0, 0)}, "shape"),
        ({"size": (3,), "stride": (2,)}, "shape"),
        ({"count": 4}, "in 12 bytes"),
        ({"count": 2}, "in 12 bytes"),
        ({"size": (-1,)}, "no row of numbers"),
        ({"size": (3, 1)}, "no view of a storage"),
        ({"size": ("3",)}, "no row of numbers"),
        ({"key": "../data.pkl"}, "has no data/../data.pkl"),
        ({"key": "7"}, "has no data/7"),
        ({"kind": files.name("torch", "ComplexFloatStorage")}, "type ComplexFloatStorage"),
        ({"kind": files.name("torch", "QInt8Storage")}, "type QInt8Storage; readable are float64"),
        ({"kind": "FloatStorage"}, "not described"),
        ({"function": "_rebuild_sparse_tensor"}, "a sparse tensor; only dense"),
        ({"function": "_rebuild_qtensor"}, "a quantised tensor"),
    ],
)
def test_tensors_are_checked_against_their_storages(tmp_path, changes, word):
    storages = files.Storages()
    content = {"x": storages.tensor(np.ones(3, "f4"), **changes)}
    with pytest.raises(ConvertError, match=word) as caught:
        read(tmp_path, files.zipped(content, storages))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "no file of torch.save: it is empty"),
        (b"<!DOCTYPE html>", "it begins with b'<!DOCTYP'"),
        (b"PK\x03\x04", "damaged or cut short"),
        (files.checkpoint(STATE)[:-30], "damaged or cut short"),
        (files.row({}, files.Storages(None))[:-1], "damaged or cut short"),
        (files.row({}, files.Storages(), version=1000), "version of torch.save that is not known"),
        (files.zipped([], files.Storages()), "of type list and no state dict"),
        (files.zipped({"x": 3}, files.Storages()), "holds 'x' of type int among its tensors"),
        (files.zipped({}, files.Storages(), order=b"odd"), "byte order is b'odd'"),
        (files.zipped({}, files.Storages(), **{"constants.pkl": b""}), "is a TorchScript program"),
        (files.zipped({}, files.Storages(), compression=8), "compressed, which PyTorch never"),
    ],
)
def test_files_that_are_none(tmp_path, content, word):
    with pytest.raises(ConvertError, match=word) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_other_archives(tmp_path):
    import tarfile

    path = tmp_path / "old.pth"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    with pytest.raises(ConvertError, match=r"a tar archive of PyTorch 0\.1, which is not read"):
        checkpoint.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", b"")
    with pytest.raises(ConvertError, match=r"none of torch\.save"):
        checkpoint.read(path)


def test_a_cut_storage_in_a_row_of_pickles(tmp_path):
    storages = files.Storages(None)
    content = files.row(dict(storages.state_dict(STATE)), storages)
    with pytest.raises(ConvertError, match=r"is cut short: storage '1' ends at byte \d+ of \d+"):
        read(tmp_path, content[:-4])


LAYOUTS = {"zip": files.checkpoint(STATE)}
_storages = files.Storages(None)
LAYOUTS["row"] = files.row(dict(_storages.state_dict(STATE)), _storages)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(
    flips=st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 255)), max_size=4),
    cut=st.one_of(st.just(0), st.integers(0, 1500)),
)
@settings(parent=QUICK, max_examples=80)
def test_damage_is_an_error_of_ours_or_harmless(tmp_path, layout, flips, cut):
    content = bytearray(LAYOUTS[layout])
    for place, change in flips:
        content[place % len(content)] ^= change
    path = tmp_path / "w.pth"
    path.write_bytes(bytes(content[: max(0, len(content) - cut)]))
    # Anything else that it raised would fail here; and it reads no more than the file holds.
    with contextlib.suppress(KerasArchError):
        found = checkpoint.read(path)
        assert all(values.nbytes <= 2 * len(content) for values in found.values())


@given(content=st.binary(max_size=60))
@QUICK
def test_no_pickle_makes_it_stumble(tmp_path, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + content)
    with contextlib.suppress(KerasArchError):
        read(tmp_path, file.getvalue())


def test_files_of_pytorch_itself(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(4, 2)
    )
    state = module.state_dict()
    state["half"] = torch.randn(3).half()
    state["bf16"] = torch.randn(3).bfloat16()
    state["transposed"] = torch.randn(3, 4).T
    state["part"] = torch.arange(10)[2:8:2]
    state["parameter"] = torch.nn.Parameter(torch.randn(2))
    for new in (True, False):
        path = tmp_path / "w.pt"
        beside = {"epoch": 3, "state_dict": state, "optimizer": {"lr": [0.1]}}
        torch.save(beside, path, _use_new_zipfile_serialization=new)
        found = checkpoint.read(path)
        assert list(found) == list(state)
        for name, tensor in state.items():
            np.testing.assert_array_equal(found[name], tensor.detach().float().numpy())
    torch.save(module, path)
    with pytest.raises(UnsafeContentError, match=r"torch\.nn\.modules\.container\.Sequential"):
        checkpoint.read(path)
