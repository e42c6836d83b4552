"""Networks of configs whose values come from elsewhere, such as a checkpoint."""

import keras
import pytest

from keras_arch import config, models
from keras_arch.errors import KerasArchError
from keras_arch.training import factories


def builder(name, **arguments):
    return config.Builder(name=name, arguments=arguments)


@pytest.mark.parametrize(
    ("network", "left_out"),
    [
        (builder("CIFARResNet", weights="gone.keras"), ["weights"]),
        (builder("CIFARResNet"), []),
        (builder("ResNet50", weights="gone.keras"), []),
        (builder("ResNet50", weights="gone.keras", variant="v1"), ["weights"]),
        (builder("UNet", weights="gone.keras"), ["weights"]),
        (builder("UNet", backbone="ResNet50", backbone_weights="imagenet"), []),
        (
            builder(
                "UNet",
                backbone="ResNet50",
                backbone_weights="imagenet",
                backbone_arguments={"variant": "v1.5"},
            ),
            ["backbone_weights"],
        ),
        (
            builder("UNet", backbone="CIFARResNet", weights="a", backbone_weights="b"),
            ["weights", "backbone_weights"],
        ),
    ],
)
def test_weights_that_decide_on_the_variant_are_kept(network, left_out):
    assert factories._only_values(network) == left_out


def test_weights_that_are_gone_are_not_needed():
    network = builder("CIFARResNet", depth=8, input_shape=(8, 8, 1), weights="gone.keras")
    with pytest.raises(KerasArchError, match=r"there is no file 'gone\.keras'"):
        factories.build_network(network)
    with factories.without_weights():
        assert factories.build_network(network).count_params() == 75_482
    with pytest.raises(KerasArchError):
        factories.build_network(network)


def test_a_copy_has_the_variant_of_the_weights_that_training_began_with(tmp_path):
    """A stride is in another convolution, and the shapes of all weights are the same."""
    shape = (32, 32, 3)
    models.ResNet50(input_shape=shape, classes=2, variant="v1.5").save(tmp_path / "start.keras")
    network = builder(
        "ResNet50", input_shape=shape, classes=2, weights=str(tmp_path / "start.keras")
    )
    trained = factories.build_network(network)
    copy = factories.export_copy(network, trained)

    def strides(model):
        return [each.strides for each in model.layers if isinstance(each, keras.layers.Conv2D)]

    other = models.ResNet50(input_shape=shape, classes=2, variant="v1")
    assert strides(copy) == strides(trained) != strides(other)
