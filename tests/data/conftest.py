"""Real data where it is at hand."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


def at_hand(path: Path) -> Path:
    """The real path of a file or folder, without which the test is skipped."""
    if not path.exists():
        pytest.skip(f"needs {path}")
    return path.resolve()


@pytest.fixture(scope="session")
def tfds_dir() -> Path:
    """The folder of prepared TensorFlow Datasets sets."""
    return at_hand(SHARED / "tfds")


@pytest.fixture(scope="session")
def cifar_npz() -> Path:
    """The archive of CIFAR-10 as JPEG files."""
    return at_hand(SHARED / "cifar10" / "cifar10_jpeg.npz")


@pytest.fixture(scope="session")
def facades_tar() -> Path:
    """The facades as pix2pix uses them, photo left and labels right."""
    return at_hand(SHARED / "facades" / "facades.tar")
