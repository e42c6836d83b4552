"""Random augmentation of training images; one module for each kind."""
