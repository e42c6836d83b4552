"""Models compiled with this package's objects open by `keras.saving.load_model` alone."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_arch import losses, metrics, optimizers

ROOT = Path(__file__).parents[1]
LOAD = """
model = keras.saving.load_model(sys.argv[1])
print(type(model.loss).__name__, type(model.optimizer).__name__, model.optimizer.factors)
images, masks = np.zeros((2, 4, 4, 1), "float32"), np.zeros((2, 4, 4), "int32")
loss, iu = model.evaluate(images, masks, verbose=0)
print(float(model.optimizer.momentum(2)), [m.name for m in model.metrics[1].metrics])
print(loss)
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A segmenter with a loss, a metric, an optimizer and schedules of this package."""
    image = keras.Input((4, 4, 1))
    model = keras.Model(image, keras.layers.Conv2D(3, 1, name="logits")(image))
    ramp = optimizers.LinearRamp(0.5, 0.9, 4)
    rate = optimizers.FlooredDecay(0.1, 1.01, 0.01)
    sgd = optimizers.ScheduledSGD(rate, momentum=ramp)
    model.compile(
        optimizers.layerwise(sgd, {"logits": 0.5}),
        losses.PixelCrossEntropy(ignore=7),
        metrics=[metrics.MeanIU(3)],
    )
    model.fit(np.ones((2, 4, 4, 1)), np.ones((2, 4, 4)), verbose=0)
    found = tmp_path_factory.mktemp("model") / "segmenter.keras"
    model.save(found)
    images, masks = np.zeros((2, 4, 4, 1), "float32"), np.zeros((2, 4, 4), "int32")
    return found, model.evaluate(images, masks, verbose=0)[0]


@pytest.mark.parametrize(
    "imports",
    [
        pytest.param("import keras, keras_arch", marks=pytest.mark.slow),
        "import keras_arch, keras; keras_arch.register_custom_objects()",
    ],
)
def test_it_loads_in_a_fresh_process(path, imports):
    found, loss = path
    code = f"import sys\nimport numpy as np\n{imports}\n{LOAD}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(found)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second, third = done.stdout.splitlines()[-3:]
    assert first == "PixelCrossEntropy LayerwiseSGD {'logits': 0.5}"
    momentum, _, names = second.partition(" ")
    assert float(momentum) == pytest.approx(0.7)
    assert names == "['mean_iu']"
    assert float(third) == pytest.approx(loss, rel=1e-5)
