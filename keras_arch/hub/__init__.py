"""Loading, saving and sharing of models on the Hugging Face Hub.

A model directory and a repository have the same files: `config.json`, `metadata.json` and
`model.weights.h5` as Keras itself writes them (so that `keras.saving.load_model` opens both),
`keras_arch.json` with the card and the SHA-256 of every file, and `README.md`.
"""

from keras_arch.hub.card import Card
from keras_arch.hub.external import register_reader
from keras_arch.hub.keras_file import load_keras_file
from keras_arch.hub.layout import save
from keras_arch.hub.loading import (
    LoadedModel,
    load,
    load_with_card,
    pretrained_card,
    pull,
    read_card,
)
from keras_arch.hub.publishing import publish
from keras_arch.hub.pushing import push

__all__ = [
    "Card",
    "LoadedModel",
    "load",
    "load_keras_file",
    "load_with_card",
    "pretrained_card",
    "publish",
    "pull",
    "push",
    "read_card",
    "register_reader",
    "save",
]
