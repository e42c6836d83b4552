"""Requests that TensorFlow Serving sends to a model before it takes a user's.

The file is `assets.extra/tf_serving_warmup_requests`: a TFRecord of `PredictionLog` messages of
the package `tensorflow.serving`. Its Python classes come with a package of their own, which
nothing else here needs. All the fields we fill are strings and messages, which protobuf writes
alike: the field's number, the length, the bytes.
"""

from pathlib import Path
from typing import Any

FOLDER = "assets.extra"
FILE = "tf_serving_warmup_requests"

# Field numbers of tensorflow_serving/apis: prediction_log.proto, predict.proto, model.proto.
_PREDICTION_LOG_PREDICT_LOG = 6
_PREDICT_LOG_REQUEST = 1
_PREDICT_REQUEST_MODEL_SPEC = 1
_PREDICT_REQUEST_INPUTS = 2
_MODEL_SPEC_NAME = 1
_MODEL_SPEC_SIGNATURE_NAME = 3
# A map is a repeated message of key and value.
_MAP_KEY = 1
_MAP_VALUE = 2


def prediction_log(name: str, signature: str, inputs: dict[str, Any]) -> bytes:
    """One serialized `PredictionLog` with a `PredictRequest`.

    Args:
        name: Name of the model.
        signature: Name of the signature.
        inputs: Arrays or lists by the name of the input.

    Example:
        >>> prediction_log("digits", "generate", {})
        b'2\\x16\\n\\x14\\n\\x12\\n\\x06digits\\x1a\\x08generate'
    """
    import tensorflow as tf

    spec = _field(_MODEL_SPEC_NAME, name.encode())
    spec += _field(_MODEL_SPEC_SIGNATURE_NAME, signature.encode())
    request = _field(_PREDICT_REQUEST_MODEL_SPEC, spec)
    for key, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        entry = _field(_MAP_KEY, key.encode()) + _field(_MAP_VALUE, tensor)
        request += _field(_PREDICT_REQUEST_INPUTS, entry)
    return _field(_PREDICTION_LOG_PREDICT_LOG, _field(_PREDICT_LOG_REQUEST, request))


def write(folder: Path, name: str, requests: dict[str, dict[str, Any]]) -> Path:
    """Write one request a signature into the folder of a SavedModel, from inputs by signature."""
    import tensorflow as tf

    path = folder / FOLDER / FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests.items():
            writer.write(prediction_log(name, signature, inputs))
    return path


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field (wire type 2)."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
