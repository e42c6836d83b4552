"""A trained model in the form that a server loads: `NAME/VERSION/`, written whole or not at all.

One module a format, each with one function that checks what it is given and fills a folder;
`versions.py` numbers and places that folder.
"""

from keras_arch.export.savedmodel import saved_model

__all__ = ["saved_model"]
