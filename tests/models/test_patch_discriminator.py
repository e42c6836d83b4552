import pytest

from tests.models.tester import Case, ModelTester

WRONG = (
    ({"receptive_field": 71}, "1, 16, 34, 70, 142, 286"),
    ({"image_shape": (32, 11, 3)}, "at least 12 pixels a side, got 32x11; at this size there is 1"),
    ({"image_shape": (32, 32)}, "height, width, channels"),
    ({"target_channels": 0}, "target_channels"),
    ({"filters": 0}, "filters"),
    ({"norm": "layer"}, "'layer'"),
)
SMALL = {"receptive_field": 34, "image_shape": (32, 24, 3), "filters": 2, "target_channels": None}
CASES = [
    Case("PatchDiscriminator", SMALL, (6, 4, 1), wrong=WRONG),
    Case("PatchDiscriminator", SMALL | {"norm": "instance"}, (6, 4, 1)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestPatchDiscriminator(ModelTester):
    pass
