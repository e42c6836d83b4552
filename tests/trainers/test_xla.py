"""Every trainer's step is one that XLA compiles for a TPU."""

import numpy as np
import pytest
import tensorflow as tf

from keras_arch.errors import DataError
from tests.trainers import backend_step, games
from tests.xla import HOST, check_step, in_bfloat16, operations

STEPS = {
    "conditional_gan": (games.CONDITIONAL, {}),
    "gan_wgan-gp": (backend_step.GAN, {"loss": "wgan-gp", "n_critic": 2}),
    "gan_r1": (backend_step.GAN, {"loss": "non_saturating+r1", "update": "simultaneous"}),
    "dcgan": (backend_step.DCGAN, {"diff_augment": "color,translation,cutout"}),
    "pix2pix": (games.PIX2PIX["l1+cgan"], {}),
    "cyclegan": (games.CYCLEGAN, {}),
    "lapgan": (games.LAPGAN, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_a_step_for_a_tpu(name):
    game, compiled = STEPS[name]
    trainer = in_bfloat16(lambda: game.make(**compiled))
    check_step(trainer, next(iter(game.batches(1, with_noise=False))))


def test_labels_are_checked_before_a_compiled_step_and_inside_any_other():
    game = games.CONDITIONAL
    batches = game.batches(1)
    for jit_compile in (False, True):
        trainer = game.make(jit_compile=jit_compile)
        step = tf.function(trainer.train_step, jit_compile=jit_compile)
        found = operations(step.get_concrete_function(batches.element_spec).graph)
        assert found & HOST == (set() if jit_compile else {"Assert"})
    arrays = game.arrays(2)
    arrays["label"][-1] = games.CLASSES
    wrong = tf.data.Dataset.from_tensor_slices(arrays).batch(games.BATCH, drop_remainder=True)
    with pytest.raises(DataError, match="labels must be 0 to 2"):
        trainer.fit(wrong, verbose=0)


@pytest.mark.slow
def test_replicas_under_xla_take_their_rows_of_the_noise(two_replicas):
    """Shapes and rows of the draw are those that XLA can compile, as the step of a TPU must."""

    def drawn(trainer, images):
        draw = tf.function(
            lambda images: trainer.draw({"image": images}, trainer.seed_generator)["latent"],
            jit_compile=True,
        )
        return draw(images)

    with two_replicas.scope():
        trainer = backend_step.GAN.make()
    parts = two_replicas.run(lambda: drawn(trainer, tf.zeros([2, *backend_step.SHAPE])))
    joined = tf.concat(two_replicas.experimental_local_results(parts), 0)
    whole = drawn(backend_step.GAN.make(), tf.zeros([4, *backend_step.SHAPE]))
    np.testing.assert_allclose(joined, whole, rtol=0, atol=1e-6)
    assert len(np.unique(joined)) == joined.shape.num_elements()
