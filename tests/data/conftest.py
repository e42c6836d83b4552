"""Real data where it is at hand."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.fixture(scope="session")
def tfds_dir() -> Path:
    """The folder of prepared TensorFlow Datasets sets."""
    folder = SHARED / "tfds"
    if not folder.is_dir():
        pytest.skip(f"needs the prepared data sets in {folder}")
    return folder.resolve()


@pytest.fixture(scope="session")
def cifar_npz() -> Path:
    """The archive of CIFAR-10 as JPEG files."""
    file = SHARED / "cifar10" / "cifar10_jpeg.npz"
    if not file.is_file():
        pytest.skip(f"needs {file}")
    return file.resolve()


@pytest.fixture(scope="session")
def facades_tar() -> Path:
    """The facades as pix2pix uses them, photo left and labels right."""
    file = SHARED / "facades" / "facades.tar"
    if not file.is_file():
        pytest.skip(f"needs {file}")
    return file.resolve()
