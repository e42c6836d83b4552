"""Training steps of the adversarial trainers, one module for each Keras backend."""
