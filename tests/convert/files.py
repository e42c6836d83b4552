"""Writers of the formats that weights are published in, in the formats' own words."""

import collections
import io
import json
import pickle
import zipfile

import numpy as np

SAFE = {"f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32", "u1": "U8"}
STORAGES = {
    "f8": "DoubleStorage",
    "f4": "FloatStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "i4": "IntStorage",
    "i2": "ShortStorage",
    "i1": "CharStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
}
MAGIC = 0x1950A86A20F9469CFC6C


def safetensors(state):
    """Length, header, bytes."""
    header, data = {}, []
    begin = 0
    for name, values in state.items():
        end = begin + values.nbytes
        kind = SAFE[values.dtype.str[1:]]
        header[name] = {"dtype": kind, "shape": values.shape, "data_offsets": [begin, end]}
        data.append(np.ascontiguousarray(values).tobytes())
        begin = end
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(data)


class _Global:
    """Something that a pickle only names, such as a class of PyTorch."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class _Called:
    """What a pickle makes by a call."""

    def __init__(self, function, *arguments, state=None):
        self.function, self.arguments, self.state = function, arguments, state


class _Stored:
    """A storage, which a pickle refers to."""

    def __init__(self, reference):
        self.reference = reference


class _Pickler(pickle._Pickler):
    """Protocol 2 as PyTorch writes it, without its classes being there."""

    dispatch = dict(pickle._Pickler.dispatch)

    def persistent_id(self, value):
        return value.reference if isinstance(value, _Stored) else None

    def save_global_name(self, value):
        self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())

    def save_called(self, value):
        self.save(value.function)
        self.save(value.arguments)
        self.write(pickle.REDUCE)
        if value.state is not None:
            self.save(value.state)
            self.write(pickle.BUILD)

    dispatch[_Global] = save_global_name
    dispatch[_Called] = save_called


def dumps(value):
    file = io.BytesIO()
    _Pickler(file, 2).dump(value)
    return file.getvalue()


def name(module, function):
    """A pickle's word for a function or class."""
    return _Global(module, function)


def call(module, function, *arguments, state=None):
    """A pickle's word for what a function gives."""
    return _Called(_Global(module, function), *arguments, state=state)


class Storages:
    """Collects what tensors refer to.

    Args:
        view: What follows the number of elements in a reference: nothing in a zip, a `None` in a
            row of pickles.
    """

    def __init__(self, *view):
        self.view, self.arrays = view, {}

    def tensor(self, values, *, function="_rebuild_tensor_v2", order=None, **changes):
        """A tensor of its own storage; an array that is no row of numbers keeps its strides."""
        values = np.asarray(values)
        base = values if values.base is None or not values.strides else values.base
        flat = np.ascontiguousarray(base if base.size >= values.size else values).ravel()
        key = str(len(self.arrays))
        self.arrays[key] = flat
        facts = {
            "kind": name("torch", STORAGES[values.dtype.str[1:]]),
            "key": key,
            "count": flat.size,
            "offset": 0,
            "size": values.shape,
            "stride": tuple(step // values.itemsize for step in values.strides),
        } | changes
        stored = _Stored(
            ("storage", facts["kind"], facts["key"], "cpu", facts["count"], *self.view)
        )
        hooks = call("collections", "OrderedDict")
        arguments = (stored, facts["offset"], facts["size"], facts["stride"], False, hooks)
        return call("torch._utils", function, *arguments)

    def state_dict(self, state):
        """An ordered table with the attribute that PyTorch's has."""
        made = collections.OrderedDict((key, self.tensor(values)) for key, values in state.items())
        return made


def zipped(value, storages, *, folder="archive", order=b"little", compression=0, **more):
    """What `torch.save` writes since 1.6."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(f"{folder}/data.pkl", dumps(value))
        archive.writestr(f"{folder}/byteorder", order)
        for key, values in storages.arrays.items():
            archive.writestr(f"{folder}/data/{key}", values.tobytes())
        archive.writestr(f"{folder}/version", b"3\n")
        for member, content in more.items():
            archive.writestr(f"{folder}/{member}", content)
    return file.getvalue()


def row(value, storages, *, version=1001, little=True):
    """What `torch.save` wrote before: pickles, then the storages."""
    system = {"protocol_version": version, "little_endian": little, "type_sizes": {"int": 4}}
    parts = [pickle.dumps(part, 2) for part in (MAGIC, version, system)]
    parts += [dumps(value), pickle.dumps(list(storages.arrays), 2)]
    for values in storages.arrays.values():
        parts += [values.size.to_bytes(8, "little"), values.tobytes()]
    return b"".join(parts)


def checkpoint(state, **beside):
    """A `.pth` file of a state dict, or of a table with it and more."""
    storages = Storages()
    made = storages.state_dict(state)
    return zipped({"state_dict": made} | beside if beside else made, storages)
