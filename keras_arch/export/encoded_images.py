"""Headers of encoded images, read in a graph: kind and size before anything is decoded."""

import tensorflow as tf

# Kinds that are decoded, and how to get them from the others.
_DECODED = ("JPEG", "PNG", "BMP")
REMEDY = "of BMP those of 24 or 32 bits or grey levels without compression; convert others to PNG"
_BMP_HEADER, _BMP_PALETTE = 54, 256 * 4

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
        ([b'GIF', b'an unknown kind'], [False, False])
    """
    head = _head(files)
    number = tf.argmax(tf.stack([_starts_with(head, magic) for magic in _MAGIC.values()], 1), 1)
    is_bmp = number == list(_MAGIC).index("BMP")
    is_usual = ~is_bmp | _is_usual_bmp(head)
    names = tf.gather(list(_MAGIC), number)
    names = tf.where(is_usual, names, "an unusual BMP")
    return names, (number < len(_DECODED)) & is_usual


def sizes(files: tf.Tensor, name: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width of each JPEG, PNG or BMP file, int64 `(batch,)`.

    Damaged JPEG headers are an INVALID_ARGUMENT error of an operation under the given name.
    """
    head = _head(files)
    png = [_number(head, at, 4, big_endian=True) for at in (20, 16)]
    # The height of a BMP file is negative when its rows come from the top.
    bmp = [tf.abs(_signed(_number(head, at, 4))) for at in (22, 18)]
    is_bmp = _starts_with(head, _MAGIC["BMP"])
    plain = tf.stack([tf.where(is_bmp, *each) for each in zip(bmp, png, strict=True)], 1)

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
    length = _BMP_HEADER + _BMP_PALETTE
    return tf.cast(tf.io.decode_raw(files, tf.uint8, fixed_length=length), tf.int64)


def _starts_with(head: tf.Tensor, magic: list[int]) -> tf.Tensor:
    wanted = tf.constant(magic, tf.int64)
    same = (head[:, : len(magic)] == wanted) | (wanted < 0)
    return tf.cast(tf.reduce_all(same, 1), tf.int32) > 0


def _is_usual_bmp(head: tf.Tensor) -> tf.Tensor:
    """Whether the header is one whose pixels the decoder reads as Pillow does."""
    header, bits, packing = _number(head, 14, 4), _number(head, 28, 2), _number(head, 30, 4)
    levels = tf.repeat(tf.range(256, dtype=tf.int64)[:, None], 4, axis=1) * [1, 1, 1, 0]
    palette = head[:, _BMP_HEADER:] * tf.tile(tf.constant([1, 1, 1, 0], tf.int64), [256])
    is_grey = tf.reduce_all(palette == tf.reshape(levels, [-1]), 1)
    depth = (bits == 24) | (bits == 32) | ((bits == 8) & (header == 40) & is_grey)
    return (header >= 40) & (packing == 0) & depth


def _number(head: tf.Tensor, at: int, size: int, big_endian: bool = False) -> tf.Tensor:
    order = range(size)[::-1] if big_endian else range(size)
    weights = tf.constant([256**power for power in order], tf.int64)
    return tf.reduce_sum(head[:, at : at + size] * weights, 1)


def _signed(number: tf.Tensor) -> tf.Tensor:
    return tf.where(number >= 2**31, number - 2**32, number)
