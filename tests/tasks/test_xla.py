"""Every task's step and batches are what XLA compiles for a TPU."""

import pytest
import tensorflow as tf

from keras_arch import api, config, data, registry
from keras_arch.tasks import finetuning_config
from keras_arch.training import loop
from tests.tasks import games
from tests.tasks.test_segmentation import TINY
from tests.xla import check_step, in_bfloat16

CLASSIFIER = ["model.arguments.depth=8", "data.train=train[:100]", "recipe.batch_size=24"]


def check_task(checked):
    """The batches of a config have one shape, and its step is one that a TPU can run."""
    settings = checked.data
    dataset = data.load(settings.uri, settings.train, data_dir=settings.data_dir)
    resolved, preprocessing = loop._resolve(checked, registry.TASKS.get(checked.task), dataset)
    task = registry.TASKS.get(checked.task)(resolved, preprocessing)
    task.check()
    model = in_bfloat16(task.build)
    batches = task.train_batches(dataset, 0, 0).dataset
    # Batches of one size, from which the rest of an epoch is left out.
    sizes = {spec.shape[0] for spec in tf.nest.flatten(batches.element_spec)}
    assert sizes == {task.examples_per_step}
    assert all(s.shape.is_fully_defined() for s in tf.nest.flatten(batches.element_spec))
    check_step(model, next(iter(batches)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        [],
        ["data.augment=[crop:1, mixup:0.2]", "recipe.label_smoothing=0.1"],
        ["recipe.class_weights=balanced"],
    ],
    ids=["plain", "mixed", "weighted"],
)
def test_classification(more):
    check_task(config.load("resnet20-digits", [*CLASSIFIER, *more]))


SEGMENTERS = {
    "cross_entropy": ["recipe.loss=cross_entropy"],
    "focal": ["recipe.loss=focal"],
    "sum": ["recipe.loss={cross_entropy: 1.0, dice: 0.5}", "recipe.weights=null"],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n != "cross_entropy" else ()) for n in SEGMENTERS],
)
def test_segmentation(name):
    check_task(config.load("unet-cells", [*TINY, *SEGMENTERS[name]]))


@pytest.mark.slow
@pytest.mark.parametrize("name", games.CONFIGS)
def test_games(name, pictures):
    more = [] if name in ("pix2pix", "cyclegan") else ["generator_evaluation=null"]
    check_task(config.load(games.CONFIGS[name], games.settings(name, pictures, "", *more)))


@pytest.mark.slow
def test_finetuning_of_a_classifier(classifier_of_digits):
    few = ["recipe.batch_size=24"]
    check_task(finetuning_config.finetune_config(classifier_of_digits, "digits", overrides=few))


@pytest.mark.slow
def test_finetuning_of_a_segmenter(tmp_path):
    run = api.train("unet-cells", tmp_path / "run", overrides=TINY, verbose=0)
    few = ["recipe.batch_size=2"]
    check_task(finetuning_config.finetune_config(run.directory, "cells", overrides=few))
