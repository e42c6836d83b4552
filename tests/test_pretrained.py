"""The table of published weights."""

import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from keras_arch import convert, models, pretrained, registry
from keras_arch.errors import ArgumentError

ROWS = pretrained.table()
SOURCES = {
    "timm": "hf://timm/",
    "torchvision": "https://download.pytorch.org/models/",
    "keras.applications": "keras.applications.",
    "pytorch-fcn": "https://",
    "pytorch-CycleGAN-and-pix2pix": "http://",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.architecture}-{row.tag}")
def test_each_row_is_consistent(row):
    entry = registry.entry(row.architecture)
    assert row.settings.keys() <= entry.arguments.keys()
    assert row.uri.startswith(SOURCES[row.source])
    assert row.source == "keras.applications" or row.architecture in convert.convertible()
    assert pretrained._TAG.fullmatch(row.tag)
    # Float32, of parameters that papers and the sources' own code give.
    assert 4 * min(entry.parameters.values()) / 1e6 <= row.megabytes + 0.05
    assert row.megabytes <= 4 * max(entry.parameters.values()) / 1e6 + 0.05
    assert (row.accuracy is None) == (row.reported is None)
    if row.accuracy is not None:
        assert 50 < row.accuracy < 90
        assert urlsplit(row.reported).scheme == "https"
    assert row.metric == {"image-segmentation": "mean IoU"}.get(entry.task, "top-1 accuracy")
    assert row.revision is None or len(row.revision) == 40


def test_tags_of_an_architecture_differ_and_each_is_found():
    keys = {(row.architecture, row.tag): row for row in ROWS}
    assert len(keys) == len(ROWS)
    for (architecture, tag), row in keys.items():
        assert pretrained.find(architecture, tag) is row
        assert pretrained.match(tag, architecture, **row.settings) is row


def test_every_classifier_of_a_paper_for_imagenet_has_imagenet_weights():
    found = {row.architecture for row in ROWS if row.data == "ImageNet-1k"}
    assert found == {*models.list_models("ResNet*"), *models.list_models("VGG*"), "AlexNet"} | {
        "GoogLeNet"
    }
    for name in found:
        assert pretrained.find(name) in pretrained.imagenet(name)


def test_hashes_in_names_of_files():
    """As torchvision's files are named."""
    assert pretrained.find("AlexNet").sha256 == "7be5be79"
    assert pretrained.find("GoogLeNet").sha256 == "1378be20"
    assert pretrained.find("CycleGANGenerator", "horse2zebra").sha256 is None


def test_weights_that_may_not_be_sold_are_known():
    found = {row.tag for row in ROWS if pretrained.is_non_commercial(row.license)}
    assert found == {"fb_ssl_yfcc100m_ft_in1k", "fb_swsl_ig1b_ft_in1k"}


def test_list_weights():
    assert models.list_weights() == list(ROWS)
    assert [row.tag for row in models.list_weights("FCN8s")] == ["voc_from_caffe"]
    assert models.list_weights("UNet") == []
    with pytest.raises(ArgumentError, match="by its name, such as 'ResNet50', got <function"):
        models.list_weights(models.ResNet50)
    with pytest.raises(ArgumentError, match="no architecture named 'ResNet49'"):
        models.list_weights("ResNet49")


def test_a_folder_and_a_config_are_no_tags(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert pretrained.match("mine", "ResNet18") is None
    for weights in ("./imagenet", "hf://timm/resnet18", "resnet20-digits", "model.keras"):
        assert pretrained.match(weights, "ResNet18") is None


@pytest.mark.parametrize(
    ("architecture", "weights", "message"),
    [
        ("ResNet50", "imagenett", r"did you mean imagenet, keras_imagenet, resnet50-imagenet\?"),
        ("ResNet50", "a1_in1k@", r'after "@" stands a branch, a tag or a commit'),
        ("ResNet51", "imagenet", r"no weights of ResNet51; did you mean ResNet50, "),
        ("resnet50", "imagenet", r"did you mean ResNet50\?$"),
        ("UNet", "imagenet", r"UNet\(backbone="),
    ],
)
def test_what_is_mistyped_is_suggested(architecture, weights, message):
    with pytest.raises(ArgumentError, match=message):
        pretrained.match(weights, architecture)


@pytest.mark.parametrize(("architecture", "tag"), [(5, "imagenet"), ("VGG16", None)])
def test_what_is_no_name_is_refused(architecture, tag):
    with pytest.raises(ArgumentError, match=r"by its name, got (5|None)$"):
        pretrained.find(architecture, tag)


def test_files_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("net.weights.h5", "net.keras"):
        with pytest.raises(ArgumentError, match=f"there is no .*file '~/{name}'; check the path"):
            pretrained.resolve(f"~/{name}", "ResNet18")
        (tmp_path / name).write_text("")
        assert pretrained.resolve(f"~/{name}", "ResNet18") == str(tmp_path / name)


def test_the_table_is_read_without_keras():
    code = "import sys; from keras_arch import pretrained; pretrained.find('VGG16'); "
    code += "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
