"""Published weights by tag, from servers on loopback that have weights in the sources' layouts."""

import dataclasses
import hashlib
import json

import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from keras_arch import convert, hub, models, pretrained
from keras_arch.errors import ArgumentError, HubError, IntegrityError
from keras_arch.hub import downloads
from keras_arch.models import vgg
from tests.convert import files, states
from tests.convert.test_from_torch import cyclegan_shapes
from tests.hub.test_external import TIMM
from tests.hub.web import Web
from tests.models import golden


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE", 0.01)
    running = Web()
    yield running
    running.stop()


@pytest.fixture
def publish(web, server, monkeypatch):
    """Puts a state dict where a row of the table says, on loopback."""
    rows = {(row.architecture, row.tag): row for row in pretrained.table()}
    monkeypatch.setattr(pretrained, "table", lambda: tuple(rows.values()))

    def put(architecture, tag, state, **config):
        row = rows[architecture, tag]
        if row.source == "timm":
            name = row.uri.removeprefix("hf://")
            facts = TIMM | {"architecture": name.rpartition("/")[2].partition(".")[0]} | config
            contents = {"config.json": json.dumps(facts).encode()}
            contents["model.safetensors"] = files.safetensors(state)
            repo = server.create(name, files=contents)
            repo.large.add("model.safetensors")
            if row.revision:
                repo.branches[row.revision] = repo.branches["main"]
            return row
        content = files.checkpoint(state)
        path = f"/{row.architecture}/{row.tag}.pth"
        if row.sha256:
            # As PyTorch names its files.
            path = f"/weights-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        md5 = row.md5 and hashlib.md5(content).hexdigest()
        web.files[path] = content
        row = dataclasses.replace(row, uri=web.url + path, md5=md5)
        rows[architecture, tag] = row
        return row

    return put


def test_googlenet_by_its_name_gives_torchvisions_outputs(publish, web, caplog):
    """With the preprocessing, the labels and the variant of the weights; then from the cache."""
    meta, arrays = golden.load("torchvision_googlenet")
    heads = states.auxiliary(1, 512, 1000) | states.auxiliary(2, 528, 1000)
    publish("GoogLeNet", "tv_in1k", golden.weights(meta) | states.drawn(heads))
    model = models.GoogLeNet(weights="imagenet", classifier_activation=None)
    atol = meta["tolerance"]["atol"]
    outputs = model(golden.inputs(meta))
    np.testing.assert_allclose(outputs, arrays["output"], rtol=0, atol=atol)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    card = hub.pretrained_card("GoogLeNet")
    assert card.arguments["variant"] == "torchvision"
    assert (card.license, card.labels[1]) == ("bsd-3-clause", "goldfish")
    assert "Reported by https://docs.pytorch.org" in card.description
    photo = np.full((240, 300, 3), 255, np.uint8)
    # Of white, (1 - 0.5) / 0.5.
    assert np.allclose(card.preprocessing(photo), 1.0)
    asked = len(web.requests)
    web.failing[web.requests[0][0]] = [404] * 9
    again = hub.load_with_card("tag://GoogLeNet/imagenet")
    assert len(web.requests) == asked == 1
    (best,) = models.decode_predictions(again.model(golden.inputs(meta)[:1]), top=1)
    assert best[0][0] == models.imagenet_classes()[int(np.argmax(outputs[0]))][0]
    with pytest.raises(
        ArgumentError, match=r'\(weights="imagenet"\): .* variant=\'paper\'; .*give v'
    ):
        models.GoogLeNet("paper", weights="imagenet")


def test_alexnet_for_other_classes_and_as_a_backbone(publish, caplog):
    """Narrow dense layers, of which the builder is told; the paper's variant does not fit."""
    state = states.drawn(states.alexnet(units=8, classes=1000))
    row = publish("AlexNet", "tv_in1k", state)
    model = models.AlexNet(weights="imagenet", classes=5, units=8)
    assert "logits starts fresh for 5 classes" in caplog.text
    assert f"{row.reference!r} (AlexNet) has 1000" in caplog.text
    backbone = models.AlexNet(weights="tv_in1k", include_top=False)
    kernel = np.transpose(state["features.0.weight"], (2, 3, 1, 0))
    for network in (model, backbone):
        np.testing.assert_array_equal(network.get_layer("conv1").kernel, kernel)
    assert hub.pretrained_card("AlexNet", "tv_in1k").preprocessing.crop == 0.875
    with pytest.raises(ArgumentError, match=r"with variant='bvlc'; .*give variant='torchvi"):
        models.AlexNet("bvlc", weights="tv_in1k")


@pytest.mark.slow
def test_a_generator_without_a_known_hash_is_pinned_by_its_first_download(publish, web, caplog):
    state = states.drawn(cyclegan_shapes(9, 2, 3, 3))
    row = publish("CycleGANGenerator", "horse2zebra", state)
    opened = hub.load_with_card("tag://CycleGANGenerator/horse2zebra")
    assert "the source states no hash; its sha256" in caplog.text
    assert (opened.card.task, opened.card.license) == ("image-to-image", "unknown")
    model = models.CycleGANGenerator(weights="horse2zebra", filters=2)
    x = np.random.default_rng(0).uniform(-1, 1, (1, 256, 256, 3)).astype("float32")
    ours = convert.from_torch("CycleGANGenerator", state, image_shape=(256, 256, 3))
    np.testing.assert_array_equal(model(x), ours(x))
    np.testing.assert_array_equal(opened.model(x), ours(x))
    assert np.allclose(opened.card.preprocessing(np.full((9, 9, 3), 255, np.uint8)), 1.0)
    hub.sources.PublishedSource(row).file.path.unlink()
    publish("CycleGANGenerator", "horse2zebra", {"model.1.weight": np.zeros((2, 3, 7, 7), "f")})
    with pytest.raises(IntegrityError, match="another file than at the first download"):
        hub.published.PublishedSource(row).file.fetch()


def test_a_file_of_another_network_is_one_line(publish):
    row = publish("AlexNet", "tv_in1k", states.drawn(cyclegan_shapes(1, 1, 3, 3)))
    with pytest.raises(
        HubError, match=r"weights-\w+\.pth cannot be converted: the state"
    ) as caught:
        models.AlexNet(weights="imagenet")
    assert row.uri in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("tag://ResNet50", "names no weights; write tag://ResNet50/a1_in1k"),
        ("tag://ResNet50/a9_in1k", "there are no such weights"),
        ("tag://resnet50", "names no weights; write tag://ResNet50/a1_in1k"),
        ("tag://ResNet49/a1_in1k", "no weights of ResNet49; did you mean ResNet"),
        ("tag://UNet/a1_in1k", "those are weights of ResNet18, .*; of UNet there are none"),
        ("ResNet50", "for the published weights of ResNet50 write tag://ResNet50/a1_in1k"),
    ],
)
def test_references_that_name_no_weights(reference, message):
    with pytest.raises(ArgumentError, match=message):
        hub.load(reference)


def test_a_licence_that_forbids_commercial_use_is_said(model, card, tmp_path, caplog):
    hub.save(model, tmp_path / "free", card)
    hub.load(tmp_path / "free")
    assert not caplog.records
    hub.save(model, tmp_path / "owned", dataclasses.replace(card, license="cc-by-nc-4.0"))
    hub.load(tmp_path / "owned")
    assert "owned: its licence, cc-by-nc-4.0, forbids commercial use" in caplog.text


@pytest.mark.usefixtures("client")
def test_weights_of_keras_that_cannot_be_had_are_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    module = "keras.src.applications.resnet"
    monkeypatch.setattr(f"{module}.BASE_WEIGHTS_PATH", "http://127.0.0.1:9/")
    with pytest.raises(HubError, match=r"ResNet50\(weights='imagenet'\) failed: URL fe") as caught:
        models.ResNet50(weights="keras_imagenet")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_keras_resnet50_by_its_tag_gives_keras_outputs(monkeypatch, web, tmp_path):
    """In Keras' own file, through Keras' own loader; `variant="v1"` finds it by "imagenet" too."""
    theirs = keras.applications.ResNet50(weights=None)
    draws = np.random.default_rng(0)
    for weight in theirs.weights:
        values = weight.numpy() + draws.normal(0, 0.01, weight.shape)
        weight.assign(np.abs(values) if "variance" in weight.path else values)
    name = "resnet50_weights_tf_dim_ordering_tf_kernels.h5"
    import h5py

    with h5py.File(tmp_path / name, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, theirs)
    web.files[f"/{name}"] = (tmp_path / name).read_bytes()
    md5 = hashlib.md5(web.files[f"/{name}"]).hexdigest()
    module = "keras.src.applications.resnet"
    monkeypatch.setattr(f"{module}.BASE_WEIGHTS_PATH", f"{web.url}/")
    monkeypatch.setattr(f"{module}.WEIGHTS_HASHES", {"resnet50": (md5, md5)})
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    ours = models.ResNet50("v1", weights="imagenet")
    card = hub.pretrained_card("ResNet50", variant="v1")
    x = card.preprocessing(draws.integers(0, 256, (2, 224, 224, 3)).astype("uint8"))
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-3, atol=1e-7)
    # The mean of blue goes first.
    assert card.preprocessing.mean[0] == pytest.approx(103.939)
    web.stop()
    again = models.ResNet50(weights="keras_imagenet")
    assert again.get_layer("stage2_block1_1_conv").strides == (2, 2)
    np.testing.assert_array_equal(again(x), ours(x))
    web.__init__()


COUNTS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
COUNTS |= {152: (3, 8, 36, 3)}


@pytest.mark.slow
@pytest.mark.parametrize("depth", COUNTS)
def test_imagenet_weights_of_every_resnet(depth, publish):
    state = states.drawn(states.resnet(COUNTS[depth], depth >= 50))
    row = publish(f"ResNet{depth}", pretrained.find(f"ResNet{depth}").tag, state)
    shape = {"input_shape": (64, 64, 3)}
    model = getattr(models, f"ResNet{depth}")(weights="imagenet", classes=5, **shape)
    ours = convert.from_torch(f"ResNet{depth}", state, **shape)
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    np.testing.assert_array_equal(model(x), ours(x))
    assert hub.pretrained_card(row.architecture).preprocessing.crop == 0.95


@pytest.mark.slow
@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_imagenet_weights_of_every_vgg(depth, norm, publish):
    state = states.drawn(states.vgg(depth, norm, map=(2, 2)))
    state = states.as_timm_vgg(state, (2, 2))
    name, tag = f"VGG{depth}", pretrained.find(f"VGG{depth}", norm=norm).tag
    publish(name, tag, state)
    arguments = {"input_shape": (64, 64, 3), "units": 8, "classes": 5, "norm": norm}
    model = getattr(models, name)(weights="imagenet", **arguments)
    ours = convert.from_torch(name, state, **arguments)
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    np.testing.assert_array_equal(model(x), ours(x))
    assert hub.pretrained_card(name, norm=norm).arguments.get("norm") == norm


@pytest.mark.slow
@pytest.mark.parametrize("stride", [32, 16, 8])
def test_imagenet_weights_of_the_backbone_of_every_fcn(stride, publish, caplog):
    state = states.drawn(states.vgg(16, None, map=(7, 7)))
    facts = TIMM["pretrained_cfg"] | {"input_size": [3, 224, 224]}
    config = {"pretrained_cfg": facts}
    publish("VGG16", "tv_in1k", states.as_timm_vgg(state, (7, 7)), **config)
    build = getattr(models, f"FCN{stride}s")
    model = build(input_shape=(64, 64, 3), classes=3, units=8, backbone_weights="imagenet")
    kernel = state["classifier.0.weight"].reshape(8, 512, 7, 7)
    np.testing.assert_array_equal(model.get_layer("fc6").kernel, kernel.transpose(2, 3, 1, 0))
    kernel = state["features.28.weight"]
    np.testing.assert_array_equal(model.get_layer("conv5_3").kernel, kernel.transpose(2, 3, 1, 0))
    assert "score_fr" in caplog.text


@pytest.mark.slow
def test_imagenet_weights_of_the_backbone_of_a_unet(publish):
    state = states.drawn(states.resnet(COUNTS[18], False))
    publish("ResNet18", "a1_in1k", state)
    arguments = {"backbone": "ResNet18", "filters": 2, "input_shape": (64, 64, 3)}
    model = models.UNet(**arguments, backbone_weights="imagenet")
    kernel = state["layer4.1.conv2.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(model.get_layer("stage4_block2_2_conv").kernel, kernel)


@pytest.mark.slow
def test_a_generator_of_pix2pix_gives_its_sources_outputs(publish):
    meta, arrays = golden.load("junyanz_unet_256")
    publish("Pix2PixGenerator", "facades_label2photo", golden.weights(meta))
    model = hub.load("tag://Pix2PixGenerator/facades_label2photo")
    output = np.moveaxis(np.asarray(model(golden.inputs(meta))), -1, 1)
    atol = meta["tolerance"]["atol"]
    np.testing.assert_allclose(output[:, :, ::5, ::5], arrays["output"], rtol=0, atol=atol)


@pytest.mark.slow
def test_an_fcn_of_pytorch_fcn(publish):
    """With narrower dense layers than the published ones."""
    row = publish("FCN8s", "voc_from_caffe", states.drawn(fcn8s_shapes(units=8)))
    opened = hub.load_with_card(row.reference)
    assert opened.card.labels[15] == "person"
    assert opened.card.preprocessing.channel_order == "bgr"
    model = models.FCN8s(weights="voc_from_caffe", input_shape=(64, 64, 3), units=8)
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    assert np.std(model(x)) > 0.01
    np.testing.assert_array_equal(model(x), opened.model(x))


def fcn8s_shapes(units, classes=21):
    shapes, before = {}, 3
    for stage, row in enumerate(vgg.CONFIGURATIONS["D"], start=1):
        for number, width in enumerate(row, start=1):
            name = f"conv{stage}_{number}"
            shapes |= states.convolution(name, width, before, 3, bias=True)
            before = width
    shapes |= states.convolution("fc6", units, 512, 7, bias=True)
    shapes |= states.convolution("fc7", units, units, 1, bias=True)
    for name, width in (("score_fr", units), ("score_pool3", 256), ("score_pool4", 512)):
        shapes |= states.convolution(name, classes, width, 1, bias=True)
    for name, size in (("upscore2", 4), ("upscore_pool4", 4), ("upscore8", 16)):
        shapes |= states.convolution(name, classes, classes, size)
    return shapes
