"""Order, draws, restarts and speed of the training pipeline; evaluation and means."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import data
from keras_arch.errors import ArgumentError, DataError
from keras_arch.preprocessing import Preprocessing

RAW = Preprocessing((4, 4), 1, scale=1.0)


def numbered(count, size=4):
    """Images whose pixels are their number, labelled by it."""
    images = np.empty((count, size, size, 1), np.uint8)
    images[:] = np.arange(count)[:, None, None, None] % 256
    return tf.data.Dataset.from_tensor_slices((images, np.arange(count)))


def taken(batches, count):
    """The first batches as arrays."""
    return [tuple(part.numpy() for part in batch) for batch in batches.dataset.take(count)]


@pytest.mark.parametrize("cache", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_an_epoch_is_a_permutation_and_epochs_differ(cache):
    batches = data.train_batches(numbered(50), RAW, 8, seed=3, cache=cache)
    assert (batches.steps_per_epoch, batches.examples) == (6, 50)
    epochs = np.concatenate([label for _, label in taken(batches, 18)]).reshape(3, 48)
    for epoch in epochs:
        assert len(set(epoch)) == 48
    assert not np.array_equal(epochs[0], epochs[1])
    # Another seed gives another order; the same one gives the same.
    again, other = (data.train_batches(numbered(50), RAW, 8, seed=s, cache=cache) for s in (3, 4))
    labels = np.concatenate([label for _, label in taken(again, 6)])
    np.testing.assert_array_equal(labels, epochs[0])
    assert not np.array_equal(np.concatenate([x for _, x in taken(other, 6)]), epochs[0])


@pytest.mark.slow
def test_every_image_comes_first_equally_often():
    batches = data.train_batches(numbered(5), RAW, 5, seed=0)
    first = np.array([label for _, label in taken(batches, 2000)])
    counts = np.array([[(first[:, p] == i).sum() for i in range(5)] for p in range(5)])
    # 400 expected, standard deviation 18.
    assert np.abs(counts - 400).max() < 90


def test_images_stay_with_their_labels():
    batches = data.train_batches(numbered(200), RAW, 16, seed=1)
    for images, labels in taken(batches, 12):
        np.testing.assert_array_equal(
            images, np.broadcast_to(labels[:, None, None, None], images.shape)
        )


@settings(deadline=None, max_examples=5)
@given(
    epoch=st.integers(0, 2),
    step=st.integers(0, 4),
    cache=st.booleans(),
    labelled=st.booleans(),
    seed=st.integers(0, 2**63 - 1),
)
def test_a_restart_continues_bit_by_bit(epoch, step, cache, labelled, seed):
    dataset = numbered(20) if labelled else numbered(20).map(lambda image, label: image)
    options = {"seed": seed, "augment": ["crop:2", "flip"], "cache": cache}
    whole = data.train_batches(dataset, RAW, 5, **options)
    rest = data.train_batches(dataset, RAW, 5, start_epoch=epoch, start_step=step, **options)
    expected = [tf.nest.map_structure(lambda x: x.numpy(), b) for b in whole.dataset.take(20)]
    position = epoch * whole.steps_per_epoch + step
    for got, wanted in zip(rest.dataset, expected[position:], strict=False):
        tf.nest.map_structure(np.testing.assert_array_equal, got, wanted)


def test_the_global_seed_changes_nothing():
    orders = []
    for global_seed in (1, 2):
        tf.random.set_seed(global_seed)
        for cache in (True, False):
            batches = data.train_batches(
                numbered(50), RAW, 8, seed=3, augment=["flip"], cache=cache
            )
            orders.append(np.concatenate([label for _, label in taken(batches, 6)]))
    np.testing.assert_array_equal(orders[0], orders[2])
    np.testing.assert_array_equal(orders[1], orders[3])


_PROCESS = """
import hashlib, json, sys
import tensorflow as tf
tf.config.threading.set_inter_op_parallelism_threads(int(sys.argv[1]))
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
if sys.argv[2] == "yes":
    tf.config.experimental.enable_op_determinism()
from keras_arch import data
from keras_arch.preprocessing import Preprocessing
to_input = Preprocessing((16, 16), 1, "bicubic", mean=0.3)
found = []
for cache in (True, False):
    batches = data.train_batches(
        data.load("digits"), to_input, 64, seed=5, augment=["crop:2", "flip"], start_step=20,
        cache=cache,
    )
    digest = hashlib.sha256()
    for images, labels in batches.dataset.take(30):
        digest.update(images.numpy().tobytes() + labels.numpy().tobytes())
    found.append(digest.hexdigest())
print(json.dumps(found))
"""


@pytest.mark.slow
def test_threads_and_deterministic_ops_change_no_bit():
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, str(threads), deterministic],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for threads, deterministic in ((1, "no"), (4, "yes"))
    ]
    found = []
    for process in processes:
        printed, errors = process.communicate()
        assert process.returncode == 0, errors[-3000:]
        found.append(json.loads(printed.splitlines()[-1]))
    assert found[0] == found[1]


def test_images_are_read_once_when_cached():
    reads = []

    def note(image, label):
        tf.py_function(lambda: reads.append(1), [], [])
        return image, label

    batches = data.train_batches(numbered(40).map(note), RAW, 8, seed=0)
    taken(batches, 17)
    taken(batches, 3)
    assert len(reads) == 40
    test = data.eval_batches(numbered(40).map(note), RAW, 8)
    assert sum(len(labels) for _ in range(2) for _, labels in test) == 80
    assert len(reads) == 80


def test_a_restart_decodes_nothing_that_it_skips():
    """Starting 10,000 steps in is as quick as starting at 0: nothing is drawn for the past."""
    batches = data.train_batches(numbered(20000), RAW, 2, seed=0, start_epoch=7, start_step=9990)
    got = [label for _, label in taken(batches, 12)]
    whole = data.train_batches(numbered(20000), RAW, 2, seed=0, start_epoch=8)
    np.testing.assert_array_equal(got[10:], [label for _, label in taken(whole, 2)])


def test_shapes_are_static_and_the_pipeline_has_no_end():
    dataset = data.train_batches(numbered(20), RAW, 5, seed=0, augment=["crop:1", "flip"]).dataset
    images, labels = dataset.element_spec
    assert images == tf.TensorSpec((5, 4, 4, 1), tf.float32)
    assert labels == tf.TensorSpec((5,), tf.int64)
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    sharing = dataset.options().experimental_distribute.auto_shard_policy
    assert sharing == tf.data.experimental.AutoShardPolicy.DATA


def test_images_of_several_sizes_are_brought_to_one():
    def images():
        for side in (3, 4, 5, 9):
            yield np.full((side, side, 3), 60, np.uint8)

    dataset = tf.data.Dataset.from_generator(
        images, output_signature=tf.TensorSpec((None, None, 3), tf.uint8)
    )
    batches = data.train_batches(dataset, RAW, 2, seed=0)
    assert batches.examples == 4
    for batch in batches.dataset.take(2):
        np.testing.assert_allclose(batch, 60, rtol=1e-6)


@pytest.mark.parametrize("cache", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_mirrored_strategy_splits_the_batches_in_order(cache, two_replicas):
    batches = data.train_batches(numbered(50), RAW, 8, seed=3, augment=["crop:1"], cache=cache)
    split = iter(two_replicas.experimental_distribute_dataset(batches.dataset))
    for batch in batches.dataset.take(14):
        for whole, part in zip(batch, next(split), strict=True):
            pieces = two_replicas.experimental_local_results(part)
            assert [len(piece) for piece in pieces] == [4, 4]
            np.testing.assert_array_equal(np.concatenate(pieces), whole)
    # The last batch of an evaluation is smaller and reaches the replicas all the same.
    test = data.eval_batches(numbered(50), RAW, 8, cache=cache)
    seen = [
        piece.numpy()
        for _, labels in two_replicas.experimental_distribute_dataset(test)
        for piece in two_replicas.experimental_local_results(labels)
    ]
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(50))


@pytest.mark.slow
def test_fit_under_a_mirrored_strategy_takes_the_batches(two_replicas):
    with two_replicas.scope():
        model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(50)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    scaled = Preprocessing((4, 4), 1)
    batches = data.train_batches(numbered(50), scaled, 8, seed=3)
    assert batches.steps_per_epoch == 6
    history = model.fit(
        batches.dataset,
        steps_per_epoch=batches.steps_per_epoch,
        epochs=2,
        validation_data=data.eval_batches(numbered(50), scaled, 8),
        verbose=0,
    )
    assert np.isfinite(history.history["val_loss"]).all()


@pytest.mark.parametrize("cache", [True, False])
def test_evaluation_keeps_order_and_the_last_partial_batch(cache):
    test = data.eval_batches(numbered(21), RAW, 8, cache=cache)
    assert int(test.cardinality()) == 3
    assert test.element_spec[0].shape.as_list() == [None, 4, 4, 1]
    for _ in range(2):
        labels = [label.numpy() for _, label in test]
        assert [len(label) for label in labels] == [8, 8, 5]
        np.testing.assert_array_equal(np.concatenate(labels), np.arange(21))
    alone = data.eval_batches(numbered(5).map(lambda image, _: image), RAW, 8, cache=cache)
    (images,) = list(alone)
    assert images.numpy()[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_training_images_equal_the_preprocessed_ones():
    to_input = Preprocessing(
        (8, 8), 3, "bicubic", mean=[0.1, 0.2, 0.3], std=0.5, channel_order="bgr"
    )
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 7, 1), dtype=np.uint8)
    dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(6)))
    expected = to_input(images).numpy()
    ((got, _),) = list(data.eval_batches(dataset, to_input, 6))
    np.testing.assert_allclose(got, expected, atol=1e-6)
    ((got, order),) = taken(data.train_batches(dataset, to_input, 6, seed=0), 1)
    np.testing.assert_allclose(got, expected[order], atol=1e-6)


@settings(deadline=None, max_examples=10)
@given(count=st.integers(1, 300), per_pixel=st.booleans(), order=st.sampled_from(["rgb", "bgr"]))
def test_the_mean_image_is_the_mean(count, per_pixel, order):
    images = np.random.default_rng(count).integers(0, 256, (count, 3, 5, 3), dtype=np.uint8)
    # Neither the mean nor the std that is there already has a say.
    to_input = Preprocessing((3, 5), 3, mean=0.7, std=0.1, channel_order=order)
    mean = data.mean_image(tf.data.Dataset.from_tensor_slices(images), to_input, per_pixel)
    ordered = images[..., ::-1] if order == "bgr" else images
    expected = (ordered / 255).mean(axis=0 if per_pixel else (0, 1, 2))
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, expected, atol=1e-6)


def test_the_mean_of_numbers_is_known():
    # The mean of 0..n-1 is (n - 1) / 2.
    mean = data.mean_image(numbered(101), RAW, per_pixel=True)
    np.testing.assert_allclose(mean, np.full((4, 4, 1), 50.0))
    with pytest.raises(DataError, match="holds no image"):
        data.mean_image(numbered(3).take(0), RAW, per_pixel=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 21}, "holds 20 images, fewer than one batch of 21"),
        ({"batch_size": 0}, "batch_size must be a positive whole number, got 0"),
        ({"seed": -1}, "seed must be a whole number from 0 to 2[*]{2}63 - 1, got -1"),
        ({"seed": 2**63}, "seed must be"),
        ({"start_step": 6}, "epoch 0, step 6: an epoch has 5 steps"),
        ({"start_epoch": -1}, "epoch -1"),
        (
            {"augment": ["cutout"]},
            r"no augmentation named 'cutout'; there are crop:4, flip, .* and \w+:",
        ),
    ],
)
def test_wrong_arguments_are_named_in_one_line(options, message):
    arguments = {"batch_size": 4, "seed": 0} | options
    with pytest.raises((ArgumentError, DataError), match=message) as caught:
        data.train_batches(numbered(20), RAW, **arguments)
    assert "\n" not in str(caught.value)


def test_data_sets_of_another_kind_are_refused():
    with pytest.raises(DataError, match="has no end"):
        data.train_batches(numbered(20).repeat(), RAW, 4, seed=0)
    with pytest.raises(DataError, match=r"must hold image, \(image, label\) or \(image, target\)"):
        data.train_batches(numbered(20).map(lambda x, y: {"image": x}), RAW, 4, seed=0)
    with pytest.raises(ArgumentError, match="batch_size must be a positive whole number, got 0"):
        data.eval_batches(numbered(20), RAW, 0)


def test_a_cache_larger_than_the_memory_is_refused_before_reading():
    huge = Preprocessing((100_000, 100_000), 3)
    with pytest.raises(DataError, match=r"20 images need 22\d\d GiB.*set cache to false"):
        data.train_batches(numbered(20), huge, 4, seed=0)
