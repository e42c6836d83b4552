"""Signatures of all registered builders: one spelling and one order of arguments."""

import inspect
import json

import keras
import numpy as np
import pytest

from keras_arch import models, registry
from keras_arch.errors import ArgumentError
from keras_arch.models import trainable_parameters
from tests.models.tester import unallocated

BUILDERS = {entry.name: entry for entry in registry.entries()}
# The one argument of a family that may be given by position.
POSITIONAL = ("variant", "depth", "padding", "receptive_field", "blocks")
# The order of the others; those that are not listed are of the structure.
SHAPES = ("input_shape", "image_shape")
FIRST = (*SHAPES, "output_channels", "target_channels", "classes")
LAST = ("norm", "synchronized", "weights", "name")
OLD = {
    "batch_norm",
    "channels",
    "image_size",
    "size",
    "sizes",
    "encoder",
    "encoder_arguments",
    "encoder_weights",
    "activation",
}
# Parameters of the networks of the papers, which their builders give without any argument.
PAPER = {
    "AlexNet": 60_965_224,
    "CGANDiscriminator": 1_224_351,
    "CGANGenerator": 2_413_984,
    "CIFARResNet": 269_722,
    "CycleGANGenerator": 11_378_179,
    "DCGANDiscriminator": 17_232_768,
    "DCGANGenerator": 18_885_760,
    "DeepLabV3Plus": 39_139_232,
    "FCN16s": 134_357_354,
    "FCN32s": 134_346_581,
    "FCN8s": 134_362_751,
    "GANDiscriminator": 1_231_441,
    "GANGenerator": 2_503_984,
    "GoogLeNet": 6_998_552,
    "LAPGANDiscriminator": 129_409,
    "LAPGANGenerator": 2_261_702,
    "PatchDiscriminator": 2_768_705,
    "Pix2PixGenerator": 54_413_955,
    "ResNet101": 44_549_160,
    "ResNet152": 60_192_808,
    "ResNet18": 11_689_512,
    "ResNet34": 21_797_672,
    "ResNet50": 25_557_032,
    "UNet": 31_030_658,
    "VGG11": 132_863_336,
    "VGG13": 133_047_848,
    "VGG16": 138_357_544,
    "VGG19": 143_667_240,
}


def small(*twos, **others):
    """Arguments, of which the first have two of whatever they count."""
    return others | dict.fromkeys(twos, 2)


# Small networks with every whole number as NumPy gives it.
SMALL = {
    "AlexNet": small("units", input_shape=(67, 67, 3), classes=3),
    "CGANDiscriminator": small(
        "image_units", "label_units", "joint_units", input_shape=(4, 4, 1), classes=3
    ),
    "CGANGenerator": small(
        "latent_size",
        "latent_units",
        "label_units",
        "joint_units",
        image_shape=(4, 4, 1),
        classes=3,
    ),
    "CIFARResNet": small(depth=8, input_shape=(8, 8, 1), classes=3),
    "CycleGANGenerator": small("output_channels", "filters", blocks=1, image_shape=(8, 8, 1)),
    "DCGANDiscriminator": small("filters", input_shape=(16, 16, 1), classes=3),
    "DCGANGenerator": small("latent_size", "filters", image_shape=(16, 16, 1), classes=3),
    "DeepLabV3Plus": small(input_shape=(32, 32, 3), classes=3),
    "FCN16s": small("units", input_shape=(8, 8, 3), classes=3),
    "FCN32s": small("units", input_shape=(8, 8, 3), classes=3),
    "FCN8s": small("units", input_shape=(8, 8, 3), classes=3),
    "GANDiscriminator": small("units", "pieces", input_shape=(4, 4, 1)),
    "GANGenerator": small("latent_size", "units", image_shape=(4, 4, 1)),
    "GoogLeNet": small(input_shape=(32, 32, 1), classes=3),
    "LAPGANDiscriminator": small("filters", "units", input_shape=(9, 9, 1), classes=3),
    "LAPGANGenerator": small(
        "latent_size", "filters", "units", image_shape=(9, 9, 1), classes=3, coarser_sizes=(4,)
    ),
    "PatchDiscriminator": small(
        "target_channels", "filters", receptive_field=16, input_shape=(8, 8, 1)
    ),
    "Pix2PixGenerator": small("output_channels", image_shape=(256, 256, 1), filters=1),
    "UNet": small("filters", input_shape=(44, 44, 1), classes=3, depth=2),
}
SMALL |= {
    key: {"input_shape": (32, 32, 1), "classes": 3}
    for key in ("ResNet18", "ResNet34", "ResNet50", "ResNet101", "ResNet152")
}
SMALL |= {
    key: {"input_shape": (32, 32, 1), "classes": 3, "units": 2}
    for key in ("VGG11", "VGG13", "VGG16", "VGG19")
}


def parameters(name):
    return list(inspect.signature(BUILDERS[name].builder).parameters.values())


# By the function of ResNet50, with more blocks.
DEEPER = ("ResNet101", "ResNet152")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in DEEPER else ()) for n in BUILDERS]
)
class TestSignature:
    def test_at_most_one_argument_is_positional(self, name):
        first, *others = parameters(name)
        assert all(each.kind is each.KEYWORD_ONLY for each in others)
        has_one = any(each.name in POSITIONAL for each in (first, *others))
        assert has_one == (first.kind is not first.KEYWORD_ONLY)
        assert not has_one or first.name in POSITIONAL

    def test_every_argument_is_optional(self, name):
        assert all(each.default is not each.empty for each in parameters(name))

    def test_names(self, name):
        names = [each.name for each in parameters(name)]
        assert not OLD & set(names)
        makes_images = name.endswith("Generator")
        assert ("image_shape" in names, "input_shape" in names) == (makes_images, not makes_images)
        task = BUILDERS[name].task
        assert ("classifier_activation" in names) == (
            task in ("image-classification", "image-segmentation")
        )
        assert ("backbone" in names) == ("backbone_weights" in names)
        assert ("backbone" in names) == ("backbone_arguments" in names)
        if "norm" in names:
            assert "synchronized" in names

    def test_order(self, name):
        names = [each.name for each in parameters(name) if each.kind is each.KEYWORD_ONLY]
        first = [each for each in FIRST if each in names]
        last = [each for each in LAST if each in names]
        assert names[: len(first)] == first
        assert names[len(names) - len(last) :] == last
        assert last[-2:] == ["weights", "name"]

    def test_every_argument_is_typed_and_described(self, name):
        builder = BUILDERS[name].builder
        text = inspect.getdoc(builder)
        for each in parameters(name):
            assert each.annotation is not each.empty
            assert f"\n    {each.name}: " in text
        described = text.partition("Args:\n")[2].partition("\n\n")[0]
        lines = [line for line in described.splitlines() if line[4] != " "]
        assert [line.split(":")[0].strip() for line in lines] == [x.name for x in parameters(name)]
        assert [text.count(part) for part in ("Args:", "Returns:", "Raises:", "Example:")] == [
            1
        ] * 4
        assert builder.__name__ == builder.__qualname__ == name
        assert builder.__module__.startswith("keras_arch.models.")

    def test_the_default_is_the_papers(self, name):
        with unallocated():
            assert trainable_parameters(models.create(name)) == PAPER[name]
        assert BUILDERS[name].parameters[""] == PAPER[name]

    def test_other_integers_are_taken_and_saved_as_plain_ones(self, name):
        given = keras.tree.map_structure(np.int64, SMALL[name])
        with unallocated():
            model, plain = models.create(name, **given), models.create(name, **SMALL[name])
        saved = json.dumps(keras.saving.serialize_keras_object(model))
        assert "int64" not in saved.replace('"dtype": "int64"', "")
        assert all(type(size) is int for size in keras.tree.flatten(model.input_shape) if size)
        assert model.output_shape == plain.output_shape
        assert [w.shape for w in model.weights] == [w.shape for w in plain.weights]
        assert model.name == plain.name

    def test_floats_and_bools_are_refused(self, name):
        for argument, value in SMALL[name].items():
            wrong = keras.tree.map_structure(float, value)
            for each in (wrong, True):
                with pytest.raises(ArgumentError, match=argument) as caught:
                    models.create(name, **(SMALL[name] | {argument: each}))
                assert "\n" not in str(caught.value)


def test_a_wrong_argument_names_the_builder():
    with pytest.raises(TypeError, match=r"VGG16\(\) got an unexpected keyword argument 'unit'"):
        models.VGG16(unit=3)
    with pytest.raises(TypeError, match=r"ResNet18\(\) too many positional"):
        models.ResNet18("v1", (32, 32, 3))
