import keras
import numpy as np
import pytest

from keras_arch import models
from tests.models.tester import Case, ModelTester, forward

WRONG = (
    ({"classes": 0}, "classes"),
    ({"filters": 0}, "filters"),
    ({"units": 0}, "units"),
)
WRONG_GENERATOR = (
    *WRONG,
    ({"coarser_sizes": ()}, "coarser_sizes must be growing sizes"),
    ({"coarser_sizes": (9, 9)}, "growing"),
    ({"coarser_sizes": (4, 12)}, "below 12"),
    ({"coarser_sizes": (4, 8)}, "9 pixels"),
    ({"coarser_sizes": (4.0, 9)}, "coarser_sizes"),
    ({"coarser_sizes": 8}, "coarser_sizes"),
    ({"image_shape": (12, 12, 0)}, "image_shape"),
    ({"image_shape": (12, 14, 1)}, "square"),
    ({"latent_size": 0}, "latent_size"),
)
LEVEL = {"classes": 3, "filters": 3, "units": 5}
SMALL = LEVEL | {"image_shape": (12, 12, 2), "coarser_sizes": (4, 9)}
COARSEST = LEVEL | {"input_shape": (4, 4, 2), "coarsest": True}
CASES = [
    Case("LAPGANGenerator", SMALL | {"latent_size": 6}, (12, 12, 2), wrong=WRONG_GENERATOR),
    Case("LAPGANGenerator", SMALL | {"latent_size": 6, "classes": None}, (12, 12, 2)),
    Case(
        "LAPGANDiscriminator",
        COARSEST,
        (1,),
        wrong=(*WRONG, ({"coarsest": False}, "coarsest=True"), ({"input_shape": 4}, "input_shape")),
    ),
    Case("LAPGANDiscriminator", COARSEST | {"classes": None}, (1,)),
    Case("LAPGANDiscriminator", LEVEL | {"input_shape": (12, 12, 2)}, (1,)),
    Case("LAPGANDiscriminator", LEVEL | {"input_shape": (9, 9, 2), "classes": None}, (1,)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestLAPGAN(ModelTester):
    pass


def _bilinear(images, size):
    """Bilinear enlargement with pixel centres at halves and edges repeated, pixel by pixel."""
    before = images.shape[1]
    at = (np.arange(size) + 0.5) * before / size - 0.5
    low = np.floor(at).astype(int)
    share = at - low
    first, second = (np.clip(low + i, 0, before - 1) for i in (0, 1))

    def along(x, axis):
        weight = share.reshape([-1 if i == axis else 1 for i in range(4)])
        return (1 - weight) * np.take(x, first, axis) + weight * np.take(x, second, axis)

    return along(along(images.astype(np.float64), 1), 2)


@pytest.mark.parametrize("classes", [3, None])
def test_image_is_the_enlarged_coarser_image_plus_the_residual(classes):
    case = Case("LAPGANGenerator", SMALL | {"classes": classes, "latent_size": 6}, (12, 12, 2))
    model = case.build()
    # Residuals from zeros would be as good as none: give all weights some size.
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.2, w.shape) for w in model.get_weights()])
    given = case.input(model, batch=3)
    latent, label = given if classes else (given, None)
    also = [label] if classes else []
    assert latent.shape == (3, 6 + 81 + 144)

    x = forward(model.get_layer("level4"), [latent[:, :6], *also] if classes else latent[:, :6])
    start = 6
    for size in (9, 12):
        noise = latent[:, start : start + size * size].reshape(3, size, size, 1)
        start += size * size
        coarse = _bilinear(x, size).astype("float32")
        residual = forward(model.get_layer(f"level{size}"), [noise, coarse, *also])
        assert np.abs(residual).max() > 0.05
        x = coarse + residual
    assert np.abs(x).max() > 1
    np.testing.assert_allclose(forward(model, given), np.clip(x, -1, 1), rtol=1e-4, atol=1e-4)


def test_levels_have_the_inputs_that_trainers_give_them():
    model = models.LAPGANGenerator()
    names = {
        layer.name: [part.name for part in layer.inputs]
        for layer in model.layers
        if isinstance(layer, keras.Model)
    }
    assert names == {
        "level8": ["latent", "label"],
        "level16": ["noise", "coarse", "label"],
        "level32": ["noise", "coarse", "label"],
    }
    for size in (8, 16, 32):
        judge = models.LAPGANDiscriminator(input_shape=(size, size, 3), coarsest=size == 8)
        assert judge.inputs[0].shape[1:] == model.get_layer(f"level{size}").output.shape[1:]
    # Trained by itself, a level trains the composite: they are one set of weights.
    level = {id(weight) for weight in model.get_layer("level16").trainable_weights}
    assert level < {id(weight) for weight in model.trainable_weights}


def test_layers_of_the_authors_code():
    level = models.LAPGANGenerator().get_layer("level32")
    kinds = [
        (layer.kernel_size[0], layer.filters, layer.strides[0], layer.padding)
        for layer in level.layers
        if isinstance(layer, keras.layers.Conv2D)
    ]
    assert kinds == [(7, 64, 1, "same"), (7, 64, 1, "same"), (5, 3, 1, "same")]
    judge = models.LAPGANDiscriminator()
    kinds = [
        (layer.kernel_size[0], layer.filters, layer.strides[0], layer.padding)
        for layer in judge.layers
        if isinstance(layer, keras.layers.Conv2D)
    ]
    assert kinds == [(5, 64, 1, "valid"), (5, 64, 2, "valid")]
    # Torch starts a layer with uniform weights up to one over the root of its inputs' number.
    kernel = np.asarray(judge.get_layer("stage2").kernel)
    limit = 1 / np.sqrt(25 * 64)
    assert np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)


def test_discriminator_judges_the_sum():
    model = models.LAPGANDiscriminator(input_shape=(9, 9, 2), **LEVEL)
    rng = np.random.default_rng(0)
    residual, coarse, shift = rng.normal(size=(3, 4, 9, 9, 2)).astype("float32")
    label = np.array([0, 1, 2, 0], "int32")
    np.testing.assert_allclose(
        forward(model, [residual, coarse, label]),
        forward(model, [residual + shift, coarse - shift, label]),
        rtol=1e-3,
        atol=1e-5,
    )
