"""Each kind of source, with real files."""

import io
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_arch import data
from keras_arch.errors import DataError
from keras_arch.preprocessing import Preprocessing
from tests.data.broken import refused, write_damaged_png


@pytest.fixture
def pets(tmp_path):
    """Two classes of 9 and 3 images, in several formats; pixels tell class and number."""
    for name, base, count in (("cat", 100, 9), ("dog", 0, 3)):
        for number in range(count):
            suffix = (".png", ".bmp", ".PNG")[number % 3]
            write_image(tmp_path / "pets" / name / f"{name}{number + 1}{suffix}", base + number)
    return tmp_path / "pets"


def write_image(path, value=0, size=(6, 4), mode="RGB"):
    """An image file of one colour, `size` being (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = value if mode in ("L", "1", "P") else (value,) * len(mode)
    Image.new(mode, size, colour).save(path)


def arrays(dataset):
    """All images and labels of a data set."""
    elements = [tuple(part.numpy() for part in element) for element in dataset]
    images, labels = zip(*elements, strict=True)
    return list(images), np.array(labels)


# ---- digits


def test_digits_are_those_of_scikit_learn_split_by_class():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    train, test = arrays(data.load("digits", "train")), arrays(data.load("digits", "test"))
    assert train[1].dtype == np.int64
    assert train[0][0].dtype == np.uint8
    ours = np.array(train[0] + test[0]).reshape(-1, 64)
    # 0..16 became 0..255 without a loss.
    assert sorted(map(bytes, ours)) == sorted(
        map(bytes, np.rint(images * 255 / 16).astype(np.uint8))
    )
    for digit in range(10):
        share = (test[1] == digit).sum() / (labels == digit).sum()
        assert abs(share - 0.2) < 0.006


def test_digits_are_described_as_they_load():
    source = data.describe("digits")
    for split, count in source.splits.items():
        dataset = data.load("digits", split)
        assert int(dataset.cardinality()) == count == sum(1 for _ in dataset)
        assert dataset.element_spec[0].shape == source.image_shape
    assert source.classes == tuple("0123456789")


def test_slices_and_sums_of_splits_are_parts_of_the_whole():
    _, train = arrays(data.load("digits", "train"))
    _, test = arrays(data.load("digits", "test"))
    _, part = arrays(data.load("digits", "train[100:200]"))
    np.testing.assert_array_equal(part, train[100:200])
    both = data.load("digits", "test+train[:10%]")
    assert int(both.cardinality()) == 359 + 144
    np.testing.assert_array_equal(arrays(both)[1], np.concatenate([test, train[:144]]))


# ---- TensorFlow Datasets


def test_a_tfds_set_opens_from_disk(tfds_dir, monkeypatch):
    source = data.describe("fashion_mnist", data_dir=tfds_dir)
    assert source.splits == {"train": 60000, "test": 10000}
    assert source.classes[:2] == ("T-shirt/top", "Trouser")
    assert source.license == "MIT"
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_dir))
    dataset = data.load("fashion_mnist", "test[10:20]", data_dir=tfds_dir)
    assert int(dataset.cardinality()) == 10
    assert dataset.element_spec[0].shape == source.image_shape == (28, 28, 1)
    images, labels = arrays(dataset)
    import tensorflow_datasets as tfds

    theirs = tfds.load("fashion_mnist", split="test[10:20]", data_dir=tfds_dir, download=False)
    for image, label, other in zip(images, labels, tfds.as_numpy(theirs), strict=True):
        np.testing.assert_array_equal(image, other["image"])
        assert label == other["label"]


def test_tfds_splits_that_are_not_there_are_errors(tfds_dir):
    message = refused("mnist", "validation", data_dir=tfds_dir)
    assert "no split 'validation'; it has train, test" in message


def test_a_set_that_is_not_prepared_is_an_error_at_once_without_a_network(
    tmp_path, monkeypatch, caplog
):
    import socket

    def unreachable(*_):
        raise socket.gaierror(-2, "Name or service not known")

    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    message = refused("cifar10", data_dir=tmp_path)
    assert str(tmp_path) in message
    for word in ("'cifar10' is not prepared", "TFDS_DATA_DIR", "npz:PATH", "folder:PATH"):
        assert word in message
    with pytest.raises(DataError, match=r"'cifar10' is not prepared in .*TFDS_DATA_DIR"):
        data.describe("cifar10", data_dir=tmp_path)
    # TensorFlow Datasets says so too, in its own words.
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fashion_mnistt", "did you mean fashion_mnist"),
        ("digit", "did you mean digits"),
        ("mnist:1.0.0", "cannot be opened: .*3.0.1"),
        ("mnist/zebra", "cannot be opened"),
        ("fodler:pets", "'fodler:pets' is not known .did you mean folder.*; give .*folder:PATH"),
        ("", "is not known"),
        ("npz:", "names no path"),
        ("folder:/no/such/place", "there is no /no/such/place"),
        ("npz:/no/such/file.npz", "there is no /no/such/file.npz"),
    ],
)
def test_errors_of_unknown_sources_list_the_known_ones(name, message, tmp_path):
    with pytest.raises(DataError, match=message) as caught:
        data.load(name, data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_text_is_no_image_set(tmp_path):
    import tensorflow_datasets as tfds

    from keras_arch.data.sources import tfds as source

    info = tfds.builder("imdb_reviews", data_dir=tmp_path).info
    with pytest.raises(DataError, match="has no 8-bit image; its features are"):
        source._columns(info, "imdb_reviews")
    coco = tfds.builder("coco/2017", data_dir=tmp_path).info
    assert source._columns(coco, "coco")[0] == "image"


# ---- folders


def test_folders_are_classes(pets):
    source = data.describe(f"folder:{pets}")
    assert source.classes == ("cat", "dog")
    assert source.splits == {"train": 12}
    assert source.image_shape == (4, 6, 3)
    images, labels = arrays(data.load(f"folder:{pets}"))
    assert sorted(int(image[0, 0, 0]) for image in images) == [0, 1, 2, *range(100, 109)]
    assert all(
        int(image[0, 0, 0] < 100) == label for image, label in zip(images, labels, strict=True)
    )
    # Any slice holds the classes in proportion.
    assert np.bincount(arrays(data.load(f"folder:{pets}", "train[:4]"))[1]).tolist() == [3, 1]


def test_names_are_sorted_as_people_count(tmp_path):
    for name in ("10", "9", "2a", "Zebra", "ant", "2"):
        for number in (10, 9, 1):
            write_image(tmp_path / name / f"img{number}.png", number)
    assert data.describe(f"folder:{tmp_path}").classes == ("2", "2a", "9", "10", "ant", "Zebra")
    images, labels = arrays(data.load(f"folder:{tmp_path}"))
    first = [int(i[0, 0, 0]) for i, label in zip(images, labels, strict=True) if label == 0]
    assert first == [1, 9, 10]


def test_folders_of_splits(tmp_path):
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for name in ("a", "b"):
            for number in range(count):
                write_image(tmp_path / split / name / f"{number}.png", number)
    (tmp_path / ".cache").mkdir()
    (tmp_path / "train" / "a" / "notes.txt").write_text("not an image")
    assert data.describe(f"folder:{tmp_path}").splits == {"train": 6, "test": 2, "val": 4}
    assert len(arrays(data.load(f"folder:{tmp_path}", "val"))[1]) == 4
    write_image(tmp_path / "test" / "zebra" / "1.png")
    assert "has class 'zebra', which" in refused(f"folder:{tmp_path}")


def test_images_alone_are_unlabelled(tmp_path):
    for number in range(3):
        write_image(tmp_path / f"{number}.jpg", number * 50, mode="L")
    source = data.describe(f"folder:{tmp_path}")
    assert source.classes is None
    assert source.image_shape == (4, 6, 1)
    images = [image.numpy() for image in data.load(f"folder:{tmp_path}")]
    assert [int(image.mean()) for image in images] == [0, 50, 100]


def test_images_of_several_sizes_and_modes_become_colour(tmp_path):
    write_image(tmp_path / "a.png", 7, size=(5, 4), mode="L")
    write_image(tmp_path / "b.png", 9, size=(3, 4), mode="RGBA")
    write_image(tmp_path / "c.bmp", 11, size=(3, 2), mode="L")
    write_image(tmp_path / "d.png", 1, size=(3, 2), mode="1")
    assert data.describe(f"folder:{tmp_path}").image_shape == (None, None, 3)
    images = [image.numpy() for image in data.load(f"folder:{tmp_path}")]
    assert [image.shape for image in images] == [(4, 5, 3), (4, 3, 3), (2, 3, 3), (2, 3, 3)]
    assert [int(image.max()) for image in images] == [7, 9, 11, 255]


@pytest.mark.parametrize(("quality", "subsampling"), [(95, 0), (75, 1), (30, 2)])
def test_jpeg_pixels_are_those_of_pillow(tmp_path, quality, subsampling):
    noise = np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    file = tmp_path / "noise.jpg"
    Image.fromarray(noise).save(file, quality=quality, subsampling=subsampling)
    (image,) = data.load(f"folder:{tmp_path}").as_numpy_iterator()
    np.testing.assert_array_equal(image, np.asarray(Image.open(file)))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
@pytest.mark.parametrize("keep", [0, 1, 40, 300, -1, -20])
def test_a_truncated_file_is_named(pets, suffix, keep):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).save(content, {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP"}[suffix])
    bad = pets / "cat" / f"bad{suffix}"
    bad.write_bytes(content.getvalue()[:keep])
    assert str(bad) in refused(f"folder:{pets}")


def test_a_damaged_png_is_named_before_training(pets):
    bad = pets / "dog" / "bad.png"
    write_damaged_png(bad)
    assert f"{bad} is damaged" in refused(f"folder:{pets}")
    bad.write_text("<html>404</html>")
    assert (
        f"{bad} is no image that can be read; repair or remove it (images are JPEG, PNG"
        in refused(f"folder:{pets}")
    )
    bad.unlink()
    bad.symlink_to(pets / "gone.png")
    assert str(bad) in refused(f"folder:{pets}")


def test_empty_folders_are_named(tmp_path, pets):
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path / 'empty'} holds no image" in refused(f"folder:{tmp_path / 'empty'}")
    (pets / "mouse").mkdir()
    assert f"{pets / 'mouse'} holds no image" in refused(f"folder:{pets}")
    write_image(pets / "loose.png")
    assert "both class folders and images such as loose.png" in refused(f"folder:{pets}")
    assert "is not a folder" in refused(f"folder:{pets / 'loose.png'}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_named(pets):
    (pets / "cat" / "cat1.png").chmod(0)
    assert "cat1.png cannot be read: " in refused(f"folder:{pets}")


# ---- archives


def jpeg(value, size=(6, 4)):
    content = io.BytesIO()
    Image.new("RGB", size, (value,) * 3).save(content, "JPEG")
    return content.getvalue()


def jpeg_archive(path, files, labels, **more):
    np.savez(
        path,
        train_jpeg=np.frombuffer(b"".join(files), np.uint8),
        train_offsets=np.cumsum([0, *map(len, files)]),
        train_labels=np.asarray(labels),
        **more,
    )
    return f"npz:{path}"


def test_cifar_from_jpeg_equals_pillow(cifar_npz):
    source = data.describe(f"npz:{cifar_npz}")
    assert source.splits == {"train": 50000, "test": 10000}
    assert source.image_shape == (32, 32, 3)
    assert source.classes[3] == "cat"
    images, labels = arrays(data.load(f"npz:{cifar_npz}", "test[500:520]"))
    with np.load(cifar_npz, allow_pickle=False) as file:
        content, offsets = file["test_jpeg"], file["test_offsets"]
        np.testing.assert_array_equal(labels, file["test_labels"][500:520])
    for index, image in enumerate(images, start=500):
        theirs = Image.open(io.BytesIO(content[offsets[index] : offsets[index + 1]].tobytes()))
        np.testing.assert_array_equal(image, np.asarray(theirs))


def test_jpeg_archives_that_are_wrong_are_errors(tmp_path):
    files = [jpeg(10 * i) for i in range(5)]
    good = jpeg_archive(tmp_path / "good.npz", files, [0, 1, 2, 0, 1], class_names=list("abc"))
    images, labels = arrays(data.load(good, "train[1:4]"))
    assert labels.tolist() == [1, 2, 0]
    assert [int(image.mean()) for image in images] == [10, 20, 30]

    message = refused(
        jpeg_archive(tmp_path / "a.npz", files, [0, 1, 3, 0, 1], class_names=list("abc"))
    )
    assert "label 3 of image 2 in split 'train'" in message
    assert "there are 3 classes" in message
    message = refused(jpeg_archive(tmp_path / "b.npz", files, [0, 1, -1, 0, 1]))
    assert "label -1 of image 2" in message
    assert "one whole number for each of 5" in refused(
        jpeg_archive(tmp_path / "c.npz", files, [0, 1, 2])
    )
    broken = [*files[:3], files[3][: len(files[3]) // 2], files[4]]
    assert "image 3 of split 'train'" in refused(
        jpeg_archive(tmp_path / "d.npz", broken, [0, 1, 2, 0, 1])
    )
    other_size = [*files[:4], jpeg(0, size=(8, 8))]
    source = jpeg_archive(tmp_path / "e.npz", other_size, [0, 1, 2, 0, 1])
    with pytest.raises(DataError, match=r"cannot be read: .*\[8,8,3\].*\[4,6,3\]"):
        data.eval_batches(data.load(source), Preprocessing((4, 6)), 2)
    np.savez(
        tmp_path / "f.npz",
        train_jpeg=np.frombuffer(b"".join(files), np.uint8),
        train_offsets=[0, 10],
        train_labels=[0],
    )
    assert "'train_offsets'" in refused(f"npz:{tmp_path / 'f.npz'}")


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int16", "uniform01"])
def test_arrays_as_keras_has_them(tmp_path, dtype):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 4, 6, 3), dtype=np.uint8)
    labels = np.arange(10) % 3
    stored = (pixels / 255).astype(np.float32) if dtype == "uniform01" else pixels.astype(dtype)
    path = tmp_path / "set.npz"
    np.savez(path, x_train=stored, y_train=labels[:, None], x_test=stored[:4], y_test=labels[:4])
    source = data.describe(f"npz:{path}")
    assert source.classes == ("0", "1", "2")
    assert source.splits == {"train": 10, "test": 4}
    images, loaded = arrays(data.load(f"npz:{path}"))
    np.testing.assert_array_equal(images, pixels)
    np.testing.assert_array_equal(loaded, labels)
    assert data.load(f"npz:{path}").element_spec[0].dtype == tf.uint8


def test_grey_arrays_without_a_channel_and_without_labels(tmp_path):
    np.savez_compressed(tmp_path / "set.npz", x_train=np.zeros((3, 4, 6), np.uint8))
    source = data.describe(f"npz:{tmp_path / 'set.npz'}")
    assert source.image_shape == (4, 6, 1)
    assert source.classes is None
    assert [image.shape for image in data.load(source.name)] == [(4, 6, 1)] * 3


def _array(index, value):
    images = np.full((10, 4, 4), 0.5, np.float32)
    images[index, 1, 2] = value
    return images


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x_train": _array(3, np.nan)}, "image 3 of array 'x_train' .* not finite"),
        ({"x_train": _array(4, np.inf)}, "image 4 of array 'x_train' .* not finite"),
        ({"x_train": _array(5, -0.5)}, "image 5 of .* from -0.5 to 0.5; pixels are in"),
        ({"x_train": _array(6, 300)}, "image 6 of .* to 300"),
        ({"x_train": np.zeros((0, 4, 4), np.uint8)}, "holds no image"),
        ({"x_train": np.zeros((4, 4), np.uint8)}, "must be of shape"),
        ({"x_train": np.zeros((4, 3, 8, 8), np.uint8)}, "must be of shape"),
        ({"x_train": np.zeros((4, 8, 8), "U1")}, "must hold numbers"),
        ({"x_train": np.zeros((4, 8, 8), object)}, "'x_train' .*cannot be read"),
        (
            {"x_train": np.zeros((2, 4, 4), np.uint8), "y_train": np.eye(2)},
            "'y_train' .* one whole number for each of 2 images",
        ),
        (
            {"x_train": np.zeros((2, 4, 4), np.uint8), "y_train": np.array([0.5, 1.0])},
            "'y_train' .* one whole number",
        ),
        (
            {
                "x_train": np.zeros((2, 4, 4), np.uint8),
                "y_train": np.array([0, 1]),
                "x_test": np.zeros((1, 4, 4), np.uint8),
                "y_test": np.array([2]),
            },
            "label 2 of image 0 in split 'test' .* there are 2 classes",
        ),
        (
            {"x_train": np.zeros((2, 4, 4), np.uint8), "x_test": np.zeros((2, 5, 4), np.uint8)},
            r"shape \(5, 4\), those of 'x_train' are \(4, 4\)",
        ),
        ({"images": np.zeros(3)}, "holds images; an image archive holds x_train"),
    ],
)
def test_arrays_that_are_wrong_are_errors(tmp_path, content, message):
    np.savez(tmp_path / "set.npz", **content)
    with pytest.raises(DataError, match=message) as caught:
        data.load(f"npz:{tmp_path / 'set.npz'}")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_archives_are_errors(tmp_path):
    path = tmp_path / "set.npz"
    path.write_bytes(b"not an archive")
    assert "cannot be read as a NumPy archive" in refused(f"npz:{path}")
    np.savez(path, x_train=np.random.default_rng(0).integers(0, 256, (50, 8, 8), dtype=np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "cannot be read as a NumPy archive" in refused(f"npz:{path}")
    spoilt = bytearray(whole)
    spoilt[1000] ^= 0xFF
    path.write_bytes(spoilt)
    assert "'x_train'" in refused(f"npz:{path}")
    assert "cannot be read" in refused(f"npz:{tmp_path}")
