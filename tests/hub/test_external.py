"""Repositories as timm and the transformers library lay theirs out, on a Hub on loopback."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_arch import api, convert, hub, models
from keras_arch.errors import ArgumentError, HubError, IntegrityError, UnsafeContentError
from keras_arch.hub import external
from keras_arch.hub.external import base
from keras_arch.preprocessing import Preprocessing
from tests.convert import files, states

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TIMM = {
    "architecture": "resnet18",
    "num_classes": 5,
    "num_features": 512,
    "global_pool": "avg",
    "model_args": {"in_chans": 3, "num_classes": 5, "global_pool": "avg"},
    "pretrained_cfg": {
        "tag": "a1_in1k",
        "input_size": [3, 64, 64],
        "test_input_size": [3, 96, 96],
        "fixed_input_size": False,
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "crop_mode": "center",
        "mean": MEAN,
        "std": STD,
        "num_classes": 5,
        "pool_size": [2, 2],
        "first_conv": "conv1",
        "classifier": "fc",
        "license": "apache-2.0",
    },
}
TRANSFORMERS = {
    "architectures": ["ResNetForImageClassification"],
    "model_type": "resnet",
    "num_channels": 3,
    "embedding_size": 64,
    "hidden_sizes": [64, 128, 256, 512],
    "depths": [2, 2, 2, 2],
    "layer_type": "basic",
    "hidden_act": "relu",
    "downsample_in_first_stage": False,
    "id2label": {"0": "tench, Tinca tinca", "2": "shark", "1": "goldfish", "3": "ray", "4": "cock"},
}
PROCESSOR = {
    "crop_pct": 0.875,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ConvNextFeatureExtractor",
    "image_mean": MEAN,
    "image_std": STD,
    "resample": 3,
    "size": 64,
}


@pytest.fixture(scope="module")
def state():
    return states.drawn(states.resnet((2, 2, 2, 2), False))


@pytest.fixture(scope="module")
def weights(state):
    return files.safetensors(state)


def publish(server, name, config, **more):
    """A repository whose large files are where the Hub has them."""
    contents = {"config.json": json.dumps(config).encode()}
    contents |= {file.replace("__", "."): content for file, content in more.items()}
    repo = server.create(name, files=contents)
    repo.large |= {"model.safetensors", "pytorch_model.bin"} & set(contents)
    return f"hf://{name}"


@pytest.fixture
def timm(server, weights):
    return publish(server, "timm/resnet18.a1_in1k", TIMM, model__safetensors=weights)


@pytest.fixture
def photo():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((120, 90)))


def cached(client):
    return sorted((client / "keras_arch" / "converted").glob("*/*"))


@pytest.mark.usefixtures("no_secrets", "alice")
def test_timm_weights_equal_convert_and_images_are_prepared(server, timm, state, photo):
    server.repos["timm/resnet18.a1_in1k"].private = True
    server.repos["timm/resnet18.a1_in1k"].owner = "alice"
    opened = hub.load_with_card(timm)
    ours = convert.from_torch("ResNet18", state, input_shape=(64, 64, 3))
    card = opened.card
    assert card.preprocessing == Preprocessing(
        size=(64, 64), resize="bicubic", mean=MEAN, std=STD, crop=0.95
    )
    assert (card.name, card.architecture, card.license) == (
        "resnet18.a1_in1k",
        "ResNet18",
        "apache-2.0",
    )
    assert card.arguments == {"classes": 5, "input_shape": [64, 64, 3], "variant": "v1.5"}
    assert (card.labels, card.repository) == (None, None)
    assert "timm/resnet18.a1_in1k, the resnet18 of timm" in card.description
    # Pillow's bicubic and timm's window: shorter side to floor(64 / 0.95) = 67.
    resized = Image.fromarray(photo).resize((89, 67), Image.Resampling.BICUBIC)
    window = np.asarray(resized, np.float32)[2:66, 12:76]
    theirs = ((window / 255 - MEAN) / STD)[None].astype("float32")
    inputs = card.preprocessing(photo[None])
    np.testing.assert_allclose(inputs, theirs, atol=4 / 255 / min(STD))
    np.testing.assert_array_equal(opened.model(inputs), ours(inputs))
    np.testing.assert_allclose(opened.model(inputs), ours(theirs), atol=0.02)
    # Nothing that is not needed was fetched.
    got = {seen.path.rpartition("/")[2] for seen in server.asked_for("/resolve/")}
    assert got == {"keras_arch.json", "config.json", "model.safetensors"}
    assert not server.leaks


@pytest.mark.slow
def test_the_second_load_is_of_the_converted_copy(server, client, timm, down):
    first = hub.load(timm)
    (copy,) = cached(client)
    commit = server.repos["timm/resnet18.a1_in1k"].find("main")
    assert copy.parent.name == "timm--resnet18.a1_in1k"
    assert copy.name.startswith(commit)
    server.requests.clear()
    again = hub.load_with_card(timm)
    assert not server.asked_for("model.safetensors")
    assert again.directory == copy
    np.testing.assert_array_equal(again.model.get_weights()[0], first.get_weights()[0])
    # It opens in stock Keras, and when the Hub is out of reach.
    assert keras.saving.load_model(copy).output_shape == (None, 5)
    # Another commit is another model.
    changed = states.drawn(states.resnet((2, 2, 2, 2), False), seed=1)
    server.edit("timm/resnet18.a1_in1k", "model.safetensors", files.safetensors(changed))
    assert not np.array_equal(hub.load(timm).get_weights()[0], first.get_weights()[0])
    assert len(cached(client)) == 2
    down()
    assert hub.load(timm).output_shape == (None, 5)


@pytest.mark.slow
def test_a_damaged_copy_is_replaced(client, timm, caplog):
    first = hub.load(timm)
    (copy,) = cached(client)
    content = bytearray((copy / "model.weights.h5").read_bytes())
    content[-100] ^= 1
    (copy / "model.weights.h5").write_bytes(content)
    again = hub.load(timm)
    assert "is replaced: model.weights.h5 of" in caplog.text
    for a, b in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    caplog.clear()
    (copy / "keras_arch.json").unlink()
    assert hub.load_with_card(timm).card.architecture == "ResNet18"
    assert "is replaced" in caplog.text
    assert (copy / "keras_arch.json").is_file()


def test_tampered_weights_are_refused(client, timm):
    """A file in the cache of the Hub's client is compared with the hash in its name."""
    hub.load(timm)
    (copy,) = cached(client)
    for file in copy.iterdir():
        file.unlink()
    (blob,) = [b for b in (client / "hub").glob("*/blobs/*") if b.stat().st_size > 1e6]
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"model\.safetensors of hf://timm.*sha256") as caught:
        hub.load(timm)
    assert "\n" not in str(caught.value)
    assert not cached(client)


@pytest.mark.slow
def test_a_card_needs_no_weights_and_a_pulled_copy_is_a_model_of_ours(server, timm, tmp_path):
    assert hub.read_card(timm).architecture == "ResNet18"
    assert not server.asked_for("model.safetensors")
    directory = hub.pull(timm, tmp_path / "mine")
    # What only the network knows is not on a card that was made without it.
    expected = dataclasses.replace(hub.read_card(timm), activation="softmax")
    assert hub.load_with_card(directory).card == expected
    assert "apache-2.0" in (directory / "README.md").read_text()


@pytest.mark.slow
def test_transformers_resnets_with_labels(server, state, photo):
    place = publish(
        server,
        "microsoft/resnet-18",
        TRANSFORMERS,
        preprocessor_config__json=json.dumps(PROCESSOR).encode(),
        pytorch_model__bin=files.checkpoint(states.as_transformers(state)),
    )
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        opened = hub.load_with_card(place)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    # The cache is float32 under any policy.
    assert opened.model.get_layer("stem_conv").compute_dtype == "float32"
    assert opened.card.labels == ["tench, Tinca tinca", "goldfish", "shark", "ray", "cock"]
    assert opened.card.preprocessing == Preprocessing(
        size=(64, 64), resize="bicubic", mean=MEAN, std=STD, crop=0.875
    )
    assert opened.card.license == "unknown"
    inputs = opened.card.preprocessing(photo[None])
    ours = convert.from_torch("ResNet18", state, input_shape=(64, 64, 3))
    np.testing.assert_array_equal(opened.model(inputs), ours(inputs))


@pytest.mark.slow
def test_a_folder_is_converted_too(client, tmp_path, weights):
    folder = tmp_path / "downloaded"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(TIMM))
    (folder / "model.safetensors").write_bytes(weights)
    opened = hub.load_with_card(folder)
    assert (opened.card.name, opened.card.architecture) == ("downloaded", "ResNet18")
    assert [copy.parent.name for copy in cached(client)] == ["folders"]
    hub.load_with_card(folder)
    assert len(cached(client)) == 1


def test_builders_take_it(timm, caplog):
    theirs = hub.load(timm)
    ours = models.ResNet18(weights=timm, classes=3, input_shape=(32, 32, 3))
    np.testing.assert_array_equal(ours.get_weights()[0], theirs.get_weights()[0])
    assert "logits starts fresh for 3 classes" in caplog.text


@pytest.mark.slow
def test_builders_of_another_architecture_refuse_it(timm):
    with pytest.raises(ArgumentError, match="holds weights of ResNet18, and this is ResNet34"):
        models.ResNet34(weights=timm)


@pytest.mark.slow
def test_the_commands_take_it(timm, photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    (prediction,) = api.predict(timm, [tmp_path / "photo.png"], top=3)
    assert len(prediction.labels) == 3
    assert set(prediction.labels) < set("01234")
    for name in "abcde":
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.fromarray(photo).save(tmp_path / "data" / name / "1.png")
        Image.fromarray(255 - photo).save(tmp_path / "data" / name / "2.png")
    figures = api.evaluate(timm, source=f"folder:{tmp_path / 'data'}", split="train")
    assert figures["accuracy"] == pytest.approx(0.2)
    served = tf.saved_model.load(api.export_model(timm, tmp_path / "served"))
    encoded = [(tmp_path / "photo.png").read_bytes()]
    out = served.signatures["serving_bytes"](image_bytes=tf.constant(encoded))
    assert out["label"].numpy()[0].decode() == prediction.labels[0]
    best = float(out["probabilities"].numpy().max())
    assert best == pytest.approx(prediction.probabilities[0], abs=1e-5)


@pytest.mark.slow
def test_it_is_fine_tuned(timm, photo, tmp_path):
    for name, pixels in (("bright", photo // 2 + 128), ("dark", photo // 2)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(12):
            Image.fromarray(pixels).save(tmp_path / f"data/{name}/{number}.png")
    few = ["recipe.epochs=2", "recipe.head_epochs=1", "recipe.batch_size=8"]
    source = f"folder:{tmp_path / 'data'}"
    run = api.finetune(timm, source, tmp_path / "run", overrides=few, verbose=0)
    card = hub.read_card(run.model)
    assert (card.base, card.labels) == (timm, ["bright", "dark"])
    assert card.preprocessing == hub.read_card(timm).preprocessing
    # The head of 512 inputs.
    assert card.recipe["recipe"]["optimizer"]["learning_rate"]["peak"] == pytest.approx(0.0011)


class MyReader:
    """A reader of another package: its config names the architecture as ours."""

    LIBRARY = "mine"

    def is_config(self, config):
        return "my_version" in config

    def describe(self, config, fetch, where):
        return external.ExternalModel(
            self.LIBRARY,
            config["net"],
            config["net"],
            {"classes": 5, "input_shape": (64, 64, 3)},
            Preprocessing(size=(64, 64)),
            None,
            "mit",
        )


def test_registered_reader(server, weights, monkeypatch):
    monkeypatch.setattr(external, "_registered", [])
    config = {"my_version": 1, "net": "ResNet18"}
    place = publish(server, "me/mine", config, model__safetensors=weights)
    with pytest.raises(HubError, match=r"metadata\.json of hf://me/mine is missing"):
        hub.load(place)
    hub.register_reader(MyReader())
    loaded = hub.load_with_card(place)
    assert loaded.card.license == "mit"
    assert "the ResNet18 of mine" in loaded.card.description
    assert loaded.model.output_shape == (None, 5)
    place = publish(server, "me/other", {"my_version": 2}, model__safetensors=weights)
    with pytest.raises(HubError, match="its config is not as mine writes it"):
        hub.load(place)
    with pytest.raises(ArgumentError, match="a reader needs LIBRARY"):
        hub.register_reader(json)


# -- what is refused ------------------------------------------------------------------------------


def described(config, processor=None, where="hf://somebody/some"):
    """The description of a config, without any weights."""

    def fetch(name):
        return {"config.json": config, "preprocessor_config.json": processor}.get(name)

    return external.recognize(fetch, where)


@pytest.fixture
def written(tmp_path):
    """Write a table to a file."""

    def write(content):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"architecture": "resnet50d"}, "timm's resnet50d: its stem is three convolutions"),
        ({"architecture": "gluon_resnet50_v1d"}, "its stem is three convolutions"),
        *[
            ({"architecture": name}, "its blocks have attention")
            for name in ("seresnet50", "ecaresnet50t")
        ],
        *[({"architecture": name}, "it blurs maps") for name in ("resnetblur50", "resnetaa50")],
        ({"architecture": "resnext50_32x4d"}, "grouped"),
        ({"architecture": "wide_resnet50_2"}, "twice as wide"),
        ({"architecture": "resnetv2_50"}, "norms come before"),
        ({"architecture": "resnet50_gn"}, "group norms"),
        ({"architecture": "resnet26"}, "have 18, 34, 50, 101 or 152 layers"),
        ({"architecture": "vit_base_patch16_224"}, "no such architecture here"),
        ({"model_args": {"act_layer": "silu"}}, "built with act_layer='silu'"),
        ({"global_pool": "catavgmax"}, "pools by 'catavgmax'"),
        ({"num_classes": 0}, "has no classifier"),
        ({"interpolation": "random"}, "resizes by 'random'"),
        ({"crop_mode": "border"}, "crops by 'border'"),
        ({"mean": [0.5, 0.5]}, r"mean of shape \(2,\) does not fit"),
        ({"input_size": [4, 64, 64]}, "in_chans 4 and a mean of 3 channels"),
        ({"input_size": None}, "cannot be converted: its config is not as timm writes it"),
    ],
)
def test_other_networks_of_timm_are_refused_with_the_reason(written, changes, word):
    config = json.loads(json.dumps(TIMM))
    for key, value in changes.items():
        (config["pretrained_cfg"] if key in config["pretrained_cfg"] else config)[key] = value
    if "num_classes" in changes:
        config["num_classes"] = changes["num_classes"]
    config["pretrained_cfg"] |= {k: v for k, v in changes.items() if k == "interpolation"}
    with pytest.raises(HubError, match=word) as caught:
        described(written(config))
    assert "\n" not in str(caught.value)
    assert "hf://somebody/some" in str(caught.value)


def test_early_and_other_configs_of_timm(written):
    flat = {"architecture": "vgg16_bn", "num_classes": 10} | {
        key: TIMM["pretrained_cfg"][key]
        for key in ("input_size", "interpolation", "crop_pct", "mean", "std")
    }
    found = described(written(flat))
    assert (found.architecture, found.arguments["norm"]) == ("VGG16", "batch")
    assert (found.license, found.preprocessing.crop) == ("unknown", 0.95)
    grey = json.loads(json.dumps(TIMM))
    grey["architecture"] = "tv_resnet50"
    grey["pretrained_cfg"] |= {"input_size": [1, 32, 48], "mean": [0.5], "std": [0.25]}
    grey["pretrained_cfg"] |= {"crop_mode": "squash", "crop_pct": 1.0}
    grey["label_names"] = list("abcde")
    found = described(written(grey))
    assert found.arguments["input_shape"] == (32, 48, 1)
    assert found.preprocessing.crop is None
    assert found.labels == list("abcde")
    assert found.card("grey", "hf://x/y").preprocessing.input_shape == (32, 48, 1)


@pytest.mark.parametrize(
    ("changes", "processor", "word"),
    [
        ({"model_type": "vit"}, {}, "model_type 'vit'"),
        ({"architectures": ["ResNetModel"]}, {}, "holds a ResNetModel"),
        ({"depths": [2, 2, 2, 3]}, {}, r"has depths=\[2, 2, 2, 3\]"),
        ({"hidden_sizes": [32, 64, 128, 256]}, {}, "has hidden_sizes"),
        ({"hidden_act": "gelu"}, {}, "has hidden_act='gelu'"),
        ({"downsample_in_first_stage": True}, {}, "downsample_in_first_stage=True"),
        ({}, None, "has no preprocessor_config.json"),
        ({}, {"feature_extractor_type": "Mine"}, "prepares images by Mine"),
        ({}, {"do_resize": False}, "without resizing"),
        ({}, {"resample": 5}, "Pillow's method 5"),
        ({}, {"image_mean": [0.5]}, None),
        ({}, {"image_mean": [0.5, 0.5]}, r"mean of shape \(2,\)"),
    ],
)
def test_other_networks_of_transformers_are_refused(written, changes, processor, word):
    processor = processor if processor is None else written(PROCESSOR | processor)
    config = written(TRANSFORMERS | changes)
    if word is None:
        assert described(config, processor).architecture == "ResNet18"
        return
    with pytest.raises(HubError, match=word) as caught:
        described(config, processor)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({"size": 384}, {"size": (384, 384), "crop": None}),
        ({"size": {"shortest_edge": 224}}, {"size": (224, 224), "crop": 0.875}),
        (
            {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 48}},
            {"size": (32, 48), "crop": None},
        ),
        (
            {
                "image_processor_type": "BitImageProcessorFast",
                "size": {"shortest_edge": 256},
                "crop_size": {"height": 224, "width": 224},
            },
            {"size": (224, 224), "crop": 0.875},
        ),
        ({"do_normalize": False, "do_rescale": False}, {"scale": 1.0, "mean": 0.0, "std": 1.0}),
        ({"resample": 2, "rescale_factor": 0.5}, {"resize": "bilinear", "scale": 0.5}),
    ],
)
def test_image_processors(written, processor, expected):
    found = described(written(TRANSFORMERS), written(PROCESSOR | processor)).preprocessing
    assert {key: getattr(found, key) for key in expected} == expected


def test_every_crop_gives_its_edge_again():
    for size in (64, 160, 224, 299):
        for edge in range(size, 2 * size):
            assert int(size / base.crop_of(size, edge)) == edge


def test_bottlenecks_of_transformers_in_both_variants(written):
    config = TRANSFORMERS | {"layer_type": "bottleneck", "depths": [3, 4, 6, 3]}
    config |= {"hidden_sizes": [256, 512, 1024, 2048], "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}
    found = described(written(config), written(PROCESSOR))
    assert (found.architecture, found.arguments["variant"]) == ("ResNet50", "v1.5")
    assert (found.arguments["classes"], found.labels) == (2, None)
    found = described(written(config | {"downsample_in_bottleneck": True}), written(PROCESSOR))
    assert found.arguments["variant"] == "v1"


@pytest.mark.parametrize("content", ["{", "[]", '{"a": ', "\x00", "[" * 100_000])
def test_a_damaged_config(written, content):
    with pytest.raises(IntegrityError, match=r"config\.json of hf://somebody/some is not a conf"):
        described(written(content))


def test_configs_of_others_and_none(written):
    assert described(None) is None
    assert described(written({"some": "thing"})) is None
    assert described(written({"class_name": "Functional", "architecture": "resnet18"})) is None


def test_weights_that_do_not_fit_or_are_not_there(server, client, state):
    place = publish(server, "a/none", TIMM)
    with pytest.raises(HubError, match=r"no model\.safetensors and no pytorch_model\.bin"):
        hub.load(place)
    other = states.drawn(states.resnet((2, 2, 2, 2), False, classes=7))
    place = publish(server, "a/other", TIMM, model__safetensors=files.safetensors(other))
    with pytest.raises(HubError, match=r"misshaped: fc\.weight \(7, 512\) for \(5, 512\)"):
        hub.load(place)
    place = publish(server, "a/cut", TIMM, model__safetensors=files.safetensors(state)[:-9])
    with pytest.raises(HubError, match="damaged or cut short"):
        hub.load(place)
    unsafe = files.zipped({"model": files.call("os", "system", "true")}, files.Storages())
    place = publish(server, "a/unsafe", TIMM, pytorch_model__bin=unsafe)
    with pytest.raises(UnsafeContentError, match=r"a pickled os\.system"):
        hub.load(place)
    assert not cached(client)
