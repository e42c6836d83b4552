"""Data sources: one module for each kind."""

from keras_arch.data.sources.base import Source, describe, load

__all__ = ["Source", "describe", "load"]
