"""Single blocks of residual nets: against closed forms, and against nets cut by hand."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_arch import cli, experiments, hub, models
from keras_arch.errors import ArgumentError, DataError
from keras_arch.experiments import residual_blocks
from keras_arch.preprocessing import Preprocessing
from tests.rounding import ROUNDING


@pytest.fixture(scope="module")
def net():
    """A ResNet-14 whose norms are not those of a new net, so that every block does something."""
    keras.utils.set_random_seed(1)
    model = models.CIFARResNet(depth=14, input_shape=(16, 16, 3))
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(rng.normal(0, 0.2, layer.beta.shape))
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(2).normal(size=(6, 16, 16, 3)).astype(np.float32)


def batches_of(images, labels, size=4):
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(size)


def part(model, first, last, x):
    """What the layers after `first` up to `last` make of `first`'s output."""
    first, last = (model.get_layer(name).output for name in (first, last))
    return keras.Model(first, last).predict(x, verbose=0)


@pytest.mark.slow
def test_every_block_is_found_in_its_order():
    # 6n+2 layers are 3n blocks of two layers; ResNet-50 has 3, 4, 6 and 3 of three layers.
    assert len(residual_blocks.block_names(models.CIFARResNet(depth=32))) == 15
    resnet50 = models.ResNet50(input_shape=(32, 32, 3), classes=2)
    names = residual_blocks.block_names(resnet50)
    stages = [name.partition("_")[0] for name in names]
    assert [stages.count(f"stage{stage}") for stage in range(1, 5)] == [3, 4, 6, 3]
    assert names == sorted(names, key=lambda name: [int(n) for n in name[5:].split("_block")])
    kinds = {name: residual_blocks._shortcut_kind(resnet50, name) for name in names}
    projected = {f"stage{stage}_block1" for stage in range(1, 5)}
    assert {name for name, kind in kinds.items() if kind == "projection"} == projected
    assert set(kinds.values()) == {"projection", "identity"}


@pytest.mark.parametrize(
    ("shortcut", "kinds"),
    [("A", ["identity", "padded", "padded"]), ("B", ["identity", "projection", "projection"])],
)
def test_shortcuts_are_told_apart(shortcut, kinds):
    model = models.CIFARResNet(depth=8, shortcut=shortcut)
    names = residual_blocks.block_names(model)
    assert [residual_blocks._shortcut_kind(model, name) for name in names] == kinds


def test_a_net_without_a_block_is_the_net_cut_by_hand(net, images):
    whole = net.predict(images, verbose=0)
    before = part(net, "image", "stage1_block1", images)
    # stage1 is the second and last block of its stage: its identity is the map before it.
    with residual_blocks.without(net, "stage1_block2"):
        lesioned = net.predict(images, verbose=0)
    rest = part(net, "stage1", "probabilities", before)
    np.testing.assert_allclose(lesioned, rest, atol=ROUNDING)
    assert np.abs(lesioned - whole).max() > 1e-3
    # And it is put back.
    np.testing.assert_array_equal(net.predict(images, verbose=0), whole)


def test_where_the_width_changes_the_subsampled_and_padded_map_stays(net, images):
    before = part(net, "image", "stage1", images)
    padded = np.pad(before[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (8, 8)))
    with residual_blocks.without(net, "stage2_block1"):
        lesioned = net.predict(images, verbose=0)
    rest = part(net, "stage2_block1", "probabilities", padded)
    np.testing.assert_allclose(lesioned, rest, atol=ROUNDING)


def test_a_block_that_adds_nothing_can_go(net, images):
    labels = net.predict(images, verbose=0).argmax(1)
    name = "stage3_block2"
    norm = net.get_layer(f"{name}_2_norm")
    before = norm.get_weights()
    norm.gamma.assign(np.zeros(64))
    norm.beta.assign(np.zeros(64))
    try:
        whole = net.predict(images, verbose=0)
        with residual_blocks.without(net, name):
            np.testing.assert_allclose(net.predict(images, verbose=0), whole, atol=ROUNDING)
        accuracy, found = residual_blocks.measure(net, batches_of(images, labels))
    finally:
        norm.set_weights(before)
    block = {block.name: block for block in found}[name]
    assert (block.change, block.accuracy) == (0, accuracy)
    assert block.cosine == pytest.approx(1, abs=1e-6)
    others = [other for other in found if other.name != name]
    assert min(other.change for other in others) > 0.01


def test_changes_and_cosines_are_those_of_the_closed_form(images):
    """With all kernels zero a norm gives its offset everywhere: S = b and F = c in each pixel."""
    model = models.CIFARResNet(depth=8, input_shape=(16, 16, 3))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(np.zeros(layer.kernel.shape))
    rng = np.random.default_rng(3)
    b, c, d = rng.uniform(0.1, 1, 16), rng.normal(size=16), rng.normal(size=32)
    for name, offset in (("stem", b), ("stage1_block1_2", c), ("stage2_block1_2", d)):
        model.get_layer(f"{name}_norm").beta.assign(offset)
    _, found = residual_blocks.measure(model, batches_of(images, np.zeros(6)))
    norm = np.linalg.norm

    def cosine(one, other):
        return one @ other / norm(one) / norm(other)

    assert found[0].change == pytest.approx(norm(c) / norm(b), rel=1e-5)
    assert found[0].cosine == pytest.approx(cosine(b, b + c), rel=1e-5)
    # The second stage's shortcut: what left the first, with eight channels of zeros on each side.
    s = np.pad(np.maximum(b + c, 0), 8)
    assert found[1].change == pytest.approx(norm(d) / norm(s), rel=1e-5)
    assert found[1].cosine == pytest.approx(cosine(s, s + d), rel=1e-5)
    # Nothing is added in the third.
    assert (found[2].change, found[2].cosine) == (0, pytest.approx(1, abs=1e-6))


def test_accuracy_counts_every_image_of_every_batch(net, images):
    labels = net.predict(images, verbose=0).argmax(1)
    with residual_blocks.without(net, "stage1_block1"):
        lesioned = net.predict(images, verbose=0).argmax(1)
    labels[-1] = (labels[-1] + 1) % 10  # one wrong, in the partial last batch
    accuracy, found = residual_blocks.measure(net, batches_of(images, labels))
    assert accuracy == pytest.approx(5 / 6)
    assert found[0].accuracy == pytest.approx((lesioned == labels).mean())


def test_a_mistake_inside_leaves_the_model_whole(net, images):
    whole = net.predict(images, verbose=0)
    with pytest.raises(ZeroDivisionError), residual_blocks.without(net, "stage1_block1"):
        _ = 1 / 0
    np.testing.assert_array_equal(net.predict(images, verbose=0), whole)
    with pytest.raises(ArgumentError, match="no block 'stage9'; it has stage1_block1"):
        residual_blocks.without(net, "stage9").__enter__()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model directory of a ResNet-8 for digits, which nobody trained."""
    folder = tmp_path_factory.mktemp("saved") / "resnet8"
    arguments = {"depth": 8, "input_shape": [8, 8, 1], "classes": 10}
    card = hub.Card(
        "resnet8",
        "CIFARResNet",
        arguments,
        task="image-classification",
        preprocessing=Preprocessing((8, 8), 1),
        labels=list("0123456789"),
        recipe={"data": {"source": "digits", "test": "test[:40]"}},
    )
    hub.save(models.CIFARResNet(**arguments), folder, card)
    return folder


def test_from_a_saved_model_to_a_picture_and_a_table(saved, tmp_path):
    done = experiments.blocks(saved, out=tmp_path)
    table = json.loads(done.table.read_text())
    assert table["images"] == 40
    assert (table["model"], table["data"]) == ("resnet8", "digits")
    assert [block["name"] for block in table["blocks"]] == [f"stage{s}_block1" for s in (1, 2, 3)]
    assert table["accuracy"] == done.accuracy
    with Image.open(done.figure) as picture:
        assert picture.size[0] > 400
    assert experiments.blocks(saved, out=tmp_path, split="test", limit=7).images == 7


def test_the_command_prints_a_line_for_each_block(saved, tmp_path, capfd):
    out = tmp_path / "out"
    command = ["experiment", "blocks", str(saved), "--limit", "9", "--out", str(out)]
    assert cli.main(command) == 0
    rows = [line.split("\t") for line in capfd.readouterr().out.splitlines()]
    table = json.loads((out / "residual_blocks.json").read_text())
    for block, row in zip(table["blocks"], rows[:3], strict=True):
        assert row[:2] == [block["name"], block["shortcut"]]
        assert [float(number) for number in row[2:]] == pytest.approx(
            [block["change"], block["cosine"], block["accuracy"]], abs=1e-3
        )
    assert float(rows[3][-1]) == pytest.approx(table["accuracy"], abs=1e-4)
    assert cli.main(["experiment", "blocks", str(tmp_path / "absent")]) == 2
    assert capfd.readouterr().err.startswith("error: ")


def test_what_cannot_be_measured_is_refused(saved, tmp_path):
    with pytest.raises(ArgumentError, match=r"plain8 has no residual blocks"):
        residual_blocks.block_names(models.CIFARResNet(depth=8, residual=False))
    with pytest.raises(ArgumentError, match="limit must be a positive whole number, got 0"):
        experiments.blocks(saved, out=tmp_path, limit=0)
    np.savez(
        tmp_path / "two.npz", x_test=np.zeros((4, 8, 8), np.uint8), y_test=np.array([0, 1, 0, 1])
    )
    with pytest.raises(DataError, match="has 2 classes, the model 10"):
        experiments.blocks(saved, source=f"npz:{tmp_path}/two.npz", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
