"""Published weights by name: `weights="imagenet"`, labels, shards, and lines that load others."""

import json

import numpy as np
import pytest

from keras_arch import convert, models, pretrained, registry
from keras_arch.errors import ArgumentError, ConvertError, HubError
from keras_arch.hub import external
from tests.convert import files, states
from tests.hub.test_external import TIMM


@pytest.fixture(scope="module")
def state():
    return states.drawn(states.resnet((2, 2, 2, 2), False))


@pytest.fixture
def timm(server, state):
    """What `weights="imagenet"` of a ResNet18 loads, in shards."""
    contents = {"config.json": json.dumps(TIMM).encode()} | split(state)
    repo = server.create("timm/resnet18.a1_in1k", files=contents)
    repo.large |= {name for name in contents if name.endswith(".safetensors")}


@pytest.fixture
def opened(monkeypatch):
    """The references that builders open; nothing is."""
    asked = []

    def opener(reference):
        asked.append(str(reference))
        raise HubError(f"{reference} is not there")

    monkeypatch.setattr(registry, "_opener", opener)
    return asked


@pytest.mark.usefixtures("timm")
def test_imagenet_weights_for_colour_and_grey(state, caplog):
    """From shards. One channel has the sum of the filters: grey gives what its repetition does."""
    colour = models.ResNet18(classes=5, input_shape=(64, 64, 3), weights="imagenet")
    ours = convert.from_torch("ResNet18", state, input_shape=(64, 64, 3))
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 1)).astype("float32")
    repeated = np.repeat(x, 3, axis=-1)
    np.testing.assert_array_equal(colour(repeated), ours(repeated))
    assert not caplog.records
    grey = models.ResNet18(classes=5, input_shape=(64, 64, 1), weights="imagenet")
    np.testing.assert_allclose(grey(x), ours(repeated), rtol=1e-3, atol=1e-5)
    assert (
        "filters of stem_conv, of 'hf://timm/resnet18.a1_in1k' (ResNet18) for RGB, are summed"
        in (caplog.text)
    )


@pytest.mark.usefixtures("client")
def test_without_a_network_the_error_says_what_to_do(down):
    down()
    with pytest.raises(HubError, match=r"no cached copy of hf://timm/.*check the network"):
        models.ResNet18(weights="imagenet")


@pytest.mark.parametrize(
    ("build", "uri"),
    [
        (
            lambda: models.ResNet50(weights="imagenet"),
            "hf://timm/resnet50.a1_in1k@5d9e13b8fdab4d9718bcf2c8f5c3af01878367e8",
        ),
        (lambda: models.ResNet50(weights="a1_in1k@main"), "hf://timm/resnet50.a1_in1k@main"),
        (lambda: models.ResNet50("v1.5", weights="tv2_in1k"), "hf://timm/resnet50.tv2_in1k"),
        (lambda: models.ResNet50("v1", weights="imagenet"), "tag://ResNet50/keras_imagenet"),
        (lambda: models.AlexNet(weights="imagenet"), "tag://AlexNet/tv_in1k"),
        (lambda: models.GoogLeNet("torchvision", weights="tv_in1k"), "tag://GoogLeNet/tv_in1k"),
        (lambda: models.CycleGANGenerator(weights="horse2zebra"), "tag://CycleGANGenerator/horse"),
        (
            lambda: models.Pix2PixGenerator(weights="facades_label2photo"),
            "tag://Pix2PixGenerator/facades_label2photo",
        ),
        (
            lambda: models.FCN32s(weights="voc_from_caffe", backbone="VGG11", units=2),
            "tag://FCN32s/voc_from_caffe",
        ),
        (lambda: models.ResNet101("v1.5", weights="imagenet"), "hf://timm/resnet101.a1h_in1k"),
        (lambda: models.ResNet34("v1", weights="imagenet"), "hf://timm/resnet34.a1_in1k"),
        (lambda: models.VGG16(weights="imagenet"), "hf://timm/vgg16.tv_in1k"),
        (lambda: models.VGG11(norm="batch", weights="imagenet"), "hf://timm/vgg11_bn.tv_in1k"),
        (lambda: models.VGG13(norm="batch", weights="bn_tv_in1k"), "hf://timm/vgg13_bn.tv_in1k"),
        (
            lambda: models.UNet(backbone="VGG11", backbone_weights="imagenet", filters=2),
            "hf://timm/vgg11.tv_in1k",
        ),
        (
            lambda: models.FCN32s(backbone="VGG11", backbone_weights="imagenet", units=2),
            "hf://timm/vgg11.tv_in1k",
        ),
    ],
)
def test_each_network_has_its_repository(build, uri, opened):
    with pytest.raises(HubError, match="is not there"):
        build()
    assert opened[0].startswith(uri)
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("build", "line"),
    [
        (
            lambda: models.ResNet50("v1", weights="tv_in1k"),
            r"none with variant='v1'; .*variant='v1\.5'; with it there are keras_imagenet$",
        ),
        (
            lambda: models.ResNet18(weights="a9_in1k"),
            r'ResNet18\(weights="a9_in1k"\): there are no such weights, .*there are imagenet, a1_',
        ),
        (
            lambda: models.ResNet18(weights="horse2zebra"),
            "those are weights of CycleGANGenerator; of ResNet18 there are imagenet, a1_in1k",
        ),
        (lambda: models.CIFARResNet(weights="a1_in1k"), "weights of ResNet18, ResNet34, ResNet50"),
        (lambda: models.VGG11(weights="bn_tv_in1k"), "none with norm=None; .*give norm='batch'"),
        (lambda: models.AlexNet("paper", weights="imagenet"), "give variant='torchvision'"),
        (lambda: models.AlexNet(weights="tv_in1k@v2"), 'has no revisions; give "tv_in1k"'),
        (lambda: models.ResNet18(residual=False, weights="imagenet"), "give residual=True"),
        (lambda: models.VGG16("C", weights="imagenet"), "with variant='C'; .*give variant='D'$"),
        (
            lambda: models.UNet(weights="imagenet"),
            r'UNet\(weights="imagenet"\): .*backbone="ResNet18", backbone_weights="imagenet"',
        ),
        (lambda: models.FCN8s(weights="imagenet", units=2, backbone="VGG11"), r"FCN8s\(weights="),
        (lambda: models.CIFARResNet(weights="imagenet"), "CIFARResNet.*there are of ResNet18"),
        (
            lambda: models.ResNet18(weights="model.pth"),
            r"weights=keras_arch\.convert\.from_torch\('ResNet18', 'model\.pth'\)",
        ),
        (
            lambda: models.VGG11(weights="a/model.safetensors"),
            r"from_torch\('VGG11', 'a/model\.safetensors'\)",
        ),
        (
            lambda: models.ResNet18(weights="model.h5"),
            r"weights=keras\.saving\.load_model\('model\.h5'\)",
        ),
    ],
)
def test_others_name_the_line_that_loads_them(build, line, opened):
    with pytest.raises(ArgumentError, match=line) as caught:
        build()
    assert "\n" not in str(caught.value)
    assert not opened


def test_every_repository_is_of_a_network_that_the_reader_knows():
    """The table agrees with the reader of timm's configs."""
    rows = [row for row in pretrained.table() if row.source == "timm"]
    assert len(rows) > 50
    for row in rows:
        found = described(TIMM | {"architecture": row.uri.rpartition("/")[2].partition(".")[0]})
        assert found.architecture == row.architecture
        wanted = {"norm": None, "residual": True} | found.arguments
        assert all(wanted.get(key, value) == value for key, value in row.settings.items())


def described(config):
    """What the reader finds in a config, without a repository."""

    class Fetched:
        def stat(self):
            return self

        st_size = 0

        def read_text(self, encoding):
            return json.dumps(config)

    return external.recognize({"config.json": Fetched()}.get, "hf://timm/some")


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ({"label_names": {"1": "b", "0": "a", "2": "c", "3": "d", "4": "e"}}, list("abcde")),
        ({"labels": list("abcde")}, list("abcde")),
        ({"labels": {str(n): name for n, name in enumerate("abcde")}}, list("abcde")),
        ({"label_descriptions": list("abcde")}, list("abcde")),
        (
            {
                "label_names": [f"n0000000{n}" for n in range(5)],
                "label_descriptions": {f"n0000000{n}": f"class\n{n}" for n in range(5)},
            },
            [f"class\n{n}" for n in range(5)],
        ),
        (
            {"label_names": ["n01440764", "n01443537", "n01484850", "n01491361", "n00000000"]},
            ["tench", "goldfish", "great white shark", "tiger shark", "n00000000"],
        ),
        (
            {"label_names": list("abcde"), "label_descriptions": {"a": "the first letter"}},
            list("abcde"),
        ),
        ({"label_names": {"0": "a", "5": "b"}}, None),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_labels_of_timm_in_each_form(given, labels, inside):
    config = TIMM | ({"pretrained_cfg": TIMM["pretrained_cfg"] | given} if inside else given)
    found = described(config).labels
    assert found == (labels and [" ".join(label.split()) for label in labels])


def test_too_few_labels_are_left_out_with_a_word(caplog):
    assert described(TIMM | {"label_names": ["a", "b"]}).labels is None
    assert "names 2 labels for 5 classes" in caplog.text


@pytest.mark.parametrize(
    ("tag", "named"),
    [("a1_in1k", True), ("fb_swsl_ig1b_ft_in1k", True), ("mine", False), ("a1_in12k", False)],
)
def test_weights_for_imagenet_predict_names(tag, named):
    facts = TIMM["pretrained_cfg"] | {"tag": tag, "num_classes": 1000}
    found = described(TIMM | {"num_classes": 1000, "pretrained_cfg": facts})
    assert found.labels == (models.imagenet_labels() if named else None)


def test_grey_networks_of_timm():
    """`in_chans` of the network comes before the size of the weights that it began with."""
    grey = TIMM | {"model_args": {"in_chans": 1}}
    with pytest.raises(HubError, match=r"in_chans 1 and a mean of 3 .*from_torch\('ResNet18'"):
        described(grey)
    facts = TIMM["pretrained_cfg"] | {"mean": [0.5, 0.5, 0.5], "std": [0.25]}
    found = described(grey | {"pretrained_cfg": facts})
    assert found.arguments["input_shape"] == (64, 64, 1)
    assert (found.preprocessing.mean, found.preprocessing.std) == (0.5, [0.25])


def test_a_backbone_of_timm_names_the_line():
    with pytest.raises(HubError, match=r"num_classes 0.*hf_hub_download\('timm/some', .*include_t"):
        described(TIMM | {"num_classes": 0})


def split(state):
    """The state in two shards with their index, as files of a repository."""
    names = sorted(state)
    parts = {"model-00001-of-00002": names[::2], "model-00002-of-00002": names[1::2]}
    contents = {
        f"{part}.safetensors": files.safetensors({name: state[name] for name in own})
        for part, own in parts.items()
    }
    places = {name: f"{part}.safetensors" for part, own in parts.items() for name in own}
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    return contents | {"model.safetensors.index.json": json.dumps(index).encode()}


@pytest.fixture(scope="module")
def small():
    return states.drawn(states.alexnet())


def test_a_file_in_shards_equals_the_whole(small, tmp_path):
    for name, content in split(small).items():
        (tmp_path / name).write_bytes(content)
    index = tmp_path / "model.safetensors.index.json"
    found = convert.from_torch("AlexNet", index).get_weights()
    for ours, theirs in zip(found, convert.from_torch("AlexNet", small).get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ConvertError, match=r"00002.*cannot be read: No such file"):
        convert.from_torch("AlexNet", index)


def test_weights_for_rgb_in_another_number_of_channels_name_the_line(small):
    line = r"misshaped: features\.0\.weight .*AlexNet\(input_shape=\.\.\., weights=convert\.from_to"
    with pytest.raises(ConvertError, match=line):
        convert.from_torch("AlexNet", small, input_shape=(224, 224, 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no index of shards"),
        ("[]", "no index of shards"),
        ('{"weight_map": {}}', "weight_map is no table"),
        ('{"weight_map": {"a": "../a.safetensors"}}', r"'\.\./a\.safetensors'.* is refused"),
        ('{"weight_map": {"a": "a.bin"}}', r"'a\.bin', which is no \.safetensors"),
        ('{"weight_map": {"a": "a.safetensors", "b": "a.safetensors"}}', "only one .* has 'b'"),
    ],
)
def test_an_index_that_is_wrong(text, message, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(files.safetensors({"a": np.zeros(2, np.float32)}))
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(text)
    with pytest.raises(ConvertError, match=message):
        convert.from_torch("AlexNet", index)


def test_presets_of_keras_hub_name_the_line_that_works():
    """As `config.json` of keras/resnet_18_imagenet on the Hub begins."""
    config = {
        "module": "keras_hub.src.models.resnet.resnet_backbone",
        "class_name": "ResNetBackbone",
        "config": {"name": "res_net_backbone", "trainable": True},
        "registered_name": "keras_hub>ResNetBackbone",
    }
    line = r"from_keras_hub\(keras_hub\.models\.ResNetBackbone\.from_preset\('hf://timm/some'\)\)"
    with pytest.raises(HubError, match=line):
        described(config)
    config = {"class_name": "ViTBackbone", "registered_name": "keras_hub>ViTBackbone"}
    with pytest.raises(HubError, match="ViTBackbone, of which there is no such network"):
        described(config)
