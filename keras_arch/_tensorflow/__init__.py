"""Faster paths that reach into Keras or TensorFlow, each switchable and checked for parity."""
