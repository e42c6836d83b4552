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
from keras_arch.distribute import agreement
from keras_arch.errors import ArgumentError, ConfigError, DataError, RunError
from keras_arch.hub.references import resume_command
from keras_arch.preprocessing import Preprocessing
from keras_arch.training import factories
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

    On several hosts (`strategy` says which) each runs the same program and trains on its share of
    each batch. The first one, the chief, writes the run directory and shows the progress. To resume
    a run, or to keep the best weights, the directory is on storage that all hosts can read.

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
        HostError: If another host is lost, or does not come; `resume` on all hosts goes on.

    Example:
        >>> import keras_arch
        >>> few = ["recipe.epochs=1", "data.train=train[:64]", "data.test=test[:64]",
        ...        "model.arguments.depth=8"]
        >>> run = keras_arch.train("resnet20-digits", "run", overrides=few, verbose=0)
        >>> sorted(run.metrics)
        ['accuracy', 'error', 'loss']
    """
    checked = config.load(source, overrides) if isinstance(source, str | Path) else source
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    directory = RunDirectory.of(source, checked.name, out, resume=resume)
    keep_freed_memory()
    # Before the settings, which use TensorFlow: over several hosts it must be the first to do so.
    chosen = distribute.strategy(strategy)
    if not distribute.is_chief():
        verbose = 0
    with _settings(checked.recipe), distribute.watching(chosen):
        replicas = chosen.num_replicas_in_sync
        if checked.recipe.batch_size % replicas:
            raise ConfigError(
                f"recipe.batch_size {checked.recipe.batch_size} is the batch over all replicas "
                f"and must divide by their number, {replicas}"
            )
        with agreement.together(chosen):
            settings = checked.data
            dataset = data.load(settings.uri, settings.train, data_dir=settings.data_dir)
            kind = registry.TASKS.get(checked.task)
            resolved, preprocessing = _resolve(checked, kind, dataset)
            task = kind(resolved, preprocessing, replicas)
            task.share = distribute.share(chosen)
            saved = callbacks.CheckpointManager(directory.checkpoints).newest() if resume else None
        # A checkpoint has all weights: those that the run started from may be gone.
        with factories.without_weights() if saved else contextlib.nullcontext():
            with agreement.together(chosen):
                task.check()
            with chosen.scope():
                model = task.build()
        new = not directory.config.exists()
        with agreement.together(chosen):
            directory.start(resolved, resume=resume)
        _check_same_start(chosen, saved, directory)
        try:
            _fit(model, task, dataset, directory, saved, verbose)
        except (ArgumentError, ConfigError, DataError):
            if new:
                directory.abandon()
            raise
        return _finish(model, task, directory)


def _check_same_start(
    strategy: Any, saved: "callbacks.Checkpoint | None", directory: RunDirectory
) -> None:
    """Refuse to go on from another checkpoint on one host than on the chief."""
    position = saved.position if saved else callbacks.Position()
    starts = agreement.gather(strategy, [position.epoch, position.step]).astype(int).tolist()
    if (other := next((row for row in starts if row != starts[0]), None)) is not None:
        first, differing = (f"epoch {epoch}, step {step}" for epoch, step in (starts[0], other))
        raise RunError(
            f"the first host goes on from {first}, another one found {differing} in "
            f"{directory.checkpoints}: put the run directory on storage that all hosts can read"
        )


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
        callbacks.SameLogs(),
        *_tensorboard(directory),
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
            validation, validation_steps = _validation(task, model.distribute_strategy)
            if step == batches.steps_per_epoch:
                called = (validation, validation_steps)
                _end_epoch(model, first, step, called, chain, verbose)
                continue
            model.fit(
                _on_replicas(batches, model.distribute_strategy),
                initial_epoch=first,
                epochs=last,
                steps_per_epoch=batches.steps_per_epoch - step,
                validation_data=validation,
                validation_steps=validation_steps,
                callbacks=chain,
                verbose=verbose,
                # The pipeline shuffles; Keras warns unless it is told that it need not.
                shuffle=False,
            )


def _tensorboard(directory: RunDirectory) -> list[keras.callbacks.Callback]:
    """The callback for TensorBoard, on the host that writes."""
    if not distribute.is_chief():
        return []
    return [keras.callbacks.TensorBoard(str(directory.logs), write_graph=False)]


def _on_replicas(batches: data.Batches, strategy: Any) -> Any:
    """Training batches as `fit` takes them; those that are no share Keras divides itself."""
    if batches.share.is_whole:
        return batches.dataset
    return distribute.on_replicas(strategy, batches.dataset)


def _validation(task: Any, strategy: Any) -> tuple[Any, int | None]:
    """The validation batches as `fit` takes them, and their number where Keras must be told."""
    batches = task.validation_batches()
    if batches is None or task.share.is_whole or not task.shares_validation:
        return batches, None
    return distribute.on_replicas(strategy, batches), int(batches.cardinality())


def _end_epoch(
    model: keras.Model,
    epoch: int,
    steps: int,
    validation: tuple[Any, int | None],
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
    batches, count = validation
    if batches is not None:
        found = model.evaluate(batches, steps=count, callbacks=called, return_dict=True)
        logs |= {f"val_{name}": value for name, value in found.items()}
    called.on_epoch_end(epoch, logs)
    called.on_train_end(logs)


def _finish(model: keras.Model, task: Any, directory: RunDirectory) -> Run:
    """Measure, and write `metrics.json` and the model directory.

    Hosts evaluate together, so that all measure; only the chief writes.
    """
    strategy = model.distribute_strategy
    # The best weights are there for the others when the chief has come here.
    agreement.wait(strategy)
    if not distribute.is_chief():
        with tempfile.TemporaryDirectory() as scratch:
            metrics = task.measure(model, directory.reports_in(Path(scratch)))
        return Run(directory.path, directory.model, agreement.of_chief(strategy, metrics))
    metrics = task.measure(model, directory)
    _write(model, task, directory, metrics)
    return Run(directory.path, directory.model, agreement.of_chief(strategy, metrics))


def _write(
    model: keras.Model, task: Any, directory: RunDirectory, metrics: dict[str, float]
) -> None:
    network, training = task.export_copy(model)
    card = task.card(network, metrics)
    picture = next(iter(task.pictures(directory)), None)
    with tempfile.TemporaryDirectory() as scratch:
        for name, (part, part_card) in training.items():
            hub.save(part, Path(scratch) / name, part_card)
        parts = scratch if training else None
        hub.save(network, directory.model, card, samples=picture, training=parts)
    files.atomic_write(directory.metrics, json.dumps(metrics, indent=1) + "\n")
