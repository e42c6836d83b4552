"""Fast paths through Keras' or TensorFlow's inner parts, each with a switch and a parity test."""
