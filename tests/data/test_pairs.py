"""Pairs of images and two unpaired domains: files, order, draws, restarts."""

import tarfile

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_arch import data
from keras_arch.errors import ArgumentError, DataError
from keras_arch.preprocessing import Preprocessing
from tests.data.broken import refused, write_damaged_png

RAW = Preprocessing((4, 4), 1, scale=1.0)
COLOUR = Preprocessing((4, 4), 3, scale=1.0)


def save(path, left, right=None, size=(4, 4), mode="RGB"):
    """An image file of one grey value, or of two side by side; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    pixels = np.full((height, width), left, np.uint8)
    if right is not None:
        pixels = np.hstack([pixels, np.full((height, width), right, np.uint8)])
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def joined(tmp_path):
    """Pairs in one file: left n, right 100 + n."""
    for split, count in (("train", 5), ("test", 2)):
        for number in range(count):
            save(tmp_path / "joined" / split / f"{number}.png", number, 100 + number)
    return tmp_path / "joined"


@pytest.fixture
def domains(tmp_path):
    """Five images of values 0..4 in A and three of 100..102 in B, of another size."""
    for split, counts in (("train", (5, 3)), ("test", (1, 2))):
        for number in range(counts[0]):
            save(tmp_path / "domains" / f"{split}A" / f"{number}.png", number)
        for number in range(counts[1]):
            save(tmp_path / "domains" / f"{split}B" / f"{number}.bmp", 100 + number, size=(6, 8))
    return tmp_path / "domains"


def values(dataset):
    """The first pixel of both images of each element."""
    return [tuple(int(image[0, 0, 0]) for image in element) for element in dataset]


def taken(batches, count):
    """The first batches as arrays."""
    return [tuple(part.numpy() for part in batch) for batch in batches.dataset.take(count)]


def numbered(count, size=4, offset=0):
    """Images whose pixels are their number."""
    images = np.empty((count, size, size, 1), np.uint8)
    images[:] = np.arange(offset, offset + count)[:, None, None, None]
    return tf.data.Dataset.from_tensor_slices(images)


def textured(count, size=8, channels=3, seed=0):
    """Images of noise, no window of which is like another."""
    shape = (count, size, size, channels)
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return tf.data.Dataset.from_tensor_slices(images)


# ---- pairs in files


def test_the_left_half_is_the_input_by_default(joined):
    source = data.describe(f"pairs:{joined}")
    assert (source.kind, source.classes) == ("pairs", None)
    assert source.splits == {"train": 5, "test": 2}
    assert source.image_shape == source.other_shape == (4, 4, 3)
    pairs = data.load(f"pairs:{joined}")
    assert int(pairs.cardinality()) == 5
    assert [spec.dtype for spec in pairs.element_spec] == [tf.uint8, tf.uint8]
    assert [spec.shape for spec in pairs.element_spec] == [(4, 4, 3), (4, 4, 3)]
    assert values(pairs) == [(n, 100 + n) for n in range(5)]
    assert values(data.load(f"pairs:{joined}?direction=AtoB")) == values(pairs)
    assert values(data.load(f"pairs:{joined}?direction=BtoA", "test+train[:1]")) == [
        (100, 0),
        (101, 1),
        (100, 0),
    ]


def test_halves_are_cut_at_the_pixel_and_keep_their_content(tmp_path):
    whole = np.random.default_rng(0).integers(0, 256, (5, 14, 3), dtype=np.uint8)
    Image.fromarray(whole).save(tmp_path / "1.png")
    ((left, right),) = list(data.load(f"pairs:{tmp_path}"))
    np.testing.assert_array_equal(left, whole[:, :7])
    np.testing.assert_array_equal(right, whole[:, 7:])


def test_two_folders_of_equal_names(tmp_path):
    for split in ("train", "val"):
        for number in (10, 9):
            save(tmp_path / split / "A" / f"{number}.bmp", number, size=(6, 3), mode="L")
            save(tmp_path / split / "B" / f"{number}.png", 100 + number, size=(6, 3))
    source = data.describe(f"pairs:{tmp_path}?direction=BtoA")
    assert source.splits == {"train": 2, "val": 2}
    assert (source.image_shape, source.other_shape) == ((3, 6, 3), (3, 6, 1))
    assert values(data.load(f"pairs:{tmp_path}")) == [(9, 109), (10, 110)]
    assert values(data.load(f"pairs:{tmp_path}?direction=BtoA", "val")) == [(109, 9), (110, 10)]
    assert values(data.load(f"pairs:{tmp_path / 'val'}", "train[1:]")) == [(10, 110)]


def test_pairs_of_several_sizes_load_and_are_brought_to_one(tmp_path):
    save(tmp_path / "1.png", 1, 2, size=(4, 4))
    save(tmp_path / "2.png", 3, 4, size=(7, 5))
    assert data.describe(f"pairs:{tmp_path}").image_shape == (None, None, 3)
    pairs = data.load(f"pairs:{tmp_path}")
    assert [(image.shape, target.shape) for image, target in pairs] == [
        ((4, 4, 3), (4, 4, 3)),
        ((5, 7, 3), (5, 7, 3)),
    ]
    ((images, targets),) = list(data.eval_batches(pairs, RAW, 2))
    np.testing.assert_allclose(images[:, 0, 0, 0], [1, 3], rtol=1e-6)
    np.testing.assert_allclose(targets[:, 0, 0, 0], [2, 4], rtol=1e-6)


def test_a_folder_with_a_question_mark_opens(tmp_path):
    save(tmp_path / "what?" / "1.png", 1, 2)
    assert values(data.load(f"pairs:{tmp_path}/what?")) == [(1, 2)]
    assert values(data.load(f"pairs:{tmp_path}/what??direction=BtoA")) == [(2, 1)]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: save(p / "train" / "odd.png", 0, size=(7, 4)), "odd.png is 7 pixels wide"),
        (lambda p: (p / "train" / "x.jpg").write_text("x"), "x.jpg is no image that can be read"),
        (lambda p: (p / "val").mkdir(), "val holds no image"),
        (lambda p: save(p / "extra" / "1.png", 0), "holds folders of splits and also .*extra"),
        (lambda p: save(p / "1.png", 0), "holds folders of splits and also .*1.png"),
        (lambda p: save(p / "train" / "A" / "1.png", 0), "two folders named A and B; .* are A"),
        (lambda p: save(p / "train" / "cat" / "1.png", 0), "its folders are cat"),
        (
            lambda p: [save(p / "val" / side / "1.png", 0) for side in "AB"],
            "pairs in one file and pairs in two folders",
        ),
    ],
)
def test_spoilt_folders_of_pairs_are_named(joined, spoil, message):
    spoil(joined)
    with pytest.raises(DataError, match=message) as caught:
        data.load(f"pairs:{joined}")
    assert "\n" not in str(caught.value)


def test_a_damaged_pair_is_named_before_training(joined):
    bad = joined / "train" / "bad.png"
    write_damaged_png(bad)
    assert f"{bad} is damaged" in refused(f"pairs:{joined}")


def test_folders_that_do_not_match_are_errors(tmp_path):
    for number in range(6):
        save(tmp_path / "A" / f"{number}.png", 0)
    save(tmp_path / "B" / "5.png", 0)
    message = refused(f"pairs:{tmp_path}")
    assert f"5 of the 6 images in {tmp_path / 'A'} have no image of the same name" in message
    assert message.endswith(
        "0.png, " + str(tmp_path / "A" / "1.png") + f", {tmp_path}/A/2.png, ..."
    )
    for number in range(5):
        save(tmp_path / "B" / f"{number}.png", 0)
    save(tmp_path / "B" / "stray.png", 0)
    assert "1 of the 7 images in" in refused(f"pairs:{tmp_path}")
    (tmp_path / "B" / "stray.png").unlink()
    save(tmp_path / "B" / "5.bmp", 0)
    assert "5.bmp and " in refused(f"pairs:{tmp_path}")
    (tmp_path / "B" / "5.bmp").unlink()
    save(tmp_path / "B" / "3.png", 0, size=(4, 5))
    message = refused(f"pairs:{tmp_path}")
    assert f"{tmp_path / 'A' / '3.png'} has 4x4 pixels and" in message
    assert "3.png has 4x5; the two images of a pair must be of one size" in message
    save(tmp_path / "loose.png", 0)
    assert "both folders A and B and images such as loose.png" in refused(f"pairs:{tmp_path}")
    (tmp_path / "loose.png").unlink()
    for file in (tmp_path / "B").iterdir():
        file.unlink()
    assert f"{tmp_path / 'B'} holds no image" in refused(f"pairs:{tmp_path}")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("pairs:", "names no path; write pairs:PATH"),
        ("pairs:?direction=BtoA", "names no path; write pairs:PATH"),
        ("pairs:/no/such", "there is no /no/such"),
        ("pairs:/no/such?direction=BtoA", "there is no /no/such"),
        ("pairs:/no?direction=right", "direction=AtoB or direction=BtoA, got 'direction=right'"),
        ("pairs:/no?BtoA", "got 'BtoA'"),
        ("unpaired:", "names no path; write unpaired:PATH"),
        ("unpaired:/no/such", "there is no /no/such"),
        ("unpaired:/no?way=AtoB", "got 'way=AtoB'"),
        ("unpaired:pairs:/no?way=AtoB", "got 'way=AtoB'"),
        ("unpaired:tfds:no such", "'no such' is not known"),
        (f"pairs:{__file__}", "is not a folder"),
        (f"unpaired:{__file__}", "is not a folder"),
        ("pair:/no", "did you mean pairs?"),
    ],
)
def test_wrong_sources_are_errors(source, message):
    assert message in refused(source)


def test_the_facades_are_photos_left_and_labels_right(facades_tar, tmp_path):
    with tarfile.open(facades_tar) as tar:
        members = [m for m in tar if m.name.startswith(("facades/val/", "facades/test/"))]
        members = [m for m in members if m.name.endswith(("/1.jpg", "/2.jpg", "/30.jpg"))]
        tar.extractall(tmp_path, members, filter="data")
    source = f"pairs:{tmp_path / 'facades'}?direction=BtoA"
    assert data.describe(source).splits == {"test": 3, "val": 3}
    assert data.describe(source).image_shape == (256, 256, 3)
    for labels, photo in data.load(source, "val+test"):
        # Label pictures are flat: neighbours are mostly nearly equal; in photos they are not.
        flat = [
            np.mean(np.abs(np.diff(i.numpy().astype(int), axis=1)) < 3) for i in (labels, photo)
        ]
        assert flat[0] > flat[1]
        assert flat[0] > 0.6


# ---- pairs in training


@pytest.mark.parametrize("cache", [True, False])
def test_pairs_stay_together(cache):
    pairs = tf.data.Dataset.zip((numbered(50), numbered(50, offset=100)))
    batches = data.train_batches(pairs, RAW, 8, seed=3, cache=cache)
    assert (batches.steps_per_epoch, batches.examples) == (6, 50)
    assert [spec.shape for spec in batches.dataset.element_spec] == [(8, 4, 4, 1)] * 2
    got = taken(batches, 12)
    for images, targets in got:
        np.testing.assert_array_equal(images + 100, targets)
    first = np.concatenate([images[:, 0, 0, 0] for images, _ in got]).reshape(2, 48)
    assert [len(set(epoch)) for epoch in first] == [48, 48]
    assert not np.array_equal(*first)


@pytest.mark.parametrize("cache", [pytest.param(True, marks=pytest.mark.slow), False])
def test_both_images_of_a_pair_are_changed_alike(cache):
    same = textured(9).map(lambda image: (image, image))
    augment = ["jitter:3", "crop:2", "flip"]
    batches = data.train_batches(same, COLOUR, 3, seed=5, augment=augment, cache=cache)
    for images, targets in taken(batches, 6):
        np.testing.assert_array_equal(images, targets)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**62),
    size=st.tuples(st.integers(5, 12), st.integers(5, 12)),
    channels=st.tuples(st.sampled_from([1, 3]), st.sampled_from([1, 3])),
    change=st.sampled_from([data.RandomJitter(4), data.RandomCrop(3), data.RandomFlip()]),
)
def test_one_seed_draws_one_change_for_any_channels(seed, size, channels, change):
    base = np.random.default_rng(seed).uniform(1, 2, (3, *size, 1)).astype(np.float32)
    images, targets = (change(np.repeat(base, count, -1), [seed, 1]) for count in channels)
    np.testing.assert_array_equal(images[..., 0], targets[..., -1])


def test_unpaired_images_are_changed_independently():
    one = textured(1, size=12)
    size = Preprocessing((12, 12), 3, scale=1.0)
    batches = data.train_batches(data.Unpaired(one, one), size, 1, seed=0, augment=["flip"])
    same = [np.array_equal(*batch) for batch in taken(batches, 400)]
    # A flip agrees by chance in half of the draws: 200, standard deviation 10.
    assert 150 < sum(same) < 250


@pytest.mark.parametrize("cache", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_jitter_cuts_every_window_of_the_enlarged_image(cache):
    to_input = Preprocessing((6, 5), 3, "bicubic", scale=1 / 127.5, mean=1.0)
    enlarged = Preprocessing((8, 7), 3, "bicubic").fit(next(iter(textured(1))))
    # As image libraries do, the enlarged image is rounded to whole pixels.
    enlarged = np.rint(enlarged.numpy()) / np.float32(127.5) - 1
    windows = [enlarged[y : y + 6, x : x + 5] for y in range(3) for x in range(3)]
    batches = data.train_batches(
        textured(1), to_input, 1, seed=4, augment=["jitter:2"], cache=cache
    )
    counts = np.zeros(9, int)
    for image in batches.dataset.take(270):
        counts += [np.allclose(image[0], window, atol=1e-6) for window in windows]
    assert counts.sum() == 270
    # 30 expected at each of 9 places, standard deviation 5: nothing is frozen.
    assert counts.min() > 8
    assert counts.max() < 56


def test_jitter_keeps_labels_and_a_mean_for_every_pixel():
    images = textured(6).map(lambda image: (image, 7))
    mean = np.full((8, 8, 3), 100.0).tolist()
    to_input = Preprocessing((8, 8), 3, scale=1.0, mean=mean)
    plain = data.train_batches(
        images, Preprocessing((8, 8), 3, scale=1.0), 6, seed=0, augment=["jitter"]
    )
    ((centred, labels),) = taken(
        data.train_batches(images, to_input, 6, seed=0, augment=["jitter"]), 1
    )
    np.testing.assert_array_equal(centred + 100, taken(plain, 1)[0][0])
    assert labels.tolist() == [7] * 6


def test_a_target_may_be_of_other_channels_and_scale():
    pairs = tf.data.Dataset.zip((textured(4), numbered(4, size=8)))
    to_input = Preprocessing((4, 4), 1, scale=1.0)
    to_target = Preprocessing((4, 4), 3, scale=2.0)
    batches = data.train_batches(
        pairs, to_input, 2, seed=0, augment=["flip"], target_preprocessing=to_target
    )
    assert [spec.shape for spec in batches.dataset.element_spec] == [(2, 4, 4, 1), (2, 4, 4, 3)]
    test = data.eval_batches(pairs, to_input, 4, target_preprocessing=to_target)
    ((images, targets),) = list(test)
    assert (images.shape, targets.shape) == ((4, 4, 4, 1), (4, 4, 4, 3))
    np.testing.assert_allclose(targets[:, 0, 0, 2], [0, 2, 4, 6], rtol=1e-6)


@pytest.mark.parametrize(
    ("epoch", "step", "cache", "unpaired"),
    [
        (1, 3, False, True),
        *(
            pytest.param(*p, marks=pytest.mark.slow)
            for p in ((1, 2, True, False), (0, 3, True, True))
        ),
    ],
)
def test_a_restart_continues_bit_by_bit(epoch, step, cache, unpaired):
    first, second = textured(13), textured(5 if unpaired else 13, seed=1)
    dataset = data.Unpaired(first, second) if unpaired else tf.data.Dataset.zip((first, second))
    options = {"seed": 2**62 + 1, "augment": ["jitter:2", "flip"], "cache": cache}
    whole = data.train_batches(dataset, COLOUR, 3, **options)
    rest = data.train_batches(dataset, COLOUR, 3, start_epoch=epoch, start_step=step, **options)
    position = epoch * whole.steps_per_epoch + step
    expected = taken(whole, position + 5)[position:]
    for got, wanted in zip(taken(rest, 5), expected, strict=True):
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


# ---- two domains


def test_two_domains_in_folders(domains):
    source = data.describe(f"unpaired:{domains}")
    assert (source.kind, source.classes) == ("unpaired", None)
    assert source.splits == {"train": 5, "test": 2}
    assert (source.image_shape, source.other_shape) == ((4, 4, 3), (8, 6, 3))
    both = data.load(f"unpaired:{domains}")
    assert values(both) == [(0, 100), (1, 101), (2, 102), (3, 100), (4, 101)]
    assert [spec.shape for spec in both.element_spec] == [(4, 4, 3), (8, 6, 3)]
    assert values(both.take(2)) == [(0, 100), (1, 101)]
    assert values(data.load(f"unpaired:{domains}?direction=BtoA", "test")) == [(100, 0), (101, 0)]
    # A slice is one of each domain.
    assert values(data.load(f"unpaired:{domains}", "train[-1:]+test[:1]")) == [(4, 102), (0, 100)]
    message = refused(f"unpaired:{domains}", "train[:4]")
    assert f"{domains / 'trainB'}" in message
    assert "goes beyond 3" in message


def test_the_halves_of_pairs_as_two_domains(joined):
    both = data.load(f"unpaired:pairs:{joined}?direction=BtoA")
    assert data.describe(f"unpaired:pairs:{joined}").kind == "unpaired"
    assert values(both) == [(100 + n, n) for n in range(5)]
    drawn = taken(data.train_batches(both, RAW, 5, seed=0), 1)[0]
    drawn = [column[:, 0, 0, 0].astype(int) for column in drawn]
    assert sorted(drawn[0]) == [100, 101, 102, 103, 104]
    assert sorted(drawn[1]) == [0, 1, 2, 3, 4]
    assert not np.array_equal(drawn[0] - 100, drawn[1])


def test_domains_of_a_tfds_set(tmp_path):
    import tensorflow_datasets as tfds

    def part(count, value):
        images = numbered(count, offset=value).map(tf.image.grayscale_to_rgb)
        return images.map(lambda image: {"image": image, "label": np.int64(value > 0)})

    tfds.dataset_builders.store_as_tfds_dataset(
        name="cycle_gan",
        config="horse2zebra",
        version="3.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=["A", "B"]),
            }
        ),
        split_datasets={"trainA": part(3, 0), "trainB": part(2, 100), "testA": part(1, 0)},
        data_dir=tmp_path,
        disable_shuffling=True,
    )
    source = "unpaired:tfds:cycle_gan/horse2zebra"
    assert data.describe(source, data_dir=tmp_path).splits == {"train": 3}
    both = data.load(source, data_dir=tmp_path)
    assert values(both) == [(0, 100), (1, 101), (2, 100)]
    turned = data.load(f"{source}?direction=BtoA", data_dir=tmp_path)
    assert values(turned.take(1)) == [(100, 0)]


def test_tfds_sets_of_one_domain_are_errors(tfds_dir):
    with pytest.raises(DataError, match=r"has the splits .*; two domains need splits such as"):
        data.load("unpaired:tfds:mnist", data_dir=tfds_dir)


@pytest.mark.parametrize(
    ("cache", "swap"),
    [
        (True, False),
        (False, True),
        *(pytest.param(both, both, marks=pytest.mark.slow) for both in (True, False)),
    ],
)
def test_an_epoch_goes_over_the_larger_domain(cache, swap):
    large, small = numbered(17), numbered(5, offset=100)
    both = data.Unpaired(small, large) if swap else data.Unpaired(large, small)
    batches = data.train_batches(both, RAW, 3, seed=1, cache=cache)
    assert (batches.steps_per_epoch, batches.examples) == (5, 17)
    columns = [
        np.concatenate(column)[:, 0, 0, 0] for column in zip(*taken(batches, 10), strict=True)
    ]
    large, small = (column.reshape(2, 15).astype(int) for column in columns[:: -1 if swap else 1])
    for epoch in range(2):
        assert len(set(large[epoch])) == 15
        # The smaller one is through three times, each time in another order.
        rounds = small[epoch].reshape(3, 5)
        assert (np.sort(rounds, axis=1) == np.arange(100, 105)).all()
        assert len({tuple(order) for order in rounds}) > 1
    assert not np.array_equal(small[0], small[1])
    assert not np.array_equal(large[0], large[1])


def test_every_image_is_paired_with_every_other():
    batches = data.train_batches(
        data.Unpaired(numbered(3), numbered(2, offset=100)), RAW, 1, seed=0
    )
    met = np.zeros((3, 2), int)
    for images, others in taken(batches, 600):
        met[int(images[0, 0, 0, 0]), int(others[0, 0, 0, 0]) - 100] += 1
    # 100 expected of each pair, standard deviation 9.
    assert np.abs(met - 100).max() < 45


@pytest.mark.parametrize("cache", [True, False])
def test_evaluation_of_two_domains_repeats_the_smaller(cache):
    both = data.Unpaired(numbered(5), numbered(2, offset=100))
    batches = list(data.eval_batches(both, RAW, 2, cache=cache))
    assert [(len(images), len(others)) for images, others in batches] == [(2, 2), (2, 2), (1, 1)]
    others = np.concatenate([others[:, 0, 0, 0] for _, others in batches])
    np.testing.assert_array_equal(others, [100, 101, 100, 101, 100])


def test_a_domain_without_images_has_no_pictures():
    with pytest.raises(DataError, match="holds no image in one domain"):
        data.eval_batches(data.Unpaired(numbered(5), numbered(5).take(0)), RAW, 2)


def test_domains_of_several_sizes_and_channels_are_brought_to_one():
    both = data.Unpaired(textured(3, size=9), numbered(2, size=5))
    ((images, others),) = taken(data.train_batches(both, COLOUR, 3, seed=0, augment=["flip"]), 1)
    assert images.shape == others.shape == (3, 4, 4, 3)
    mean = data.mean_image(both, COLOUR, per_pixel=False)
    expected = np.mean([COLOUR(image) for image in textured(3, size=9)], axis=(0, 1, 2))
    np.testing.assert_allclose(mean, expected, rtol=1e-5)


def test_folders_of_domains_that_are_missing_or_empty_are_errors(domains, joined):
    message = refused(f"unpaired:{joined}")
    assert "no folders trainA and trainB (testA, testB, ...); for pairs" in message
    assert f"write unpaired:pairs:{joined}" in message
    (domains / "valB").mkdir()
    assert "has a folder valB but no valA" in refused(f"unpaired:{domains}")
    (domains / "valA").mkdir()
    assert f"{domains / 'valA'} holds no image" in refused(f"unpaired:{domains}")
    (domains / "valA" / "x.png").write_text("x")
    save(domains / "valB" / "1.png", 0)
    assert "x.png is no image that can be read" in refused(f"unpaired:{domains}")


def test_arguments_that_do_not_fit_together_are_refused():
    pairs = tf.data.Dataset.zip((numbered(4), numbered(4)))
    labelled = numbered(4).map(lambda image: (image, 1))
    other = Preprocessing((5, 4), 1)
    cases = [
        (labelled, {"target_preprocessing": RAW}, "target_preprocessing is for pairs"),
        (numbered(4), {"target_preprocessing": RAW}, "target_preprocessing is for pairs"),
        (pairs, {"target_preprocessing": other, "augment": ["flip"]}, "needs one size"),
        (pairs, {"augment": ["flip", "jitter:3"]}, "augment must begin with jitter"),
        (pairs, {"augment": ["jitter:3", "jitter"]}, "augment must begin with jitter"),
        (pairs, {"augment": ["jitter:0"]}, "pixels must be a positive whole number, got 0"),
        (data.Unpaired(numbered(4), numbered(4).take(0)), {}, "holds no image in one domain"),
        (data.Unpaired(numbered(4), numbered(4).repeat()), {}, "has no end"),
    ]
    for dataset, options, message in cases:
        with pytest.raises((ArgumentError, DataError), match=message) as caught:
            data.train_batches(dataset, RAW, 2, seed=0, **options)
        assert "\n" not in str(caught.value)
    for wrong in (labelled, pairs, None, [1]):
        with pytest.raises(DataError, match="domain 'other' must be a data set of images alone"):
            data.Unpaired(numbered(4), wrong)
    huge = Preprocessing((100_000, 100_000), 3)
    with pytest.raises(DataError, match=r"8 images need 894 GiB.*set cache to false"):
        data.train_batches(pairs, huge, 2, seed=0)
