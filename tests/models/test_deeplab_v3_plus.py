"""DeepLabV3+ against KerasCV's own model with the same weights."""

import keras
import numpy as np
import pytest

from keras_arch import models, tiling
from keras_arch.errors import ArgumentError
from tests.models.tester import Case, ModelTester, forward, unallocated

CASES = [
    Case(
        "DeepLabV3Plus",
        {"backbone": "ResNet18", "input_shape": (40, 64, 3), "classes": 3},
        (40, 64, 3),
        wrong=(
            ({"classes": 0}, "classes"),
            ({"classes": 1}, "'sigmoid'"),
            ({"input_shape": (3, 64, 64)}, "(64, 64, 3)"),
            ({"backbone": "UNet"}, "one of AlexNet"),
            ({"backbone": "CIFARResNet"}, "strides 4 and 32; CIFARResNet has 1, 2, 4"),
            ({"backbone": "AlexNet", "input_shape": (227, 227, 3)}, "27 at stride"),
            ({"backbone_arguments": {"depth": 3}}, "'depth'"),
            ({"backbone_weights": 3}, "weights must be"),
            ({"weights": "none.weights.h5"}, "none.weights.h5"),
        ),
    )
]
# Layers of ours by the Sequentials of KerasCV's model that they are copies of.
PARTS = {
    "low_level_feature": ("conv", "norm"),
    **{f"aspp{number}": ("conv", "norm") for number in range(1, 5)},
    "aspp_pool": ("conv", "norm"),
    "aspp_projection": ("conv", "norm"),
    "segmentation_head": ("conv", "norm"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
class TestDeepLabV3Plus(ModelTester):
    pass


def kerascv_model(ours):
    """KerasCV's own model on the same backbone, with the weights of the head."""
    import keras_cv

    theirs = keras_cv.models.DeepLabV3Plus(
        backbone=models.keras_cv_backbone(ours), num_classes=ours.output_shape[-1]
    )
    pooling, head = theirs.spatial_pyramid_pooling, theirs.segmentation_head
    (projector,) = (
        layer
        for layer in theirs.layers
        if isinstance(layer, keras.Sequential) and layer is not head
    )
    branches = [*pooling.aspp_parallel_channels, pooling.projection]
    for part, kinds in PARTS.items():
        if part == "low_level_feature":
            model = projector
        elif part == "segmentation_head":
            model = head
        else:
            model = branches[list(PARTS).index(part) - 1]
        given = [w for kind in kinds for w in ours.get_layer(f"{part}_{kind}").get_weights()]
        own = [layer for layer in model.layers if layer.weights][:2]
        for layer, count in zip(own, (1, 4), strict=True):
            layer.set_weights(given[:count])
            given = given[count:]
    head.layers[-1].set_weights(ours.get_layer("logits").get_weights())
    return theirs


@pytest.fixture(scope="module")
def pair():
    """Our model, and KerasCV's with the same weights and drawn statistics of batch norm."""
    keras.utils.set_random_seed(3)
    ours = models.DeepLabV3Plus(backbone="ResNet18", input_shape=(64, 96, 3), classes=5)
    rng = np.random.default_rng(0)
    for weight in ours.weights:
        if weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.path.endswith(("beta", "moving_mean")):
            weight.assign(rng.normal(0, 0.3, weight.shape))
    # Scores of a usual size: a softmax that is 0 or 1 everywhere would hide differences.
    scores = keras.Model(ours.input, ours.get_layer("logits").output)
    spread = forward(scores, rng.normal(size=(3, 64, 96, 3)).astype("float32")).std()
    ours.get_layer("logits").kernel.assign(ours.get_layer("logits").kernel / spread)
    return ours, kerascv_model(ours)


def test_parameters_equal_kerascv(pair):
    ours, theirs = pair
    assert ours.count_params() == theirs.count_params()
    assert models.trainable_parameters(ours) == models.trainable_parameters(theirs)


def test_outputs_equal_kerascv(pair):
    ours, theirs = pair
    x = np.random.default_rng(1).normal(size=(3, 64, 96, 3)).astype("float32")
    out, expected = forward(ours, x), np.asarray(theirs(x, training=False))
    assert np.ptp(expected, axis=(0, 1, 2)).min() > 0.05
    # Sums of up to 4608 products in float32, in another order behind the scores.
    np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.slow
def test_gradients_equal_kerascv(pair):
    import tensorflow as tf

    x = np.random.default_rng(2).normal(size=(2, 64, 96, 3)).astype("float32")
    y = np.random.default_rng(3).integers(0, 5, (2, 64, 96))
    losses, gradients = [], []
    for model in pair:
        with tf.GradientTape() as tape:
            found = model(x, training=True)
            loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, found))
        # The backbone is the same object in both: its gradients come through either head.
        variables = [w for w in pair[0].trainable_weights if w.path.startswith("stage3")]
        losses.append(float(loss))
        gradients.append(tape.gradient(loss, [w.value for w in variables]))
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for ours, theirs in zip(*gradients, strict=True):
        scale = float(np.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * scale)


@pytest.mark.slow
@pytest.mark.parametrize(
    "size",
    [(64, 96), (50, 70), (33, 65)],
    ids=lambda size: "x".join(map(str, size)),
)
def test_an_open_size_gives_what_a_fixed_one_does(size):
    arguments = {"backbone": "ResNet18", "classes": 3}
    with_open = models.DeepLabV3Plus(input_shape=(None, None, 3), **arguments)
    fixed = models.DeepLabV3Plus(input_shape=(*size, 3), **arguments, weights=with_open)
    x = np.random.default_rng(0).normal(size=(1, *size, 3)).astype("float32")
    assert fixed.output_shape == (None, *size, 3)
    # The same operations on the same numbers; a convolution may sum in another order.
    np.testing.assert_allclose(forward(with_open, x), forward(fixed, x), atol=1e-5)
    np.testing.assert_allclose(with_open.predict(x, verbose=0), forward(fixed, x), atol=1e-5)


@pytest.mark.slow
def test_backbones_of_the_package_and_of_kerascv():
    import keras_cv

    with unallocated():
        for name in ("VGG11", "GoogLeNet"):
            model = models.DeepLabV3Plus(backbone=name, input_shape=(64, 64, 3), classes=2)
            assert model.output_shape == (None, 64, 64, 2)
            assert model.name == f"deeplabv3plus_{name.lower()}"
    theirs = keras_cv.models.ResNetBackbone(
        stackwise_filters=[64, 64, 64, 64],
        stackwise_blocks=[2, 2, 2, 2],
        stackwise_strides=[1, 2, 2, 2],
        block_type="basic_block",
        include_rescaling=False,
        input_shape=(64, 64, 3),
    )
    model = models.DeepLabV3Plus(backbone=theirs, classes=2)
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    assert forward(model, x).shape == (1, 64, 64, 2)


@pytest.mark.slow
def test_a_backbone_that_is_a_model_is_copied_with_its_weights():
    backbone = models.ResNet18(include_top=False, input_shape=(64, 64, 3))
    model = models.DeepLabV3Plus(backbone=backbone, input_shape=(40, 64, 3), classes=2)
    assert model.output_shape == (None, 40, 64, 2)
    assert models.DeepLabV3Plus(backbone=backbone).input_shape == (None, 64, 64, 3)
    np.testing.assert_array_equal(
        model.get_layer("stem_conv").kernel, backbone.get_layer("stem_conv").kernel
    )
    with pytest.raises(ArgumentError, match="which has its own"):
        models.DeepLabV3Plus(backbone=backbone, backbone_arguments={})


@pytest.mark.slow
def test_weights_of_a_classifier_and_of_other_classes():
    shape = {"input_shape": (64, 64, 3)}
    classifier = models.ResNet18(classes=7, **shape)
    model = models.DeepLabV3Plus(
        backbone="ResNet18", backbone_weights=classifier, classes=4, **shape
    )
    for name in ("stem_conv", "stage4_block2_2_conv"):
        np.testing.assert_array_equal(
            model.get_layer(name).get_weights()[0], classifier.get_layer(name).get_weights()[0]
        )
    other = models.DeepLabV3Plus(backbone="ResNet18", classes=2, weights=model, **shape)
    for name in ("aspp2_conv", "segmentation_head_norm"):
        for given, taken in zip(
            model.get_layer(name).get_weights(), other.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(given, taken)
    assert other.get_layer("logits").kernel.shape[-1] == 2


def test_synchronized_reaches_every_batch_norm():
    with unallocated():
        model = models.DeepLabV3Plus(
            backbone="ResNet18", input_shape=(64, 64, 3), synchronized=True
        )
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert len(norms) == 20 + 8
    assert all(norm.synchronized for norm in norms)
    assert {norm.epsilon for norm in norms if "stage" not in norm.name} == {1e-3, 1e-5}


@pytest.mark.slow
def test_the_order_of_channels_is_last_whatever_keras_is_set_to():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        model = CASES[0].build()
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_image_data_format(before)
    x = CASES[0].input(model)
    np.testing.assert_array_equal(forward(model, x), forward(CASES[0].build(), x))


@pytest.mark.slow
def test_tiles_of_an_image_of_any_size():
    model = CASES[0].shared()
    image = np.random.default_rng(0).integers(0, 256, (70, 110, 3)).astype("float32") / 255
    found = tiling.predict(model, image)
    assert found.shape == (70, 110, 3)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)
