import dataclasses
import logging

import keras
import numpy as np
import pytest

from keras_arch import hub, models
from keras_arch.errors import ArgumentError
from keras_arch.models import fcn
from keras_arch.models.common.weights import bilinear_kernel
from keras_arch.preprocessing import Preprocessing
from tests.models.tester import Case, ModelTester, forward, modules_of, unallocated
from tests.rounding import ROUNDING


def draw_scores(model):
    """Scores start at zero, with which all images are alike."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if layer.name.startswith("score_") and layer.weights:
            layer.set_weights([0.1 * rng.normal(size=w.shape) for w in layer.get_weights()])
    return model


@dataclasses.dataclass(frozen=True)
class ScoringCase(Case):
    def build(self):
        return draw_scores(super().build())

    __str__ = Case.__str__


SMALL = {"backbone": "VGG11", "units": 4, "input_shape": (20, 33, 3), "classes": 3}
CASES = [
    ScoringCase(
        "FCN8s",
        SMALL | {"all_at_once": True},
        (20, 33, 3),
        wrong=(
            ({"deconvolutions": "fixed"}, "'frozen', 'last_frozen' or 'learned'"),
            ({"all_at_once": 1}, "all_at_once"),
            ({"units": 0}, "units"),
            ({"fc6_padding": "full"}, "'valid' or 'same'"),
            ({"backbone": "ResNet18", "units": None, "fc6_padding": "same"}, "a VGG, whose fc6"),
            ({"classes": 0}, "classes"),
            ({"classes": 1}, "'sigmoid'"),
            ({"input_shape": (3, 64, 64)}, "(64, 64, 3)"),
            ({"backbone": "VGG12"}, "which VGG12 has not"),
            (
                {"backbone": "UNet", "units": None},
                "backbone must be a Keras model or one of AlexNet",
            ),
            ({"backbone": "CIFARResNet", "units": None}, "8, 16, 32; CIFARResNet has 1, 2, 4"),
            ({"backbone": "AlexNet", "units": None, "input_shape": (227, 227, 3)}, "27 at stride"),
            ({"weights": "none.weights.h5"}, "none.weights.h5"),
            ({"weights": 3}, "weights must be"),
            ({"backbone_arguments": {"variant": "C"}}, "VGG11, which is built as published"),
        ),
    ),
    ScoringCase("FCN16s", {"backbone": "GoogLeNet", "input_shape": (64, 32, 1)}, (64, 32, 21)),
    ScoringCase("FCN16s", SMALL | {"fc6_padding": "same"}, (20, 33, 3)),
    ScoringCase("FCN32s", SMALL | {"deconvolutions": "learned"}, (20, 33, 3)),
]


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=pytest.mark.slow if case in CASES[1::2] else ()) for case in CASES],
    ids=str,
)
class TestFCN(ModelTester):
    pass


class Place:
    """Where pixel i of a map lies in the image: `scale * i + offset`."""

    def __init__(self, scale=1.0, offset=0.0):
        self.scale, self.offset = scale, offset

    def window(self, size, stride=1, padding=0):
        return Place(self.scale * stride, self.offset + self.scale * ((size - 1) / 2 - padding))

    def spread(self, size, stride):
        scale = self.scale / stride
        return Place(scale, self.offset - scale * (size - 1) / 2)

    def crop_to(self, other):
        assert self.scale == other.scale
        crop = (other.offset - self.offset) / self.scale
        assert crop == int(crop)
        return int(crop)


def test_crop_offsets_follow_from_the_layers():
    image = Place()
    x, pools = image.window(3, padding=100), {}
    for number in range(1, 6):
        x = pools[number] = x.window(2, stride=2)
    x = x.window(7)
    expected = {
        "FCN32s": {"crop": x.spread(64, 32).crop_to(image)},
        "FCN16s": {"score_pool4_crop": pools[4].crop_to(x.spread(4, 2))},
    }
    x = x.spread(4, 2)
    expected["FCN16s"]["crop"] = x.spread(32, 16).crop_to(image)
    expected["FCN8s"] = {
        "score_pool4_crop": expected["FCN16s"]["score_pool4_crop"],
        "score_pool3_crop": pools[3].crop_to(x.spread(4, 2)),
        "crop": x.spread(4, 2).spread(16, 8).crop_to(image),
    }
    assert expected == {
        "FCN32s": {"crop": 19},
        "FCN16s": {"score_pool4_crop": 5, "crop": 27},
        "FCN8s": {"score_pool4_crop": 5, "score_pool3_crop": 9, "crop": 31},
    }
    for name, crops in expected.items():
        with unallocated():
            model = models.create(name)
        for layer, offset in crops.items():
            (top, _), (left, _) = model.get_layer(layer).cropping
            assert (top, left) == (offset, offset)
        assert model.output_shape == (None, 500, 500, 21)
        assert model.get_layer("pad").padding == ((100, 100), (100, 100))


@pytest.mark.parametrize("name", ["FCN32s", "FCN16s", "FCN8s"])
def test_deconvolutions_of_the_authors(name):
    with unallocated():
        model = models.create(name)
    found = {
        layer.name: (layer.kernel_size[0], layer.strides[0])
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2DTranspose)
    }
    assert (
        found
        == {
            "FCN32s": {"upscore": (64, 32)},
            "FCN16s": {"upscore2": (4, 2), "upscore16": (32, 16)},
            "FCN8s": {"upscore2": (4, 2), "upscore_pool4": (4, 2), "upscore8": (16, 8)},
        }[name]
    )
    counts = {"FCN32s": 1_806_336, "FCN16s": 458_640, "FCN8s": 127_008}
    layers = [model.get_layer(layer) for layer in found]
    assert sum(layer.count_params() for layer in layers) == counts[name]
    assert not any(layer.use_bias for layer in layers)


@pytest.mark.parametrize(
    ("deconvolutions", "learned"),
    [
        ("frozen", set()),
        ("last_frozen", {"upscore2", "upscore_pool4"}),
        ("learned", {"upscore2", "upscore_pool4", "upscore8"}),
    ],
)
def test_which_deconvolutions_learn(deconvolutions, learned):
    with unallocated():
        model = models.FCN8s(deconvolutions=deconvolutions, backbone="VGG11", units=2)
    again = keras.Model.from_config(model.get_config())
    for built in (model, again):
        assert {
            layer.name
            for layer in built.layers
            if layer.name.startswith("up") and layer.trainable_weights
        } == learned


@pytest.mark.parametrize("stride", [2, 8, 32])
def test_bilinear_kernels_interpolate(stride):
    """Between the centres of two pixels, that lie `stride` apart, values lie on a line."""
    layer = keras.layers.Conv2DTranspose(2, 2 * stride, strides=stride, use_bias=False)
    x = np.arange(5, dtype="float32")
    x = np.stack([x, 7 - 2 * x], axis=-1)[None, None].repeat(5, axis=1)
    layer.build(x.shape)
    layer.set_weights([bilinear_kernel(2 * stride, 2)])
    line = np.asarray(layer(x))[0, 3 * stride, :, :]
    at = (np.arange(len(line)) - (2 * stride - 1) / 2) / stride
    inside = (at >= 0) & (at <= 4)
    np.testing.assert_allclose(line[inside, 0], at[inside], atol=1e-5)
    np.testing.assert_allclose(line[inside, 1], 7 - 2 * at[inside], atol=1e-5)


@pytest.fixture(scope="module")
def classifier():
    return models.VGG11(input_shape=(224, 224, 3), classes=5, units=4)


def test_a_classifier_over_a_map(classifier):
    """Net surgery: on 224 pixels without padding the convolutions give what the classifier does."""
    model = models.FCN32s(input_shape=(224, 224, 3), backbone="VGG11", units=4, weights=classifier)
    x = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype("float32")
    seen = keras.Model(classifier.input, classifier.get_layer("relu7").output)(x)
    # The same layers on the image as it is, which the network pads by 100.
    y = keras.ops.convert_to_tensor(x)
    for layer in model.layers[2:]:
        if layer.name == "score_fr":
            break
        y = keras.ops.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0))) if layer.name == "conv1_1" else y
        y = y if "_pad" in layer.name else layer(y)
    np.testing.assert_allclose(np.reshape(y, (1, 4)), seen, rtol=1e-4, atol=1e-5)


def test_fc6_that_pads_its_map(classifier):
    """In the middle of the map of 224 pixels `fc6` sees what the classifier does."""
    arguments = {"input_shape": (224, 224, 3), "backbone": "VGG11", "units": 4}
    model = models.FCN32s(**arguments, fc6_padding="same", weights=classifier)
    x = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype("float32")
    seen = keras.Model(classifier.input, classifier.get_layer("relu7").output)(x)
    scored = keras.Model(model.input, model.get_layer("relu7").output)(x)
    assert scored.shape == (1, 7, 7, 4)
    np.testing.assert_allclose(scored[:, 3, 3], seen, rtol=1e-4, atol=1e-5)
    # Its weights are those of the paper's network.
    padded = models.FCN32s(**arguments, weights=model)
    for a, b in zip(model.get_weights(), padded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_stages_start_from_each_other(classifier, caplog):
    arguments = {"input_shape": (24, 24, 3), "backbone": "VGG11", "units": 4, "classes": 3}
    first = draw_scores(models.FCN32s(**arguments, weights=classifier))
    x = np.random.default_rng(0).normal(size=(1, 24, 24, 3)).astype("float32")
    with caplog.at_level(logging.WARNING, "keras_arch"):
        second = models.FCN16s(**arguments, weights=first)
    fresh = caplog.messages[-1].partition(" start fresh")[0].removeprefix("fcn16s_vgg11: ")
    assert {*fresh.split(", ")} == {"upscore2", "score_pool4", "upscore16"}
    # New scores are zero: the finer network begins as an interpolation of the coarser one.
    np.testing.assert_array_equal(second.get_layer("score_pool4").kernel, 0)
    np.testing.assert_array_equal(
        second.get_layer("score_fr").kernel, first.get_layer("score_fr").kernel
    )
    score = [keras.Model(m.input, m.get_layer("logits").output)(x) for m in (first, second)]
    assert np.corrcoef(np.ravel(score[0]), np.ravel(score[1]))[0, 1] > 0.9
    second.get_layer("score_pool4").set_weights([np.ones((1, 1, 512, 3)), np.ones(3)])
    third = models.FCN8s(**arguments, weights=second)
    for name in ("score_fr", "score_pool4", "upscore2", "fc6"):
        for a, b in zip(
            third.get_layer(name).get_weights(), second.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(a, b)
    others = models.FCN8s(**(arguments | {"classes": 4}), weights=third)
    np.testing.assert_array_equal(others.get_layer("score_pool4").kernel, 0)
    np.testing.assert_array_equal(
        others.get_layer("upscore8").kernel[..., 0, 0], bilinear_kernel(16, 1)[..., 0, 0]
    )


def test_weights_of_a_backbone_without_top(caplog):
    backbone = models.VGG11(include_top=False, input_shape=(32, 32, 3))
    with caplog.at_level(logging.WARNING, "keras_arch"):
        model = models.FCN32s(input_shape=(8, 8, 3), backbone="VGG11", units=2, weights=backbone)
    assert "fc6, fc7, score_fr" in caplog.text
    np.testing.assert_array_equal(
        model.get_layer("conv5_2").kernel, backbone.get_layer("conv5_2").kernel
    )


def test_weights_that_do_not_fit(classifier):
    arguments = {"input_shape": (8, 8, 3), "backbone": "VGG11"}
    with pytest.raises(ArgumentError, match=r"misshaped: fc6 .*, 512, 4\) for .*, 512, 2\), fc7"):
        models.FCN32s(**arguments, units=2, weights=classifier)
    small = models.VGG11(input_shape=(64, 64, 3), classes=5, units=4)
    with pytest.raises(ArgumentError, match=r"7x7 pixels of 512 channels.* 224x224"):
        models.FCN32s(**arguments, units=4, weights=small)
    with pytest.raises(ArgumentError, match="missing: conv1_2, conv2_2, conv3_3"):
        models.FCN32s(input_shape=(8, 8, 3), units=4, weights=classifier)
    other = models.CIFARResNet(8)
    with pytest.raises(ArgumentError, match=r"missing: conv1_1.*unexpected: stem_conv"):
        models.FCN32s(**arguments, units=4, weights=other)


@pytest.mark.slow
def test_weights_of_another_variant():
    # v1.5 has the stride of a block in its 3x3 convolution, which no shape shows.
    torch = models.ResNet50(input_shape=(32, 32, 3), classes=2, variant="v1.5")
    arguments = {"input_shape": (32, 32, 3), "backbone": "ResNet50", "weights": torch}
    with pytest.raises(ArgumentError, match=r"strides .* see backbone_arguments"):
        models.FCN32s(**arguments)
    model = models.FCN32s(**arguments, backbone_arguments={"variant": "v1.5"})
    name = "stage2_block1_2_conv"
    assert model.get_layer(name).strides == (2, 2)
    np.testing.assert_array_equal(model.get_layer(name).kernel, torch.get_layer(name).kernel)


def test_backbone_weights_are_those_of_a_classifier(classifier, tmp_path, monkeypatch):
    arguments = {"input_shape": (24, 24, 3), "backbone": "VGG11", "units": 4, "classes": 3}
    given = models.FCN32s(**arguments, weights=classifier)
    model = models.FCN32s(**arguments, backbone_weights=classifier)
    for a, b in zip(given.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    # The weights of a whole network come after those of its backbone.
    drawn = draw_scores(models.FCN32s(**arguments))
    both = models.FCN32s(**arguments, backbone_weights=classifier, weights=drawn)
    for a, b in zip(drawn.get_weights(), both.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    # Before the network is built, which takes seconds.
    monkeypatch.setattr(fcn, "_vgg", None)
    for wrong in ("backbone_weights", "weights"):
        with pytest.raises(ArgumentError, match="no weights file 'vgg"):
            models.FCN32s(**arguments, **{wrong: "vgg.weights.h5"})
    file = tmp_path / "vgg.weights.h5"
    file.touch()
    with pytest.raises(ArgumentError, match="must be a classifier, as a model"):
        models.FCN32s(**arguments, backbone_weights=file)


def test_the_papers_backbone_is_the_default():
    with unallocated():
        plain, named = models.FCN8s(units=2), models.FCN8s(backbone="VGG16", units=2)
    assert plain.name == named.name == "fcn8s"
    assert [layer.name for layer in plain.layers] == [layer.name for layer in named.layers]


def test_weights_of_a_published_network(tmp_path):
    arguments = {"backbone": "VGG11", "units": 2, "classes": 3}
    first = draw_scores(models.FCN32s(input_shape=(8, 8, 3), **arguments))
    card = hub.Card(
        "small",
        "FCN32s",
        {"input_shape": [8, 8, 3], **arguments},
        "image-segmentation",
        Preprocessing(size=(8, 8)),
        labels=list("abc"),
    )
    hub.save(first, tmp_path / "first", card)
    second = models.FCN16s(input_shape=(8, 8, 3), **arguments, weights=tmp_path / "first")
    np.testing.assert_array_equal(
        second.get_layer("score_fr").kernel, first.get_layer("score_fr").kernel
    )


def test_a_residual_backbone_with_the_weights_of_its_classifier():
    classifier = models.ResNet18(input_shape=(32, 32, 3), classes=4)
    model = models.FCN8s(
        input_shape=(40, 33, 3), backbone="ResNet18", classes=2, weights=classifier
    )
    assert model.output_shape == (None, 40, 33, 2)
    for name in ("stem_conv", "stage4_block2_2_norm"):
        for a, b in zip(
            model.get_layer(name).get_weights(),
            classifier.get_layer(name).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        {"backbone": "VGG11", "units": 2},
        {"backbone": "VGG11", "units": 2, "fc6_padding": "same"},
        {"backbone": "ResNet18"},
    ],
    ids=str,
)
def test_open_sizes_give_what_fixed_sizes_do(arguments, tmp_path):
    arguments = arguments | {"classes": 2, "classifier_activation": None}
    open_size = draw_scores(models.FCN8s(input_shape=(None, None, 3), **arguments))
    assert open_size.output_shape == (None, None, None, 2)
    modules, _ = modules_of(open_size)
    assert all(module.startswith("keras.") for module in modules - {"keras"})
    open_size.save(tmp_path / "open.keras")
    open_size = keras.saving.load_model(tmp_path / "open.keras")
    rng = np.random.default_rng(0)
    for height, width in ((33, 40), (47, 32), (50, 63)):
        x = rng.normal(size=(1, height, width, 3)).astype("float32")
        fixed = models.FCN8s(input_shape=(height, width, 3), **arguments)
        fixed.set_weights(open_size.get_weights())
        wanted = forward(fixed, x)
        assert wanted.shape == (1, height, width, 2)
        # Loaded, batch norm is Keras' own: another order of adding.
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(forward(open_size, x) / scale, wanted / scale, atol=ROUNDING)
