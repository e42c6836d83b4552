import pytest

from tests.models.tester import Case, ModelTester

WRONG = (
    ({"variant": "unet_64"}, "unet_256, unet_128, encoder_decoder"),
    ({"image_shape": (256, 200, 3)}, "width must be a multiple of 128 pixels, got 200"),
    ({"image_shape": (100, 128, 3)}, "the next is 128"),
    ({"image_shape": (256, 300, 3)}, "the next is 256 or 384"),
    ({"image_shape": 128}, "height, width, channels"),
    ({"output_channels": 0}, "output_channels"),
    ({"filters": 1.5}, "1.5"),
    ({"inference_norm": "layer"}, "batch, moving, instance"),
    ({"inference_dropout": "yes"}, "'yes'"),
)
SMALL = {"variant": "unet_128", "filters": 1, "inference_dropout": False}
CASES = [
    Case("Pix2PixGenerator", SMALL, (128, 128, 3), wrong=WRONG),
    Case("Pix2PixGenerator", SMALL | {"inference_norm": "instance"}, (128, 128, 3)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestPix2Pix(ModelTester):
    pass
