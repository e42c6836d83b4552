"""Parameter counts against the papers and their reference code.

The numbers in the registry are facts that were computed from the papers' layer lists, not from
these builders; the ones below repeat the published tables, so that neither can drift alone.
"""

import ast

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


def _arguments(call):
    keywords = ast.parse(f"f({call})", mode="eval").body.keywords
    return {keyword.arg: ast.literal_eval(keyword.value) for keyword in keywords}


@pytest.mark.parametrize(
    ("name", "call", "count"),
    [pytest.param(*row, marks=pytest.mark.slow if "1202" in row[1] else ()) for row in ALL],
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
