import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_arch import models
from keras_arch.errors import ArgumentError
from keras_arch.models.common import sizes
from tests.convert import reference
from tests.models.tester import Case, ModelTester, forward, unallocated
from tests.rounding import ROUNDING

SMALL = {"input_shape": (60, 44, 1), "depth": 2, "filters": 2}
CASES = [
    Case(
        "UNet",
        SMALL,
        (20, 4, 2),
        wrong=(
            ({"padding": "full"}, "'valid' or 'same'"),
            ({"input_shape": (62, 60, 1)}, "height 62; the next are 60 and 64"),
            ({"input_shape": (60, 40, 1)}, "width 40; the least is 44"),
            ({"depth": 0}, "depth"),
            ({"filters": 1.5}, "filters"),
            ({"classes": 0}, "classes"),
            ({"classes": 1}, "'sigmoid'"),
            ({"classifier_activation": "softer"}, "'softer'"),
            ({"up": "unpooling"}, "'deconvolution' or 'bilinear'"),
            ({"dropout": 1}, "[0, 1)"),
            ({"backbone": "UNet"}, "backbone must be a Keras model or one of AlexNet"),
            ({"backbone": "ResNet18", "padding": "valid"}, "padding='same'"),
            ({"backbone_weights": "a.weights.h5"}, "backbone='ResNet18'"),
            ({"backbone_arguments": {"depth": 20}}, "backbone='ResNet18'"),
            ({"norm": "instance"}, "norm must be 'batch' or None"),
            ({"input_shape": (1, 60, 60)}, "(60, 60, 1)"),
        ),
    ),
    Case("UNet", SMALL | {"up": "bilinear", "input_shape": (56, 52, 3), "classes": 3}, (10, 6, 3)),
    Case(
        "UNet",
        {"padding": "same", "input_shape": (16, 32, 3), "depth": 3, "filters": 2, "classes": 1}
        | {"classifier_activation": "sigmoid", "norm": "batch", "synchronized": True},
        (16, 32, 1),
        wrong=(({"input_shape": (16, 20, 3)}, "width 20; the next are 16 and 24"),),
    ),
    Case(
        "UNet",
        {
            "backbone": "CIFARResNet",
            "backbone_arguments": {"depth": 8},
            "input_shape": (16, 8, 3),
            "filters": 2,
            "classes": 5,
        },
        (16, 8, 5),
        wrong=(
            ({"depth": 3}, "must be one of 1, 2, got 3"),
            ({"backbone_arguments": {"classes": 3}}, "'classes'; CIFARResNet has depth, residual"),
            ({"backbone_arguments": 8}, "arguments of CIFARResNet by name, got 8"),
            ({"input_shape": (18, 8, 3)}, "height 18; the next are 16 and 20"),
        ),
    ),
]


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=pytest.mark.slow if case in CASES[1::2] else ()) for case in CASES],
    ids=str,
)
class TestUNet(ModelTester):
    pass


def maps(model):
    return {layer.name: layer.output.shape[1:] for layer in model.layers}


def test_figure_1():
    with unallocated():
        model = models.UNet()
    shapes = maps(model)
    sides = {"stage1": 568, "stage2": 280, "stage3": 136, "stage4": 64, "stage5": 28}
    sides |= {"up4": 56, "up3": 104, "up2": 200, "up1": 392}
    sides |= {"up4_relu2": 52, "up3_relu2": 100, "up2_relu2": 196, "up1_relu2": 388}
    assert {name: shapes[name][0] for name in sides} == sides
    widths = {f"stage{n + 1}": 64 * 2**n for n in range(5)}
    widths |= {f"up{n + 1}": 64 * 2**n for n in range(4)}
    widths |= {f"up{n + 1}_join": 128 * 2**n for n in range(4)}
    assert {name: shapes[name][-1] for name in widths} == widths
    crops = [model.get_layer(f"up{n}_crop").cropping for n in (4, 3, 2, 1)]
    assert crops == [((side, side),) * 2 for side in (4, 16, 40, 88)]
    assert model.output_shape == (None, 388, 388, 2)


def test_all_valid_sizes_to_1000():
    assert models.unet_sizes(1000) == list(range(188, 1001, 16))
    for size in range(1, 1001):
        if size >= 188 and (size - 188) % 16 == 0:
            assert models.unet_output_size(size) == size - 184
            continue
        with pytest.raises(ArgumentError) as caught:
            models.unet_output_size(size)
        below = 188 + (size - 188) // 16 * 16
        near = f"are {below} and {below + 16}" if size > 188 else "is 188"
        assert near in str(caught.value)


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 6])
def test_sizes_of_other_depths(depth):
    """Two convolutions take 4 pixels of a map, twice at each stage and once at the bottom."""
    less = 4 * (2 * (2**depth - 1) + 2**depth)
    sizes = models.unet_sizes(2000, depth)
    assert np.all(np.diff(sizes) == 2**depth)
    assert [models.unet_output_size(size, depth) for size in sizes] == [s - less for s in sizes]
    # The least leaves one pixel at least, and 2**depth less would leave none.
    assert 0 < sizes[0] - less <= 2**depth


@pytest.mark.parametrize("up", ["deconvolution", "bilinear"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_sizes_are_those_of_the_networks(depth, up):
    for size in models.unet_sizes(150, depth, up)[:3]:
        with unallocated():
            model = models.UNet(input_shape=(size, size, 1), depth=depth, filters=1, up=up)
        assert model.output_shape[1] == models.unet_output_size(size, depth, up)
        with pytest.raises(ArgumentError):
            models.UNet(input_shape=(size + 1, size, 1), depth=depth, filters=1, up=up)


def test_usual_input():
    with unallocated():
        assert models.UNet(filters=1).input_shape == (None, 572, 572, 1)
        assert models.UNet("same", filters=1).input_shape == (None, 256, 256, 1)
        assert models.UNet(backbone="ResNet18", filters=1).input_shape == (None, 256, 256, 3)
        assert models.UNet(depth=2, filters=1).output_shape == (None, 532, 532, 2)


def test_against_numpy():
    """Figure 1 with one halving, written out."""
    model = models.UNet(
        input_shape=(20, 22, 2), depth=1, filters=2, classes=3, classifier_activation=None
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])

    def weights(name):
        kernel, bias = model.get_layer(name).get_weights()
        return kernel.transpose(3, 2, 0, 1), bias

    def double(x, name):
        for number in (1, 2):
            x = reference.relu(reference.convolution(x, *weights(f"{name}_conv{number}")))
        return x

    x = rng.normal(size=(2, 20, 22, 2)).astype("float32")
    first = double(x.transpose(0, 3, 1, 2), "stage1")
    pooled = first.reshape(2, 2, 8, 2, 9, 2).max((3, 5))
    up = reference.transposed_convolution(double(pooled, "stage2"), *weights("up1"), 2, 0, 0)
    joined = np.concatenate([first[:, :, 4:-4, 4:-4], up], axis=1)
    logits = reference.convolution(double(joined, "up1"), *weights("logits"))
    scale = np.abs(logits).max()
    ours, theirs = forward(model, x) / scale, logits.transpose(0, 2, 3, 1) / scale
    np.testing.assert_allclose(ours, theirs, atol=ROUNDING)


@pytest.mark.parametrize("up", ["deconvolution", "bilinear"])
def test_a_tile_gives_what_the_image_around_it_gives(up):
    """Unpadded, a pixel of the output knows nothing of where the input ends."""
    model = models.UNet(input_shape=(None, None, 1), depth=2, filters=3, up=up)
    image = np.random.default_rng(0).normal(size=(1, 96, 100, 1)).astype("float32")
    whole = forward(model, image)
    less = 96 - whole.shape[1]
    part = forward(model, image[:, 8:76, 4:72])
    assert part.shape[1] == 68 - less
    np.testing.assert_allclose(part, whole[:, 8 : 76 - less, 4 : 72 - less], atol=ROUNDING)


def test_padded_output_is_of_the_open_input_size():
    model = models.UNet("same", input_shape=(None, None, 1), depth=2, filters=2, up="bilinear")
    assert forward(model, np.zeros((1, 8, 20, 1), "float32")).shape == (1, 8, 20, 2)


def test_weights_do_not_depend_on_the_size():
    small = models.UNet(input_shape=(44, 44, 1), depth=2, filters=2)
    large = models.UNet(input_shape=(None, None, 1), depth=2, filters=2, weights=small)
    x = np.random.default_rng(0).normal(size=(1, 44, 44, 1)).astype("float32")
    np.testing.assert_allclose(forward(small, x), forward(large, x), atol=ROUNDING)


def test_he_initialisation():
    model = models.UNet(input_shape=(44, 44, 1), depth=2, filters=32)
    # Incoming nodes of one neuron: 9 x channels, and the channels for an up-convolution.
    for name, incoming in (("stage2_conv2", 9 * 64), ("up2", 128), ("up1_conv1", 9 * 64)):
        kernel = model.get_layer(name).kernel
        assert np.std(kernel) == pytest.approx(np.sqrt(2 / incoming), rel=0.03)


def test_dropout_ends_the_contracting_path():
    model = models.UNet(input_shape=(None, None, 1), filters=1)
    assert [x.name for x in model.layers if isinstance(x, keras.layers.Dropout)] == [
        "stage4_dropout",
        "stage5_dropout",
    ]
    assert model.get_layer("up4_crop").input is model.get_layer("stage4_dropout").output
    without = models.UNet(input_shape=(None, None, 1), filters=1, dropout=0.0)
    assert not [x for x in without.layers if isinstance(x, keras.layers.Dropout)]


def test_backbone_with_the_weights_of_a_classifier():
    classifier = models.ResNet18(input_shape=(32, 32, 3), classes=4)
    model = models.UNet(backbone="ResNet18", backbone_weights=classifier, filters=1)
    for name in ("stem_conv", "stage4_block2_2_conv"):
        np.testing.assert_array_equal(
            model.get_layer(name).kernel, classifier.get_layer(name).kernel
        )
    assert {f"stage{n}" for n in range(1, 5)} <= models.features(model).output.keys()


def test_backbones_are_joined_by_their_strides():
    joined = {}
    with unallocated():
        for name in ("ResNet18", "VGG16", "GoogLeNet", "CIFARResNet"):
            model = models.UNet(backbone=name, filters=1, input_shape=(64, 64, 3))
            joined[name] = {
                layer.name: layer.input[0]._keras_history.operation.name
                for layer in model.layers
                if layer.name.endswith("_join")
            }
    assert joined["ResNet18"] == {
        "up5_join": "stage3",
        "up4_join": "stage2",
        "up3_join": "stage1",
        "up2_join": "stem",
    }
    # Of a VGG the maps before the pooling, the finest of the image's own size.
    assert joined["VGG16"] == {f"up{n}_join": f"relu{n}_{2 + (n > 2)}" for n in range(1, 6)}
    assert joined["GoogLeNet"].keys() == {"up2_join", "up3_join", "up4_join", "up5_join"}
    assert joined["CIFARResNet"] == {"up1_join": "stage1", "up2_join": "stage2"}


@pytest.mark.parametrize("size", [None, 227, 256])
def test_a_backbone_that_does_not_pad_is_refused(size):
    with unallocated(), pytest.raises(ArgumentError, match="'AlexNet' has unpadded convolutions"):
        models.UNet(backbone="AlexNet", input_shape=(size, size, 3))


def test_a_shallower_backbone():
    with unallocated():
        model = models.UNet(backbone="ResNet50", depth=3, filters=1, input_shape=(None, 72, 5))
    assert model.output_shape == (None, None, 72, 2)
    assert "stage3_block1_1_conv" not in {layer.name for layer in model.layers}


@pytest.mark.slow
@pytest.mark.parametrize("padding", [pytest.param("same", marks=pytest.mark.slow), "valid"])
def test_one_graph_interpolates_at_every_size(padding, tmp_path):
    """An open bilinear U-Net in `fit` and in an export, at two sizes, equal to fixed ones."""
    settings = {"depth": 2, "filters": 2, "up": "bilinear"}
    opened = models.UNet(padding, input_shape=(None, None, 1), **settings)
    opened.compile("sgd", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    sizes = [(56, 56), (60, 52)]
    images = [rng.normal(size=(1, *size, 1)).astype("float32") for size in sizes]
    batches = [(x, np.zeros(opened.compute_output_shape(x.shape)[:3])) for x in images]
    opened.fit((batch for batch in batches), steps_per_epoch=2, verbose=0)
    opened.export(tmp_path / "model", verbose=False)
    server = tf.saved_model.load(str(tmp_path / "model"))
    for size, x in zip(sizes, images, strict=True):
        fixed = models.UNet(padding, input_shape=(*size, 1), **settings, weights=opened)
        np.testing.assert_allclose(server.serve(x), forward(fixed, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_open_enlargement_is_the_fixed_one(factor):
    x = np.random.default_rng(0).normal(size=(2, 5, 3, 4)).astype("float32")
    maps = []
    for shape in ((None, None, 4), (5, 3, 4)):
        image = keras.Input(shape)
        maps.append(keras.Model(image, sizes.upsample_bilinear(image, factor, "up"))(x))
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("padding", "size", "message"),
    [
        ("same", 30, "multiples of 4 pixels a side, got width 30; the next are 28 and 32"),
        ("valid", 45, r"44 \+ 4k pixels a side, got width 45; the next are 44 and 48"),
    ],
)
def test_a_wrong_size_of_an_open_unet_names_the_next(padding, size, message):
    model = models.UNet(padding, input_shape=(None, None, 1), depth=2, filters=2)
    with pytest.raises(ArgumentError, match=message):
        model.predict(np.zeros((1, 48, size, 1)), verbose=0)
