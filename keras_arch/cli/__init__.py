"""Command line `keras-arch`: each command is a thin call of `keras_arch.api`.

Keras and TensorFlow are imported when a command needs them, so that help and listings answer at
once. A user's error ends in one line on standard error and exit code 2.
"""

from keras_arch.cli.app import app, main

__all__ = ["app", "main"]
