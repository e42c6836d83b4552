"""The whole road in a few minutes: train, publish, load back, export and check two models.

Everything is real but small: the digits inside scikit-learn, a Hub that is a folder, and
TensorFlow's own loader in a process of its own in the place of TF Serving.
"""

import contextlib
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import api, config, data, files, hub, trainers, visualization
from keras_arch.errors import ArgumentError, RunError

GENERATOR, CLASSIFIER = "dcgan-digits", "resnet20-digits"
COUNT, SEED = 64, 7
_MARK = "demo.json"
_TOLERANCE = 1e-5

# What a server does, in a process where this package cannot be imported.
_CHECK = """
import sys
sys.modules["keras_arch"] = None
import numpy as np
import tensorflow as tf

served = tf.saved_model.load(sys.argv[1])
with np.load(sys.argv[2], allow_pickle=False) as record:
    arrays = dict(record)
for name in sorted({key.split("/")[0] for key in arrays}):
    parts = {"in": {}, "out": {}}
    for key, values in arrays.items():
        signature, part, argument = key.split("/")
        if signature == name:
            parts[part][argument] = values
    inputs, expected = {k: tf.constant(v) for k, v in parts["in"].items()}, parts["out"]
    outputs = served.signatures[name](**inputs)
    for key, values in expected.items():
        got = outputs[key].numpy()
        if got.dtype == object:
            same = np.array_equal(got.astype(str), values.astype(str))
        elif got.dtype == np.uint8:
            # Where a value lies between two pixel values, one step is rounding.
            same = np.abs(got.astype(int) - values).max() <= 1
        else:
            same = np.abs(got - values).max() <= float(sys.argv[3])
        if got.shape != values.shape or not same:
            sys.exit(f"{name}: the output {key} differs from the model's own")
    print(f"{name}: {', '.join(sorted(expected))} equal")
"""


def run(out: str | Path = "demo", *, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Take a GAN and a classifier of digits the whole way, telling of every step.

    Args:
        out: Folder for everything that is made. That of an earlier demo is replaced.
        overrides: Changes to both configs, such as `"recipe.epochs=1"`, for a shorter look.

    Returns:
        Seconds by step.

    Raises:
        ArgumentError: If the folder holds something else.
        RunError: If a model that comes back differs from the one that was sent, an export
            answers differently, or the classifier misses its expected accuracy.

    Example:
        >>> import tempfile
        >>> from keras_arch import demo, files
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     mine = files.atomic_write(folder + "/thesis.txt", "mine")
        ...     demo.run(folder)
        Traceback (most recent call last):
        keras_arch.errors.ArgumentError: ... is not a demo's folder; choose another --out
    """
    from rich.console import Console

    out = _clear(Path(out))
    console = Console(highlight=False, soft_wrap=True)
    seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(title: str) -> Iterator[None]:
        console.print(f"\n{title}", style="bold")
        start = time.perf_counter()
        yield
        seconds[title] = time.perf_counter() - start

    names = (GENERATOR, CLASSIFIER)
    addresses = {name: f"file://{out.resolve()}/hub/keras-arch/{name}" for name in names}
    finished, served = {}, {}
    for name in names:
        with step(f"Train {name}"):
            finished[name] = api.train(name, out / "runs" / name, overrides=overrides)
    _check_accuracy(finished[CLASSIFIER], console)
    with step("Publish to a Hub in a folder, and load back"):
        for name, address in addresses.items():
            hub.push(finished[name].model, address)
            _check_equal(finished[name].model, address)
            console.print(f"{address} gives equal outputs")
    with step("Export for TF Serving"):
        for name, address in addresses.items():
            served[name] = api.export_model(address, out / "serving")
            console.print(f"{served[name]}")
    with step("Ask each export in a process of its own"):
        for name in names:
            opened = hub.load_with_card(finished[name].model)
            record = _generator_record if opened.card.latent else _classifier_record
            for line in _ask(served[name], record(opened)):
                console.print(f"{name} {line}")
    console.print("\nPictures", style="bold")
    for what, path in _pictures(out, finished).items():
        console.print(f"{what}: {path}")
    console.print("\nSeconds", style="bold")
    for title, taken in seconds.items():
        console.print(f"{taken:7.1f}  {title}")
    console.print(f"{sum(seconds.values()):7.1f}  in all")
    files.atomic_write(out / _MARK, json.dumps({"seconds": seconds}, indent=1) + "\n")
    return seconds


def _clear(out: Path) -> Path:
    """An empty folder with the mark of a demo; only a folder with the mark is emptied."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / _MARK).is_file():
            raise ArgumentError(f"{out} is not a demo's folder; choose another --out")
        shutil.rmtree(out)
    files.atomic_write(out / _MARK, "{}\n")
    return out


def _check_accuracy(run: api.Run, console: Any) -> None:
    expected = config.load(run.directory / "config.yaml").expected.get("accuracy", 0.0)
    accuracy = run.metrics["accuracy"]
    if accuracy < expected:
        raise RunError(
            f"{CLASSIFIER} reached {accuracy:.2%} on held-out digits, not {expected:.0%}"
        )
    console.print(f"{accuracy:.2%} of the held-out digits are named rightly")


def _inputs(opened: "hub.LoadedModel") -> Any:
    """Something to show the model: test images, or latents."""
    if opened.card.latent:
        size = opened.card.latent["size"]
        return np.random.default_rng(SEED).standard_normal((COUNT, size)).astype(np.float32)
    return opened.card.preprocessing(_test_images())


def _test_images() -> np.ndarray:
    images = data.load("digits", "test").take(COUNT)
    return np.stack([image for image, _ in images.as_numpy_iterator()])


def _outputs(opened: "hub.LoadedModel") -> np.ndarray:
    return keras.ops.convert_to_numpy(opened.model(_inputs(opened), training=False))


def _check_equal(sent: Path, address: str) -> None:
    """The model that comes back gives, to the bit, what the one that was sent gives."""
    if not np.array_equal(
        _outputs(hub.load_with_card(sent)), _outputs(hub.load_with_card(address))
    ):
        raise RunError(f"the model from {address} differs from the one in {sent}")


def _classifier_record(opened: "hub.LoadedModel") -> dict[str, np.ndarray]:
    """Requests to both signatures of a classifier, and what its model answers."""
    from PIL import Image

    images = _test_images()
    probabilities = _outputs(opened)
    labels = np.array(opened.card.labels)[probabilities.argmax(-1)]
    encoded = []
    for image in images:
        content = io.BytesIO()
        Image.fromarray(image[..., 0]).save(content, format="PNG")
        encoded.append(content.getvalue())
    answers = {"probabilities": probabilities, "label": labels}
    record = {
        "serving_default/in/image": images.astype(np.float32),
        "serving_bytes/in/image_bytes": np.array(encoded, dtype="S"),
    }
    for signature in ("serving_default", "serving_bytes"):
        record |= {f"{signature}/out/{key}": value for key, value in answers.items()}
    return record


def _generator_record(opened: "hub.LoadedModel") -> dict[str, np.ndarray]:
    """Requests to both signatures of a generator, and what its model answers."""
    drawn = trainers.sample(opened.model, COUNT, SEED, opened.card.latent["distribution"])
    record = {
        "serving_default/in/latent": _inputs(opened),
        "generate/in/seed": np.int64(SEED),
        "generate/in/count": np.int32(COUNT),
    }
    for signature, made in (("serving_default", _outputs(opened)), ("generate", drawn)):
        record[f"{signature}/out/image_float"] = made
        record[f"{signature}/out/image"] = opened.card.preprocessing.to_pixels(made)
    return record


def _ask(saved_model: Path, record: dict[str, np.ndarray]) -> list[str]:
    """Let another process compare an export's answers with ours."""
    content = io.BytesIO()
    np.savez(content, **record)
    path = files.atomic_write(saved_model.parent / "requests.npz", content.getvalue())
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _CHECK, str(saved_model), str(path), str(_TOLERANCE)],
            capture_output=True,
            text=True,
        )
    finally:
        path.unlink()
    if asked.returncode:
        reason = (asked.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise RunError(f"the export {saved_model} failed: {reason}")
    return asked.stdout.splitlines()


def _pictures(out: Path, finished: dict[str, api.Run]) -> dict[str, Path]:
    """What there is to see, by what it shows."""
    generator, classifier = (finished[name].directory for name in (GENERATOR, CLASSIFIER))
    opened = hub.load_with_card(finished[GENERATOR].model)
    drawn = trainers.sample(opened.model, COUNT, SEED, opened.card.latent["distribution"])
    sheet = visualization.grid(opened.card.preprocessing.to_pixels(drawn), enlarge=True)
    digits = visualization.save_png(sheet, out / "digits.png")
    return {
        "digits that the GAN draws": digits,
        "the same latents through training": generator / "samples",
        "losses of the GAN": generator / "history.png",
        "curves of the classifier": classifier / "history.png",
        "what the classifier mistakes for what": classifier / "confusion_matrix.png",
    }
