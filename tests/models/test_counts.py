"""Parameter counts against the papers and their reference code.

The numbers in the registry are facts that were computed from the papers' layer lists, not from
these builders; the ones below repeat the published tables, so that neither can drift alone.
"""

import ast
import itertools

import pytest

from keras_arch import models, registry
from keras_arch.models import trainable_parameters as trainable

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
# Too large to build at every run of the tests.
HUGE = ("depth=1202", "variant='tfd_stacked'")


def _arguments(call):
    keywords = ast.parse(f"f({call})", mode="eval").body.keywords
    return {keyword.arg: ast.literal_eval(keyword.value) for keyword in keywords}


@pytest.mark.parametrize(
    ("name", "call", "count"),
    [pytest.param(*row, marks=pytest.mark.slow if row[1] in HUGE else ()) for row in ALL],
)
def test_registered_counts(name, call, count):
    assert trainable(models.create(name, **_arguments(call))) == count


@pytest.mark.parametrize(("key", "count"), PUBLISHED.items())
def test_cifar_table(key, count):
    assert trainable(models.create(key[0], depth=key[1])) == count


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_plain_net_has_the_count_of_option_a_and_b_adds_2752(depth):
    residual = trainable(models.CIFARResNet(depth))
    assert trainable(models.CIFARResNet(depth, residual=False)) == residual
    assert trainable(models.CIFARResNet(depth, shortcut="B")) == residual + 2_752


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
    assert trainable(models.DCGANGenerator()) == 3_576_704
    assert trainable(models.DCGANDiscriminator()) == 2_765_568


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
    discriminator = models.GANDiscriminator(image_shape=shape, units=units, pieces=3)
    hidden = _perceptron(pixels, 3 * units) + _perceptron(units, 3 * units)
    assert trainable(discriminator) == hidden + _perceptron(units, 1)


@pytest.mark.parametrize("classes", [None, 4])
def test_pyramid_in_closed_form(classes):
    sizes, channels, filters, units = (4, 9, 12), 2, 3, 5
    labels = classes or 0
    arguments = {"sizes": sizes, "channels": channels, "classes": classes, "filters": filters}
    expected = _perceptron(6 + labels, units, units, 4 * 4 * channels)
    for size in sizes[1:]:
        plane = _perceptron(labels, size * size) if classes else 0
        planes = 1 + channels + bool(classes)
        expected += plane + 49 * planes * filters + filters + 49 * filters * filters + filters
        expected += 25 * filters * channels + channels

        side = (size - 4 - 5) // 2 + 1
        judged = plane + 25 * (channels + bool(classes)) * filters + filters
        judged += 25 * filters * filters + filters + side * side * filters + 1
        assert trainable(models.LAPGANDiscriminator(size, **arguments)) == judged
    assert trainable(models.LAPGANGenerator(latent_size=6, units=units, **arguments)) == expected
    coarsest = models.LAPGANDiscriminator(4, units=units, **arguments)
    assert trainable(coarsest) == _perceptron(4 * 4 * channels + labels, units, units, 1)
