"""Published weights that are no repository of the Hub: files by URL, and `keras.applications`.

The rows of `keras_arch.pretrained` say where they are. Here is how each source prepares images, and
with which arguments our builders take its weights.
"""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_arch.errors import ConvertError, HubError, KerasArchError
from keras_arch.hub.external.base import ExternalModel
from keras_arch.preprocessing import Preprocessing
from keras_arch.pretrained import Pretrained

if TYPE_CHECKING:
    import keras

    from keras_arch.hub.downloads import WebFile

KERAS = "keras.applications"
_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# Of blue, green and red, as Caffe's networks were trained: those of ImageNet as Keras rounds them,
# and as pytorch-fcn has them.
_KERAS_MEAN = [103.939, 116.779, 123.68]
_FCN_MEAN = [104.00698793, 116.66876762, 122.67891434]
# fmt: off
_VOC = [
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep",
    "sofa", "train", "tvmonitor",
]
# fmt: on


@dataclasses.dataclass(frozen=True)
class PublishedSource:
    """Published weights with the interface of `remote.Snapshot`; none of their files is ours.

    Attributes:
        row: What is known of them.
    """

    row: Pretrained
    offline: bool = False
    remedy: str = "try again"

    @property
    def where(self) -> str:
        """Name of the weights in messages."""
        return self.row.uri

    @property
    def name(self) -> str:
        """Name of the converted model."""
        return f"{self.row.architecture.lower()}.{self.row.tag}"

    def fetch(self, name: str) -> Path | None:
        """No file: neither a record nor a config."""
        return None

    @property
    def file(self) -> "WebFile":
        """The file of the weights in the cache, beside that of the Hub's client."""
        from huggingface_hub import constants

        from keras_arch.hub.downloads import WebFile

        folder = Path(constants.HF_HUB_CACHE).parent / "keras_arch" / "files" / self.row.source
        path = folder / self.row.architecture / self.row.file_name
        return WebFile(self.row.uri, path, self.row.sha256, self.row.md5)

    def key(self) -> str:
        """Name of the converted model in the cache; a file that is not there yet is downloaded."""
        name = f"{self.row.architecture}-{self.row.tag}"
        if self.row.source == KERAS:
            return f"tags/{name}"
        file = self.file
        if file.recorded() is None:
            file.fetch()
        return f"tags/{name}-{(file.recorded() or '')[:16]}"


def describe(row: Pretrained) -> ExternalModel:
    """Describe published weights for their conversion.

    Example:
        >>> from keras_arch import pretrained
        >>> describe(pretrained.find("GoogLeNet")).preprocessing.mean
        0.5
    """
    kind = {
        "torchvision": _torchvision,
        KERAS: _keras,
        "pytorch-fcn": _fcn,
        "pytorch-CycleGAN-and-pix2pix": _translation,
    }[row.source]
    note = ""
    if row.accuracy is not None:
        note = f"Reported by {row.reported}: {row.metric} {row.accuracy:g} %."
    return dataclasses.replace(kind(row), note=note)


def _described(row: Pretrained, preprocessing: Preprocessing, **facts: Any) -> ExternalModel:
    arguments = dict(row.settings) | facts.pop("arguments", {})
    return ExternalModel(
        library=row.source,
        model=f"{row.tag} of {row.architecture}",
        architecture=row.architecture,
        arguments=arguments,
        preprocessing=preprocessing,
        license=row.license or "unknown",
        **facts,
    )


def _imagenet(row: Pretrained, preprocessing: Preprocessing) -> ExternalModel:
    from keras_arch import models

    arguments = {"classes": 1000, "input_shape": preprocessing.input_shape}
    return _described(row, preprocessing, labels=models.imagenet_labels(), arguments=arguments)


def _torchvision(row: Pretrained) -> ExternalModel:
    """torchvision's evaluation: the shorter side to 256 pixels, the centre of 224."""
    # The published GoogLeNet changes its input (transform_input=True): to a mean and a std of 0.5.
    own = row.architecture == "GoogLeNet"
    mean, std = (0.5, 0.5) if own else (_MEAN, _STD)
    side = row.input or 224
    return _imagenet(row, Preprocessing((side, side), crop=0.875, mean=mean, std=std))


def _keras(row: Pretrained) -> ExternalModel:
    side = row.input or 224
    caffe = Preprocessing((side, side), scale=1.0, mean=_KERAS_MEAN, channel_order="bgr")
    return _imagenet(row, caffe)


def _fcn(row: Pretrained) -> ExternalModel:
    side = row.input or 500
    preprocessing = Preprocessing(
        (side, side), resize="pad", scale=1.0, mean=_FCN_MEAN, channel_order="bgr"
    )
    return _described(
        row,
        preprocessing,
        labels=_VOC,
        task="image-segmentation",
        arguments={"classes": len(_VOC), "input_shape": (None, None, 3)},
    )


def _translation(row: Pretrained) -> ExternalModel:
    side = row.input or 256
    # To [-1, 1].
    preprocessing = Preprocessing((side, side), resize="bicubic", scale=1 / 127.5, mean=1.0)
    arguments: dict[str, Any] = {"image_shape": preprocessing.input_shape}
    if row.architecture == "Pix2PixGenerator":
        # PyTorch's eval(), as `convert.from_torch` builds it.
        arguments |= {"inference_norm": "moving", "inference_dropout": False}
    return _described(row, preprocessing, labels=None, task="image-to-image", arguments=arguments)


def build(source: PublishedSource, model: ExternalModel) -> "keras.Model":
    """Download published weights, and build our network with them.

    Raises:
        HubError: If they cannot be had or do not fit.
    """
    from keras_arch import convert

    try:
        if source.row.source == KERAS:
            return convert.from_keras_applications(_from_keras(source.row))
        return convert.from_torch(model.architecture, source.file.fetch(), **model.arguments)
    except ConvertError as error:
        raise HubError(f"{source.where} cannot be converted: {error}") from None


def _from_keras(row: Pretrained) -> "keras.Model":
    """The model of `keras.applications`; Keras itself downloads, checks and caches the weights."""
    import keras

    from keras_arch.files import storage_errors

    folder = Path(os.environ.get("KERAS_HOME", "~/.keras"), "models")
    try:
        with storage_errors(folder):
            return getattr(keras.applications, row.architecture)(weights="imagenet")
    except KerasArchError:
        raise
    # Keras raises a plain Exception for whatever goes wrong in a download.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise HubError(
            f"{row.uri}(weights='imagenet') failed: {reason}; check the network, and that the "
            f"file of these weights in {folder} is whole"
        ) from None
