"""Names of ImageNet's classes, and predictions by name."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_arch import models
from keras_arch.errors import ArgumentError


def test_the_classes_are_in_the_order_of_the_data_set():
    """That of TensorFlow Datasets' ImageNet, which sorts the WordNet numbers."""
    numbers = [number for number, _ in models.imagenet_classes()]
    path = Path(tfds.__file__).parent / "datasets/imagenet2012/labels.txt"
    assert numbers == path.read_text().split()
    assert numbers == sorted(numbers)


def test_every_class_has_a_name_of_its_own():
    labels = models.imagenet_labels()
    assert len(set(labels)) == 1000
    # Classes that every list of ImageNet's has at these numbers.
    known = {0: "tench", 207: "golden retriever", 281: "tabby", 437: "beacon", 999: "toilet tissue"}
    assert {label: labels[label] for label in known} == known


def test_the_most_probable_classes_come_first():
    probabilities = np.full((2, 1000), 0.1 / 998, np.float32)
    probabilities[0, [207, 281]] = 0.6, 0.3
    probabilities[1, [281, 207]] = 0.5, 0.4
    first, second = models.decode_predictions(probabilities, top=2)
    assert [name for _, name, _ in first] == ["golden retriever", "tabby"]
    assert second[0] == ("n02123045", "tabby", pytest.approx(0.5))
    assert len(models.decode_predictions(probabilities)[0]) == 5


@pytest.mark.parametrize(
    ("values", "top", "message"),
    [
        (np.full((1, 10), 0.1), 5, r"\(batch, 1000\), got \(1, 10\)"),
        (np.full(1000, 0.001), 5, r"got \(1000,\)"),
        (np.zeros((1, 1000)), 5, "sum to 1"),
        (np.linspace(-1, 1, 1000)[None], 5, "from -1 to 1; of logits give"),
        (np.full((1, 1000), np.nan), 5, "from nan to nan"),
        (np.full((1, 1000), 0.001), 0, "top must be a"),
        (np.full((1, 1000), 0.001), 1001, "at most 1000"),
    ],
)
def test_what_is_no_prediction_of_imagenet(values, top, message):
    with pytest.raises(ArgumentError, match=message):
        models.decode_predictions(values, top)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: models.ResNet18(num_classes=3), "'num_classes'; give classes$"),
        (lambda: models.ResNet18(pretrained=True), '; give weights="imagenet"$'),
        (lambda: models.VGG11(in_chans=1), r"; give input_shape=\(height, width, channels\)$"),
        (lambda: models.UNet(encoder_weights="imagenet"), "; give backbone_weights$"),
        (lambda: models.FCN8s(encoder_name="VGG16"), "; give backbone$"),
        (lambda: models.GoogLeNet(clases=3), "did you mean classes"),
    ],
)
def test_arguments_of_other_libraries_name_ours(build, message):
    with pytest.raises(TypeError, match=message):
        build()


def test_create_names_ours_too():
    with pytest.raises(ArgumentError, match=r"'encoder_weights'.*give backbone_weights"):
        models.create("UNet", encoder_weights="imagenet")


def test_no_classes_name_the_backbone():
    with pytest.raises(ArgumentError, match=r'classes is 0; .*include_top=False, pooling="avg"'):
        models.ResNet18(classes=0)
