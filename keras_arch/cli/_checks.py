"""Checks of a command's arguments before TensorFlow is loaded, which takes seconds.

What is checked here is checked again by the function that is called, in the same words.
"""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_arch import registry
from keras_arch.cli import _index
from keras_arch.cli._lazy import quiet_loading
from keras_arch.errors import ArgumentError, ConfigError, KerasArchError, RunError


def check_model(ref: str, operation: str | None = None) -> Any:
    """Refuse a reference to no model on this machine, or to one that an operation is not for.

    A repository of the Hub is only parsed: it is opened once, when it is loaded.

    Args:
        ref: As in `hub.load`.
        operation: A class method of tasks, such as `"predict"`.

    Returns:
        The model's card, or `None` where it is not read.
    """
    with quiet_loading():
        from keras_arch.hub import references, sources
        from keras_arch.training.references import run_config

        if isinstance(references.parse(ref), references.Repository):
            return None
        # A run of a task of another package names the modules that register it.
        run_config(ref)
        record = sources.read_record(sources.open_source(ref, None))
        if record is None:
            # Models of other libraries are recognized when they are loaded.
            return None
        task = registry.TASKS.get(record.card.task)
        if operation is not None and not task.can(operation):
            raise task.cannot(operation, record.card)
        return record.card


def check_run(directory: str) -> None:
    """Refuse a directory that holds no run to resume."""
    from keras_arch.hub.references import is_run

    if not is_run(Path(directory)):
        raise RunError(f"there is no run in {directory}; give the directory of a run")


def check_training(
    checked: Any, source: str, out: Path | None, *, strategy: str, resume: bool
) -> None:
    """Refuse what cannot be trained: a name, the data, the strategy or the run directory."""
    with quiet_loading():
        from keras_arch import distribute
        from keras_arch.data.source_check import check_source
        from keras_arch.training.run_directory import RunDirectory

        distribute.check_name(strategy)
        check_networks(checked, new=not resume)
        check_source(checked.data.uri, checked.data.data_dir)
        RunDirectory.of(source, checked.name, out, resume=resume)


def check_data(
    source: str | None, data_dir: str | None, out: Path | None, ref: str = "", card: Any = None
) -> None:
    """Refuse a data source that is not there, and a folder that cannot be written to.

    Args:
        source: The user's choice.
        data_dir: Folder of TensorFlow Datasets.
        out: The folder.
        ref: The model whose training data is taken where there is no choice.
        card: Its card, where it is known.
    """
    from keras_arch.files import check_folder

    if source is None and card is not None:
        with quiet_loading():
            from keras_arch.training.references import training_data

            settings = training_data(ref, card)
            source, data_dir = settings.get("source"), data_dir or settings.get("data_dir")
    if source is not None:
        with quiet_loading():
            from keras_arch.data.source_check import check_source

            check_source(source, data_dir)
    if out is not None:
        check_folder(out)


def check_finetuning(
    ref: str,
    source: str,
    out: Path | None,
    data_dir: str | None,
    overrides: Sequence[str],
    *,
    strategy: str,
    resume: bool,
) -> None:
    """Refuse what cannot be fine-tuned: as `check_training`, and the classifier."""
    with quiet_loading():
        from keras_arch import distribute
        from keras_arch.data.source_check import check_source
        from keras_arch.tasks import finetuning_config
        from keras_arch.training.run_directory import RunDirectory

        distribute.check_name(strategy)
        card = check_model(ref)
        check_source(source, data_dir)
        if card is None:
            return
        checked = finetuning_config.preliminary_config(
            card, ref, source, data_dir=data_dir, overrides=overrides
        )
        RunDirectory.of(checked, checked.name, out, resume=resume)


def check_networks(checked: Any, *, new: bool) -> None:
    """Refuse architectures, and arguments of them, that there are not, by the index of them.

    Args:
        checked: The config.
        new: Whether the networks start from their `weights`; those of a resumed run have others.
    """
    from keras_arch.config.base import Builder

    for key, builder in checked:
        if not isinstance(builder, Builder):
            continue
        # Plug-ins are imported with Keras.
        if builder.name not in _index.read():
            if builder.name not in _index.plugins() and not checked.imports:
                names = sorted({*_index.read(), *_index.plugins()})
                raise registry.unknown_architecture(builder.name, names)
            continue
        known = _index.read()[builder.name].arguments
        for name in builder.arguments:
            if name not in known:
                raise ConfigError(
                    f"{key}.arguments: {builder.name} has no argument {name!r}; it has "
                    f"{', '.join(known)}"
                )
        if new:
            _check_weights(f"{key}.arguments", builder, known)


def _check_weights(key: str, builder: Any, known: Mapping[str, str]) -> None:
    """Refuse weights of a network that are nowhere; those of the Hub are only parsed.

    Args:
        key: Of the network's arguments in the config.
        builder: The network.
        known: Defaults of its arguments, as Python writes them.
    """
    from keras_arch import pretrained

    given = builder.arguments
    backbone = given.get("backbone", ast.literal_eval(known.get("backbone", "None")))
    if isinstance(backbone, str) and backbone not in _index.architectures():
        error = registry.unknown_architecture(backbone, _index.architectures())
        raise ConfigError(f"{key}.backbone: {error}")
    for name, owner in (("weights", builder.name), ("backbone_weights", backbone)):
        weights = given.get(name)
        if weights is None:
            continue
        if not isinstance(weights, str):
            raise ConfigError(
                f"{key}.{name} must be null, a file, a model directory, hf://user/repo, the name "
                f"of a config or a tag, got {weights!r}"
            )
        if not isinstance(owner, str):
            continue
        try:
            reference = pretrained.resolve(weights, owner)
            if not reference.endswith((pretrained.WEIGHTS_FILE, pretrained.MODEL_FILE)):
                check_model(reference)
        except KerasArchError as error:
            raise ConfigError(f"{key}.{name}: {error}") from None


def check_images(paths: Sequence[str]) -> None:
    """Refuse files, folders and patterns that are no image or have none."""
    from PIL import Image, UnidentifiedImageError

    from keras_arch.data.image_paths import image_paths
    from keras_arch.errors import DataError

    for path in image_paths(paths):
        # Arrays, which Pillow does not know; the reader of images checks them.
        if path.suffix.lower() == ".npy":
            continue
        try:
            with Image.open(path):
                pass
        except UnidentifiedImageError:
            raise DataError(f"image {path} cannot be read: it is of no known format") from None
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            # The reader of images has the better words.
            return


def check_generator(ref: str, labels: Sequence[str] | None) -> None:
    """Refuse a model that is no generator, and classes that it does not have."""
    card = check_model(ref, "generate")
    if card is not None and labels:
        registry.TASKS.get(card.task).check_requested(card, labels)


def check_comparison(refs: Sequence[str]) -> Any:
    """Refuse models that cannot be compared; the first one's card, where it is read."""
    with quiet_loading():
        from keras_arch.tasks.comparison import check_comparable

    cards = [check_model(ref, "evaluate") for ref in refs]
    if len(cards) < 2 or None not in cards:
        check_comparable(refs, cards)
    return cards[0]


def check_generator_evaluation(ref: str, network: str | None, metrics: Sequence[str]) -> Any:
    """Refuse a model that is no generator, a network or metrics that cannot be; the card or `None`.

    Args:
        ref: The generator.
        network: A classifier, `"inception"` or `None`.
        metrics: Names of metrics.
    """
    card = check_model(ref)
    judge = check_model(network) if network is not None and network != "inception" else None
    with quiet_loading():
        from keras_arch.tasks import generator_checks

        if network is not None and judge is not None:
            generator_checks.check_classifier(network, judge)
        if card is not None:
            generator_checks.check_generator(ref, card)
            generator_checks.check_metrics(metrics, card)
    return card


def check_png(out: Path, option: str) -> None:
    """Refuse a name that is no PNG file's, and a folder that cannot be written to."""
    from keras_arch import files

    files.check_png(out, option)
    files.check_folder(out.parent)


def check_prediction(
    ref: str,
    images: Sequence[str],
    out: Path | None,
    options: Mapping[str, Any],
    written: Sequence[Path | None],
) -> None:
    """Refuse a model, images, options or files of a prediction that cannot be."""
    from keras_arch.files import check_file, check_folder

    files = [file for file in written if file is not None]
    if len({file.resolve() for file in files}) < len(files):
        raise ArgumentError(f"--csv and --json are one file, {files[0]}; give two")
    card = check_model(ref, "predict")
    if card is not None:
        with quiet_loading():
            from keras_arch.tasks.base import check_options

            check_options(registry.TASKS.get(card.task), card, options)
    if out is not None:
        check_folder(out)
    for file in files:
        check_file(file)
    check_images(images)
