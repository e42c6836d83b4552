"""Data sources of other packages: registration, options, slices and batches."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_arch import data
from keras_arch.errors import ArgumentError, DataError
from keras_arch.preprocessing import Preprocessing
from keras_arch.registry import SOURCES

RAW = Preprocessing((4, 4), 1, scale=1.0)


@pytest.fixture
def registered():
    """The registry as it was before the test, afterwards."""
    before = dict(SOURCES._objects)
    yield SOURCES
    SOURCES._objects.clear()
    SOURCES._objects.update(before)


@pytest.fixture
def angles(registered):
    """A source of images with targets of any type, whose pixels are their number."""

    @data.register_source("angles")
    class Angles(data.Source):
        kind = "regression"
        license = "CC0-1.0"

        def __init__(self, count, *, targets="float32", rank="0"):
            self.splits = {"train": int(count), "test": 3}
            self.targets, self.rank = targets, int(rank)

        def examples(self, split, start, stop):
            numbers = np.arange(start, stop)
            images = np.zeros((len(numbers), 4, 4, 1), np.uint8) + numbers[:, None, None, None]
            targets = (numbers / 2).astype(self.targets)
            return images.astype(np.uint8), np.stack([targets] * 2, 1) if self.rank else targets

    return Angles


def test_a_registered_class_is_described_and_loaded_in_slices(angles):
    source = data.describe("angles:10")
    assert (source.name, source.kind, source.license) == ("angles:10", "regression", "CC0-1.0")
    assert source.splits == {"train": 10, "test": 3}
    assert source.image_shape == (4, 4, 1)
    assert source.classes is None
    assert "angles:10" in repr(source)
    dataset = data.load("angles:10", "train[:90%]+test[1:]")
    assert len(dataset) == 11
    assert [float(angle) for _, angle in dataset] == [*np.arange(9) / 2, 0.5, 1.0]
    with pytest.raises(DataError, match=r"angles:10 has no split 'val'; it has train, test"):
        data.load("angles:10", "val")


QUICK = [("float32", 0, True), ("float64", 1, False), ("int32", 0, False), ("bool", 1, True)]
EVERY = itertools.product(("float32", "float64", "int32", "bool"), (0, 1), (True, False))


@pytest.mark.parametrize(
    ("dtype", "rank", "cache"),
    [pytest.param(*each, marks=() if each in QUICK else pytest.mark.slow) for each in EVERY],
)
def test_targets_of_any_type_pass_through_batches_unchanged(angles, dtype, rank, cache):
    dataset = data.load(f"angles:10?targets={dtype}&rank={rank}")
    number_of = lambda images: images[:, 0, 0, 0].numpy()  # noqa: E731
    expected = (np.arange(10) / 2).astype(dtype)
    batches = data.train_batches(dataset, RAW, 5, seed=0, augment=["flip"], cache=cache)
    (one, first), (two, second) = batches.dataset.take(2)
    assert first.dtype == dtype
    assert first.shape == ((5, 2) if rank else (5,))
    order = np.concatenate([number_of(one), number_of(two)]).astype(int)
    assert sorted(order) == list(range(10))
    found = np.concatenate([first, second])
    np.testing.assert_array_equal(found, np.stack([expected[order]] * 2, 1) if rank else found)
    if not rank:
        np.testing.assert_array_equal(found, expected[order])
    targets = np.concatenate([y for _, y in data.eval_batches(dataset, RAW, 4, cache=cache)])
    np.testing.assert_array_equal(targets if not rank else targets[:, 1], expected)


def test_options_are_the_arguments_of_the_constructor(angles):
    for source, message in (
        (
            "angles:10?tragets=int32",
            "are targets=..., rank=..., .* 'tragets=int32'",
        ),
        ("angles:10?rank", "got 'rank'"),
        ("angles:10?rank=", "got 'rank='"),
        ("angles:10?rank=1&rank=1", "got 'rank=1'"),
        ("angles", "names no path; write angles:PATH"),
        ("angels:10", "'angels:10' is not known .did you mean angles"),
        ("digits:8", "'digits:8' takes no path; write 'digits'"),
    ):
        with pytest.raises(DataError, match=message):
            data.describe(source)


def test_data_dir_and_download_are_passed_where_they_are_arguments(registered):
    seen = []

    @data.register_source("seen")
    def open_seen(path="default", *, data_dir, download):
        seen.append((path, data_dir, download))
        return data.describe("digits")

    data.describe("seen", data_dir="/here")
    data.load("seen:there?", "train[:1]", data_dir="/here")
    assert seen == [("default", "/here", False), ("there?", "/here", True)]
    with pytest.raises(DataError, match="'cells:x' takes no path"):
        data.describe("cells:x", data_dir="/here")


def test_a_dataset_of_examples_is_taken_too(registered):
    @data.register_source("stream")
    class Stream(data.Source):
        splits = {"train": 6}

        def examples(self, split, start, stop):
            numbers = tf.data.Dataset.range(start, stop)
            return numbers.map(lambda n: tf.fill([4, 4, 3], tf.cast(n, tf.uint8)))

    assert [int(image[0, 0, 0]) for image in data.load("stream", "train[-2:]")] == [4, 5]
    assert data.describe("stream").image_shape == (4, 4, 3)


def test_other_classes_are_refused(registered):
    with pytest.raises(ArgumentError, match="word of lower-case letters, got 'No:'"):
        data.register_source("No:")
    with pytest.raises(ArgumentError, match=r"dict must be a subclass of keras_arch\.data\.Source"):
        data.register_source("dictionary")(dict)
    with pytest.raises(ArgumentError, match="data source named 'digits' is registered already"):
        data.register_source("digits")(type("Other", (data.Source,), {}))
    data.register_source("empty")(type("Empty", (data.Source,), {}))
    with pytest.raises(DataError, match=r"'empty' is not a keras_arch\.data\.Source with at least"):
        data.load("empty")


def test_class_numbers_are_needed_for_one_hot_labels(angles):
    for dataset, options in (
        (data.load("angles:10"), {"classes": 3}),
        (data.load("angles:10?targets=int32&rank=1"), {"classes": 3}),
        (data.load("angles:10"), {"classes": 3, "augment": ["mixup"]}),
    ):
        with pytest.raises(ArgumentError, match=r"with labels, one class number each; .* has"):
            data.train_batches(dataset, RAW, 5, seed=0, **options)


def test_an_installed_package_offers_a_source(tmp_path, monkeypatch, registered):
    (tmp_path / "stripes_package.py").write_text(
        "import numpy as np\n"
        "from keras_arch import data\n\n\n"
        "class Stripes(data.Source):\n"
        "    classes = ('rows', 'columns')\n"
        "    image_shape = (4, 4, 1)\n\n"
        "    def __init__(self, count):\n"
        "        self.splits = {'train': int(count)}\n\n"
        "    def examples(self, split, start, stop):\n"
        "        labels = np.arange(start, stop) % 2\n"
        "        return np.zeros((len(labels), 4, 4, 1), np.uint8), labels\n"
    )
    info = tmp_path / "stripes_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stripes_package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[keras_arch.sources]\nstripes = stripes_package:Stripes\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert data.describe("stripes:6").classes == ("rows", "columns")
    assert [int(label) for _, label in data.load("stripes:6", "train[50%:]")] == [1, 0, 1]
    with pytest.raises(DataError, match="did you mean stripes"):
        data.load("stripe:6")
