"""Image files of every kind are one array wherever they are read, or refused by name."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_arch import data
from keras_arch.data.image_bytes import pixels_of
from keras_arch.data.image_reading import read_image
from keras_arch.errors import DataError
from keras_arch.preprocessing import Preprocessing

# A multiple of the blocks of JPEG, which turning leaves as they are.
COLOR = np.random.default_rng(0).integers(0, 256, (16, 32, 3), dtype=np.uint8)
GREY = COLOR[..., 0]
DEEP = np.random.default_rng(1).integers(0, 65536, (16, 32, 3), dtype=np.uint16)
PLAIN = Preprocessing((16, 32), scale=1.0)
UNIT = Preprocessing((16, 32), scale=1.0, value_range=(0, 1))
TWELVE = Preprocessing((16, 32), scale=1.0, value_range=(0, 4095))


def saved(pixels, kind, mode=None, orientation=None, **options):
    """The bytes of an image file."""
    image = Image.fromarray(pixels)
    image = image.convert(mode) if mode else image
    if orientation:
        exif = Image.Exif()
        exif[274] = orientation
        options["exif"] = exif
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def chunk(name, content):
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def packed_png(bits):
    """A grey PNG file of 2 or 4 bits a pixel."""
    rows = np.random.default_rng(bits).integers(0, 256, (16, 32 * bits // 8), dtype=np.uint8)
    content = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", 32, 16, bits, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", content)
        + chunk(b"IEND", b"")
    )


def late_exif_png():
    """A PNG file whose orientation lies behind the pixels, where ImageMagick writes it."""
    exif = Image.Exif()
    exif[274] = 6
    content, end = saved(COLOR, "PNG")[:-12], chunk(b"IEND", b"")
    return content + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + end


def stacked(kind):
    """A file of two pictures."""
    return saved(COLOR, kind, append_images=[Image.fromarray(255 - COLOR)], save_all=True)


def array(values):
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


# Name of the file, content, and preprocessing.
READ = {
    "plain.jpg": (saved(COLOR, "JPEG"), PLAIN),
    "grey.jpeg": (saved(GREY, "JPEG"), PLAIN),
    "cmyk.JPG": (saved(COLOR, "JPEG", "CMYK"), PLAIN),
    "progressive.jfif": (saved(COLOR, "JPEG", progressive=True, subsampling=0), PLAIN),
    # As phones write them: a second picture of the same scene lies behind the first.
    "phone.jpg": (stacked("MPO"), PLAIN),
    "plain.png": (saved(COLOR, "PNG"), PLAIN),
    "grey.PNG": (saved(GREY, "PNG"), PLAIN),
    "one_bit.png": (saved(GREY, "PNG", "1"), PLAIN),
    "two_bits.png": (packed_png(2), PLAIN),
    "four_bits.png": (packed_png(4), PLAIN),
    "palette.png": (saved(COLOR, "PNG", "P"), PLAIN),
    "palette_alpha.png": (saved(COLOR, "PNG", "P", transparency=3), PLAIN),
    "alpha.png": (saved(COLOR, "PNG", "RGBA"), PLAIN),
    "grey_alpha.png": (saved(GREY, "PNG", "LA"), PLAIN),
    "deep_grey.png": (tf.io.encode_png(DEEP[..., :1]).numpy(), PLAIN),
    "deep_color.png": (tf.io.encode_png(DEEP).numpy(), PLAIN),
    "deep_grey_alpha.png": (tf.io.encode_png(DEEP[..., :2]).numpy(), PLAIN),
    "twelve_bits.png": (tf.io.encode_png(DEEP[..., :1] >> 4).numpy(), TWELVE),
    "plain.bmp": (saved(COLOR, "BMP"), PLAIN),
    "thirty_two_bits.bmp": (saved(COLOR, "BMP", "RGBA"), PLAIN),
    "plain.gif": (saved(COLOR, "GIF", "P"), PLAIN),
    "transparent.gif": (saved(COLOR, "GIF", "P", transparency=3), PLAIN),
    "lossless.webp": (saved(COLOR, "WEBP", lossless=True), PLAIN),
    "lossy.webp": (saved(COLOR, "WEBP"), PLAIN),
    "alpha.webp": (saved(COLOR, "WEBP", "RGBA", lossless=True), PLAIN),
    "late_exif.png": (late_exif_png(), PLAIN),
    **{f"turned{n}.jpg": (saved(COLOR, "JPEG", orientation=n), PLAIN) for n in range(2, 9)},
    "turned6.png": (saved(COLOR, "PNG", orientation=6), PLAIN),
    "turned8.webp": (saved(COLOR, "WEBP", orientation=8, lossless=True), PLAIN),
}
# Kinds that TensorFlow cannot decode: a server takes their pixels, and refuses their bytes by name.
NOT_SERVED = {
    "grey.bmp": (saved(GREY, "BMP"), PLAIN),
    "palette.bmp": (saved(COLOR, "BMP", "P"), PLAIN),
    "plain.tif": (saved(COLOR, "TIFF"), PLAIN),
    "turned6.tiff": (saved(COLOR, "TIFF", orientation=6), PLAIN),
    "cmyk.tif": (saved(COLOR, "TIFF", "CMYK"), PLAIN),
    "deep.TIF": (saved(DEEP[..., 0], "TIFF"), PLAIN),
    "float.tif": (saved(GREY / np.float32(255), "TIFF"), UNIT),
    "int32.tif": (saved(GREY.astype(np.int32) * 16, "TIFF"), TWELVE),
    "plain.ppm": (saved(COLOR, "PPM"), PLAIN),
    "plain.jp2": (saved(COLOR, "JPEG2000"), PLAIN),
    "turned6.avif": (saved(COLOR, "AVIF", orientation=6), PLAIN),
    "array.npy": (array(DEEP >> 4), TWELVE),
}
REFUSED = {
    "animation.gif": stacked("GIF"),
    "animation.png": stacked("PNG"),
    "animation.webp": stacked("WEBP"),
    "pages.tif": stacked("TIFF"),
    "text.png": b"<html>404</html>",
    "deep_color.tif": None,
}


def deep_tiff():
    """A TIFF file of 16 bits a color channel, which Pillow reads as 8 and cannot write."""
    entries = [
        (256, 4, 1, 32), (257, 4, 1, 16), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 14), (277, 3, 1, 3), (278, 4, 1, 16), (279, 4, 1, DEEP.nbytes),
    ]  # fmt: skip
    start = 14 + DEEP.nbytes
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<I", start) + struct.pack("<HHH", 16, 16, 16)
    return head + DEEP.tobytes() + struct.pack("<H", len(entries)) + table + bytes(4)


REFUSED["deep_color.tif"] = deep_tiff()


@pytest.fixture(scope="module")
def served():
    """The pixels that a server reads of the bytes of a file."""
    functions = {
        preprocessing.value_range: tf.function(
            lambda encoded, how=preprocessing: how(pixels_of(encoded, how.value_range)),
            input_signature=[tf.TensorSpec((), tf.string)],
        )
        for preprocessing in (PLAIN, TWELVE, UNIT)
    }
    return lambda content, how: functions[how.value_range](tf.constant(content)).numpy()


def trained(folder, how):
    """The pixels of a training batch."""
    (batch,) = data.eval_batches(data.load(f"folder:{folder}"), how, 1)
    return np.asarray(batch)[0]


@pytest.mark.parametrize("name", [*READ, *NOT_SERVED])
def test_a_file_is_one_array_everywhere(name, served, tmp_path):
    content, how = (READ | NOT_SERVED)[name]
    file = tmp_path / name
    file.write_bytes(content)
    predicted = how(read_image(file)).numpy()
    # Quotients of whole numbers, whose last bit depends on how a graph divides.
    same = {"rtol": 1e-6, "atol": 1e-4}
    np.testing.assert_allclose(trained(tmp_path, how), predicted, **same)
    assert predicted.max() > 200
    if name in READ:
        np.testing.assert_allclose(served(content, how), predicted, **same)
    else:
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"must (be|have)"):
            served(content, how)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_single_image_is_refused_everywhere(name, served, tmp_path):
    file = tmp_path / name
    file.write_bytes(REFUSED[name])
    with pytest.raises(DataError, match=name):
        read_image(file)
    with pytest.raises(DataError, match=name):
        trained(tmp_path, PLAIN)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must (be|hold)"):
        served(REFUSED[name], PLAIN)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_and_its_turned_twin_are_equal(kind, tmp_path):
    """As cameras write them: the sensor's rows with orientation 6, and upright."""
    # Of one color a block, which JPEG keeps when it turns.
    blocks = COLOR[:2, :3].repeat(16, axis=0).repeat(16, axis=1)
    exact = {"subsampling": 0} if kind == "JPEG" else {}
    (tmp_path / "twin").write_bytes(saved(np.rot90(blocks), kind, orientation=6, **exact))
    (tmp_path / "upright").write_bytes(saved(blocks, kind, **exact))
    twin, upright = (read_image(tmp_path / name) for name in ("twin", "upright"))
    np.testing.assert_array_equal(twin, upright)


def test_models_of_many_bits_refuse_files_of_eight(served):
    with pytest.raises(tf.errors.InvalidArgumentError, match="a file of 8 bits cannot hold"):
        served(saved(COLOR, "PNG"), TWELVE)


def test_arrays_keep_their_channels(tmp_path):
    five = np.arange(2 * 3 * 5, dtype=np.uint16).reshape(2, 3, 5)
    np.save(tmp_path / "a.npy", five)
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy"), five)
    (image,) = data.load(f"folder:{tmp_path}")
    np.testing.assert_array_equal(image, five)
    assert data.describe(f"folder:{tmp_path}").image_shape == (2, 3, 5)


def test_archives_of_jpeg_files_are_upright_too(tmp_path):
    files = [READ[f"turned{number}.jpg"][0] for number in (5, 6, 8)]
    np.savez(
        tmp_path / "a.npz",
        train_jpeg=np.frombuffer(b"".join(files), np.uint8),
        train_offsets=np.cumsum([0, *map(len, files)]),
        train_labels=[0, 1, 0],
    )
    for content, (image, _) in zip(files, data.load(f"npz:{tmp_path / 'a.npz'}"), strict=True):
        (tmp_path / "one.jpg").write_bytes(content)
        np.testing.assert_array_equal(image, read_image(tmp_path / "one.jpg"))
