import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import models
from keras_arch.errors import ArgumentError
from tests.models import golden
from tests.models.tester import Case, ModelTester, forward
from tests.rounding import ROUNDING

WRONG = (
    ({"variant": "other"}, "'paper' or 'pytorch', got 'other'"),
    ({"filters": 2000}, "1024"),
    ({"classes": 0}, "classes"),
)
WRONG_GENERATOR = (
    *WRONG,
    ({"image_shape": (48, 48, 1)}, "16, 32, 64, 128, 256"),
    ({"image_shape": (32, 32, 0)}, "image_shape"),
    ({"image_shape": (32, 64, 1)}, "square"),
)
WRONG_DISCRIMINATOR = (
    *WRONG,
    ({"input_shape": (48, 48, 1)}, "16, 32, 64, 128, 256"),
    ({"norm": "spectral"}, "'batch', 'instance', 'layer' or None, got 'spectral'"),
)
GENERATOR = {"image_shape": (32, 32, 2), "variant": "pytorch", "filters": 4}
DISCRIMINATOR = {"input_shape": (32, 32, 2), "variant": "pytorch", "filters": 4}
CASES = [
    Case("DCGANGenerator", GENERATOR | {"latent_size": 5}, (32, 32, 2), wrong=WRONG_GENERATOR),
    Case("DCGANGenerator", GENERATOR | {"variant": "paper"}, (32, 32, 2)),
    Case("DCGANGenerator", GENERATOR | {"classes": 3}, (32, 32, 2)),
    Case("DCGANDiscriminator", DISCRIMINATOR, (1,), wrong=WRONG_DISCRIMINATOR),
    Case("DCGANDiscriminator", DISCRIMINATOR | {"classes": 3}, (1,)),
    Case("DCGANDiscriminator", DISCRIMINATOR | {"variant": "paper", "norm": "layer"}, (1,)),
    Case("DCGANDiscriminator", DISCRIMINATOR | {"norm": "instance"}, (1,)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestDCGAN(ModelTester):
    pass


@given(
    size=st.sampled_from([16, 32, 64, 128, 256]),
    channels=st.integers(1, 5),
    variant=st.sampled_from(["pytorch", "paper"]),
)
@settings(max_examples=12, deadline=None)
def test_every_size_and_channel_count(size, channels, variant):
    shape = (size, size, channels)
    generator = models.DCGANGenerator(variant, image_shape=shape, latent_size=7, filters=2)
    discriminator = models.DCGANDiscriminator(variant, input_shape=shape, filters=2)
    assert generator.output_shape[1:] == discriminator.input_shape[1:] == shape
    assert discriminator(generator(np.zeros((1, 7), "float32"))).shape == (1, 1)


@pytest.mark.parametrize("variant", ["pytorch", "paper"])
def test_the_four_rules(variant):
    generator = models.DCGANGenerator(variant=variant, filters=2)
    discriminator = models.DCGANDiscriminator(variant=variant, filters=2)
    kinds = [type(layer).__name__ for m in (generator, discriminator) for layer in m.layers]
    assert not any("Pooling" in kind or "UpSampling" in kind for kind in kinds)
    # Hidden dense layers: none besides the projection of the latent and the one logit.
    assert kinds.count("Dense") == 2
    activations = [x.activation.__name__ for x in generator.layers if hasattr(x, "activation")]
    assert activations.count("tanh") == 1
    assert activations[-1] == "tanh"
    assert {"relu", "tanh", "linear"} >= set(activations)
    slopes = [x.negative_slope for x in discriminator.layers if hasattr(x, "negative_slope")]
    assert len(slopes) == 4
    np.testing.assert_allclose(slopes, 0.2)
    norms = [x.name for x in generator.layers if "Normalization" in type(x).__name__]
    assert norms == ["project_norm", "stage2_norm", "stage3_norm", "stage4_norm"]
    norms = [x.name for x in discriminator.layers if "Normalization" in type(x).__name__]
    assert norms == ["stage2_norm", "stage3_norm", "stage4_norm"]


def test_starts_as_the_papers_say():
    """Weights N(0, 0.02); batch norm's gain N(1, 0.02), not N(0, 0.02)."""
    generator = models.DCGANGenerator("pytorch")
    kernel = np.asarray(generator.get_layer("stage2_conv").kernel)
    assert abs(kernel.mean()) < 1e-4
    assert abs(kernel.std() - 0.02) < 1e-4
    gain = np.asarray(generator.get_layer("project_norm").gamma)
    assert abs(gain.mean() - 1) < 0.005
    assert abs(gain.std() - 0.02) < 0.003


def test_paper_variant_pads_as_the_authors_do():
    """Their 5x5 layers pad two pixels on every side: the layer commutes with a mirror."""
    image = np.random.default_rng(0).normal(size=(1, 16, 16, 1)).astype("float32")
    model = models.DCGANDiscriminator("paper", input_shape=(16, 16, 1), filters=1)
    first = keras.Model(model.input, model.get_layer("stage1_conv").output)
    kernel = np.ones((5, 5, 1, 1), "float32")
    model.get_layer("stage1_conv").set_weights([kernel])
    padded = np.pad(image[0, ..., 0], 2)
    sums = [[padded[i : i + 5, j : j + 5].sum() for j in range(0, 16, 2)] for i in range(0, 16, 2)]
    np.testing.assert_allclose(np.asarray(first(image))[0, ..., 0], sums, rtol=1e-4, atol=1e-4)


def test_paper_generator_layer_is_the_transpose_of_the_discriminators():
    """<conv(x), y> = <x, conv_transpose(y)> for the authors' padding."""
    rng = np.random.default_rng(0)
    down = models.DCGANDiscriminator("paper", input_shape=(16, 16, 1), filters=1)
    up = models.DCGANGenerator("paper", image_shape=(16, 16, 1), filters=1)
    kernel = rng.normal(size=(5, 5, 1, 1)).astype("float32")
    down.get_layer("stage1_conv").set_weights([kernel])
    up.get_layer("output_conv").set_weights([kernel])
    conv = keras.Model(down.input, down.get_layer("stage1_conv").output)
    transpose = keras.Sequential([up.get_layer("output_conv"), up.get_layer("output_conv_crop")])
    x = rng.normal(size=(1, 16, 16, 1)).astype("float32")
    y = rng.normal(size=(1, 8, 8, 1)).astype("float32")
    left = float((np.asarray(conv(x)) * y).sum())
    right = float((x * np.asarray(transpose(y))).sum())
    np.testing.assert_allclose(left, right, rtol=1e-4)


def test_critic_without_norm():
    critic = models.DCGANDiscriminator(input_shape=(16, 16, 1), filters=2, norm=None)
    assert not any("Normalization" in type(layer).__name__ for layer in critic.layers)


def test_golden_generator_of_the_pytorch_examples():
    meta, arrays = golden.load("dcgan_netG")
    state = golden.weights(meta)
    model = models.DCGANGenerator("pytorch")
    projection = np.transpose(state["main.0.weight"], (0, 2, 3, 1)).reshape(100, -1)
    model.get_layer("project").set_weights([projection])
    golden.set_norm(model.get_layer("project_norm"), state, "main.1")
    for stage, number in enumerate((3, 6, 9), start=2):
        kernel = golden.convolution(state[f"main.{number}.weight"])
        model.get_layer(f"stage{stage}_conv").set_weights([kernel])
        golden.set_norm(model.get_layer(f"stage{stage}_norm"), state, f"main.{number + 1}")
    kernel = golden.convolution(state["main.12.weight"])
    model.get_layer("output_conv").set_weights([kernel])

    names = ["project_map", "stage2_conv", "stage3_conv", "stage4_conv", "output_conv", "output"]
    outputs = keras.Model(model.input, [model.get_layer(name).output for name in names])(
        golden.inputs(meta)
    )
    for number, ours in zip((0, 3, 6, 9, 12), outputs, strict=False):
        golden.assert_probe(meta, arrays, f"main.{number}", ours)
    ours = np.moveaxis(np.asarray(outputs[-1]), -1, 1)
    np.testing.assert_allclose(ours, arrays["output"], rtol=0, atol=meta["tolerance"]["atol"])


def test_golden_discriminator_of_the_pytorch_examples():
    meta, arrays = golden.load("dcgan_netD")
    state = golden.weights(meta)
    model = models.DCGANDiscriminator("pytorch")
    model.get_layer("stage1_conv").set_weights([golden.convolution(state["main.0.weight"])])
    for stage, number in enumerate((2, 5, 8), start=2):
        kernel = golden.convolution(state[f"main.{number}.weight"])
        model.get_layer(f"stage{stage}_conv").set_weights([kernel])
        golden.set_norm(model.get_layer(f"stage{stage}_norm"), state, f"main.{number + 1}")
    last = np.transpose(state["main.11.weight"], (2, 3, 1, 0)).reshape(-1, 1)
    model.get_layer("logits").set_weights([last])
    # The peer's discriminator ends in a sigmoid.
    ours = 1 / (1 + np.exp(-np.asarray(model(golden.inputs(meta)), np.float64)))
    np.testing.assert_allclose(
        ours.reshape(-1), arrays["output"].reshape(-1), rtol=0, atol=meta["tolerance"]["atol"]
    )


@pytest.mark.parametrize("size", [0, 8, 48, 512, "64"])
def test_sizes_that_are_refused(size):
    with pytest.raises(ArgumentError, match="image_shape"):
        models.DCGANGenerator(image_shape=(size, size, 3))


def test_conditional_generator_adds_each_classs_rows_to_the_projection():
    """Joined to the latent, a label adds its own row of the projection and changes nothing else."""
    small = {"image_shape": (16, 16, 1), "latent_size": 5, "filters": 2}
    plain = models.DCGANGenerator("pytorch", **small)
    conditional = models.DCGANGenerator("pytorch", **small, classes=3)
    names = [layer.name for layer in plain.layers]
    added = [layer.name for layer in conditional.layers if layer.name not in names]
    assert sorted(added) == ["label", "label_one_hot", "latent_and_label"]
    rows = np.random.default_rng(0).normal(size=(3, plain.get_layer("project").units))
    kernel, *others = plain.get_weights()
    # Class 1 adds nothing, so there it is the plain generator.
    rows[1] = 0
    conditional.set_weights([np.concatenate([kernel, rows]), *others])
    latent = np.random.default_rng(1).normal(size=(2, 5)).astype("float32")
    ours = [forward(conditional, [latent, np.full(2, label, "int32")]) for label in range(3)]
    np.testing.assert_allclose(ours[1], forward(plain, latent), atol=ROUNDING)
    assert not np.allclose(ours[0], ours[1], atol=1e-3)
    assert not np.allclose(ours[0], ours[2], atol=1e-3)


def test_conditional_discriminator_sees_its_classs_plane_as_a_channel():
    model = models.DCGANDiscriminator(input_shape=(16, 16, 2), filters=2, classes=3)
    joined = keras.Model(model.inputs, model.get_layer("image_and_label").output)
    image = np.random.default_rng(0).normal(size=(3, 16, 16, 2)).astype("float32")
    label = np.array([2, 0, 1], "int32")
    seen = forward(joined, [image, label])
    np.testing.assert_array_equal(seen[..., :2], image)
    planes = np.asarray(model.get_layer("label_pixels").kernel).reshape(3, 16, 16)
    np.testing.assert_allclose(seen[..., 2], planes[label], atol=1e-6)
