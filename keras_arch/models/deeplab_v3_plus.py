"""DeepLabV3+ (Chen et al. 2018) with KerasCV's head on the backbones of this package.

Atrous spatial pyramid pooling looks at the coarsest map at several dilation rates, and a decoder
joins it with a map of stride 4.

The layers of KerasCV's `DeepLabV3Plus` are copied with their settings into a functional graph, so
that a saved model holds stock Keras layers only. `tests/models/test_deeplab_v3_plus.py` compares.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
from keras import layers, ops

from keras_arch import kerascv
from keras_arch import layers as shared
from keras_arch.errors import ArgumentError
from keras_arch.models.common import channels_last, pixelwise, sizes
from keras_arch.models.common.arguments import document
from keras_arch.models.common.heads import check_input_shape, probabilities
from keras_arch.registry import register
from keras_arch.weights import Weights, load_weights

# Layers of KerasCV's `Sequential`s by the ends of our names for them.
_SUFFIXES = {
    layers.Conv2D: "conv",
    layers.BatchNormalization: "norm",
    layers.Activation: "relu",
    layers.ReLU: "relu",
    layers.Dropout: "dropout",
}


@register(
    task="image-segmentation",
    paper=(
        "Chen, Zhu, Papandreou, Schroff, Adam: Encoder-Decoder with Atrous Separable Convolution "
        "for Semantic Image Segmentation (2018), section 3"
    ),
    url="https://arxiv.org/abs/1802.02611",
    default_input=(512, 512, 3),
    parameters={"": 39_139_232, "backbone='ResNet18'": 15_395_232},
)
@document
def DeepLabV3Plus(
    *,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int = 21,
    backbone: str | keras.Model = "ResNet50",
    backbone_weights: Weights = None,
    backbone_arguments: Mapping[str, Any] | None = None,
    classifier_activation: str | None = "softmax",
    synchronized: bool = False,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """DeepLabV3+: atrous spatial pyramid pooling and a decoder of stride 4.

    Source: Chen et al. 2018, in the form of KerasCV 0.9; building it needs the extra `kerascv`, and
    loading a saved one does not. KerasCV differs from the paper: the pooling at rates 6, 12 and 18
    looks at the backbone's map of stride 32, not 16; the decoder has one 1x1 convolution, the paper
    two of 3x3; no convolution is separable. Batch norm has epsilon 0.001 and momentum 0.99.

    Two things differ from KerasCV's model; they change no number beyond rounding. Classes are
    scored before the last bilinear upsampling, not after it, which takes a sixteenth of the memory.
    Maps are cropped where height or width is no multiple of 32, which KerasCV does not take.

    Args:
        input_shape: `(height, width, channels)` in pixels; height and width may be `None`. Default
            (512, 512, 3), or that of a `backbone` that is a model.
        classes: Number of classes. Default 21, those of PASCAL VOC with the background.
        backbone: A registered backbone that pads its maps and has them at strides 4 and 32, such as
            `"ResNet50"` (default); or a functional Keras model, such as one of
            `keras.applications` or of KerasCV, which is copied with its weights.
        name: Name of the model. Default `"deeplabv3plus_resnet50"`, after the backbone.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` to probabilities `(batch,
        height, width, classes)`.

    Raises:
        KerasArchError: If KerasCV is not installed or too old.
        ArgumentError: If an argument is not one of the above, or the weights do not fit.

    Example:
        >>> from keras_arch import models
        >>> models.DeepLabV3Plus(input_shape=(64, 96, 3), backbone="ResNet18").output_shape
        (None, 64, 96, 21)
    """
    classes = pixelwise.check_classes(classes, classifier_activation)
    usual_shape = pixelwise.default_shape(backbone, (512, 512, 3))
    input_shape = check_input_shape(input_shape, default=usual_shape, minimum=5)
    usual_name = pixelwise.name_of(backbone)
    image, maps = pixelwise.pyramid(
        backbone, input_shape, backbone_weights, backbone_arguments, synchronized, multiple=32
    )
    if not maps.keys() >= {2, 5}:
        raise ArgumentError(
            "DeepLabV3Plus needs maps of strides 4 and 32; "
            f"{usual_name} has {', '.join(str(2**level) for level in maps)}"
        )
    fine, coarse = maps[2], maps[5]
    head = _Head(synchronized)
    x = head.pyramid_pooling(coarse)
    x = sizes.upsample_bilinear(x, 8, "aspp_upsampling")
    x = pixelwise.crop_to(x, fine, 0, "aspp_crop")
    low = head.copies(fine, head.projector.layers, "low_level_feature")
    x = layers.Concatenate(name="decoder_concat")([x, low])
    *decoder, _, scores = head.decoder.layers
    x = head.copies(x, decoder, "segmentation_head")
    x = head.copy(scores, "logits", filters=classes, activation="linear")(x)
    x = sizes.upsample_bilinear(x, 4, "logits_upsampling", dtype=shared.output_dtype())
    x = pixelwise.crop_to(x, image, 0, "crop")
    x = probabilities(x, classifier_activation)
    with shared.recursion_limit():
        model = keras.Model(image, x, name=name or f"deeplabv3plus_{usual_name.lower()}")
    return load_weights(model, weights, "DeepLabV3Plus")


class _Head:
    """Layers of KerasCV's DeepLabV3+ head, and functional copies of them."""

    def __init__(self, synchronized: bool) -> None:
        self._synchronized = synchronized
        keras_cv = kerascv.package()
        # The smallest backbone that KerasCV takes: only the settings of the layers are used.
        image = keras.Input((32, 32, 1))
        fine = channels_last.AveragePooling2D(4, name="P2")(image)
        coarse = channels_last.AveragePooling2D(8, name="P5")(fine)
        backbone = _Pyramid(image, coarse)
        data_format = keras.config.image_data_format()
        try:
            # KerasCV has no other order.
            keras.config.set_image_data_format("channels_last")
            model = keras_cv.models.DeepLabV3Plus(backbone=backbone, num_classes=2)
        finally:
            keras.config.set_image_data_format(data_format)
        self.pooling = model.spatial_pyramid_pooling
        self.decoder = model.segmentation_head
        (self.projector,) = (
            layer
            for layer in model.layers
            if isinstance(layer, keras.Sequential) and layer is not self.decoder
        )

    def pyramid_pooling(self, x: Any) -> Any:
        """Atrous spatial pyramid pooling: the branches side by side, and their projection."""
        *atrous, pooled = self.pooling.aspp_parallel_channels
        maps = [self.copies(x, part.layers, f"aspp{i}") for i, part in enumerate(atrous, start=1)]
        # One pixel for the whole image; KerasCV brings it to a vector and back.
        mean = channels_last.GlobalAveragePooling2D(keepdims=True, name="aspp_pool")(x)
        mean = self.copies(mean, pooled.layers[2:], "aspp_pool")
        x = layers.Concatenate(name="aspp_concat")([*maps, mean + ops.zeros_like(maps[0])])
        return self.copies(x, self.pooling.projection.layers, "aspp_projection")

    def copies(self, x: Any, originals: Iterable[layers.Layer], prefix: str) -> Any:
        """Apply copies of layers one after another."""
        for layer in originals:
            x = self.copy(layer, f"{prefix}_{_SUFFIXES[type(layer)]}")(x)
        return x

    def copy(self, layer: layers.Layer, name: str, **settings: Any) -> layers.Layer:
        """A layer of the same settings and fresh weights under our name."""
        config = layer.get_config() | {"name": name} | settings
        if isinstance(layer, layers.BatchNormalization):
            config |= {"synchronized": self._synchronized}
            return shared.fuse(type(layer).from_config(config))
        return type(layer).from_config(config)


class _Pyramid(keras.Model):
    """A functional model that names its maps as KerasCV's tasks ask for them."""

    pyramid_level_inputs = {"P2": "P2", "P5": "P5"}
