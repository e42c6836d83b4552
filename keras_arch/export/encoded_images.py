"""Headers of encoded images, read in a graph: kind and size before anything is decoded."""

import tensorflow as tf

# Kinds that `keras_arch.data.image_bytes` decodes, and how to get them from the others.
_DECODED = ("JPEG", "PNG", "BMP", "GIF", "WebP")
DECODED = f"{', '.join(_DECODED[:-1])} or {_DECODED[-1]}"
REMEDY = "of BMP those of 24 or 32 bits without compression; convert others to PNG"
_HEADER = 54

# First bytes by kind, with -1 for any byte; the first that fits counts.
_MAGIC: dict[str, list[int]] = {
    "JPEG": [*b"\xff\xd8\xff"],
    "PNG": [*b"\x89PNG\r\n\x1a\n", 0, 0, 0, 13, *b"IHDR"],
    "BMP": [*b"BM"],
    "GIF": [*b"GIF8"],
    "WebP": [*b"RIFF", -1, -1, -1, -1, *b"WEBP"],
    "TIFF": [*b"II*\0"],
    "TIFF (big-endian)": [*b"MM\0*"],
    "HEIC or AVIF": [-1, -1, -1, -1, *b"ftyp"],
    "an unknown kind": [],
}


def kinds(files: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The kind of each file by name, `(batch,)`, and whether it is one that is decoded.

    Example:
        >>> names, decoded = kinds(tf.constant([b"GIF89a", b""]))
        >>> names.numpy().tolist(), decoded.numpy().tolist()
        ([b'GIF', b'an unknown kind'], [True, False])
    """
    head = _head(files)
    number = tf.argmax(tf.stack([_starts_with(head, magic) for magic in _MAGIC.values()], 1), 1)
    is_bmp = number == list(_MAGIC).index("BMP")
    is_usual = ~is_bmp | _is_usual_bmp(head)
    names = tf.gather(list(_MAGIC), number)
    names = tf.where(is_usual, names, "an unusual BMP")
    return names, (number < len(_DECODED)) & is_usual


def sizes(files: tf.Tensor, name: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width of each file of a kind that is decoded, int64 `(batch,)`.

    Damaged JPEG headers are an INVALID_ARGUMENT error of an operation under the given name.
    """
    head = _head(files)
    png = [_number(head, at, 4, big_endian=True) for at in (20, 16)]
    # The height of a BMP file is negative when its rows come from the top.
    bmp = [tf.abs(_signed(_number(head, at, 4))) for at in (22, 18)]
    gif = [_number(head, at, 2) for at in (8, 6)]
    plain = tf.stack(png, 1)
    for kind, found in (("BMP", bmp), ("GIF", gif), ("WebP", _webp_size(head))):
        is_kind = _starts_with(head, _MAGIC[kind])[:, None]
        plain = tf.where(is_kind, tf.stack(found, 1), plain)

    def size(item: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        file, other = item
        with tf.name_scope(f"header_of_{name}"):
            return tf.cond(
                tf.io.is_jpeg(file),
                lambda: tf.cast(tf.image.extract_jpeg_shape(file)[:2], tf.int64),
                lambda: other,
            )

    found = tf.map_fn(size, (files, plain), fn_output_signature=tf.TensorSpec((2,), tf.int64))
    return found[:, 0], found[:, 1]


def _head(files: tf.Tensor) -> tf.Tensor:
    """The first bytes of files, int64 `(batch, bytes)`; files that are shorter end in zeros."""
    return tf.cast(tf.io.decode_raw(files, tf.uint8, fixed_length=_HEADER), tf.int64)


def _webp_size(head: tf.Tensor) -> list[tf.Tensor]:
    """Height and width in the first chunk: extended, without loss, or with loss (RFC 9649)."""
    extended = [_number(head, at, 3) + 1 for at in (27, 24)]
    bits = _number(head, 21, 4)
    lossless = [bits // 2**14 % 2**14 + 1, bits % 2**14 + 1]
    lossy = [_number(head, at, 2) % 2**14 for at in (28, 26)]
    kind = head[:, 15]
    return [
        tf.where(kind == ord("X"), one, tf.where(kind == ord("L"), other, third))
        for one, other, third in zip(extended, lossless, lossy, strict=True)
    ]


def _starts_with(head: tf.Tensor, magic: list[int]) -> tf.Tensor:
    wanted = tf.constant(magic, tf.int64)
    same = (head[:, : len(magic)] == wanted) | (wanted < 0)
    return tf.cast(tf.reduce_all(same, 1), tf.int32) > 0


def _is_usual_bmp(head: tf.Tensor) -> tf.Tensor:
    """Whether the header is one whose pixels the decoder reads as Pillow does."""
    header, bits, packing = _number(head, 14, 4), _number(head, 28, 2), _number(head, 30, 4)
    return (header >= 40) & (packing == 0) & ((bits == 24) | (bits == 32))


def _number(head: tf.Tensor, at: int, size: int, big_endian: bool = False) -> tf.Tensor:
    order = range(size)[::-1] if big_endian else range(size)
    weights = tf.constant([256**power for power in order], tf.int64)
    return tf.reduce_sum(head[:, at : at + size] * weights, 1)


def _signed(number: tf.Tensor) -> tf.Tensor:
    return tf.where(number >= 2**31, number - 2**32, number)
