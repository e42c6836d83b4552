"""Classifiers with auxiliary heads: trained with all of them, saved without.

`models.stack_heads` puts the heads of GoogLeNet into one tensor `(batch, heads, classes)`, the
classifier's own logits first, so that labels and metrics are those of every other classifier.
"""

from typing import Any

import keras

from keras_arch import config, weights
from keras_arch.training import factories


def without_auxiliary(builder: config.Builder) -> config.Builder:
    """The builder of the saved classifier, which has no auxiliary heads.

    Example:
        >>> without_auxiliary(
        ...     config.Builder(name="GoogLeNet", arguments={"auxiliary": True})
        ... ).arguments
        {}
    """
    arguments = {name: value for name, value in builder.arguments.items() if name != "auxiliary"}
    return builder.model_copy(update={"arguments": arguments})


def export_copy(builder: config.Builder, network: keras.Model) -> keras.Model:
    """A copy of a trained classifier to save: as `factories.export_copy`, one head only."""
    if len(network.output_shape) != 3:
        return factories.export_copy(builder, network)
    copy = factories.build_in_float32(without_auxiliary(builder))
    return weights.transfer(copy, network, "the trained network")


class AuxiliaryHeadsLoss(keras.losses.Loss):
    """The loss of the classifier plus, times a weight, that of each auxiliary head.

    Source: Szegedy et al. 2014, section 5: "their loss gets added to the total loss of the network
    with a discount weight (the losses of the auxiliary classifiers were weighted by 0.3)".

    Args:
        loss: The loss of one head.
        weight: The weight of each auxiliary head.

    Example:
        >>> import numpy as np
        >>> one = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> uniform = np.zeros((1, 3, 2), "float32")  # three undecided heads: log 2 each
        >>> loss = AuxiliaryHeadsLoss(one, 0.3)(np.array([0]), uniform)
        >>> round(float(loss) / float(np.log(2)), 4)
        1.6
    """

    def __init__(self, loss: keras.losses.Loss, weight: float) -> None:
        super().__init__(name="auxiliary_heads")
        self.loss = loss
        self.weight = weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each image of a batch `(batch, heads, classes)`."""
        losses = [self.loss.call(y_true, y_pred[:, head]) for head in range(y_pred.shape[1])]
        return losses[0] + self.weight * sum(losses[1:])


def main_head_accuracy(one_hot: bool) -> keras.metrics.Metric:
    """The accuracy of the classifier itself.

    Args:
        one_hot: Whether labels are one-hot or mixed, `(batch, classes)`, and not numbers.
    """
    of_one = (
        keras.metrics.categorical_accuracy if one_hot else keras.metrics.sparse_categorical_accuracy
    )
    return keras.metrics.MeanMetricWrapper(
        lambda y_true, y_pred: of_one(y_true, y_pred[:, 0]), name="accuracy"
    )
