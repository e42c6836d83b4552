"""Published weights of each architecture by tag: where they are, and what is known of them.

The table is `pretrained.json`, one row for each set of weights. Figures are those that the page in
`reported` gives; what no page was found for is left out. Download sizes are four bytes for each
parameter, as all of these files hold float32.
"""

import dataclasses
import difflib
import functools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_arch import presets
from keras_arch.errors import ArgumentError

IMAGENET = "imagenet"
# Value of `Pretrained.data` of the weights that "imagenet" chooses from.
_IMAGENET_DATA = "ImageNet-1k"
SCHEME = "tag://"
# Files that an argument `weights` takes, and those of other kinds with what opens them.
WEIGHTS_FILE, MODEL_FILE = ".weights.h5", ".keras"
_OTHER_FILES = {
    r"\.(h5|hdf5)": "weights=keras.saving.load_model({0!r})",
    r"\.(safetensors|safetensors\.index\.json|pth|pt|th|bin|ckpt)": (
        "weights=keras_arch.convert.from_torch({1!r}, {0!r})"
    ),
}
_FILE = Path(__file__).with_name("pretrained.json")
_TAG = re.compile(r"[A-Za-z0-9_]+(@[\w./-]*)?", re.ASCII)
# Licences of weights that may not be used commercially, as the Hub writes them.
_NON_COMMERCIAL = re.compile(r"(^|-)nc(-|$)")


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """Published weights of one architecture.

    Attributes:
        architecture: Name of the builder.
        tag: What `weights=` of the builder takes.
        source: Library or repository that publishes them.
        uri: Repository (`hf://user/repo`), URL of a file, or function of Keras.
        data: What they were trained on; of the generators the task that they are named by.
        megabytes: Size of the download in millions of bytes.
        settings: Arguments of the builder that the weights have.
        license: Identifier as the Hub knows it, `None` where the source states none.
        input: Side of the input in pixels.
        accuracy: In percent, as reported.
        metric: What `accuracy` is.
        evaluated_at: Side of the images in pixels that it was measured on.
        reported: The page that reports it.
        revision: Commit of a repository, `None` for its newest.
        file: Name of the file where the URL has none.
        md5: MD5 of the file, if its source states it.
    """

    architecture: str
    tag: str
    source: str
    uri: str
    data: str
    megabytes: float
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    license: str | None = None
    input: int | None = None
    accuracy: float | None = None
    metric: str = "top-1 accuracy"
    evaluated_at: int | None = None
    reported: str | None = None
    revision: str | None = None
    file: str | None = None
    md5: str | None = None

    @property
    def reference(self) -> str:
        """What `keras_arch.hub.load` takes."""
        if self.uri.startswith("hf://"):
            return self.uri + (f"@{self.revision}" if self.revision else "")
        return f"{SCHEME}{self.architecture}/{self.tag}"

    @property
    def file_name(self) -> str:
        """Name of the file of a URL."""
        return self.file or self.uri.rpartition("/")[2]

    @property
    def sha256(self) -> str | None:
        """The first digits of the SHA-256, if the name of the file ends in them as PyTorch's do."""
        match = re.search(r"-([0-9a-f]{8,})\.pth$", self.file_name)
        return match[1] if match else None


def is_non_commercial(license: str | None) -> bool:
    """Whether a licence forbids commercial use.

    Example:
        >>> is_non_commercial("cc-by-nc-4.0"), is_non_commercial("apache-2.0")
        (True, False)
    """
    return bool(license and _NON_COMMERCIAL.search(license))


@functools.cache
def table() -> tuple[Pretrained, ...]:
    """All published weights, those of an architecture in the order in which they are preferred.

    Example:
        >>> len([row for row in table() if row.architecture == "AlexNet"])
        1
    """
    return tuple(Pretrained(**row) for row in json.loads(_FILE.read_text(encoding="utf-8")))


def tags(architecture: str) -> tuple[Pretrained, ...]:
    """The published weights of one architecture.

    Example:
        >>> [row.tag for row in tags("VGG16")]
        ['tv_in1k', 'bn_tv_in1k', 'keras_imagenet']
    """
    return tuple(row for row in table() if row.architecture == architecture)


def imagenet(architecture: str) -> tuple[Pretrained, ...]:
    """The published weights of one architecture that `"imagenet"` chooses from, in their order.

    Example:
        >>> imagenet("ResNet101")[0].tag
        'a1h_in1k'
    """
    return tuple(row for row in tags(architecture) if row.data == _IMAGENET_DATA)


def find(architecture: str, tag: str = IMAGENET, **settings: Any) -> Pretrained:
    """The published weights that `weights=tag` of a builder loads.

    Args:
        architecture: Name of the builder.
        tag: One of its tags; `"imagenet"` for the first that were trained on ImageNet and have the
            settings. `"a1_in1k@REVISION"` pins a commit, a branch or a tag of a repository.
        **settings: Arguments of the builder that the weights must have.

    Raises:
        ArgumentError: If there are none; the message lists those that there are.

    Example:
        >>> find("VGG16", norm="batch").uri
        'hf://timm/vgg16_bn.tv_in1k'
        >>> find("ResNet50", "tv2_in1k").accuracy
        80.85
    """
    for what, value in (("an architecture", architecture), ("a tag", tag)):
        if not isinstance(value, str):
            raise ArgumentError(f"give {what} by its name, got {value!r}")
    name, at, revision = tag.partition("@")
    own = tags(architecture)
    is_name = name == IMAGENET
    found = imagenet(architecture) if is_name else [row for row in own if row.tag == name]
    for row in found:
        if not _misfits(row, settings):
            if not at:
                return row
            if not revision:
                raise ArgumentError(
                    f'{architecture}(weights="{tag}"): after "@" stands a branch, a tag or a '
                    f'commit; give one, or "{name}"'
                )
            if not row.uri.startswith("hf://"):
                raise ArgumentError(
                    f'{architecture}(weights="{tag}"): {row.uri} has no revisions; give "{name}"'
                )
            return dataclasses.replace(row, revision=revision)
    if not found:
        raise _unknown(architecture, name)
    nearest = min(found, key=lambda row: len(_misfits(row, settings)))
    wrong = _misfits(nearest, settings)
    given = ", ".join(f"{key}={settings[key]!r}" for key in wrong)
    right = ", ".join(f"{key}={nearest.settings[key]!r}" for key in wrong)
    raise ArgumentError(
        f'{architecture}(weights="{tag}"): there are none with {given}; leave the argument out, or '
        f"give {right}{_with(own, settings, name)}"
    )


def close_names(architecture: str) -> list[str]:
    """The architectures with published weights whose names are most like a word.

    Example:
        >>> close_names("resnet50"), close_names("UNet")
        (['ResNet50'], [])
    """
    names = {row.architecture.lower(): row.architecture for row in table()}
    if exact := names.get(architecture.lower()):
        return [exact]
    return [names[x] for x in difflib.get_close_matches(architecture.lower(), names, 3, 0.8)]


def match(weights: str, architecture: str | None, **settings: Any) -> Pretrained | None:
    """The published weights that an argument `weights` of a builder names, if it is a tag.

    Args:
        weights: The argument.
        architecture: Name of the builder.
        **settings: As for `find`.

    Returns:
        The row, or `None` for a path, a URI, or the name of a config.

    Raises:
        ArgumentError: If it looks like a tag, and is none of the architecture's.

    Example:
        >>> match("a1_in1k", "ResNet50").uri
        'hf://timm/resnet50.a1_in1k'
        >>> match("resnet20-digits", "CIFARResNet") is None
        True
    """
    if not _TAG.fullmatch(weights):
        return None
    name = weights.partition("@")[0]
    known = architecture is not None and any(row.tag == name for row in tags(architecture))
    if not known and name != IMAGENET and _is_other(weights, architecture):
        return None
    return find(architecture or "this network", weights, **settings)


def resolve(weights: str, architecture: str | None, **settings: Any) -> str:
    """The file or the reference that a string `weights` of a builder names; nothing is opened.

    Args:
        weights: The argument.
        architecture: Name of the builder.
        **settings: As for `find`.

    Returns:
        The path of a `.weights.h5` or `.keras` file that is there, else a reference as for
        `keras_arch.hub.load`.

    Raises:
        ArgumentError: If it is a file that is missing or of another kind, or looks like a tag and
            is none of the architecture's.

    Example:
        >>> resolve("a1_in1k@main", "ResNet50")
        'hf://timm/resnet50.a1_in1k@main'
    """
    if (file := find_file(weights, architecture)) is not None:
        return file
    row = match(weights, architecture, **settings)
    return row.reference if row else weights


def find_file(weights: str, architecture: str | None) -> str | None:
    """The weights file that an argument `weights` names, `None` where it names something else.

    Args:
        weights: A path, or anything else that the argument may be.
        architecture: Name of the builder.

    Returns:
        The path of a `.weights.h5` or `.keras` file that is there.

    Raises:
        ArgumentError: If the file is missing or of another kind, with the line that opens such a
            file.

    Example:
        >>> find_file("net.pth", "ResNet50")
        Traceback (most recent call last):
        keras_arch.errors.ArgumentError: weights='net.pth' is a file of another kind; give ...
    """
    if weights.endswith((WEIGHTS_FILE, MODEL_FILE)):
        file = os.path.expanduser(weights)
        if not os.path.isfile(file):
            kind = "weights file" if file.endswith(WEIGHTS_FILE) else "file"
            raise ArgumentError(f"there is no {kind} {weights!r}; check the path")
        return file
    for ending, line in _OTHER_FILES.items():
        is_uri = weights.startswith(("hf://", "file:"))
        if re.search(f"{ending}$", weights) and not is_uri and not os.path.isdir(weights):
            raise ArgumentError(
                f"weights={weights!r} is a file of another kind; give "
                f"{line.format(weights, architecture or 'ResNet18')}, or in a config the .keras "
                "file that this model saves"
            )
    return None


def _is_other(weights: str, architecture: str | None) -> bool:
    """Whether a word is the name of a folder or config, or is nothing that tags know of."""
    if os.path.exists(weights) or weights in presets.names():
        return True
    name = weights.partition("@")[0]
    return not any(row.tag == name for row in table()) and not tags(architecture or "")


def _misfits(row: Pretrained, settings: Mapping[str, Any]) -> list[str]:
    return [key for key, value in settings.items() if row.settings.get(key, value) != value]


def _with(own: tuple[Pretrained, ...], settings: Mapping[str, Any], name: str) -> str:
    """The tags that have the settings, as the end of a message."""
    others = [row.tag for row in own if row.tag != name and not _misfits(row, settings)]
    return f"; with it there are {', '.join(others)}" if others else ""


def _configs_of(architecture: str) -> list[str]:
    """The configs whose network an architecture is."""
    return [name for name in presets.names() if presets.architecture(name) == architecture]


def _unknown(architecture: str, name: str) -> ArgumentError:
    """The error for weights that an architecture has not."""
    own = tags(architecture)
    title = f'{architecture}(weights="{name}")'
    with_backbone = (
        "; a U-Net or an FCN starts from those of its backbone: "
        'UNet(backbone="ResNet18", backbone_weights="imagenet")'
    )
    if not own and (close := close_names(architecture)):
        return ArgumentError(
            f"{title}: there are no weights of {architecture}; did you mean {', '.join(close)}?"
        )
    if name == IMAGENET:
        names = dict.fromkeys(row.architecture for row in table() if row.data == _IMAGENET_DATA)
        there = f"there are of {', '.join(names)}"
        if own:
            there = f"its own are {', '.join(row.tag for row in own)}; {there}"
        return ArgumentError(f"{title}: there are none of this network; {there}{with_backbone}")
    others = dict.fromkeys(row.architecture for row in table() if row.tag == name)
    if others:
        title += f": those are weights of {', '.join(others)}"
    else:
        title += ": there are no such weights, and no folder or config of that name"
    words = {row.tag: None for row in own}
    if imagenet(architecture):
        words = {IMAGENET: None} | words
    close = difflib.get_close_matches(name, [*words, *_configs_of(architecture)], n=3)
    meant = f"did you mean {', '.join(close)}? " if close and not others else ""
    there = ", ".join(words) or "none"
    return ArgumentError(f"{title}; {meant}of {architecture} there are {there}")
