"""Tiny runs of every game: what they leave behind, which weights they publish, and their use."""

import csv
import functools
import json
import math

import numpy as np
import pytest
import tensorflow as tf
import yaml
from PIL import Image

from keras_arch import api, config, data, files, hub, models, trainers
from keras_arch.errors import ArgumentError, ConfigError, DataError
from tests.runs import EVERY_RUN, refused_in_one_line
from tests.tasks import games

JUDGED = {"best", "modes.png"}
GAME = {"d_loss", "g_loss", "d_real", "d_fake"}
LEVELS = {f"{name.format(n)}" for n in (4, 12) for name in ("d{}_loss", "d{}_real", "d{}_fake")}
LEAVES = {
    "gan": (JUDGED, GAME | {"best_epoch", "fid", "precision", "modes_covered"}),
    "cgan": (
        JUDGED | {"confusion_matrix.png"},
        GAME | {"best_epoch", "parzen", "fid", "classifier_agreement", "modes_covered"},
    ),
    "lapgan": (set(), LEVELS | {"g4_loss", "g12_loss"}),
    "pix2pix": (set(), {"l1", "sharpness", "sharpness_of_targets"}),
    "cyclegan": (set(), {"cycle_l1", "sharpness", "sharpness_of_targets"}),
}
TRAINED_WITH = {
    "gan": {"discriminator"},
    "cgan": {"discriminator"},
    "lapgan": {"discriminator4", "discriminator12"},
    "pix2pix": {"discriminator"},
    "cyclegan": {"generator_back", "discriminator", "discriminator_back"},
}
TASKS = {
    "gan": "unconditional-image-generation",
    "cgan": "conditional-image-generation",
    "lapgan": "conditional-image-generation",
    "pix2pix": "image-to-image",
    "cyclegan": "image-to-image",
}


def rows_of(run):
    with (run.directory / "log.csv").open() as file:
        return list(csv.DictReader(file))


def output(opened):
    """What an opened generator makes of fixed inputs."""
    if opened.card.latent is None:
        images = np.random.default_rng(1).uniform(-1, 1, (2, *opened.model.input_shape[1:]))
        return trainers.translate(opened.model, images)
    labels = [3, 7] if opened.card.labels else None
    latent = opened.card.latent["distribution"]
    return trainers.sample(opened.model, 2, seed=1, latent=latent, labels=labels)


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image, int)


SIGMAS = np.logspace(-1, 0, 10)


def made_pixels(run, count, seed, labels=None):
    """Images of a run's generator, in [0, 1], a row each."""
    opened = api.load_model(run.directory)
    latent = opened.card.latent["distribution"]
    made = trainers.sample(opened.model, count, seed=seed, latent=latent, labels=labels)
    return opened.card.preprocessing.to_pixels(made).reshape(count, -1) / 255


def digits(split):
    images = [image.numpy() for image, _ in data.load("digits", split)]
    return np.stack(images).reshape(-1, 64) / 255


def mean_density(made, images, sigma):
    """Mean log-density of images under Gaussians around others, and its standard error."""
    distances = ((images[:, None] - made[None]) ** 2).sum(-1)
    kernels = -distances / (2 * sigma**2)
    top = kernels.max(1, keepdims=True)
    density = top[:, 0] + np.log(np.exp(kernels - top).mean(1))
    density -= images.shape[1] * np.log(sigma * np.sqrt(2 * np.pi))
    return density.mean(), density.std() / math.sqrt(len(images))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n == "cyclegan" else ()) for n in games.CONFIGS],
)
class TestWhatEveryGameLeaves:
    def test_files_and_figures(self, name, game_run):
        run = game_run(name)
        more, figures = LEAVES[name]
        assert {path.name for path in run.directory.iterdir()} == EVERY_RUN | more
        assert set(run.metrics) == figures
        assert all(math.isfinite(value) for value in run.metrics.values())
        assert json.loads((run.directory / "metrics.json").read_text()) == run.metrics
        sheets = sorted(path.name for path in (run.directory / "samples").iterdir())
        assert sheets == ["epoch-0001.png", "epoch-0002.png", "final.png"]
        assert [row["epoch"] for row in rows_of(run)] == ["1", "2"]
        resolved = config.load(run.directory / "config.yaml")
        assert config.parse(yaml.safe_load(config.dump(resolved))) == resolved

    def test_model_and_what_it_was_trained_with(
        self, name, game_run, pictures, classifier_of_digits
    ):
        run = game_run(name)
        card = hub.read_card(run.model)
        assert card.task == TASKS[name]
        assert card.metrics == pytest.approx(run.metrics)
        labels = [str(digit) for digit in range(10)] if name in ("cgan", "lapgan") else None
        assert card.labels == labels
        parts = {path.name for path in (run.model / "training").iterdir() if path.is_dir()}
        assert parts == TRAINED_WITH[name]
        for file in ("keras_arch.json", "README.md"):
            text = (run.model / file).read_text()
            # Where data and judge lie on this machine is nobody's business.
            assert str(pictures) not in text
            assert str(classifier_of_digits) not in text

    def test_pushed_and_opened_again_it_makes_the_same(self, name, game_run, tmp_path):
        run = game_run(name)
        address = f"file://{tmp_path}/hub/someone/{name}"
        api.push(run.directory, address)
        here, there = api.load_model(run.directory), api.load_model(address)
        np.testing.assert_array_equal(output(here), output(there))
        assert there.card == here.card


class TestLevelsOneAfterTheOther:
    @pytest.mark.slow
    def test_a_level_is_trained_on_top_of_the_run_below(self, train_game, tmp_path):
        below = train_game("lapgan", tmp_path / "low", "recipe.levels=[4]", "recipe.epochs=1")
        above = train_game(
            "lapgan",
            tmp_path / "high",
            "recipe.levels=[12]",
            f"generator.arguments.weights={below.directory}",
            "recipe.epochs=1",
        )
        for run, level in ((below, 4), (above, 12)):
            assert set(run.metrics) == {f"d{level}_{v}" for v in ("loss", "real", "fake")} | {
                f"g{level}_loss"
            }
            parts = {path.name for path in (run.model / "training").iterdir() if path.is_dir()}
            assert parts == {f"discriminator{level}"}
        low, high = hub.load(below.model), hub.load(above.model)
        weights = [
            [network.get_layer(f"level{size}").get_weights() for network in (low, high)]
            for size in (4, 12)
        ]
        assert all(map(np.array_equal, *weights[0]))
        assert not any(map(np.array_equal, *weights[1]))
        # Where the run below lies on this machine is nobody's business.
        assert str(tmp_path) not in (above.model / "README.md").read_text()


class TestWhichWeights:
    @pytest.mark.parametrize(
        ("name", "figure", "choose"), [("gan", "fid", min), ("cgan", "parzen", max)]
    )
    def test_the_best_of_all_epochs_is_published(self, name, figure, choose, game_run):
        run = game_run(name)
        logged = [float(row[figure]) for row in rows_of(run)]
        best = choose(logged)
        # Of equals the earliest.
        assert run.metrics["best_epoch"] == logged.index(best) + 1
        assert run.metrics[figure] == pytest.approx(best, rel=1e-6)
        kept = run.directory / f"best/epoch-{logged.index(best) + 1:05d}/model.weights.h5"
        opened = api.load_model(run.directory)
        published = [np.array(weight) for weight in opened.model.get_weights()]
        network = models.create(opened.card.architecture, **opened.card.arguments)
        network.load_weights(kept)
        for one, other in zip(published, network.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_the_last_grid_is_that_of_the_published_generator(self, game_run, tmp_path):
        for name, count in (("gan", 6), ("cgan", 20), ("lapgan", 20)):
            run = game_run(name)
            again = api.generate(run.directory, count, seed=0, out=tmp_path / f"{name}.png")
            difference = pixels_of(again) - pixels_of(run.directory / "samples/final.png")
            assert np.abs(difference).max() <= 1

    @pytest.mark.parametrize(
        ("name", "part"),
        [
            ("lapgan", ""),
            *(pytest.param("cyclegan", part, marks=pytest.mark.slow) for part in ("", "back")),
        ],
    )
    def test_averaged_weights_are_published(self, name, part, game_run):
        run = game_run(name)
        folder = run.model / "training/generator_back" if part else run.model
        network = hub.load(folder)
        last = sorted((run.directory / "checkpoints").glob("*.npz"))[-1]
        with np.load(last) as archive:
            described = json.loads(archive["state"].tobytes())["variables"]
            stored = [
                (path, np.frombuffer(archive[str(number)].tobytes(), dtype).reshape(shape))
                for number, (path, dtype, shape) in enumerate(described)
            ]
        for weight in network.trainable_variables:
            value = np.asarray(weight)
            if value.std() == 0:
                continue
            same = [path for path, array in stored if np.array_equal(array, value)]
            assert same, weight.path
            assert all("average" in path for path in same), same

    @pytest.mark.parametrize("name", ["lapgan", pytest.param("cyclegan", marks=pytest.mark.slow)])
    def test_averaged_weights_are_what_is_shown(self, name, game_run):
        """The sheet of the last epoch was drawn in training, the other one after it."""
        folder = game_run(name).directory / "samples"
        difference = pixels_of(folder / "epoch-0002.png") - pixels_of(folder / "final.png")
        assert np.abs(difference).max() <= 1

    @pytest.mark.slow
    def test_a_run_that_is_shorter_than_the_time_between_looks_is_judged_at_its_end(
        self, train_game, tmp_path
    ):
        more = [
            "generator_evaluation.every=5",
            "generator_evaluation.metrics=[fid]",
            "recipe.epochs=1",
        ]
        run = train_game("gan", tmp_path / "r", *more)
        assert run.metrics["fid"] > 0
        assert "best_epoch" not in run.metrics


class TestOutputBias:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["gan", "cgan"])
    def test_training_starts_at_the_mean_image(self, name, train_game, tmp_path):
        """An update too small for float32 leaves the bias where it started."""
        still = "{name: sgd, learning_rate: 1.0e-30}"
        run = train_game(
            name,
            tmp_path / "r",
            "recipe.output_bias=mean_image",
            "recipe.epochs=1",
            f"recipe.g_optimizer={still}",
            f"recipe.d_optimizer={still}",
            "generator_evaluation=null",
        )
        mean = digits(f"train[:{games.STEPS * 24}]").mean(axis=0).clip(1e-7, 1 - 1e-7)
        bias = np.array(api.load_model(run.directory).model.get_layer("pixels").bias)
        np.testing.assert_allclose(bias, np.log(mean / (1 - mean)), rtol=1e-4)


class TestMeasuring:
    @pytest.mark.parametrize("name", ["gan", "cgan"])
    def test_a_game_is_measured_against_its_discriminator(self, name, game_run):
        figures = api.evaluate(game_run(name).directory)
        assert set(figures) == GAME
        assert all(math.isfinite(value) for value in figures.values())

    def test_a_translator_of_pairs_is_measured_in_its_range(self, game_run, pictures, tmp_path):
        run = game_run("pix2pix")
        figures = api.evaluate(run.directory, out=tmp_path)
        assert figures == pytest.approx({"l1": run.metrics["l1"]}, rel=1e-4)
        assert json.loads((tmp_path / "metrics.json").read_text()) == figures
        # The right half is the input, the left one the target.
        opened, errors = api.load_model(run.directory), []
        for file in sorted((pictures / "pairs/test").iterdir()):
            whole = pixels_of(file) / 127.5 - 1
            made = trainers.translate(opened.model, whole[None, :, 128:])[0]
            errors.append(np.abs(made - whole[:, :128]).mean())
        assert figures["l1"] == pytest.approx(np.mean(errors), rel=1e-3)

    def test_what_cannot_be_measured_is_told(self, game_run, tmp_path):
        with pytest.raises(ArgumentError, match="keras-arch evaluate-generator"):
            api.evaluate(game_run("lapgan").directory)
        with pytest.raises(ArgumentError, match="which has no evaluate"):
            api.evaluate(game_run("gan").model / "training/discriminator", source="digits")

    @pytest.mark.slow
    def test_a_translator_of_domains_has_no_pairs_to_be_measured_on(self, game_run):
        with pytest.raises(ArgumentError, match="pairs:PATH"):
            api.evaluate(game_run("cyclegan").directory)

    def test_judge_repeats_the_figures_of_the_run(self, game_run, classifier_of_digits, tmp_path):
        run = game_run("gan")
        found = api.evaluate_generator(
            run.directory,
            str(classifier_of_digits),
            metrics=["fid", "precision", "inception_score"],
            images=40,
            seed=1,
            out=tmp_path,
        )
        assert found.values["fid"] == pytest.approx(run.metrics["fid"], rel=1e-4)
        assert found.values["precision"] == pytest.approx(run.metrics["precision"])
        assert 1 <= found.values["inception_score"] <= 10
        written = json.loads((tmp_path / "generator_evaluation.json").read_text())
        assert written == {"metrics": found.values, "description": found.description}
        assert "40 real images, 40 generated" in found.description

    def test_agreement_counts_the_requested_digits(self, game_run, classifier_of_digits):
        run, judge = game_run("cgan"), api.load_model(classifier_of_digits)
        found = api.evaluate_generator(
            run.directory, str(classifier_of_digits), metrics=["classifier_agreement"], images=40
        )
        opened = api.load_model(run.directory)
        labels = np.arange(40) % 10
        latent = opened.card.latent["distribution"]
        made = trainers.sample(opened.model, 40, seed=0, latent=latent, labels=labels)
        pixels = opened.card.preprocessing.to_pixels(made)
        predicted = np.argmax(judge.model(judge.card.preprocessing(pixels)), axis=-1)
        assert found.values == {"classifier_agreement": np.mean(predicted == labels)}
        assert found.description.startswith("40 generated images, ")

    def test_parzen_is_the_mixture_s_density(self, game_run):
        """Against the mixture's log-density written out; no network is asked for."""
        run = game_run("gan")
        values = api.evaluate_generator(
            run.directory, "nowhere", metrics=["parzen"], images=30
        ).values
        assert set(values) == {"parzen", "parzen_error"}
        made = made_pixels(run, 30, 0)
        held, test = digits("train[-1000:]"), digits("test")
        sigma = max(SIGMAS, key=lambda sigma: mean_density(made, held, sigma)[0])
        mean, error = mean_density(made, test, sigma)
        assert values["parzen"] == pytest.approx(mean, rel=1e-4)
        assert values["parzen_error"] == pytest.approx(error, rel=1e-4)

    def test_parzen_of_a_training_is_that_of_held_out_images(self, game_run):
        run = game_run("cgan")
        seed = config.load(run.directory / "config.yaml").samples.seed + 1
        made, held = made_pixels(run, 40, seed, np.arange(40) % 10), digits("train[-1000:]")
        best = max(mean_density(made, held, sigma)[0] for sigma in SIGMAS)
        assert run.metrics["parzen"] == pytest.approx(best, rel=1e-4)

    def test_judging_mistakes_are_told_before_anything_is_drawn(
        self, game_run, classifier_of_digits
    ):
        run = game_run("gan").directory
        many = functools.partial(api.evaluate_generator, run, images=10**9)
        with pytest.raises(ArgumentError, match="parzen, got 'fud'"):
            many(str(classifier_of_digits), metrics=["fud"])
        with pytest.raises(ArgumentError, match=r"conditional generators; .* has no classes"):
            many(str(classifier_of_digits), metrics=["classifier_agreement"])
        with pytest.raises(ConfigError, match="no classifier"):
            many(str(run), metrics=["fid"])
        with pytest.raises(ArgumentError, match="nowhere"):
            many("nowhere", metrics=["fid"])
        with pytest.raises(ArgumentError, match="this is for generators"):
            api.evaluate_generator(classifier_of_digits, str(classifier_of_digits))

    @pytest.mark.slow
    def test_diagnosis(self, game_run, classifier_of_digits, tmp_path):
        told = {"latent_walk.png", "vector_arithmetic.png", "nearest_neighbors.png"}
        found = api.diagnose(game_run("lapgan").directory, tmp_path / "lapgan")
        assert {path.name for path in found} == told
        found = api.diagnose(
            game_run("cgan").directory, tmp_path / "cgan", network=str(classifier_of_digits)
        )
        assert {path.name for path in found} == told | {"modes.png", "classifier_agreement.png"}
        for path in found:
            assert Image.open(path).size > (64, 64)


class TestUsing:
    def test_labels_are_drawn_on_request(self, game_run, tmp_path):
        run = game_run("cgan").directory
        opened = api.load_model(run)
        draw = functools.partial(api.generate, run, 4, 5)
        sheet = pixels_of(draw(tmp_path / "a.png", labels=[3, "7"]))
        latent = opened.card.latent["distribution"]
        made = trainers.sample(opened.model, 4, 5, latent, labels=[3, 7, 3, 7])
        pixels = opened.card.preprocessing.to_pixels(made)[..., 0]
        # Two by two, each pixel enlarged to eight, two white pixels between.
        for number, image in enumerate(pixels):
            top, left = (2 + 66 * (number // 2), 2 + 66 * (number % 2))
            part = sheet[top : top + 64 : 8, left : left + 64 : 8]
            np.testing.assert_array_equal(part, image)
        for label in ("11", "-1", "three", 10):
            with pytest.raises(ArgumentError, match=f"no class '?{label}'?;"):
                draw(tmp_path / "b.png", labels=[label])
        with pytest.raises(ArgumentError, match="leave them out"):
            api.generate(game_run("gan").directory, 4, labels=[3], out=tmp_path / "b.png")
        assert not (tmp_path / "b.png").exists()

    def test_without_labels_every_class_has_a_column(self, game_run, tmp_path):
        sheet = api.generate(game_run("lapgan").directory, 20, seed=1, out=tmp_path / "a.png")
        # Ten columns and two rows of 12 pixels, enlarged to 60.
        assert Image.open(sheet).size == (10 * 62 + 2, 2 * 62 + 2)

    def test_one_image_has_no_frame(self, tmp_path):
        """So that a classifier of those images can read it."""
        made = api.generate("cdcgan-digits", 1, seed=0, out=tmp_path / "7.png", labels=[7])
        assert Image.open(made).size == (16, 16)
        assert api.predict("resnet20-digits", [made])[0].labels[0] == "7"

    @pytest.mark.parametrize("name", ["pix2pix", pytest.param("cyclegan", marks=pytest.mark.slow)])
    def test_files_are_translated(self, name, game_run, tmp_path):
        run = game_run(name).directory
        opened = api.load_model(run)
        side = opened.model.input_shape[1]
        rng = np.random.default_rng(3)
        given = [rng.integers(0, 256, (side, side, 3), np.uint8) for _ in range(2)]
        paths = [tmp_path / "one.png", tmp_path / "two.bmp"]
        for pixels, path in zip(given, paths, strict=True):
            Image.fromarray(pixels).save(path)
        made = api.translate(run, paths, tmp_path / "out")
        assert made == [tmp_path / "out/one.png", tmp_path / "out/two.png"]
        for pixels, path in zip(given, made, strict=True):
            wanted = trainers.translate(opened.model, (pixels / 127.5 - 1)[None])[0]
            difference = pixels_of(path) - np.rint((wanted + 1) * 127.5)
            assert np.abs(difference).max() <= 1
        # Each by itself: alone it is the same.
        alone = api.translate(run, paths[1:], tmp_path / "alone")
        np.testing.assert_array_equal(pixels_of(alone[0]), pixels_of(made[1]))

    @pytest.mark.parametrize(
        ("name", "side"), [("pix2pix", 128), pytest.param("cyclegan", 8, marks=pytest.mark.slow)]
    )
    def test_translation_spoils_no_image(self, name, side, game_run, tmp_path):
        run = game_run(name).directory
        for folder in ("a", "b"):
            games.save(np.full((20, 30, 3), 90, np.uint8), tmp_path / folder, 1)
        before = (tmp_path / "a/1.png").read_bytes()
        with pytest.raises(ArgumentError, match=r"would replace .*a/1\.png"):
            api.translate(run, [tmp_path / "a/1.png"], tmp_path / "a")
        assert (tmp_path / "a/1.png").read_bytes() == before
        with pytest.raises(ArgumentError, match="two images are named '1'"):
            api.translate(run, [tmp_path / "a/1.png", tmp_path / "b/1.png"], tmp_path / "out")
        with pytest.raises(DataError, match=r"absent\.png does not exist"):
            api.translate(run, [tmp_path / "absent.png"], tmp_path / "out")
        # Of any size, and gray ones too.
        Image.fromarray(np.zeros((5, 9), np.uint8)).save(tmp_path / "gray.png")
        [made] = api.translate(run, [tmp_path / "gray.png"], tmp_path / "out")
        assert Image.open(made).size == (side, side)

    @pytest.mark.parametrize("name", ["cgan", pytest.param("cyclegan", marks=pytest.mark.slow)])
    def test_what_is_exported_makes_the_same(self, name, game_run, tmp_path):
        run = game_run(name).directory
        served = tf.saved_model.load(str(api.export_model(run, tmp_path)))
        opened = api.load_model(run)
        signature = served.signatures["serving_default"]
        if name == "cgan":
            latent = np.random.default_rng(2).uniform(0, 1, (2, 8)).astype("float32")
            given = {"latent": tf.constant(latent), "label": tf.constant([3, 7])}
            wanted = np.asarray(opened.model([latent, np.array([3, 7])], training=False))
        else:
            pixels = np.random.default_rng(2).uniform(0, 255, (1, 8, 8, 3)).astype("float32")
            given = {"image": tf.constant(pixels)}
            wanted = trainers.translate(opened.model, pixels / 127.5 - 1)
        made = signature(**given)["image_float"]
        np.testing.assert_allclose(made, wanted, atol=1e-4)


class TestMistakes:
    """Told before any training, in one line, with nothing left behind."""

    @pytest.mark.parametrize(
        ("name", "more", "word"),
        [
            (
                "gan",
                ["generator_evaluation.network=nowhere"],
                "'nowhere' cannot be loaded",
            ),
            (
                "gan",
                ["generator_evaluation.metrics=[fid, classifier_agreement]"],
                "classifier_agreement compares images",
            ),
            ("gan", ["data.train=train[:3]", "recipe.batch_size=3"], "at least 4"),
            ("gan", ["generator.name=CGANGenerator"], "is for conditional-image-"),
            (
                "gan",
                [
                    "generator={name: DCGANGenerator, arguments: {image_shape: [16, 16, 1], "
                    "filters: 2, classes: 10}}",
                    "preprocessing={size: [16, 16], channels: 1, scale: 0.00784313725, mean: 1}",
                ],
                "task: conditional-image-generation",
            ),
            (
                "gan",
                [
                    "generator={name: DCGANGenerator, arguments: {image_shape: [16, 16, 1], "
                    "filters: 2}}",
                    "preprocessing={size: [16, 16], channels: 1, scale: 0.00784313725, mean: 1}",
                ],
                "set recipe.output_bias to zero",
            ),
            ("cgan", ["generator.arguments.classes=7"], "10 classes"),
            ("cgan", ["discriminator.arguments.classes=12"], "must be 10"),
            ("cgan", ["preprocessing.mean=1.0"], "sigmoid"),
            ("lapgan", ["preprocessing.mean=0"], "hard_tanh"),
            ("lapgan", ["preprocessing.size=[16, 16]"], "(12, 12, 1)"),
            ("lapgan", ["recipe.levels=[8]"], "levels are 4, 12"),
            ("pix2pix", ["generator.arguments.output_channels=1"], "(128, 128, 1)"),
            ("cyclegan", ["preprocessing.scale=0.0039"], "tanh"),
        ],
        ids=lambda value: value[0] if isinstance(value, list) else None,
    )
    def test_settings_that_do_not_fit_each_other(self, name, more, word, train_game, tmp_path):
        with refused_in_one_line(ConfigError, word, tmp_path / "r"):
            train_game(name, tmp_path / "r", *more)

    @pytest.mark.parametrize(
        ("name", "more", "error", "word"),
        [
            ("gan", ["data.source=pairs:PAIRS", "data.train=train"], DataError, "has pairs"),
            (
                "gan",
                ["data.source=unpaired:DOMAINS", "data.train=train"],
                DataError,
                "has unpaired",
            ),
            ("cgan", ["data.train=train[:20]"], DataError, "24"),
            ("lapgan", ["generator.arguments.image_shape=[8, 8, 1]"], ArgumentError, "9"),
            ("pix2pix", ["data.source=digits"], DataError, "pairs:PATH"),
            ("pix2pix", ["data.test=val"], DataError, "'val'"),
            (
                "pix2pix",
                ["discriminator.arguments.target_channels=null"],
                ArgumentError,
                "'l1+cgan'",
            ),
            ("cyclegan", ["data.source=pairs:PAIRS"], DataError, "unpaired:PATH"),
            ("cyclegan", ["recipe.batch_size=9"], DataError, "9"),
        ],
        ids=lambda value: value[0] if isinstance(value, list) else None,
    )
    def test_data_and_networks_that_do_not_fit(
        self, name, more, error, word, train_game, pictures, tmp_path
    ):
        more = [value.replace("PAIRS", str(pictures / "pairs")) for value in more]
        more = [value.replace("DOMAINS", str(pictures / "domains")) for value in more]
        with refused_in_one_line(error, word, tmp_path / "r"):
            train_game(name, tmp_path / "r", *more)

    def test_a_generator_is_no_judge(self, train_game, game_run, tmp_path):
        judge = f"generator_evaluation.network={game_run('cgan').directory}"
        with pytest.raises(ConfigError, match="no classifier"):
            train_game("gan", tmp_path / "r", judge)

    def test_a_judge_of_other_classes_reads_nothing(
        self, train_game, classifier_of_digits, tmp_path
    ):
        opened = api.load_model(classifier_of_digits)
        three = models.create("CIFARResNet", **(opened.card.arguments | {"classes": 3}))
        card = hub.Card(**(vars(opened.card) | {"labels": ["a", "b", "c"]}))
        hub.save(three, tmp_path / "three", card)
        judge = f"generator_evaluation.network={tmp_path / 'three'}"
        with pytest.raises(ConfigError, match=r"10 classes, .* has 3"):
            train_game("cgan", tmp_path / "r", judge)

    def test_a_directory_of_someone_else_is_left_alone(self, train_game, tmp_path):
        """Not even after a mistake that shows only when the data is read."""
        files.atomic_write(tmp_path / "r/thesis.txt", "mine")
        with pytest.raises(Exception, match="something else"):
            train_game("cgan", tmp_path / "r")
        assert [path.name for path in (tmp_path / "r").iterdir()] == ["thesis.txt"]
