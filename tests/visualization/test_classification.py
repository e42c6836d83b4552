"""Reports on classifiers, and Grad-CAM by hand and on objects whose place is known."""

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import classification_report

from keras_arch import models, visualization
from keras_arch.errors import ArgumentError


class TestPerClassReport:
    def test_numbers_are_scikit_learns(self, tmp_path):
        rng = np.random.default_rng(0)
        labels = [f"class {number}" for number in range(5)]
        # Class 3 never occurs, class 4 is never predicted.
        truth, predictions = rng.choice([0, 1, 2, 4], 200), rng.choice([0, 1, 2, 3], 200)
        report = visualization.per_class_report(truth, predictions, labels, tmp_path / "r.png")
        wanted = classification_report(
            truth,
            predictions,
            labels=range(5),
            target_names=labels,
            output_dict=True,
            zero_division=0,
        )
        for name in (*labels, "macro avg", "weighted avg"):
            theirs = wanted[name] | {"f1": wanted[name].pop("f1-score")}
            assert report[name] == pytest.approx(theirs, abs=5e-5)
        assert Image.open(tmp_path / "r.png").height > 100

    def test_by_hand(self):
        report = visualization.per_class_report([0, 0, 1, 1, 1], [0, 1, 1, 1, 0], ["a", "b"])
        assert report["a"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
        assert report["b"]["precision"] == report["b"]["recall"] == 0.6667
        assert report["macro avg"]["recall"] == pytest.approx((1 / 2 + 2 / 3) / 2, abs=1e-4)
        assert report["weighted avg"]["recall"] == pytest.approx(3 / 5)

    def test_names_that_occur_twice_stay_apart(self):
        report = visualization.per_class_report(
            [0, 1, 2], [0, 1, 1], ["crane", "crane", "macro avg"]
        )
        assert list(report) == [
            "crane (0)", "crane (1)", "macro avg (2)", "macro avg", "weighted avg",
        ]  # fmt: skip
        assert report["macro avg (2)"]["recall"] == 0

    def test_many_classes_are_a_picture_that_can_be_read(self, tmp_path):
        truth = np.arange(1000)
        labels = [f"a class with a long name, number {number}" for number in truth]
        path = tmp_path / "r.png"
        report = visualization.per_class_report(truth, np.roll(truth, 1), labels, path)
        assert len(report) == 1002
        width, height = Image.open(path).size
        assert width < 2500
        assert height < 1500

    @pytest.mark.parametrize(
        ("truth", "predictions", "message"),
        [([], [], "shapes"), ([0], [0, 1], "shapes"), ([0], [2], "2 is no class: there are 2")],
    )
    def test_mistakes(self, truth, predictions, message):
        with pytest.raises(ArgumentError, match=message):
            visualization.per_class_report(truth, predictions, ["a", "b"])


class TestConfidentMistakes:
    def test_the_surest_come_first(self, tmp_path):
        probabilities = np.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1], [0.05, 0.95], [0.2, 0.8]])
        found = visualization.confident_mistakes([1, 1, 1, 0, 1], probabilities)
        assert [(one.index, one.truth, one.predicted) for one in found] == [
            (3, 0, 1),
            (2, 1, 0),
            (0, 1, 0),
        ]
        assert [one.probability for one in found] == [0.95, 0.9, 0.6]
        assert visualization.confident_mistakes([0], [[0.9, 0.1]]) == []
        assert len(visualization.confident_mistakes([1, 1, 1, 0, 1], probabilities, count=2)) == 2
        images = np.zeros((3, 8, 8, 3), np.uint8)
        labels = ["a", "a very long name of a class that goes on and on"]
        path = visualization.draw_mistakes(found, images, labels, tmp_path / "m.png")
        assert Image.open(path).size == (570, 235)
        with pytest.raises(ArgumentError, match="2 images for 3 mistakes"):
            visualization.draw_mistakes(found, images[:2], labels, path)


def with_known_weights(activation, top):
    """A convolution, global average pooling and a dense layer: Grad-CAM is CAM."""
    image = keras.Input((6, 6, 2), name="image")
    x = keras.layers.Conv2D(3, 3, padding="same", activation="relu", name="maps")(image)
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    output = keras.layers.Dense(4, activation=activation, name="logits")(pooled)
    if top:
        output = keras.layers.Activation(top)(output)
    model = keras.Model(image, output)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in model.weights])
    return model


class TestGradCAM:
    @pytest.mark.parametrize(
        ("activation", "top"), [(None, "softmax"), ("softmax", None), (None, None)]
    )
    def test_closed_form(self, activation, top):
        """Zhou et al. 2016 and Selvaraju et al. 2017, section 3.1: alpha = w / Z, to the score."""
        model = with_known_weights(activation, top)
        images = np.random.default_rng(1).normal(size=(3, 6, 6, 2)).astype(np.float32)
        maps = np.asarray(keras.Model(model.input, model.get_layer("maps").output)(images))
        weights = np.asarray(model.get_layer("logits").kernel)
        classes = [0, 3, 1]
        wanted = np.stack([m @ weights[:, c] / 36 for m, c in zip(maps, classes, strict=True)])
        found = visualization.grad_cam(model, images, classes)
        assert (wanted > 0).any()
        np.testing.assert_allclose(found, np.maximum(wanted, 0), rtol=1e-4, atol=1e-6)
        named = visualization.grad_cam(model, images, classes, layer="maps")
        np.testing.assert_array_equal(named, found)
        # Without classes the predicted ones.
        predicted = np.asarray(model(images)).argmax(axis=1)
        np.testing.assert_array_equal(
            visualization.grad_cam(model, images), visualization.grad_cam(model, images, predicted)
        )

    def test_it_is_bilinear_between_the_maps(self):
        """A map of 2x2 over 4x4 pixels: its values at the corners, mixtures between."""
        image = keras.Input((4, 4, 1))
        maps = keras.layers.AveragePooling2D(2, name="stage1")(image)
        model = keras.Model(
            image,
            keras.layers.Dense(1, use_bias=False)(keras.layers.GlobalAveragePooling2D()(maps)),
        )
        model.set_weights([np.array([[4.0]], np.float32)])
        pixels = np.kron([[0.0, 4.0], [8.0, 12.0]], np.ones((2, 2)))[None, ..., None]
        # The one output is the score of the second of two classes.
        (heat,) = visualization.grad_cam(model, pixels, [1])
        np.testing.assert_allclose(heat[[0, 0, -1, -1], [0, -1, 0, -1]], [0, 4, 8, 12], atol=1e-5)
        np.testing.assert_allclose(heat[0], [0, 1, 3, 4], atol=1e-5)

    def test_the_heat_falls_on_the_object(self):
        """Crosses and squares somewhere in noise; the net is trained, its maps are 8x8."""
        rng = np.random.default_rng(0)
        square = np.pad(np.zeros((3, 3)), 1, constant_values=1.0)
        cross = np.eye(5)[::-1] + np.eye(5) > 0
        images = rng.uniform(0, 0.4, (512, 16, 16, 1)).astype(np.float32)
        labels, corners = rng.integers(0, 2, 512), rng.integers(0, 12, (512, 2))
        for image, label, (top, left) in zip(images, labels, corners, strict=True):
            image[top : top + 5, left : left + 5, 0] += (square, cross)[label]
        layers = keras.layers
        keras.utils.set_random_seed(0)
        model = keras.Sequential([
            keras.Input((16, 16, 1)),
            layers.Conv2D(16, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="stage1"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(2, name="logits"),
            layers.Activation("softmax"),
        ])  # fmt: skip
        model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
        model.fit(images[:448], labels[:448], batch_size=32, epochs=8, verbose=0)
        shown, truth = images[448:], labels[448:]
        right = np.asarray(model(shown)).argmax(axis=1) == truth
        assert right.mean() > 0.9
        heat = visualization.grad_cam(model, shown, truth)[right]
        hottest = [np.unravel_index(one.argmax(), one.shape) for one in heat]
        inside = [
            -2 <= y - top < 7 and -2 <= x - left < 7
            for (y, x), (top, left) in zip(hottest, corners[448:][right], strict=True)
        ]
        # By chance less than a third.
        assert np.mean(inside) > 0.9

    def test_the_last_stage_of_a_backbone(self):
        model = models.CIFARResNet(depth=8, input_shape=(16, 16, 3))
        images = np.random.default_rng(0).normal(size=(2, 16, 16, 3))
        found = visualization.grad_cam(model, images, [2, 5])
        assert found.shape == (2, 16, 16)
        np.testing.assert_array_equal(
            found, visualization.grad_cam(model, images, [2, 5], layer="stage3")
        )
        earlier = visualization.grad_cam(model, images, [2, 5], layer="stage2")
        assert not np.allclose(found, earlier)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"classes": [10]}, "classes 0 to 9, got 10"),
            ({"classes": [1, 2]}, "one number for each of 1"),
            ({"classes": [0.5]}, "one number for each of 1"),
            ({"layer": "stage9"}, "no layer 'stage9'"),
            ({"layer": "pool"}, "'pool' of .* has no maps"),
            ({"layer": "stage1_block1_1_conv"}, "not all paths .* 'stage1_block1_1_conv'"),
        ],
    )
    def test_wrong_arguments(self, arguments, message):
        model = models.CIFARResNet(depth=8, input_shape=(8, 8, 1))
        with pytest.raises(ArgumentError, match=message):
            visualization.grad_cam(model, np.zeros((1, 8, 8, 1)), **arguments)

    def test_overlay(self):
        pixels = np.full((2, 2, 3), 100, np.uint8)
        mixed = visualization.overlay_heatmap(pixels, np.array([[0.0, 0.0], [0.0, 2.0]]))
        assert (mixed[0] == 100).all()
        red, _, blue = mixed[1, 1].astype(int)
        assert red > blue
        np.testing.assert_array_equal(
            visualization.overlay_heatmap(pixels, np.zeros((2, 2))), pixels
        )
        with pytest.raises(ArgumentError, match="the heatmap"):
            visualization.overlay_heatmap(pixels, np.zeros((3, 2)))


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_grad_cam_of_one_output(activation):
    """The two classes have the scores -z and z: z is the mean of the maps times the weights."""
    image = keras.Input((6, 6, 1))
    maps = keras.layers.Conv2D(3, 3, padding="same", name="maps")(image)
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    model = keras.Model(image, keras.layers.Dense(1, activation=activation)(pooled))
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 1)).astype("float32")
    kernel = np.asarray(model.layers[-1].kernel)[:, 0]
    found = np.asarray(keras.Model(image, maps)(x)) @ kernel / 36
    for number, sign in ((0, -1), (1, 1)):
        heat = visualization.grad_cam(model, x, [number] * 2, layer="maps")
        np.testing.assert_allclose(heat, np.maximum(sign * found, 0), rtol=1e-4, atol=1e-6)
    with pytest.raises(ArgumentError, match="classes 0 to 1, got 2"):
        visualization.grad_cam(model, x, [2, 2], layer="maps")
