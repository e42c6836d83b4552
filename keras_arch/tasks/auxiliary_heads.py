"""Classifiers with auxiliary heads: trained with all of them, shared without.

GoogLeNet's builder gives a dictionary of outputs. For training they become one tensor
`(batch, heads, classes)`, the classifier's own logits first, so that labels, metrics and their
names are those of every other classifier.
"""

from typing import Any

import keras
from keras import ops

from keras_arch import config, weights
from keras_arch.training import factories

MAIN = "logits"


def joined(network: keras.Model) -> keras.Model:
    """The network with all heads in one output; a network of one head as it is.

    Example:
        >>> from keras_arch import models
        >>> network = models.GoogLeNet(
        ...     input_shape=(79, 79, 3), classes=5, auxiliary=True, classifier_activation=None
        ... )
        >>> joined(network).output_shape
        (None, 3, 5)
    """
    if not isinstance(network.output, dict):
        return network
    names = sorted(network.output, key=lambda name: (name != MAIN, name))
    stacked = ops.stack([network.output[name] for name in names], axis=1)
    return keras.Model(network.input, stacked, name=network.name)


def are_joined(network: keras.Model) -> bool:
    """Whether a network is one that `joined` made of several heads."""
    return len(network.output_shape) == 3


def main(network: keras.Model) -> keras.Model:
    """The classifier alone, with the weights of a network that `joined` gave."""
    if not are_joined(network):
        return network
    return keras.Model(network.input, network.get_layer(MAIN).output, name=network.name)


def shared(builder: config.Builder) -> config.Builder:
    """The builder of what is published: the classifier without its auxiliary heads.

    Example:
        >>> shared(config.Builder(name="GoogLeNet", arguments={"auxiliary": True})).arguments
        {}
    """
    arguments = {name: value for name, value in builder.arguments.items() if name != "auxiliary"}
    return builder.model_copy(update={"arguments": arguments})


def published(builder: config.Builder, network: keras.Model) -> keras.Model:
    """A trained network as it is shared: as `factories.published`, without auxiliary heads."""
    if not are_joined(network):
        return factories.published(builder, network)
    return weights.transfer(
        factories.in_single_precision(shared(builder)), network, "the trained network"
    )


class HeadsLoss(keras.losses.Loss):
    """The loss of the classifier and, times a weight, that of each auxiliary head.

    Source: Szegedy et al. 2014, section 5: "their loss gets added to the total loss of the network
    with a discount weight (the losses of the auxiliary classifiers were weighted by 0.3)".

    Args:
        loss: Of one head.
        weight: Of each auxiliary head.

    Example:
        >>> import numpy as np
        >>> one = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> even = np.zeros((1, 3, 2), "float32")  # three heads that do not know: log 2 each
        >>> round(float(HeadsLoss(one, 0.3)(np.array([0]), even)) / float(np.log(2)), 4)
        1.6
    """

    def __init__(self, loss: keras.losses.Loss, weight: float) -> None:
        super().__init__(name="heads")
        self.loss = loss
        self.weight = weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses of a batch of `(batch, heads, classes)`, an image each."""
        losses = [self.loss.call(y_true, y_pred[:, head]) for head in range(y_pred.shape[1])]
        return losses[0] + self.weight * sum(losses[1:])


def accuracy(shares: bool) -> keras.metrics.Metric:
    """The accuracy of the classifier itself.

    Args:
        shares: Whether labels are shares of classes, and not numbers.
    """
    of_one = (
        keras.metrics.categorical_accuracy if shares else keras.metrics.sparse_categorical_accuracy
    )
    return keras.metrics.MeanMetricWrapper(
        lambda y_true, y_pred: of_one(y_true, y_pred[:, 0]), name="accuracy"
    )
