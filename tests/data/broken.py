"""Sources that cannot be read, and the one line that says why."""

import numpy as np
import pytest
from PIL import Image

from keras_arch import data
from keras_arch.errors import DataError


def refused(source, split="train", **options):
    """The one line that a source is refused with."""
    with pytest.raises(DataError) as caught:
        for _ in data.load(source, split, **options):
            pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_damaged_png(path):
    """A PNG file with one wrong byte in its pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = bytearray(path.read_bytes())
    content[2000] ^= 0xFF
    path.write_bytes(content)
