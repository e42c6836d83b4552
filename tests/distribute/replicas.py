"""Program that trains every game on so many logical devices of this machine, and on one.

Prints the largest difference of a variable, for each game.
"""

import json
import sys

import numpy as np
import tensorflow as tf

COUNT = int(sys.argv[1]) if __name__ == "__main__" else 1


def main():
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * COUNT,
    )
    from keras_arch import distribute
    from tests.trainers import games
    from tests.trainers.test_trainers import whole

    devices = [f"CPU:{number}" for number in range(COUNT)]
    several = distribute.strategy("mirrored", devices=devices)
    found = {}
    for game in games.ALL:
        ends, start = [], None
        for strategy in (tf.distribute.get_strategy(), several):
            with strategy.scope():
                trainer = game.make()
            if start is not None:
                trainer.set_weights(start)
            start = trainer.get_weights()
            trainer.fit(game.batches(6, with_noise=False), verbose=0, shuffle=False)
            ends.append(whole(trainer))
        pairs = zip(*ends, strict=True)
        found[str(game)] = max(float(np.abs(one - other).max()) for one, other in pairs if one.size)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
