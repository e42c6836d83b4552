import pytest

from keras_arch import models, registry
from keras_arch.errors import ArgumentError


def test_list_models_filters_without_regard_to_case():
    assert models.list_models("cifar*") == ["CIFARResNet"]
    assert models.list_models() == sorted(models.list_models())
    assert set(models.list_models()) == {entry.name for entry in registry.entries()}


def test_create_offers_the_closest_names():
    with pytest.raises(ArgumentError, match="did you mean CIFARResNet"):
        models.create("cifarresnet20")
    with pytest.raises(ArgumentError, match="latent_size"):
        models.create("DCGANGenerator", latent=3)


def test_features_share_the_weights():
    model = models.CIFARResNet(8)
    pyramid = models.features(model)
    assert list(pyramid.output) == ["stage1", "stage2", "stage3"]
    assert pyramid.get_layer("stem_conv") is model.get_layer("stem_conv")


def test_features_of_a_model_without_stages():
    import keras

    with pytest.raises(ArgumentError, match="no feature maps"):
        models.features(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))


def test_register_refuses_a_second_builder_of_one_name():
    def CIFARResNet():
        """Another builder."""

    assert "CIFARResNet" in models.list_models()
    with pytest.raises(ArgumentError, match=r"registered already: .*cifar_resnet"):
        registry.register(
            task="discriminator", paper="", url="", default_input=(1,), parameters={}
        )(CIFARResNet)
