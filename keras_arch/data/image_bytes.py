"""Encoded images inside a graph: pixels, bit depth and the orientation of EXIF.

A server decodes with these functions, and so do training and prediction wherever a server can:
JPEG, PNG, GIF and WebP files have one decoder. BMP files are read by Pillow outside of a server,
which gives the same pixels.
"""

from typing import Any

from keras_arch._lazy import tf

# Levels of 16 bits for one of 8.
DEEP = 257
_JPEG, _PNG, _GIF, _WEBP, _BMP = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF", b"BM"
_ORIENTATION = 0x0112
# Zeros behind the content: whatever a broken header points to, there is something to read.
_PADDING = 64


def pixels_of(encoded: Any, value_range: tuple[float, float] | None = None) -> Any:
    """Decode the bytes of an image file inside a graph, upright as EXIF says.

    The pixels are those that training and prediction read from the same file.

    Args:
        encoded: A scalar string tensor: a JPEG, PNG, BMP, GIF or WebP file of one picture. Others
            are refused with an `InvalidArgumentError` when the graph runs.
        value_range: That of a `Preprocessing`. With one, values are those of the file; a file of
            8 bits, which cannot reach beyond 255, is refused where the range does.

    Returns:
        `float32` `(height, width, 3)` in [0, 255], 16 bits being divided by 257; grey images have
        three equal channels.
    """
    content = _content(encoded)
    found = {
        name: _has(content, 0, magic)
        for name, magic in (("png", _PNG), ("gif", _GIF), ("bmp", _BMP), ("jpeg", _JPEG))
    }
    found["webp"] = _has(content, 0, _WEBP) & _has(content, 8, b"WEBP")
    deep = found["png"] & (content[24] == 16)
    start, is_animated = _exif_start(encoded, content, found)
    plain_bitmap = (
        (_number(content, 14, 4, little=True) >= 40)
        & (content[30] == 0)
        & ((content[28] == 24) | (content[28] == 32))
    )
    checks = [
        (
            found["png"] | found["gif"] | found["bmp"] | found["jpeg"] | found["webp"],
            "an encoded image must be a JPEG, PNG, BMP, GIF or WebP file; decode others, such as "
            "TIFF, HEIC or AVIF, and send their pixels",
        ),
        (
            ~found["bmp"] | plain_bitmap,
            "a BMP file must have 24 or 32 bits a pixel, without palette and compression; save it "
            "as a PNG file",
        ),
        (~is_animated, "an encoded image must hold one picture, not an animation"),
    ]
    if value_range is not None and value_range[1] > 255:
        checks.append(
            (
                deep,
                f"images have intensities of {value_range[0]:g} to {value_range[1]:g}, which a "
                "file of 8 bits cannot hold; send a PNG file of 16 bits, or pixels",
            )
        )
    asserts = [tf.debugging.Assert(right, [message]) for right, message in checks]
    with tf.control_dependencies(asserts):
        encoded = tf.identity(encoded)
    pixels = tf.cond(
        deep,
        lambda: tf.cast(decode(encoded, deep=True), tf.float32) / (DEEP if not value_range else 1),
        lambda: tf.cast(decode(encoded), tf.float32),
    )
    return upright(pixels, _orientation(content, start))


def jpeg_pixels(encoded: Any, channels: int) -> Any:
    """Decode the bytes of a JPEG file inside a graph, upright: `uint8`."""
    content = _content(encoded)
    pixels = tf.io.decode_jpeg(encoded, channels=channels, dct_method="INTEGER_ACCURATE")
    return upright(pixels, _orientation(content, _exif_in_jpeg(content)))


def decode(encoded: Any, deep: bool = False) -> Any:
    """Decode an image as it lies in its file: `uint8`, or `uint16` for a deep PNG file.

    Returns:
        `(height, width, 3)`.
    """
    if deep:
        return tf.ensure_shape(
            tf.io.decode_png(encoded, channels=3, dtype=tf.uint16), (None, None, 3)
        )
    pixels = tf.cond(
        tf.io.is_jpeg(encoded),
        # TensorFlow's usual transform is faster, and up to ten levels away from libjpeg's own.
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(pixels, (None, None, 3))


def upright(pixels: Any, orientation: Any) -> Any:
    """Turn an image `(height, width, channels)` as EXIF's orientation says, 1 to 8."""
    shape = (None, None, pixels.shape[-1])
    for numbers, change in (
        ((5, 6, 7, 8), lambda image: tf.transpose(image, [1, 0, 2])),
        ((3, 4, 7, 8), lambda image: image[::-1]),
        ((2, 3, 6, 7), lambda image: image[:, ::-1]),
    ):
        chosen = tf.reduce_any(tf.equal(orientation, tf.constant(numbers, tf.int64)))
        # Bound here: both functions are called before the next change.
        pixels = tf.cond(chosen, lambda c=change, p=pixels: c(p), lambda p=pixels: p)
    return tf.ensure_shape(pixels, shape)


def _content(encoded: Any) -> Any:
    return tf.pad(tf.io.decode_raw(encoded, tf.uint8), [[0, _PADDING]])


def _has(content: Any, place: Any, wanted: bytes) -> Any:
    """Whether some bytes are at a place."""
    return tf.reduce_all(
        tf.gather(content, _inside(content, place + tf.range(len(wanted), dtype=tf.int64)))
        == tf.constant(list(wanted), tf.uint8)
    )


def _inside(content: Any, places: Any) -> Any:
    return tf.clip_by_value(places, 0, tf.size(content, tf.int64) - 1)


def _number(content: Any, place: Any, size: int, little: Any) -> Any:
    """A whole number of some bytes; `place` may be a vector of places."""
    places = tf.cast(place, tf.int64)[..., None] + tf.range(size, dtype=tf.int64)
    parts = tf.cast(tf.gather(content, _inside(content, places)), tf.int64)
    weights = tf.constant([256**power for power in range(size)], tf.int64)
    return tf.reduce_sum(parts * tf.where(little, weights, weights[::-1]), axis=-1)


def _exif_start(encoded: Any, content: Any, found: dict[str, Any]) -> tuple[Any, Any]:
    """Where the block of EXIF begins, or -1, and whether the file is an animation."""
    end = tf.size(content, tf.int64) - _PADDING
    nowhere = tf.constant(-1, tf.int64)

    def in_chunks(first: int, name: int, value: int, wanted: bytes, little: bool) -> Any:
        """Of chunks with a length, name and value, the place of the value of the wanted one."""

        def step(place: Any, start: Any, animated: Any) -> Any:
            length = _number(content, place + 4 - name, 4, little)
            here = _has(content, place + name, wanted)
            moves = _has(content, place + name, b"acTL") | _has(content, place + name, b"ANIM")
            # A check sum follows in PNG, a byte fills up to an even length in WebP.
            after = 8 + length + (length % 2 if little else 4)
            return place + after, tf.where(here, place + value, start), animated | moves

        start = [tf.constant(first, tf.int64), nowhere, tf.constant(False)]
        return tuple(tf.while_loop(lambda place, *_: place + 8 <= end, step, start)[1:])

    def moves() -> Any:
        return nowhere, tf.shape(tf.io.decode_gif(encoded))[0] > 1

    return tf.case(
        [
            (found["jpeg"], lambda: (_exif_in_jpeg(content), tf.constant(False))),
            (found["png"], lambda: in_chunks(8, 4, 8, b"eXIf", little=False)),
            (found["webp"], lambda: in_chunks(12, 0, 8, b"EXIF", little=True)),
            (found["gif"], moves),
        ],
        default=lambda: (nowhere, tf.constant(False)),
    )


def _exif_in_jpeg(content: Any) -> Any:
    """Where the block of EXIF of a JPEG file begins, or -1."""
    end = tf.size(content, tf.int64) - _PADDING
    nowhere = tf.constant(-1, tf.int64)

    def step(place: Any, start: Any) -> Any:
        marker = content[place + 1]
        is_exif = (marker == 0xE1) & _has(content, place + 4, b"Exif\0\0")
        # Bytes that fill up, and markers without a length.
        bare = (marker == 1) | ((marker >= 0xD0) & (marker <= 0xD8))
        length = _number(content, place + 2, 2, little=False)
        length = tf.where(bare, tf.zeros_like(length), length)
        after = place + tf.where(marker == 0xFF, tf.ones_like(length), 2 + length)
        return after, tf.where(is_exif, place + 10, start)

    def goes_on(place: Any, start: Any) -> Any:
        marker = tf.gather(content, _inside(content, place + 1))
        here = tf.gather(content, _inside(content, place))
        ends = (marker == 0xDA) | (marker == 0xD9)
        return (place + 4 <= end) & (here == 0xFF) & ~ends & (start < 0)

    return tf.while_loop(goes_on, step, [tf.constant(2, tf.int64), nowhere])[1]


def _orientation(content: Any, start: Any) -> Any:
    """The orientation in a block of EXIF that starts there; 1 where there is none."""
    start = tf.where(_has(content, start, b"Exif\0\0"), start + 6, start)
    little = _has(content, start, b"II")
    readable = (start >= 0) & (little | _has(content, start, b"MM"))
    first = start + _number(content, start + 4, 4, little)
    count = _number(content, first, 2, little)
    entries = first + 2 + 12 * tf.range(tf.where(readable, count, tf.zeros_like(count)))
    entries = tf.boolean_mask(entries, _number(content, entries, 2, little) == _ORIENTATION)
    longs = _number(content, entries + 2, 2, little) == 4
    values = tf.where(
        longs,
        _number(content, entries + 8, 4, little),
        _number(content, entries + 8, 2, little),
    )
    return tf.reduce_max(tf.concat([values[:1], tf.ones([1], tf.int64)], axis=0))
