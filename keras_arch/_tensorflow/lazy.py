"""TensorFlow as `tf`, imported when it is first used, so that modules that use it load fast."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf
else:

    class _LazyTensorFlow:
        """A stand-in for the module `tensorflow`."""

        def __getattr__(self, name: str) -> Any:
            import tensorflow

            return getattr(tensorflow, name)

    tf = _LazyTensorFlow()

__all__ = ["tf"]
