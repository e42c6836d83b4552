import pytest

from tests.models.tester import Case, ModelTester

WRONG = (
    ({"blocks": 0}, "blocks"),
    ({"image_shape": (32, 30, 3)}, "width must be a multiple of 4 and at least 8 pixels, got 30"),
    ({"image_shape": (32, 30, 3)}, "the next is 28 or 32"),
    ({"image_shape": (4, 32, 3)}, "the next is 8"),
    ({"image_shape": "32"}, "height, width, channels"),
    ({"filters": 0}, "filters"),
)
SMALL = {"blocks": 2, "image_shape": (16, 24, 3), "filters": 2, "output_channels": 1}
CASES = [Case("CycleGANGenerator", SMALL, (16, 24, 1), wrong=WRONG)]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestCycleGAN(ModelTester):
    pass
