"""Training of segmentation networks, and what is done with them."""

import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_arch import api, cli, config, data, hub, metrics, tiling
from keras_arch.errors import ArgumentError, ConfigError, DataError
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks import segmentation_predictions
from keras_arch.training import factories
from tests.rounding import ROUNDING

TINY = [
    "model.arguments.depth=1",
    "model.arguments.filters=4",
    "model.arguments.norm=null",
    "model.arguments.input_shape=[64,64,1]",
    "preprocessing.size=[64,64]",
    "data.train=train[:8]",
    "data.validation=val[:2]",
    "data.test=test[:2]",
    "recipe.epochs=2",
    "samples.count=2",
]
# Unpadded of depth 1: 64 pixels give 48.
VALID = [*TINY, "model.arguments.padding=valid"]


@pytest.fixture(scope="session")
def cells_run(tmp_path_factory):
    """A tiny unpadded U-Net on drawn cells."""
    out = tmp_path_factory.mktemp("cells") / "run"
    more = ["metrics=[boundary_f_score,rand_error,pixel_error,instance_recall]"]
    return api.train("unet-cells", out, overrides=[*VALID, *more], verbose=0)


@pytest.fixture(scope="session")
def a_cell_image(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "cells.png"
    image, _ = data.draw_cells(seed=7, size=(100, 90))
    Image.fromarray(image[..., 0]).save(path)
    return path


def test_a_run_leaves_its_figures_pictures_and_model(cells_run):
    assert set(cells_run.metrics) == {
        *metrics.pixel_scores(np.eye(2)),
        "boundary_f_score",
        "rand_error",
        "pixel_error",
        "instance_recall",
    }
    assert json.loads((cells_run.directory / "metrics.json").read_text()) == cells_run.metrics
    for name in ("overlays.png", "close_ups.png", "confusion_matrix.png", "per_class.json"):
        assert (cells_run.directory / name).exists()
    rows = json.loads((cells_run.directory / "per_class.json").read_text())
    assert [row["label"] for row in rows] == ["background", "cell"]
    shown = np.asarray(Image.open(cells_run.directory / "overlays.png"))
    # Titles above, the colors of the cells and of errors below.
    assert (shown[:18] < 128).any()
    for color in ((128, 0, 0), (200, 30, 30)):
        assert (shown[-22:] == color).all(-1).sum() >= 100
    header, *lines = (cells_run.directory / "log.csv").read_text().splitlines()
    assert "val_mean_iu" in header
    assert "val_foreground_iu" in header
    assert len(lines) == 2


def test_its_card_tells_classes_and_colours(cells_run):
    card = hub.load_with_card(cells_run.model).card
    assert card.task == "image-segmentation"
    assert card.labels == ["background", "cell"]
    assert card.colors == [(0, 0, 0), (128, 0, 0)]
    assert hub.Card.from_dict(card.to_dict()) == card
    readme = (cells_run.model / "README.md").read_text()
    assert "pipeline_tag: image-segmentation" in readme
    assert "| 1 | cell | #800000 |" in readme


def test_evaluate_measures_the_same(cells_run, tmp_path):
    assert api.evaluate(cells_run.directory, out=tmp_path) == pytest.approx(cells_run.metrics)
    assert (tmp_path / "close_ups.png").exists()
    assert json.loads((tmp_path / "metrics.json").read_text()) == pytest.approx(cells_run.metrics)
    with pytest.raises(DataError, match="digits has no masks"):
        api.evaluate(cells_run.directory, source="digits")


def test_predict_writes_masks_and_overlays(cells_run, a_cell_image, tmp_path):
    arguments = ["predict", str(cells_run.directory), str(a_cell_image), "--overlay"]
    result = CliRunner().invoke(cli.app, [*arguments, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    mask = Image.open(tmp_path / "cells_mask.png")
    assert (mask.mode, mask.size) == ("P", (90, 100))
    assert mask.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
    # Below the picture, what its color means.
    overlay = np.asarray(Image.open(tmp_path / "cells_overlay.png"))
    assert overlay.shape == (100 + 22, 240, 3)
    assert (overlay[100:] == (128, 0, 0)).all(-1).sum() == 100
    (found,) = api.predict(cells_run.model, [a_cell_image], out=tmp_path)
    assert found.overlay is None
    assert found.shares["background"] == pytest.approx((np.asarray(mask) == 0).mean(), abs=1e-6)


def test_predict_refuses_what_has_no_meaning(cells_run, a_cell_image, tmp_path):
    with pytest.raises(ArgumentError, match=r"no option of .*; only image-classification has it"):
        api.predict(cells_run.model, [a_cell_image], explain=True)
    with pytest.raises(ArgumentError, match="one by one"):
        api.predict(cells_run.model, [a_cell_image, a_cell_image], out=tmp_path)


def test_a_mask_that_is_no_prediction_is_not_written_over(cells_run, a_cell_image, tmp_path):
    drawn = tmp_path / "cells_mask.png"
    Image.new("P", (3, 3)).save(drawn)
    before = drawn.read_bytes()
    with pytest.raises(ArgumentError, match=r"cells_mask\.png is there already"):
        api.predict(cells_run.model, [a_cell_image], out=tmp_path)
    assert drawn.read_bytes() == before


def test_predict_reads_sixteen_bits_as_training_does(cells_run, a_cell_image, tmp_path):
    eight = np.asarray(Image.open(a_cell_image))
    Image.fromarray(eight.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    one, other = api.predict(
        cells_run.model, [a_cell_image, tmp_path / "deep.png"], out=tmp_path / "masks"
    )
    np.testing.assert_array_equal(Image.open(one.mask), Image.open(other.mask))


def test_predict_names_a_file_too_large(cells_run, a_cell_image, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    # A file of its own, whose header was not read yet.
    large = shutil.copy(a_cell_image, tmp_path / "large.png")
    with pytest.raises(DataError, match=r"large\.png has more than 2,000 pixels, .*np\.memmap"):
        api.predict(cells_run.model, [large], out=tmp_path)


def test_an_image_larger_than_padding_allows_is_shrunk_and_not_cut():
    # Two classes, by whether a pixel is white.
    pixels = keras.Input((32, 32, 1))
    network = keras.Model(pixels, keras.ops.concatenate([1 - pixels, pixels], axis=-1))
    network = keras.Sequential([network, keras.layers.Activation("softmax")])
    image = np.zeros((64, 48, 1), np.uint8)
    image[:8], image[:, 40:] = 255, 255
    found = segmentation_predictions.predict_probabilities(
        network, image, Preprocessing((32, 32), 1, resize="pad"), "whole"
    )
    assert found.shape == (64, 48, 2)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)
    # Interpolation rounds the inner corner by a pixel.
    assert (found.argmax(axis=-1) != (image[..., 0] > 0)).sum() <= 1


def test_tiles_give_what_the_whole_image_gives(cells_run):
    """An unpadded net: its output for the mirrored whole image."""
    opened = hub.load_with_card(cells_run.model)
    image, _ = data.draw_cells(seed=9, size=(100, 116))
    tiled = segmentation_predictions.predict_probabilities(
        opened.model, image, opened.card.preprocessing, "tiles"
    )
    network = factories.build_network(
        config.Builder(
            name="UNet",
            arguments=opened.card.arguments | {"input_shape": [None, None, 1]},
        )
    )
    network.set_weights(opened.model.get_weights())
    inputs = (image / 255.0 - 0.4) / 0.2
    padded = np.pad(inputs, [(8, 8), (8, 8), (0, 0)], mode="reflect")[None]
    np.testing.assert_allclose(tiled, np.asarray(network(padded))[0], atol=ROUNDING)


@pytest.mark.slow
def test_export_serves_pixels_and_files(cells_run, tmp_path):
    import tensorflow as tf

    path = api.export_model(cells_run.directory, tmp_path)
    served = tf.saved_model.load(path)
    image, _ = data.draw_cells(seed=7, size=(64, 64))
    out = served.signatures["serving_default"](image=tf.constant(image[None], tf.float32))
    assert out["probabilities"].shape == (1, 48, 48, 2)
    assert (out["classes"].shape, out["classes"].dtype) == ((1, 48, 48), tf.uint8)
    opened = hub.load_with_card(cells_run.model)
    expected = opened.model(opened.card.preprocessing(image[None]), training=False)
    np.testing.assert_allclose(out["probabilities"], expected, atol=1e-5)
    encoded = tf.constant([tf.io.encode_png(image).numpy()])
    by_bytes = served.signatures["serving_bytes"](image_bytes=encoded)
    np.testing.assert_allclose(by_bytes["probabilities"], expected, atol=1e-5)
    assert (path / "assets" / "labels.txt").read_text() == "background\ncell\n"
    # Of images of another size it takes tiles, and does not bring them to another scale.
    larger, _ = data.draw_cells(seed=7, size=(100, 90))
    np.testing.assert_allclose(
        tiling.predict(served, larger, multiple=2, progress=False),
        segmentation_predictions.predict_probabilities(
            opened.model, larger, opened.card.preprocessing, "tiles"
        ),
        atol=1e-5,
    )
    with pytest.raises(ArgumentError, match="takes tiles of 64x64 pixels, got tile=128x128"):
        tiling.predict(served, larger, tile=128, progress=False)
    encoded = tf.constant([tf.io.encode_png(larger).numpy()])
    with pytest.raises(tf.errors.InvalidArgumentError, match="takes tiles of 64x64 pixels"):
        served.signatures["serving_bytes"](image_bytes=encoded)


def last_weights(out):
    with np.load(sorted(out.glob("checkpoints/*.npz"))[-1]) as saved:
        return {name: saved[name] for name in saved.files}


@pytest.mark.slow
def test_a_run_that_goes_on_ends_as_one_that_did_not_stop(tmp_path):
    settings = [*VALID, "recipe.deterministic=true", "recipe.checkpoint=best"]
    code = (
        "import sys; from keras_arch import api; "
        "api.train('unet-cells', sys.argv[1], overrides=sys.argv[3:], "
        "resume=sys.argv[2] == 'True', verbose=0)"
    )

    def train(name, epochs, resume=False):
        command = [sys.executable, "-c", code, str(tmp_path / name), str(resume), *settings]
        subprocess.run([*command, f"recipe.epochs={epochs}"], check=True, timeout=300)

    train("whole", 2)
    train("parts", 1)
    train("parts", 2, resume=True)
    one, other = last_weights(tmp_path / "whole"), last_weights(tmp_path / "parts")
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    figures = [json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("whole", "parts")]
    assert figures[0] == figures[1]


@pytest.mark.slow
def test_two_replicas_learn_what_one_learns(two_replicas, tmp_path, monkeypatch):
    from keras_arch import distribute

    found = []
    for strategy in ("none", "mirrored"):
        if strategy == "mirrored":
            monkeypatch.setattr(distribute, "strategy", lambda name: two_replicas)
        run = api.train(
            "unet-cells",
            tmp_path / strategy,
            # Nine tiles to validate on, in batches of four: one is left for two replicas.
            overrides=[
                *VALID,
                "data.validation=val[:1]",
                "recipe.batch_size=4",
                "recipe.epochs=1",
                "recipe.optimizer.epsilon=0.1",
            ],
            strategy=strategy,
            verbose=0,
        )
        found.append(hub.load_with_card(run.model).model.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (["model.arguments.classes=3"], ConfigError, "classes is 3, cells has 2"),
        (["data.source=digits"], DataError, "images with masks"),
        (["data.classes={a: 0, b: 1}"], ConfigError, "classes is for masks:PATH"),
        (["data.crop_mode=whole", "model.arguments.padding=valid"], ConfigError, "use tiles"),
        (["preprocessing.crop=0.9"], ConfigError, "loses pixels"),
        (["preprocessing.mean=per_channel"], ConfigError, "mean must be a number"),
        (["recipe.loss=dice"], ConfigError, "weights is for cross_entropy"),
        (["recipe.normalize=false", "recipe.loss=focal"], ConfigError, "normalize is for"),
        (["recipe.loss={dice: 1.0, jaccard: 1.0}"], ConfigError, "weights is for cross_entropy"),
        (["recipe.loss={cross_entropy: 0}"], ConfigError, "greater than 0"),
        (["recipe.loss={lovasz: 1}"], ConfigError, "lovasz"),
        (["recipe.loss_arguments={dice: {}}"], ConfigError, "are of loss 'cross_entropy'"),
        (
            ["recipe.loss_arguments={cross_entropy: {alpha: 1}}"],
            ConfigError,
            "cross_entropy takes no arguments",
        ),
        (
            ["recipe.class_weights={nucleus: 2}"],
            ConfigError,
            "recipe.class_weights names 'nucleus'",
        ),
        (["data.background=nucleus"], ConfigError, "data.background names 'nucleus'"),
        (["data.colors={nucleus: '#ff0000'}"], ConfigError, "'nucleus'; the classes are"),
        (["data.cache=false"], ConfigError, "in memory"),
        (
            [
                "model.arguments.depth=4",
                "model.arguments.input_shape=[100,100,1]",
                "preprocessing.size=[100,100]",
            ],
            ArgumentError,
            "96.*112",
        ),
        (
            [
                "model.arguments.padding=valid",
                "model.arguments.input_shape=[null,null,1]",
                "preprocessing.size=[63,64]",
            ],
            ConfigError,
            "preprocessing.size: UNet does not take 63x64",
        ),
        (["data.augment=[crop:4]"], ArgumentError, "images with masks"),
        (["metrics=[rand]"], ConfigError, "rand_error"),
    ],
)
def test_mistakes_leave_nothing(settings, error, message, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(error, match=message):
        api.train("unet-cells", out, overrides=[*TINY, *settings], verbose=0)
    assert not out.exists()


@pytest.mark.slow
def test_a_table_of_classes_in_the_config_reads_masks(tmp_path):
    for split, count in (("train", 4), ("test", 2)):
        for number in range(count):
            image, instances = data.draw_cells(seed=(5, number), size=(64, 64), count=8)
            for folder, pixels in (("image", image[..., 0]), ("label", (instances > 0) * 200)):
                where = tmp_path / "set" / split / folder
                where.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(where / f"{number}.png")
    run = api.train(
        "unet-isbi2012-paper",
        tmp_path / "run",
        overrides=[
            f"data.source=masks:{tmp_path}/set?images=image&masks=label",
            "data.classes={'membrane, thin': 0, interior: 200}",
            "data.train=train",
            "data.test=test",
            "data.crops_per_image=1",
            "data.colors={interior: '#000000', 'membrane, thin': '#e03020'}",
            "model.arguments.filters=2",
            "model.arguments.depth=1",
            # Unpadded and open: tiles of 48 pixels give 32.
            "model.arguments.input_shape=[null,null,1]",
            "preprocessing.size=[48,48]",
            "recipe.epochs=1",
            "recipe.loss={cross_entropy: 1.0, tversky: 0.5}",
            "recipe.loss_arguments={tversky: {alpha: 0.3, beta: 0.7}}",
            "recipe.class_weights={interior: 2.0}",
            "data.background=membrane, thin",
            "samples.count=1",
        ],
        verbose=0,
    )
    assert "foreground_iu" in (run.directory / "log.csv").read_text()
    assert {"rand_error", "warping_error", "pixel_error", "mean_iu"} <= set(run.metrics)
    card = hub.load_with_card(run.model).card
    assert card.labels == ["membrane, thin", "interior"]
    assert card.colors == [(224, 48, 32), (0, 0, 0)]
    assert str(tmp_path) not in (run.model / "README.md").read_text()
    assert api.evaluate(run.directory) == pytest.approx(run.metrics)
