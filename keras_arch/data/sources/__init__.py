"""Data sources: one module for each scheme, and their base class."""

from keras_arch.data.sources.base import Source, register_source

__all__ = ["Source", "register_source"]
