"""What diagnosis says, on generators and classifiers whose answers are known."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from PIL import Image
from scipy import stats

from keras_arch import metrics, visualization
from keras_arch.errors import ArgumentError


def by_corner(images):
    """Reads an image as the class that its first pixel names, nine times out of ten sure."""
    return images[:, 0, 0], np.eye(5)[images[:, 0, 0, 0]] * 0.9 + 0.02


NETWORK = metrics.FeatureNetwork("corner", "pixels", "none", "none", by_corner, 16, classes=5)


def images_of(classes):
    return np.asarray(classes, np.uint8).reshape(-1, 1, 1, 1).repeat(4, 1).repeat(4, 2)


@settings(deadline=None, max_examples=20)
@given(classes=st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_mode_coverage_counts_classes_and_their_divergence(classes):
    found = visualization.mode_coverage(images_of(classes), NETWORK)
    assert found.seen == len(set(classes))
    assert found.counts.tolist() == [classes.count(c) for c in range(5)]
    assert found.divergence == pytest.approx(stats.entropy(found.counts, np.ones(5)), abs=1e-12)
    assert found.confidence == pytest.approx(0.92)
    assert f"{found.seen} of 5 classes in {len(classes)} samples" in str(found)
    assert "corner: features of pixels" in str(found)


def test_mode_coverage_draws_its_bars(tmp_path):
    path = tmp_path / "modes.png"
    visualization.mode_coverage(
        images_of([0, 1, 1, 3]), NETWORK, path=path, class_names=list("abcde")
    )
    with Image.open(path) as image:
        assert image.format == "PNG"
    with pytest.raises(ArgumentError, match="class_names must be 5 names, got 1"):
        visualization.mode_coverage(images_of([0]), NETWORK, class_names=["a"])


@settings(deadline=None, max_examples=20)
@given(pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_classifier_agreement_counts_labels_and_predictions(pairs):
    asked, made = np.array(pairs).T
    found = visualization.classifier_agreement(images_of(made), asked, NETWORK)
    assert found.fraction == pytest.approx(np.mean(asked == made))
    for row, column in np.ndindex(5, 5):
        assert found.matrix[row, column] == pairs.count((row, column))
    for label in range(5):
        if label in asked:
            assert found.by_class[label] == np.mean(made[asked == label] == label)
        else:
            assert np.isnan(found.by_class[label])
    assert f"of {len(pairs)} samples classified as their label" in str(found)


def test_classifier_agreement_of_a_real_classifier(tmp_path):
    """A regression fitted to scikit-learn's digits reads them as what they are."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    pixels, labels = load_digits(return_X_y=True)
    images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    fitted = LogisticRegression(max_iter=200).fit(
        images[:1500].reshape(1500, -1) / 255, labels[:1500]
    )
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)])
    model.layers[-1].set_weights([fitted.coef_.T, fitted.intercept_])
    network = metrics.classifier(model, lambda x: x / 255.0, "digits")
    found = visualization.classifier_agreement(
        images[1500:], labels[1500:], network, path=tmp_path / "read.png"
    )
    predicted = fitted.predict(images[1500:].reshape(-1, 64) / 255)
    assert found.fraction == pytest.approx(np.mean(predicted == labels[1500:]))
    assert found.fraction > 0.85
    assert found.matrix.sum() == len(images) - 1500
    assert (tmp_path / "read.png").stat().st_size > 1000
    assert visualization.mode_coverage(images[1500:], network).seen == 10


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2], "labels must be 2 whole numbers, one for each image"),
        ([0.0, 1.0], "got float64"),
        ([0, 5], "labels must be 0 to 4, the classes of corner, got 0 to 5"),
        ([-1, 0], "got -1 to 0"),
    ],
)
def test_classifier_agreement_of_wrong_labels(labels, message):
    with pytest.raises(ArgumentError, match=message):
        visualization.classifier_agreement(images_of([0, 1]), labels, NETWORK)


vectors = st.lists(st.floats(-3, 3), min_size=4, max_size=4).filter(
    lambda v: np.linalg.norm(v) > 0.1
)


@settings(deadline=None, max_examples=40)
@given(start=vectors, end=vectors, steps=st.integers(2, 9))
def test_walks_of_normal_latents_go_along_the_circle(start, end, steps):
    start, end = (np.array(v) / np.linalg.norm(v) for v in (start, end))
    points = visualization.interpolate(start, end, steps).astype(np.float64)
    np.testing.assert_allclose(points[[0, -1]], [start, end], atol=1e-5)
    angle = np.arccos(np.clip(start @ end, -1, 1))
    if 1e-3 < angle < np.pi - 1e-3:
        np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-4)
        gaps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        np.testing.assert_allclose(gaps, 2 * np.sin(angle / (2 * (steps - 1))), atol=1e-4)


@pytest.mark.parametrize("latent", ["uniform", "uniform01"])
def test_walks_of_uniform_latents_go_straight(latent):
    points = visualization.interpolate([0.0, 1.0], [1.0, 0.0], 5, latent)
    np.testing.assert_allclose(points[:, 0], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(points.sum(axis=1), 1)


def test_opposite_and_zero_latents_have_finite_walks():
    for end in ([-1.0, 0.0], [0.0, 0.0], [2.0, 0.0]):
        assert np.isfinite(visualization.interpolate([1.0, 0.0], end, 4)).all()


def mirror(latents, labels=None):
    """The latent itself as a 2x2 image, brighter by a tenth for each label."""
    images = np.asarray(latents).reshape(-1, 2, 2, 1)
    return images if labels is None else images + 0.1 * labels.reshape(-1, 1, 1, 1)


def pixels(values):
    return np.clip(np.rint((values + 1) * 127.5), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("latent", ["normal", "uniform", "uniform01"])
def test_latent_walk_shows_its_latents_row_by_row(latent, tmp_path):
    path = tmp_path / "walk.png"
    found = visualization.latent_walk(
        mirror, 4, rows=3, steps=5, latent=latent, value_range=(-1, 1), path=path
    )
    assert found.latents.shape == (15, 4)
    np.testing.assert_array_equal(found.images, pixels(mirror(found.latents)))
    for row in found.latents.reshape(3, 5, 4):
        np.testing.assert_allclose(row, visualization.interpolate(row[0], row[-1], 5, latent), 1e-5)
    # Images of two pixels are enlarged 32 times, with two pixels of white between them.
    assert found.sheet.shape == (3 * 66 + 2, 5 * 66 + 2, 1)
    np.testing.assert_array_equal(found.sheet[2:66:32, 68:132:32], found.images[1])
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), found.sheet[..., 0])
    again = visualization.latent_walk(
        mirror, 4, rows=3, steps=5, latent=latent, value_range=(-1, 1)
    )
    np.testing.assert_array_equal(again.latents, found.latents)


def test_walks_of_models_know_their_range_and_pass_labels():
    latent, label = keras.Input((4,), name="latent"), keras.Input((), dtype="int32", name="label")
    embedded = layers.Embedding(3, 4)(label)
    image = layers.Reshape((2, 2, 1))(
        layers.Activation("sigmoid")(layers.Add()([latent, embedded]))
    )
    # The last layer tells the range.
    model = keras.Model([latent, label], layers.Activation("sigmoid")(image), name="conditional")
    found = visualization.latent_walk(model, 4, rows=1, steps=3, label=2)
    expected = model([found.latents, np.full(3, 2, np.int32)])
    np.testing.assert_allclose(found.images, np.asarray(expected) * 255, atol=0.51)
    with pytest.raises(ArgumentError, match="conditional takes a label; give one"):
        visualization.latent_walk(model, 4)
    plain = keras.Sequential([keras.Input((4,)), layers.Reshape((2, 2, 1))], name="plain")
    with pytest.raises(ArgumentError, match="plain takes no label"):
        visualization.latent_walk(plain, 4, label=1)
    with pytest.raises(ArgumentError, match=r"float32 images; give their range, .*\(-1, 1\)"):
        visualization.latent_walk(plain, 4)
    with_labels = visualization.latent_walk(
        mirror, 4, rows=1, steps=2, label=3, value_range=(-1, 1)
    )
    np.testing.assert_array_equal(
        with_labels.images, pixels(mirror(with_labels.latents) + np.float32(0.1) * 3)
    )


@pytest.mark.parametrize("count", [1, 3])
def test_vector_arithmetic_adds_means(count, tmp_path):
    rng = np.random.default_rng(0)
    a, b, c = rng.uniform(-0.3, 0.3, (3, count, 4)).astype("float32")
    path = tmp_path / "sum.png"
    found = visualization.vector_arithmetic(mirror, a, b, c, value_range=(-1, 1), path=path)
    total = a.mean(axis=0) - b.mean(axis=0) + c.mean(axis=0)
    assert found.latents.shape == (3 * count + 3 + 9, 4)
    np.testing.assert_allclose(found.latents[: 3 * count], np.concatenate([a, b, c]))
    np.testing.assert_allclose(found.latents[3 * count + 1], b.mean(axis=0), atol=1e-7)
    np.testing.assert_allclose(found.latents[3 * count + 3], total, atol=1e-6)
    around = found.latents[3 * count + 4 :] - total
    assert 0.1 < np.abs(around).max() <= 0.25 + 1e-6
    np.testing.assert_array_equal(found.images, pixels(mirror(found.latents)))

    rows = max(count + 1, 3)
    # Signs above, a note below.
    assert found.sheet.shape == (18 + rows * 66 + 2 + 18, 7 * 66 + 2, 3)

    def cell(row, column):
        top, left = 18 + 2 + row * 66, 2 + column * 66
        return found.sheet[top : top + 64 : 32, left : left + 64 : 32, :1]

    np.testing.assert_array_equal(cell(0, 1), found.images[count])
    np.testing.assert_array_equal(cell(rows - 1, 2), found.images[3 * count + 2])
    middle = (rows - 3) // 2 + 1
    np.testing.assert_array_equal(cell(middle, 5), found.images[3 * count + 3])
    np.testing.assert_array_equal(cell(middle - 1, 4), found.images[3 * count + 4])
    assert (cell(0, 3) == 255).all()
    assert path.exists()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: visualization.latent_walk(mirror, 4, latent="gamma"),
            "normal, uniform, uniform01, got",
        ),
        (lambda: visualization.latent_walk(mirror, 0), "latent_size must be a positive"),
        (lambda: visualization.latent_walk(mirror, 4, rows=0), "rows must be a positive"),
        (
            lambda: visualization.latent_walk(mirror, 4, steps=1),
            "steps must be a whole number of at least 2",
        ),
        (
            lambda: visualization.latent_walk(mirror, 4, value_range=(1, 1)),
            r"value_range must be \(darkest, brightest\), got \(1, 1\)",
        ),
        (
            lambda: visualization.vector_arithmetic(
                mirror, np.zeros((3, 4)), np.zeros((2, 4)), [[0]]
            ),
            r"got shapes \(3, 4\), \(2, 4\) and \(1, 1\)",
        ),
        (lambda: visualization.interpolate([1.0], [1.0, 2.0], 3), "vectors of one length"),
    ],
)
def test_latents_of_wrong_arguments(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_nearest_neighbors_find_memorized_images(tmp_path):
    rng = np.random.default_rng(0)
    training = rng.integers(0, 256, (40, 6, 6, 3), dtype=np.uint8)
    samples = training[[5, 17, 30]].copy()
    samples[1, 0, 0, 0] ^= 255
    samples[2] = 255 - samples[2]
    found = visualization.nearest_neighbors(samples, training, k=3, path=tmp_path / "near.png")
    assert found.indices[:2, 0].tolist() == [5, 17]
    assert found.distances[0, 0] == 0
    changed = abs(int(samples[1, 0, 0, 0]) - int(training[17, 0, 0, 0])) / 255
    assert found.distances[1, 0] == pytest.approx(changed)
    assert found.indices[2, 0] != 30
    assert found.description == "pixels in [0, 1]"
    with Image.open(tmp_path / "near.png") as image:
        # A sample and three neighbors of 60 pixels each, with room between them.
        assert image.width == 4 * (60 + 2 * 18)


def test_nearest_neighbors_in_features():
    training = images_of([0, 1, 2, 3])
    found = visualization.nearest_neighbors(images_of([2, 0]), training, k=2, network=NETWORK)
    assert found.indices[:, 0].tolist() == [2, 0]
    assert sorted(found.distances[1].tolist()) == [0, 1]
    assert found.description == NETWORK.describe()


def test_nearest_neighbors_of_wrong_arguments():
    training = np.zeros((5, 4, 4, 1), np.uint8)
    with pytest.raises(ArgumentError, match=r"samples must be uint8 images .* got float64"):
        visualization.nearest_neighbors(training / 255, training)
    with pytest.raises(ArgumentError, match="one shape, got"):
        visualization.nearest_neighbors(training[:, :3], training)
    with pytest.raises(ArgumentError, match="k must be 1 to the 5 references, got 6"):
        visualization.nearest_neighbors(training, training, k=6)


def test_side_by_side_keeps_every_pixel_under_its_title(tmp_path):
    rng = np.random.default_rng(0)
    columns = {
        "input": rng.integers(0, 256, (2, 70, 64, 1), dtype=np.uint8),
        "output of L1 + cGAN": rng.integers(0, 256, (2, 70, 64, 3), dtype=np.uint8),
        "target": rng.integers(0, 256, (2, 70, 64, 3), dtype=np.uint8),
    }
    path = visualization.side_by_side(columns, tmp_path / "new" / "pairs.png")
    with Image.open(path) as image:
        drawn = np.asarray(image.convert("RGB"))
    head = drawn.shape[0] - (2 * 72 + 2)
    assert head >= 18
    assert drawn.shape[1] == 3 * 68
    for column, images in enumerate(columns.values()):
        for row, expected in enumerate(images):
            top, left = head + 2 + row * 72, 2 + column * 68
            np.testing.assert_array_equal(
                drawn[top : top + 70, left : left + 64], np.broadcast_to(expected, (70, 64, 3))
            )
        titles = drawn[:head, column * 68 : (column + 1) * 68]
        assert (titles < 128).sum() > 30
