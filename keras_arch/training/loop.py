"""Training from a config into a run directory, resumable at any step."""

import contextlib
import dataclasses
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_arch import callbacks, config, data, distribute, files, hub, registry
from keras_arch._tensorflow.memory import keep_freed_memory
from keras_arch.errors import ArgumentError, ConfigError, DataError
from keras_arch.hub.references import resume_command
from keras_arch.preprocessing import Preprocessing
from keras_arch.training.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: The run directory.
        model: The model directory in it, in the layout of the Hub.
        metrics: The content of `metrics.json`.
    """

    directory: Path
    model: Path
    metrics: dict[str, float]


def train(
    source: config.TaskConfig | str | Path,
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    strategy: str = "auto",
    resume: bool = False,
    verbose: int | str = "auto",
) -> Run:
    """Train the model of a config.

    Args:
        source: A checked config, the name of a shipped one, the path of a YAML file, or a run
            directory, whose config it is.
        out: The run directory. Default: `source` where it is a run to resume, else `runs/NAME`.
        overrides: Changes such as `"recipe.epochs=20"`, where `source` is a name or path.
        strategy: As in `keras_arch.distribute.strategy`.
        resume: Continue the run in the run directory (from the start where it has no checkpoint
            yet). It ends as it would have without the interruption.
        verbose: Of `fit`: 0 is silent, 1 a progress bar, 2 a line an epoch; `"auto"` is 1 in a
            terminal, else 2.

    Returns:
        The finished `Run`.

    Raises:
        ConfigError: If the config is wrong or its parts do not fit each other.
        DataError: If the data is missing or does not fit.
        RunError: If the directory holds another run.
        NonFiniteError: If training diverged; the last good checkpoint is kept.
        Interrupted: If SIGTERM or Ctrl-C came; the state is saved.

    Example:
        >>> import keras_arch
        >>> few = ["recipe.epochs=1", "data.train=train[:64]", "data.test=test[:64]"]
        >>> run = keras_arch.train("resnet20-digits", "run", overrides=few, verbose=0)
        >>> sorted(run.metrics)
        ['accuracy', 'error', 'loss']
    """
    checked = config.load(source, overrides) if isinstance(source, str | Path) else source
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    directory = RunDirectory.of(source, checked.name, out, resume=resume)
    keep_freed_memory()
    with _settings(checked.recipe):
        chosen = distribute.strategy(strategy)
        replicas = chosen.num_replicas_in_sync
        if checked.recipe.batch_size % replicas:
            raise ConfigError(
                f"recipe.batch_size {checked.recipe.batch_size} is the batch over all replicas "
                f"and must divide by their number, {replicas}"
            )
        dataset = data.load(checked.data.uri, checked.data.train, data_dir=checked.data.data_dir)
        kind = registry.TASKS.get(checked.task)
        resolved, preprocessing = _resolve(checked, kind, dataset)
        task = kind(resolved, preprocessing, replicas)
        task.check()
        with chosen.scope():
            model = task.build()
        new = not directory.config.exists()
        directory.start(resolved, resume=resume)
        saved = callbacks.CheckpointManager(directory.checkpoints).newest() if resume else None
        try:
            _fit(model, task, dataset, directory, saved, verbose)
        except (ArgumentError, ConfigError, DataError):
            if new:
                directory.abandon()
            raise
        return _finish(model, task, directory)


@contextlib.contextmanager
def _settings(recipe: config.Recipe) -> Iterator[None]:
    """Set the process-wide settings of a recipe, and restore those that can be restored."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.precision)
    keras.utils.set_random_seed(recipe.seed)
    if recipe.deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        # KerasCV's layers draw from it, and TensorFlow makes none by itself in this mode.
        tf.random.set_global_generator(tf.random.Generator.from_seed(recipe.seed))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _resolve(
    checked: config.TaskConfig, kind: Any, dataset: Any
) -> tuple[config.TaskConfig, Preprocessing]:
    """A config with measured values in place of their names, and its preprocessing."""
    recipe = checked.recipe
    unpaired = isinstance(dataset, data.Unpaired)
    domains = (dataset.image, dataset.other) if unpaired else (dataset,)
    changed = {}
    for name, value in recipe:
        rate = getattr(value, "learning_rate", None)
        if isinstance(rate, config.Cosine):
            examples = max(int(domain.cardinality()) for domain in domains)
            try:
                resolved = rate.resolved(*kind.schedule_length(checked, examples))
            except ValueError as error:
                raise ConfigError(f"recipe.{name}.learning_rate: {error}") from None
            changed[name] = value.model_copy(update={"learning_rate": resolved})
    settings = checked.preprocessing
    if isinstance(settings.mean, str):
        unmeasured = settings.build(mean=0.0)
        mean = data.mean_image(dataset, unmeasured, per_pixel=settings.mean == "per_pixel")
        # Rounded: what a config can hold readably is exactly what is used.
        settings = settings.model_copy(update={"mean": mean.round(4).tolist()})
    update = {"recipe": recipe.model_copy(update=changed), "preprocessing": settings}
    return checked.model_copy(update=update), settings.build()


def _fit(
    model: keras.Model,
    task: Any,
    dataset: Any,
    directory: RunDirectory,
    saved: "callbacks.Checkpoint | None",
    verbose: int | str,
) -> None:
    recipe = task.config.recipe
    start = saved.position if saved else callbacks.Position()
    checkpoint = callbacks.SaveCheckpoint(
        directory.checkpoints, every=recipe.checkpoint_every, resume=saved
    )
    table = callbacks.LogTable(directory.table, directory.history, lambda: checkpoint.position.rows)
    if start.epoch >= recipe.epochs or task.should_stop(start.rows):
        saved.restore(model)
        # A kill right after the last checkpoint leaves them a row short.
        table.on_epoch_end(start.epoch - 1)
        table.on_train_end()
        return
    command = resume_command(directory.path)
    stop = callbacks.StopOnSignal(checkpoint, f"Resume with: {command}")
    chain = [
        callbacks.StopOnNonFinite(directory.checkpoints),
        *task.callbacks(directory),
        keras.callbacks.TensorBoard(str(directory.logs), write_graph=False),
        checkpoint,
        table,
        callbacks.StopEarly(lambda: task.should_stop(checkpoint.position.rows)),
        stop,
    ]
    # Each phase has a `fit` of its own, and so has the rest of an epoch that was begun.
    ends = {*task.phases, recipe.epochs, *((start.epoch + 1,) if start.step else ())}
    ends = sorted(end for end in ends if start.epoch < end <= recipe.epochs)
    with stop:
        for first, last in itertools.pairwise((start.epoch, *ends)):
            if task.should_stop(checkpoint.position.rows):
                break
            step = start.step if first == start.epoch else 0
            task.set_phase(model, first)
            batches = task.train_batches(dataset, first, step)
            if step == batches.steps_per_epoch:
                _end_epoch(model, first, step, task.validation_batches(), chain, verbose)
                continue
            model.fit(
                batches.dataset,
                initial_epoch=first,
                epochs=last,
                steps_per_epoch=batches.steps_per_epoch - step,
                validation_data=task.validation_batches(),
                callbacks=chain,
                verbose=verbose,
                # The pipeline shuffles; Keras warns unless it is told that it need not.
                shuffle=False,
            )


def _end_epoch(
    model: keras.Model,
    epoch: int,
    steps: int,
    validation: Any,
    chain: list[keras.callbacks.Callback],
    verbose: int | str,
) -> None:
    """End an epoch whose steps are all done; Keras' `fit` runs none without steps."""
    called = keras.callbacks.CallbackList(
        chain,
        add_history=True,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epoch + 1,
        steps=steps,
    )
    called.on_train_begin()
    # Brings back the means of the epoch's steps, which are its logs.
    called.on_epoch_begin(epoch)
    logs = dict(model.get_metrics_result())
    if validation is not None:
        found = model.evaluate(validation, callbacks=called, return_dict=True)
        logs |= {f"val_{name}": value for name, value in found.items()}
    called.on_epoch_end(epoch, logs)
    called.on_train_end(logs)


def _finish(model: keras.Model, task: Any, directory: RunDirectory) -> Run:
    """Measure, and write `metrics.json` and the model directory."""
    metrics = task.measure(model, directory)
    network, training = task.export_copy(model)
    card = task.card(network, metrics)
    picture = next(iter(task.pictures(directory)), None)
    with tempfile.TemporaryDirectory() as scratch:
        for name, (part, part_card) in training.items():
            hub.save(part, Path(scratch) / name, part_card)
        parts = scratch if training else None
        hub.save(network, directory.model, card, samples=picture, training=parts)
    files.atomic_write(directory.metrics, json.dumps(metrics, indent=1) + "\n")
    return Run(directory.path, directory.model, metrics)
