"""Program that trains a config on this host, as a JSON object says: `{"source": ..., "out": ...}`.

Dropout is off: replicas draw it apart.
"""

import json
import sys

import keras

import keras_arch


def main(given):
    keras.layers.Dropout.call = lambda self, inputs, training=False: inputs
    if weights := given.pop("finetune", None):
        run = keras_arch.finetune(weights, given.pop("source"), **given)
    else:
        run = keras_arch.train(given.pop("source"), **given)
    print(json.dumps(run.metrics))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
