"""The command line `keras-arch`: each command is a thin call of one function below.

Nothing here imports Keras or TensorFlow before a command needs them, so that help and listings
answer at once. A user's mistake is told in one line, with exit code 2.
"""

from keras_arch.cli.app import app, main

__all__ = ["app", "main"]
