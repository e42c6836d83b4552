"""Hostile requests to SavedModels, as TensorFlow Serving would pass them on.

A process of its own loads each with plain TensorFlow and runs it in a session that checks no shape
in Python. Each request must be answered or refused, and the good request after it answered as
before the first. Progress and results are printed as JSON, a line each::

    python -m tests.export.hostile --requests 300 --seed 0 served/NAME/1 ...
"""

import argparse
import io
import json
import struct
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import config_pb2

SIZES = (0, 1, 2, 3, 5, 8, 16, 17)
VALUES = (np.nan, np.inf, -np.inf, -1.0, 256.0, 3e38)
NUMBERS = (-(2**31), -1, 0, 3, 7, 10**6, 2_000_000_000, 2**31 - 1)
DTYPES = ("float32", "float64", "float16", "int32", "int64", "uint8", "bool", "complex64", "str")
# What is refused by TensorFlow itself, in its words.
BY_TENSORFLOW = {
    "Type mismatch: actual ": "wrong type",
    "Invalid JPEG data": "damaged file",
    "Invalid PNG": "damaged file",
    "Invalid GIF": "damaged file",
    "WebP": "damaged file",
    # Of our own decoder, which training uses as well.
    "an encoded image must": "damaged file",
    "Incomplete bmp content": "damaged file",
    "Input size should match (header_size": "damaged file",
}


def png_header(width: int, height: int, body: bytes = b"") -> bytes:
    """A PNG file that declares a size and holds other data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(body))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A picture as a file's content."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def files(rng: np.random.Generator, side: int) -> list[bytes]:
    """Good, damaged, huge and foreign files."""
    pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
    image = Image.fromarray(pixels)
    good = [saved(image, kind) for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP")]
    cut = [file[: rng.integers(0, len(file))] for file in good]
    flipped = []
    for file in good:
        damaged = bytearray(file)
        for at in rng.integers(0, len(file), 3):
            damaged[at] ^= 1 << rng.integers(8)
        flipped.append(bytes(damaged))
    jpeg_bomb = bytearray(saved(image, "JPEG"))
    at = jpeg_bomb.index(b"\xff\xc0")
    jpeg_bomb[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    bmp_bomb = bytearray(saved(image, "BMP"))
    bmp_bomb[18:26] = struct.pack("<ii", 60_000, int(rng.choice([60_000, -60_000, -(2**31)])))
    return [
        *good,
        *cut,
        *flipped,
        bytes(jpeg_bomb),
        bytes(bmp_bomb),
        png_header(60_000, 60_000),
        png_header(1, 2**31 - 1),
        png_header(2**31, 2**31),
        png_header(0, 0),
        png_header(10**7, 1),
        png_header(side, side, b"\0"),
        saved(image, "GIF", save_all=True, append_images=[image.rotate(90)]),
        saved(image, "TIFF"),
        saved(image, "WEBP"),
        saved(image.convert("P"), "PNG"),
        saved(image.convert("P"), "BMP"),
        saved(Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "PNG"),
        saved(image.convert("CMYK"), "JPEG"),
        b"",
        b"\xff\xd8\xff",
        b"BM",
        b"\0" * 100,
        b"no image",
    ]


def hostile_value(rng: np.random.Generator, good: np.ndarray) -> Any:
    """Another value of an input: wrong, or right by chance."""
    if good.dtype == object and rng.random() < 0.8:
        side = int(rng.choice([8, 16, 24]))
        some = files(rng, side)
        found = [some[i] for i in rng.integers(0, len(some), rng.integers(1, 3))]
        return np.array(found, object)
    kind = rng.choice(["shape", "dtype", "value", "none"])
    if kind == "shape":
        axes = [
            rng.choice([*SIZES, *good.shape]) if rng.random() < 0.7 else size
            for size in (*good.shape, *SIZES)[: rng.integers(0, 7)]
        ]
        if good.dtype == object:
            return np.full(axes, good.flat[0], object)
        return np.zeros(axes, good.dtype)
    if kind == "dtype":
        name = rng.choice(DTYPES)
        return np.full(good.shape, b"1", object) if name == "str" else np.ones(good.shape, name)
    if kind == "none":
        return good[:0] if good.ndim else good
    if good.dtype == object:
        return np.repeat(good, rng.integers(0, 4))
    other = np.repeat(good, rng.integers(1, 4), axis=0) if good.ndim else good.copy()
    choices = VALUES if good.dtype == np.float32 else NUMBERS
    flat = other.reshape(-1)
    flat[rng.integers(0, flat.size)] = rng.choice(choices)
    return other


class Served:
    """The signatures of a SavedModel in a session of TensorFlow 1, which servers use."""

    def __init__(self, path: str) -> None:
        self.graph = tf.Graph()
        self.session = tf.compat.v1.Session(graph=self.graph)
        with self.graph.as_default():
            meta = tf.compat.v1.saved_model.load(self.session, ["serve"], path)
        self.signatures = {
            name: found
            for name, found in meta.signature_def.items()
            if found.method_name == "tensorflow/serving/predict"
        }
        self._calls: dict[str, Any] = {}

    def inputs(self, name: str) -> dict[str, Any]:
        """Type and shape of the inputs of a signature."""
        return dict(self.signatures[name].inputs)

    def __call__(self, name: str, request: dict[str, Any]) -> dict[str, np.ndarray]:
        """The outputs of a signature."""
        signature = self.signatures[name]
        if name not in self._calls:
            options = config_pb2.CallableOptions()
            options.feed.extend(signature.inputs[key].name for key in sorted(signature.inputs))
            options.fetch.extend(signature.outputs[key].name for key in sorted(signature.outputs))
            # `Session.run` compares shapes in Python; servers do not.
            self._calls[name] = self.session._make_callable_from_options(options)
        values = self._calls[name](*(request[key] for key in sorted(signature.inputs)))
        return dict(zip(sorted(signature.outputs), values, strict=True))


def good_requests(served: Served) -> dict[str, dict[str, np.ndarray]]:
    """A request of two examples for each signature."""
    rng = np.random.default_rng(7)
    found: dict[str, dict[str, np.ndarray]] = {}
    for name in served.signatures:
        found[name] = {}
        for key, info in served.inputs(name).items():
            shape = [axis.size for axis in info.tensor_shape.dim]
            sizes = [2 if i == 0 else (8 if n < 0 else n) for i, n in enumerate(shape)]
            if info.dtype == tf.string.as_datatype_enum:
                side = tile_side(served)
                pictures = rng.integers(0, 256, (2, side, side, 3), np.uint8)
                encoded = [saved(Image.fromarray(each), "PNG") for each in pictures]
                found[name][key] = np.array(encoded, object)
            elif info.dtype == tf.float32.as_datatype_enum:
                top = 255 if len(sizes) == 4 else 1
                found[name][key] = rng.uniform(0, top, sizes).astype(np.float32)
            else:
                dtype = tf.as_dtype(info.dtype).as_numpy_dtype
                found[name][key] = np.full(sizes, 2 if key in ("seed", "count") else 1, dtype)
    return found


def tile_side(served: Served) -> int:
    """The side of the images that are taken: 8 where any is."""
    dims = served.inputs("serving_default")["image"].tensor_shape.dim
    return max(8, dims[1].size)


def attack(path: str, requests: int, seed: int) -> dict[str, Any]:
    """The counts of answers and refusals of one SavedModel; a wrong answer ends the process."""
    served = Served(path)
    good = good_requests(served)
    expected = {name: served(name, request) for name, request in good.items()}
    rng = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    for number in range(requests):
        name = sorted(good)[rng.integers(0, len(good))]
        request = dict(good[name])
        keys = sorted(request)
        for key in rng.choice(keys, rng.integers(1, len(keys) + 1), replace=False):
            request[key] = hostile_value(rng, request[key])
        told = {
            key: [list(value.shape), str(value.dtype)]
            if value.dtype != object
            else [bytes(file[:30]).hex() for file in value.flat[:3]]
            for key, value in request.items()
        }
        # The last line that is read, if the process dies.
        print(json.dumps({"request": number, "signature": name, **told}), flush=True)
        try:
            outputs = served(name, request)
        except tf.errors.InvalidArgumentError as error:
            message = error.message.partition("\n")[0]
            known = next((kind for words, kind in BY_TENSORFLOW.items() if words in message), None)
            counts[known or "refused"] += 1
            # Where our messages and TensorFlow's name the input.
            marks = ("failed: [{}", "; {} ", "/checked_{} [")
            named = (*keys, " and ".join(good[name]))
            if known is None and not any(
                mark.format(key) in message for mark in marks for key in named
            ):
                raise AssertionError(f"no input is named: {message}") from error
        else:
            counts["answered"] += 1
            for key, output in outputs.items():
                if output.dtype.kind == "f" and not np.isfinite(output).all():
                    raise AssertionError(f"{name} answers {key} that is not finite")
        for other, request in good.items():
            for key, output in served(other, request).items():
                np.testing.assert_array_equal(output, expected[other][key], f"{other} {key}")
    return {"path": Path(path).parent.name, "counts": counts}


def main() -> None:
    """Attack each SavedModel of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for path in given.paths:
        print(json.dumps(attack(path, given.requests, given.seed)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
