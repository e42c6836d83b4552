"""Safe unpickler of PyTorch state dicts.

A pickle is a small program: it names callables and calls them. Only the few names of a state dict
are allowed, and each is a stand-in that only records its arguments: mappings, tensors as places in
a storage, types of numbers. Every other name is refused before it is looked up. The instructions
are checked first, so that none runs that a state dict does not need.
"""

import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

from keras_arch.errors import ConvertError, UnsafeContentError

# Types of numbers by the names of PyTorch and of NumPy, which lacks bfloat16.
_NAMES_OF_TYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool"
_NAMES_OF_STORAGES = "Double Float Half BFloat16 Long Int Short Char Byte Bool"
DTYPES = tuple(_NAMES_OF_TYPES.split())
# Instructions of protocols 2 to 5 for mappings, lists, numbers and strings; they create objects
# only by calling one of the names below.
_NEEDED = (
    "PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE "
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT "
    "BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES "
    "BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT "
    "DICT SETITEM SETITEMS EMPTY_SET ADDITEMS FROZENSET BINPUT LONG_BINPUT MEMOIZE BINGET "
    "LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID"
)
_INSTRUCTIONS = frozenset(_NEEDED.split())


class Storage(NamedTuple):
    """Storage of numbers, which tensors are views of; it may be a part of a larger one.

    Attributes:
        key: Name of the larger storage in the file.
        dtype: Type of its numbers, one of `DTYPES`; `"bytes"` if only the tensor has a type.
        count, start: How many numbers it has, from which number of the larger storage on.
        whole: How many numbers the larger storage has.
    """

    key: str
    dtype: str
    count: int
    start: int
    whole: int


class Tensor(NamedTuple):
    """Tensor as a view of a storage.

    Attributes:
        storage, dtype: Storage and type of its numbers.
        offset: Its first number in the storage.
        size: Length of each axis.
        stride: Numbers from one element of an axis to the next.
    """

    storage: Storage
    dtype: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Table(dict):
    """Ordered mapping; attributes beside its content are dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class _Type:
    """Type of numbers by its name in PyTorch."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a type is changed")


class _Call:
    """Function that a pickle can call and not change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a function is changed")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    return _checked(storage, storage.dtype, offset, size, stride)


def _tensor_of_bytes(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *rest: Any
) -> Tensor:
    return _checked(storage, dtype.name, offset, size, stride)


def _checked(storage: Any, dtype: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Storage) or dtype not in DTYPES or len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor is no view of a storage")
    if any(type(number) is not int or number < 0 for number in numbers):
        raise pickle.UnpicklingError("a tensor's size is no row of numbers")
    return Tensor(storage, dtype, offset, tuple(size), tuple(stride))


def _parameter(data: Any, *rest: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise pickle.UnpicklingError("a parameter is no tensor")
    return data


_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): Table,
    ("torch", "Size"): _Call(tuple),
    ("torch._utils", "_rebuild_tensor"): _Call(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): _Call(_tensor_of_bytes),
    ("torch._utils", "_rebuild_parameter"): _Call(_parameter),
    ("torch", "UntypedStorage"): _Type("bytes"),
    ("torch.storage", "UntypedStorage"): _Type("bytes"),
}
for _kind, _dtype in zip(_NAMES_OF_STORAGES.split(), DTYPES, strict=True):
    _NAMES["torch", _dtype] = _NAMES["torch", f"{_kind}Storage"] = _Type(_dtype)
# Tensors of other kinds, which no network here has, and types of numbers that NumPy lacks.
_OTHER_KINDS = {
    "_rebuild_sparse_tensor": "a sparse tensor",
    "_rebuild_qtensor": "a quantised tensor",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_meta_tensor_no_storage": "a tensor without numbers (meta)",
    "_rebuild_device_tensor_from_numpy": "a tensor of another device",
    "_rebuild_wrapper_subclass": "a tensor of a class of its own",
    "_rebuild_from_type_v2": "a tensor of a class of its own",
    "_rebuild_parameter_with_state": "a parameter with attributes of its own",
}


def _found(module: str, name: str, where: str) -> Any:
    """Look up the stand-in of a name.

    Raises:
        UnsafeContentError: If a state dict does not need it.
        ConvertError: If it is a kind of tensor that is not read.
    """
    found = _NAMES.get((module, name))
    if found is not None:
        return found
    if module == "torch._utils" and name in _OTHER_KINDS:
        raise ConvertError(
            f"{where} holds {_OTHER_KINDS[name]}; only dense tensors are read: convert it in "
            "PyTorch and save the state dict again"
        )
    if module == "torch" and name.endswith("Storage"):
        raise ConvertError(
            f"{where} holds tensors of type {name}; readable are {', '.join(DTYPES)}"
        )
    raise UnsafeContentError(
        f"{where} holds a pickled {module}.{name}, which may run code, and is refused; save the "
        "weights alone: torch.save(model.state_dict(), ...), or as safetensors"
    )


class _Unpickler(pickle.Unpickler):
    """Unpickler with stand-ins only; `where` is the name of the file in messages."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        super().__init__(file, encoding="utf-8")
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        """Look up the stand-in of a name."""
        return _found(module, name, self._where)

    def persistent_load(self, reference: Any) -> Storage:
        """Describe a storage that the pickle refers to."""
        if not isinstance(reference, tuple) or reference[:1] != ("storage",):
            # Early PyTorch stored the source code of a module's class in this way.
            raise UnsafeContentError(
                f"{self._where} refers to something else than tensors, which may run code, and is "
                "refused; save the weights alone: torch.save(model.state_dict(), ...)"
            )
        kind, key, _, count, *view = reference[1:]
        if not isinstance(kind, _Type) or not isinstance(key, str) or type(count) is not int:
            raise pickle.UnpicklingError("a storage is not described")
        if not view or view[0] is None:
            return Storage(key, kind.name, count, 0, count)
        _, start, length = view[0]
        if type(start) is not int or type(length) is not int:
            raise pickle.UnpicklingError("a storage's part is not described")
        return Storage(key, kind.name, length, start, count)


def load(file: BinaryIO, where: str) -> Any:
    """Load one pickle from a seekable file, up to its end; `where` names the file in messages.

    Returns:
        Mappings, lists, numbers and strings, with a `Tensor` for each tensor.

    Raises:
        UnsafeContentError: If it names anything that no state dict needs.
        ConvertError: If it is damaged, or holds tensors of another kind.

    Example:
        >>> import io, pickle
        >>> load(io.BytesIO(pickle.dumps({"epoch": 3}, 2)), "a checkpoint")
        {'epoch': 3}
        >>> load(io.BytesIO(pickle.dumps(print, 2)), "a checkpoint")
        Traceback (most recent call last):
        keras_arch.errors.UnsafeContentError: a checkpoint holds a pickled __builtin__.print, ...
    """
    begin = file.tell()
    try:
        _check_instructions(file, where)
        file.seek(begin)
        return _Unpickler(file, where).load()
    except (ConvertError, UnsafeContentError, OSError):
        raise
    # A damaged pickle can raise about any error.
    except Exception as error:
        raise ConvertError(
            f"{where} is damaged or cut short: {type(error).__name__}, "
            f"{str(error).partition(chr(10))[0][:100]}"
        ) from None


def _check_instructions(file: BinaryIO, where: str) -> None:
    """Refuse names and instructions that no state dict needs, without running any.

    Names come first, as their errors say most. Names that are composed otherwise than by protocols
    2 to 5 are refused when they are looked up.
    """
    begin = file.tell()
    size = file.seek(0, io.SEEK_END) - begin
    file.seek(begin)
    texts = [""] * 2
    for instruction, argument, _ in pickletools.genops(file):
        if instruction.name == "GLOBAL":
            _found(*argument.split(" ", 1), where)
        elif instruction.name == "STACK_GLOBAL" and all(texts):
            _found(*texts, where)
        elif isinstance(argument, str):
            texts = [texts[1], argument]
        if instruction.name not in _INSTRUCTIONS:
            raise UnsafeContentError(
                f"{where} is pickled with the instruction {instruction.name}, which no state dict "
                "needs, and is refused; save the weights alone: torch.save(model.state_dict(), ...)"
            )
        # The unpickler allocates a table as long as the largest of these numbers.
        if instruction.name == "LONG_BINPUT" and argument > size:
            raise ConvertError(f"{where} is damaged: it remembers more than it holds")
