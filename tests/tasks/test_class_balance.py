"""Class weights and balanced epochs of classifiers, and folders of one class."""

import numpy as np
import pytest
from PIL import Image

from keras_arch import api, config
from keras_arch.errors import ConfigError, DataError
from keras_arch.tasks import finetuning_config
from keras_arch.tasks.classification import Classification

NET = {
    "name": "tiny",
    "task": "image-classification",
    "model": {"name": "CIFARResNet", "arguments": {"depth": 8, "input_shape": [8, 8, 1]}},
    "data": {"source": "", "train": "train", "test": "train"},
    "preprocessing": {"size": [8, 8], "channels": 1},
    "recipe": {"epochs": 1, "batch_size": 4, "optimizer": {"name": "sgd", "learning_rate": 0.1}},
}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """12 dark images and 4 light ones."""
    folder = tmp_path_factory.mktemp("kinds")
    for kind, count, value in (("dark", 12, 20), ("light", 4, 220)):
        (folder / kind).mkdir()
        for number in range(count):
            image = Image.fromarray(np.full((8, 8), value + number, np.uint8))
            image.save(folder / kind / f"{number}.png")
    return folder


def task_of(folder, *overrides, classes=2):
    set_ = [f"data.source=folder:{folder}", f"model.arguments.classes={classes}", *overrides]
    checked = config.parse(NET, overrides=set_)
    task = Classification(checked, checked.preprocessing.build())
    task.check()
    return task


def first_batches(task, count=4):
    batches = task.train_batches(task.load("train"), 0, 0)
    return [tuple(part.numpy() for part in batch) for batch in batches.dataset.take(count)]


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        ("balanced", [16 / 24, 16 / 8]),
        ("{light: 3}", [1, 3]),
        ("[0.5, 2]", [0.5, 2]),
    ],
)
def test_images_have_the_weights_of_their_classes(kinds, weights, wanted):
    for _, labels, given in first_batches(task_of(kinds, f"recipe.class_weights={weights}")):
        np.testing.assert_allclose(given, np.array(wanted)[labels], rtol=1e-6)


@pytest.mark.slow
def test_spread_labels_have_the_mean_of_the_weights(kinds):
    task = task_of(kinds, "recipe.class_weights=[1, 3]", "data.augment=['mixup:1']")
    for _, labels, given in first_batches(task):
        np.testing.assert_allclose(given, labels @ [1, 3], rtol=1e-6)
    assert labels.shape == (4, 2)


def test_the_loss_is_weighed_and_the_validation_is_not(kinds):
    task = task_of(kinds, "recipe.class_weights={light: 3}")
    model = task.build()
    images, labels, weights = first_batches(task, 1)[0]
    plain = model.test_on_batch(images, labels, return_dict=True)["loss"]
    one_by_one = [
        model.test_on_batch(images[i : i + 1], labels[i : i + 1], return_dict=True)["loss"]
        for i in range(4)
    ]
    model.reset_metrics()
    weighted = model.test_on_batch(images, labels, weights, return_dict=True)["loss"]
    assert weighted == pytest.approx(np.mean(one_by_one * weights), rel=1e-4)
    assert plain != pytest.approx(weighted, rel=1e-3)
    assert len(next(iter(task.validation_batches()))) == 2


@pytest.mark.slow
def test_balanced_epochs(kinds):
    labels = np.concatenate(
        [batch[1] for batch in first_batches(task_of(kinds, "data.balanced=1"))]
    )
    assert np.bincount(labels).tolist() == [8, 8]
    plain = np.concatenate([batch[1] for batch in first_batches(task_of(kinds))])
    assert np.bincount(plain).tolist() == [12, 4]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe.class_weights={ligth: 3}", "recipe.class_weights names 'ligth'; the classes are"),
        ("recipe.class_weights=[1, 2, 3]", "one weight for each of 2 classes, got 3"),
        ("recipe.class_weights=[0, 0]", "not all of them 0"),
        ("recipe.class_weights=even", "recipe.class_weights"),
    ],
)
def test_weights_that_do_not_fit(kinds, override, message):
    with pytest.raises(ConfigError, match=message):
        task_of(kinds, override)


def test_classes_are_balanced_once(kinds):
    with pytest.raises(ConfigError, match="would balance the classes twice; leave one out"):
        task_of(kinds, "recipe.class_weights=balanced", "data.balanced=true")


def test_a_folder_of_one_class_is_refused(kinds, tmp_path, classifier_of_digits):
    (tmp_path / "light").symlink_to(kinds / "light")
    told = "has one class, 'light'; a classifier needs two or more"
    with pytest.raises(DataError, match=told):
        task_of(tmp_path, classes=1)
    with pytest.raises(DataError, match=told):
        finetuning_config.finetune_config(classifier_of_digits, f"folder:{tmp_path}")


@pytest.mark.slow
def test_a_run_with_weights(kinds, tmp_path):
    set_ = [f"data.source=folder:{kinds}", "model.arguments.classes=2"]
    more = ["recipe.class_weights=balanced"]
    run = api.train(config.parse(NET, overrides=[*set_, *more]), tmp_path / "run", verbose=0)
    assert api.load_model(run.directory).card.recipe["recipe"]["class_weights"] == "balanced"
