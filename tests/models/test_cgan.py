import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import models
from tests.models.tester import Case, ModelTester, forward

WRONG = (
    ({"classes": 0}, "classes"),
    ({"classes": "10"}, "classes"),
    ({"label_units": 0}, "label_units"),
    ({"joint_units": 2.5}, "joint_units"),
)
SHAPE_WRONG = "(height, width, channels)"
SMALL = {"classes": 4, "label_units": 3, "joint_units": 5}
CASES = [
    Case(
        "CGANGenerator",
        SMALL | {"image_shape": (8, 8, 1), "latent_size": 6, "latent_units": 4},
        (8, 8, 1),
        wrong=(
            *WRONG,
            ({"image_shape": (8, 8)}, SHAPE_WRONG),
            ({"latent_size": 0}, "latent_size"),
            ({"latent_units": 0}, "latent_units"),
        ),
    ),
    Case(
        "CGANDiscriminator",
        SMALL | {"input_shape": (8, 8, 1), "image_units": 4},
        (1,),
        wrong=(
            *WRONG,
            ({"input_shape": (8, 8)}, SHAPE_WRONG),
            ({"image_units": 0}, "image_units"),
            ({"max_norm": 0.0}, "max_norm"),
            ({"max_norm": True}, "max_norm"),
        ),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestCGAN(ModelTester):
    pass


@given(classes=st.integers(1, 12), shape=st.tuples(*[st.integers(1, 6)] * 3))
@settings(max_examples=6, deadline=None)
def test_every_class_count_and_image_shape(classes, shape):
    units = {"classes": classes, "label_units": 2, "joint_units": 2}
    generator = models.CGANGenerator(image_shape=shape, latent_size=3, latent_units=2, **units)
    discriminator = models.CGANDiscriminator(input_shape=shape, image_units=2, **units)
    label = np.array([0, classes - 1], "int32")
    image = forward(generator, [np.zeros((2, 3), "float32"), label])
    assert image.shape == (2, *shape)
    assert forward(discriminator, [image, label]).shape == (2, 1)


def test_columns_of_the_discriminator_are_held_to_a_norm():
    free, held = (models.CGANDiscriminator(max_norm=norm) for norm in (None, 1.5))
    assert free.count_params() == held.count_params()
    for layers in zip(free.layers, held.layers, strict=True):
        if not isinstance(layers[0], keras.layers.Dense):
            continue
        assert layers[0].kernel_constraint is None
        kernel = np.asarray(layers[1].kernel_constraint(layers[1].kernel + 10.0))
        np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), 1.5, rtol=1e-4)


def test_sizes_of_the_paper():
    generator, discriminator = models.CGANGenerator(), models.CGANDiscriminator()
    units = {x.name: x.units for x in generator.layers if isinstance(x, keras.layers.Dense)}
    assert units == {
        "latent_hidden": 200,
        "label_hidden": 1000,
        "joint_hidden": 1200,
        "pixels": 784,
    }
    pieces = {
        x.name: x.target_shape for x in discriminator.layers if isinstance(x, keras.layers.Reshape)
    }
    assert pieces == {
        "image_hidden_pieces": (5, 240),
        "label_hidden_pieces": (5, 50),
        "joint_hidden_pieces": (4, 240),
    }
    for model in (generator, discriminator):
        rates = [x.rate for x in model.layers if isinstance(x, keras.layers.Dropout)]
        assert rates == [0.5] * 3


def test_generator_is_the_formula():
    """Written out in NumPy: the latent centred, a label as a row of the label layer's kernel."""
    model = models.CGANGenerator(
        image_shape=(2, 2, 1),
        classes=3,
        latent_size=4,
        latent_units=5,
        label_units=6,
        joint_units=7,
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    dense = {
        name: [w.astype(np.float64) for w in model.get_layer(name).get_weights()]
        for name in ("latent_hidden", "label_hidden", "joint_hidden", "pixels")
    }
    latent = rng.uniform(size=(5, 4)).astype("float32")
    label = np.array([2, 0, 1, 1, 2], "int32")
    kernel, bias = dense["latent_hidden"]
    # U(0, 1) has mean 1/2 and variance 1/12.
    from_latent = np.maximum((latent - 0.5) * np.sqrt(12) @ kernel + bias, 0)
    kernel, bias = dense["label_hidden"]
    from_label = np.maximum(kernel[label] + bias, 0)
    kernel, bias = dense["joint_hidden"]
    joint = np.maximum(np.concatenate([from_latent, from_label], 1) @ kernel + bias, 0)
    kernel, bias = dense["pixels"]
    image = 1 / (1 + np.exp(-(joint @ kernel + bias)))
    np.testing.assert_allclose(
        forward(model, [latent, label]), image.reshape(5, 2, 2, 1), rtol=1e-4
    )


@pytest.mark.parametrize("name", ["CGANGenerator", "CGANDiscriminator"])
def test_the_label_matters(name):
    case = next(case for case in CASES if case.name == name)
    model = case.build()
    x, _ = case.input(model, batch=4)
    outputs = [forward(model, [x, np.full(4, label, "int32")]) for label in range(4)]
    for first in range(4):
        for second in range(first):
            assert not np.array_equal(outputs[first], outputs[second])
