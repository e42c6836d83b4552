"""Variables of metrics, which are made before a run is restored."""

import keras
import numpy as np

from keras_arch.training import factories


def test_they_are_there_and_no_graph_is_kept():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"], jit_compile=False)
    assert len(model.metrics_variables) == 2, "the mean loss alone"
    factories.make_metric_variables(model, np.ones((1, 3)), np.ones(1, np.int64))
    assert len(model.metrics_variables) == 4
    assert not any(np.asarray(variable).any() for variable in model.metrics_variables)
    assert not model.run_eagerly
    # A function of these shapes would be traced again for those of the data.
    assert model.test_function is None
    assert model.evaluate(np.ones((5, 3)), np.ones(5, np.int64), verbose=0)[1] in (0, 1)
