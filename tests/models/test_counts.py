"""Parameter counts against the papers and their reference code.

The numbers in the registry are facts that were computed from the papers' layer lists, not from
these builders; the ones below repeat the published tables, so that neither can drift alone.
"""

import ast
import functools
import itertools

import pytest

from keras_arch import models, registry
from keras_arch.models import trainable_parameters as trainable
from tests.models.tester import unallocated

PUBLISHED = {
    ("CIFARResNet", 20): 269_722,
    ("CIFARResNet", 32): 464_154,
    ("CIFARResNet", 44): 658_586,
    ("CIFARResNet", 56): 853_018,
    ("CIFARResNet", 110): 1_727_962,
}
ALL = [
    (entry.name, call, count)
    for entry in registry.entries()
    for call, count in entry.parameters.items()
]
# Of too many layers to build at every run of the tests, or of a network that is counted below.
HUGE = ("depth=1202", "variant='tfd_stacked'")
COUNTED_BELOW = ("ResNet101", "ResNet152")


@pytest.fixture(autouse=True)
def without_values():
    with unallocated():
        yield


@functools.cache
def count_of(name, **arguments):
    return trainable(models.create(name, **arguments))


def _arguments(call):
    keywords = ast.parse(f"f({call})", mode="eval").body.keywords
    return {keyword.arg: ast.literal_eval(keyword.value) for keyword in keywords}


@pytest.mark.parametrize(
    ("name", "call", "count"),
    [
        pytest.param(
            *row, marks=pytest.mark.slow if row[1] in HUGE or row[0] in COUNTED_BELOW else ()
        )
        for row in ALL
    ],
)
def test_registered_counts(name, call, count):
    assert count_of(name, **_arguments(call)) == count


@pytest.mark.parametrize(("key", "count"), PUBLISHED.items())
def test_cifar_table(key, count):
    assert count_of(key[0], depth=key[1]) == count


@pytest.mark.parametrize(
    "depth", [20, 56, *(pytest.param(n, marks=pytest.mark.slow) for n in (32, 44, 110))]
)
def test_plain_net_has_the_count_of_option_a_and_b_adds_2752(depth):
    residual = count_of("CIFARResNet", depth=depth)
    assert count_of("CIFARResNet", depth=depth, residual=False) == residual
    assert count_of("CIFARResNet", depth=depth, shortcut="B") == residual + 2_752


@pytest.mark.parametrize("blocks", [1, 2, 3, 9])
def test_closed_form(blocks):
    # Weights of 3x3 convolutions, two batch norm parameters a filter, and the classifier.
    convolutions = 9 * 3 * 16 + 2 * 16
    width = 16
    for filters in (16, 32, 64):
        for _ in range(blocks):
            convolutions += 9 * width * filters + 9 * filters * filters + 4 * filters
            width = filters
    assert trainable(models.CIFARResNet(6 * blocks + 2)) == convolutions + 64 * 10 + 10


def test_published_dcgan_port():
    assert trainable(models.DCGANGenerator("pytorch")) == 3_576_704
    assert trainable(models.DCGANDiscriminator("pytorch")) == 2_765_568


def test_published_first_gans():
    assert trainable(models.GANGenerator()) == 2_503_984
    assert trainable(models.GANDiscriminator()) == 1_231_441
    assert trainable(models.CGANGenerator()) == 2_413_984
    assert trainable(models.CGANDiscriminator()) == 1_224_351


def _perceptron(*widths):
    return sum(a * b + b for a, b in itertools.pairwise(widths))


@pytest.mark.parametrize("units", [1, 7])
@pytest.mark.parametrize("pixels", [4, 64])
def test_perceptrons_in_closed_form(units, pixels):
    shape = (pixels // 2, 2, 1)
    generator = models.GANGenerator(image_shape=shape, latent_size=9, units=units)
    assert trainable(generator) == _perceptron(9, units, units, pixels)
    discriminator = models.GANDiscriminator(input_shape=shape, units=units, pieces=3)
    hidden = _perceptron(pixels, 3 * units) + _perceptron(units, 3 * units)
    assert trainable(discriminator) == hidden + _perceptron(units, 1)


@pytest.mark.parametrize("classes", [None, 4])
def test_pyramid_in_closed_form(classes):
    sizes, channels, filters, units = (4, 9, 12), 2, 3, 5
    labels = classes or 0
    arguments = {"classes": classes, "filters": filters}
    expected = _perceptron(6 + labels, units, units, 4 * 4 * channels)
    for size in sizes[1:]:
        plane = _perceptron(labels, size * size) if classes else 0
        planes = 1 + channels + bool(classes)
        expected += plane + 49 * planes * filters + filters + 49 * filters * filters + filters
        expected += 25 * filters * channels + channels

        side = (size - 4 - 5) // 2 + 1
        judged = plane + 25 * (channels + bool(classes)) * filters + filters
        judged += 25 * filters * filters + filters + side * side * filters + 1
        shape = (size, size, channels)
        assert trainable(models.LAPGANDiscriminator(input_shape=shape, **arguments)) == judged
    arguments["units"] = units
    generator = models.LAPGANGenerator(
        image_shape=shape, coarser_sizes=sizes[:-1], latent_size=6, **arguments
    )
    assert trainable(generator) == expected
    coarsest = models.LAPGANDiscriminator(input_shape=(4, 4, channels), coarsest=True, **arguments)
    assert trainable(coarsest) == _perceptron(4 * 4 * channels + labels, units, units, 1)


IMAGENET = {
    ("AlexNet", "paper"): 60_965_224,
    ("AlexNet", "one_tower"): 62_378_344,
    ("AlexNet", "torchvision"): 61_100_840,
    ("VGG11", None): 132_863_336,
    ("VGG13", None): 133_047_848,
    ("VGG16", "C"): 133_638_952,
    ("VGG16", None): 138_357_544,
    ("VGG19", None): 143_667_240,
    ("GoogLeNet", "paper"): 6_998_552,
    ("GoogLeNet", "torchvision"): 6_624_904,
    ("ResNet18", None): 11_689_512,
    ("ResNet34", None): 21_797_672,
    ("ResNet50", None): 25_557_032,
    ("ResNet101", None): 44_549_160,
    ("ResNet152", None): 60_192_808,
}


@pytest.mark.parametrize(("key", "count"), IMAGENET.items())
def test_imagenet_tables(key, count):
    name, variant = key
    assert count_of(name, **({"variant": variant} if variant else {})) == count


@pytest.mark.parametrize(
    ("name", "depth", "total"), [("ResNet50", 50, 25_636_712), ("ResNet101", 101, 44_707_176)]
)
def test_keras_applications_counts_biases_and_statistics_too(name, depth, total):
    """Its total is ours, one bias for each filter of a convolution, and the moving statistics."""
    model = models.create(name)
    convolutions = [x for x in model.layers if type(x).__name__ == "Conv2D"]
    assert len([x for x in convolutions if "shortcut" not in x.name]) == depth - 1
    assert model.count_params() + sum(x.filters for x in convolutions) == total


@pytest.mark.parametrize(("name", "plain"), [("ResNet18", 11_515_688), ("ResNet34", 21_623_848)])
def test_plain_imagenet_nets_have_the_count_of_option_a(name, plain):
    assert count_of(name, residual=False) == plain
    assert count_of(name, shortcut="A") == plain


def test_option_c_projects_in_every_block():
    # Each further projection of stage s: w x w weights and two of batch norm, w the stage's width.
    more = sum(
        (blocks - 1) * (width * width + 2 * width)
        for width, blocks in ((256, 3), (512, 4), (1024, 6), (2048, 3))
    )
    assert trainable(models.ResNet50(shortcut="C")) == 25_557_032 + more


@pytest.mark.parametrize("variant", ["paper", "torchvision"])
def test_auxiliary_heads(variant):
    model = models.GoogLeNet(variant=variant, auxiliary=True)
    heads = [0, 0]
    for layer in model.layers:
        for number in (1, 2):
            if layer.name.startswith(f"auxiliary{number}_"):
                heads[number - 1] += trainable(layer)
    # torchvision has a gain and a bias for each of 128 filters where the paper has a bias.
    more = 128 if variant == "torchvision" else 0
    assert heads == [3_188_840 + more, 3_190_888 + more]


def test_vgg_without_top():
    assert count_of("VGG16", include_top=False) == 14_714_688
    assert count_of("VGG19", include_top=False) == 20_024_384
