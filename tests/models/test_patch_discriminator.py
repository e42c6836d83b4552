import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import models
from keras_arch.errors import ArgumentError
from tests.models.tester import Case, ModelTester

WRONG = (
    ({"receptive_field": 71}, "1, 16, 34, 70, 142 or 286"),
    ({"input_shape": (32, 11, 3)}, "at least 12 pixels a side, got 32x11; at this size there is 1"),
    ({"input_shape": (32, 32)}, "height, width, channels"),
    ({"target_channels": 0}, "target_channels"),
    ({"filters": 0}, "filters"),
    ({"norm": "spectral"}, "'spectral'"),
)
SMALL = {"receptive_field": 34, "input_shape": (32, 24, 3), "filters": 2, "target_channels": None}
CASES = [
    Case("PatchDiscriminator", SMALL, (6, 4, 1), wrong=WRONG),
    Case("PatchDiscriminator", SMALL | {"norm": "instance"}, (6, 4, 1)),
    Case("PatchDiscriminator", SMALL | {"norm": "layer"}, (6, 4, 1)),
    Case("PatchDiscriminator", SMALL | {"norm": None}, (6, 4, 1)),
    Case("PatchDiscriminator", SMALL | {"receptive_field": 1, "target_channels": 1}, (32, 24, 1)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestPatchDiscriminator(ModelTester):
    pass


@pytest.mark.parametrize("field", [1, 16, 34, 70, 142, 286])
def test_receptive_field_is_the_support_of_a_logits_gradient(field):
    strided = {1: 0, 16: 1, 34: 2, 70: 3, 142: 4, 286: 5}[field]
    size = 12 * 2**strided
    model = models.PatchDiscriminator(
        field, input_shape=(size, size, 1), target_channels=None, filters=1
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            # Positive kernels: no two ways to a logit cancel.
            layer.set_weights([np.full(w.shape, 1 / w.shape[0] ** 2) for w in layer.weights])
    image = tf.ones((1, size, size, 1))
    with tf.GradientTape() as tape:
        tape.watch(image)
        # With fixed statistics: those of the batch would let every pixel reach every logit.
        logits = model(image, training=False)
        middle = logits[0, logits.shape[1] // 2, logits.shape[2] // 2, 0]
    rows, columns = np.nonzero(tape.gradient(middle, image)[0, ..., 0])
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == field
    assert len(rows) == field**2
    assert models.receptive_field(model) == field


@given(
    strided=st.integers(1, 4),
    height=st.integers(6, 70),
    width=st.integers(6, 70),
    target=st.sampled_from([None, 2]),
)
@settings(max_examples=12, deadline=None)
def test_the_map_of_every_size(strided, height, width, target):
    """A 4x4 convolution with a padding of 1 takes n to floor((n - 2) / s) + 1."""
    field = (16, 34, 70, 142)[strided - 1]
    expected = [height, width]
    for stride in [2] * strided + [1, 1]:
        expected = [(side - 2) // stride + 1 for side in expected]
    arguments = {"input_shape": (height, width, 1), "target_channels": target, "filters": 1}
    if min(expected) < 1:
        with pytest.raises(ArgumentError, match=f"at least {3 * 2**strided} pixels"):
            models.PatchDiscriminator(field, **arguments)
    else:
        model = models.PatchDiscriminator(field, **arguments)
        assert model.output_shape == (None, *expected, 1)
        assert model.count_params() > 0


def test_maps_at_256_pixels():
    sizes = [
        models.PatchDiscriminator(field, filters=1).output_shape[1]
        for field in (1, 16, 34, 70, 142, 286)
    ]
    assert sizes == [256, 126, 62, 30, 14, 6]


def test_condition_and_target_are_both_seen():
    model = models.PatchDiscriminator(16, input_shape=(8, 8, 1), target_channels=2, filters=2)
    assert [part.name for part in model.inputs] == ["image", "target"]
    rng = np.random.default_rng(0)
    image, target = rng.normal(size=(1, 8, 8, 1)), rng.normal(size=(1, 8, 8, 2))
    logits = np.asarray(model([image, target], training=False))
    assert np.abs(logits - np.asarray(model([image * 0, target], training=False))).max() > 0
    assert np.abs(logits - np.asarray(model([image, target * 0], training=False))).max() > 0


def test_biases_where_no_batch_norm_cancels_them():
    def biases(**arguments):
        model = models.PatchDiscriminator(filters=1, **arguments)
        convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
        return [layer.use_bias for layer in convolutions]

    assert biases() == [True, False, False, False, True]
    assert biases(norm="instance", target_channels=None) == [True] * 5
    assert biases(receptive_field=1) == [True, False, False]


def test_a_model_without_convolutions_has_no_receptive_field():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)], name="dense")
    with pytest.raises(ArgumentError, match="'dense' has no convolution"):
        models.receptive_field(model)
