"""Readers of other libraries' repositories, recognized by their `config.json`."""

from keras_arch.errors import ArgumentError, HubError
from keras_arch.hub.external.base import ExternalModel, Fetch, Reader, read_json

__all__ = ["ExternalModel", "Fetch", "Reader", "recognize", "register_reader"]

_registered: list[Reader] = []


def register_reader(reader: Reader) -> Reader:
    """Add a reader of another library's repositories, which `hub.load` then converts.

    A registered reader comes before those of this package.

    Args:
        reader: A module or an object with `LIBRARY`, `is_config` and `describe`, as
            `external.Reader` has them. It is returned.

    Raises:
        ArgumentError: If it lacks one of the three.

    Example:
        >>> from keras_arch import hub
        >>> class Mine:
        ...     LIBRARY = "mine"
        ...     def is_config(self, config):
        ...         return "my_library_version" in config
        ...     def describe(self, config, fetch, where):
        ...         return ExternalModel("mine", config["name"], ...)
        >>> hub.register_reader(Mine()).LIBRARY
        'mine'
    """
    if not isinstance(reader, Reader):
        raise ArgumentError(
            f"a reader needs LIBRARY, is_config(config) and describe(config, fetch, where), got "
            f"{reader!r}"
        )
    _registered.append(reader)
    return reader


def recognize(fetch: Fetch, where: str) -> ExternalModel | None:
    """Describe the repository `where` of another library.

    Returns:
        The description; `None` if the repository has no config, or Keras' own.

    Raises:
        HubError: If it is of another library and cannot be converted; the message says why.
        IntegrityError: If its config is damaged.
    """
    from keras_arch.hub.external import keras_hub, timm, transformers

    config = read_json(fetch, "config.json", where)
    if config is None:
        return None
    for reader in (*_registered, keras_hub, timm, transformers):
        if reader.is_config(config):
            try:
                return reader.describe(config, fetch, where)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                if not isinstance(error, ArgumentError):
                    error = f"its config is not as {reader.LIBRARY} writes it ({error!r})"
                raise HubError(f"{where} cannot be converted: {error}") from None
    return None
