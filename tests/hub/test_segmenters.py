"""Segmentation networks on the Hub: what comes back gives the same classes in the same colours."""

import numpy as np
import pytest

from keras_arch import hub, models, tiling
from keras_arch.preprocessing import Preprocessing

LABELS = ["membrane", "interior", "outside"]
COLORS = [(224, 48, 32), (0, 0, 0), (10, 20, 30)]
NETWORKS = {
    "unet": ("UNet", {"depth": 2, "filters": 2, "classes": 3, "input_shape": [60, 60, 1]}),
    "fcn": (
        "FCN8s",
        {
            "backbone": "ResNet18",
            "deconvolutions": "learned",
            "classes": 3,
            "input_shape": [None, None, 1],
        },
    ),
}


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow if k == "fcn" else ()) for k in NETWORKS]
)
def test_pushed_and_pulled_they_find_the_same_classes(kind, server, alice):
    name, arguments = NETWORKS[kind]
    model = models.create(name, **arguments)
    draws = np.random.default_rng(3)
    for weight in model.weights:
        moved = weight.numpy() + draws.normal(0, 0.1, weight.shape)
        weight.assign(np.abs(moved) if weight.path.endswith("variance") else moved)
    preprocessing = Preprocessing((60, 60), 1, mean=0.5, std=0.25)
    card = hub.Card(
        kind, name, arguments, "image-segmentation", preprocessing, labels=LABELS, colors=COLORS
    )
    hub.push(model, f"alice/{kind}", card=card)
    opened = hub.load_with_card(f"hf://alice/{kind}")
    assert opened.card.colors == COLORS
    assert opened.card.labels == LABELS
    image = draws.integers(0, 256, (90, 77, 1)).astype(np.uint8)
    before, after = (
        tiling.predict(network, image, tile=60, preprocessing=preprocessing, progress=False)
        for network in (model, opened.model)
    )
    assert before.std() > 0.01
    np.testing.assert_array_equal(before, after)
    assert server.leaks == []
