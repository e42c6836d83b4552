import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from keras_arch import models
from keras_arch.visualization import diagram_layout, diagrams
from keras_arch.visualization.diagrams import _groups


def test_a_residual_network_is_drawn_as_its_repeated_blocks():
    boxes = diagrams.boxes(models.CIFARResNet(depth=56, input_shape=(16, 16, 1)))
    groups = list(_groups(boxes))
    assert [group.repeats for group in groups if group.repeats > 1] == [9, 8, 8]
    assert [group.last_name for group in groups if group.repeats > 1] == [
        "stage1",
        "stage2",
        "stage3",
    ]
    # 55 convolutions and a dense layer carry the network's name of 56.
    assert sum(box.kind in ("convolution", "dense") for box in boxes) == 56
    assert sum(box.title == "add" for box in boxes) == 27


def test_boxes_know_where_their_input_comes_from():
    image = keras.Input((8, 8, 3), name="image")
    left = layers.Conv2D(4, 3, padding="same", name="left")(image)
    left = layers.Dropout(0.5, name="drop")(left)
    right = layers.MaxPooling2D(2, name="right")(left)
    right = layers.Conv2DTranspose(4, 2, strides=2, name="up")(right)
    model = keras.Model(image, layers.Concatenate(name="both")([left, right]))
    boxes = diagrams.boxes(model)
    assert [(box.title, box.name, box.sources) for box in boxes] == [
        ("image", "image", []),
        ("conv 3x3, 4", "drop", [0]),
        ("max pool 2x2, stride 2", "right", [1]),
        ("transposed conv 2x2, 4, stride 2", "up", [2]),
        ("concatenate", "both", [1, 3]),
    ]
    assert boxes[-1].shape == (8, 8, 8)


def two_columns():
    """Too tall for one column, with a shortcut from the first into the second."""
    x = first = keras.Input((8,), name="input_with_a_rather_long_name")
    for width in range(8, 38):
        x = layers.Dense(width)(x)
    return keras.Model(first, layers.Concatenate()([first, x]))


@pytest.mark.parametrize(
    "model",
    [
        lambda: models.CIFARResNet(depth=8, shortcut="B"),
        lambda: models.DCGANGenerator("paper", image_shape=(16, 16, 3), filters=4),
        lambda: keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.ReLU()]),
        pytest.param(lambda: two_columns(), marks=pytest.mark.slow),
    ],
)
def test_any_network_can_be_drawn(model, tmp_path):
    path = diagrams.draw(model(), tmp_path / "new" / "net.png")
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert (pixels == 255).all(-1).mean() > 0.3, "no white page"
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10, "nothing drawn"
    # Nothing runs over the edge of the page.
    border = np.concatenate([pixels[:3].ravel(), pixels[-3:].ravel(), pixels[:, :3].ravel()])
    assert (border == 255).all()
    assert (pixels[:, -3:] == 255).all()


def test_a_round_that_something_else_uses_is_drawn_on_its_own():
    boxes = diagrams.boxes(models.CIFARResNet(depth=8))
    # The first two convolutions are alike, but a shortcut starts between them.
    assert boxes[1].title == boxes[2].title
    assert all(group.repeats == 1 for group in _groups(boxes))


def test_a_graph_of_a_thousand_layers_is_grouped_quickly():
    boxes = [
        diagrams.Box("convolution", f"conv {i % 3}", [], f"layer{i}", (8, 8, 3), [i - 1])
        for i in range(3000)
    ]
    (group,) = _groups(boxes)
    assert (len(group.boxes), group.repeats, group.last_name) == (3, 1000, "layer2999")


def test_a_layer_that_is_applied_to_its_own_output():
    image = keras.Input((8,), name="image")
    twice, other = layers.Dense(8, name="twice"), layers.Dense(4, name="other")
    wide = layers.Flatten(name="flat")
    x = twice(wide(twice(image)))
    joined = layers.Concatenate(name="joined")([x, x])
    x = layers.Concatenate(name="both")([other(x), wide(joined)])
    found = diagrams.boxes(keras.Model(image, x))
    assert [(box.name, box.sources) for box in found] == [
        ("image", []),
        ("twice", [0]),
        ("flat", [1]),
        ("twice", [2]),
        ("joined", [3]),
        ("flat", [4]),
        ("other", [3]),
        ("both", [6, 5]),
    ]
    # Each call has its own shape.
    assert [box.shape for box in found if box.name == "flat"] == [(8,), (16,)]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("UNet", {"input_shape": (188, 188, 1), "filters": 2}),
        ("UNet", {"input_shape": (None, None, 1), "filters": 2, "depth": 3, "padding": "same"}),
        pytest.param(
            "UNet",
            {"input_shape": (32, 32, 1), "filters": 2, "depth": 2, "up": "bilinear"},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "Pix2PixGenerator",
            {"variant": "unet_128", "image_shape": (128, 128, 3), "filters": 1},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["unpadded", "open", "bilinear", "pix2pix"],
)
def test_a_u_net_is_drawn_as_a_u(name, arguments, tmp_path):
    if arguments.get("up") == "bilinear":
        arguments = arguments | {"padding": "same"}
    model = models.create(name, **arguments)
    boxes = diagrams.boxes(model)
    plan = diagram_layout.layout(boxes)
    columns = sorted({x for x, _ in plan.places})
    assert len(columns) == 3
    encoder, bottom, decoder = ([y for x, y in plan.places if x == column] for column in columns)
    # Down on the left, below both, up on the right.
    assert encoder == sorted(encoder, reverse=True)
    assert max(bottom) < min(encoder + decoder)
    ends = [plan.places[i][1] for i in range(plan.bottom, len(boxes))]
    assert ends[-1] == max(ends)
    # No two boxes in one place.
    gap = diagram_layout.BOX_HEIGHT + diagram_layout.GAP - 1e-6
    for heights in (encoder, bottom, decoder):
        assert all(np.diff(sorted(heights)) > gap)
    # Both ends of a level lie on its side of the levels above and below it.
    for number, box in enumerate(boxes[plan.bottom :], plan.bottom):
        for source in box.sources:
            if "concatenate" in box.title and source < plan.bottom - 1:
                assert abs(plan.places[number][1] - plan.places[source][1]) < 6 * gap
    assert diagrams.draw(model, tmp_path / "u.png").stat().st_size > 1000


@pytest.mark.slow
def test_other_networks_are_drawn_in_columns():
    for name in ("CIFARResNet", "DCGANGenerator", "DeepLabV3Plus"):
        assert diagram_layout.layout(diagrams.boxes(models.create(name))) is None
