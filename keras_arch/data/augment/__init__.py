"""Random augmentation of training images; one module for each kind.

Draws are stateless: the same seed gives the same change. Keras' own layers draw from a state that
changes with every call, so that a resumed run could not repeat a batch, and are not used.
"""
