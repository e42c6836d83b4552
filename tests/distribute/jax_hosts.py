"""Two games on one of several JAX processes: `jax_hosts.py FILE COUNT NUMBER PORT`."""

import sys

import keras
import numpy as np

from keras_arch import distribute
from tests.trainers import backend_step, games

STEPS = 3
GAMES = (backend_step.GAN, games.CONDITIONAL)


def main(path, count, number, port):
    if count > 1:
        # Here, because the collection of doctests imports this file where JAX is not installed.
        import jax

        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        keras.distribution.initialize(f"127.0.0.1:{port}", count, number)
        assert distribute.data_parallel().num_model_replicas == count
    results = {}
    for game in GAMES:
        trainer = game.make()
        # Endless: Keras counts the batches before it divides them.
        batches = game.batches(STEPS, with_noise=False).repeat()
        logs = trainer.fit(batches, epochs=2, steps_per_epoch=STEPS, verbose=0).history
        results |= {f"{game}/{name}": np.array(values) for name, values in logs.items()}
        for place, variable in enumerate(trainer.trainable_variables):
            # Each process has whole weights, of which it can see its own.
            results[f"{game}/{place}"] = np.array(variable.value.addressable_data(0))
    np.savez(path, **results)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
