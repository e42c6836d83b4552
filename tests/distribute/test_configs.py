"""Every task on three hosts against one process: uneven data, cached and streamed, resumed."""

import json

import numpy as np
import pytest

from tests.distribute import hosts, train_config
from tests.tasks import games

pytestmark = pytest.mark.slow

# Small steps: larger ones multiply the rounding of sums in another order.
SGD = "{name: sgd, learning_rate: 0.001}"
BOTH = [f"recipe.{side}_optimizer={SGD}" for side in "gd"]
CLASSIFIER = [
    "model.arguments.depth=8",
    # 13 images of 77 are left out of an epoch of 12 each; 25 and 31 leave partial batches.
    "data.train=train[:77]",
    "data.validation=train[77:102]",
    "data.test=test[:31]",
    "data.augment=[crop:1, flip, mixup:0.4]",
    "recipe.batch_size=12",
    f"recipe.optimizer={SGD}",
    "recipe.checkpoint=best",
]
STREAMED = ["data.cache=false"]
SEGMENTER = [
    "model.arguments.depth=1",
    "model.arguments.filters=4",
    "model.arguments.input_shape=[64,64,1]",
    "preprocessing.size=[64,64]",
    "data.train=train[:7]",
    "data.crops_per_image=4",
    # Twelve tiles, six in a batch: of a last batch that replicas cannot divide, `val_loss` weighs
    # the tiles that are added.
    "data.validation=val[:3]",
    "data.test=test[:2]",
    "recipe.batch_size=6",
    f"recipe.optimizer={SGD}",
    "samples={count: 2, every: 1}",
]
DIGITS = ["data.train=train[:77]", "recipe.batch_size=12", *BOTH]
MOVING = (
    "generator.arguments={variant: unet_128, filters: 1, inference_norm: moving, "
    "inference_dropout: false}"
)
GAME = {
    "gan": [*DIGITS, "generator_evaluation=null"],
    "cgan": [*DIGITS, "generator_evaluation=null"],
    "lapgan": DIGITS,
    # By default its batch norm is that of one replica, which the paper's batch of one is on.
    "pix2pix": ["recipe.batch_size=3", MOVING, *BOTH],
    # Of smaller steps still: the gradient of an L1 loss is a sign, which flips for single values,
    # and instance norm of such small maps multiplies what follows.
    "cyclegan": ["recipe.batch_size=3", *(each.replace("0.001", "0.0001") for each in BOTH)],
}
CASES = {
    "classifier": ("resnet20-digits", CLASSIFIER),
    "classifier-streamed": ("resnet20-digits", CLASSIFIER + STREAMED),
    "balanced": ("resnet20-digits", [*CLASSIFIER, "data.balanced=true"]),
    "segmenter": ("unet-cells", SEGMENTER),
    **{name: (games.CONFIGS[name], name) for name in GAME},
    "pix2pix-streamed": (games.CONFIGS["pix2pix"], "pix2pix"),
    "cyclegan-streamed": (games.CONFIGS["cyclegan"], "cyclegan"),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pairs and unpaired domains of a few small pictures."""
    return games.write_pictures(tmp_path_factory.mktemp("pictures"))


def settings(name, pictures):
    _, given = CASES[name]
    more = STREAMED if name.endswith("-streamed") and isinstance(given, str) else []
    if isinstance(given, str):
        given = games.settings(given, pictures, "", *GAME[given], *more)
    return [*given, "recipe.epochs=2", "recipe.checkpoint_every=2"]


def train(folder, count, source, overrides, **options):
    """The outputs of a training on so many hosts, into `FOLDER/run`."""
    given = {"source": source, "out": str(folder / "run"), "overrides": overrides, "verbose": 2}
    command = [train_config.__file__, json.dumps(given | options)]
    return hosts.run(command, count, folder)


def files(folder):
    """All files of a run, but for the time in the names of TensorBoard's."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path).partition("tfevents")[0] for path in found)


def assert_same_run(one, other, atol=1e-5):
    """The same files, metrics and variables."""
    assert files(one) == files(other)
    found = [json.loads((run / "metrics.json").read_text()) for run in (one, other)]
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-5)
    names = [sorted(run.glob("checkpoints/*.npz"))[-1] for run in (one, other)]
    assert names[0].name == names[1].name
    with np.load(names[0]) as first, np.load(names[1]) as second:
        states = [json.loads(archive["state"].tobytes()) for archive in (first, second)]
        assert states[0]["variables"] == states[1]["variables"]
        for number, (path, dtype, _) in enumerate(states[0]["variables"]):
            if path.endswith(("/total", "/count", "/confusion")):
                # Of metrics: sums over replicas, of which the rows of logs below are the means.
                continue
            values = [np.asarray(a[str(number)].view(dtype), float) for a in (first, second)]
            # Images that a generator made are as far apart as its outputs.
            near = 1e-4 if path.endswith("pool_images") else atol
            np.testing.assert_allclose(*values, rtol=1e-5, atol=near, err_msg=path)
        for row, twin in zip(states[0]["rows"], states[1]["rows"], strict=True):
            assert row == pytest.approx(twin, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_three_hosts_train_as_one_process(name, tmp_path, pictures):
    source, overrides = CASES[name][0], settings(name, pictures)
    train(tmp_path / "one", 1, source, overrides)
    first, *others = train(tmp_path / "three", 3, source, overrides)
    assert_same_run(tmp_path / "one/run", tmp_path / "three/run")
    # Only the chief shows progress; all return the same.
    assert "Epoch 1/2" in first
    results = [output.strip().rpartition("\n")[2] for output in (first, *others)]
    assert len(set(results)) == 1
    assert all("Epoch" not in output for output in others)


def test_three_hosts_fine_tune_as_one_process(tmp_path):
    """The classifier that comes with the package, with a rate for the head and one for the rest."""
    given = [
        *(each for each in CLASSIFIER if not each.startswith(("model.", "recipe.optimizer"))),
        f"recipe.optimizer={SGD}",
        "recipe.head_epochs=1",
        "recipe.epochs=2",
        "recipe.checkpoint_every=2",
    ]
    for count, folder in ((1, "one"), (3, "three")):
        train(tmp_path / folder, count, "digits", given, finetune="resnet20-digits")
    assert_same_run(tmp_path / "one/run", tmp_path / "three/run")
