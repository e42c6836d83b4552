import keras
import numpy as np
import pytest

from keras_arch import models
from keras_arch.errors import ArgumentError
from tests.models.tester import Case, ModelTester
from tests.rounding import ROUNDING

# Statistics of a picture's small maps divide what rounding leaves by their deviation, layer after
# layer. Other statistics are off by 1e-3 and more.
NORMALISED = 5 * ROUNDING

WRONG = (
    ({"variant": "unet_64"}, "'unet_256', 'unet_128' or 'encoder_decoder'"),
    (
        {"image_shape": (256, 200, 3)},
        "width of image_shape must be a multiple of 128 pixels, got 200",
    ),
    ({"image_shape": (100, 128, 3)}, "the next is 128"),
    ({"image_shape": (256, 300, 3)}, "the next is 256 or 384"),
    ({"image_shape": 128}, "height, width, channels"),
    ({"output_channels": 0}, "output_channels"),
    ({"filters": 1.5}, "1.5"),
    ({"inference_norm": "layer"}, "'batch', 'moving' or 'instance'"),
    ({"inference_dropout": "yes"}, "'yes'"),
)
SMALL = {"variant": "unet_128", "filters": 1, "inference_dropout": False}
CASES = [
    Case("Pix2PixGenerator", SMALL, (128, 128, 3), wrong=WRONG),
    Case("Pix2PixGenerator", SMALL | {"inference_norm": "instance"}, (128, 128, 3)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestPix2Pix(ModelTester):
    pass


def build(**arguments):
    keras.utils.set_random_seed(0)
    generator = models.Pix2PixGenerator(**({"variant": "unet_128", "filters": 2} | arguments))
    # Gains and kernels of N(., 0.02) make a picture that is all but flat; these make one to see.
    rng = np.random.default_rng(1)
    for layer in generator.layers:
        if layer.name.endswith("_conv"):
            kernel, *bias = layer.get_weights()
            layer.set_weights([rng.normal(0, 0.3, kernel.shape), *bias])
    return generator


def images(count=2, size=128, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, size, size, 3)).astype("float32")


def gathered(generator):
    """With moving averages that are not those of any one image."""
    for layer in generator.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gain, bias, mean, variance = layer.get_weights()
            layer.set_weights([gain, bias, mean + 0.1, variance * 2])
    return generator


def variables(model):
    return [np.asarray(v) for v in (*model.weights, *model.non_trainable_variables)]


def frozen(model, x):
    with keras.StatelessScope():
        return np.asarray(model(x))


def test_the_networks_of_the_paper():
    """Section 6.1.1: where there is a norm, dropout, and which slope."""
    for variant, halvings in (("unet_256", 8), ("unet_128", 7), ("encoder_decoder", 8)):
        model = models.Pix2PixGenerator(variant, filters=1)
        names = [layer.name for layer in model.layers]
        norms = {name for name in names if name.endswith("_norm")}
        # None on the first, the innermost (one pixel) and the last convolution.
        assert norms == {f"down{i}_norm" for i in range(2, halvings)} | {
            f"up{i}_norm" for i in range(1, halvings)
        }
        assert model.get_layer(f"down{halvings}_conv").output.shape[1:3] == (1, 1)
        dropouts = [x for x in model.layers if isinstance(x, keras.layers.Dropout)]
        assert [(x.name, x.rate, x.seed) for x in dropouts] == [
            (f"up{i}_dropout", 0.5, i) for i in (1, 2, 3)
        ]
        slopes = [x.negative_slope for x in model.layers if hasattr(x, "negative_slope")]
        np.testing.assert_allclose(slopes, [0.2] * (halvings - 1))
        skips = sum(name.endswith("_skip") for name in names)
        assert skips == (0 if variant == "encoder_decoder" else halvings - 1)


def test_starts_as_the_authors_code_does():
    """Kernels N(0, 0.02), gains N(1, 0.02)."""
    model = models.Pix2PixGenerator("unet_128", filters=16)
    kernel = np.asarray(model.get_layer("up2_conv").kernel)
    assert abs(kernel.mean()) < 1e-3
    assert abs(kernel.std() - 0.02) < 1e-3
    gain = np.concatenate([x.gamma for x in model.layers if x.name.endswith("_norm")])
    assert abs(gain.mean() - 1) < 3e-3
    assert abs(gain.std() - 0.02) < 3e-3


def test_encoder_decoder_is_the_unet_without_its_skips():
    """With the kernels of all skipped maps at zero, the U-Net is the encoder-decoder."""
    shared = {"filters": 1, "inference_norm": "moving", "inference_dropout": False}
    unet, plain = build(variant="unet_256", **shared), build(variant="encoder_decoder", **shared)
    for layer in unet.layers:
        values = layer.get_weights()
        if layer.name in ("output_conv", *(f"up{i}_conv" for i in range(2, 8))):
            kernel = plain.get_layer(layer.name).get_weights()[0]
            values[0] = np.concatenate([np.zeros_like(kernel), kernel], axis=-1)
        elif values:
            values = plain.get_layer(layer.name).get_weights()
        layer.set_weights(values)
    x = images(1, 256)
    assert np.std(plain(x)) > 0.01
    np.testing.assert_allclose(unet(x), plain(x), atol=ROUNDING)


def test_batch_statistics_are_those_of_the_batch_and_stay_so_in_stock_keras(tmp_path):
    moving = gathered(build(inference_norm="moving", inference_dropout=False))
    model = models.with_inference(moving, "batch")
    x = images()
    # What batch norm itself does in training, without the dropout there.
    for layer in moving.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
    expected = np.asarray(moving(x, training=True))
    np.testing.assert_allclose(model(x), expected, atol=NORMALISED)
    assert np.abs(np.asarray(moving(x)) - expected).max() > 0.05
    model.save(tmp_path / "generator.keras")
    loaded = keras.saving.load_model(tmp_path / "generator.keras")
    # `predict` passes `training=False`, which would overrule a layer's `training=True`.
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, atol=NORMALISED)


def test_instance_norm_is_batch_norm_at_a_batch_of_one():
    """Also at the innermost map of one pixel, which has no norm that would leave only zeros."""
    batch = gathered(build(inference_dropout=False))
    instance = models.with_inference(batch, "instance")
    one, other = images(1), images(1, seed=5)
    np.testing.assert_allclose(instance(one), frozen(batch, one), atol=NORMALISED)
    inner = keras.Model(batch.input, batch.get_layer("down7_conv").output)
    assert np.abs(frozen(inner, one) - frozen(inner, other)).max() > 1e-3
    # Of two images together the statistics differ.
    both = np.concatenate([one, other])
    assert np.abs(np.asarray(instance(both)) - frozen(batch, both)).max() > 1e-3
    assert models.trainable_parameters(instance) == models.trainable_parameters(batch)
    again = models.with_inference(instance, "batch")
    np.testing.assert_allclose(frozen(again, one), frozen(batch, one), atol=NORMALISED)


def test_nothing_moves_in_a_stateless_scope():
    model = build()
    x = images(1)
    before = variables(model)
    first, second = frozen(model, x), frozen(model, x)
    np.testing.assert_array_equal(first, second)
    for a, b in zip(before, variables(model), strict=True):
        np.testing.assert_array_equal(a, b)
    # Outside it the next dropout is another one.
    assert np.abs(np.asarray(model(x)) - np.asarray(model(x))).max() > 1e-3
    assert any(not np.array_equal(a, b) for a, b in zip(before, variables(model), strict=True))


@pytest.mark.parametrize(
    ("variant", "norm", "dropout", "synchronized"),
    [
        pytest.param("unet_128", "batch", True, False, marks=pytest.mark.slow),
        ("unet_128", "moving", False, True),
        pytest.param("encoder_decoder", "instance", True, False, marks=pytest.mark.slow),
    ],
)
def test_a_choice_is_read_back_from_the_model(variant, norm, dropout, synchronized):
    model = models.Pix2PixGenerator(
        variant,
        image_shape=(256, 512, 2),
        output_channels=1,
        filters=1,
        inference_norm=norm,
        inference_dropout=dropout,
        synchronized=synchronized,
        name="mine",
    )
    same = models.with_inference(model)
    # Operations are numbered through a process, layers have names of their own.
    kinds, again = ([type(x) for x in m.operations] for m in (model, same))
    assert kinds == again
    assert [x.get_config() for x in model.layers if x.weights] == [
        x.get_config() for x in same.layers if x.weights
    ]
    np.testing.assert_array_equal(frozen(model, x := np.zeros((1, 256, 512, 2))), frozen(same, x))
    assert same.name == "mine"


def test_dropout_is_kept_or_not_as_asked():
    model = build(inference_norm="instance")
    x = images(1)
    quiet = models.with_inference(model, inference_dropout=False)
    np.testing.assert_array_equal(quiet(x), quiet(x))
    assert np.abs(np.asarray(model(x)) - np.asarray(model(x))).max() > 1e-3
    loud = models.with_inference(quiet, inference_dropout=True)
    np.testing.assert_array_equal(frozen(loud, x), frozen(models.with_inference(model), x))


def test_moving_averages_that_were_never_gathered_are_refused():
    instance = build(inference_norm="instance")
    for model in (instance, models.with_inference(instance, "batch")):
        with pytest.raises(ArgumentError, match="no moving averages; take 'batch' or 'instance'"):
            models.with_inference(model, "moving")
    with pytest.raises(ArgumentError, match="'batch', 'moving' or 'instance'"):
        models.with_inference(instance, "layer")
    with pytest.raises(ArgumentError, match="'patch_discriminator_1' is no generator"):
        models.with_inference(models.PatchDiscriminator(1))
    with pytest.raises(ArgumentError, match="no generator of Pix2PixGenerator"):
        models.with_inference("generator.keras")


def test_256_pixels_refused_by_name_of_the_smaller_unet():
    with pytest.raises(ArgumentError, match="of 'unet_128' a multiple of 128"):
        models.Pix2PixGenerator(image_shape=(128, 128, 3))
