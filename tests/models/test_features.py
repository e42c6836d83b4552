"""Maps of backbones by name and level, and the backbones in KerasCV's tasks."""

import keras
import numpy as np
import pytest

from keras_arch import models
from keras_arch.errors import ArgumentError
from keras_arch.visualization import grad_cam
from tests.models.tester import unallocated
from tests.rounding import ROUNDING

# Strides of the stages, from the papers' tables.
STRIDES = {
    "ResNet18": {"P1": "stem", "P2": "stage1", "P3": "stage2", "P4": "stage3", "P5": "stage4"},
    "ResNet50": {"P1": "stem", "P2": "stage1", "P3": "stage2", "P4": "stage3", "P5": "stage4"},
    "GoogLeNet": {"P1": "stem", "P2": "stage1", "P3": "stage2", "P4": "stage3", "P5": "stage4"},
    "VGG16": {f"P{n}": f"stage{n}" for n in range(1, 6)},
    "AlexNet": {"P3": "stage1", "P4": "stage2", "P5": "stage3"},
    "CIFARResNet": {"P0": "stage1", "P1": "stage2", "P2": "stage3"},
}


@pytest.mark.parametrize(("name", "levels"), STRIDES.items())
@pytest.mark.parametrize("size", [None, pytest.param(96, marks=pytest.mark.slow)])
def test_levels_of_every_backbone(name, levels, size):
    with unallocated():
        model = models.create(name, include_top=False, input_shape=(size, size, 3))
        maps = models.features(model, levels)
        # The stage that a level means is the same map.
        assert {p: maps.output[p] is model.get_layer(s).output for p, s in levels.items()} == (
            dict.fromkeys(levels, True)
        )
        assert models.features(model, list(levels.values())).output.keys() == {*levels.values()}
        everything = models.features(model).output
    assert everything.keys() == {s for s in levels.values() if s.startswith("stage")}
    if size and name not in ("AlexNet",):
        sides = {p: maps.output[p].shape[1] for p in levels}
        assert sides == {p: size // 2 ** int(p[1:]) for p in levels}


@pytest.fixture(scope="module")
def backbone():
    return models.ResNet18(include_top=False, input_shape=(64, 64, 3))


def test_levels_as_numbers_and_layers_by_name(backbone):
    maps = models.features(backbone, [2, "P5", "stage2_block1_add"]).output
    assert {name: tuple(y.shape[1:]) for name, y in maps.items()} == {
        "P2": (16, 16, 64),
        "P5": (2, 2, 512),
        "stage2_block1_add": (8, 8, 128),
    }
    assert models.features(backbone, "P3").output.keys() == {"P3"}
    assert models.features(backbone, 3).output.keys() == {"P3"}


def test_a_wrong_level_lists_the_right_ones(backbone):
    for wrong in ("P6", 7, "stage5", ""):
        with pytest.raises(ArgumentError) as caught:
            models.features(backbone, ["P2", wrong])
        for right in ("stem (P1)", "stage1 (P2)", "stage4 (P5)", repr(wrong)):
            assert right in str(caught.value)
    with pytest.raises(ArgumentError, match="did you mean stage2_block1_1"):
        models.features(backbone, "stage2_block1_1_cnv")
    with pytest.raises(ArgumentError, match="levels is empty"):
        models.features(backbone, [])
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    for asked in (None, "P2"):
        with pytest.raises(ArgumentError, match="it has no feature maps"):
            models.features(plain, asked)


@pytest.mark.slow
def test_a_saved_backbone_has_the_same_levels(backbone, tmp_path):
    backbone.save(tmp_path / "backbone.keras")
    again = keras.saving.load_model(tmp_path / "backbone.keras")
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    before, after = (models.features(m, ["P1", "P4"])(x) for m in (backbone, again))
    # The loaded one has Keras' own batch norm, the other TensorFlow's fused one: some roundings of
    # float32 (6e-8) a layer, of values as large as the map's.
    for level in ("P1", "P4"):
        scale = float(np.abs(before[level]).max())
        np.testing.assert_allclose(after[level] / scale, before[level] / scale, atol=ROUNDING)
    assert models.keras_cv_backbone(again).pyramid_level_inputs == STRIDES["ResNet18"]


def test_keras_cv_backbone_ends_at_the_last_stage_and_shares_weights():
    with unallocated():
        whole = models.GoogLeNet(auxiliary=True, classes=5)
        backbone = models.keras_cv_backbone(whole)
    assert backbone.output_shape == (None, 7, 7, 1024)
    assert backbone.pyramid_level_inputs == STRIDES["GoogLeNet"]
    assert backbone.get_layer("conv1_conv") is whole.get_layer("conv1_conv")


def test_image_classifier_of_keras_cv(tmp_path):
    import keras_cv

    model = keras_cv.models.ImageClassifier(
        backbone=models.keras_cv_backbone(models.CIFARResNet(8)), num_classes=4
    )
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    assert model(x).shape == (2, 4)
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    before = model.backbone.get_layer("stem_conv").get_weights()[0]
    history = model.fit(x, np.array([0, 3]), verbose=0)
    assert np.isfinite(history.history["loss"][0])
    assert not np.array_equal(before, model.backbone.get_layer("stem_conv").get_weights()[0])
    model.save(tmp_path / "task.keras")
    again = keras.saving.load_model(tmp_path / "task.keras")
    assert again.backbone.pyramid_level_inputs == STRIDES["CIFARResNet"]
    np.testing.assert_allclose(again(x), model(x), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_deep_lab_of_keras_cv(backbone, tmp_path):
    import keras_cv

    model = keras_cv.models.DeepLabV3Plus(
        backbone=models.keras_cv_backbone(backbone), num_classes=3
    )
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    assert model(x).shape == (2, 64, 64, 3)
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    before = backbone.get_layer("stem_conv").get_weights()[0]
    history = model.fit(x, np.zeros((2, 64, 64)), verbose=0)
    assert np.isfinite(history.history["loss"][0])
    assert not np.array_equal(before, backbone.get_layer("stem_conv").get_weights()[0])
    model.save(tmp_path / "task.keras")
    again = keras.saving.load_model(tmp_path / "task.keras")
    np.testing.assert_allclose(again(x), model(x), rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module", params=["functional", "sequential"])
def transfer(request):
    """A classifier on a backbone that is one of its layers."""
    backbone = models.CIFARResNet(depth=8, input_shape=(16, 16, 3), include_top=False)
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")]
    if request.param == "sequential":
        return keras.Sequential([keras.Input((16, 16, 3)), backbone, *head]), backbone
    image = keras.Input((16, 16, 3))
    x = backbone(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, head[1](head[0](x))), backbone


def test_maps_of_a_backbone_inside(transfer):
    outer, backbone = transfer
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    scaled = x / 255 if len(outer.layers) == 5 else x
    maps, wanted = models.features(outer)(x), models.features(backbone)(scaled)
    assert list(maps) == ["stage1", "stage2", "stage3"]
    for name, value in wanted.items():
        np.testing.assert_allclose(maps[name], value, rtol=1e-5, atol=1e-6)
    named = models.features(outer, [2, "stage1_block1_1", backbone.name])(x)
    np.testing.assert_allclose(named["P2"], wanted["stage3"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(named["P2"], named[backbone.name])
    # The model itself is as before.
    assert outer.layers[-3] is backbone
    assert outer(x).shape == (2, 3)


def test_grad_cam_of_a_backbone_inside(transfer):
    """Equal to that of the same network in one graph."""
    outer, backbone = transfer
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    scaled = x / 255 if len(outer.layers) == 5 else x
    flat = keras.Model(backbone.input, outer.layers[-1](outer.layers[-2](backbone.output)))
    wanted = grad_cam(flat, scaled, [0, 2], layer="stage2")
    np.testing.assert_allclose(
        grad_cam(outer, x, [0, 2], layer="stage2"), wanted, rtol=1e-4, atol=1e-7
    )
    assert grad_cam(outer, x).shape == (2, 16, 16)
