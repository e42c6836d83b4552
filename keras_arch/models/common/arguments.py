"""Documentation and signatures that the builders of networks share."""

import difflib
import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Collection
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import keras

from keras_arch.models.common.saving import warn_of_h5

# What other libraries call our arguments.
_HABITS = {
    "activation": "classifier_activation",
    "encoder": "backbone",
    "encoder_depth": "depth",
    "encoder_name": "backbone",
    "encoder_weights": "backbone_weights",
    "in_channels": "input_shape=(height, width, channels)",
    "in_chans": "input_shape=(height, width, channels)",
    "num_classes": "classes",
    "pretrained": 'weights="imagenet"',
}
Builder = TypeVar("Builder", bound=Callable[..., keras.Model])
P = ParamSpec("P")

SHARED = {
    "include_top": "End in global average pooling and the classifier.",
    "pooling": 'Without top: `"avg"` or `"max"` over the last map, or `None` for the map itself.',
    "classes": "Number of classes.",
    "classifier_activation": '`"softmax"`, `"sigmoid"`, or `None` for logits.',
    "latent_size": "Length of the latent.",
    "backbone_weights": "`weights` of a registered backbone, such as a classifier of its kind.",
    "backbone_arguments": 'Others of a registered backbone, such as `{"variant": "v1.5"}`.',
    "synchronized": "Batch norm statistics over all replicas of a distribution strategy.",
    "weights": "`None` for random weights, or what `keras_arch.weights.load_weights` takes: "
    '`"imagenet"` or another tag of `models.list_weights`, `"hf://user/repo"`, a directory, a '
    "file or a model.",
    "name": "Name of the model. Default: the architecture's, in lower case.",
}
_RAISES = (
    "Raises:\n    ArgumentError: If an argument or the weights do not fit; it says what would."
)
_WIDTH = 96


def document(builder: Builder) -> Builder:
    """Complete a builder's docstring by the arguments and errors that all builders share.

    Args:
        builder: Its docstring may leave out arguments of `SHARED`, and `Raises`.

    Raises:
        KeyError: If an argument is described nowhere.

    Example:
        >>> def Small(*, units: int = 3, name: str | None = None):
        ...     '''A small network.
        ...
        ...     Args:
        ...         units: Width of the hidden layer.
        ...     '''
        >>> print(document(Small).__doc__.splitlines()[4])
            name: Name of the model. Default: the architecture's, in lower case.
    """
    head, own, tail = _parts(builder)
    names = inspect.signature(builder).parameters
    indents = {"initial_indent": " " * 4, "subsequent_indent": " " * 8}
    described = [
        own.get(name) or textwrap.fill(f"{name}: {SHARED[name]}", _WIDTH, **indents)
        for name in names
    ]
    if "Raises:" not in tail:
        before, example, after = tail.partition("Example:")
        tail = f"{before.rstrip()}\n\n{_RAISES}\n\n{example}{after}"

    @functools.wraps(builder)
    def build(*arguments: Any, **given: Any) -> keras.Model:
        for name in given:
            if name not in names:
                raise TypeError(
                    f"{builder.__name__}() got an unexpected keyword argument "
                    f"{name!r}{hint(name, names)}"
                )
        return warn_of_h5(builder(*arguments, **given))

    build.__doc__ = "\n".join([f"{head}Args:", *described, "", tail])
    return cast(Builder, build)


def hint(name: str, known: Collection[str]) -> str:
    """What to give in place of an unknown argument, empty where that is not plain.

    Example:
        >>> hint("encoder_weights", ["backbone", "backbone_weights"])
        '; give backbone_weights'
    """
    meant = _HABITS.get(name)
    if meant and meant.partition("=")[0] in known:
        return f"; give {meant}"
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def variant_of(
    family: Callable[Concatenate[Any, P], keras.Model], key: Any, **defaults: Any
) -> Callable[[Callable[[], None]], Callable[P, keras.Model]]:
    """Give the decorated function the body, signature and arguments of a family's builder.

    Args:
        family: A documented builder, of which the first argument chooses the network.
        key: That argument, such as the depth.
        **defaults: Defaults that differ from the family's.

    Returns:
        A decorator of a function without arguments, whose name and docstring are the network's: a
        summary, the source and an example.

    Example:
        >>> from keras_arch.models.resnet import ResNet
        >>> @variant_of(ResNet, 18)
        ... def Small() -> None:
        ...     '''A ResNet of 18 layers.'''
        >>> Small(include_top=False).name
        'resnet18'
    """
    parameters = [
        each.replace(default=defaults.get(each.name, each.default))
        for each in list(inspect.signature(family).parameters.values())[1:]
    ]
    signature = inspect.Signature(parameters, return_annotation=keras.Model)
    defined = list(signature.parameters)

    def decorate(declaration: Callable[[], None]) -> Callable[P, keras.Model]:
        @functools.wraps(declaration)
        def build(*args: P.args, **arguments: P.kwargs) -> keras.Model:
            try:
                given = signature.bind(*args, **arguments)
            except TypeError as error:
                unknown = next((name for name in arguments if name not in defined), None)
                more = hint(unknown, defined) if unknown else ""
                raise TypeError(f"{declaration.__name__}() {error}{more}") from None
            given.apply_defaults()
            return family(key, *given.args, **given.kwargs)

        # Editors see `P`; `help()` and `inspect` see these.
        del build.__wrapped__
        build.__signature__ = signature
        build.__annotations__ = {each.name: each.annotation for each in parameters}
        summary, *example = (inspect.getdoc(declaration) or "").partition("Example:")
        _, own, rest = _parts(family)
        rest, *family_example = rest.partition("Example:")
        described = [own[each.name] for each in parameters]
        ending = "".join([rest, *(example if any(example) else family_example)])
        build.__doc__ = "\n".join([f"{summary.rstrip()}\n\nArgs:", *described, "", ending])
        return build

    return decorate


def _parts(builder: Callable[..., Any]) -> tuple[str, dict[str, str], str]:
    """A docstring until `Args:`, its described arguments by name, and the sections after them."""
    head, _, rest = (inspect.getdoc(builder) or "").partition("Args:\n")
    arguments, _, tail = rest.partition("\n\n")
    entries = re.split(r"\n(?=    \w+: )", arguments)
    return head, {entry.split(":")[0].strip(): entry for entry in entries if entry}, tail
