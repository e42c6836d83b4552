"""GoogLeNet, the first Inception network (Szegedy et al. 2014)."""

import keras
from keras import layers

from keras_arch.errors import ArgumentError
from keras_arch.layers import batch_norm, ceil_max_pool, local_response_norm
from keras_arch.models.common import channels_last
from keras_arch.models.common.arguments import document
from keras_arch.models.common.checks import check_choice
from keras_arch.models.common.heads import Head, check_input_shape
from keras_arch.registry import register
from keras_arch.weights import Source, Weights, load_weights, open_source

# Filters of the modules (table 1): 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; after pooling.
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
VARIANTS = ("paper", "torchvision")
LEAST_SIZE = 32
# With this side the auxiliary heads' 5x5 windows fit in the map of stride 16.
LEAST_SIZE_WITH_AUXILIARY = 79
TORCHVISION_EPSILON = 1e-3
# Local response normalisation of bvlc_googlenet; Caffe divides alpha by the five channels.
LOCAL_NORM = {"k": 1.0, "alpha": 1e-4 / 5}


@register(
    task="image-classification",
    paper="Szegedy et al.: Going Deeper with Convolutions (2014)",
    url="https://arxiv.org/abs/1409.4842",
    default_input=(224, 224, 3),
    parameters={
        "": 6_998_552,
        "auxiliary=True": 13_378_280,
        "variant='torchvision'": 6_624_904,
        "variant='torchvision', auxiliary=True": 13_004_888,
    },
)
@document
def GoogLeNet(
    variant: str | None = None,
    *,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    pooling: str | None = None,
    auxiliary: bool = False,
    synchronized: bool = False,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """GoogLeNet: nine Inception modules, each of four branches side by side.

    Source: Szegedy et al. 2014, table 1 and section 5. Where the paper gives no constant (of the
    local response normalisation, of the initialisation) it is that of Caffe's bvlc_googlenet.

    Args:
        variant: `"paper"`: biases, no batch norm, local response normalisation.
            `"torchvision"`: batch norm, 3x3 convolutions in the branch of 5x5, less dropout.
            Default: that of `weights`, if they are a model (`"imagenet"` is torchvision's); else
            the paper's.
        input_shape: `(height, width, channels)` in pixels, at least 32x32; height and width may be
            `None`. With the paper's auxiliary heads at least 79x79 and fixed. Default
            (224, 224, 3).
        include_top: End in global average pooling, dropout and the classifier.
        auxiliary: With the two classifiers on modules 4a and 4d, which the paper trains with a
            weight of .3 each and leaves out afterwards. The output is then a dictionary.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` to probabilities
        `(batch, classes)`; with auxiliary heads to `{"probabilities": ...,
        "auxiliary1_probabilities": ..., "auxiliary2_probabilities": ...}` (`logits` without
        activation). Modules are named `inception_3a` to `inception_5b`; the ends of the stages are
        `stem` (stride 2) and `stage1` to `stage4` (strides 4, 8, 16, 32).

    Example:
        >>> from keras_arch import models
        >>> model = models.GoogLeNet(input_shape=(79, 79, 3), classes=5, auxiliary=True)
        >>> sorted(model.output)
        ['auxiliary1_probabilities', 'auxiliary2_probabilities', 'probabilities']

        Trained as in the paper, by `model.fit(x, {head: y for head in model.output})`;
        `GoogLeNet(weights=model)` is then the network without the heads. (A file of weights that
        was saved with them goes into a model with them first.)

        >>> weight = {"probabilities": 1.0} | {f"auxiliary{n}_probabilities": 0.3 for n in (1, 2)}
        >>> losses = {head: "sparse_categorical_crossentropy" for head in weight}
        >>> model.compile("sgd", loss=losses, loss_weights=weight)
    """
    check_choice("variant", variant, (*VARIANTS, None))
    weights = open_source(weights, "GoogLeNet", **({"variant": variant} if variant else {}))
    variant = variant or _variant_of(weights)
    head = Head(include_top, pooling, classes, classifier_activation)
    if auxiliary and not include_top:
        raise ArgumentError("auxiliary=True is for include_top=True: the heads are classifiers")
    paper = variant == "paper"
    least = LEAST_SIZE_WITH_AUXILIARY if auxiliary and paper else LEAST_SIZE
    input_shape = check_input_shape(
        input_shape, default=(224, 224, 3), minimum=least, dynamic=not auxiliary
    )

    def convolution(x, filters, kernel, name, stride=1):
        return _convolution(x, filters, kernel, stride, name, paper, synchronized)

    image = keras.Input(input_shape, name="image")
    x = convolution(image, 64, 7, "conv1", stride=2)
    x = layers.Identity(name="stem")(x)
    x = ceil_max_pool(x, 3, 2, "pool1")
    if paper:
        x = local_response_norm(x, "norm1", **LOCAL_NORM)
    x = convolution(x, 64, 1, "conv2_reduce")
    x = convolution(x, 192, 3, "conv2")
    if paper:
        x = local_response_norm(x, "norm2", **LOCAL_NORM)
    x = layers.Identity(name="stage1")(x)
    x = ceil_max_pool(x, 3, 2, "pool2")
    heads = []
    for module, filters in MODULES.items():
        x = _inception(x, filters, f"inception_{module}", paper, convolution)
        if module in ("4a", "4d") and auxiliary:
            prefix = f"auxiliary{len(heads) + 1}_"
            y = _auxiliary(x, prefix, paper, convolution)
            heads.append(head.classify(y, kernel_initializer=_start(paper), prefix=prefix))
        if module in ("3b", "4e", "5b"):
            # The same map under the name that all families give to the end of a stage.
            x = layers.Identity(name=f"stage{int(module[0]) - 1}")(x)
        if module == "3b":
            x = ceil_max_pool(x, 3, 2, "pool3")
        if module == "4e":
            # torchvision's windows of the last pooling are 2x2.
            x = ceil_max_pool(x, 3 if paper else 2, 2, "pool4")
    if include_top:
        x = channels_last.GlobalAveragePooling2D(name="pool")(x)
        x = layers.Dropout(0.4 if paper else 0.2, name="drop")(x)
        output = head.classify(x, kernel_initializer=_start(paper))
        if auxiliary:
            heads = [output, *heads]
            output = {x._keras_history.operation.name: x for x in heads}
    else:
        output = head.pool(x)
    model = keras.Model(image, output, name=name or "googlenet")
    return load_weights(model, weights, "GoogLeNet", variant=variant)


def _variant_of(weights):
    """The variant of a model's weights, by its layers; else the paper's."""
    found = weights.model.layers if isinstance(weights, Source) else ()
    return "torchvision" if any(x.name == "conv1_norm" for x in found) else "paper"


def _convolution(x, filters, kernel, stride, name, paper, synchronized):
    """A convolution that pads evenly, with ReLU; in torchvision's, batch norm for the bias."""
    if stride > 1:
        # Keras' "same" pads only below and right when it strides over an even size.
        x = channels_last.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    x = channels_last.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="valid" if stride > 1 else "same",
        use_bias=paper,
        kernel_initializer=_start(paper),
        bias_initializer=keras.initializers.Constant(0.2),
        name=f"{name}_conv",
    )(x)
    if not paper:
        x = batch_norm(f"{name}_norm", synchronized=synchronized, epsilon=TORCHVISION_EPSILON)(x)
    return layers.Activation("relu", name=name)(x)


def _start(paper):
    """A fresh initializer: Caffe's "xavier" by fan-in, or torchvision's narrow normal."""
    if paper:
        return keras.initializers.VarianceScaling(1.0, mode="fan_in", distribution="uniform")
    return keras.initializers.RandomNormal(0.0, 0.01)


def _inception(x, filters, name, paper, convolution):
    """Four branches side by side (figure 2b)."""
    one, reduce_three, three, reduce_five, five, after_pool = filters
    branches = [convolution(x, one, 1, f"{name}_1x1")]
    y = convolution(x, reduce_three, 1, f"{name}_3x3_reduce")
    branches.append(convolution(y, three, 3, f"{name}_3x3"))
    y = convolution(x, reduce_five, 1, f"{name}_5x5_reduce")
    branches.append(convolution(y, five, 5 if paper else 3, f"{name}_5x5"))
    y = channels_last.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    branches.append(convolution(y, after_pool, 1, f"{name}_pool_proj"))
    return layers.Concatenate(name=name)(branches)


def _auxiliary(x, prefix, paper, convolution):
    """The hidden layers of an auxiliary head (section 5)."""
    if paper:
        x = channels_last.AveragePooling2D(5, strides=3, name=f"{prefix}pool")(x)
    else:
        x = channels_last.AdaptiveAveragePooling2D(4, name=f"{prefix}pool")(x)
    x = convolution(x, 128, 1, f"{prefix}reduce")
    x = channels_last.Flatten(name=f"{prefix}flatten")(x)
    start, bias = _start(paper), keras.initializers.Constant(0.2 if paper else 0.0)
    x = layers.Dense(1024, kernel_initializer=start, bias_initializer=bias, name=f"{prefix}fc")(x)
    x = layers.Activation("relu", name=f"{prefix}fc_relu")(x)
    return layers.Dropout(0.7, name=f"{prefix}drop")(x)
