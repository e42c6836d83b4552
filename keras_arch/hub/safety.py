"""Safety checks of model directories: only Keras' own classes, and nothing that runs code.

Keras' safe mode refuses Lambda layers too. These checks refuse more and come first: they hold even
if safe mode was switched off for the process, and a download cannot use a class that the process
has registered.
"""

import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

from keras_arch.errors import IntegrityError, UnsafeContentError

# Keras' modules with parts of models; `keras.src` is how it writes operations that are layers of a
# functional model. `keras.utils`, `keras.saving` and `keras.config` are not here.
_PARTS = (
    "activations constraints dtype_policies initializers layers losses metrics models ops "
    "optimizers quantizers random regularizers trainers.compile_utils"
)
_MODULES = tuple(f"{prefix}.{name}" for prefix in ("keras", "keras.src") for name in _PARTS.split())
_IN_KERAS_ITSELF = (
    "DTypePolicy FloatDTypePolicy Functional Model QuantizedDTypePolicy Sequential SeedGenerator"
)
_MARKERS = "__bytes__ __ellipsis__ __keras_tensor__ __numpy__ __slice__ __tensor__"
# Keras' own, but they wrap code, or load another file.
_WRAPPERS = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_CODE_SUFFIXES = (
    ".bin .ckpt .cloudpickle .dill .dll .dylib .exe .joblib .pickle .pkl .pt .pth .py .pyc .sh .so"
)


# Of a JSON file that is read whole: ten times that of a ResNet of 1,202 layers.
LARGEST_JSON = 64 * 1024**2
# Of a model: Keras builds a graph by one recursive call a layer.
MOST_LAYERS = 10_000
# Models in models; Keras builds each of them several times over.
DEEPEST = 32


def read_json_file(file: Path, where: str) -> bytes:
    """Read a JSON file of a model `where`, if it is a file and no larger than one can be.

    Raises:
        IntegrityError: If it is a folder, a pipe or a link that leads nowhere, or too large.
    """
    check_is_file(file, where)
    if file.stat().st_size > LARGEST_JSON:
        raise IntegrityError(
            f"{file.name} of {where} has {file.stat().st_size:,} bytes, more than the "
            f"{LARGEST_JSON:,} that are read; get or save the model again"
        )
    return file.read_bytes()


def check_is_file(path: Path, where: str) -> None:
    """Refuse a folder, a pipe, or a link that leads nowhere, where a file is expected.

    Raises:
        IntegrityError: Naming it, and what it is.
    """
    if path.is_file():
        return
    kind = "a folder" if path.is_dir() else "a pipe or a device"
    if path.is_symlink() and not path.is_dir():
        kind = "a link that leads to no file"
    raise IntegrityError(
        f"{path.name} of {where} is {kind if os.path.lexists(path) else 'missing'}, not a file; "
        "get or save the model again"
    )


def check_inside(path: Path, directory: Path, where: str) -> None:
    """Refuse a file of a model directory that is a link to a file elsewhere.

    Whoever made the directory chose the target, which would be copied or published as a part of
    the model. The cache of the Hub keeps files as links to its own `blobs`.

    Raises:
        UnsafeContentError: Naming the file and its target.
    """
    target, home = Path(os.path.realpath(path)), Path(os.path.realpath(directory))
    homes = [home]
    if home.parent.name == "snapshots":
        homes.append(home.parents[1] / "blobs")
    if not any(target.is_relative_to(each) for each in homes):
        raise UnsafeContentError(
            f"{path.relative_to(directory)} of {where} is a link out of its folder, to {target}, "
            "and is refused; put the file itself there"
        )


def check_config(path: Path, where: str) -> None:
    """Refuse the `config.json` of a model `where` that needs other classes than Keras' own.

    Raises:
        UnsafeContentError: If it needs one; the message names the class.
        IntegrityError: If the file is not a Keras model configuration.
    """
    content = read_json_file(path, where)
    try:
        config = json.loads(content)
        if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
            raise ValueError("no class_name")
        check_objects(config, where)
        layers, depth = _count_layers(config)
    except (ValueError, RecursionError, TypeError):
        raise IntegrityError(
            f"config.json of {where} is not a Keras model configuration; save the model again"
        ) from None
    if layers > MOST_LAYERS:
        raise IntegrityError(
            f"config.json of {where} declares {layers:,} layers, more than the {MOST_LAYERS:,} "
            "that are built; get or save the model again"
        )
    if depth > DEEPEST:
        raise IntegrityError(
            f"config.json of {where} declares models in models, {depth} deep, more than the "
            f"{DEEPEST} that are built; get or save the model again"
        )


def _count_layers(config: Any) -> tuple[int, int]:
    """The number of layers of a model with those of models inside of it, and their depth."""
    inside = config.get("config") if isinstance(config, dict) else None
    layers = inside.get("layers") if isinstance(inside, dict) else None
    counts = [_count_layers(layer) for layer in layers] if isinstance(layers, list) else []
    if not counts:
        return 1, 0
    return 1 + sum(count for count, _ in counts), 1 + max(depth for _, depth in counts)


def check_objects(config: Any, where: str) -> None:
    """Refuse (`UnsafeContentError`) a serialized object with other classes than Keras' own."""
    if isinstance(config, list | tuple):
        for item in config:
            check_objects(item, where)
    elif isinstance(config, str):
        if is_code(config):
            raise UnsafeContentError(
                f"{where} refers to {config!r}, which may hold pickled data or code, and is refused"
            )
    elif isinstance(config, dict):
        if "class_name" in config:
            _check_object(config, where)
        for key, value in config.items():
            # A layer may be called anything; its name opens no file.
            if key != "name":
                check_objects(value, where)


def _check_object(config: dict[str, Any], where: str) -> None:
    name, module = config["class_name"], config.get("module")
    registered = config.get("registered_name")
    called = f"{module}.{name}" if module else name
    if not isinstance(name, str):
        raise ValueError("class_name is not a text")
    if name in _WRAPPERS or name == "__lambda__":
        raise UnsafeContentError(
            f"{where} holds a {name.strip('_')}, which runs code that comes with it, and is "
            "refused; write the step with keras.ops or a stock layer"
        )
    if name in _MARKERS.split() and module is None:
        return
    if name == "function":
        # Resolved by Keras among its own activations, losses and metrics.
        own = _is_keras(module) or module == "builtins"
        own = own and registered in (None, "function", config.get("config"))
    else:
        own = _is_keras(module) or (module == "keras" and name in _IN_KERAS_ITSELF.split())
        own = own and registered in (None, name) and not name.startswith("__")
    if not own:
        raise UnsafeContentError(
            f"{where} needs {registered or called}, which is not part of Keras, and is refused; "
            "a model of stock layers and keras.ops opens everywhere"
        )


def _is_keras(module: Any) -> bool:
    return isinstance(module, str) and any(
        module == known or module.startswith(known + ".") for known in _MODULES
    )


def is_code(name: str) -> bool:
    """Whether a file of this name may hold pickled data or code."""
    return len(name) < 4096 and PurePosixPath(name.lower()).suffix in _CODE_SUFFIXES.split()


def check_names(names: Any, where: str) -> None:
    """Refuse files that a record lists outside of its folder, or that may hold code or pickles.

    Raises:
        UnsafeContentError: Naming the file.
    """
    for name in names:
        path = PurePosixPath(name) if isinstance(name, str) else None
        if (
            path is None
            or not path.parts
            or path.is_absolute()
            or str(path) != name
            or ".." in path.parts
            or path.parts[0] in (".git", ".cache")
            or any(character in name for character in "\\\0\n\r")
            or (len(name) > 1 and name[1] == ":")
        ):
            raise UnsafeContentError(
                f"keras_arch.json of {where} lists {name!r}, which is not a file of its folder, "
                "and is refused"
            )
        if is_code(name):
            raise UnsafeContentError(
                f"{where} holds {name}, which may be pickled data or code, and is refused; "
                "weights belong into model.weights.h5"
            )
