"""Export of trained models in formats that servers load: `NAME/VERSION/`, whole or not at all.

One module a format, each with one function that checks its arguments and fills a folder;
`versions.py` numbers and places that folder. The signatures of a model are those of its task.
"""

from keras_arch.export.savedmodel import saved_model
from keras_arch.export.spec import ExportSpec, Servable

__all__ = ["ExportSpec", "Servable", "saved_model"]
